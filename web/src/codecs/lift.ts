// Layered depth to Spark's packed words on the CPU: what lift_and_prune and the `packed` codec do on the server
// (splats/layer_lifting.py, lifting.py, pruning.py, codecs/packed.py). Counts are equal; bytes are at most one step apart. The view's
// gpu_lift.ts does the same on the GPU.
//
// Which pixels make splats, depth_pixels.ts has decided. The shape of a splat is not rounded as the server rounds it: it ends in bytes.

import { DecodeError } from "./codec.js";
import { DEPTH_NAME } from "./depth.js";
import { type DepthPixels, PIXEL_WORDS, type PixelLayer } from "./depth_pixels.js";
import {
  FRACTION_SHIFT,
  findAxes,
  findEllipses,
  findSlopes,
  join,
  moveSplats,
  placeFlat,
  placeRound,
  Row,
  SCALES,
  SPLAT_FLOATS,
  tabulate,
} from "./lift_rows.js";
import { lnScaleToByte, type SplatRange, WORDS } from "./words.js";

/** What bytes of lifted splats span: the scales that the server's `packed` codec spans as well. */
export const LIFTED_RANGE: SplatRange = {
  rgbMin: 0,
  rgbMax: 1,
  lnScaleMin: Math.log(1e-4),
  lnScaleMax: Math.log(4),
  zOffset: 0,
};

const f32 = Math.fround;

/** Lifts frames, one after the other, with buffers that it keeps. */
export class Lifter {
  private inverse = new Float32Array(0);
  private row = new Row(0);
  private scaleBytes = new Uint8Array(0);
  private scaleRange: SplatRange | null = null;

  /**
   * @param frame The pixels; those that make no splat have no words.
   * @param range What bytes of colours (0..1) and scales are to span.
   * @param into Where to put the words; its length is the capacity. What is left of it is cleared.
   * @throws DecodeError If the words don't fit.
   */
  lift(frame: DepthPixels, range: SplatRange, into: Uint32Array): void {
    if (into.length < frame.count * WORDS) {
      throw new DecodeError(DEPTH_NAME, `room for ${frame.count} splats`, `${into.length / WORDS}`);
    }
    this.fillScaleBytes(range);
    let count = 0;
    for (const layer of frame.layers) {
      this.frameDepth(frame.pixels, layer);
      count = this.writeWords(frame, layer, into, count);
    }
    into.fill(0, count * WORDS);
  }

  /** Inverse depth in a frame of one pixel that continues it in a straight line. */
  private frameDepth(pixels: Uint32Array<ArrayBuffer>, layer: PixelLayer): void {
    const { first, width, height, jump } = layer;
    const pitch = width + 2;
    const size = pitch * (height + 2);
    if (this.inverse.length < size) this.inverse = new Float32Array(size);
    const w = this.inverse;
    const values = new Float32Array(pixels.buffer, pixels.byteOffset, pixels.length);
    for (let v = 0, from = first * PIXEL_WORDS + 1; v < height; v++) {
      for (let u = 0, at = (v + 1) * pitch + 1; u < width; u++, at++, from += PIXEL_WORDS) w[at] = values[from]!;
    }
    const extend = (outer: number, near: number, far: number): void => {
      const a = w[near]!;
      const b = w[far]!;
      w[outer] = isSame(a, b, jump) ? f32(f32(2 * a) - b) : a;
    };
    for (let v = 1; v <= height; v++) {
      const row = v * pitch;
      extend(row, row + 1, row + Math.min(2, width));
      extend(row + width + 1, row + width, row + Math.max(width - 1, 1));
    }
    for (let u = 0; u < pitch; u++) {
      extend(u, pitch + u, Math.min(2, height) * pitch + u);
      extend((height + 1) * pitch + u, height * pitch + u, Math.max(height - 1, 1) * pitch + u);
    }
  }

  /** Appends the words of a layer's splats after the first `count`; returns how many there are then. */
  private writeWords(frame: DepthPixels, layer: PixelLayer, into: Uint32Array, count: number): number {
    const { pixels, isRound, zOffset } = frame;
    const { first, width, height, fx, fy, cx, cy, jump, move } = layer;
    if (this.row.width < width) this.row = new Row(width);
    const { row, inverse } = this;
    const px = f32(1 / fx);
    const py = f32(1 / fy);
    for (let u = 0; u < width; u++) row.x[u] = f32(f32(u + 0.5 - cx) * px);
    const pitch = width + 2;
    join(inverse, 1, pitch, width, jump, row.below);
    for (let v = 0; v < height; v++) {
      const above = row.below;
      row.below = row.above;
      row.above = above;
      const at = (v + 1) * pitch + 1;
      join(inverse, at - 1, 1, width + 1, jump, row.before);
      join(inverse, at, pitch, width, jump, row.below);
      findSlopes(row, inverse, at, layer);
      const y = f32(f32(v + 0.5 - cy) * py);
      const from = (first + v * width) * PIXEL_WORDS;
      const to = count * WORDS;
      if (!isRound) findEllipses(row, y, layer);
      const splats = (isRound ? placeRound : placeFlat)(row, y, layer, pixels, from, into, to);
      if (move !== null) moveSplats(row, splats, move);
      findAxes(row, splats);
      this.writeRow(splats, zOffset, into, to);
      count += splats;
    }
    return count;
  }

  /** All of the row's words but the first, the colours, from `to` on. */
  private writeRow(count: number, zOffset: number, into: Uint32Array, to: number): void {
    const { scaleBytes } = this;
    const { floats, bits, axis, angle } = this.row;
    if (zOffset !== 0) for (let at = 2; at < count * SPLAT_FLOATS; at += SPLAT_FLOATS) floats[at] = floats[at]! - zOffset;
    for (let i = 0, at = 0; i < count; i++, at += SPLAT_FLOATS, to += WORDS) {
      into[to + 1] = halfOf(bits[at]!) | (halfOf(bits[at + 1]!) << 16);
      into[to + 2] = halfOf(bits[at + 2]!) | axis[i]!;
      into[to + 3] =
        scaleBytes[bits[at + SCALES]! >> FRACTION_SHIFT]! |
        (scaleBytes[bits[at + SCALES + 1]! >> FRACTION_SHIFT]! << 8) |
        (scaleBytes[bits[at + SCALES + 2]! >> FRACTION_SHIFT]! << 16) |
        angle[i]!;
    }
  }

  private fillScaleBytes(range: SplatRange): void {
    const same = this.scaleRange?.lnScaleMin === range.lnScaleMin && this.scaleRange.lnScaleMax === range.lnScaleMax;
    if (same) return;
    this.scaleRange = range;
    this.scaleBytes = tabulate((scale) => lnScaleToByte(Math.log(scale), range));
  }
}

/** Whether two neighbours' inverse depths belong to one surface, as {@link join} has it. */
function isSame(here: number, there: number, jump: number): boolean {
  const apart = Math.abs(f32(there - here));
  return apart <= f32(jump * here) && apart <= f32(jump * there);
}

/** Bits of the half next to a float32, ties to even, at most 65504. */
function halfOf(float: number): number {
  const sign = (float >>> 16) & 0x8000;
  const magnitude = float & 0x7fffffff;
  if (magnitude >= 0x477fe000) return sign | 0x7bff;
  if (magnitude < 0x38800000) return sign | smallHalf(magnitude);
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1)) >> 13);
}

const small = new Float32Array(1);
const smallBits = new Int32Array(small.buffer);

/** Below 2⁻¹⁴ the last bit of a half is 2⁻²⁴, which is the last bit of a float32 in ½..1: adding ½ rounds to it. */
function smallHalf(magnitude: number): number {
  smallBits[0] = magnitude;
  small[0] = small[0]! + 0.5;
  return smallBits[0]! - 0x3f000000;
}
