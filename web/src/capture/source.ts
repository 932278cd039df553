// What a source of pictures is, and the capture worker that all of them feed.

import type { CaptureSettings, FromCapture, ToCapture } from "../types.js";

/** A running source. */
export interface Source {
  /** Name of the camera, the clip or the file. */
  readonly name: string;
  /** Stops it for good; may be called twice. */
  stop(): void;
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

/** The page's end of the capture worker. */
export class CaptureLine {
  /** The browser has a track processor in workers, for a track that is handed over. */
  workerTakesTracks = false;
  /** A frame would be taken now. */
  gateOpen = false;
  private readonly worker: Worker;
  private run = 0;

  constructor(workerUrl: URL, frames: MessagePort, failed: (message: string) => void) {
    this.worker = new Worker(workerUrl, { type: "module" });
    this.worker.onmessage = (event: MessageEvent<FromCapture>) => {
      const message = event.data;
      if (message.type === "ready") this.workerTakesTracks = message.trackProcessor;
      else if (message.type === "gate") this.gateOpen = message.open;
      else failed(message.message);
    };
    this.worker.onerror = (event) => failed(event.message || "the capture worker could not be loaded");
    this.post({ type: "frames", port: frames }, [frames]);
  }

  /** A new source: whatever an older one still sends is closed unseen. */
  start(): number {
    this.run++;
    this.post({ type: "start", run: this.run });
    return this.run;
  }

  stop(): void {
    this.post({ type: "stop" });
  }

  configure(settings: CaptureSettings): void {
    this.post({ type: "settings", settings });
  }

  post(message: ToCapture, transfer: Transferable[] = []): void {
    this.worker.postMessage(message, transfer);
  }
}
