// Two pictures side by side, one for each eye: depth without a headset. Pure.

import type { PictureRect } from "./projection.js";

/** `parallel`: the left eye's picture is on the left. `cross`: on the right, for people who squint. */
export const STEREO = ["off", "parallel", "cross"] as const;
export type Stereo = (typeof STEREO)[number];

/** How far the eyes are apart, relative to the subject's distance: 6.3 cm at 1.25 m. */
const EYES = 0.05;

/** One picture of a pair. */
export interface Eye {
  /** Its part of the window. */
  readonly room: PictureRect;
  /** How far the eye is to the right of the middle, relative to the subject's distance. Both look so that the subject is where the screen is. */
  readonly offset: number;
}

/** @param room The part of the window that the pair has to itself. */
export function eyesOf(stereo: Exclude<Stereo, "off">, room: PictureRect): readonly [Eye, Eye] {
  const width = room.width / 2;
  const left = stereo === "parallel" ? -EYES / 2 : EYES / 2;
  return [
    { room: { ...room, width }, offset: left },
    { room: { ...room, width, left: room.left + width }, offset: -left },
  ];
}

/** The next one, for a key. */
export function nextStereo(stereo: Stereo): Stereo {
  return STEREO[(STEREO.indexOf(stereo) + 1) % STEREO.length]!;
}
