// SparkJS's packed splat: four little-endian 32-bit words, made and read here.
//
//   w0  R | G<<8 | B<<16 | A<<24          u8 each; colour over rgbMin..rgbMax, alpha over 0..1
//   w1  f16 x | f16 y<<16
//   w2  f16 z | octU<<16 | octV<<24       rotation axis, octahedral
//   w3  sx | sy<<8 | sz<<16 | theta<<24   scale: 0 is zero, else 1 + 254·(ln s − lnMin)/(lnMax − lnMin); theta over 0..π

import { floatToHalf } from "./half.js";

/** 32-bit words of a splat. */
export const WORDS = 4;

/** Splats in a row of Spark's texture: capacities are multiples of it, or Spark cuts off the tail. */
export const ROW = 2048;

/** What the numbers in words mean. */
export interface SplatRange {
  /** Colours and scales that bytes span. */
  readonly rgbMin: number;
  readonly rgbMax: number;
  readonly lnScaleMin: number;
  readonly lnScaleMax: number;
  /** What is added to every z, see far.ts; 0 unless all of the scene is far. */
  readonly zOffset: number;
}

/** SparkJS's own. */
export const DEFAULT_RANGE: SplatRange = { rgbMin: 0, rgbMax: 1, lnScaleMin: -12, lnScaleMax: 9, zOffset: 0 };

/** Smallest capacity Spark draws completely. */
export function capacityFor(count: number): number {
  return Math.max(1, Math.ceil(count / ROW)) * ROW;
}

/** A value in 0..1 as a byte. */
export function unitToByte(value: number): number {
  return Math.round(Math.min(1, Math.max(0, value)) * 255);
}

/** The logarithm of a scale as its byte. */
export function lnScaleToByte(lnScale: number, range: SplatRange): number {
  const unit = (lnScale - range.lnScaleMin) / (range.lnScaleMax - range.lnScaleMin);
  return 1 + Math.round(254 * Math.min(1, Math.max(0, unit)));
}

/** A rotation as octU | octV<<8 | theta<<16. The quaternion need not be normalised. */
export function quatToBytes(w: number, x: number, y: number, z: number): number {
  const norm = Math.hypot(w, x, y, z) || 1;
  const flip = w < 0 ? -1 / norm : 1 / norm;
  const [qw, qx, qy, qz] = [Math.min(1, w * flip), x * flip, y * flip, z * flip];
  const theta = Math.round((2 * Math.acos(qw) * 255) / Math.PI);
  const l1 = Math.abs(qx) + Math.abs(qy) + Math.abs(qz);
  // No rotation: the axis is free, Spark takes x.
  let [px, py] = l1 > 1e-6 ? [qx / l1, qy / l1] : [1, 0];
  if (l1 > 1e-6 && qz < 0) {
    [px, py] = [(1 - Math.abs(py)) * (px >= 0 ? 1 : -1), (1 - Math.abs(px)) * (py >= 0 ? 1 : -1)];
  }
  return Math.round((px * 0.5 + 0.5) * 255) | (Math.round((py * 0.5 + 0.5) * 255) << 8) | (theta << 16);
}

/** Write one splat from its fields as bytes: rgba and the three scales packed, the rotation from {@link quatToBytes}. */
export function writeSplat(
  words: Uint32Array,
  index: number,
  x: number,
  y: number,
  z: number,
  rgba: number,
  scales: number,
  rotation: number,
): void {
  const at = index * WORDS;
  words[at] = rgba;
  words[at + 1] = floatToHalf(x) | (floatToHalf(y) << 16);
  words[at + 2] = floatToHalf(z) | ((rotation & 0xffff) << 16);
  words[at + 3] = scales | ((rotation >>> 16) << 24);
}
