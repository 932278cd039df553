// Where a scene of elsewhere is put. It may lie around its origin, which is where the camera is: then it is moved to where the camera
// sees it. Pure.

import { floatToHalf, halfToFloat } from "../codecs/half.js";
import { quatOf } from "../codecs/unpacked.js";
import { quatToBytes, WORDS } from "../codecs/words.js";

/** Splats whose places are looked at to see where a scene is. */
export const SAMPLES = 4096;
/** Of a scene that the camera's place is in the middle of, or behind: how many of its radii it is moved away. */
const AWAY = 2.2;
/** Of the splats: as many must be in front of the camera for a scene to be seen from there. */
const IN_FRONT = 0.75;
/** The largest half. */
const MAX_CENTRE = 65504;

export type Vector = readonly [x: number, y: number, z: number];

/**
 * How a scene is moved so that the camera sees it.
 *
 * @param places Of some of its splats, in a frame whose z is forward.
 * @returns null Where it is in front of the camera already.
 */
export function shiftOf(places: readonly Vector[]): Vector | null {
  const inFront = places.filter(([, , z]) => z > 0).length;
  if (inFront >= IN_FRONT * places.length) return null;
  const [x, y, z] = [0, 1, 2].map((axis) => middle(places.map((place) => place[axis]!))) as [number, number, number];
  const radius = middle(places.map((place) => Math.hypot(place[0] - x, place[1] - y, place[2] - z)));
  return [-x, -y, AWAY * radius - z];
}

/**
 * The same in packed words, of which `count` are splats.
 *
 * @param isUp Their y is up and their z towards the viewer: they are turned first.
 */
export function placeWords(words: Uint32Array, count: number, isUp: boolean): void {
  const sign = isUp ? -1 : 1;
  const placeAt = (i: number): Vector => {
    const [xy, z] = [words[i * WORDS + 1]!, words[i * WORDS + 2]!];
    return [halfToFloat(xy & 0xffff), sign * halfToFloat(xy >>> 16), sign * halfToFloat(z & 0xffff)];
  };
  const step = Math.max(1, Math.floor(count / SAMPLES));
  const shift = shiftOf(Array.from({ length: Math.ceil(count / step) }, (_, i) => placeAt(i * step)));
  if (!isUp && !shift) return;
  const [dx, dy, dz] = shift ?? [0, 0, 0];
  const half = (value: number): number => floatToHalf(Math.min(MAX_CENTRE, Math.max(-MAX_CENTRE, value)));
  for (let i = 0, at = 0; i < count; i++, at += WORDS) {
    const [x, y, z] = placeAt(i);
    let [zAxis, scalesAngle] = [words[at + 2]!, words[at + 3]!];
    if (isUp) {
      const [qw, qx, qy, qz] = quatOf(zAxis, scalesAngle);
      const turned = quatToBytes(qw, qx, -qy, -qz);
      zAxis = (turned & 0xffff) << 16;
      scalesAngle = (scalesAngle & 0xffffff) | ((turned >>> 16) << 24);
    }
    words[at + 1] = half(x + dx) | (half(y + dy) << 16);
    words[at + 2] = (zAxis & 0xffff0000) | half(z + dz);
    words[at + 3] = scalesAngle;
  }
}

function middle(values: readonly number[]): number {
  return Float64Array.from(values).sort()[values.length >> 1] ?? 0;
}
