import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { DecodeError } from "../src/codecs/codec.js";
import { crc32, DepthDecoder, type DepthFrame } from "../src/codecs/depth.js";
import { DEPTH, PlaneDecoder } from "../src/codecs/depth_map.js";
import { PIXEL_WORDS, toPixels } from "../src/codecs/depth_pixels.js";
import { Lifter } from "../src/codecs/lift.js";
import { capacityFor, type SplatRange } from "../src/codecs/words.js";
import { mutated, randomFrom } from "./mutations.js";

declare const __VECTORS__: string;

const NAMES = ["layers", "scene", "dots"] as const;
const RANGE: SplatRange = { rgbMin: 0, rgbMax: 1, lnScaleMin: -9, lnScaleMax: 2, zOffset: 0 };
const HEADER = 28;
const VIEW = 76;
const LAYER = 24;

const vector = (name: string): Uint8Array => new Uint8Array(readFileSync(join(__VECTORS__, name)));
const facts = JSON.parse(readFileSync(join(__VECTORS__, "layered.json"), "utf8")) as Record<
  string,
  { count: number; scale: number; kind: string }
>;

/** Colours of each layer, cut from the golden file. */
function coloursOf(frame: DepthFrame, all: Uint8Array): Uint8Array[] {
  let at = 0;
  return frame.views.flatMap((view) =>
    view.layers.map(({ width, height }) => {
      at += 4 * width * height;
      return all.slice(at - 4 * width * height, at);
    }),
  );
}

function room(frame: DepthFrame): Uint32Array<ArrayBuffer> {
  return new Uint32Array(PIXEL_WORDS * frame.pixels + 8).fill(0xdeadbeef);
}

function lift(name: string): { count: number; words: Uint32Array } {
  const frame = new DepthDecoder().decode(vector(`${name}.depth`));
  const words = new Uint32Array(4 * capacityFor(frame.pixels)).fill(0xdeadbeef);
  const pixels = toPixels(frame, coloursOf(frame, vector(`${name}.rgba`)), room(frame));
  new Lifter().lift(pixels, RANGE, words);
  return { count: pixels.count, words };
}

for (const name of NAMES) {
  test(`${name}.depth decodes to the server's planes, bit for bit, at any alignment`, () => {
    const data = vector(`${name}.depth`);
    const expected = Buffer.from(vector(`${name}.planes`));
    const decoder = new DepthDecoder();
    for (let offset = 0; offset < 4; offset++) {
      const moved = new Uint8Array(data.length + offset);
      moved.set(data, offset);
      const frame = decoder.decode(moved.subarray(offset));
      const planes = frame.views.flatMap((view) =>
        view.layers.flatMap(({ inverseDepth, opacity }) => [
          Buffer.from(inverseDepth.buffer, inverseDepth.byteOffset, inverseDepth.byteLength),
          Buffer.from(opacity ?? []),
        ]),
      );
      assert.ok(Buffer.concat(planes).equals(expected));
      assert.equal(frame.kind, facts[`${name}.depth`]!.kind);
      assert.equal(frame.scale, facts[`${name}.depth`]!.scale);
      const layers = frame.views.flatMap((view) => view.layers);
      assert.equal(
        frame.pixels,
        layers.reduce((sum, { inverseDepth }) => sum + inverseDepth.length, 0),
      );
    }
  });

  test(`${name}.depth lifts to as many splats as on the server, and to its words within a step`, () => {
    const { count, words } = lift(name);
    const golden = vector(`${name}.lifted.packed`);
    const expected = new Uint32Array(golden.slice(32).buffer);
    assert.equal(count, facts[`${name}.depth`]!.count);
    assert.equal(expected.length, 4 * count);
    assert.ok(words.subarray(4 * count).every((word) => word === 0));
    const signed = (half: number): number => (half & 0x8000 ? -(half & 0x7fff) : half);
    let apart = 0;
    let farther = 0;
    for (let i = 0; i < count; i++) {
      const [a, b] = [words.subarray(4 * i, 4 * i + 4), expected.subarray(4 * i, 4 * i + 4)];
      const bytes = (w: Uint32Array): number[] =>
        [w[0]!, w[3]!].flatMap((word) => [0, 8, 16, 24].map((shift) => (word >>> shift) & 255));
      const fields = (w: Uint32Array): number[] => [
        ...bytes(w),
        ...[w[1]! & 0xffff, w[1]! >>> 16, w[2]! & 0xffff].map(signed),
        ...[(w[2]! >>> 16) & 255, w[2]! >>> 24],
      ];
      const ours = fields(a);
      fields(b).forEach((field, j) => {
        const distance = Math.abs(field - ours[j]!);
        if (distance > 0) apart++;
        if (distance > 1) farther++;
      });
    }
    assert.ok(farther <= (count * 13) / 1000, `${farther} of ${count * 13} fields are more than a step apart`);
    assert.ok(apart <= (count * 13) / 100, `${apart} of ${count * 13} fields differ`);
  });
}

test("a picture of another size, too few pictures and too little room are refused", () => {
  const frame = new DepthDecoder().decode(vector("layers.depth"));
  const rgba = coloursOf(frame, vector("layers.rgba"));
  const into = room(frame);
  assert.throws(() => toPixels(frame, rgba.slice(1), into), /expected 3 pictures, got 2/);
  assert.throws(() => toPixels(frame, [rgba[1]!, rgba[1]!, rgba[2]!], into), /a picture of 24×18/);
  assert.throws(() => toPixels(frame, rgba, into.subarray(0, 400)), /room for 840 splats/);
  const pixels = toPixels(frame, rgba, into);
  assert.throws(() => new Lifter().lift(pixels, RANGE, new Uint32Array(400)), /room for \d+ splats, got 100/);
});

test("one lifter gives each frame its own range of scales", () => {
  const frame = new DepthDecoder().decode(vector("dots.depth"));
  const pixels = toPixels(frame, coloursOf(frame, vector("dots.rgba")), room(frame));
  const lifter = new Lifter();
  const scales = [RANGE, { ...RANGE, lnScaleMin: -12, lnScaleMax: 9 }, RANGE].map((range) => {
    const words = new Uint32Array(4 * 2048);
    lifter.lift(pixels, range, words);
    return words[3]! & 0xffffff;
  });
  assert.equal(scales[0], scales[2]);
  assert.notEqual(scales[0], scales[1]);
});

test("the checksum is zlib's", () => {
  assert.equal(crc32(new TextEncoder().encode("123456789"), 0), 0xcbf43926);
});

test("a frame cut off anywhere, or with a byte too many, is refused with the codec's name", () => {
  const data = vector("layers.depth");
  const longer = new Uint8Array(data.length + 1);
  longer.set(data);
  const decoder = new DepthDecoder();
  for (const bytes of [...[...data.keys()].map((length) => data.subarray(0, length)), longer]) {
    assert.throws(() => decoder.decode(bytes), /^DecodeError: depth: expected .*, got /);
  }
});

/** Whoever lies about the rest can state the checksum of the lie. */
function withChecksum(data: Uint8Array): Uint8Array {
  if (data.length >= 12) new DataView(data.buffer, data.byteOffset).setUint32(8, crc32(data, 12), true);
  return data;
}

const LAYERS = HEADER + 2 * VIEW;
const SECOND = HEADER + VIEW;
const [NAN, INF, HUGE] = [Number.NaN, Number.POSITIVE_INFINITY, 2 ** 32 - 1];
const LIES: [at: number, kind: "u8" | "u16" | "u32" | "f32", values: number[]][] = [
  [0, "u8", [0]],
  [4, "u8", [0, 2, 255]],
  [5, "u8", [2, 255]],
  [6, "u8", [0, 1, 3, 9]],
  [7, "u8", [0, 1, 2, 4, 9]],
  [12, "f32", [0, -1, NAN, INF]],
  [16, "f32", [-0.1, 0.46, NAN]],
  [20, "f32", [-0.1, 1.1, NAN]],
  [24, "f32", [-1, NAN, INF]],
  [HEADER, "u16", [0, 1, 25, 65535]],
  [HEADER + 4, "f32", [0, -1, NAN, INF]],
  [HEADER + 12, "f32", [NAN, INF]],
  [HEADER + 20, "f32", [0.5, NAN]],
  [HEADER + 32, "f32", [1]],
  ...[20, 24, 28, 36, 40, 44, 52, 56, 60].map((offset): (typeof LIES)[number] => [SECOND + offset, "f32", [5, NAN, INF]]),
  ...[32, 48, 64].map((offset): (typeof LIES)[number] => [SECOND + offset, "f32", [NAN, INF]]),
  [HEADER + 68, "u8", [0, 1, 3, 9]],
  [HEADER + 69, "u8", [1, 2]],
  [HEADER + 70, "u8", [0, 9]],
  [HEADER + 71, "u8", [1]],
  [HEADER + 72, "u32", [1, HUGE]],
  [LAYERS, "u16", [0, 1, 65535]],
  [LAYERS + 4, "f32", [0, -1, NAN, INF]],
  [LAYERS + 8, "u32", [0, 1, 4, 5, 100, HUGE]],
  [LAYERS + 12, "u8", [0]],
  [LAYERS + 13, "u8", [1, 2, 3]],
  [LAYERS + 14, "u16", [1]],
  [LAYERS + 16, "u32", [0, 1, 5, HUGE]],
  [LAYERS + 20, "u32", [1, HUGE]],
  [LAYERS + LAYER, "u16", [1, 11, 13, 65535]],
  [LAYERS + LAYER + 20, "u32", [0, 1, HUGE]],
];

test("a header that lies is refused even with a good checksum", () => {
  const decoder = new DepthDecoder();
  for (const [at, kind, values] of LIES) {
    for (const value of values) {
      const data = vector("layers.depth");
      const view = new DataView(data.buffer, data.byteOffset);
      if (kind === "u8") view.setUint8(at, value);
      else if (kind === "u16") view.setUint16(at, value, true);
      else if (kind === "u32") view.setUint32(at, value, true);
      else view.setFloat32(at, value, true);
      assert.throws(() => decoder.decode(withChecksum(data)), DecodeError, `${value} at byte ${at}`);
    }
  }
});

test("the largest claim within the bounds is refused before a plane is taken", () => {
  const data = new Uint8Array(HEADER + VIEW + 8 * LAYER);
  data.set(vector("layers.depth").subarray(0, HEADER + VIEW));
  const view = new DataView(data.buffer);
  view.setUint8(6, 1);
  view.setUint8(7, 8);
  view.setUint16(HEADER, 1024, true);
  view.setUint16(HEADER + 2, 1024, true);
  view.setUint8(HEADER + 68, 8);
  for (let at = HEADER + VIEW; at < data.length; at += LAYER) {
    view.setUint16(at, 1024, true);
    view.setUint16(at + 2, 1024, true);
    view.setFloat32(at + 4, 1, true);
    view.setUint32(at + 8, HUGE, true);
  }
  assert.throws(() => new DepthDecoder().decode(withChecksum(data)), /expected 34359738656 bytes, got 296/);
});

test("10,000 mutations bring a refusal, and with a stated checksum a refusal or a sound frame", () => {
  const original = vector("layers.depth");
  const random = randomFrom(1);
  const decoder = new DepthDecoder();
  let sound = 0;
  for (let round = 0; round < 10_000; round++) {
    const data = mutated(original, random);
    if (!Buffer.from(data).equals(original)) assert.throws(() => decoder.decode(data), DecodeError);
    try {
      const frame = decoder.decode(withChecksum(data));
      for (const { layers } of frame.views) {
        for (const layer of layers) assert.ok(layer.inverseDepth.every((value) => value >= 0 && Number.isFinite(value)));
      }
      sound++;
    } catch (error) {
      assert.ok(error instanceof DecodeError, String(error));
    }
  }
  assert.ok(sound < 3000, `${sound} changed frames were taken`);
});

test("any bytes as a plane are refused or within its bounds", () => {
  const random = randomFrom(2);
  const planes = new PlaneDecoder();
  for (let round = 0; round < 2000; round++) {
    const data = Uint8Array.from({ length: 5 + random(200) }, () => random(256));
    data[0] = random(2);
    const [width, height] = [1 + random(60), 1 + random(60)];
    const into = new Int32Array(width * height);
    try {
      planes.decode("depth", data, width, height, DEPTH, into);
    } catch (error) {
      assert.ok(error instanceof DecodeError, String(error));
    }
    assert.ok(into.every((value) => value >= 0 && value < 2 ** 22));
  }
});
