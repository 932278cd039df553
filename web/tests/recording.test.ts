import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { decode, ExtData, encode } from "@msgpack/msgpack";
import { packed } from "../src/codecs/packed.js";
import { pixelsOf } from "../src/codecs/picture_size.js";
import { ply, readPlyHeader } from "../src/codecs/ply.js";
import { plyOf } from "../src/codecs/ply_file.js";
import { capacityFor, WORDS } from "../src/codecs/words.js";
import { ENTRY_BYTES, HEADER_BYTES, RecordingError, readEntry, writeEntry, writeHeader } from "../src/recording/format.js";
import { hasTooManyValues, MAX_VALUES } from "../src/recording/message_size.js";
import { Recorder } from "../src/recording/recorder.js";
import { asSplats, RecordingFile } from "../src/recording/recording_file.js";
import { ReplayClock } from "../src/recording/replay_clock.js";
import { placePly } from "../src/recording/splat_file.js";
import type { SplatsMessage } from "../src/stream/messages.js";
import { WEBCAM } from "../src/view/projection.js";

declare const __VECTORS__: string;

const golden = new Uint8Array(readFileSync(join(__VECTORS__, "session.splatcast")));
const file = (bytes: Uint8Array): Blob => new Blob([bytes.slice()]);

interface Entry {
  message: Uint8Array<ArrayBuffer>;
  picture: Uint8Array<ArrayBuffer>;
  ms: number;
  end: number;
}

/** The golden file's entries, cut out by hand. */
function entriesOf(bytes: Uint8Array): Entry[] {
  const entries: Entry[] = [];
  for (let at = HEADER_BYTES, lastMs = 0; at < bytes.length; ) {
    const head = readEntry(bytes, at, lastMs)!;
    const middle = at + ENTRY_BYTES + head.message;
    const end = middle + head.picture;
    entries.push({ message: bytes.slice(at + ENTRY_BYTES, middle), picture: bytes.slice(middle, end), ms: head.ms, end });
    [at, lastMs] = [end, head.ms];
  }
  return entries;
}

const [welcome, depth, notice, words] = entriesOf(golden) as [Entry, Entry, Entry, Entry];
const splatsIn = ({ message }: Entry): SplatsMessage => decode(message) as SplatsMessage;

async function framesOf(bytes: Uint8Array): Promise<RecordingFile> {
  return RecordingFile.open(file(bytes));
}

test("the golden file opens with its frames, each with the picture that it takes its colours from", async () => {
  const opened = await framesOf(golden);
  assert.deepEqual([opened.times, opened.cut], [[0, 100.5], ""]);
  const [first, second] = [await opened.frame(0), await opened.frame(1)];
  assert.deepEqual([first.message.codec, first.message.seq, first.message.count], ["depth", 1, 3072]);
  assert.deepEqual(first.picture, depth.picture);
  assert.deepEqual([second.message.codec, second.picture], ["packed", null]);
  assert.equal(packed.count(second.message.data), 48);
  assert.equal(first.message.label, "Golden vectors");
  assert.deepEqual(
    [opened.engine?.label, opened.engine?.licence, opened.engine?.metric, opened.engine?.around_deg],
    ["Golden vectors", "Apache-2.0", false, 15],
  );
});

test("both languages write the same bytes", () => {
  const parts = [writeHeader(1_700_000_000_000)];
  for (const { message, picture, ms } of [welcome, depth, notice, words])
    parts.push(writeEntry(message, picture, ms), message, picture);
  assert.deepEqual(new Uint8Array(Buffer.concat(parts)), golden);
});

test("what a session's recorder writes is what came, at the times of the capture", async () => {
  const recorder = new Recorder(welcome.message, 1);
  const own = Uint8Array.of(1, 2, 3);
  recorder.add(splatsIn(depth), depth.message, own);
  recorder.add(splatsIn(words), words.message, own);
  // A clock that was set back stands still.
  recorder.add({ ...splatsIn(words), captured_ms: 5 }, words.message, null);
  assert.deepEqual({ ...recorder.progress, bytes: 0 }, { frames: 3, bytes: 0, durationMs: 200 });
  const blob = recorder.finish();
  assert.equal(blob.size, recorder.progress.bytes);
  const opened = await RecordingFile.open(blob);
  assert.deepEqual(opened.times, [0, 200, 200]);
  assert.deepEqual((await opened.frame(0)).picture, own);
  assert.equal((await opened.frame(1)).picture, null);
});

test("a file that is cut anywhere plays as far as it goes, and says so", async () => {
  const whole = [depth.end, words.end];
  for (let size = 0; size < golden.length; size++) {
    const frames = whole.filter((end) => end <= size).length;
    const opening = framesOf(golden.subarray(0, size));
    if (frames === 0) {
      await assert.rejects(opening, RecordingError, `${size} bytes`);
      continue;
    }
    const opened = await opening;
    assert.equal(opened.times.length, frames);
    assert.equal(opened.cut === "", size === depth.end || size === notice.end);
    assert.equal((await opened.frame(0)).message.seq, 1);
  }
});

test("a changed byte is refused in its frame or ends the file there, and nothing else is thrown", async () => {
  let state = 7;
  const next = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % below;
  };
  for (let i = 0; i < 600; i++) {
    const bytes = golden.slice();
    const at = next(bytes.length);
    bytes[at]! ^= 1 + next(255);
    let good = 0;
    try {
      const opened = await framesOf(bytes);
      for (let index = 0; index < opened.times.length; index++) {
        try {
          await opened.frame(index);
          good++;
        } catch (error) {
          assert.ok(error instanceof RecordingError, String(error));
        }
      }
    } catch (error) {
      assert.ok(error instanceof RecordingError, String(error));
    }
    const isInAFrame = (at >= welcome.end && at < depth.end) || at >= notice.end;
    if (isInAFrame) assert.ok(good < 2, `byte ${at}`);
  }
});

test("sizes and times that can't be end the file, and take no memory", async () => {
  for (const [message, picture, ms] of [
    [0xffffffff, 0, 200],
    [4, 0xffffffff, 200],
    [0, 0, 200],
    [4, 0, 1],
    [4, 0, Number.NaN],
    [4, 0, Number.POSITIVE_INFINITY],
  ] as const) {
    const head = new Uint8Array(ENTRY_BYTES + 8);
    const view = new DataView(head.buffer);
    view.setUint32(0, message, true);
    view.setUint32(4, picture, true);
    view.setFloat64(8, ms, true);
    const opened = await framesOf(new Uint8Array(Buffer.concat([golden, head])));
    assert.deepEqual([opened.times.length, opened.cut], [2, "what follows is no frame"]);
  }
});

test("a message with a field of another type is refused by its name", () => {
  const good = splatsIn(depth) as unknown as Record<string, unknown>;
  assert.equal(asSplats(good).seq, 1);
  for (const [key, value] of [
    ["seq", -1],
    ["codec", 5],
    ["data", "text"],
    ["count", 1.5],
    ["label", null],
    ["captured_ms", Number.NaN],
  ] as const) {
    assert.throws(() => asSplats({ ...good, [key]: value }), new RegExp(`'${key}'`));
  }
  assert.throws(() => asSplats({ ...good, camera: { ...(good["camera"] as object), fx: "wide" } }), /camera\.fx/);
  assert.throws(() => asSplats({ ...good, camera: 5 }), /a map as camera/);
  assert.throws(() => asSplats([1]), /expected splats/);
  assert.throws(() => asSplats(null), /a map/);
});

test("a message of more values than any of ours is refused before they are built, however they are nested", async () => {
  const nest = (lists: number): number[][][] => new Array(lists).fill(new Array(1000).fill([]));
  for (const pruned of [
    new Array(5000).fill(0),
    nest(200),
    Object.fromEntries(new Array(3000).fill(0).map((_, i) => [i, 0])),
  ]) {
    const huge = encode({ type: "splats", pruned });
    const bytes = Buffer.concat([writeHeader(0), writeEntry(huge, new Uint8Array(0), 0), huge]);
    const opened = await framesOf(new Uint8Array(bytes));
    await assert.rejects(opened.frame(0), /more values than any of the protocol/);
  }
});

test("values are counted behind every kind of value, and what is cut off is left to the decoder", () => {
  const numbers = [0, -1, -100, 200, 1e3, -1e3, 1e5, -1e5, 2 ** 40, -(2 ** 40), 0.5, 1e300, true, null];
  const texts = ["", "a", "b".repeat(31), "c".repeat(32), "d".repeat(300), "e".repeat(70000)];
  const binaries = [3, 300, 70000].map((size) => new Uint8Array(size).fill(0xdd));
  const extensions = [1, 2, 4, 8, 16, 3, 300, 70000].map((size) => new ExtData(5, new Uint8Array(size).fill(0xdd)));
  const all = [...numbers, ...texts, ...binaries, ...extensions, { a: 1, b: [2] }];
  const count = 1 + all.length + 5;
  const fits = encode([...all, new Array(MAX_VALUES - count - 1).fill(0)]);
  assert.equal(hasTooManyValues(fits), false);
  assert.equal(hasTooManyValues(encode([...all, new Array(MAX_VALUES - count).fill(0)])), true);
  for (let size = 0; size < 500; size++) assert.equal(hasTooManyValues(fits.subarray(0, size)), false);
  for (const { message } of entriesOf(golden)) assert.equal(hasTooManyValues(message), false);
  // Four thousand million values, it says.
  assert.equal(hasTooManyValues(Uint8Array.of(0xdd, 255, 255, 255, 255)), true);
});

test("a recording plays at its times, around and around, and stops at its end if it shall not", () => {
  const clock = new ReplayClock([0, 100, 200, 300]);
  assert.equal(clock.durationMs, 400);
  clock.play(1000);
  assert.deepEqual(
    [1000, 1099, 1100, 1350, 1399, 1400, 1510].map((now) => clock.frameAt(now)),
    [0, 0, 1, 3, 3, 0, 1],
  );
  clock.loops = false;
  assert.equal(clock.frameAt(2500), 3);
  assert.equal(clock.playing, false);
  clock.play(3000);
  assert.equal(clock.frameAt(3000), 0);
});

test("its speed, a seek and a pause keep the place", () => {
  const clock = new ReplayClock([0, 100, 200, 300]);
  clock.play(0);
  clock.setSpeed(0.5, 100);
  assert.equal(clock.at(300), 200);
  clock.pause(300);
  assert.equal(clock.at(9000), 200);
  clock.seek(9999, 9000);
  assert.equal(clock.at(9000), 400);
  clock.seek(-1, 9000);
  assert.equal(clock.frameAt(9000), 0);
});

test("a step goes one frame on or back, stays there, and ends at the ends", () => {
  const clock = new ReplayClock([0, 100, 250]);
  clock.play(0);
  clock.step(1, 130);
  assert.deepEqual([clock.at(500), clock.frameAt(500), clock.playing], [250, 2, false]);
  clock.step(1, 500);
  assert.equal(clock.frameAt(500), 2);
  for (let i = 0; i < 5; i++) clock.step(-1, 500);
  assert.equal(clock.frameAt(500), 0);
});

test("a recording of one frame has a place to be", () => {
  const clock = new ReplayClock([0]);
  clock.play(0);
  assert.deepEqual([clock.durationMs, clock.frameAt(12345)], [100, 0]);
});

test("a file in three.js's frame is turned, and one around its origin is moved to where the camera sees it", () => {
  const edges = new Uint8Array(readFileSync(join(__VECTORS__, "edges.ply")));
  const said = (line: string): Uint8Array => {
    const text = Buffer.from(edges).toString("latin1");
    return new Uint8Array(
      Buffer.from(
        text.replace("format binary_little_endian 1.0\n", (format) => format + line),
        "latin1",
      ),
    );
  };
  const of = (data: Uint8Array): DataView => {
    const { start } = readPlyHeader(data);
    return new DataView(data.buffer, data.byteOffset + start);
  };
  const { properties, count } = readPlyHeader(edges);
  const value = (data: Uint8Array, i: number, name: string): number => {
    return of(data).getFloat32(4 * (i * properties.length + properties.indexOf(name)), true);
  };
  const plain = said("");
  // All in front: it stays as it is.
  for (let i = 0; i < count; i++) of(plain).setFloat32(4 * (i * properties.length + properties.indexOf("z")), 1 + i, true);
  const kept = plain.slice();
  placePly(plain);
  assert.deepEqual(plain, kept);

  const turned = said("comment frame: opengl (x right, y up, z back)\n");
  for (let i = 0; i < count; i++) of(turned).setFloat32(4 * (i * properties.length + properties.indexOf("z")), -1 - i, true);
  const original = turned.slice();
  placePly(turned);
  for (let i = 0; i < count; i++) {
    assert.deepEqual([value(turned, i, "y"), value(turned, i, "z")], [-value(original, i, "y"), 1 + i]);
    const rotation = ["rot_0", "rot_1", "rot_2", "rot_3"].map((name) => value(original, i, name)) as [
      number,
      number,
      number,
      number,
    ];
    const [w, x, y, z] = rotation;
    assert.deepEqual(
      ["rot_0", "rot_1", "rot_2", "rot_3"].map((name) => value(turned, i, name)),
      [-x, w, -z, y],
    );
  }

  const around = said("");
  for (let i = 0; i < count; i++)
    of(around).setFloat32(4 * (i * properties.length + properties.indexOf("z")), i - count / 2, true);
  placePly(around);
  const inFront = Array.from({ length: count }, (_, i) => value(around, i, "z")).filter((z) => z > 0).length;
  assert.ok(inFront > 0.9 * count, `${inFront} of ${count}`);
});

test("the pixels of a picture are known before it is decoded", () => {
  const bytes = (text: string, ...numbers: number[]): Uint8Array => {
    return Uint8Array.from([...[...text].map((letter) => letter.charCodeAt(0)), ...numbers]);
  };
  const size = [0, 0, 0x75, 0x30, 0, 0, 0x27, 0x10];
  assert.equal(pixelsOf(bytes("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", ...size)), 30000 * 10000);
  const jpeg = [0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xff, 0xc2, 0, 11, 8, 0x75, 0x30, 0x27, 0x10, 1, 1, 0x11, 0];
  assert.equal(pixelsOf(Uint8Array.from(jpeg)), 30000 * 10000);
  assert.equal(pixelsOf(depth.picture), 64 * 48);
  assert.equal(pixelsOf(bytes("RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0", 0x2f, 0x75, 0, 0x0f, 0x27, 0)), 30000 * 10000);
  const lossless = (29 | (19 << 14)) >>> 0;
  const bits = [lossless & 255, (lossless >>> 8) & 255, (lossless >>> 16) & 255, lossless >>> 24];
  assert.equal(pixelsOf(bytes("RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f", ...bits)), 30 * 20);
  assert.equal(pixelsOf(bytes("RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a", 30, 0, 20, 0)), 30 * 20);
  for (const none of ["", "GIF89a", "\xff\xd8", "RIFF\0\0\0\0WEBPXXXX"]) assert.equal(pixelsOf(bytes(none)), 0);
});

test("what is saved of the screen reads back as the words that were on it", () => {
  // Words of the golden frame, which span every field, through the file and back at the same ranges.
  const data = splatsIn(words).data;
  const room = (): Uint32Array<ArrayBuffer> => new Uint32Array(capacityFor(48) * WORDS);
  const shown = packed.decode(data, room(), WEBCAM);
  const saved = plyOf(shown.words, shown.range, ["made by: ünïcode\nelement vertex 9"]);
  const read = ply.decode(saved, room(), WEBCAM);
  const visible = Array.from({ length: 48 }, (_, i) => i).filter((i) => shown.words[i * WORDS]! >>> 24 !== 0);
  assert.equal(read.count, visible.length);
  assert.deepEqual(read.range, shown.range);
  visible.forEach((from, to) => {
    const [a, b] = [shown.words.subarray(from * WORDS, from * WORDS + 4), read.words.subarray(to * WORDS, to * WORDS + 4)];
    assert.equal(b[1], a[1]);
    assert.equal(b[2]! & 0xffff, a[2]! & 0xffff);
    const bytes = (each: Uint32Array): number[] => [
      ...new Uint8Array(each.slice(0, 1).buffer),
      ...new Uint8Array(each.slice(3).buffer),
    ];
    const [was, is] = [bytes(a), bytes(b)];
    // A scale of nothing is the smallest there is.
    was.forEach((byte, k) => assert.ok(Math.abs(is[k]! - byte) <= 1, `splat ${from}, byte ${k}: ${byte} became ${is[k]}`));
  });
});
