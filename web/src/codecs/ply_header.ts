// The header of a PLY, in anyone's layout: which elements there are, of which columns, and where their rows begin. The server's is
// deployments/splats/codecs/ply_header.py; both refuse and accept the same.

import { DecodeError, viewOf } from "./codec.js";

const NAME = "ply";
const MAX_HEADER_BYTES = 65536;
const MAX_PROPERTIES = 1024;
const END = /\nend_header\r?\n/;
const FORMATS = ["binary_little_endian", "binary_big_endian", "ascii"] as const;

/** How a number is stored. */
export type Scalar = "int8" | "uint8" | "int16" | "uint16" | "int32" | "uint32" | "float32" | "float64";

export const BYTES: Record<Scalar, number> = {
  ...{ int8: 1, uint8: 1, int16: 2, uint16: 2 },
  ...{ int32: 4, uint32: 4, float32: 4, float64: 8 },
};
const SCALARS = new Map<string, Scalar>([
  ...(Object.keys(BYTES) as Scalar[]).map((type) => [type, type] as const),
  ...([
    ["char", "int8"],
    ["uchar", "uint8"],
    ["short", "int16"],
    ["ushort", "uint16"],
  ] as const),
  ...([
    ["int", "int32"],
    ["uint", "uint32"],
    ["float", "float32"],
    ["double", "float64"],
  ] as const),
]);

export interface Property {
  readonly name: string;
  readonly type: Scalar;
  /** Of a list, the type of its length. */
  readonly lengths: Scalar | null;
}

export interface Element {
  readonly name: string;
  readonly count: number;
  readonly properties: readonly Property[];
}

export interface Header {
  readonly format: (typeof FORMATS)[number];
  readonly elements: readonly Element[];
  readonly vertex: Element;
  /** What its comments say, without `comment`. */
  readonly comments: readonly string[];
  /** Where the rows begin. */
  readonly start: number;
}

/** @throws DecodeError Where it is no header of a PLY with vertices. */
export function readHeader(data: Uint8Array): Header {
  const text = new TextDecoder("latin1").decode(data.subarray(0, MAX_HEADER_BYTES));
  const end = END.exec(text);
  if (!/^ply\r?\n/.test(text) || !end) {
    throw new DecodeError(NAME, "a header from 'ply' to 'end_header', ended by line feeds", JSON.stringify(text.slice(0, 24)));
  }
  let format: Header["format"] | undefined;
  const elements: { name: string; count: number; properties: Property[] }[] = [];
  const comments: string[] = [];
  let names = new Set<string>();
  for (const line of text.slice(0, end.index).split("\n").slice(1)) {
    const words = line.split(/\s+/).filter((word) => word !== "");
    const element = elements.at(-1);
    if (words.length === 0 || words[0] === "obj_info") continue;
    if (words[0] === "comment") {
      comments.push(line.slice("comment ".length).trimEnd());
    } else if (words[0] === "format") {
      format = FORMATS.find((each) => each === words[1] && words[2] === "1.0" && words.length === 3);
      if (!format) throw new DecodeError(NAME, `format ${FORMATS.join(" | ")} 1.0`, line.slice(0, 60));
    } else if (words[0] === "element" && words.length === 3) {
      if (elements.some(({ name }) => name === words[1])) throw new DecodeError(NAME, "each element once", line.slice(0, 60));
      if (!/^\d{1,15}$/.test(words[2]!)) throw new DecodeError(NAME, "a count of up to 15 digits", line.slice(0, 60));
      elements.push({ name: words[1]!, count: Number(words[2]), properties: [] });
      names = new Set();
    } else {
      const property = words[0] === "property" && element ? propertyOf(words, element.name === "vertex") : null;
      if (!element || !property) {
        throw new DecodeError(NAME, "an element or a scalar property of a known type", line.slice(0, 60));
      }
      if (names.size === MAX_PROPERTIES || names.has(property.name)) {
        throw new DecodeError(NAME, `at most ${MAX_PROPERTIES} properties, each name once`, line.slice(0, 60));
      }
      names.add(property.name);
      element.properties.push(property);
    }
  }
  if (!format) throw new DecodeError(NAME, `a line 'format ${FORMATS.join(" | ")} 1.0'`, "none");
  const vertex = elements.find(({ name }) => name === "vertex");
  if (!vertex) throw new DecodeError(NAME, "an element 'vertex'", elements.map(({ name }) => name).join(", ") || "none");
  return { format, elements, vertex, comments, start: end.index + end[0].length };
}

/** Of `property TYPE NAME` or, elsewhere than in vertices, `property list LENGTHS TYPE NAME`; null if it is neither. */
function propertyOf(words: readonly string[], isVertex: boolean): Property | null {
  const [name, type] = [words.at(-1)!, SCALARS.get(words.at(-2)!)];
  if (!type) return null;
  if (words.length === 3) return { name, type, lengths: null };
  const lengths = SCALARS.get(words[2]!);
  const isList = words.length === 5 && words[1] === "list" && lengths && !lengths.startsWith("float");
  return isList && !isVertex ? { name, type, lengths } : null;
}

/** Reads a number of a type. */
export function reader(view: DataView, type: Scalar, littleEndian: boolean): (at: number) => number {
  switch (type) {
    case "int8":
      return (at) => view.getInt8(at);
    case "uint8":
      return (at) => view.getUint8(at);
    case "int16":
      return (at) => view.getInt16(at, littleEndian);
    case "uint16":
      return (at) => view.getUint16(at, littleEndian);
    case "int32":
      return (at) => view.getInt32(at, littleEndian);
    case "uint32":
      return (at) => view.getUint32(at, littleEndian);
    case "float32":
      return (at) => view.getFloat32(at, littleEndian);
    case "float64":
      return (at) => view.getFloat64(at, littleEndian);
  }
}

/** Bytes of a row without lists. */
export function strideOf(element: Element): number {
  return element.properties.reduce((sum, { type }) => sum + BYTES[type], 0);
}

/**
 * Where the rows of each element of a binary file begin, up to `vertex` and the elements after it that are there.
 *
 * @throws DecodeError Where the file ends before the vertices do.
 */
export function placesOf(header: Header, data: Uint8Array): Map<string, number> {
  const places = new Map<string, number>();
  let at = header.start;
  for (const element of header.elements) {
    const hasLists = element.properties.some(({ lengths }) => lengths);
    const end = hasLists ? afterLists(element, data, at, header) : at + element.count * strideOf(element);
    if (end > data.length) {
      if (places.has("vertex")) break;
      throw new DecodeError(
        NAME,
        `${end} bytes for ${element.count} of element ${element.name.slice(0, 40)}`,
        `${data.length}`,
      );
    }
    if (!hasLists) places.set(element.name, at);
    at = end;
  }
  return places;
}

function afterLists(element: Element, data: Uint8Array, start: number, { format }: Header): number {
  const view = viewOf(data);
  const columns = element.properties.map(({ type, lengths }) => ({
    size: BYTES[type],
    width: lengths ? BYTES[lengths] : 0,
    read: lengths ? reader(view, lengths, format === "binary_little_endian") : () => 1,
  }));
  let at = start;
  for (let row = 0; row < element.count; row++) {
    for (const { size, width, read } of columns) {
      if (at + width > data.length) return data.length + 1;
      const items = read(at);
      // Of a negative length nobody knows where it ends.
      if (items < 0) return data.length + 1;
      at += width + items * size;
      if (at > data.length) return data.length + 1;
    }
  }
  return at;
}
