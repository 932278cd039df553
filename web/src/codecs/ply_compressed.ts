// SuperSplat's compressed PLY: words, and what their bits span for every 256 of them. Layout and source:
// deployments/splats/codecs/ply_compressed.py. The harmonics are passed over.

import { DecodeError, viewOf } from "./codec.js";
import { BYTES, type Header, reader, strideOf } from "./ply_header.js";

const NAME = "ply";
const CHUNK = 256;
const SH_C0 = 0.28209479177387814;
const WORDS = ["packed_position", "packed_rotation", "packed_scale", "packed_color"];
const ENDS = ["x", "y", "z", "scale_x", "scale_y", "scale_z"];
const COLOURS = ["r", "g", "b"];

export function isCompressed({ vertex }: Header): boolean {
  return vertex.properties.some(({ name }) => name === "packed_position");
}

/** Writes all splats, number after number. */
export type Write = (put: (value: number) => void) => void;

/**
 * What writes each splat's x y z, f_dc_0..2, opacity, scale_0..2, rot_0..3, as an ordinary PLY stores them.
 *
 * @throws DecodeError Where chunks or words are missing.
 */
export function decompressor(header: Header, data: Uint8Array, places: Map<string, number>): Write {
  const { vertex } = header;
  const chunk = header.elements.find(({ name }) => name === "chunk");
  const chunks = places.has("chunk") ? chunk!.count : 0;
  if (chunks * CHUNK < vertex.count) {
    throw new DecodeError(NAME, `a row 'chunk' for every ${CHUNK} of ${vertex.count} vertices`, `${chunks} of them`);
  }
  const words = columnsOf(header, data, places, "vertex", WORDS, "uint32");
  const ends = columnsOf(header, data, places, "chunk", ENDS.flatMap(minMax), "float32");
  const hasColours = chunk?.properties.some(({ name }) => name === "min_r") ?? false;
  const shades = hasColours ? columnsOf(header, data, places, "chunk", COLOURS.flatMap(minMax), "float32") : null;
  const between = (columns: readonly Column[], axis: number, row: number, unit: number): number => {
    const [low, high] = [columns[2 * axis]!(row), columns[2 * axis + 1]!(row)];
    return low * (1 - unit) + high * unit;
  };
  return (put) => {
    for (let i = 0; i < vertex.count; i++) {
      const row = Math.floor(i / CHUNK);
      const [position, rotation, scale, colour] = words.map((read) => read(i)) as [number, number, number, number];
      three(position).forEach((unit, axis) => put(between(ends, axis, row, unit)));
      for (let channel = 0; channel < 3; channel++) {
        const unit = ((colour >>> (24 - 8 * channel)) & 255) / 255;
        put(((shades ? between(shades, channel, row, unit) : unit) - 0.5) / SH_C0);
      }
      const alpha = (colour & 255) / 255;
      put(Math.log(alpha / (1 - alpha)));
      three(scale).forEach((unit, axis) => put(between(ends, 3 + axis, row, unit)));
      for (const part of quatOf(rotation)) put(part);
    }
  };
}

const minMax = (name: string): string[] => [`min_${name}`, `max_${name}`];

/** Reads a column's number in a row. */
type Column = (row: number) => number;

function columnsOf(
  header: Header,
  data: Uint8Array,
  places: Map<string, number>,
  element: string,
  names: readonly string[],
  type: "uint32" | "float32",
): Column[] {
  const { properties, ...rest } = header.elements.find(({ name }) => name === element)!;
  const stride = strideOf({ properties, ...rest });
  const read = reader(viewOf(data), type, header.format === "binary_little_endian");
  const offsets = new Map<string, number>();
  let offset = places.get(element)!;
  for (const property of properties) {
    if (property.type === type) offsets.set(property.name, offset);
    offset += BYTES[property.type];
  }
  return names.map((name) => {
    const first = offsets.get(name);
    if (first === undefined) throw new DecodeError(NAME, `a property ${type} '${name}'`, "none");
    return (row) => read(first + row * stride);
  });
}

/** 11, 10 and 11 bits as 0..1. */
function three(word: number): [x: number, y: number, z: number] {
  return [(word >>> 21) / 2047, ((word >>> 11) & 1023) / 1023, (word & 2047) / 2047];
}

/** w, x, y, z. */
function quatOf(word: number): number[] {
  const part = (shift: number): number => ((word >>> shift) & 1023) / 1023;
  const others = [20, 10, 0].map((shift) => (part(shift) - 0.5) * Math.SQRT2);
  const largest = Math.sqrt(Math.max(0, 1 - others.reduce((sum, value) => sum + value * value, 0)));
  others.splice(word >>> 30, 0, largest);
  return others;
}
