// The sample clip as it comes: a msgpack map of `fps`, `width`, `height` and, last of all, `frames`, an array of JPEGs
// (deployments/scene/clip.py). Each picture is there as soon as its bytes are. No I/O.

import { decode } from "@msgpack/msgpack";

/** Pictures of one size, as JPEGs. */
export interface Clip {
  readonly fps: number;
  readonly width: number;
  readonly height: number;
  /** Those that have come. */
  readonly frames: Uint8Array[];
  /** There will be no more. */
  complete: boolean;
}

const FRAMES = Uint8Array.from("\xa6frames", (letter) => letter.charCodeAt(0));
/** The keys before the frames take a few dozen bytes. */
const LONGEST_HEAD = 256;
/** Far more than a picture has. */
const MAX_PICTURE_BYTES = 1 << 24;

export class ClipReader {
  /** Null until its head has come. */
  clip: Clip | null = null;
  private rest = new Uint8Array(0);
  private left = 0;

  /** @throws Error Where it is no clip. */
  push(bytes: Uint8Array): void {
    const joined = new Uint8Array(this.rest.length + bytes.length);
    joined.set(this.rest);
    joined.set(bytes, this.rest.length);
    let at = this.clip ? 0 : this.readHead(joined);
    while (this.clip && this.left > 0) {
      const size = sizeAt(joined, at, BINARIES, MAX_PICTURE_BYTES);
      if (!size || at + size.head + size.value > joined.length) break;
      this.clip.frames.push(joined.slice(at + size.head, at + size.head + size.value));
      at += size.head + size.value;
      this.left--;
    }
    if (this.clip && this.left === 0) this.clip.complete = true;
    this.rest = joined.slice(at);
  }

  /** Returns how many bytes the head takes; 0: it has not come yet. */
  private readHead(bytes: Uint8Array): number {
    const last = Math.min(bytes.length, LONGEST_HEAD) - FRAMES.length;
    for (let at = 0; at <= last; at++) {
      if (!FRAMES.every((byte, i) => bytes[at + i] === byte)) continue;
      const end = at + FRAMES.length;
      const count = sizeAt(bytes, end, ARRAYS, LONGEST_CLIP);
      if (!count) return 0;
      // With no frames in it, the head is a whole map.
      const head = new Uint8Array(end + 1);
      head.set(bytes.subarray(0, end));
      head[end] = EMPTY_ARRAY;
      const { fps, width, height } = decode(head) as Record<string, unknown>;
      if (![fps, width, height].every((value) => typeof value === "number" && value > 0)) throw new Error("its head is none");
      this.clip = { fps: fps as number, width: width as number, height: height as number, frames: [], complete: false };
      this.left = count.value;
      return end + count.head;
    }
    if (bytes.length >= LONGEST_HEAD) throw new Error("it does not begin as a clip");
    return 0;
  }
}

/** More frames are no sample. */
const LONGEST_CLIP = 10_000;
const EMPTY_ARRAY = 0x90;
/** First byte → bytes of the size that follow it (msgpack's specification). */
const BINARIES: Readonly<Record<number, number>> = { 196: 1, 197: 2, 198: 4 };
const ARRAYS: Readonly<Record<number, number>> = { 220: 2, 221: 4 };

/** The size that stands at a place, and how many bytes say so; null where they have not all come. */
function sizeAt(
  bytes: Uint8Array,
  at: number,
  kinds: Readonly<Record<number, number>>,
  most: number,
): { head: number; value: number } | null {
  const kind = bytes[at];
  if (kind === undefined) return null;
  if (kinds === ARRAYS && kind >> 4 === EMPTY_ARRAY >> 4) return { head: 1, value: kind & 15 };
  const digits = kinds[kind];
  if (digits === undefined) throw new Error(`expected a size, got the byte ${kind}`);
  if (at + 1 + digits > bytes.length) return null;
  let value = 0;
  for (let i = 1; i <= digits; i++) value = value * 256 + bytes[at + i]!;
  if (value > most) throw new Error(`expected at most ${most}, got ${value}`);
  return { head: 1 + digits, value };
}
