// Planes to Spark's packed words: what from_planes in deployments/splats/codecs/planes_values.py and then the `packed` codec do on
// the server, in one pass over the pixels.

import { diagonalise, MATRIX } from "./ellipsoid.js";
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
/** Of half its angle: below it the cosine, as float32, is 1. */
const NO_SINE = 2 ** -12;

const matrix = new Float64Array(MATRIX);
const centre = new Float64Array(3);
const columns = new Float64Array(9);
/** Where the entries of `matrix` are: xx, yy, zz, xy, xz, yz. */
const ROW_OF = Uint8Array.of(0, 1, 2, 0, 0, 1);
const COLUMN_OF = Uint8Array.of(0, 1, 2, 1, 2, 2);

/** Appends a view's splats after the first `count`; returns how many there are then. */
export function writeView(view: PlanesView, planes: PixelPlanes, range: SplatRange, into: Uint32Array, count: number): number {
  const { width, height, fx, fy, cx, cy } = view.camera;
  const { units, colour, front, side, opacity, offset } = planes;
  const pixel = f32(0.5 / fx) + f32(0.5 / fy);
  const step = offset === null ? 0 : view.offset / HALF_SPAN;
  const [low, high] = [view.lnLow, view.lnHigh];
  const along = (high - low) / 255;
  const beside = (high - low) / 254;
  const pose = view.pose === null ? null : Float64Array.from(view.pose);
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
      if (pose !== null) moveBack(pose);
      diagonalise(matrix);
      // A scale's byte: 1 + round(254 · (ln s − min) / (max − min)).
      const base = Math.log(pixel * z) - range.lnScaleMin;
      const alpha = opacity[at]! || 1;
      const slot = count * WORDS;
      count++;
      into[slot] = colour[at]! | (colour[at + 1]! << 8) | (colour[at + 2]! << 16) | (alpha << 24);
      into[slot + 1] = half(centre[0]!) | (half(centre[1]!) << 16);
      const rotation = rotationBytes();
      into[slot + 2] = half(centre[2]!) | ((rotation & 0xffff) << 16);
      into[slot + 3] =
        scaleByte(matrix[0]!, low, high, base, perLn) |
        (scaleByte(matrix[1]!, low, high, base, perLn) << 8) |
        (scaleByte(matrix[2]!, low, high, base, perLn) << 16) |
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

/** octU | octV<<8 | theta<<16 of the rotation of `matrix`. */
function rotationBytes(): number {
  const qw = matrix[6]!;
  const qx = matrix[7]!;
  const qy = matrix[8]!;
  const qz = matrix[9]!;
  const sign = qw < 0 ? -1 : 1;
  const sine = Math.sqrt(qx * qx + qy * qy + qz * qz);
  if (sine < NO_SINE) return NO_ROTATION;
  const perSum = sign / (Math.abs(qx) + Math.abs(qy) + Math.abs(qz));
  let p = qx * perSum;
  let q = qy * perSum;
  if (qz * sign < 0) {
    const folded = (1 - Math.abs(q)) * (p >= 0 ? 1 : -1);
    q = (1 - Math.abs(p)) * (q >= 0 ? 1 : -1);
    p = folded;
  }
  const theta = Math.floor((510 / Math.PI) * Math.atan2(sine, qw * sign) + 0.5);
  return Math.floor(p * 127.5 + 128) | (Math.floor(q * 127.5 + 128) << 8) | (theta << 16);
}

/** `centre` and `matrix` from a view's frame to the first camera's: Rᵀ·(c − t) and Rᵀ·M·R. */
function moveBack(pose: Float64Array): void {
  const x = f32(centre[0]!) - pose[3]!;
  const y = f32(centre[1]!) - pose[7]!;
  const z = centre[2]! - pose[11]!;
  for (let i = 0; i < 3; i++) {
    centre[i] = pose[i]! * x + pose[4 + i]! * y + pose[8 + i]! * z;
    // M·R, a column at a time.
    const r0 = pose[i]!;
    const r1 = pose[4 + i]!;
    const r2 = pose[8 + i]!;
    columns[3 * i] = matrix[0]! * r0 + matrix[3]! * r1 + matrix[4]! * r2;
    columns[3 * i + 1] = matrix[3]! * r0 + matrix[1]! * r1 + matrix[5]! * r2;
    columns[3 * i + 2] = matrix[4]! * r0 + matrix[5]! * r1 + matrix[2]! * r2;
  }
  for (let entry = 0; entry < 6; entry++) {
    const i = ROW_OF[entry]!;
    const j = 3 * COLUMN_OF[entry]!;
    matrix[entry] = pose[i]! * columns[j]! + pose[4 + i]! * columns[j + 1]! + pose[8 + i]! * columns[j + 2]!;
  }
}
