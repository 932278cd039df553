// The `packed` codec: SparkJS's own words. Little-endian:
//
//   0  4 bytes  SPPK            16  f32  rgbMax
//   4  u8       version, 1      20  f32  lnScaleMin
//   5  3 bytes  0               24  f32  lnScaleMax
//   8  u32      count           28  f32  zOffset
//   12 f32      rgbMin          32  u32 [count, 4]  words, see words.ts

import { aligned, type Codec, checkHeader, checkSize, type DecodedSplats, DecodeError, viewOf } from "./codec.js";
import { isOffset, MAX_OFFSET } from "./far.js";
import { type SplatRange, WORDS } from "./words.js";

const NAME = "packed";
const HEADER_BYTES = 32;

export const packed: Codec = {
  name: NAME,
  count: (data) => checkHeader(NAME, data, "SPPK", HEADER_BYTES, false),
  decode(data, into): DecodedSplats {
    const count = checkHeader(NAME, data, "SPPK", HEADER_BYTES, false);
    checkSize(NAME, data, HEADER_BYTES + 16 * count, count, into);
    const range = readRange(data);
    const bytes = aligned(data);
    into.set(new Uint32Array(bytes.buffer, bytes.byteOffset + HEADER_BYTES, count * WORDS));
    into.fill(0, count * WORDS);
    checkFinite(into, count);
    return { count, words: into, range };
  },
};

/** The codec's bytes of some words. */
export function packedOf(
  words: Uint32Array,
  { rgbMin, rgbMax, lnScaleMin, lnScaleMax, zOffset }: SplatRange,
): Uint8Array<ArrayBuffer> {
  const data = new Uint8Array(HEADER_BYTES + 4 * words.length);
  const view = new DataView(data.buffer);
  data.set(new TextEncoder().encode("SPPK"));
  data[4] = 1;
  view.setUint32(8, words.length / WORDS, true);
  const floats = [rgbMin, rgbMax, lnScaleMin, lnScaleMax, zOffset];
  for (const [i, value] of floats.entries()) view.setFloat32(12 + 4 * i, value, true);
  // Words in memory are little-endian wherever there is WebGL.
  data.set(new Uint8Array(words.buffer, words.byteOffset, words.byteLength), HEADER_BYTES);
  return data;
}

function readRange(data: Uint8Array): SplatRange {
  const view = viewOf(data);
  const [rgbMin, rgbMax, lnScaleMin, lnScaleMax, zOffset] = [12, 16, 20, 24, 28].map((at) => view.getFloat32(at, true)) as [
    number,
    number,
    number,
    number,
    number,
  ];
  // NaN fails both comparisons; an infinite bound fails the subtraction.
  if (!(rgbMin < rgbMax && Number.isFinite(rgbMax - rgbMin))) {
    throw new DecodeError(NAME, "rgbMin < rgbMax", `${rgbMin} and ${rgbMax}`);
  }
  if (!(lnScaleMin < lnScaleMax && Number.isFinite(lnScaleMax - lnScaleMin))) {
    throw new DecodeError(NAME, "lnScaleMin < lnScaleMax", `${lnScaleMin} and ${lnScaleMax}`);
  }
  if (!isOffset(zOffset)) throw new DecodeError(NAME, `0, or an offset of 8 to ${MAX_OFFSET} at byte 28`, `${zOffset}`);
  return { rgbMin, rgbMax, lnScaleMin, lnScaleMax, zOffset };
}

/** Halves with a full exponent are infinite or NaN; one of them would blank Spark's whole sort. */
function checkFinite(words: Uint32Array, count: number): void {
  for (let i = 0, at = 0; i < count; i++, at += WORDS) {
    const xy = words[at + 1]!;
    const z = words[at + 2]!;
    if ((xy & 0x7c00) === 0x7c00 || (xy & 0x7c000000) === 0x7c000000 || (z & 0x7c00) === 0x7c00) {
      throw new DecodeError(NAME, "finite centres", `an infinite or undefined one in splat ${i}`);
    }
  }
}
