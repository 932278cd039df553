// Recordings: the messages of a session as the server sent them. Little-endian:
//
//   0  4 bytes  SPLR                       then entries, each:   0   u32  size of the message
//   4  u8       version, 1                                       4   u32  size of the picture; 0: there is none
//   5  3 bytes  0                                                8   f64  when, ms since the recording began
//   8  f64      when it began, ms since 1970                     16  u32  CRC-32 of bytes 0 to 15, message, picture
//                                                                20  the message, then the picture
//
// deployments/stream/recording.py says the rest, and reads and writes the same files.

import { crc32 } from "../codecs/depth.js";

export const SUFFIX = ".splatcast";
export const HEADER_BYTES = 16;
export const ENTRY_BYTES = 20;
/** Of a message, and of a picture. */
export const MAX_BYTES = 1 << 26;
/** Entries that are read of one file: nine hours at 30 a second. What is kept of each is 24 bytes. */
export const MAX_ENTRIES = 1 << 20;
const MAGIC = "SPLR";
const VERSION = 1;

/** What was opened is no recording of this version. */
export class RecordingError extends Error {
  override name = "RecordingError";
}

/** Sizes and time of an entry. */
export interface EntryHead {
  readonly message: number;
  readonly picture: number;
  readonly ms: number;
  readonly sum: number;
}

/** @param beganMs Milliseconds since 1970, UTC; 0: unknown. */
export function writeHeader(beganMs: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_BYTES);
  bytes.set([...MAGIC].map((letter) => letter.charCodeAt(0)));
  bytes[4] = VERSION;
  new DataView(bytes.buffer).setFloat64(8, beganMs, true);
  return bytes;
}

/** @throws RecordingError Saying what was expected and what came. */
export function checkHeader(bytes: Uint8Array): void {
  const magic = String.fromCharCode(...bytes.subarray(0, 4));
  if (magic !== MAGIC) throw new RecordingError(`expected a file that begins with ${MAGIC}, got ${JSON.stringify(magic)}`);
  if (bytes.length < HEADER_BYTES) throw new RecordingError(`expected a header of ${HEADER_BYTES} bytes, got ${bytes.length}`);
  if (bytes[4] !== VERSION) throw new RecordingError(`expected version ${VERSION}, got ${bytes[4]}`);
  const began = new DataView(bytes.buffer, bytes.byteOffset).getFloat64(8, true);
  if (bytes[5] || bytes[6] || bytes[7] || !Number.isFinite(began)) throw new RecordingError("expected zeros and a time");
}

/** The head of an entry. What follows it are the message and the picture. */
export function writeEntry(message: Uint8Array, picture: Uint8Array, ms: number): Uint8Array<ArrayBuffer> {
  const head = new Uint8Array(ENTRY_BYTES);
  const view = new DataView(head.buffer);
  view.setUint32(0, message.length, true);
  view.setUint32(4, picture.length, true);
  view.setFloat64(8, ms, true);
  view.setUint32(16, sumOf(head, message, picture), true);
  return head;
}

/** @returns null Where nothing that can be an entry is. */
export function readEntry(bytes: Uint8Array, at: number, lastMs: number): EntryHead | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, ENTRY_BYTES);
  const [message, picture] = [view.getUint32(0, true), view.getUint32(4, true)];
  const ms = view.getFloat64(8, true);
  const isOne = message > 0 && message <= MAX_BYTES && picture <= MAX_BYTES && ms >= lastMs && ms < Number.POSITIVE_INFINITY;
  return isOne ? { message, picture, ms, sum: view.getUint32(16, true) } : null;
}

/** Of a whole entry, from its head on. */
export function isIntact(entry: Uint8Array, head: EntryHead): boolean {
  const picture = ENTRY_BYTES + head.message;
  return sumOf(entry, entry.subarray(ENTRY_BYTES, picture), entry.subarray(picture)) === head.sum;
}

function sumOf(head: Uint8Array, message: Uint8Array, picture: Uint8Array): number {
  return crc32(picture, 0, crc32(message, 0, crc32(head.subarray(0, 16), 0)));
}
