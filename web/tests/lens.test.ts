import assert from "node:assert/strict";
import { test } from "node:test";
import { fovOf } from "../src/capture/lens.js";
import { DEFAULT_SETTINGS, readSettings } from "../src/config.js";
import type { Limits } from "../src/stream/messages.js";
import { NO_WISHES, wantedOptions, withinLimits } from "../src/stream/options.js";

/** EXIF with one tag in the directory that it points to. */
function exif(focal: number, little = true): Uint8Array {
  const tiff = new DataView(new ArrayBuffer(8 + 18 + 18));
  tiff.setUint16(0, little ? 0x4949 : 0x4d4d);
  tiff.setUint16(2, 42, little);
  tiff.setUint32(4, 8, little);
  const put = (at: number, tag: number, type: number, value: number): void => {
    tiff.setUint16(at, 1, little);
    tiff.setUint16(at + 2, tag, little);
    tiff.setUint16(at + 4, type, little);
    tiff.setUint32(at + 6, 1, little);
    if (type === 3) tiff.setUint16(at + 10, value, little);
    else tiff.setUint32(at + 10, value, little);
  };
  put(8, 0x8769, 4, 26);
  put(26, 0xa405, 3, focal);
  return new Uint8Array(tiff.buffer);
}

function file(word: string, tiff: Uint8Array): Uint8Array {
  return new Uint8Array([0xff, 0xd8, 0xff, 0xe1, 0, 0, ...[...word].map((letter) => letter.charCodeAt(0)), ...tiff, 1, 2, 3]);
}

for (const [focal, overWidth] of [
  [13, 0.361],
  [26, 0.722],
  [77, 2.139],
] as const) {
  test(`a lens of ${focal} mm sees as much as its EXIF says`, () => {
    for (const little of [true, false]) {
      for (const word of ["Exif\0\0", "eXIf"]) {
        const fov = fovOf(file(word, exif(focal, little)));
        assert.ok(Math.abs(0.5 / Math.tan((fov * Math.PI) / 360) - overWidth) < 1e-3);
      }
    }
  });
}

test("EXIF that ends anywhere, or means nothing, is no lens", () => {
  const whole = file("Exif\0\0", exif(26));
  for (let end = 0; end < whole.length - 10; end++) assert.equal(fovOf(whole.slice(0, end)), 0);
  for (const focal of [0, 3, 2001, 65535]) assert.equal(fovOf(file("Exif\0\0", exif(focal))), 0);
  assert.equal(fovOf(new Uint8Array(0)), 0);
});

test("the address's field of view comes before the photo's, and nothing is asked while nothing is known", () => {
  const photo = { ...NO_WISHES, fovDeg: 50 };
  assert.equal(wantedOptions(DEFAULT_SETTINGS, photo).fov_deg, 50);
  const settings = { ...DEFAULT_SETTINGS, ...readSettings(new URLSearchParams("fov_deg=90")) };
  assert.equal(wantedOptions(settings, photo).fov_deg, 90);
  assert.equal("fov_deg" in wantedOptions(DEFAULT_SETTINGS), false);
  assert.equal(wantedOptions(DEFAULT_SETTINGS, { ...NO_WISHES, transparent: true }).colors, "jpeg");
  assert.equal(withinLimits({ fov_deg: 300 }, {} as Limits).fov_deg, 170);
});
