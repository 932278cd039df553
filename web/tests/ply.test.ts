// PLY files that other programs write: the same golden files as tests/unit/test_foreign_ply.py, and the same refusals.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { DecodeError } from "../src/codecs/codec.js";
import { ply } from "../src/codecs/ply.js";
import { readHeader } from "../src/codecs/ply_header.js";
import { plainPly } from "../src/codecs/ply_plain.js";
import { capacityFor } from "../src/codecs/words.js";
import { readSplats } from "../src/recording/splat_file.js";
import { mutated, randomFrom } from "./mutations.js";

declare const __VECTORS__: string;

const CAMERA = { width: 64, height: 64, fx: 64, fy: 64, cx: 32, cy: 32 };
const FOREIGN = ["others.doubles.ply", "others.big-endian.ply", "others.text.ply", "others.carriage-returns.ply"];
const COMPRESSED = "others.compressed.ply";
const NAMES = [
  ...["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"],
  ...["scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"],
];
const vector = (name: string): Uint8Array => new Uint8Array(readFileSync(join(__VECTORS__, name)));
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const decoded = (data: Uint8Array): Uint32Array => {
  const into = new Uint32Array(4 * capacityFor(Math.min(ply.count(data), 4096)));
  return ply.decode(data, into, CAMERA).words.subarray(0, 4 * ply.count(data));
};
const header = (lines: string[], format = "binary_little_endian 1.0"): string =>
  ["ply", `format ${format}`, ...lines, "end_header\n"].join("\n");
const floats = (names: string[]): string[] => names.map((name) => `property float ${name}`);

for (const name of FOREIGN) {
  test(`${name} gives the words of edges.ply`, () => {
    assert.deepEqual(decoded(vector(name)), decoded(vector("edges.ply")));
  });
}

test("a compressed file gives what SparkJS makes of it: centres and bytes at most one step apart", () => {
  const ours = decoded(vector(COMPRESSED));
  const theirs = new Uint32Array(vector(`${COMPRESSED}.packed`).slice(32).buffer);
  assert.equal(ours.length, theirs.length);
  const parts = (word: number, at: number): number[] =>
    at % 4 === 1 ? [word & 0xffff, word >>> 16] : [word & 255, (word >>> 8) & 255, (word >>> 16) & 255, word >>> 24];
  for (let i = 0; i < ours.length; i++) {
    const apart = parts(ours[i]!, i).map((part, j) => Math.abs(part - parts(theirs[i]!, i)[j]!));
    assert.ok(Math.max(...apart) <= 1, `word ${i % 4} of splat ${i >> 2}: ${ours[i]} is not about ${theirs[i]}`);
  }
});

test("a plain file is not copied, and comments outlive the others' reading", () => {
  const data = vector("edges.ply");
  assert.equal(plainPly(data), data);
  assert.deepEqual(readHeader(plainPly(vector("others.doubles.ply"))).comments, ["element vertex 3 is only a comment"]);
});

test("a file of another program opens as a file of splats does", async () => {
  for (const name of [...FOREIGN, COMPRESSED]) {
    const file = await readSplats(new Blob([vector(name).slice()]));
    const { message } = await file.frame(0);
    assert.equal(message.count, ply.count(vector(name)));
    assert.ok(decoded(message.data).length === 4 * message.count, name);
  }
});

test("every file cut off anywhere is refused with its name, or only what follows the vertices was cut", () => {
  for (const name of [...FOREIGN, COMPRESSED]) {
    const data = vector(name);
    const whole = decoded(data);
    for (let end = 0; end < data.length; end += data.length < 5000 ? 1 : 7) {
      let words: Uint32Array;
      try {
        words = decoded(data.subarray(0, end));
      } catch (error) {
        assert.ok(error instanceof DecodeError, String(error));
        continue;
      }
      assert.ok(words.length === whole.length, `${name} cut at ${end}`);
    }
  }
});

test("headers that are none are refused in words", () => {
  const refused = (text: string, expected: RegExp): void => assert.throws(() => decoded(bytesOf(text)), expected);
  refused("ply\rend_header\r", /ended by line feeds/);
  refused("ply\nend_header\n", /expected a line 'format binary_little_endian/);
  refused(header([], "binary_middle_endian 1.0"), /format binary_little_endian \| binary_big_endian \| ascii 1.0/);
  refused(header([], "ascii 2.0"), /format binary_little_endian \| binary_big_endian \| ascii 1.0/);
  refused(header(["element face 0"]), /expected an element 'vertex', got face/);
  refused(header(["element vertex -1"]), /a count of up to 15 digits/);
  refused(header(["element vertex 0", "element vertex 0"]), /each element once/);
  refused(header(["element vertex 0", ...floats(NAMES), "property float x"]), /each name once/);
  refused(header(["element vertex 0", ...floats(NAMES.slice(1))]), /none named x/);
  refused(header(["element vertex 0", "property list uchar int v"]), /a scalar property/);
  refused(header(["element face 0", "property list float int v"]), /a scalar property/);
  refused(header(["element vertex 0", "property half x"]), /a known type/);
  refused(header(["property float x"]), /an element/);
  refused(header(["element vertex 0", ...floats(Array.from({ length: 1025 }, (_, i) => `p${i}`))]), /at most 1024/);
});

test("a header that claims a lot is refused before there is room for it", () => {
  const many = "999999999999999";
  const bodies: [string[], string?][] = [
    [[`element vertex ${many}`, ...floats(NAMES)]],
    [[`element vertex ${many}`, ...floats(NAMES)], "ascii 1.0"],
    [[`element vertex ${many}`, "property uchar packed_position"]],
    [[`element vertex ${many}`]],
    [[`element face ${many}`, "property list uchar int v", "element vertex 1", ...floats(NAMES)]],
    [[`element face ${many}`, "property list char char v", "element vertex 1", ...floats(NAMES)]],
    [[`element face ${many}`, "property list uchar int v", "element vertex 1", ...floats(NAMES)], "ascii 1.0"],
    [["element face 1", "property list int int v", "element vertex 1", ...floats(NAMES)]],
  ];
  for (const [lines, format] of bodies) {
    const head = bytesOf(header(lines, format));
    const data = new Uint8Array(head.length + 200_000).fill(255, head.length, head.length + 4);
    data.set(head);
    assert.throws(() => ply.decode(data, new Uint32Array(4 * capacityFor(1)), CAMERA), DecodeError, lines[0]);
  }
  const nothing = bytesOf(header([`element nothing ${many}`, "element vertex 0", ...floats(NAMES)]));
  assert.equal(ply.count(plainPly(nothing)), 0, "rows without columns take no bytes");
});

test("text that is no number is refused, and what is one is read", () => {
  const start = header(["element vertex 1", ...floats(NAMES)], "ascii 1.0");
  for (const line of ["1 2 3 x", "1 2 3 0x1", "1 2 3 1_0"]) {
    assert.throws(() => decoded(bytesOf(`${start}${line} 0 0 0 0 0 0 1 0 0 0\n`)), /expected a number/);
  }
  assert.throws(() => decoded(bytesOf(`${start}${"0 ".repeat(13)}\n`)), /expected 14 numbers a line|lines of vertices/);
  assert.throws(() => decoded(bytesOf(`${start}${"0 ".repeat(15)}\n`)), /expected 14 numbers a line, got 15/);
  assert.throws(() => decoded(bytesOf(`${start}nan 2 3 0 0 0 0 0 0 0 1 0 0 0\n`)), /expected finite values/);
  assert.equal(decoded(bytesOf(`${start} 1e0\t+2 -3 0 0 0 0 0 0 0 1 0 0 0`))[1], 0x3c00 | (0x4000 << 16));
});

test("mutations give splats or a DecodeError", () => {
  const random = randomFrom(5);
  for (const name of [...FOREIGN, COMPRESSED]) {
    const data = vector(name);
    const start = readHeader(data).start;
    for (let i = 0; i < 300; i++) {
      const [head, body] = [data.subarray(0, start), data.subarray(start)];
      const parts = i % 2 ? [mutated(head, random), body] : [head, mutated(body, random)];
      const bytes = new Uint8Array(parts[0]!.length + parts[1]!.length);
      bytes.set(parts[0]!);
      bytes.set(parts[1]!, parts[0]!.length);
      try {
        decoded(bytes);
      } catch (error) {
        assert.ok(error instanceof DecodeError, `${name}: ${error}`);
      }
    }
  }
});
