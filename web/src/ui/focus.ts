// Keeps the keyboard's place: what has the focus may be hidden or disabled under it, and a mouse leaves it where keys mean something else.

import { byId } from "./dom.js";

/** A control that is hidden or disabled loses the focus only with the next frame. */
const SETTLES_MS = 60;

/**
 * Gives the focus to the view where it would fall to the page, and after a choice by mouse or finger, so that the view's keys go on.
 *
 * @returns To be called after every change of what is shown.
 */
export function keepFocus(): () => void {
  const view = byId("view");
  let byPointer = false;
  let last: Element | null = null;
  document.addEventListener("pointerdown", () => (byPointer = true), true);
  document.addEventListener("keydown", () => (byPointer = false), true);
  document.addEventListener("focusin", (event) => (last = event.target as Element));
  byId("dock").addEventListener("change", () => byPointer && view.focus({ preventScroll: true }));
  view.addEventListener("pointerdown", () => view.focus({ preventScroll: true }));
  return () => {
    setTimeout(() => {
      if (!last || (document.activeElement && document.activeElement !== document.body)) return;
      // Somebody who has clicked beside every control has no place to lose.
      if (last.isConnected && (last as HTMLElement).checkVisibility() && !last.matches(":disabled, [inert] *")) return;
      view.focus({ preventScroll: true });
    }, SETTLES_MS);
  };
}
