// A PLY of coloured points, which is no codec of the stream: x y z and red green blue of each vertex, whatever else stands between
// them, and whatever other elements follow. It becomes what the `points` codec reads.

import { DecodeError, viewOf } from "../codecs/codec.js";
import { pointsOf } from "../codecs/points.js";
import { SAMPLES, shiftOf, type Vector } from "./placing.js";

const MAX_HEADER_BYTES = 1 << 16;
const NAME = "ply";

/** Of a property: how many bytes it takes, and how it is read. */
const TYPES: Readonly<Record<string, readonly [bytes: number, read: (view: DataView, at: number) => number]>> = (() => {
  const kinds = {
    ...{ char: [1, (v, at) => v.getInt8(at)], uchar: [1, (v, at) => v.getUint8(at)] },
    ...{ short: [2, (v, at) => v.getInt16(at, true)], ushort: [2, (v, at) => v.getUint16(at, true)] },
    ...{ int: [4, (v, at) => v.getInt32(at, true)], uint: [4, (v, at) => v.getUint32(at, true)] },
    ...{ float: [4, (v, at) => v.getFloat32(at, true)], double: [8, (v, at) => v.getFloat64(at, true)] },
  } satisfies Record<string, readonly [number, (view: DataView, at: number) => number]>;
  const { char: int8, uchar: uint8, short: int16, ushort: uint16, int: int32, uint: uint32, float: float32, double } = kinds;
  return { ...kinds, int8, uint8, int16, uint16, int32, uint32, float32, float64: double };
})();

/** One property of the vertices. */
interface Column {
  readonly at: number;
  readonly read: (view: DataView, at: number) => number;
  /** Of an integer, what stands for full. */
  readonly full: number;
}

/**
 * A file of points as the `points` codec's bytes, where the camera sees it.
 *
 * @returns null Where it is none: it has no colours by these names, or it has splats.
 * @throws DecodeError Saying what was expected and what came.
 */
export function pointsOfPly(data: Uint8Array): Uint8Array<ArrayBuffer> | null {
  const text = new TextDecoder("latin1").decode(data.subarray(0, MAX_HEADER_BYTES));
  const end = /\nend_header\r?\n/.exec(text);
  if (!end) return null;
  const lines = text.slice(0, end.index).split(/\r?\n/);
  const vertices = lines.findIndex((line) => line.startsWith("element "));
  const count = Number(/^element vertex (\d+)$/.exec(lines[vertices] ?? "")?.[1] ?? Number.NaN);
  const columns = new Map<string, Column>();
  let stride = 0;
  for (const line of lines.slice(vertices + 1)) {
    if (line.startsWith("element ")) break;
    const [, type = "", name = ""] = /^property (\S+) (\S+)$/.exec(line) ?? [];
    const kind = TYPES[type];
    if (!line.startsWith("property ")) continue;
    if (!kind) throw new DecodeError(NAME, "numbers as properties of the points", JSON.stringify(line.slice(0, 80)));
    const [bytes, read] = kind;
    columns.set(name, { at: stride, read, full: /float|double/.test(type) ? 1 : 2 ** (8 * bytes) - 1 });
    stride += bytes;
  }
  const has = (...names: string[]): boolean => names.every((name) => columns.has(name));
  if (!has("x", "y", "z", "red", "green", "blue") || has("scale_0")) return null;
  if (!lines.includes("format binary_little_endian 1.0")) {
    throw new DecodeError(
      NAME,
      "format binary_little_endian 1.0",
      lines.find((line) => line.startsWith("format")) ?? "no format",
    );
  }
  const start = end.index + end[0].length;
  if (!Number.isSafeInteger(count) || data.length < start + count * stride) {
    throw new DecodeError(NAME, `${count} points of ${stride} bytes`, `${data.length - start} bytes`);
  }
  return placed(viewOf(data), {
    count,
    start,
    stride,
    columns,
    isUp: lines.some((line) => /^comment frame: opengl/.test(line)),
  });
}

interface Table {
  readonly count: number;
  readonly start: number;
  readonly stride: number;
  readonly columns: ReadonlyMap<string, Column>;
  readonly isUp: boolean;
}

function placed(view: DataView, { count, start, stride, columns, isUp }: Table): Uint8Array<ArrayBuffer> {
  const [x, y, z, ...rgb] = ["x", "y", "z", "red", "green", "blue"].map((name) => columns.get(name)!) as [
    Column,
    Column,
    Column,
  ];
  const sign = isUp ? -1 : 1;
  const placeAt = (i: number): Vector => {
    const row = start + i * stride;
    return [x.read(view, row + x.at), sign * y.read(view, row + y.at), sign * z.read(view, row + z.at)];
  };
  const step = Math.max(1, Math.floor(count / SAMPLES));
  const shift = shiftOf(Array.from({ length: Math.ceil(count / step) }, (_, i) => placeAt(i * step))) ?? [0, 0, 0];
  const centres = new Float32Array(3 * count);
  const colours = new Uint8ClampedArray(3 * count);
  for (let i = 0; i < count; i++) {
    placeAt(i).forEach((value, axis) => (centres[3 * i + axis] = value + shift[axis]!));
    (rgb as Column[]).forEach(({ at, read, full }, part) => {
      colours[3 * i + part] = (255 * read(view, start + i * stride + at)) / full;
    });
  }
  return pointsOf(centres, colours);
}
