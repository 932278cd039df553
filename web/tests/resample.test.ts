import assert from "node:assert/strict";
import { test } from "node:test";
import { Resampler } from "../src/codecs/resample.js";

/** Red values, row by row → RGBA whose green is 255 − red and whose blue is 7. */
function picture(...red: number[]): Uint8Array {
  return Uint8Array.from(red.flatMap((value) => [value, 255 - value, 7, 0]));
}

function reds(rgba: Uint8Array): number[] {
  return [...rgba].filter((_, i) => i % 4 === 0);
}

test("cells are means, and a pixel that lies in two counts in both by its part", () => {
  const resampler = new Resampler();
  const halved = resampler.resample(picture(0, 10, 20, 30, 2, 12, 22, 32), { width: 4, height: 2 }, { width: 2, height: 1 });
  assert.deepEqual([...halved], [6, 249, 7, 255, 26, 229, 7, 255]);
  const parts = resampler.resample(picture(0, 90, 30), { width: 3, height: 1 }, { width: 2, height: 1 });
  assert.deepEqual(reds(parts), [30, 50]);
});

test("a picture of the grid's size is left as it is", () => {
  const size = { width: 2, height: 1 };
  const same = picture(1, 2);
  assert.equal(new Resampler().resample(same, size, size), same);
});

test("a larger grid is symmetric, overshoots at an edge within the range, and keeps a plain colour", () => {
  const resampler = new Resampler();
  const edge = reds(resampler.resample(picture(20, 20, 220, 220), { width: 4, height: 1 }, { width: 8, height: 1 }));
  edge.forEach((value, i) => assert.ok(Math.abs(value + edge[7 - i]! - 240) <= 1, "but for a tie in rounding"));
  assert.ok(edge[2]! < 20 && edge[5]! > 220);
  const sharp = reds(resampler.resample(picture(0, 0, 255, 255), { width: 4, height: 1 }, { width: 8, height: 1 }));
  assert.deepEqual([sharp[2], sharp[5]], [0, 255]);
  const plain = resampler.resample(picture(...Array<number>(9).fill(77)), { width: 3, height: 3 }, { width: 7, height: 5 });
  assert.ok(reds(plain).every((value) => value === 77));
});

test("one pixel fills any grid, and any picture becomes one pixel", () => {
  const resampler = new Resampler();
  assert.deepEqual(reds(resampler.resample(picture(9), { width: 1, height: 1 }, { width: 2, height: 2 })), [9, 9, 9, 9]);
  assert.deepEqual(reds(resampler.resample(picture(0, 50, 100), { width: 1, height: 3 }, { width: 1, height: 1 })), [50]);
});
