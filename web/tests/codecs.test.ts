import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { DecodeError } from "../src/codecs/codec.js";
import { halfToFloat } from "../src/codecs/half.js";
import { CODECS, codecNamed } from "../src/codecs/index.js";
import { aScene, expectedRange, expectedWords, sceneAs } from "../src/codecs/test_scene.js";
import { capacityFor, quatToBytes } from "../src/codecs/words.js";

declare const __VECTORS__: string;

const CAMERA = { width: 64, height: 64, fx: 64, fy: 64, cx: 32, cy: 32 };
const room = (count = 1): Uint32Array<ArrayBuffer> => new Uint32Array(capacityFor(count) * 4).fill(0xdeadbeef);

for (const { name } of CODECS) {
  test(`${name} decodes to the expected words at any alignment, and clears the rest of a used buffer`, () => {
    const data = sceneAs(name, aScene());
    for (let offset = 0; offset < 4; offset++) {
      const moved = new Uint8Array(data.length + offset);
      moved.set(data, offset);
      const decoded = codecNamed(name).decode(moved.subarray(offset), room(), CAMERA);
      const expected = expectedWords(name, aScene(), CAMERA);
      assert.deepEqual(decoded.words.subarray(0, expected.length), expected);
      assert.ok(decoded.words.subarray(expected.length).every((word) => word === 0));
      assert.deepEqual(decoded.range, expectedRange(name));
    }
  });

  test(`${name} without a splat is an empty frame`, () => {
    const decoded = codecNamed(name).decode(sceneAs(name, []), room(), CAMERA);
    assert.equal(decoded.count, 0);
    assert.ok(decoded.words.every((word) => word === 0));
  });

  test(`${name} cut off anywhere, or with a byte too many, is refused with its name`, () => {
    const data = sceneAs(name, aScene());
    const longer = new Uint8Array(data.length + 1);
    longer.set(data);
    const broken = [...Array(data.length).keys()].map((length) => data.subarray(0, length));
    for (const bytes of [...broken, longer]) {
      assert.throws(
        () => codecNamed(name).decode(bytes, room(), CAMERA),
        new RegExp(`^DecodeError: ${name}: expected .*, got `),
      );
    }
  });

  test(`${name} that doesn't fit its buffer, or a buffer that Spark would cut, is refused`, () => {
    const data = sceneAs(name, aScene());
    assert.throws(() => codecNamed(name).decode(data, new Uint32Array(4), CAMERA), DecodeError);
    assert.throws(() => codecNamed(name).decode(data, new Uint32Array(2050 * 4), CAMERA), DecodeError);
  });

  test(`${name} with a centre that is not finite is refused`, () => {
    const data = sceneAs(name, aScene());
    const view = new DataView(data.buffer, data.byteOffset);
    if (name === "packed") view.setUint16(32 + 4, 0x7c00, true);
    else view.setFloat32(name === "points" ? 16 : data.length - 2 * 17 * 4, Number.NaN, true);
    assert.throws(() => codecNamed(name).decode(data, room(), CAMERA), /expected finite/);
  });
}

test("another magic, another version and a wrong range are each named", () => {
  const change = (at: number, value: number): Uint8Array => {
    const data = sceneAs("packed", aScene()).slice();
    data[at] = value;
    return data;
  };
  const decode = (data: Uint8Array): unknown => codecNamed("packed").decode(data, room(), CAMERA);
  assert.throws(() => decode(change(0, 88)), /expected the magic SPPK, got "XPPK"/);
  assert.throws(() => decode(change(4, 2)), /expected version 1, got 2/);
  assert.throws(() => decode(change(6, 1)), /expected zeros in bytes 5 to 7/);
  assert.throws(() => decode(change(28, 1)), /expected 0, or an offset of 8 to 1048576 at byte 28/);
  const range = sceneAs("packed", aScene()).slice();
  new DataView(range.buffer).setFloat32(24, Number.NaN, true);
  assert.throws(() => decode(range), /expected lnScaleMin < lnScaleMax/);
});

test("an unknown codec is named with the known ones", () => {
  assert.throws(() => codecNamed("spz"), /expected a codec of packed, points, ply, got "spz"/);
});

test("capacities are whole rows of 2048, and never none", () => {
  assert.deepEqual([0, 1, 2048, 2049].map(capacityFor), [2048, 2048, 2048, 4096]);
});

test("a rotation and its negative are the same bytes", () => {
  assert.equal(quatToBytes(0.5, 0.5, -0.5, 0.5), quatToBytes(-0.5, -0.5, 0.5, -0.5));
  assert.equal(quatToBytes(2, 0, 0, 0), quatToBytes(1, 0, 0, 0));
});

const vector = (name: string): Uint8Array => new Uint8Array(readFileSync(join(__VECTORS__, name)));
/** Splats of every golden file named edges. */
const EDGES = 48;

test("edges.packed gives SparkJS's own words, bit for bit", () => {
  const data = vector("edges.packed");
  const { words, range } = codecNamed("packed").decode(data, room(), CAMERA);
  assert.deepEqual(range, { rgbMin: 0, rgbMax: 1, lnScaleMin: -12, lnScaleMax: 9, zOffset: 0 });
  const expected = new Uint32Array(data.slice(32).buffer);
  assert.equal(expected.length, EDGES * 4);
  assert.deepEqual(words.subarray(0, EDGES * 4), expected);
});

test("edges.stream.packed brings the server's own range of scales", () => {
  const { count, range } = codecNamed("packed").decode(vector("edges.stream.packed"), room(), CAMERA);
  assert.equal(count, EDGES);
  assert.ok(range.lnScaleMin > -12 && range.lnScaleMax < 9 && range.lnScaleMin < range.lnScaleMax);
});

test("edges.ply gives what SparkJS makes of it: centres alike, bytes at most one step apart", () => {
  const ours = codecNamed("ply").decode(vector("edges.ply"), room(), CAMERA).words;
  const theirs = codecNamed("packed").decode(vector("edges.packed"), room(), CAMERA).words;
  const bytes = (words: Uint32Array): Uint8Array => new Uint8Array(words.buffer, words.byteOffset, EDGES * 16);
  const [a, b] = [bytes(ours), bytes(theirs)];
  let steps = 0;
  for (let i = 0; i < a.length; i++) {
    const isCentre = i % 16 >= 4 && i % 16 < 10;
    const distance = Math.abs(a[i]! - b[i]!);
    assert.ok(distance <= (isCentre ? 0 : 1), `byte ${i % 16} of splat ${Math.floor(i / 16)}: ${a[i]} is not about ${b[i]}`);
    steps += distance;
  }
  // SparkJS goes through float32, which moves a few roundings only.
  assert.ok(steps < a.length / 50, `${steps} bytes differ`);
});

test("harmonics and normals in a PLY are passed over", () => {
  for (const [name, properties] of [
    ["harmonics.ply", 14 + 9] as const,
    ["harmonics.normals.opengl.ply", 14 + 9 + 3] as const,
  ]) {
    const data = vector(name);
    const { count } = codecNamed("ply").decode(data, room(), CAMERA);
    assert.ok(count > 0 && data.length > count * properties * 4);
  }
});

test("edges.points keeps centres to a half and colours exactly", () => {
  const data = vector("edges.points");
  const { count, words } = codecNamed("points").decode(data, room(), CAMERA);
  assert.equal(count, EDGES);
  const view = new DataView(data.buffer, data.byteOffset);
  for (let i = 0; i < count; i++) {
    const [x, z] = [view.getFloat32(16 + 12 * i, true), view.getFloat32(24 + 12 * i, true)];
    assert.ok(Math.abs(halfToFloat(words[4 * i + 1]! & 0xffff) - x) <= Math.abs(x) / 2048 + 1e-7);
    assert.ok(Math.abs(halfToFloat(words[4 * i + 2]! & 0xffff) - z) <= Math.abs(z) / 2048 + 1e-7);
    const rgb = [...data.subarray(16 + 12 * EDGES + 3 * i, 19 + 12 * EDGES + 3 * i)];
    assert.deepEqual(
      [0, 8, 16].map((shift) => (words[4 * i]! >>> shift) & 255),
      rgb,
    );
  }
});
