import assert from "node:assert/strict";
import { test } from "node:test";
import { falsified, knownPixels, largestDifference } from "../src/capture/read_back.js";
import { missing } from "../src/ui/browser.js";

class Canvas {
  convertToBlob(): void {}
  getContext(): object {
    return {};
  }
}
class ModuleWorker {
  constructor(_url: string, options: { type: string }) {
    assert.equal(options.type, "module");
  }
  terminate(): void {}
}
class OldWorker {
  terminate(): void {}
}
const complete = {
  WebAssembly: {},
  OffscreenCanvas: Canvas,
  createImageBitmap: () => undefined,
  Worker: ModuleWorker,
  CSS: { supports: () => true },
  URL: { createObjectURL: () => "blob:", revokeObjectURL: () => undefined },
  Blob,
};
const lacks = (without: object): string[] => missing({ ...complete, ...without } as unknown as typeof globalThis);

test("a browser that has everything lacks nothing, and each thing that is missing is named", () => {
  assert.deepEqual(lacks({}), []);
  assert.deepEqual(lacks({ OffscreenCanvas: undefined }), ["OffscreenCanvas"]);
  assert.deepEqual(
    lacks({
      OffscreenCanvas: class extends Canvas {
        override getContext = () => null as never;
      },
    }),
    ["OffscreenCanvas"],
  );
  assert.deepEqual(lacks({ Worker: OldWorker }), ["workers that are modules"]);
  assert.deepEqual(lacks({ Worker: undefined, createImageBitmap: undefined }), [
    "createImageBitmap",
    "workers that are modules",
  ]);
  assert.deepEqual(lacks({ CSS: { supports: (name: string) => name !== "color" } }), ["the CSS function light-dark()"]);
  assert.deepEqual(lacks({ WebAssembly: undefined, CSS: { supports: (name: string) => name === "color" } }), [
    "WebAssembly",
    "the CSS selector :has()",
  ]);
});

const CHROME = { isBrave: false, userAgent: "Mozilla/5.0 Chrome/140.0 Safari/537.36" };

test("pixels that come back as they were are nothing to speak of; noise and other pictures are, each with what to turn off", () => {
  const known = knownPixels();
  assert.equal(falsified(largestDifference(known, knownPixels()), CHROME), null);
  const noisy = known.map((value, i) => value + (i % 50 === 0 ? 1 : 0));
  assert.equal(largestDifference(known, noisy), 1);
  const brave = falsified(1, { ...CHROME, isBrave: true })!;
  assert.match(brave.text, /a little noisy.*Brave.*Shields/);
  const firefox = falsified(largestDifference(known, new Uint8Array(known.length).fill(255)), {
    isBrave: false,
    userAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0",
  })!;
  assert.match(firefox.text, /are wrong.*privacy\.resistFingerprinting/);
  assert.match(falsified(255, CHROME)!.text, /protection against fingerprinting/);
});
