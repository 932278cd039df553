import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { DecodeError } from "../src/codecs/codec.js";
import { crc32 } from "../src/codecs/depth.js";
import { diagonalise, newMatrices } from "../src/codecs/ellipsoid.js";
import { checkJpeg } from "../src/codecs/jpeg_head.js";
import type { ReadPixels } from "../src/codecs/pixels.js";
import { PlanesDecoder } from "../src/codecs/planes.js";
import { capacityFor, type SplatRange } from "../src/codecs/words.js";
import { mutated, randomFrom } from "./mutations.js";

declare const __VECTORS__: string;

const NAMES = ["native", "views"] as const;
const RANGE: SplatRange = { rgbMin: 0, rgbMax: 1, lnScaleMin: -9, lnScaleMax: 2, zOffset: 0 };
const HEADER = 12;
const VIEW = 108;

const vector = (name: string): Uint8Array => new Uint8Array(readFileSync(join(__VECTORS__, name)));

/** Node has no JPEG decoder: the golden pixels, in the order in which they are asked for. */
function golden(name: string): ReadPixels {
  const all = vector(`${name}.splp.rgba`);
  let at = 0;
  return async (jpeg, width, height) => {
    assert.ok(jpeg[0] === 0xff && jpeg[1] === 0xd8);
    at += 4 * width * height;
    return all.subarray(at - 4 * width * height, at);
  };
}

/** Grey, whatever the file. */
const grey: ReadPixels = async (_, width, height) => new Uint8Array(4 * width * height).fill(128);
const never: ReadPixels = () => assert.fail("no pixel may be decoded");

function decode(data: Uint8Array, read: ReadPixels): Promise<{ count: number; words: Uint32Array }> {
  return new PlanesDecoder(read).decode(data, RANGE, (pixels) => new Uint32Array(4 * capacityFor(pixels)).fill(0xdeadbeef));
}

/** Thirteen numbers, in steps. */
function fields(w: Uint32Array): number[] {
  const signed = (half: number): number => (half & 0x8000 ? -(half & 0x7fff) : half);
  return [
    ...[w[0]!, w[3]!].flatMap((word) => [0, 8, 16, 24].map((shift) => (word >>> shift) & 255)),
    ...[w[1]! & 0xffff, w[1]! >>> 16, w[2]! & 0xffff].map(signed),
    ...[(w[2]! >>> 16) & 255, w[2]! >>> 24],
  ];
}

for (const name of NAMES) {
  test(`${name}.splp decodes to the server's words within a step, at any alignment`, async () => {
    const data = vector(`${name}.splp`);
    const bytes = vector(`${name}.splp.packed`);
    const expected = new Uint32Array(bytes.slice(32).buffer);
    for (let offset = 0; offset < 4; offset++) {
      const moved = new Uint8Array(data.length + offset);
      moved.set(data, offset);
      const { count, words } = await decode(moved.subarray(offset), golden(name));
      assert.equal(4 * count, expected.length);
      assert.ok(4 * count < words.length);
      assert.ok(words.subarray(4 * count).every((word) => word === 0));
      let apart = 0;
      for (let i = 0; i < count; i++) {
        const theirs = fields(expected.subarray(4 * i, 4 * i + 4));
        fields(words.subarray(4 * i, 4 * i + 4)).forEach((field, j) => {
          const distance = Math.abs(field - theirs[j]!);
          // Without a rotation there is no axis.
          if (j > 10 && theirs[7] === 0) return;
          assert.ok(distance <= 1, `splat ${i}, field ${j}: ${field} and ${theirs[j]}`);
          if (distance > 0) apart++;
        });
      }
      assert.ok(apart <= (count * 13) / 100, `${apart} of ${count * 13} fields differ`);
    }
  });
}

test("too little room is refused", async () => {
  const decoder = new PlanesDecoder(golden("native"));
  await assert.rejects(
    decoder.decode(vector("native.splp"), RANGE, () => new Uint32Array(400)),
    /room for 1200 splats, got 100/,
  );
});

test("a picture that the browser refuses is the frame's error, whatever else is wrong", async () => {
  const refuses: ReadPixels = async () => {
    throw new DecodeError("planes", "a JPEG", "none");
  };
  await assert.rejects(decode(vector("native.splp"), refuses), /^DecodeError: planes: expected a JPEG, got none/);
});

test("axes and eigenvalues make the matrix again", () => {
  const random = randomFrom(3);
  const m = newMatrices(1);
  for (let round = 0; round < 5000; round++) {
    const [xx, yy, zz, xy, xz, yz] = Array.from({ length: 6 }, () => random(4000) / 1000 - 2) as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    [xx, yy, zz, xy, xz, yz].forEach((value, i) => {
      m[i]![0] = value;
    });
    diagonalise(m, 1);
    const [a, b, c, , , , w, x, y, z] = m.map((part) => part[0]!) as Ten;
    const rows = [
      [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
      [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
      [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ];
    const entry = (i: number, j: number): number =>
      a * rows[i]![0]! * rows[j]![0]! + b * rows[i]![1]! * rows[j]![1]! + c * rows[i]![2]! * rows[j]![2]!;
    const found = [entry(0, 0), entry(1, 1), entry(2, 2), entry(0, 1), entry(0, 2), entry(1, 2)];
    [xx, yy, zz, xy, xz, yz].forEach((value, i) => {
      assert.ok(Math.abs(value - found[i]!) < 0.013, `${found} for ${[xx, yy, zz, xy, xz, yz]}`);
    });
  }
});

test("a frame cut off anywhere, or with a byte too many, is refused with the codec's name", async () => {
  const data = vector("views.splp");
  const longer = new Uint8Array(data.length + 1);
  longer.set(data);
  for (const bytes of [...[...data.keys()].map((length) => data.subarray(0, length)), longer]) {
    await assert.rejects(decode(bytes, never), /^DecodeError: planes: expected .*, got /);
  }
});

/** Whoever lies about the rest can state the checksum of the lie. */
function withChecksum(data: Uint8Array): Uint8Array {
  if (data.length >= 12) new DataView(data.buffer, data.byteOffset).setUint32(8, crc32(data, 12), true);
  return data;
}

const SECOND = HEADER + VIEW;
const [NAN, INF, HUGE] = [Number.NaN, Number.POSITIVE_INFINITY, 2 ** 32 - 1];
const LIES: [at: number, kind: "u8" | "u16" | "u32" | "f32", values: number[]][] = [
  [0, "u8", [0]],
  [4, "u8", [0, 2, 255]],
  [5, "u8", [0, 1, 3, 9]],
  [6, "u16", [1, 65535]],
  [HEADER, "u16", [0, 1, 25, 4097, 65535]],
  [HEADER + 2, "u16", [0, 1, 4097, 65535]],
  [HEADER + 4, "f32", [0, -1, NAN, INF]],
  [HEADER + 12, "f32", [NAN, INF]],
  [HEADER + 20, "f32", [0.5, NAN]],
  ...[20, 24, 28, 36, 40, 44, 52, 56, 60].map((offset): (typeof LIES)[number] => [SECOND + offset, "f32", [5, NAN, INF]]),
  ...[32, 48, 64].map((offset): (typeof LIES)[number] => [SECOND + offset, "f32", [NAN, INF]]),
  [HEADER + 68, "f32", [0, -1, NAN, INF]],
  [HEADER + 72, "f32", [-21, 2, 21, NAN]],
  [HEADER + 76, "f32", [-3, 21, NAN, INF]],
  [HEADER + 80, "f32", [0, -1, 1e5, NAN]],
  ...[84, 88, 92, 96, 100, 104].flatMap((offset): typeof LIES => [
    [HEADER + offset, "u32", [0, 1, 4, 5, 100, HUGE]],
    [SECOND + offset, "u32", [0, 1, 4, 5, 100, HUGE]],
  ]),
];

test("a header that lies is refused even with a good checksum", async () => {
  for (const [at, kind, values] of LIES) {
    for (const value of values) {
      const data = vector("views.splp");
      const view = new DataView(data.buffer, data.byteOffset);
      if (kind === "u8") view.setUint8(at, value);
      else if (kind === "u16") view.setUint16(at, value, true);
      else if (kind === "u32") view.setUint32(at, value, true);
      else view.setFloat32(at, value, true);
      await assert.rejects(decode(withChecksum(data), grey), DecodeError, `${value} at byte ${at}`);
    }
  }
});

test("the largest claims within the bounds are refused before a plane is taken", async () => {
  const head = vector("native.splp").slice(0, HEADER + VIEW);
  const data = new Uint8Array(HEADER + 8 * VIEW);
  data.set(head);
  data[5] = 8;
  for (let at = HEADER; at < data.length; at += VIEW) {
    data.set(head.subarray(HEADER), at);
    const view = new DataView(data.buffer);
    view.setUint16(at, 512, true);
    view.setUint16(at + 2, 256, true);
    for (let offset = 84; offset < VIEW; offset += 4) view.setUint32(at + offset, HUGE, true);
  }
  await assert.rejects(decode(withChecksum(data), never), /expected 206158431036 bytes, got 876/);
  new DataView(data.buffer).setUint16(HEADER, 513, true);
  await assert.rejects(decode(withChecksum(data), never), /at most 1048576 pixels in all views/);
});

const FIRST_JPEG = ((): Uint8Array => {
  const data = vector("native.splp");
  const view = new DataView(data.buffer, data.byteOffset);
  const start = HEADER + VIEW + view.getUint32(HEADER + 84, true);
  return data.slice(start, start + view.getUint32(HEADER + 88, true));
})();

test("a JPEG of another kind is refused before a pixel is decoded", () => {
  const places = [...FIRST_JPEG.keys()].filter((at) => FIRST_JPEG[at] === 0xff);
  const frame = places.find((at) => FIRST_JPEG[at + 1] === 0xc0)!;
  const scan = places.find((at) => FIRST_JPEG[at + 1] === 0xda)!;
  const cut = (...parts: (Uint8Array | number[])[]): Uint8Array => Uint8Array.from(parts.flatMap((part) => [...part]));
  const [before, after] = [FIRST_JPEG.subarray(0, frame), FIRST_JPEG.subarray(frame)];
  const written = (at: number, ...bytes: number[]): Uint8Array => {
    const changed = FIRST_JPEG.slice();
    changed.set(bytes, at);
    return changed;
  };
  checkJpeg("planes", FIRST_JPEG, 40, 30, 3);
  assert.throws(() => checkJpeg("planes", FIRST_JPEG, 41, 30, 3), /41×30 pixels of 3 × 8 bits, got 40×30/);
  assert.throws(() => checkJpeg("planes", FIRST_JPEG, 40, 30, 1), /1 × 8 bits/);
  const others = {
    larger: written(frame + 5, 0x40, 0, 0x40, 0),
    "12 bits": written(frame + 4, 12),
    progressive: written(frame + 1, 0xc2),
    arithmetic: written(frame + 1, 0xc9),
    "two frames": cut(FIRST_JPEG.subarray(0, scan), FIRST_JPEG.subarray(frame, scan), FIRST_JPEG.subarray(scan)),
    "no frame": cut(before, FIRST_JPEG.subarray(scan)),
    "one component a scan": written(scan + 4, 1),
    "sampled four times": written(frame + 11, 0x44),
    "a comment": cut(before, [0xff, 0xfe, 0, 4, 1, 2], after),
    "Adobe's": cut(before, [0xff, 0xee, 0, 4, 1, 2], after),
    "a thousand tables": cut(before, Array.from({ length: 1000 }, () => [0xff, 0xdd, 0, 4, 0, 0]).flat(), after),
    "fill bytes": cut(before, [0xff, 0xff], after),
    "a segment of no length": cut(before, [0xff, 0xdb, 0, 0], after),
    "a segment beyond the end": cut(before, [0xff, 0xdb, 0xff, 0xff], after),
    "no end": FIRST_JPEG.subarray(0, FIRST_JPEG.length - 2),
    "no JPEG": written(0, 0x89, 0x50),
    "two bytes": FIRST_JPEG.subarray(0, 2),
    "four bytes": Uint8Array.of(0xff, 0xd8, 0xff, 0xd9),
    nothing: new Uint8Array(0),
  };
  for (const [name, jpeg] of Object.entries(others)) {
    assert.throws(() => checkJpeg("planes", jpeg, 40, 30, 3), DecodeError, name);
  }
});

test("any bytes as a JPEG's head are refused or a head of the right size", () => {
  const random = randomFrom(4);
  let right = 0;
  for (let round = 0; round < 20_000; round++) {
    const data = FIRST_JPEG.slice();
    for (let i = 0; i <= random(3); i++) data[random(700)] = random(256);
    try {
      checkJpeg("planes", data, 40, 30, 3);
      right++;
    } catch (error) {
      assert.ok(error instanceof DecodeError, String(error));
    }
  }
  assert.ok(right > 1000 && right < 20_000);
});

type Ten = [number, number, number, number, number, number, number, number, number, number];

test("10,000 mutations bring a refusal, and with a stated checksum a refusal or sound words", async () => {
  const original = vector("views.splp");
  const random = randomFrom(1);
  let sound = 0;
  for (let round = 0; round < 10_000; round++) {
    const data = mutated(original, random);
    if (!Buffer.from(data).equals(original)) await assert.rejects(decode(data, never), DecodeError);
    try {
      const { count, words } = await decode(withChecksum(data), grey);
      for (let i = 0; i < 4 * count; i += 4) {
        // No half is infinite or undefined, no splat without a size.
        for (const half of [words[i + 1]!, words[i + 1]! >>> 16, words[i + 2]!]) assert.notEqual(half & 0x7c00, 0x7c00);
        assert.ok(words[i + 3]! & 0xff && words[i]! >>> 24);
      }
      sound++;
    } catch (error) {
      assert.ok(error instanceof DecodeError, String(error));
    }
  }
  assert.ok(sound > 100, `${sound} changed frames were taken`);
});
