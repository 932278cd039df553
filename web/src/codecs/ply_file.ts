// Packed words → a standard 3DGS PLY, as ply.ts and other tools read it: what is on the screen, to keep. The frame is the capture
// camera's, x right, y down, z forward. Only the precision of the words is in it: half floats, and bytes.

import { halfToFloat } from "./half.js";
import { byteValues, quatOf } from "./unpacked.js";
import { type SplatRange, WORDS } from "./words.js";

const SH_C0 = 0.28209479177387814;
/** In the order of the first implementation's files, without normals. */
const PROPERTIES = [
  ...["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"],
  ...["scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"],
];

/**
 * @param words Four a splat; those of no opacity are left out.
 * @param range What the words' numbers mean.
 * @param comments Lines for the header.
 */
export function plyOf(words: Uint32Array, range: SplatRange, comments: readonly string[] = []): Uint8Array<ArrayBuffer> {
  let count = 0;
  for (let at = 0; at < words.length; at += WORDS) if (words[at]! >>> 24 !== 0) count++;
  const header = [
    "ply",
    "format binary_little_endian 1.0",
    "comment frame: opencv (x right, y down, z forward), the camera is the origin",
    ...comments.map((line) => `comment ${line.replace(/[^ -~]/g, "?")}`),
    `element vertex ${count}`,
    ...PROPERTIES.map((name) => `property float ${name}`),
    "end_header\n",
  ].join("\n");
  const head = new TextEncoder().encode(header);
  const file = new Uint8Array(head.length + 4 * PROPERTIES.length * count);
  file.set(head);
  const view = new DataView(file.buffer);
  let to = head.length;
  const put = (value: number): void => {
    view.setFloat32(to, value, true);
    to += 4;
  };
  const { colours, opacities, lnScales } = byteValues(range);
  const shades = colours.map((colour) => (colour - 0.5) / SH_C0);
  const logits = opacities.map((full) => {
    const opacity = Math.min(1 - 0.5 / 255, full);
    return Math.log(opacity / (1 - opacity));
  });
  for (let at = 0; at < words.length; at += WORDS) {
    const [rgba, xy, zAxis, scalesAngle] = [words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!];
    if (rgba >>> 24 === 0) continue;
    for (const half of [xy & 0xffff, xy >>> 16]) put(halfToFloat(half));
    put(halfToFloat(zAxis & 0xffff) + range.zOffset);
    for (const shift of [0, 8, 16]) put(shades[(rgba >>> shift) & 255]!);
    put(logits[rgba >>> 24]!);
    for (const shift of [0, 8, 16]) put(lnScales[(scalesAngle >>> shift) & 255]!);
    for (const part of quatOf(zAxis, scalesAngle)) put(part);
  }
  return file;
}
