// One plane of integers, depth or opacity: the decoder of what deployments/splats/codecs/depth_map.py describes, to the bit.
// All of it is integers below 2³¹, which JavaScript's engines keep out of floating point.

import { AT, afterOne, afterZero, bit, CODE, LADDER, RANGE, refill, residual, SPAN, START, TOP } from "./bit_coder.js";
import { DecodeError } from "./codec.js";

/** What a plane's integers are: steps of the five levels, and the bounds a decoder clamps to. */
export interface PlaneKind {
  readonly steps: readonly [number, number, number, number, number];
  readonly low: number;
  readonly high: number;
}

const MAX_UNITS = (1 << 22) - 1;

export const DEPTH: PlaneKind = { steps: [3, 3, 5, 7, 15], low: 1, high: MAX_UNITS };

/** A plane of 0..`highest` that comes back exactly. */
export function levels(highest: number): PlaneKind {
  return { steps: [1, 1, 1, 1, 1], low: 0, high: highest };
}

export const MIN_BYTES = 5;

/** By the step between a pixel's neighbours; the last one is a jump. */
const GROUPS = 9;
const JUMP = 8;
const ACTIVITIES = 5;
/** By the residuals before and above it; from the last on they are all alike. */
const ACTIVITY = Uint8Array.of(0, 1, 2, 2, 3, 3, 3, 4);
const BUSY = ACTIVITY.length - 1;
const ZERO_COARSE = 4 * 2 * GROUPS * ACTIVITIES;
const MORE = ZERO_COARSE + 1;
const SIGN = MORE + (GROUPS * ACTIVITIES + 1) * LADDER;
const SIDE = SIGN + 9;
const GAMMA = SIDE + 6;
const MASK = GAMMA + 24;
const BLOCK_HAS_HOLES = MASK + 16;
const BLOCK_IS_HOLES = BLOCK_HAS_HOLES + 3;
const CONTEXTS = BLOCK_IS_HOLES + 1;
const BLOCK = 16;

/** Half of a level: where its pixels are, and their contexts and values. */
interface Pass {
  /** From one pixel of a row to the next. */
  readonly gap: number;
  /** To the two neighbours that a pixel lies between. */
  readonly d: number;
  /** To the pixel beside, whose side an edge is likely to be on. */
  readonly back: number;
  /** First context of zeros, and of sides. */
  readonly zero: number;
  readonly side: number;
  readonly step: number;
  readonly low: number;
  readonly high: number;
  readonly masked: boolean;
}

/** Decodes planes, one after the other, with buffers that it keeps. */
export class PlaneDecoder {
  private readonly states = new Int32Array(CONTEXTS);
  /** Of the pixels of a row: the residual of that above, what is predicted, the group of contexts. */
  private above = new Int32Array(0);
  private predicted = new Int32Array(0);
  private groups = new Uint8Array(0);
  private mask = new Uint8Array(0);
  private classes = new Uint8Array(0);
  private readonly coder = new Int32Array(3);

  /**
   * @param data The plane's bytes.
   * @param width @param height Of the plane; the caller bounds them.
   * @param into Filled with width · height integers; 0 is a pixel without a surface where `kind.low` is 1.
   * @throws DecodeError If no plane of this size has these bytes.
   */
  decode(codec: string, data: Uint8Array, width: number, height: number, kind: PlaneKind, into: Int32Array): void {
    if (data.length < MIN_BYTES) throw new DecodeError(codec, `a plane of ${MIN_BYTES} bytes or more`, `${data.length}`);
    if (data[0]! > (kind.low > 0 ? 1 : 0)) {
      throw new DecodeError(codec, "0, or 1 with a mask before a depth plane", `${data[0]}`);
    }
    const { states, coder } = this;
    states.fill(START);
    const first = ((data[1]! << 24) | (data[2]! << 16) | (data[3]! << 8) | data[4]!) >>> 0;
    coder[AT] = MIN_BYTES;
    coder[SPAN] = RANGE;
    coder[CODE] = first;
    const masked = data[0] === 1;
    if (first < RANGE) {
      if (masked) this.decodeMask(data, width, height);
      this.decodeValues(data, width, height, kind, masked, into);
    }
    if (first >= RANGE || coder[AT] !== data.length || coder[CODE] !== 0) {
      throw new DecodeError(
        codec,
        `a plane of ${width}×${height} in ${data.length} bytes`,
        "another number, or bytes of no plane",
      );
    }
  }

  /** `mask`: 1 where there is no surface. By blocks: most have none, or nothing else. */
  private decodeMask(data: Uint8Array, width: number, height: number): void {
    if (this.mask.length < width * height) this.mask = new Uint8Array(width * height);
    const { mask, states, coder } = this;
    mask.fill(0, 0, width * height);
    const above = new Uint8Array(Math.ceil(width / BLOCK));
    for (let top = 0; top < height; top += BLOCK) {
      let before = 0;
      for (let left = 0, block = 0; left < width; left += BLOCK, block++) {
        before = bit(states, coder, data, BLOCK_HAS_HOLES + before + above[block]!);
        above[block] = before;
        if (before === 0) continue;
        const whole = bit(states, coder, data, BLOCK_IS_HOLES) === 1;
        for (let v = top; v < Math.min(top + BLOCK, height); v++) {
          for (let u = left, i = v * width + left; u < Math.min(left + BLOCK, width); u++, i++) {
            mask[i] = whole ? 1 : bit(states, coder, data, MASK + maskContext(mask, i, u, v, width));
          }
        }
      }
    }
  }

  private decodeValues(data: Uint8Array, width: number, height: number, kind: PlaneKind, masked: boolean, r: Int32Array): void {
    const { low, high, steps } = kind;
    const { mask, states, coder } = this;
    const jump = 16 * steps[4];
    this.prepare(width, steps[4]);
    const { above } = this;
    let stride = 16;
    for (let v = 0; v < height; v += stride) {
      for (let u = 0; u < width; u += stride) {
        const i = v * width + u;
        const a = u > 0 ? r[i - stride]! : v > 0 ? r[i - stride * width]! : 0;
        const b = v > 0 ? r[i - stride * width]! : a;
        const c = u > 0 && v > 0 ? r[i - stride * width - stride]! : b;
        const [most, least] = a > b ? [a, b] : [b, a];
        const p = c >= most ? least : c <= least ? most : a + b - c;
        const hidden = masked && mask[i] === 1;
        const isZero = hidden || bit(states, coder, data, ZERO_COARSE) === 0;
        const k = isZero ? 0 : residual(states, coder, data, MORE + GROUPS * ACTIVITIES * LADDER, SIGN, GAMMA);
        r[i] = clamp(p + Math.imul(k, steps[0]), low, high);
      }
    }
    for (let level = 1; level < 5; level++) {
      const h = stride >> 1;
      const zeros = (level - 1) * 2 * GROUPS * ACTIVITIES;
      const step = steps[level]!;
      // First the pixels between two of a row, then the rows between.
      const rows: Pass = { gap: stride, d: h, back: stride * width, zero: zeros, side: SIDE, step, low, high, masked };
      above.fill(0);
      for (let v = 0; v < height; v += stride) {
        const count = numberOf(width, h, stride);
        this.predict(
          r,
          v * width + h,
          count,
          rows,
          numberOf(width - h, h, stride),
          1,
          numberOf(width - 3 * h, h, stride),
          jump,
        );
        this.decodeRow(data, r, v * width + h, count, rows, v > 0 ? 0 : count);
      }
      const between = { ...rows, gap: h, d: h * width, back: h, zero: zeros + GROUPS * ACTIVITIES, side: SIDE + 3 };
      above.fill(0);
      for (let v = h; v < height; v += stride) {
        const count = numberOf(width, 0, h);
        const far = v >= 3 * h && v + 3 * h < height ? count : 0;
        this.predict(r, v * width, count, between, v + h < height ? count : 0, 0, far, jump);
        this.decodeRow(data, r, v * width, count, between, 1);
      }
      stride = h;
    }
    if (masked) for (let i = 0; i < width * height; i++) if (mask[i] === 1) r[i] = 0;
  }

  /**
   * What each pixel of a row should be, and its group of contexts, by neighbours that are known. In a loop of its own: none waits for
   * the one before it, as they do where they are decoded.
   *
   * @param near Pixels, from the first on, that have a neighbour on the other side, too.
   * @param from @param to Those of them that have two on both sides.
   */
  private predict(
    r: Int32Array,
    first: number,
    count: number,
    { gap, d }: Pass,
    near: number,
    from: number,
    to: number,
    jump: number,
  ): void {
    const { predicted, groups, classes } = this;
    for (let n = 0, i = first; n < count; n++, i += gap) {
      const a = r[i - d]!;
      let p = a;
      let group = 0;
      if (n < near) {
        const b = r[i + d]!;
        const apart = magnitude(a - b);
        if (apart > jump) {
          group = JUMP;
        } else {
          group = classes[apart]!;
          p = (a + b + 1) >> 1;
          if (n >= from && n < to) {
            const c = r[i - 3 * d]!;
            const e = r[i + 3 * d]!;
            if (magnitude(a - c) <= jump && magnitude(b - e) <= jump) p = (9 * (a + b) - c - e + 8) >> 4;
          }
        }
      }
      predicted[n] = p;
      groups[n] = group;
    }
  }

  /** Decodes what a row's pixels differ by from what is predicted. `beside`: from this one on there is a pixel beside, at `back`. */
  private decodeRow(data: Uint8Array, r: Int32Array, first: number, count: number, pass: Pass, beside: number): void {
    const { gap, d, back, zero, side, step, low, high, masked } = pass;
    const { predicted, groups, above, mask, states, coder } = this;
    // Most pixels are as predicted: for them the coder stays in variables.
    let span = coder[SPAN]!;
    let code = coder[CODE]!;
    let before = 0;
    for (let n = 0, i = first; n < count; n++, i += gap) {
      let p = predicted[n]!;
      let k = 0;
      if (!masked || mask[i] === 0) {
        const group = groups[n]!;
        if (group === JUMP) {
          let nearer = 0;
          if (n >= beside) {
            const t = r[i - back]!;
            nearer = magnitude(t - r[i - d]!) < magnitude(t - r[i + d]!) ? 1 : 2;
          }
          coder[SPAN] = span;
          coder[CODE] = code;
          if (bit(states, coder, data, side + nearer) === 1) p = r[i + d]!;
          span = coder[SPAN]!;
          code = coder[CODE]!;
        }
        const up = above[n]!;
        const total = 2 * magnitude(before) + magnitude(up);
        const place = group * ACTIVITIES + ACTIVITY[total < BUSY ? total : BUSY]!;
        const state = states[zero + place]!;
        const bound = Math.imul(span >> 12, state >> 8);
        if (code < bound) {
          states[zero + place] = afterZero(state);
          span = bound;
          if (bound < TOP) {
            coder[SPAN] = span;
            coder[CODE] = code;
            refill(coder, data);
            span = coder[SPAN]!;
            code = coder[CODE]!;
          }
        } else {
          states[zero + place] = afterOne(state);
          coder[SPAN] = span - bound;
          coder[CODE] = code - bound;
          if (span - bound < TOP) refill(coder, data);
          const sign = SIGN + (before > 0 ? 1 : before < 0 ? 2 : 0) + (up > 0 ? 3 : up < 0 ? 6 : 0);
          k = residual(states, coder, data, MORE + place * LADDER, sign, GAMMA);
          span = coder[SPAN]!;
          code = coder[CODE]!;
        }
      }
      r[i] = clamp(p + Math.imul(k, step), low, high);
      above[n] = k;
      before = k;
    }
    coder[SPAN] = span;
    coder[CODE] = code;
  }

  private prepare(width: number, unit: number): void {
    if (this.above.length < width) {
      this.above = new Int32Array(width);
      this.predicted = new Int32Array(width);
      this.groups = new Uint8Array(width);
    }
    if (this.classes.length === 16 * unit + 1) return;
    this.classes = Uint8Array.from({ length: 16 * unit + 1 }, (_, gap) => {
      if (gap < unit) return gap * 4 < unit ? 0 : gap * 2 < unit ? 1 : 2;
      return gap < 2 * unit ? 3 : gap < 4 * unit ? 4 : gap < 8 * unit ? 5 : gap < 16 * unit ? 6 : 7;
    });
  }
}

/** Of the four neighbours that are known, or so far without a hole; none beyond the plane. */
function maskContext(mask: Uint8Array, i: number, u: number, v: number, width: number): number {
  let context = u > 0 ? mask[i - 1]! : 0;
  if (v > 0) {
    context += mask[i - width]! << 1;
    if (u > 0) context += mask[i - width - 1]! << 2;
    if (u + 1 < width) context += mask[i - width + 1]! << 3;
  }
  return context;
}

/** Without a branch: which sign comes next is anyone's guess. */
function magnitude(value: number): number {
  const sign = value >> 31;
  return (value ^ sign) - sign;
}

/** How many of 0, `step`, 2·`step` … are below `width` when `first` is added. */
function numberOf(width: number, first: number, step: number): number {
  return Math.max(0, Math.ceil((width - first) / step));
}

function clamp(value: number, low: number, high: number): number {
  return value < low ? low : value > high ? high : value;
}
