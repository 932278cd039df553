// Planes to Spark's packed words: what from_planes in deployments/splats/codecs/planes_values.py and then the `packed` codec do on
// the server, in one pass over the pixels.

import { principalAxes } from "./ellipsoid.js";
import { floatToHalf } from "./half.js";
import type { PlanesView } from "./planes.js";
import { type SplatRange, WORDS } from "./words.js";

/** A view's planes: of the pictures 4 bytes a pixel, red first. */
export interface PixelPlanes {
  /** Inverse depth; 0 where there is no splat. May be longer than the view. */
  readonly units: Int32Array;
  readonly colour: Uint8Array | Uint8ClampedArray;
  readonly front: Uint8Array | Uint8ClampedArray;
  readonly side: Uint8Array | Uint8ClampedArray;
  readonly opacity: Uint8Array | Uint8ClampedArray;
  /** null: every splat is at its pixel's centre. */
  readonly offset: Uint8Array | Uint8ClampedArray | null;
}

const f32 = Math.fround;
/** Byte of 0, and bytes from there to the bound, of what may be negative. */
const MIDDLE = 128;
const HALF_SPAN = 127;
/** The largest half; an infinite centre would blank Spark's whole sort. */
const MAX_CENTRE = 65504;
/** The axis of no rotation, (1, 0, 0). */
const NO_ROTATION = 255 | (128 << 8);

const axes = new Float64Array(7);
const matrix = new Float64Array(6);
const centre = new Float64Array(3);

/** Appends a view's splats after the first `count`; returns how many there are then. */
export function writeView(view: PlanesView, planes: PixelPlanes, range: SplatRange, into: Uint32Array, count: number): number {
  const { width, height, fx, fy, cx, cy } = view.camera;
  const { units, colour, front, side, opacity, offset } = planes;
  const pixel = f32(0.5 / fx) + f32(0.5 / fy);
  const step = offset === null ? 0 : view.offset / HALF_SPAN;
  const [low, high] = [view.lnLow, view.lnHigh];
  const along = (high - low) / 255;
  const beside = (high - low) / 254;
  const perLn = 254 / (range.lnScaleMax - range.lnScaleMin);
  for (let v = 0, i = 0; v < height; v++) {
    for (let u = 0; u < width; u++, i++) {
      if (units[i] === 0) continue;
      const at = 4 * i;
      const z = f32(1 / f32(units[i]! * view.unit));
      const x = u + 0.5 + (offset === null ? 0 : (offset[at]! - MIDDLE) * step);
      const y = v + 0.5 + (offset === null ? 0 : (offset[at + 1]! - MIDDLE) * step);
      centre[0] = ((x - cx) / fx) * z;
      centre[1] = ((y - cy) / fy) * z;
      centre[2] = z;
      matrix[0] = low + along * front[at]!;
      matrix[1] = low + along * front[at + 1]!;
      matrix[2] = low + along * side[at + 2]!;
      matrix[3] = beside * (front[at + 2]! - MIDDLE);
      matrix[4] = beside * (side[at]! - MIDDLE);
      matrix[5] = beside * (side[at + 1]! - MIDDLE);
      if (view.pose !== null) moveBack(view.pose);
      principalAxes(matrix[0]!, matrix[1]!, matrix[2]!, matrix[3]!, matrix[4]!, matrix[5]!, axes);
      // A scale's byte: 1 + round(254 · (ln s − min) / (max − min)).
      const base = Math.log(pixel * z) - range.lnScaleMin;
      const alpha = opacity[at]! || 1;
      const slot = count * WORDS;
      count++;
      into[slot] = colour[at]! | (colour[at + 1]! << 8) | (colour[at + 2]! << 16) | (alpha << 24);
      into[slot + 1] = half(centre[0]!) | (half(centre[1]!) << 16);
      const rotation = rotationBytes(axes[3]!, axes[4]!, axes[5]!, axes[6]!);
      into[slot + 2] = half(centre[2]!) | ((rotation & 0xffff) << 16);
      into[slot + 3] =
        scaleByte(axes[0]!, low, high, base, perLn) |
        (scaleByte(axes[1]!, low, high, base, perLn) << 8) |
        (scaleByte(axes[2]!, low, high, base, perLn) << 16) |
        ((rotation >>> 16) << 24);
    }
  }
  return count;
}

function half(value: number): number {
  return floatToHalf(value > MAX_CENTRE ? MAX_CENTRE : value < -MAX_CENTRE ? -MAX_CENTRE : value);
}

function scaleByte(ln: number, low: number, high: number, base: number, perLn: number): number {
  const steps = ((ln < low ? low : ln > high ? high : ln) + base) * perLn;
  return 1 + (steps <= 0 ? 0 : steps >= 254 ? 254 : Math.floor(steps + 0.5));
}

/** octU | octV<<8 | theta<<16 of a unit quaternion. */
function rotationBytes(qw: number, qx: number, qy: number, qz: number): number {
  const sign = qw < 0 ? -1 : 1;
  const w = f32(qw * sign);
  if (w >= 1) return NO_ROTATION;
  const perSum = sign / (Math.abs(qx) + Math.abs(qy) + Math.abs(qz));
  let p = qx * perSum;
  let q = qy * perSum;
  if (qz * sign < 0) {
    const folded = (1 - Math.abs(q)) * (p >= 0 ? 1 : -1);
    q = (1 - Math.abs(p)) * (q >= 0 ? 1 : -1);
    p = folded;
  }
  const theta = Math.floor((510 / Math.PI) * Math.acos(w) + 0.5);
  return Math.floor(p * 127.5 + 128) | (Math.floor(q * 127.5 + 128) << 8) | (theta << 16);
}

/** `centre` and `matrix` from a view's frame to the first camera's: Rᵀ·(c − t) and Rᵀ·M·R. */
function moveBack(pose: Float32Array): void {
  const [r00, r01, r02, t0, r10, r11, r12, t1, r20, r21, r22, t2] = pose as unknown as Pose;
  const [x, y, z] = [f32(centre[0]!) - t0, f32(centre[1]!) - t1, centre[2]! - t2];
  centre[0] = r00 * x + r10 * y + r20 * z;
  centre[1] = r01 * x + r11 * y + r21 * z;
  centre[2] = r02 * x + r12 * y + r22 * z;
  const [xx, yy, zz, xy, xz, yz] = matrix as unknown as [number, number, number, number, number, number];
  const a0 = xx * r00 + xy * r10 + xz * r20;
  const a1 = xy * r00 + yy * r10 + yz * r20;
  const a2 = xz * r00 + yz * r10 + zz * r20;
  const b0 = xx * r01 + xy * r11 + xz * r21;
  const b1 = xy * r01 + yy * r11 + yz * r21;
  const b2 = xz * r01 + yz * r11 + zz * r21;
  const c0 = xx * r02 + xy * r12 + xz * r22;
  const c1 = xy * r02 + yy * r12 + yz * r22;
  const c2 = xz * r02 + yz * r12 + zz * r22;
  matrix[0] = r00 * a0 + r10 * a1 + r20 * a2;
  matrix[1] = r01 * b0 + r11 * b1 + r21 * b2;
  matrix[2] = r02 * c0 + r12 * c1 + r22 * c2;
  matrix[3] = r00 * b0 + r10 * b1 + r20 * b2;
  matrix[4] = r00 * c0 + r10 * c1 + r20 * c2;
  matrix[5] = r01 * c0 + r11 * c1 + r21 * c2;
}

type Pose = [number, number, number, number, number, number, number, number, number, number, number, number];
