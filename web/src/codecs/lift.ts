// Layered depth to Spark's packed words on the CPU: what lift_and_prune and the `packed` codec do on the server
// (splats/layer_lifting.py, lifting.py, pruning.py, codecs/packed.py). Counts are equal; bytes are at most one step apart. The view's
// gpu_lift.ts does the same on the GPU.
//
// Which pixels make splats, depth_pixels.ts has decided. The shape of a splat is not rounded as the server rounds it: it ends in bytes.

import { DecodeError } from "./codec.js";
import { DEPTH_NAME } from "./depth.js";
import { type DepthPixels, MAX_SLOPE, PIXEL_WORDS, type PixelLayer } from "./depth_pixels.js";
import { lnScaleToByte, type SplatRange, WORDS } from "./words.js";

/** What bytes of lifted splats span: the scales that the server's `packed` codec spans as well. */
export const LIFTED_RANGE: SplatRange = {
  rgbMin: 0,
  rgbMax: 1,
  lnScaleMin: Math.log(1e-4),
  lnScaleMax: Math.log(4),
  zOffset: 0,
};

/** The server's constants, see splats/lifting.py. */
export const SIGMA_PX = 0.68;
export const THICKNESS = 0.15;
export const MIN_W = 0.01;
/** Longest axis of a splat in pixels: that of the steepest slope, and a little for the corners of the picture. */
export const LONGEST_PX = 1.05 * Math.sqrt(1 + MAX_SLOPE * MAX_SLOPE);

const f32 = Math.fround;
/** Numbers on their way from float to bits: x, y, z, three scales, a sine squared. */
const floats = new Float32Array(7);
const bits = new Int32Array(floats.buffer);

/** Tables of bytes go by a positive float32 without the last 13 bits of its fraction: 0.1 % of its value. */
const FRACTION_SHIFT = 13;

/** A byte for every such float32. */
function tabulate(byteOf: (value: number) => number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: 1 << (31 - FRACTION_SHIFT) }, (_, upper) => {
    bits[0] = (upper << FRACTION_SHIFT) | (1 << (FRACTION_SHIFT - 1));
    return Number.isFinite(floats[0]!) ? byteOf(floats[0]!) : 255;
  });
}

function angleToByte(half: number): number {
  return Math.round((2 * half * 255) / Math.PI);
}

/** The rotation's angle by the sine of its half, squared. */
const ANGLES = tabulate((sine2) => (sine2 <= 1 ? angleToByte(Math.asin(Math.sqrt(sine2))) : 255));
/** Below it the cosine, as float32, is 1: there is no rotation. */
const NO_SINE2 = 2 ** -24;

/** Lifts frames, one after the other, with buffers that it keeps. */
export class Lifter {
  private inverse = new Float32Array(0);
  private columns = new Float32Array(0);
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
    const { width, height, fx, fy, cx, cy, jump, growth, move } = layer;
    const { inverse: w, scaleBytes } = this;
    const pitch = width + 2;
    const px = f32(1 / fx);
    const py = f32(1 / fy);
    const size = 0.5 * (px + py);
    const sigma = SIGMA_PX * growth;
    const thin = THICKNESS * size * growth;
    const longest = LONGEST_PX * size;
    if (this.columns.length < width) this.columns = new Float32Array(width);
    const columns = this.columns;
    for (let u = 0; u < width; u++) columns[u] = f32(u + 0.5 - cx) * px;
    for (let v = 0, from = layer.first * PIXEL_WORDS; v < height; v++) {
      const y = f32(f32(v + 0.5 - cy) * py);
      for (let u = 0, at = (v + 1) * pitch + 1; u < width; u++, at++, from += PIXEL_WORDS) {
        const colour = pixels[from]!;
        if (colour >>> 24 === 0) continue;
        const here = w[at]!;
        const x = columns[u]!;
        const z = f32(1 / here);
        let X = f32(x * z);
        let Y = f32(y * z);
        let Z = z;
        let qw = 1;
        let qx = 0;
        let qy = 0;
        let qz = 0;
        let sizeA = sigma * size * z;
        let sizeB = sizeA;
        let sizeC = sizeA;
        if (!isRound) {
          // Slopes dz/dx and dz/dy along the picture's axes, from the sides that belong to the same surface, bounded.
          const a = w[at - 1]!;
          const b = w[at + 1]!;
          const c = w[at - pitch]!;
          const d = w[at + pitch]!;
          const onA = isSame(here, a, jump);
          const onB = isSame(here, b, jump);
          const onC = isSame(here, c, jump);
          const onD = isSame(here, d, jump);
          let sx = ((onA ? here - a : 0) + (onB ? b - here : 0)) * (onA && onB ? 0.5 : 1) * -fx * z;
          let sy = ((onC ? here - c : 0) + (onD ? d - here : 0)) * (onC && onD ? 0.5 : 1) * -fy * z;
          sx = sx > MAX_SLOPE ? MAX_SLOPE : sx < -MAX_SLOPE ? -MAX_SLOPE : sx;
          sy = sy > MAX_SLOPE ? MAX_SLOPE : sy < -MAX_SLOPE ? -MAX_SLOPE : sy;
          // The pixel's footprint on the surface, and the principal axes of it: see _lift on the server.
          const ux = (1 + sx * x) * px;
          const uy = sx * y * px;
          const uz = sx * px;
          const vx = sy * x * py;
          const vy = (1 + sy * y) * py;
          const vz = sy * py;
          const e = ux * ux + uy * uy + uz * uz;
          const f = ux * vx + uy * vy + uz * vz;
          const g = vx * vx + vy * vy + vz * vz;
          const apart = (e > g ? e - g : g - e) + 0.005 * (e + g);
          const perSpread = 1 / Math.sqrt(apart * apart + 4 * f * f + 1e-24);
          const cos = Math.sqrt(0.5 + 0.5 * apart * perSpread);
          const sin = ((e >= g ? f : -f) * perSpread) / cos;
          // Axis a of unit length, the normal n = u × v / |u × v|, and b = n × a; turning u and v keeps their area.
          let ax = cos * ux + sin * vx;
          let ay = cos * uy + sin * vy;
          let az = cos * uz + sin * vz;
          const lengthA = Math.sqrt(ax * ax + ay * ay + az * az);
          const perA = 1 / lengthA;
          ax *= perA;
          ay *= perA;
          az *= perA;
          const facing = 1 + sx * x + sy * y;
          const area = Math.sqrt(sx * sx + sy * sy + facing * facing);
          const perArea = 1 / area;
          const nx = -sx * perArea;
          const ny = -sy * perArea;
          const nz = facing * perArea;
          const bx = ny * az - nz * ay;
          const by = nz * ax - nx * az;
          const bz = nx * ay - ny * ax;
          const lengthB = area * px * py * perA;
          qw = 1 + ax + by + nz;
          if (qw < MIN_W) qw = MIN_W;
          qx = bz - ny;
          qy = nx - az;
          qz = ay - bx;
          sizeA = sigma * z * (lengthA < longest ? lengthA : longest);
          sizeB = sigma * z * (lengthB < longest ? lengthB : longest);
          sizeC = thin * z;
        }
        if (move !== null) {
          const { turn, quat, shift } = move;
          const [dx, dy, dz] = [f32(X - shift[0]), f32(Y - shift[1]), f32(Z - shift[2])];
          X = turn[0]! * dx + turn[1]! * dy + turn[2]! * dz;
          Y = turn[3]! * dx + turn[4]! * dy + turn[5]! * dz;
          Z = f32(turn[6]! * dx + turn[7]! * dy + turn[8]! * dz);
          const [tw, tx, ty, tz] = quat;
          const [rw, rx, ry, rz] = [qw, qx, qy, qz];
          qw = tw * rw - tx * rx - ty * ry - tz * rz;
          qx = tw * rx + tx * rw + ty * rz - tz * ry;
          qy = tw * ry - tx * rz + ty * rw + tz * rx;
          qz = tw * rz + tx * ry - ty * rx + tz * rw;
          if (qw < 0) [qw, qx, qy, qz] = [-qw, -qx, -qy, -qz];
        }
        floats[0] = X;
        floats[1] = Y;
        floats[2] = Z - zOffset;
        floats[3] = sizeA;
        floats[4] = sizeB;
        floats[5] = sizeC;
        const slot = count * WORDS;
        count++;
        into[slot] = colour;
        into[slot + 1] = halfOf(bits[0]!) | (halfOf(bits[1]!) << 16);
        // The sine of half the angle, squared, says the angle; the vector's direction is the axis.
        const vector = qx * qx + qy * qy + qz * qz;
        const sine2 = vector / (qw * qw + vector);
        floats[6] = sine2;
        const theta = sine2 < 0.75 ? ANGLES[bits[6]! >> FRACTION_SHIFT]! : angleToByte(Math.acos(Math.sqrt(1 - sine2)));
        let axis = NO_ROTATION;
        if (sine2 > NO_SINE2) {
          const perSum = 1 / ((qx < 0 ? -qx : qx) + (qy < 0 ? -qy : qy) + (qz < 0 ? -qz : qz));
          let p = qx * perSum;
          let q = qy * perSum;
          if (qz < 0) {
            const folded = (1 - (q < 0 ? -q : q)) * (p >= 0 ? 1 : -1);
            q = (1 - (p < 0 ? -p : p)) * (q >= 0 ? 1 : -1);
            p = folded;
          }
          axis = ((p * 127.5 + 128) << 16) | ((q * 127.5 + 128) << 24);
        }
        into[slot + 2] = halfOf(bits[2]!) | axis;
        into[slot + 3] =
          scaleBytes[bits[3]! >> FRACTION_SHIFT]! |
          (scaleBytes[bits[4]! >> FRACTION_SHIFT]! << 8) |
          (scaleBytes[bits[5]! >> FRACTION_SHIFT]! << 16) |
          (theta << 24);
      }
    }
    return count;
  }

  private fillScaleBytes(range: SplatRange): void {
    const same = this.scaleRange?.lnScaleMin === range.lnScaleMin && this.scaleRange.lnScaleMax === range.lnScaleMax;
    if (same) return;
    this.scaleRange = range;
    this.scaleBytes = tabulate((scale) => lnScaleToByte(Math.log(scale), range));
  }
}

/** The axis of no rotation, (1, 0, 0). */
const NO_ROTATION = (255 << 16) | (128 << 24);

/** Whether two neighbours' inverse depths belong to one surface. Without depth (0) nothing does. */
function isSame(here: number, there: number, jump: number): boolean {
  const least = here < there ? here : there;
  const most = here < there ? there : here;
  return f32(most - least) <= f32(jump * least) && least > 0;
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
