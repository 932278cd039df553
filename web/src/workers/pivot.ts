// The depth to orbit around: the median of the nearer half of the splats, which is the subject rather than the wall behind it.

import { halfToFloat } from "../codecs/half.js";
import { WORDS } from "../codecs/words.js";

const SAMPLES = 2048;

/** Model units; 0 when there is no splat in front of the camera. */
export function pivotDepth(words: Uint32Array, count: number): number {
  const step = Math.max(1, Math.floor(count / SAMPLES));
  const depths: number[] = [];
  for (let i = 0; i < count; i += step) {
    const z = halfToFloat(words[i * WORDS + 2]! & 0xffff);
    if (z > 0) depths.push(z);
  }
  depths.sort((a, b) => a - b);
  return depths[Math.floor(depths.length / 4)] ?? 0;
}
