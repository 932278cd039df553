// Measures the panels when they change, and tells where the picture has room.

import type { PictureRect } from "../view/projection.js";
import { byId } from "./dom.js";
import { type Box, freeArea } from "./free_area.js";

const FIRM = ["stats", "dock", "welcome"];
const SOFT = ["brand", "preview"];

export class Panels {
  private window: Box = { left: 0, top: 0, width: 1, height: 1 };
  private firm: Box[] = [];
  private soft: Box[] = [];
  /** The last answer: every picture that is drawn asks, and panels seldom change. */
  private known: { readonly aspect: number; readonly room: PictureRect } | null = null;

  /** @param changed The room may be another one. */
  constructor(changed: () => void) {
    const measure = (): void => {
      this.window = { left: 0, top: 0, width: window.innerWidth, height: window.innerHeight };
      [this.firm, this.soft] = [FIRM.map(boxOf), SOFT.map(boxOf)];
      this.known = null;
      changed();
    };
    // A panel may move without changing its size, but only when the window or another panel changes.
    const observer = new ResizeObserver(measure);
    for (const id of [...FIRM, ...SOFT, "shell"]) observer.observe(byId(id));
  }

  /** The room for a picture of this aspect, in fractions of the window. */
  room(aspect: number): PictureRect {
    if (this.known?.aspect !== aspect) this.known = { aspect, room: this.find(aspect) };
    return this.known.room;
  }

  private find(aspect: number): PictureRect {
    const { width, height } = this.window;
    const area = freeArea(this.window, this.firm, this.soft, aspect);
    return { left: area.left / width, top: area.top / height, width: area.width / width, height: area.height / height };
  }
}

function boxOf(id: string): Box {
  return byId(id).getBoundingClientRect();
}
