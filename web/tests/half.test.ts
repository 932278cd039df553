import assert from "node:assert/strict";
import { test } from "node:test";
import { floatToHalf, halfToFloat } from "../src/codecs/half.js";

test("every finite half comes back from its float with the same bits", () => {
  for (let bits = 0; bits < 0x10000; bits++) {
    if ((bits & 0x7c00) === 0x7c00) continue;
    assert.equal(floatToHalf(halfToFloat(bits)), bits);
  }
});

test("ties go to the even half", () => {
  assert.equal(floatToHalf(1 + 1 / 2048), 0x3c00);
  assert.equal(floatToHalf(1 + 3 / 2048), 0x3c02);
  assert.equal(floatToHalf(2 ** -25), 0);
  assert.equal(floatToHalf(3 * 2 ** -25), 2);
});

test("what is too large becomes infinite, what is no number stays none", () => {
  assert.equal(floatToHalf(65504), 0x7bff);
  assert.equal(floatToHalf(65519.9), 0x7bff);
  assert.equal(floatToHalf(65520), 0x7c00);
  assert.equal(floatToHalf(Number.NEGATIVE_INFINITY), 0xfc00);
  assert.equal(floatToHalf(Number.NaN) & 0x7c00, 0x7c00);
  assert.ok(Number.isNaN(halfToFloat(floatToHalf(Number.NaN))));
});
