// The part of the window that the panels leave free, which is where the picture goes.

/** In CSS pixels from the window's left and top. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** Between the picture and a panel, CSS pixels. */
const MARGIN = 8;
/** Small panels at the corners are spared too, unless that leaves less than this share of the picture. */
const WORTH_SPARING = 0.8;
/** A picture of less than this share of the window is too small to be looked at: the panels then lie over it. */
const LEAST = 0.08;

/**
 * Where a picture of this aspect is largest.
 *
 * @param firm Panels that must not cover it.
 * @param soft Panels that should not.
 */
export function freeArea(window: Box, firm: readonly Box[], soft: readonly Box[], aspect: number): Box {
  const spared = largest(window, [...firm, ...soft], aspect);
  const clear = largest(window, firm, aspect);
  const best = areaOf(spared, aspect) >= WORTH_SPARING * areaOf(clear, aspect) ? spared : clear;
  return areaOf(best, aspect) >= LEAST * window.width * window.height ? best : window;
}

/** A panel is avoided by giving up all that lies to one side of it: each of the four is tried. */
function largest(room: Box, panels: readonly Box[], aspect: number): Box {
  const i = panels.findIndex((panel) => overlap(room, panel));
  if (i < 0) return room;
  const { left, top, width, height } = panels[i]!;
  const [right, bottom] = [room.left + room.width, room.top + room.height];
  const rest = panels.slice(i + 1);
  const cuts = [
    box(room.left, room.top, left - MARGIN, bottom),
    box(left + width + MARGIN, room.top, right, bottom),
    box(room.left, room.top, right, top - MARGIN),
    box(room.left, top + height + MARGIN, right, bottom),
  ].map((cut) => largest(cut, rest, aspect));
  return cuts.reduce((best, cut) => (areaOf(cut, aspect) > areaOf(best, aspect) ? cut : best));
}

function box(left: number, top: number, right: number, bottom: number): Box {
  return { left, top, width: Math.max(0, right - left), height: Math.max(0, bottom - top) };
}

function overlap(a: Box, b: Box): boolean {
  return a.left < b.left + b.width && b.left < a.left + a.width && a.top < b.top + b.height && b.top < a.top + a.height;
}

/** Of the largest picture of this aspect in it. */
function areaOf({ width, height }: Box, aspect: number): number {
  const across = Math.min(width, height * aspect);
  return (across * across) / aspect;
}
