// What a source of pictures is, and the capture worker that all of them feed.
//
// A source lives until its AbortSignal is aborted. Whatever it opens, it ties to the signal with `atEnd`: a source that is stopped,
// that fails when half open, or that is replaced while it waits for a permission gives everything back in the same way.

import type { CaptureSettings, FromCapture, SourceNature, ToCapture } from "./thread.js";

/** Where a source shows what it sends: cameras and videos in `video`, the others on `canvas`. */
export interface Previews {
  readonly video: HTMLVideoElement;
  readonly canvas: HTMLCanvasElement;
}

/** A source that is open. */
export interface Opened {
  /** Its name, for people. */
  readonly name: string;
  /** Where it is to be seen. */
  readonly shows: keyof Previews;
  /** It is one picture. */
  readonly still?: boolean;
  /** Field of view of the lens, degrees across the longer side; 0 or missing: unknown. */
  readonly fovDeg?: number;
  /** Some of its pixels are transparent. */
  readonly transparent?: boolean;
}

/** A source that has everything it needs: the one before it ends only now. */
export interface Ready extends Opened {
  /** Shows it and sends its pictures, until the signal that it was opened with is aborted. */
  begin(): void | Promise<void>;
}

/** A source could not be opened, in words for the person. */
export class SourceError extends Error {
  override name = "SourceError";
  constructor(
    readonly code: string,
    readonly title: string,
    text: string,
  ) {
    super(text);
  }
}

/** Calls `end` when the signal is aborted, or at once if it already is. */
export function atEnd(signal: AbortSignal, end: () => void): void {
  if (signal.aborted) end();
  else signal.addEventListener("abort", end, { once: true });
}

/** The page's end of the capture worker. */
export class CaptureLine {
  /** The browser has a track processor in workers, so that a track can be handed over. */
  workerTakesTracks = false;
  /** A frame would be taken now. */
  gateOpen = false;
  /** Called when the current source gives a picture, now and then. */
  alive = (): void => undefined;
  private readonly worker: Worker;
  private run = 0;

  constructor(workerUrl: URL, frames: MessagePort, failed: (message: string) => void) {
    this.worker = new Worker(workerUrl, { type: "module" });
    this.worker.onmessage = (event: MessageEvent<FromCapture>) => {
      const message = event.data;
      if (message.type === "ready") this.workerTakesTracks = message.trackProcessor;
      else if (message.type === "gate") this.gateOpen = message.open;
      else if (message.type === "alive") message.run === this.run && this.alive();
      else failed(message.message);
    };
    this.worker.onerror = (event) => failed(event.message || "the capture worker could not be loaded");
    this.post({ type: "frames", port: frames }, [frames]);
  }

  /**
   * A source begins to send, until its signal is aborted. Whatever an older one still sends is closed unseen.
   *
   * @returns The number of its run, which goes with every picture it posts.
   * @throws DOMException If the signal is aborted already: a source that comes late must not end the current one.
   */
  start(signal: AbortSignal, nature: Partial<SourceNature> = {}): number {
    signal.throwIfAborted();
    const run = ++this.run;
    this.post({ type: "start", run, nature: { stays: false, faces: false, transparent: false, ...nature } });
    atEnd(signal, () => this.post({ type: "stop", run }));
    return run;
  }

  /** A picture that stays is sent once more: what was made of it is not what is wanted now. */
  again(): void {
    this.post({ type: "again" });
  }

  configure(settings: CaptureSettings): void {
    this.post({ type: "settings", settings });
  }

  post(message: ToCapture, transfer: Transferable[] = []): void {
    this.worker.postMessage(message, transfer);
  }
}
