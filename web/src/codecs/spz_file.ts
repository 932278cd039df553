// Packed words → SPZ version 3, the compressed file of Niantic's library (github.com/nianticlabs/spz, MIT): about a seventh of the PLY.
// All of it is one gzip stream. Little-endian:
//
//   0   u32  NGSP                      then, of all N splats, one after the other:
//   4   u32  version, 3                  i24 [N, 3]  centres · 2^fraction bits
//   8   u32  count N                     u8  [N]     opacities · 255
//   12  u8   degree of the sh, 0         u8  [N, 3]  colours: 255·(0.5 + 0.15·DC)
//   13  u8   fraction bits               u8  [N, 3]  scales: 16·(ln s + 10)
//   14  u8   flags, 0                    u32 [N]     quaternions: bits 30 and 31 say which of x, y, z, w is largest and left out;
//   15  u8   0                                       then the other three, the first one highest: a sign and 9 bits of |q|·√2
//
// Its frame has y up and z towards the viewer, where the capture camera's has y down and z forward: half a turn about x.

import { halfToFloat } from "./half.js";
import { byteValues, quatOf } from "./unpacked.js";
import { type SplatRange, WORDS } from "./words.js";

const SH_C0 = 0.28209479177387814;
const HEADER_BYTES = 16;
const SPLAT_BYTES = 20;
const MAGIC = 0x5053474e;
const VERSION = 3;
/** Finer than the halves that the centres come from, wherever a camera sees well. */
const MOST_FRACTION_BITS = 16;
const CENTRE_BITS = 23;

/**
 * @param words Four a splat; those of no opacity are left out.
 * @param range What the words' numbers mean.
 */
export async function spzOf(words: Uint32Array, range: SplatRange): Promise<Blob> {
  const gzip = new CompressionStream("gzip");
  const packing = new Response(gzip.readable).blob();
  const writer = gzip.writable.getWriter();
  await writer.write(plainSpz(words, range));
  await writer.close();
  return packing;
}

/** The same before it is compressed. */
export function plainSpz(words: Uint32Array, range: SplatRange): Uint8Array<ArrayBuffer> {
  const kept: number[] = [];
  let farthest = 1;
  for (let at = 0; at < words.length; at += WORDS) {
    if (words[at]! >>> 24 === 0) continue;
    kept.push(at);
    for (const part of centreAt(words, at, range)) farthest = Math.max(farthest, Math.abs(part));
  }
  const fractionBits = Math.min(MOST_FRACTION_BITS, CENTRE_BITS - 1 - Math.floor(Math.log2(farthest)));
  const count = kept.length;
  const bytes = new Uint8Array(HEADER_BYTES + SPLAT_BYTES * count);
  const view = new DataView(bytes.buffer);
  for (const [at, value] of [MAGIC, VERSION, count].entries()) view.setUint32(4 * at, value, true);
  bytes[13] = fractionBits;

  const { colours, lnScales } = byteValues(range);
  const shadeBytes = colours.map((colour) => toByte(255 * (0.5 + (0.15 * (colour - 0.5)) / SH_C0)));
  const scaleBytes = lnScales.map((lnScale) => toByte(16 * (lnScale + 10)));
  const opacities = HEADER_BYTES + 9 * count;
  const [shades, scales, quats] = [opacities + count, opacities + 4 * count, opacities + 7 * count];
  kept.forEach((at, i) => {
    const [rgba, zAxis, scalesAngle] = [words[at]!, words[at + 2]!, words[at + 3]!];
    centreAt(words, at, range).forEach((part, axis) => {
      const fixed = Math.round(part * 2 ** fractionBits);
      const to = HEADER_BYTES + 9 * i + 3 * axis;
      for (let byte = 0; byte < 3; byte++) bytes[to + byte] = fixed >> (8 * byte);
    });
    bytes[opacities + i] = rgba >>> 24;
    for (let part = 0; part < 3; part++) {
      bytes[shades + 3 * i + part] = shadeBytes[(rgba >>> (8 * part)) & 255]!;
      bytes[scales + 3 * i + part] = scaleBytes[(scalesAngle >>> (8 * part)) & 255]!;
    }
    const [w, x, y, z] = quatOf(zAxis, scalesAngle);
    view.setUint32(quats + 4 * i, smallestThree([x, -y, -z, w]), true);
  });
  return bytes;
}

/** In the file's frame. */
function centreAt(words: Uint32Array, at: number, { zOffset }: SplatRange): [x: number, y: number, z: number] {
  const [xy, z] = [words[at + 1]!, words[at + 2]!];
  return [halfToFloat(xy & 0xffff), -halfToFloat(xy >>> 16), -(halfToFloat(z & 0xffff) + zOffset)];
}

/** A unit quaternion x, y, z, w in 32 bits. Its sign is free, so that the largest part is left out as a positive one. */
function smallestThree(quat: readonly number[]): number {
  let largest = 0;
  for (let part = 1; part < 4; part++) if (Math.abs(quat[part]!) > Math.abs(quat[largest]!)) largest = part;
  const flips = quat[largest]! < 0;
  let bits = largest;
  quat.forEach((value, part) => {
    if (part === largest) return;
    const sign = value < 0 !== flips && value !== 0 ? 512 : 0;
    bits = (bits << 10) | sign | Math.min(511, Math.round(511 * Math.abs(value) * Math.SQRT2));
  });
  return bits >>> 0;
}

function toByte(value: number): number {
  return Math.min(255, Math.max(0, Math.round(value)));
}
