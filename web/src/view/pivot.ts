// The depth to orbit around: that of the subject rather than of the wall behind it.

import { halfToFloat } from "../codecs/half.js";
import { WORDS } from "../codecs/words.js";
import type { Camera } from "../stream/messages.js";

const SAMPLES = 4096;
/** Of the picture's width, around its middle: where people put what they film. */
const MIDDLE = 0.5;

/**
 * Median depth of the nearer half of the splats in the middle of the picture.
 *
 * @returns Model units; 0 when there is no splat in front of the camera.
 */
export function pivotDepth(words: Uint32Array, count: number, camera: Camera): number {
  const step = Math.max(1, Math.floor(count / SAMPLES));
  const widest = (MIDDLE * camera.width) / (2 * camera.fx);
  const all: number[] = [];
  const middle: number[] = [];
  for (let i = 0; i < count; i += step) {
    const z = halfToFloat(words[i * WORDS + 2]! & 0xffff);
    if (!(z > 0)) continue;
    all.push(z);
    if (Math.abs(halfToFloat(words[i * WORDS + 1]! & 0xffff)) < widest * z) middle.push(z);
  }
  const depths = (middle.length > 0 ? middle : all).sort((a, b) => a - b);
  return depths[Math.floor(depths.length / 4)] ?? 0;
}
