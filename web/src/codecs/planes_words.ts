// Planes to Spark's packed words: what from_planes in deployments/splats/codecs/planes_values.py and then the `packed` codec do on
// the server, in one pass over the pixels.

import { diagonalise, type Matrices, newMatrices } from "./ellipsoid.js";
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

/** Of a row: its matrices, and the pixels that they are of. */
let matrices = newMatrices(0);
let places = new Int32Array(0);
let centres = new Float64Array(0);
const columns = new Float64Array(9);
/** Where the entries of a matrix are: xx, yy, zz, xy, xz, yz. */
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
  if (places.length < width) {
    matrices = newMatrices(width);
    places = new Int32Array(width);
    centres = new Float64Array(3 * width);
  }
  const [xx, yy, zz, xy, xz, yz] = matrices;
  for (let v = 0; v < height; v++) {
    let n = 0;
    for (let u = 0, i = v * width; u < width; u++, i++) {
      if (units[i] === 0) continue;
      const at = 4 * i;
      const z = f32(1 / f32(units[i]! * view.unit));
      const x = u + 0.5 + (offset === null ? 0 : (offset[at]! - MIDDLE) * step);
      const y = v + 0.5 + (offset === null ? 0 : (offset[at + 1]! - MIDDLE) * step);
      centres[3 * n] = ((x - cx) / fx) * z;
      centres[3 * n + 1] = ((y - cy) / fy) * z;
      centres[3 * n + 2] = z;
      xx[n] = low + along * front[at]!;
      yy[n] = low + along * front[at + 1]!;
      zz[n] = low + along * side[at + 2]!;
      xy[n] = beside * (front[at + 2]! - MIDDLE);
      xz[n] = beside * (side[at]! - MIDDLE);
      yz[n] = beside * (side[at + 1]! - MIDDLE);
      places[n++] = i;
    }
    if (pose !== null) for (let j = 0; j < n; j++) moveBack(pose, j);
    diagonalise(matrices, n);
    for (let j = 0; j < n; j++) {
      const at = 4 * places[j]!;
      const z = f32(1 / f32(units[places[j]!]! * view.unit));
      // A scale's byte: 1 + round(254 · (ln s − min) / (max − min)).
      const base = Math.log(pixel * z) - range.lnScaleMin;
      const alpha = opacity[at]! || 1;
      const slot = count * WORDS;
      count++;
      into[slot] = colour[at]! | (colour[at + 1]! << 8) | (colour[at + 2]! << 16) | (alpha << 24);
      into[slot + 1] = half(centres[3 * j]!) | (half(centres[3 * j + 1]!) << 16);
      const rotation = rotationBytes(matrices, j);
      into[slot + 2] = half(centres[3 * j + 2]! - range.zOffset) | ((rotation & 0xffff) << 16);
      into[slot + 3] =
        scaleByte(xx[j]!, low, high, base, perLn) |
        (scaleByte(yy[j]!, low, high, base, perLn) << 8) |
        (scaleByte(zz[j]!, low, high, base, perLn) << 16) |
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

/** octU | octV<<8 | theta<<16 of a matrix's rotation. */
function rotationBytes(m: Matrices, j: number): number {
  const qw = m[6][j]!;
  const qx = m[7][j]!;
  const qy = m[8][j]!;
  const qz = m[9][j]!;
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

/** A centre and a matrix of the row from a view's frame to the first camera's: Rᵀ·(c − t) and Rᵀ·M·R. */
function moveBack(pose: Float64Array, j: number): void {
  const x = f32(centres[3 * j]!) - pose[3]!;
  const y = f32(centres[3 * j + 1]!) - pose[7]!;
  const z = centres[3 * j + 2]! - pose[11]!;
  const [xx, yy, zz, xy, xz, yz] = matrices;
  for (let i = 0; i < 3; i++) {
    const r0 = pose[i]!;
    const r1 = pose[4 + i]!;
    const r2 = pose[8 + i]!;
    centres[3 * j + i] = r0 * x + r1 * y + r2 * z;
    // M·R, a column at a time.
    columns[3 * i] = xx[j]! * r0 + xy[j]! * r1 + xz[j]! * r2;
    columns[3 * i + 1] = xy[j]! * r0 + yy[j]! * r1 + yz[j]! * r2;
    columns[3 * i + 2] = xz[j]! * r0 + yz[j]! * r1 + zz[j]! * r2;
  }
  for (let entry = 0; entry < 6; entry++) {
    const i = ROW_OF[entry]!;
    const column = 3 * COLUMN_OF[entry]!;
    const parts = matrices[entry]!;
    parts[j] = pose[i]! * columns[column]! + pose[4 + i]! * columns[column + 1]! + pose[8 + i]! * columns[column + 2]!;
  }
}
