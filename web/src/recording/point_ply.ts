// A PLY of coloured points, which is no codec of the stream: x y z and red green blue of each vertex, in any of PLY's types and
// formats, whatever else there is. It becomes what the `points` codec reads.

import { readHeader, type Scalar } from "../codecs/ply_header.js";
import { columnsOf } from "../codecs/ply_plain.js";
import { pointsOf } from "../codecs/points.js";
import { SAMPLES, shiftOf, type Vector } from "./placing.js";

const NAMES = ["x", "y", "z", "red", "green", "blue"];
const COLUMNS = NAMES.length;
/** What stands for full red, green or blue. */
const FULL: Readonly<Record<Scalar, number>> = {
  ...{ int8: 127, uint8: 255, int16: 32767, uint16: 65535 },
  ...{ int32: 2 ** 31 - 1, uint32: 2 ** 32 - 1, float32: 1, float64: 1 },
};

/**
 * A file of points as the `points` codec's bytes, where the camera sees it.
 *
 * @returns null Where it is none: it has no colours by these names, or it has splats.
 * @throws DecodeError Saying what was expected and what came.
 */
export function pointsOfPly(data: Uint8Array): Uint8Array<ArrayBuffer> | null {
  const header = readHeader(data);
  const types = new Map(header.vertex.properties.map(({ name, type }) => [name, type]));
  if (!NAMES.every((name) => types.has(name)) || types.has("scale_0")) return null;
  const { count } = header.vertex;
  // What is missing is found out before room is made for what the header claims.
  const write = columnsOf(header, data, NAMES);
  const rows = new Float32Array(COLUMNS * count);
  let at = 0;
  write((value) => {
    rows[at++] = value;
  });
  const [red, green, blue] = NAMES.slice(3).map((name) => FULL[types.get(name)!]) as [number, number, number];
  return placed(rows, header.comments.some((line) => line.startsWith("frame: opengl")) ? -1 : 1, [red, green, blue]);
}

/** @param sign Of y and z: −1 where y is up. */
function placed(rows: Float32Array, sign: number, full: Vector): Uint8Array<ArrayBuffer> {
  const count = rows.length / COLUMNS;
  const placeAt = (i: number): Vector => [rows[COLUMNS * i]!, sign * rows[COLUMNS * i + 1]!, sign * rows[COLUMNS * i + 2]!];
  const step = Math.max(1, Math.floor(count / SAMPLES));
  const shift = shiftOf(Array.from({ length: Math.ceil(count / step) }, (_, i) => placeAt(i * step))) ?? [0, 0, 0];
  const centres = new Float32Array(3 * count);
  const colours = new Uint8ClampedArray(3 * count);
  for (let i = 0; i < count; i++) {
    placeAt(i).forEach((value, axis) => (centres[3 * i + axis] = value + shift[axis]!));
    full.forEach((most, part) => (colours[3 * i + part] = (255 * rows[COLUMNS * i + 3 + part]!) / most));
  }
  return pointsOf(centres, colours);
}
