// What a codec is in the browser: bytes of a `splats` message in, packed words for Spark out.

import type { Camera } from "../stream/messages.js";
import { ROW, type SplatRange, WORDS } from "./words.js";

/** A decoded frame. */
export interface DecodedSplats {
  /** Splats in `words`; the words after them are zero, which Spark neither sorts nor draws. */
  readonly count: number;
  /** Packed words, a multiple of 2048 splats. */
  readonly words: Uint32Array<ArrayBuffer>;
  /** What the numbers in the words mean. */
  readonly range: SplatRange;
}

/** Decodes one format. */
export interface Codec {
  /** Name on the wire. */
  readonly name: string;
  /**
   * @param data The codec's bytes, at any alignment.
   * @param into Where to put the words; its length is the capacity.
   * @param camera The capture camera, for sizes that follow from the pixel footprint.
   * @throws DecodeError Saying what was expected and what came.
   */
  decode(data: Uint8Array, into: Uint32Array<ArrayBuffer>, camera: Camera): DecodedSplats;
  /** Splats the header announces, so that a large enough buffer can be taken. Throws {@link DecodeError}. */
  count(data: Uint8Array): number;
}

/** A reply's bytes are not what their codec says. */
export class DecodeError extends Error {
  override name = "DecodeError";
  constructor(
    readonly codec: string,
    readonly expected: string,
    readonly got: string,
  ) {
    super(`${codec}: expected ${expected}, got ${got}`);
  }
}

/** Checks one of our own headers (magic, version, three zero bytes, count) and gives its count; `spare`: it ends with a zero. */
export function checkHeader(codec: string, data: Uint8Array, magic: string, headerBytes: number, spare = true): number {
  if (data.length < headerBytes) throw new DecodeError(codec, `a header of ${headerBytes} bytes`, `${data.length} bytes`);
  const got = String.fromCharCode(...data.subarray(0, 4));
  if (got !== magic) throw new DecodeError(codec, `the magic ${magic}`, JSON.stringify(got));
  if (data[4] !== 1) throw new DecodeError(codec, "version 1", `${data[4]}`);
  if (data[5] || data[6] || data[7]) throw new DecodeError(codec, "zeros in bytes 5 to 7", `${data.subarray(5, 8).join(" ")}`);
  const view = viewOf(data);
  if (spare && view.getUint32(headerBytes - 4, true) !== 0)
    throw new DecodeError(codec, `0 at byte ${headerBytes - 4}`, "another number");
  return view.getUint32(8, true);
}

/** Checks length and capacity. Extra bytes are refused too: they mean that the two sides disagree about the layout. */
export function checkSize(codec: string, data: Uint8Array, bytes: number, count: number, into: Uint32Array): void {
  if (data.length !== bytes) throw new DecodeError(codec, `${bytes} bytes for ${count} splats`, `${data.length}`);
  if (into.length % (ROW * WORDS) !== 0 || into.length < count * WORDS) {
    throw new DecodeError(codec, `room for ${count} splats in rows of ${ROW}`, `${into.length / WORDS}`);
  }
}

/** A view of the same bytes. */
export function viewOf(data: Uint8Array): DataView {
  return new DataView(data.buffer, data.byteOffset, data.byteLength);
}

/** Bytes that start at a multiple of 4: typed arrays of 32-bit numbers need that, and msgpack does not see to it. */
export function aligned(data: Uint8Array): Uint8Array {
  return data.byteOffset % 4 === 0 ? data : data.slice();
}
