import assert from "node:assert/strict";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { DecodeError } from "../src/codecs/codec.js";
import { packed, packedOf } from "../src/codecs/packed.js";
import { points } from "../src/codecs/points.js";
import { plainSpz, spzOf } from "../src/codecs/spz_file.js";
import { quatOf } from "../src/codecs/unpacked.js";
import { capacityFor, DEFAULT_RANGE, lnScaleToByte, quatToBytes, WORDS, writeSplat } from "../src/codecs/words.js";
import { isForeign, isKept } from "../src/recording/file_names.js";
import { placeWords, shiftOf } from "../src/recording/placing.js";
import { pointsOfPly } from "../src/recording/point_ply.js";
import { WEBCAM } from "../src/view/projection.js";

const RANGE = { rgbMin: 0, rgbMax: 1, lnScaleMin: -12, lnScaleMax: 9, zOffset: 0 };
const COLOUR = 10 | (128 << 8) | (250 << 16);

/** Splats at these places: half opaque, turned about an axis of their own. */
function wordsAt(...places: [number, number, number][]): Uint32Array {
  const words = new Uint32Array(places.length * WORDS);
  const scale = lnScaleToByte(Math.log(0.02), RANGE);
  const rotation = quatToBytes(0.8, 0.36, -0.48, 0);
  places.forEach((place, i) => {
    writeSplat(words, i, ...place, (COLOUR | (128 << 24)) >>> 0, scale | ((scale + 9) << 8) | ((scale + 18) << 16), rotation);
  });
  return words;
}

test("an SPZ holds, after its header, centres, opacities, colours, scales and rotations of what is visible", () => {
  const words = new Uint32Array([...wordsAt([1, 2, 3], [0.5, -0.25, 4]), ...new Uint32Array(4)]);
  const bytes = plainSpz(words, RANGE);
  const view = new DataView(bytes.buffer);
  assert.equal(bytes.length, 16 + 2 * 20);
  assert.equal(String.fromCharCode(...bytes.subarray(0, 4)), "NGSP");
  assert.deepEqual([view.getUint32(4, true), view.getUint32(8, true), ...bytes.subarray(12, 16)], [3, 2, 0, 16, 0, 0]);
  const fixed = (at: number): number => ((view.getUint16(at, true) | (bytes[at + 2]! << 16)) << 8) >> 8;
  const centres = [16, 19, 22, 25, 28, 31].map((at) => fixed(at) / 2 ** 16);
  assert.deepEqual(centres, [1, -2, -3, 0.5, 0.25, -4]);
  assert.deepEqual([...bytes.subarray(34, 36)], [128, 128]);
  // 255·(0.5 + 0.15·DC), where the colour is 0.5 + 0.2821·DC.
  const shade = (byte: number): number => Math.round(255 * (0.5 + (0.15 * (byte / 255 - 0.5)) / 0.28209479177387814));
  assert.deepEqual([...bytes.subarray(36, 39)], [10, 128, 250].map(shade));
  const lnScale = -12 + ((lnScaleToByte(Math.log(0.02), RANGE) - 1) / 254) * 21;
  assert.equal(bytes[42], Math.round(16 * (lnScale + 10)));
  const bits = view.getUint32(48, true);
  // w is the largest; of the others y and z change their signs with the frame, and z is nothing.
  assert.equal(bits >>> 30, 3);
  const parts = [20, 10, 0].map((shift) => {
    const part = (bits >>> shift) & 1023;
    return ((part & 512 ? -1 : 1) * (part & 511)) / (511 * Math.SQRT2);
  });
  for (const [i, expected] of [0.36, 0.48, 0].entries()) assert.ok(Math.abs(parts[i]! - expected) < 0.01, `${parts}`);
});

test("a scene that reaches far has a coarser SPZ, and one of any size is whole", async () => {
  assert.equal(plainSpz(wordsAt([0, 0, 60000]), RANGE)[13], 7);
  assert.equal(plainSpz(wordsAt([0, 0, 128]), RANGE)[13], 15);
  const words = wordsAt([1, 2, 3]);
  const blob = await spzOf(words, RANGE);
  assert.deepEqual(new Uint8Array(gunzipSync(new Uint8Array(await blob.arrayBuffer()))), plainSpz(words, RANGE));
  assert.equal(plainSpz(new Uint32Array(8), RANGE).length, 16);
});

const QUATS: readonly (readonly [number, number, number, number])[] = [
  [1, 0, 0, 0],
  [0.5, 0.5, -0.5, 0.5],
  [0.1, -0.7, 0.1, 0.7],
  [0, 0, 0, 1],
  [0.6, 0, -0.8, 0],
];

test("every rotation comes out of the words as it went in, but for its bytes' steps", () => {
  for (const quat of QUATS) {
    const bytes = quatToBytes(...quat);
    const back = quatOf((bytes & 0xffff) << 16, (bytes >>> 16) << 24);
    const dot = Math.abs(quat.reduce((sum, part, i) => sum + part * back[i]!, 0)) / Math.hypot(...quat);
    assert.ok(dot > 0.9995, `${quat} ${back}`);
  }
});

test("words around a far scene's own depth are saved where they are", () => {
  const view = new DataView(plainSpz(wordsAt([0, 0, 2]), { ...RANGE, zOffset: 500 }).buffer);
  assert.equal((view.getInt32(21, true) >> 8) / 2 ** view.getUint8(13), -502);
});

test("packed words come back from their file", () => {
  const words = wordsAt([1, 2, 3], [4, 5, 6]);
  const decoded = packed.decode(packedOf(words, RANGE), new Uint32Array(capacityFor(2) * WORDS), WEBCAM);
  assert.deepEqual([decoded.count, decoded.words.subarray(0, 8), decoded.range], [2, words, RANGE]);
});

test("a scene in front of the camera stays, and one around it is moved to where it is seen", () => {
  assert.equal(
    shiftOf([
      [0, 0, 1],
      [1, 1, 2],
      [2, 0, 3],
      [0, 0, -1],
    ]),
    null,
  );
  const shift = shiftOf([
    [5, 0, -1],
    [6, 0, 0],
    [7, 0, 1],
  ])!;
  assert.equal(shift[0], -6);
  assert.ok(shift[2] > 1);
  assert.equal(shiftOf([]), null);
});

test("words with y up are turned: place, and rotation", () => {
  const words = wordsAt([1, 2, -3], [1, 2, -4], [1, 2, -5]);
  const before = quatOf(words[2]!, words[3]!);
  placeWords(words, 3, true);
  const bytes = plainSpz(words, RANGE);
  const view = new DataView(bytes.buffer);
  // Back in the file's frame it is what it was.
  const fixed = (at: number): number => ((view.getUint16(at, true) | (bytes[at + 2]! << 16)) << 8) >> 8;
  assert.deepEqual(
    [16, 19, 22].map((at) => fixed(at) / 2 ** bytes[13]!),
    [1, 2, -3],
  );
  const [w, x, y, z] = quatOf(words[2]!, words[3]!);
  for (const [i, part] of [w, x, -y, -z].entries()) assert.ok(Math.abs(part - before[i]!) < 0.02);
  const kept = wordsAt([1, 2, 3]);
  placeWords(kept, 1, false);
  assert.deepEqual(kept, wordsAt([1, 2, 3]));
});

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** A PLY of points with an element of faces after it. */
function pointPly(
  types: { place: string; colour: string },
  rows: number[][],
  comments: string[] = [],
  format = "binary_little_endian",
): Uint8Array {
  const lines = ["ply", `format ${format} 1.0`, ...comments, `element vertex ${rows.length}`];
  for (const name of ["x", "y", "z"]) lines.push(`property ${types.place} ${name}`);
  lines.push("property uchar alpha");
  for (const name of ["red", "green", "blue"]) lines.push(`property ${types.colour} ${name}`);
  const head = new TextEncoder().encode(
    `${[...lines, "element face 0", "property list uchar int vertex_indices", "end_header"].join("\n")}\n`,
  );
  const [placeBytes, colourBytes] = [types.place === "double" ? 8 : 4, types.colour === "ushort" ? 2 : 1];
  const view = new DataView(new ArrayBuffer(rows.length * (3 * placeBytes + 1 + 3 * colourBytes)));
  let at = 0;
  for (const row of rows) {
    for (const value of row.slice(0, 3)) {
      if (placeBytes === 8) view.setFloat64(at, value, true);
      else view.setFloat32(at, value, true);
      at += placeBytes;
    }
    at++;
    for (const value of row.slice(3)) {
      if (colourBytes === 2) view.setUint16(at, value, true);
      else view.setUint8(at, value);
      at += colourBytes;
    }
  }
  return new Uint8Array([...head, ...new Uint8Array(view.buffer)]);
}

test("a PLY of coloured points is read whatever its numbers are, and y up is turned", () => {
  const rows = [
    [1, 2, 3, 255, 0, 10],
    [0.5, -2, 4, 1, 2, 3],
  ];
  for (const [place, colour, factor] of [
    ["float", "uchar", 1],
    ["double", "uchar", 1],
    ["float32", "ushort", 257],
  ] as const) {
    const scaled = rows.map((row) => [...row.slice(0, 3), ...row.slice(3).map((value) => factor * value)]);
    const data = pointsOfPly(pointPly({ place, colour }, scaled))!;
    assert.equal(points.count(data), 2);
    const floats = new DataView(data.buffer);
    assert.deepEqual(
      [16, 20, 24, 28, 32, 36].map((at) => floats.getFloat32(at, true)),
      [1, 2, 3, 0.5, -2, 4],
    );
    assert.deepEqual([...data.subarray(40)], [255, 0, 10, 1, 2, 3]);
  }
  const up = pointPly({ place: "float", colour: "uchar" }, [[1, 2, -3, 255, 0, 10]], ["comment frame: opengl (x right)"]);
  const view = new DataView(pointsOfPly(up)!.buffer);
  assert.deepEqual(
    [16, 20, 24].map((at) => view.getFloat32(at, true)),
    [1, -2, 3],
  );
});

test("what is no PLY of points is left to others, and one that is broken is refused with its name", () => {
  const whole = pointPly({ place: "float", colour: "uchar" }, [[1, 2, 3, 4, 5, 6]]);
  for (let size = 0; size < whole.length; size++) assert.throws(() => pointsOfPly(whole.subarray(0, size)), DecodeError);
  assert.equal(pointsOfPly(bytesOf("ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nend_header\n")), null);
});

test("points as text are read too, with colours of any type", () => {
  const names = ["float x", "float y", "float z", "float red", "float green", "float blue"];
  const head = ["ply", "format ascii 1.0", "element vertex 1", ...names.map((name) => `property ${name}`), "end_header"];
  const data = pointsOfPly(bytesOf(`${head.join("\n")}\n1 2 3 1 0.5 0\n`))!;
  assert.deepEqual([...data.subarray(28)], [255, 128, 0]);
  assert.equal(new DataView(data.buffer).getFloat32(24, true), 3);
});

test("a file's name says who reads it", () => {
  for (const name of ["a.splatcast", "b.PLY", "c.sppk", "d.sppt"])
    assert.deepEqual([isKept(name), isForeign(name)], [true, false]);
  for (const name of ["a.spz", "b.splat", "c.KSPLAT", "d.sog"]) assert.deepEqual([isKept(name), isForeign(name)], [true, true]);
  for (const name of ["a.png", "splat", "b.ply.txt"]) assert.equal(isKept(name), false);
});

test("the usual range is Spark's", () => assert.deepEqual(RANGE, DEFAULT_RANGE));
