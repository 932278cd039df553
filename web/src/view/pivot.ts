// The depth to orbit around: that of the subject rather than of the wall behind it.

import { type DepthPixels, PIXEL_WORDS } from "../codecs/depth_pixels.js";
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
export function pivotDepth(words: Uint32Array, count: number, camera: Camera, zOffset: number): number {
  const step = Math.max(1, Math.floor(count / SAMPLES));
  const widest = (MIDDLE * camera.width) / (2 * camera.fx);
  const all: number[] = [];
  const middle: number[] = [];
  for (let i = 0; i < count; i += step) {
    const z = halfToFloat(words[i * WORDS + 2]! & 0xffff) + zOffset;
    if (!(z > 0)) continue;
    all.push(z);
    if (Math.abs(halfToFloat(words[i * WORDS + 1]! & 0xffff)) < widest * z) middle.push(z);
  }
  return nearerHalf(middle.length > 0 ? middle : all);
}

/** The same of a depth frame's pixels. Only those of the first camera count: it is what the picture is of. */
export function pivotOfPixels({ pixels, layers }: DepthPixels): number {
  const inverse = new Float32Array(pixels.buffer, pixels.byteOffset, pixels.length);
  const first = layers.filter(({ move }) => move === null);
  const step = Math.max(1, Math.floor(first.reduce((sum, { width, height }) => sum + width * height, 0) / SAMPLES));
  const all: number[] = [];
  const middle: number[] = [];
  for (const layer of first) {
    const widest = (MIDDLE * layer.width) / (2 * layer.fx);
    for (let i = 0; i < layer.width * layer.height; i += step) {
      const at = PIXEL_WORDS * (layer.first + i);
      if (pixels[at]! >>> 24 === 0) continue;
      const z = 1 / inverse[at + 1]!;
      all.push(z);
      if (Math.abs(((i % layer.width) + 0.5 - layer.cx) / layer.fx) < widest) middle.push(z);
    }
  }
  return nearerHalf(middle.length > 0 ? middle : all);
}

/** Median of the smaller half; 0 where there is none. */
function nearerHalf(depths: number[]): number {
  // Plain numbers the browser sorts by itself.
  return new Float64Array(depths).sort()[Math.floor(depths.length / 4)] ?? 0;
}
