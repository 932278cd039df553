// The page's end of the socket worker.

import type { FrameOptions, JoinMessage } from "./messages.js";
import type { DecodedFrame, FromSocket, ToSocket } from "./thread.js";

export class Stream {
  private readonly worker: Worker;
  private waitingForCapture: ((capture: { seq: number; jpeg: ArrayBuffer | null }) => void)[] = [];

  constructor(
    workerUrl: URL,
    private readonly receive: (message: Exclude<FromSocket, { type: "lastCapture" }>) => void,
    failed: (message: string) => void,
  ) {
    this.worker = new Worker(workerUrl, { type: "module" });
    this.worker.onerror = (event) => failed(event.message || "the stream's worker could not be loaded");
    this.worker.onmessage = (event: MessageEvent<FromSocket>) => {
      const message = event.data;
      if (message.type === "lastCapture") this.waitingForCapture.shift()?.(message);
      else this.receive(message);
    };
  }

  connect(url: string, subprotocols: string[], options: Partial<FrameOptions>, frames: MessagePort): void {
    this.post({ type: "connect", url, subprotocols, options, frames }, [frames]);
  }

  /** Connects again, with another token. */
  authorize(subprotocols: string[]): void {
    this.post({ type: "authorize", subprotocols });
  }

  configure(options: Partial<FrameOptions>): void {
    this.post({ type: "configure", options });
  }

  /** Enters a room, now and after every reconnect; null: leaves it. */
  join(join: JoinMessage | null): void {
    this.post({ type: "join", join });
  }

  /** As a viewer of a room: chooses the camera to see; empty for the first. */
  watch(camera: string): void {
    this.post({ type: "say", message: { type: "watch", camera } });
  }

  /** As the owner of a room. */
  govern(change: { locked?: boolean; close?: boolean }): void {
    this.post({ type: "say", message: { type: "govern", ...change } });
  }

  reconnect(): void {
    this.post({ type: "reconnect" });
  }

  /** The network may be another one, or the device may have slept: see whether the server is still there. */
  probe(): void {
    this.post({ type: "probe" });
  }

  /** Frames may be sent, or none. */
  set on(on: boolean) {
    this.post({ type: "stream", on });
  }

  /** Whether the page lifts depth frames, on its GPU, or the worker does. */
  set liftsOnPage(onPage: boolean) {
    this.post({ type: "lift", onPage });
  }

  shown(frame: DecodedFrame, shownMs: number): void {
    const { seq, captured_ms: capturedMs, receivedMs, decodedMs } = frame;
    this.post({ type: "shown", seq, capturedMs, receivedMs, decodedMs, shownMs });
  }

  /** It was not shown. */
  skipped(frame: DecodedFrame): void {
    const { seq, receivedMs, decodedMs } = frame;
    this.post({ type: "skipped", seq, receivedMs, decodedMs });
  }

  /** The buffer of a frame that nothing reads any more. */
  recycle(buffer: ArrayBuffer): void {
    this.post({ type: "recycle", buffer }, [buffer]);
  }

  /** Records what comes from now on; off: the file comes with a `recording`. */
  set records(on: boolean) {
    this.post({ type: "record", on });
  }

  /** Has a file read in place of the last. */
  read(question: ToSocket & { type: "openFile" | "fileFrame" }): void {
    this.post(question);
  }

  /** The last picture that was sent; `jpeg` is null before the first. */
  lastCapture(): Promise<{ seq: number; jpeg: ArrayBuffer | null }> {
    return new Promise((resolve) => {
      this.waitingForCapture.push(resolve);
      this.post({ type: "lastCapture" });
    });
  }

  private post(message: ToSocket, transfer: Transferable[] = []): void {
    this.worker.postMessage(message, transfer);
  }
}
