// Mouse, touch, wheel and arrow keys over the 3D view → the orbit.

import type { Orbit } from "../view/orbit.js";

/** For a drag across the whole height of the view. */
const DEG_PER_HEIGHT = 90;
/** A drag across the view pans by about its width at the pivot's depth. */
const PAN_PER_HEIGHT = 0.8;
const KEY_DEG = 4;
const KEY_PAN = 0.04;
const KEY_ZOOM = 1.1;
const WHEEL_ZOOM = 0.0012;
/** Pixels per unit of a wheel that counts in pixels, lines or pages. */
const WHEEL_PX = [1, 32, 400];

/** @param touched Somebody takes hold of the view. */
export function attachGestures(view: HTMLElement, orbit: Orbit, moved: () => void, touched: () => void): void {
  const pointers = new Map<number, { x: number; y: number }>();
  const spread = (): { x: number; y: number; distance: number } => {
    const [a, b] = [...pointers.values()] as [{ x: number; y: number }, { x: number; y: number }];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, distance: Math.max(1, Math.hypot(a.x - b.x, a.y - b.y)) };
  };

  view.addEventListener("pointerdown", (event) => {
    touched();
    view.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  view.addEventListener("pointermove", (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) return;
    const height = Math.max(1, view.clientHeight);
    const before = pointers.size === 2 ? spread() : null;
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (before) {
      const after = spread();
      orbit.zoom(before.distance / after.distance);
      orbit.pan(((after.x - before.x) / height) * PAN_PER_HEIGHT, (-(after.y - before.y) / height) * PAN_PER_HEIGHT);
    } else if (pointers.size === 1) {
      const [dx, dy] = [(event.clientX - last.x) / height, (event.clientY - last.y) / height];
      if (event.buttons & 2 || event.shiftKey) orbit.pan(dx * PAN_PER_HEIGHT, -dy * PAN_PER_HEIGHT);
      else orbit.turn(-dx * DEG_PER_HEIGHT, dy * DEG_PER_HEIGHT);
    }
    moved();
  });
  for (const end of ["pointerup", "pointercancel"] as const) {
    view.addEventListener(end, (event) => pointers.delete(event.pointerId));
  }
  view.addEventListener("contextmenu", (event) => event.preventDefault());
  view.addEventListener("dblclick", () => {
    orbit.reset();
    moved();
  });
  view.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      touched();
      orbit.zoom(Math.exp(event.deltaY * (WHEEL_PX[event.deltaMode] ?? 1) * WHEEL_ZOOM));
      moved();
    },
    { passive: false },
  );
}

/** With Shift: to the right, up, and nearer by a zoom. */
const FLIGHTS: Record<string, [right: number, up: number, nearer: number]> = {
  w: [0, 0, 1],
  s: [0, 0, -1],
  a: [-1, 0, 0],
  d: [1, 0, 0],
  e: [0, 1, 0],
  q: [0, -1, 0],
};

/** Arrow keys, zoom keys and, with Shift, the keys that fly. Returns whether the key was one of them. */
export function orbitByKey(event: Pick<KeyboardEvent, "key" | "shiftKey">, orbit: Orbit): boolean {
  const flight = event.shiftKey ? FLIGHTS[event.key.toLowerCase()] : undefined;
  if (flight) {
    const [right, up, nearer] = flight;
    // The scene goes the other way.
    orbit.pan(-right * KEY_PAN, -up * KEY_PAN);
    orbit.zoom(KEY_ZOOM ** -nearer);
    return true;
  }
  const arrows: Record<string, [number, number]> = {
    ArrowLeft: [-1, 0],
    ArrowRight: [1, 0],
    ArrowUp: [0, 1],
    ArrowDown: [0, -1],
  };
  const arrow = arrows[event.key];
  if (arrow && event.shiftKey) orbit.pan(arrow[0] * KEY_PAN, arrow[1] * KEY_PAN);
  else if (arrow) orbit.turn(arrow[0] * KEY_DEG, arrow[1] * KEY_DEG);
  else if (event.key === "+" || event.key === "=") orbit.zoom(1 / KEY_ZOOM);
  else if (event.key === "-" || event.key === "_") orbit.zoom(KEY_ZOOM);
  else return false;
  return true;
}
