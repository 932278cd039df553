import assert from "node:assert/strict";
import { test } from "node:test";
import type { DepthFrame } from "../src/codecs/depth.js";
import { PIXEL_WORDS, toPixels } from "../src/codecs/depth_pixels.js";
import { LIFTED_RANGE, Lifter } from "../src/codecs/lift.js";
import { SIGMA_PX } from "../src/codecs/lift_rows.js";
import { depthFrame } from "../src/codecs/test_depth.js";
import { byteValues, quatOf } from "../src/codecs/unpacked.js";
import { WORDS } from "../src/codecs/words.js";
import type { SplatsMessage } from "../src/stream/messages.js";
import { BufferPool } from "../src/stream/pool.js";
import { ReplyDecoder } from "../src/stream/reply_decoder.js";
import { checkFrame, differenceBetween, wordsOf } from "../src/view/lift_check.js";
import { chooseLift } from "../src/view/lift_choice.js";
import { pivotOfPixels } from "../src/view/pivot.js";

const frame = checkFrame(false);
const words = wordsOf(frame);

/** Where the GPU leaves them: at their pixels' places. */
function spread(): Uint32Array {
  const out = new Uint32Array((frame.pixels.length / 2) * WORDS);
  for (let i = 0, from = 0; i < frame.pixels.length / 2; i++) {
    if (frame.pixels[2 * i]! >>> 24 === 0) continue;
    out.set(words.subarray(from, from + WORDS), i * WORDS);
    from += WORDS;
  }
  return out;
}

/** The first splat's place. */
const FIRST = spread().findIndex((word) => word !== 0);

test("the frame of the check has pixels of every kind, and those that are cut have no words", () => {
  assert.equal(words.length, frame.count * WORDS);
  assert.ok(words.every((_, i) => i % WORDS !== 0 || words[i]! >>> 24 > 0));
  assert.equal(frame.layers.length, 3);
  assert.ok(frame.count > 3000 && frame.count < frame.layers.reduce((sum, layer) => sum + layer.width * layer.height, 0) - 500);
  assert.ok(new Set(Array.from(words, (word, i) => (i % WORDS === 0 ? word >>> 24 : 0))).size > 5, "many opacities");
});

test("on a plane, splats of any lens lie flat in it and are as large as their pixels", () => {
  const { lnScales } = byteValues(LIFTED_RANGE);
  const [width, height] = [24, 18];
  for (const f of [1, 2.5, 20, 300]) {
    for (const [p, q] of [[0.05, -0.03] as const, [-0.3, 0.2] as const, [0.02, 0.4] as const]) {
      // z = depth + p·X + q·Y
      const depth = f < 10 ? 0.2 : 5;
      const [cx, cy] = [width / 2, height / 2];
      const rays = Array.from({ length: width * height }, (_, i) => {
        return [((i % width) + 0.5 - cx) / f, (Math.floor(i / width) + 0.5 - cy) / f] as const;
      });
      const inverseDepth = Float32Array.from(rays, ([x, y]) => Math.max(0, (1 - p * x - q * y) / depth));
      const layer = { width, height, inverseDepth, opacity: null, colors: null };
      const view = { camera: { width, height, fx: f, fy: f, cx, cy }, pose: null, picture: null, layers: [layer] };
      const pixels = width * height;
      const prunes = { border: 0, minOpacity: 0, farthest: 0 };
      const plane: DepthFrame = { kind: "lifted", scale: 1, ...prunes, views: [view], pixels };
      const words = wordsOf(toPixels(plane, [new Uint8Array(4 * pixels)], new Uint32Array(PIXEL_WORDS * pixels)));
      let at = 0;
      for (const [i, [x, y]] of rays.entries()) {
        if (inverseDepth[i] === 0) continue;
        const [third, fourth] = [words[at + 2]!, words[at + 3]!];
        at += WORDS;
        // Where a neighbour is cut off the slope is another, and beyond the steepest slopes they are bounded.
        const z = 1 / inverseDepth[i]!;
        const facing = 1 - p * x - q * y;
        const [sx, sy] = [p / facing, q / facing];
        if (facing < 0.3 || Math.max(Math.abs(sx), Math.abs(sy)) > 3) continue;
        const [w, a, b, c] = quatOf(third, fourth);
        const normal = [2 * (a * c + w * b), 2 * (b * c - w * a), 1 - 2 * (a * a + b * b)];
        const length = Math.hypot(p, q, 1);
        const cosine = (-p * normal[0]! - q * normal[1]! + normal[2]!) / length;
        assert.ok(cosine > 0.9995, `f ${f}, pixel ${i}: ${(Math.acos(cosine) * 180) / Math.PI} degrees off`);
        // The squares of both axes together are those of the pixel's sides, unless one is too long.
        const ray2 = x * x + y * y + 1;
        const sides2 = (1 + 2 * sx * x + sx * sx * ray2 + 1 + 2 * sy * y + sy * sy * ray2) / f ** 2;
        if (sides2 * f ** 2 > 12) continue;
        const sizes2 = Math.exp(2 * lnScales[fourth & 255]!) + Math.exp(2 * lnScales[(fourth >>> 8) & 255]!);
        const ratio = sizes2 / (SIGMA_PX * z) ** 2 / sides2;
        assert.ok(ratio > 0.9 && ratio < 1.1, `f ${f}, pixel ${i}: ${ratio} of the pixel's size`);
      }
      assert.equal(at, words.length);
    }
  }
});

test("the same words agree wherever the zeros are", () => {
  assert.equal(differenceBetween(words, spread()), null);
  assert.equal(differenceBetween(words, words), null);
});

test("a splat too few, one too many, another colour and other places do not agree", () => {
  const missing = spread();
  missing.fill(0, FIRST, FIRST + WORDS);
  assert.match(differenceBetween(words, missing)!, /colour|splats; got/);
  const last = spread();
  last[last.length - WORDS] = 0xff000000;
  assert.match(differenceBetween(words, last)!, new RegExp(`${frame.count} splats; got ${frame.count + 1}`));
  const coloured = spread();
  coloured[FIRST]! ^= 1;
  assert.match(differenceBetween(words, coloured)!, /^colour 0x/);
  for (const [word, bit] of [
    [1, 0x2],
    [1, 0x20000],
    [2, 0x2],
    [2, 0x20000],
    [3, 0x4],
    [3, 0x4000000],
  ] as const) {
    const off = spread().map((value, i) => (i % WORDS === word && value !== 0 ? value ^ bit : value));
    assert.match(differenceBetween(words, off)!, /more than a step apart/);
  }
});

test("nothing at all does not agree", () => {
  assert.match(differenceBetween(words, new Uint32Array(spread().length))!, /splats; got 0/);
});

const GPU = "ANGLE (NVIDIA, Vulkan 1.3.0)";
const fine = async (): Promise<void> => undefined;
const broken = async (): Promise<void> => {
  throw new Error("expected 10 splats; got 9");
};

test("a GPU that passes lifts, one that doesn't leaves it to the worker", async () => {
  assert.deepEqual(await chooseLift({ rendererName: GPU, checkLift: fine }, "auto"), { where: "gpu", why: `${GPU}.` });
  const choice = await chooseLift({ rendererName: GPU, checkLift: broken }, "gpu");
  assert.equal(choice.where, "worker");
  assert.match(choice.why, /got 9/);
});

test("software rendering lifts in the worker unless the address asks for the GPU", async () => {
  for (const rendererName of ["SwiftShader Device", "llvmpipe (LLVM 15)", "Microsoft Basic Render Driver"]) {
    assert.equal((await chooseLift({ rendererName, checkLift: fine }, "auto")).where, "worker");
    assert.equal((await chooseLift({ rendererName, checkLift: fine }, "gpu")).where, "gpu");
  }
});

test("an address that asks for the worker has the GPU left alone", async () => {
  const checkLift = (): Promise<void> => assert.fail("it was tried");
  assert.equal((await chooseLift({ rendererName: GPU, checkLift }, "worker")).where, "worker");
});

test("the view turns about the nearer half of what is in the middle of the first camera's picture", () => {
  const pivot = pivotOfPixels(frame);
  // The wall is at 1.6 to 2.5 on the left and 1.1 to 1.7 on the right.
  assert.ok(pivot > 1.1 && pivot < 1.6, `${pivot}`);
  const none = { ...frame, pixels: frame.pixels.map((word, i) => (i % 2 === 0 ? word & 0xffffff : word)) };
  assert.equal(pivotOfPixels(none), 0);
});

test("the page gets pixels that lift to the words it would have got, unless they are too many for a texture", async () => {
  const reply = { codec: "depth", data: depthFrame() } as SplatsMessage;
  const here = await new ReplyDecoder(new BufferPool()).decode(reply, null, 3000);
  assert.ok("words" in here.content);
  const decoder = new ReplyDecoder(new BufferPool());
  decoder.liftsOnPage = true;
  const onPage = await decoder.decode(reply, null, 3000);
  assert.ok("pixels" in onPage.content);
  assert.equal(onPage.count, here.count);
  assert.equal(onPage.pivot, here.pivot);
  assert.ok(here.pivot > 0);
  const words = new Uint32Array(here.content.words.length);
  new Lifter().lift(onPage.content, LIFTED_RANGE, words);
  assert.deepEqual(words, here.content.words);
  const small = new ReplyDecoder(new BufferPool(), 1000);
  small.liftsOnPage = true;
  const tooMany = await small.decode(reply, null, 3000);
  assert.ok("words" in tooMany.content);
  assert.deepEqual(tooMany.content.words, here.content.words);
});
