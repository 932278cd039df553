// How many values are in a msgpack message, before any of them is made: a file of a few megabytes may hold that many million empty
// lists, each of which takes a hundred bytes of memory. deployments/stream/recording.py counts the same way.

/** A `welcome` has some hundred values, a reply of splats fewer. */
export const MAX_VALUES = 4096;

/**
 * Whether a message holds more values than any of ours: keys, values, lists, maps and what is in them. Looks at no more of them than
 * that. What is cut off or no msgpack is left to its decoder.
 */
export function hasTooManyValues(bytes: Uint8Array): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  for (let expected = 1, seen = 0; expected > 0; expected--) {
    if (++seen > MAX_VALUES || expected > MAX_VALUES) return true;
    if (at >= bytes.length) return false;
    const kind = bytes[at]!;
    const size = SIZES[kind]!;
    if (at + 1 + size > bytes.length) return false;
    const length = size === 1 ? bytes[at + 1]! : size === 2 ? view.getUint16(at + 1) : size === 4 ? view.getUint32(at + 1) : 0;
    at += 1 + size;
    if (kind >= 0x80 && kind < 0x90) expected += 2 * (kind & 15);
    else if (kind >= 0x90 && kind < 0xa0) expected += kind & 15;
    else if (kind >= 0xa0 && kind < 0xc0) at += kind & 31;
    else if (kind === 0xdc || kind === 0xdd) expected += length;
    else if (kind === 0xde || kind === 0xdf) expected += 2 * length;
    else if (kind in PAYLOADS) at += PAYLOADS[kind]!;
    // Binaries, extensions (with a byte for their type) and strings.
    else if (size > 0) at += length + (kind >= 0xc7 && kind <= 0xc9 ? 1 : 0);
  }
  return false;
}

/** First byte → bytes of the length that follows it. */
const SIZES = Uint8Array.from({ length: 256 }, (_, kind) => {
  if ([0xc4, 0xc7, 0xd9].includes(kind)) return 1;
  if ([0xc5, 0xc8, 0xda, 0xdc, 0xde].includes(kind)) return 2;
  return [0xc6, 0xc9, 0xdb, 0xdd, 0xdf].includes(kind) ? 4 : 0;
});

/** First byte → bytes of a number, or of an extension of a fixed size with its type. */
const PAYLOADS: Readonly<Record<number, number>> = {
  ...{ 202: 4, 203: 8, 204: 1, 205: 2, 206: 4, 207: 8, 208: 1, 209: 2, 210: 4, 211: 8 },
  ...{ 212: 2, 213: 3, 214: 5, 215: 9, 216: 17 },
};
