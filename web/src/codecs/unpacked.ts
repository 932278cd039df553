// Spark's packed words → numbers: what their bytes stand for. words.ts has the layout, and the way there.

import type { SplatRange } from "./words.js";

/** Of a scale of 0, whose logarithm no file can hold. */
const LN_NOTHING = Math.log(1e-9);

/** What each byte stands for: 256 entries each. */
export interface ByteValues {
  /** sRGB, nominally 0..1. */
  readonly colours: Float32Array;
  /** 0..1. */
  readonly opacities: Float32Array;
  /** Natural logarithms of standard deviations. */
  readonly lnScales: Float32Array;
}

/** @param range What the bytes span. */
export function byteValues(range: SplatRange): ByteValues {
  const table = (value: (byte: number) => number): Float32Array => Float32Array.from({ length: 256 }, (_, byte) => value(byte));
  return {
    colours: table((byte) => range.rgbMin + (byte / 255) * (range.rgbMax - range.rgbMin)),
    opacities: table((byte) => byte / 255),
    lnScales: table((byte) => {
      return byte === 0 ? LN_NOTHING : range.lnScaleMin + ((byte - 1) / 254) * (range.lnScaleMax - range.lnScaleMin);
    }),
  };
}

/** The rotation in the third and fourth word: axis, folded onto a square, and angle → w, x, y, z. */
export function quatOf(zAxis: number, scalesAngle: number): [w: number, x: number, y: number, z: number] {
  let [x, y] = [(((zAxis >>> 16) & 255) / 255) * 2 - 1, ((zAxis >>> 24) / 255) * 2 - 1];
  const z = 1 - Math.abs(x) - Math.abs(y);
  if (z < 0) [x, y] = [(1 - Math.abs(y)) * (x >= 0 ? 1 : -1), (1 - Math.abs(x)) * (y >= 0 ? 1 : -1)];
  const length = Math.hypot(x, y, z) || 1;
  const half = ((scalesAngle >>> 24) / 255) * (Math.PI / 2);
  const sine = Math.sin(half) / length;
  return [Math.cos(half), x * sine, y * sine, z * sine];
}
