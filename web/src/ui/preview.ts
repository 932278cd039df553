// The small picture of what is sent.

import type { Previews } from "../capture/source.js";
import { byId, setText } from "./dom.js";

export class Preview implements Previews {
  readonly video = byId<HTMLVideoElement>("preview-video");
  readonly canvas = byId<HTMLCanvasElement>("preview-canvas");
  private readonly figure = byId("preview");

  show(which: keyof Previews, name: string): void {
    this.figure.hidden = false;
    this.video.hidden = which !== "video";
    this.canvas.hidden = which !== "canvas";
    setText(byId("preview-name"), name);
  }

  hide(): void {
    this.figure.hidden = true;
  }

  /** Mirrored like a selfie. What is sent never is. */
  set mirrored(mirrored: boolean) {
    this.figure.classList.toggle("mirrored", mirrored);
  }
}
