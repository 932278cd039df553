// The `points` codec: coloured points. Little-endian:
//
//   0  4 bytes  SPPT            8   u32             count
//   4  u8       version, 1      12  u32             0
//   5  3 bytes  0               16  f32 [count, 3]  centres, then u8 [count, 3] red, green, blue
//
// A point becomes the round splat that a depth frame's point becomes, as large as the pixels it stands for: a grid of them has no gaps.

import { aligned, type Codec, checkHeader, checkSize, type DecodedSplats, DecodeError } from "./codec.js";
import { OPACITY } from "./depth_pixels.js";
import { farOffset } from "./far.js";
import { SIGMA_PX } from "./lift_rows.js";
import { lnScaleToByte, quatToBytes, type SplatRange, writeSplat } from "./words.js";

const NAME = "points";
const HEADER_BYTES = 16;
/** 0.05 mm to 20 m in 5% steps: finer than Spark's default and enough for any scene. */
const RANGE: SplatRange = { rgbMin: 0, rgbMax: 1, lnScaleMin: -10, lnScaleMax: 3, zOffset: 0 };
const ALPHA = Math.round(255 * OPACITY) << 24;
const UPRIGHT = quatToBytes(1, 0, 0, 0);
/** Beyond the largest half. */
const MAX_CENTRE = 65504;

export const points: Codec = {
  name: NAME,
  count: (data) => checkHeader(NAME, data, "SPPT", HEADER_BYTES),
  decode(data, into, camera): DecodedSplats {
    const count = checkHeader(NAME, data, "SPPT", HEADER_BYTES);
    checkSize(NAME, data, HEADER_BYTES + 15 * count, count, into);
    const bytes = aligned(data);
    const xyz = new Float32Array(bytes.buffer, bytes.byteOffset + HEADER_BYTES, count * 3);
    const rgb = bytes.subarray(HEADER_BYTES + 12 * count);
    // Where a budget has thinned out the grid, every point stands for several pixels.
    const pitchPx = Math.max(1, Math.sqrt((camera.width * camera.height) / Math.max(1, count)));
    const zOffset = farOffset(count, (i) => xyz[3 * i + 2]!, true);
    const scaleAtOne = (SIGMA_PX * pitchPx) / camera.fx;
    for (let i = 0; i < count; i++) {
      const [x, y, z] = [xyz[3 * i]!, xyz[3 * i + 1]!, xyz[3 * i + 2]!];
      if (!(Math.abs(x) <= MAX_CENTRE && Math.abs(y) <= MAX_CENTRE && Math.abs(z) <= MAX_CENTRE)) {
        throw new DecodeError(NAME, "finite centres", `(${x}, ${y}, ${z}) for point ${i}`);
      }
      const scale = lnScaleToByte(Math.log(Math.max(1e-6, Math.abs(z)) * scaleAtOne), RANGE);
      const rgba = rgb[3 * i]! | (rgb[3 * i + 1]! << 8) | (rgb[3 * i + 2]! << 16) | ALPHA;
      writeSplat(into, i, x, y, z - zOffset, rgba, scale | (scale << 8) | (scale << 16), UPRIGHT);
    }
    into.fill(0, count * 4);
    return { count, words: into, range: { ...RANGE, zOffset } };
  },
};

/**
 * The codec's bytes of some points.
 *
 * @param centres x, y, z of each, the capture camera's frame.
 * @param colours Red, green, blue of each.
 */
export function pointsOf(centres: Float32Array, colours: ArrayLike<number>): Uint8Array<ArrayBuffer> {
  const count = centres.length / 3;
  const data = new Uint8Array(HEADER_BYTES + 15 * count);
  const view = new DataView(data.buffer);
  data.set(new TextEncoder().encode("SPPT"));
  data[4] = 1;
  view.setUint32(8, count, true);
  centres.forEach((value, i) => view.setFloat32(HEADER_BYTES + 4 * i, value, true));
  data.set(colours, HEADER_BYTES + 12 * count);
  return data;
}
