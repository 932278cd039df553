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
const WORTH_SPARING = 0.78;
/** A picture of less than this share of the window is too small to be looked at: the panels then lie over it. */
const LEAST = 0.08;

/**
 * Where a picture of this aspect is largest.
 *
 * @param firm Panels that must not cover it.
 * @param soft Panels that should not.
 */
export function freeArea(window: Box, firm: readonly Box[], soft: readonly Box[], aspect: number): Box {
  const spared = roomiest(window, [...firm, ...soft], aspect);
  const clear = roomiest(window, firm, aspect);
  const best = areaOf(spared, aspect) >= WORTH_SPARING * areaOf(clear, aspect) ? spared : clear;
  return areaOf(best, aspect) >= LEAST * window.width * window.height ? best : window;
}

/**
 * A room without any of the panels, in the middle of which the picture is in the middle of what is free; or, where that is larger or
 * nearer to the middle of the window, one whose panels are beside the picture.
 */
function roomiest(window: Box, some: readonly Box[], aspect: number): Box {
  // What has made room for a large panel is often clear of the small ones.
  const panels = [...some].sort((a, b) => b.width * b.height - a.width * a.height);
  const free = largest(window, panels, aspect, (room, panel) => overlap(room, panel));
  const beside = largest(window, panels, aspect, (room, panel) => overlap(pictureIn(room, aspect), panel));
  const gained = areaOf(beside, aspect) / Math.max(1, areaOf(free, aspect));
  const isNearer = offMiddle(window, pictureIn(beside, aspect)) < offMiddle(window, pictureIn(free, aspect));
  return gained > 1.01 || (gained > 0.99 && isNearer) ? beside : free;
}

/** A panel is avoided by giving up all that lies to one side of it: each of the four is tried. */
function largest(room: Box, panels: readonly Box[], aspect: number, isInTheWay: (room: Box, panel: Box) => boolean): Box {
  const panel = panels.find((each) => isInTheWay(room, each));
  if (!panel) return room;
  const { left, top, width, height } = panel;
  const [right, bottom] = [room.left + room.width, room.top + room.height];
  const rest = panels.filter((each) => each !== panel);
  const cuts = [
    box(room.left, room.top, left - MARGIN, bottom),
    box(left + width + MARGIN, room.top, right, bottom),
    box(room.left, room.top, right, top - MARGIN),
    box(room.left, top + height + MARGIN, right, bottom),
  ].map((cut) => largest(cut, rest, aspect, isInTheWay));
  return cuts.reduce((best, cut) => (areaOf(cut, aspect) > areaOf(best, aspect) ? cut : best));
}

/** The largest picture of this aspect in the middle of a room. */
export function pictureIn({ left, top, width, height }: Box, aspect: number): Box {
  const across = Math.min(width, height * aspect);
  const down = across / aspect;
  return { left: left + (width - across) / 2, top: top + (height - down) / 2, width: across, height: down };
}

/** How far the middles of two boxes are apart. */
function offMiddle(a: Box, b: Box): number {
  return Math.hypot(a.left + a.width / 2 - b.left - b.width / 2, a.top + a.height / 2 - b.top - b.height / 2);
}

function box(left: number, top: number, right: number, bottom: number): Box {
  return { left, top, width: Math.max(0, right - left), height: Math.max(0, bottom - top) };
}

function overlap(a: Box, b: Box): boolean {
  return a.left < b.left + b.width && b.left < a.left + a.width && a.top < b.top + b.height && b.top < a.top + a.height;
}

/** Of the largest picture of this aspect in it. */
function areaOf(room: Box, aspect: number): number {
  const { width, height } = pictureIn(room, aspect);
  return width * height;
}
