import assert from "node:assert/strict";
import { test } from "node:test";
import { encode } from "@msgpack/msgpack";
import { ClipReader } from "../src/capture/clip_reader.js";

const picture = (size: number, byte: number): Uint8Array => new Uint8Array(size).fill(byte);
const clipOf = (frames: Uint8Array[]): Uint8Array => encode({ fps: 12.5, width: 640, height: 480, frames });

test("a clip is the same however it is cut, and its pictures come as soon as their bytes do", () => {
  const frames = Array.from({ length: 20 }, (_, i) => picture(i % 3 ? 40 + i : 70_000, i));
  const bytes = clipOf(frames);
  for (const step of [1, 7, 4096, bytes.length]) {
    const reader = new ClipReader();
    let before = 0;
    for (let at = 0; at < bytes.length; at += step * (at < 300 || step > 7 ? 1 : 500)) {
      const next = at + step * (at < 300 || step > 7 ? 1 : 500);
      reader.push(bytes.subarray(at, next));
      const found = reader.clip?.frames.length ?? 0;
      assert.ok(found >= before);
      before = found;
      assert.equal(reader.clip?.complete ?? false, next >= bytes.length);
    }
    assert.deepEqual(reader.clip, { fps: 12.5, width: 640, height: 480, frames, complete: true });
  }
});

test("half a clip has its first pictures, and says that it is not complete", () => {
  const bytes = clipOf([picture(1000, 1), picture(1000, 2), picture(1000, 3)]);
  const reader = new ClipReader();
  reader.push(bytes.subarray(0, bytes.length - 1));
  assert.deepEqual([reader.clip?.frames.length, reader.clip?.complete], [2, false]);
});

test("what is no clip is refused at once and not waited for", () => {
  const refused = (bytes: Uint8Array): void => assert.throws(() => new ClipReader().push(bytes));
  refused(new Uint8Array(300));
  refused(encode({ fps: 0, width: 1, height: 1, frames: [] }));
  refused(encode({ fps: "1", width: 1, height: 1, frames: Array(20).fill(picture(1, 1)) }));
  refused(encode({ fps: 1, width: 1, height: 1, frames: Array(20).fill("text") }));
  // 4 GB of a picture.
  const head = clipOf(Array(20).fill(picture(1, 1)));
  const at = head.indexOf(0xc4);
  refused(Uint8Array.of(...head.subarray(0, at), 0xc6, 255, 255, 255, 255));
  const empty = new ClipReader();
  empty.push(clipOf([]));
  assert.deepEqual([empty.clip?.frames.length, empty.clip?.complete], [0, true]);
});

test("any bytes at all give a clip, nothing yet, or a refusal", () => {
  const good = clipOf([picture(50, 1), picture(60, 2)]);
  for (let at = 0; at < good.length; at++) {
    for (const byte of [0, 0x90, 0xc6, 0xdd, 255]) {
      const bytes = good.slice();
      bytes[at] = byte;
      const reader = new ClipReader();
      try {
        reader.push(bytes);
      } catch (error) {
        assert.ok(error instanceof Error);
      }
      const held = reader.clip?.frames.reduce((sum, { length }) => sum + length, 0) ?? 0;
      assert.ok(held <= good.length, "nothing but what came");
    }
  }
});
