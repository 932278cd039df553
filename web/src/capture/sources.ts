// The only source there may be. Another one takes its place when it is ready: until then, and if that fails, the present one goes on.

import type { Settings, SourceKind } from "../config.js";
import type { Access } from "../stream/access.js";
import { type CameraEvents, openCamera } from "./camera.js";
import { openFile } from "./file.js";
import { openSample } from "./sample.js";
import { openScreen } from "./screen.js";
import { type CaptureLine, type Opened, type Previews, type Ready, SourceError } from "./source.js";

export class Sources {
  private current: { kind: SourceKind; controller: AbortController } | null = null;
  private opening: AbortController | null = null;

  /** @param screenEnded The person ended the sharing by the browser's own button. */
  constructor(
    private readonly line: CaptureLine,
    private readonly previews: Previews,
    private readonly access: Access,
    private readonly camera: CameraEvents,
    private readonly screenEnded: () => void,
  ) {}

  /** What runs, if anything does. */
  get running(): SourceKind | null {
    return this.current?.kind ?? null;
  }

  /**
   * Opens a source, and puts it in place of the current one.
   *
   * @returns What was opened; null if it was stopped or replaced before it was open.
   * @throws SourceError Saying why it can't be opened. What it had opened by then is closed.
   */
  async start(kind: SourceKind, file: File | undefined, settings: Settings): Promise<Opened | null> {
    this.cancel();
    const controller = new AbortController();
    const { signal } = controller;
    this.opening = controller;
    // Phones open one camera at a time.
    if (kind === "camera" && this.running === "camera") this.end();
    try {
      const ready = await this.open(kind, file, settings, signal);
      if (signal.aborted) return null;
      this.end();
      this.current = { kind, controller };
      await ready.begin();
      if (signal.aborted) return null;
      this.opening = null;
      return ready;
    } catch (error) {
      if (signal.aborted) return null;
      this.cancel();
      throw error;
    }
  }

  /** Gives up what is being opened. The current source goes on. */
  cancel(): void {
    this.opening?.abort();
    if (this.current?.controller.signal.aborted) this.current = null;
    this.opening = null;
  }

  /** Ends the current source and gives up what is being opened. */
  stop(): void {
    this.cancel();
    this.end();
  }

  private end(): void {
    this.current?.controller.abort();
    this.current = null;
  }

  private open(kind: SourceKind, file: File | undefined, settings: Settings, signal: AbortSignal): Promise<Ready> {
    const { line, previews } = this;
    switch (kind) {
      case "camera":
        return openCamera(line, previews.video, settings, this.camera, signal);
      case "screen":
        return openScreen(line, previews.video, settings, this.screenEnded, signal);
      case "sample":
        return openSample(line, previews.canvas, this.access, signal);
      case "file":
        if (file) return openFile(file, line, previews, this.access, signal);
        return Promise.reject(new SourceError("no_file", "No file was chosen", "Choose or drop a picture or a video."));
    }
  }
}
