// The only source there may be: starting another ends it, whether it is running or still being opened.

import type { Settings, SourceKind } from "../config.js";
import type { Access } from "../stream/access.js";
import { openCamera } from "./camera.js";
import { openFile } from "./file.js";
import { openSample } from "./sample.js";
import { type CaptureLine, type Previews, SourceError } from "./source.js";

export class Sources {
  private current: AbortController | null = null;

  /** @param cameraEnded Called when a running camera goes away by itself. */
  constructor(
    private readonly line: CaptureLine,
    private readonly previews: Previews,
    private readonly access: Access,
    private readonly cameraEnded: () => void,
  ) {}

  /**
   * Opens a source in place of the current one.
   *
   * @returns Its name; null if it was stopped or replaced before it was open.
   * @throws SourceError Saying why it can't be opened. What it had opened by then is closed.
   */
  async start(kind: SourceKind, file: File | undefined, settings: Settings): Promise<string | null> {
    this.stop();
    const controller = new AbortController();
    this.current = controller;
    try {
      const name = await this.open(kind, file, settings, controller.signal);
      return controller.signal.aborted ? null : name;
    } catch (error) {
      if (controller.signal.aborted) return null;
      this.stop();
      throw error;
    }
  }

  /** Ends the current source, if there is one. */
  stop(): void {
    this.current?.abort();
    this.current = null;
  }

  private open(kind: SourceKind, file: File | undefined, settings: Settings, signal: AbortSignal): Promise<string> {
    const { line, previews } = this;
    if (kind === "camera") return openCamera(line, previews.video, settings, this.cameraEnded, signal);
    if (kind === "sample") return openSample(line, previews.canvas, this.access, signal);
    if (!file) return Promise.reject(new SourceError("no_file", "No file was chosen", "Choose or drop a picture or a video."));
    return openFile(file, line, previews, signal);
  }
}
