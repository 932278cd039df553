// A row of a depth layer on its way to splats: slopes, footprints, centres and sizes, rotations. Lifter (lift.ts) calls one after the
// other, and makes words of what they leave.
//
// Each is a short loop over plain arrays without a branch that the picture's noise decides: so the processor works on many pixels at a
// time, where one long loop would wait for each root and quotient. For the same reason a sign is read from a float's bits.

import { MAX_SLOPE, type Move, PIXEL_WORDS, type PixelLayer } from "./depth_pixels.js";

/** The server's constants, see splats/lifting.py. */
export const SIGMA_PX = 0.68;
export const THICKNESS = 0.15;
export const MIN_W = 0.01;
/** Longest axis of a splat in pixels: that of the steepest slope, and a little for the corners of the picture. */
export const LONGEST_PX = 1.05 * Math.sqrt(1 + MAX_SLOPE * MAX_SLOPE);

const f32 = Math.fround;

/** Places in {@link Row.floats} of a splat: x, y, z, three scales, the sine of half its angle squared, two signs. */
export const SPLAT_FLOATS = 9;
export const SCALES = 3;
const SINE2 = 6;
const SIGN_X = 7;
const SIGN_Y = 8;

/** Places for the pixels of a row or, where it says so, for its splats, which are as many or fewer. */
export class Row {
  /** The ray through the pixel is (x, y, 1). */
  readonly x: Float64Array;
  /** 1 where a pixel is of one surface with that before it (and the place behind the last: with that behind it), above it, below it. */
  readonly before: Uint8Array;
  above: Uint8Array;
  below: Uint8Array;
  /** Depth, float32. */
  readonly z: Float64Array;
  /** dz/dx and dz/dy along the picture's axes. */
  readonly slopeX: Float64Array;
  readonly slopeY: Float64Array;
  /** The footprint's axis a is cos·(u + tan·v), see {@link findEllipses}: tan, cos², and the square of u + tan·v. */
  readonly tan: Float64Array;
  readonly cos2: Float64Array;
  readonly long2: Float64Array;
  /** Of a splat: its quaternion w, x, y, z, of any length. */
  readonly turns: Float64Array;
  /** Of a splat, see {@link SPLAT_FLOATS}; and the bits of them. */
  readonly floats: Float32Array;
  readonly bits: Int32Array;
  /** Of a splat: two bytes of its axis and one of its angle, where its words have them. */
  readonly axis: Int32Array;
  readonly angle: Int32Array;

  constructor(readonly width: number) {
    const doubles = (): Float64Array => new Float64Array(width);
    this.x = doubles();
    this.before = new Uint8Array(width + 1);
    this.above = new Uint8Array(width);
    this.below = new Uint8Array(width);
    this.z = doubles();
    this.slopeX = doubles();
    this.slopeY = doubles();
    this.tan = doubles();
    this.cos2 = doubles();
    this.long2 = doubles();
    this.turns = new Float64Array(4 * width);
    this.floats = new Float32Array(SPLAT_FLOATS * width);
    this.bits = new Int32Array(this.floats.buffer);
    this.axis = new Int32Array(width);
    this.angle = new Int32Array(width);
  }
}

/**
 * Says of each of `count` pixels from `first` on whether it and the one `step` after it belong to one surface. One with depth and one
 * without (0) never do; what it says of two without is never used, as neither becomes a splat.
 */
export function join(inverse: Float32Array, first: number, step: number, count: number, jump: number, into: Uint8Array): void {
  for (let i = 0, at = first; i < count; i++, at++) {
    const here = inverse[at]!;
    const there = inverse[at + step]!;
    const apart = Math.abs(f32(there - here));
    into[i] = apart <= f32(jump * here) && apart <= f32(jump * there) ? 1 : 0;
  }
}

/** Depths, and slopes from the sides that belong to the same surface, bounded. `first`: the row's first pixel in the framed depth. */
export function findSlopes(row: Row, inverse: Float32Array, first: number, layer: PixelLayer): void {
  const { width, fx, fy } = layer;
  const { before, above, below, z: depths, slopeX, slopeY } = row;
  const pitch = width + 2;
  for (let u = 0, at = first; u < width; u++, at++) {
    const here = inverse[at]!;
    const z = f32(1 / here);
    const onA = before[u]!;
    const onB = before[u + 1]!;
    const onC = above[u]!;
    const onD = below[u]!;
    const a = here - inverse[at - 1]!;
    const b = inverse[at + 1]! - here;
    const c = here - inverse[at - pitch]!;
    const d = inverse[at + pitch]! - here;
    let sx = (a + b) * 0.5;
    let sy = (c + d) * 0.5;
    // At an edge. Most pixels are not.
    if ((onA & onB & onC & onD) === 0) {
      sx = onA & onB ? sx : onA ? a : onB ? b : 0;
      sy = onC & onD ? sy : onC ? c : onD ? d : 0;
    }
    sx *= -fx * z;
    sy *= -fy * z;
    depths[u] = z;
    slopeX[u] = sx > MAX_SLOPE ? MAX_SLOPE : sx < -MAX_SLOPE ? -MAX_SLOPE : sx;
    slopeY[u] = sy > MAX_SLOPE ? MAX_SLOPE : sy < -MAX_SLOPE ? -MAX_SLOPE : sy;
  }
}

/**
 * The principal axes of the pixels' footprints on the surface, see _lift on the server. A pixel covers u = (1 + sx·x, sx·y, sx)·px and
 * v = (sy·x, 1 + sy·y, sy)·py; e, f and g are their products. Axis a is cos·u + sin·v.
 */
export function findEllipses(row: Row, y: number, layer: PixelLayer): void {
  const { width, fx, fy } = layer;
  const { x: rays, slopeX, slopeY, tan, cos2, long2, floats, bits } = row;
  const px = f32(1 / fx);
  const py = f32(1 / fy);
  const pxx = px * px;
  const pyy = py * py;
  const pxy = px * py;
  const rest = y * y + 1;
  for (let i = 0; i < width; i++) {
    const x = rays[i]!;
    const sx = slopeX[i]!;
    const sy = slopeY[i]!;
    const ray2 = x * x + rest;
    const e = pxx * (1 + sx * (2 * x + sx * ray2));
    const g = pyy * (1 + sy * (2 * y + sy * ray2));
    const f = pxy * (sx * y + sy * x + sx * sy * ray2);
    const difference = e - g;
    floats[i] = difference;
    const apart = Math.abs(difference) + 0.005 * (e + g);
    const spread = Math.sqrt(apart * apart + 4 * f * f + 1e-24);
    const both = spread + apart;
    const per = 1 / (spread * both);
    const sign = (bits[i]! >> 31) | 1;
    const t = sign * 2 * f * spread * per;
    tan[i] = t;
    cos2[i] = 0.5 * both * both * per;
    long2[i] = e + t * (2 * f + t * g);
  }
}

/**
 * Flat splats along the surface: the colours go into every fourth word from `to` on, the rest into the row.
 *
 * @param from The row's first pixel in `pixels`, its word.
 * @returns How many there are.
 */
export function placeFlat(
  row: Row,
  y: number,
  layer: PixelLayer,
  pixels: Uint32Array,
  from: number,
  into: Uint32Array,
  to: number,
): number {
  const { width, fx, fy, growth } = layer;
  const { x: rays, z: depths, slopeX, slopeY, tan, cos2, long2: longs, turns, floats } = row;
  const px = f32(1 / fx);
  const py = f32(1 / fy);
  const pxy = px * py;
  const size = 0.5 * (px + py);
  const sigma = SIGMA_PX * growth;
  const thin = THICKNESS * size * growth;
  const longest = LONGEST_PX * size;
  let count = 0;
  for (let i = 0; i < width; i++) {
    const colour = pixels[from + PIXEL_WORDS * i]!;
    if (colour >>> 24 === 0) continue;
    into[to + 4 * count] = colour;
    const x = rays[i]!;
    const z = depths[i]!;
    const sx = slopeX[i]!;
    const sy = slopeY[i]!;
    const t = tan[i]!;
    const long2 = longs[i]!;
    // Axis a is (ax, ay, az) / long, the normal n = (-sx, -sy, facing) / area, b = n × a; turning u and v keeps their area.
    const facing = 1 + sx * x + sy * y;
    const long = Math.sqrt(long2);
    const area = Math.sqrt(sx * sx + sy * sy + facing * facing);
    const lengthA = Math.sqrt(long2 * cos2[i]!);
    const lengthB = (area * pxy) / lengthA;
    const az = sx * px + t * sy * py;
    const ax = px + az * x;
    const ay = t * py + az * y;
    // The quaternion 1 + ax + by + nz, bz - ny, nx - az, ay - bx of the matrix (a, b, n), times what their lengths would divide.
    const unit = long * area;
    const qw = unit + ax * area + facing * ax + sx * az + facing * long;
    const quat = 4 * count;
    turns[quat] = qw < MIN_W * unit ? MIN_W * unit : qw;
    turns[quat + 1] = sy * ax - sx * ay + sy * long;
    turns[quat + 2] = -sx * long - az * area;
    turns[quat + 3] = ay * area + sy * az + facing * ay;
    const scale = sigma * z;
    const at = SPLAT_FLOATS * count;
    floats[at] = x * z;
    floats[at + 1] = y * z;
    floats[at + 2] = z;
    floats[at + 3] = scale * (lengthA < longest ? lengthA : longest);
    floats[at + 4] = scale * (lengthB < longest ? lengthB : longest);
    floats[at + 5] = thin * z;
    count++;
  }
  return count;
}

/** Round splats of a pixel's size, in the same way. */
export function placeRound(
  row: Row,
  y: number,
  layer: PixelLayer,
  pixels: Uint32Array,
  from: number,
  into: Uint32Array,
  to: number,
): number {
  const { width, fx, fy, growth } = layer;
  const { x: rays, z: depths, turns, floats } = row;
  const sigma = SIGMA_PX * growth * 0.5 * (f32(1 / fx) + f32(1 / fy));
  let count = 0;
  for (let i = 0; i < width; i++) {
    const colour = pixels[from + PIXEL_WORDS * i]!;
    if (colour >>> 24 === 0) continue;
    into[to + 4 * count] = colour;
    const z = depths[i]!;
    const at = SPLAT_FLOATS * count;
    floats[at] = rays[i]! * z;
    floats[at + 1] = y * z;
    floats[at + 2] = z;
    floats.fill(sigma * z, at + 3, at + 6);
    turns[4 * count] = 1;
    turns.fill(0, 4 * count + 1, 4 * count + 4);
    count++;
  }
  return count;
}

/** Takes the row's splats from their camera's frame to the first camera's. */
export function moveSplats(row: Row, count: number, { turn, quat, shift }: Move): void {
  const { turns, floats } = row;
  const [tw, tx, ty, tz] = quat;
  for (let i = 0, at = 0, q = 0; i < count; i++, at += SPLAT_FLOATS, q += 4) {
    const x = f32(floats[at]! - shift[0]);
    const y = f32(floats[at + 1]! - shift[1]);
    const z = f32(floats[at + 2]! - shift[2]);
    floats[at] = turn[0]! * x + turn[1]! * y + turn[2]! * z;
    floats[at + 1] = turn[3]! * x + turn[4]! * y + turn[5]! * z;
    floats[at + 2] = turn[6]! * x + turn[7]! * y + turn[8]! * z;
    const [rw, rx, ry, rz] = [turns[q]!, turns[q + 1]!, turns[q + 2]!, turns[q + 3]!];
    const w = tw * rw - tx * rx - ty * ry - tz * rz;
    const sign = w < 0 ? -1 : 1;
    turns[q] = sign * w;
    turns[q + 1] = sign * (tw * rx + tx * rw + ty * rz - tz * ry);
    turns[q + 2] = sign * (tw * ry - tx * rz + ty * rw + tz * rx);
    turns[q + 3] = sign * (tw * rz + tx * ry - ty * rx + tz * rw);
  }
}

/** Tables of bytes go by a positive float32 without the last 13 bits of its fraction: 0.1 % of its value. */
export const FRACTION_SHIFT = 13;
const someFloat = new Float32Array(1);
const someBits = new Int32Array(someFloat.buffer);

/** A byte for every such float32. */
export function tabulate(byteOf: (value: number) => number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: 1 << (31 - FRACTION_SHIFT) }, (_, upper) => {
    someBits[0] = (upper << FRACTION_SHIFT) | (1 << (FRACTION_SHIFT - 1));
    return Number.isFinite(someFloat[0]!) ? byteOf(someFloat[0]!) : 255;
  });
}

function angleToByte(half: number): number {
  return Math.round((2 * half * 255) / Math.PI);
}

/** The rotation's angle by the sine of its half, squared. */
const ANGLES = tabulate((sine2) => (sine2 <= 1 ? angleToByte(Math.asin(Math.sqrt(sine2))) : 255));
/** From here on a step of the table is too much. */
const STEEP = 0.75;
/** Below it the cosine, as float32, is 1: there is no rotation. */
const NO_SINE2 = 2 ** -24;
/** The axis of no rotation, (1, 0, 0). */
const NO_ROTATION = (255 << 16) | (128 << 24);

/** Bytes of the row's rotations: the vector's direction is the axis, octahedral. */
export function findAxes(row: Row, count: number): void {
  const { turns, floats, bits, axis, angle } = row;
  for (let i = 0, q = 0, at = 0; i < count; i++, q += 4, at += SPLAT_FLOATS) {
    const w = turns[q]!;
    const x = turns[q + 1]!;
    const y = turns[q + 2]!;
    const z = turns[q + 3]!;
    const vector = x * x + y * y + z * z;
    const sine2 = vector / (w * w + vector);
    floats[at + SINE2] = sine2;
    const tabled = ANGLES[bits[at + SINE2]! >> FRACTION_SHIFT]!;
    angle[i] = (sine2 < STEEP ? tabled : angleToByte(Math.acos(Math.sqrt(1 - sine2)))) << 24;
    // A place behind the octahedron is folded outwards, by its |z|. Without a negative zero, whose sign would be another's.
    const fold = 0.5 * (Math.abs(z) - z);
    floats[at + SIGN_X] = x + 0;
    floats[at + SIGN_Y] = y + 0;
    const perSum = 127.5 / (Math.abs(x) + Math.abs(y) + Math.abs(z));
    const p = 128 + (x + ((bits[at + SIGN_X]! >> 31) | 1) * fold) * perSum;
    const r = 128 + (y + ((bits[at + SIGN_Y]! >> 31) | 1) * fold) * perSum;
    axis[i] = sine2 > NO_SINE2 ? (p << 16) | (r << 24) : NO_ROTATION;
  }
}
