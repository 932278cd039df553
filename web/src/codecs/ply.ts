// The `ply` codec: a 3DGS PLY. Ours and most programs' are plain (little-endian float32, nothing but vertices) and read as they are;
// ply_plain.ts makes the others so. Properties may come in any order, and others may stand between them:
//
//   x y z · scale_0..2 natural logarithms · rot_0..3 wxyz · opacity a logit · f_dc_0..2, colour = 0.5 + 0.28209479·DC
//
// f_rest_* (view-dependent colour) and normals are skipped: live frames are drawn with their DC colour.

import { type Codec, checkSize, type DecodedSplats, DecodeError, viewOf } from "./codec.js";
import { farOffset } from "./far.js";
import { readHeader } from "./ply_header.js";
import { checkNames, isPlain, plainPly } from "./ply_plain.js";
import { DEFAULT_RANGE, lnScaleToByte, quatToBytes, unitToByte, writeSplat } from "./words.js";

const NAME = "ply";
const SH_C0 = 0.28209479177387814;
const MAX_CENTRE = 65504;
const NEEDED = [
  ...["x", "y", "z", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"],
  ...["opacity", "f_dc_0", "f_dc_1", "f_dc_2"],
];

export interface PlyHeader {
  readonly count: number;
  /** Where the vertices begin. */
  readonly start: number;
  /** Properties of a vertex, float32 each. */
  readonly properties: readonly string[];
  /** What was written between the format and the elements, without `comment`. */
  readonly comments: readonly string[];
}

export const ply: Codec = {
  name: NAME,
  count: (data) => readHeader(data).vertex.count,
  decode(bytes, into): DecodedSplats {
    const data = plainPly(bytes);
    const { count, start, properties } = readPlyHeader(data);
    const stride = 4 * properties.length;
    checkSize(NAME, data, start + count * stride, count, into);
    const view = viewOf(data);
    const [x, y, z, s0, s1, s2, r0, r1, r2, r3, alpha, c0, c1, c2] = NEEDED.map((name) => 4 * properties.indexOf(name)) as [
      ...[number, number, number, number, number, number, number],
      ...[number, number, number, number, number, number, number],
    ];
    const zOffset = farOffset(count, (i) => view.getFloat32(start + i * stride + z, true), true);
    for (let i = 0, row = start; i < count; i++, row += stride) {
      const read = (at: number): number => view.getFloat32(row + at, true);
      const centre = [read(x), read(y), read(z)] as const;
      const logs = [read(s0), read(s1), read(s2)] as const;
      const quat = [read(r0), read(r1), read(r2), read(r3)] as const;
      const shade = [read(c0), read(c1), read(c2)] as const;
      const logit = read(alpha);
      const sum = logs[0] + logs[1] + logs[2] + quat[0] + quat[1] + quat[2] + quat[3] + shade[0] + shade[1] + shade[2];
      if (!centre.every((value) => Math.abs(value) <= MAX_CENTRE) || Number.isNaN(sum + logit)) {
        throw new DecodeError(NAME, "finite values", `another in splat ${i} at (${centre.join(", ")})`);
      }
      const colour = (dc: number): number => unitToByte(0.5 + SH_C0 * dc);
      const rgba = colour(shade[0]) | (colour(shade[1]) << 8) | (colour(shade[2]) << 16);
      const opacity = unitToByte(1 / (1 + Math.exp(-logit)));
      const scale = (ln: number): number => lnScaleToByte(ln, DEFAULT_RANGE);
      const scales = scale(logs[0]) | (scale(logs[1]) << 8) | (scale(logs[2]) << 16);
      writeSplat(into, i, centre[0], centre[1], centre[2] - zOffset, rgba | (opacity << 24), scales, quatToBytes(...quat));
    }
    into.fill(0, count * 4);
    return { count, words: into, range: { ...DEFAULT_RANGE, zOffset } };
  },
};

/** @throws DecodeError Where it is no header of a plain PLY of splats. */
export function readPlyHeader(data: Uint8Array): PlyHeader {
  const header = readHeader(data);
  if (!isPlain(header)) throw new DecodeError(NAME, "little-endian vertices of float32", "another PLY");
  checkNames(header);
  const properties = header.vertex.properties.map(({ name }) => name);
  return { count: header.vertex.count, start: header.start, properties, comments: header.comments };
}
