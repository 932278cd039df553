// The small picture of what is sent.

import type { Opened, Previews } from "../capture/source.js";
import { byId, setText } from "./dom.js";

export class Preview implements Previews {
  readonly video = byId<HTMLVideoElement>("preview-video");
  readonly canvas = byId<HTMLCanvasElement>("preview-canvas");
  private readonly figure = byId("preview");
  private faces = false;
  private wished = false;

  /** @param faces The source faces the person, and may be mirrored. */
  show({ name, shows }: Opened, faces: boolean): void {
    this.figure.hidden = false;
    this.video.hidden = shows !== "video";
    this.canvas.hidden = shows !== "canvas";
    this.faces = faces;
    this.mirrored = this.wished;
    setText(byId("preview-name"), name);
  }

  hide(): void {
    this.figure.hidden = true;
  }

  /** Mirrored like a selfie, as what is sent is. */
  set mirrored(wished: boolean) {
    this.wished = wished;
    this.figure.classList.toggle("mirrored", wished && this.faces);
  }
}
