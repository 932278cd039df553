// Scenes in which all is far: halves alone hold a wall at z = 40 in terraces, around its own depth they don't. Every way to words.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { DepthDecoder } from "../src/codecs/depth.js";
import { toPixels } from "../src/codecs/depth_pixels.js";
import { farOffset } from "../src/codecs/far.js";
import { halfToFloat } from "../src/codecs/half.js";
import { codecNamed } from "../src/codecs/index.js";
import { LIFTED_RANGE, Lifter } from "../src/codecs/lift.js";
import { readPlyHeader } from "../src/codecs/ply.js";
import { plyOf } from "../src/codecs/ply_file.js";
import { capacityFor, WORDS } from "../src/codecs/words.js";
import { pivotDepth } from "../src/view/pivot.js";

declare const __VECTORS__: string;

const CAMERA = { width: 64, height: 64, fx: 64, fy: 64, cx: 32, cy: 32 };
const COUNT = 48;
const vector = (name: string): Uint8Array => new Uint8Array(readFileSync(join(__VECTORS__, name)));

/** Of the plane z = 40 + x / 2, mm. */
function worstMm(words: Uint32Array, count: number, zOffset: number): number {
  let worst = 0;
  for (let at = 0; at < count * WORDS; at += WORDS) {
    const x = halfToFloat(words[at + 1]! & 0xffff);
    const z = halfToFloat(words[at + 2]! & 0xffff) + zOffset;
    worst = Math.max(worst, (1000 * Math.abs(z - 40 - x / 2)) / Math.hypot(1, 0.5));
  }
  return worst;
}

for (const [name, codec] of [
  ["far.packed", "packed"],
  ["far.ply", "ply"],
] as const) {
  test(`the wall in ${name} stays a plane, and knows where it is`, () => {
    const { words, count, range } = codecNamed(codec).decode(vector(name), new Uint32Array(capacityFor(COUNT) * WORDS), CAMERA);
    assert.equal(count, COUNT);
    assert.equal(range.zOffset, 40);
    assert.ok(worstMm(words, count, 40) < 2, `${worstMm(words, count, 40)} mm`);
    assert.ok(Math.abs(pivotDepth(words, count, CAMERA, 40) - 39) < 2);
    const saved = plyOf(words.subarray(0, count * WORDS), range);
    const { start, properties } = readPlyHeader(saved);
    const view = new DataView(saved.buffer);
    for (let i = 0; i < count; i++) {
      const [x, z] = [0, 8].map((at) => view.getFloat32(start + 4 * properties.length * i + at, true)) as [number, number];
      assert.ok(Math.abs(z - 40 - x / 2) < 0.003, "a saved file has the depth that is shown");
    }
  });
}

test("points that are far are stored around their depth, too", () => {
  const data = new Uint8Array(16 + 15 * COUNT);
  const view = new DataView(data.buffer);
  [..."SPPT"].forEach((letter, i) => view.setUint8(i, letter.charCodeAt(0)));
  view.setUint8(4, 1);
  view.setUint32(8, COUNT, true);
  for (let i = 0; i < COUNT; i++) {
    const x = -4.03 + 0.17 * i;
    [x, 0, 40 + x / 2].forEach((value, axis) => view.setFloat32(16 + 12 * i + 4 * axis, value, true));
  }
  const { words, range } = codecNamed("points").decode(data, new Uint32Array(capacityFor(COUNT) * WORDS), CAMERA);
  assert.equal(range.zOffset, 40);
  assert.ok(worstMm(words, COUNT, 40) < 2);
});

test("a far depth frame is lifted to the server's words around the server's depth", () => {
  const frame = new DepthDecoder().decode(vector("far.depth"));
  const colours = vector("far.rgba");
  const pixels = toPixels(frame, [colours], new Uint32Array(2 * 2048));
  const words = new Uint32Array(capacityFor(pixels.count) * WORDS);
  const range = { ...LIFTED_RANGE, lnScaleMin: -9, lnScaleMax: 2 };
  new Lifter().lift(pixels, range, words);
  const data = vector("far.lifted.packed");
  const into = new Uint32Array(capacityFor(pixels.count) * WORDS);
  const theirs = codecNamed("packed").decode(data, into, CAMERA);
  assert.equal(pixels.zOffset, theirs.range.zOffset);
  assert.equal(pixels.zOffset, 40);
  assert.equal(theirs.count, pixels.count);
  for (let at = 2; at < pixels.count * WORDS; at += WORDS) {
    const [a, b] = [words[at]!, theirs.words[at]!].map((word) => halfToFloat(word & 0xffff)) as [number, number];
    assert.ok(Math.abs(a - b) <= Math.max(0.004, Math.abs(a) / 1024), `${a} is not about ${b}`);
  }
});

test("a scene with something near, behind the camera or of nothing is stored as ever", () => {
  const wall = Array.from({ length: 3000 }, (_, i) => 38 + i / 1000);
  const offset = (depths: number[]): number => farOffset(depths.length, (i) => depths[i]!, true);
  assert.equal(offset(wall), 40);
  for (const z of [0.5, 7, -2, Number.NaN]) assert.equal(offset([...wall, z]), 0, `${z}`);
  assert.equal(offset([]), 0);
  assert.equal(offset([5, 5.1]), 0);
  assert.equal(offset([2e6, 2e6]), 0);
  assert.equal(
    farOffset(3, (i) => [0, 40, 41][i]!, false),
    40,
    "of pixels, those without a surface don't count",
  );
});
