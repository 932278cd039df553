// A PLY of coloured points, which is no codec of the stream: x y z and red green blue of each vertex, whatever else stands between
// them, and whatever other elements follow. It becomes what the `points` codec reads.

import { DecodeError, viewOf } from "../codecs/codec.js";
import { BYTES, placesOf, reader, readHeader, strideOf } from "../codecs/ply_header.js";
import { pointsOf } from "../codecs/points.js";
import { SAMPLES, shiftOf, type Vector } from "./placing.js";

const COLUMNS = ["x", "y", "z", "red", "green", "blue"];

/** One property of the vertices. */
interface Column {
  readonly read: (row: number) => number;
  /** What stands for full, of a colour. */
  readonly full: number;
}

/**
 * A file of points as the `points` codec's bytes, where the camera sees it.
 *
 * @returns null Where it is none: it has no colours by these names, or it has splats.
 * @throws DecodeError Saying what was expected and what came.
 */
export function pointsOfPly(data: Uint8Array): Uint8Array<ArrayBuffer> | null {
  const header = readHeader(data);
  const names = new Set(header.vertex.properties.map(({ name }) => name));
  if (!COLUMNS.every((name) => names.has(name)) || names.has("scale_0")) return null;
  if (header.format === "ascii") throw new DecodeError("ply", "points in a binary file", "format ascii");
  const view = viewOf(data);
  const columns = new Map<string, Column>();
  let offset = 0;
  for (const { name, type } of header.vertex.properties) {
    const [at, read] = [offset, reader(view, type, header.format === "binary_little_endian")];
    columns.set(name, { read: (row) => read(row + at), full: type.startsWith("float") ? 1 : 2 ** (8 * BYTES[type]) - 1 });
    offset += BYTES[type];
  }
  const isUp = header.comments.some((line) => line.startsWith("frame: opengl"));
  const [x, y, z, ...rgb] = COLUMNS.map((name) => columns.get(name)!) as [Column, Column, Column, ...Column[]];
  const [start, stride, sign] = [placesOf(header, data).get("vertex")!, strideOf(header.vertex), isUp ? -1 : 1];
  const { count } = header.vertex;
  const placeAt = (i: number): Vector => {
    const row = start + i * stride;
    return [x.read(row), sign * y.read(row), sign * z.read(row)];
  };
  const step = Math.max(1, Math.floor(count / SAMPLES));
  const shift = shiftOf(Array.from({ length: Math.ceil(count / step) }, (_, i) => placeAt(i * step))) ?? [0, 0, 0];
  const centres = new Float32Array(3 * count);
  const colours = new Uint8ClampedArray(3 * count);
  for (let i = 0; i < count; i++) {
    placeAt(i).forEach((value, axis) => (centres[3 * i + axis] = value + shift[axis]!));
    rgb.forEach(({ read, full }, part) => (colours[3 * i + part] = (255 * read(start + i * stride)) / full));
  }
  return pointsOf(centres, colours);
}
