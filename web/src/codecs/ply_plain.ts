// Any PLY of splats → a plain one, as ply.ts reads it: little-endian, nothing but vertices, nothing but float32.

import { DecodeError, viewOf } from "./codec.js";
import { decompressor, isCompressed, type Write } from "./ply_compressed.js";
import { BYTES, type Header, placesOf, reader, readHeader, strideOf } from "./ply_header.js";

const NAME = "ply";
/** The columns that are drawn, in the order of {@link plainPly}'s files. */
export const PLAIN = [
  ...["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"],
  ...["scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"],
];
/** As other programs write a number; JavaScript alone would take hexadecimal, and nothing, for one. */
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const INFINITE = /^([+-]?)inf(inity)?$/i;

/** Whether nothing needs to be changed. */
export function isPlain({ format, elements, vertex }: Header): boolean {
  return (
    format === "binary_little_endian" && elements.length === 1 && vertex.properties.every(({ type }) => type === "float32")
  );
}

/**
 * The bytes as they are, if they are a plain PLY; else those of a plain one with the same splats, without their harmonics, and the same
 * comments.
 *
 * @throws DecodeError Where it is no PLY of splats, or ends before its vertices do.
 */
export function plainPly(data: Uint8Array): Uint8Array {
  const header = readHeader(data);
  if (isPlain(header)) return data;
  // What is missing is found out before room is made for what the header claims.
  const write = writerOf(header, data);
  const head = new TextEncoder().encode(
    [
      ...["ply", "format binary_little_endian 1.0"],
      ...header.comments.map((line) => `comment ${line.replace(/[^ -~]/g, "?")}`),
      `element vertex ${header.vertex.count}`,
      ...PLAIN.map((name) => `property float ${name}`),
      "end_header\n",
    ].join("\n"),
  );
  const out = new Uint8Array(head.length + 4 * PLAIN.length * header.vertex.count);
  out.set(head);
  const view = viewOf(out);
  let to = head.length;
  const put = (value: number): void => {
    view.setFloat32(to, value, true);
    to += 4;
  };
  write(put);
  return out;
}

function writerOf(header: Header, data: Uint8Array): Write {
  if (isCompressed(header)) return decompressor(header, data, header.format === "ascii" ? new Map() : placesOf(header, data));
  checkNames(header);
  return columnsOf(header, data, PLAIN);
}

/**
 * Hands over these columns of the vertices, row by row.
 *
 * @param names Columns that are there.
 * @throws DecodeError Where the file ends before the vertices do.
 */
export function columnsOf(header: Header, data: Uint8Array, names: readonly string[]): Write {
  if (header.format !== "ascii") {
    const start = placesOf(header, data).get("vertex")!;
    return (put) => fromRows(header, data, start, names, put);
  }
  checkLength(header, data);
  return (put) => fromText(header, data, names, put);
}

/** @throws DecodeError Where one of {@link PLAIN} is missing. */
export function checkNames({ vertex }: Header): void {
  const missing = PLAIN.filter((name) => !vertex.properties.some((property) => property.name === name));
  if (missing.length > 0) throw new DecodeError(NAME, `the properties ${PLAIN.join(" ")}`, `none named ${missing.join(" ")}`);
}

function fromRows(
  header: Header,
  data: Uint8Array,
  start: number,
  names: readonly string[],
  put: (value: number) => void,
): void {
  const { properties, count } = header.vertex;
  const view = viewOf(data);
  const offsets = new Map<string, { offset: number; read: (at: number) => number }>();
  let offset = 0;
  for (const { name, type } of properties) {
    offsets.set(name, { offset, read: reader(view, type, header.format === "binary_little_endian") });
    offset += BYTES[type];
  }
  const columns = names.map((name) => offsets.get(name)!);
  const stride = strideOf(header.vertex);
  for (let i = 0, row = start; i < count; i++, row += stride)
    for (const column of columns) put(column.read(row + column.offset));
}

/** A row has a digit and a blank for each of its columns; without this, a count alone would claim memory. */
function checkLength({ vertex, start }: Header, data: Uint8Array): void {
  const least = 2 * vertex.count * vertex.properties.length - 1;
  if (least > data.length - start) throw new DecodeError(NAME, `${vertex.count} lines of vertices`, `${data.length} bytes`);
}

function fromText(
  { vertex, elements, start }: Header,
  data: Uint8Array,
  names: readonly string[],
  put: (value: number) => void,
): void {
  const columns = names.map((name) => vertex.properties.findIndex((property) => property.name === name));
  const decoder = new TextDecoder("latin1");
  let at = start;
  const line = (): string[] => {
    if (at >= data.length) throw new DecodeError(NAME, `${vertex.count} lines of vertices`, "the end of the file");
    const feed = data.indexOf(10, at);
    const end = feed < 0 ? data.length : feed;
    const words = decoder.decode(data.subarray(at, end)).trim().split(/\s+/);
    at = end + 1;
    return words;
  };
  for (const element of elements) {
    if (element === vertex) break;
    for (let i = 0; i < element.count; i++) line();
  }
  for (let i = 0; i < vertex.count; ) {
    const words = line();
    if (words.length === 1 && words[0] === "") continue;
    if (words.length !== vertex.properties.length) {
      throw new DecodeError(NAME, `${vertex.properties.length} numbers a line`, `${words.length}`);
    }
    for (const column of columns) put(numberOf(words[column]!));
    i++;
  }
}

function numberOf(word: string): number {
  if (NUMBER.test(word)) return Number(word);
  const infinite = INFINITE.exec(word);
  if (infinite) return infinite[1] === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  if (/^[+-]?nan$/i.test(word)) return Number.NaN;
  throw new DecodeError(NAME, "a number", JSON.stringify(word.slice(0, 40)));
}
