import assert from "node:assert/strict";
import { test } from "node:test";
import { cameraConstraints, findCamera } from "../src/capture/camera.js";
import { explain } from "../src/capture/file_words.js";
import { sizeWithin } from "../src/capture/size.js";
import { PATIENCE_MS, Watch } from "../src/capture/watch.js";
import { nowMs } from "../src/clock.js";
import { DEFAULT_SETTINGS, PRESETS, presetOf, readConfig } from "../src/config.js";
import { readRemembered } from "../src/ui/memory.js";
import { choiceOf, entriesOf } from "../src/ui/source_menu.js";

const CAMERAS = [
  { id: "aaa", label: "FaceTime HD Camera" },
  { id: "bbb", label: "USB Camera" },
];
const STATE = {
  source: "camera",
  sourceName: "",
  running: false,
  cameras: [],
  camera: "",
  settings: DEFAULT_SETTINGS,
} as const;
const DESK = { sharesScreen: true, isHandheld: false };
const PHONE = { sharesScreen: false, isHandheld: true };
const valuesOf = ({ entries }: ReturnType<typeof entriesOf>): string[] => entries.map(([value]) => value);

test("the longest side rules, and nothing is made larger", () => {
  assert.deepEqual(sizeWithin(4032, 3024, 640), { width: 640, height: 480 });
  assert.deepEqual(sizeWithin(3024, 4032, 640), { width: 480, height: 640 });
  assert.deepEqual(sizeWithin(320, 240, 640), { width: 320, height: 240 });
  assert.deepEqual(sizeWithin(10_000, 2, 640), { width: 640, height: 1 });
});

test("a side is a wish, a camera that was chosen is not", () => {
  const wish = { captureSide: 640, maxFps: 30 };
  assert.deepEqual(cameraConstraints({ ...wish, camera: "rear" }).facingMode, { ideal: "environment" });
  assert.deepEqual(cameraConstraints({ ...wish, camera: "front" }).facingMode, { ideal: "user" });
  assert.deepEqual(cameraConstraints({ ...wish, camera: "aaa" }).deviceId, { exact: "aaa" });
  assert.deepEqual(Object.keys(cameraConstraints({ ...wish, camera: "" })), ["width", "height", "frameRate"]);
});

test("a camera is found by its id or by a part of its name", () => {
  assert.equal(findCamera(CAMERAS, "bbb")?.id, "bbb");
  assert.equal(findCamera(CAMERAS, "facetime")?.id, "aaa");
  for (const other of ["", "front", "rear", "moon"]) assert.equal(findCamera(CAMERAS, other), undefined);
});

test("the menu names the cameras once there is a choice, and what the device has", () => {
  assert.deepEqual(valuesOf(entriesOf(STATE, DESK)), ["camera", "screen", "sample", "file"]);
  assert.deepEqual(valuesOf(entriesOf(STATE, PHONE)), ["camera", "camera:front", "camera:rear", "sample", "file"]);
  const named = entriesOf({ ...STATE, cameras: CAMERAS, camera: "bbb" }, DESK);
  assert.deepEqual(valuesOf(named), ["camera:aaa", "camera:bbb", "screen", "sample", "file"]);
  assert.equal(named.value, "camera:bbb");
  const settings = { ...DEFAULT_SETTINGS, camera: "rear" };
  assert.equal(entriesOf({ ...STATE, settings }, PHONE).value, "camera:rear");
  assert.equal(entriesOf({ ...STATE, settings }, DESK).value, "camera");
});

test("while a file is open, choosing a file is a change", () => {
  const open = entriesOf({ ...STATE, source: "file", sourceName: "cat.jpg", running: true }, DESK);
  assert.ok(open.entries.some(([value, text]) => value === open.value && text === "cat.jpg"));
  assert.notEqual(open.value, "file");
  assert.equal(choiceOf(open.value), null);
  assert.deepEqual(choiceOf("file"), { kind: "file" });
  assert.deepEqual(choiceOf("camera:aaa"), { kind: "camera", camera: "aaa" });
});

test("what was chosen is remembered, and what others stored does no harm", () => {
  const chosen = { camera: "bbb", captureSide: 480, maxSplats: 5000, adapt: false, mirror: true, source: "sample" };
  assert.deepEqual(readRemembered(chosen), chosen);
  for (const stored of [
    null,
    7,
    "x",
    [],
    { mirror: 1, captureSide: "wide", maxFps: 1e9, adapt: null, representation: "fog" },
  ]) {
    assert.deepEqual(readRemembered(stored), {});
  }
  assert.deepEqual(readRemembered({ source: "file", axes: true, more: {} }), {}, "neither asked for again nor left on");
});

test("the address comes before what is remembered", () => {
  const remembered = { captureSide: 480, mirror: true, source: "sample" as const };
  const config = readConfig("http://h/?size=320", remembered);
  assert.deepEqual([config.settings.captureSide, config.settings.mirror, config.source], [320, true, "sample"]);
  assert.equal(readConfig("http://h/?source=camera", remembered).source, "camera");
  assert.equal(readConfig("http://h/?detail=sharp&camera=rear").settings.inferencePx, PRESETS["sharp"]!.inferencePx);
  assert.deepEqual(readConfig("http://h/?detail=fog&detail=toString").settings, {});
  assert.deepEqual(readConfig("http://h/?detail=constructor").settings, {});
});

test("a preset is recognised as long as nothing of it was changed", () => {
  for (const [name, preset] of Object.entries(PRESETS)) assert.equal(presetOf({ ...DEFAULT_SETTINGS, ...preset }), name);
  assert.equal(presetOf(DEFAULT_SETTINGS), "balanced");
  assert.equal(presetOf({ ...DEFAULT_SETTINGS, captureSide: 800 }), null);
});

test("a file that can't be shown is named for what it is", () => {
  const text = (name: string, type: string, head: string, size = 100): string =>
    explain(name, type, size, new TextEncoder().encode(head));
  assert.match(text("a.jpg", "image/jpeg", "\0\0\0\x18ftypheic"), /HEIC photo/);
  assert.match(text("a.heif", "", ""), /HEIC photo/);
  assert.match(text("a.mp4", "video/mp4", "\0\0\0\x18ftypisom"), /no picture that this browser can play/);
  assert.match(text("a.mp3", "audio/mpeg", "ID3"), /is a sound/);
  assert.match(text("a.jpg", "image/jpeg", "", 0), /is empty/);
  assert.match(text("a.pdf", "application/pdf", "%PDF"), /is not a picture or video/);
});

test("a camera without pictures is asleep until it gives one, a muted one until it is not", (context) => {
  context.mock.timers.enable({ apis: ["setInterval"] });
  Object.assign(globalThis, { window: globalThis });
  const said: boolean[] = [];
  const watch = new Watch((asleep) => said.push(asleep));
  watch.begin(true, 0);
  watch.check(PATIENCE_MS);
  assert.deepEqual(said, []);
  watch.check(PATIENCE_MS + 1);
  watch.check(PATIENCE_MS + 500);
  assert.deepEqual(said, [true]);
  watch.picture(5000);
  watch.muted(true, 6000);
  // Muted tracks may still give black pictures.
  watch.picture(6100);
  assert.deepEqual(said, [true, false, true]);
  watch.muted(false, 7000);
  watch.begin(false, 8000);
  watch.check(99_000);
  assert.deepEqual(said, [true, false, true, false]);
  Reflect.deleteProperty(globalThis, "window");
});

test("a clock that was put forward puts no camera to sleep", (context) => {
  context.mock.timers.enable({ apis: ["setInterval"] });
  Object.assign(globalThis, { window: globalThis, document: { hidden: false } });
  let ms = 0;
  context.mock.method(performance, "now", () => ms);
  context.mock.method(Date, "now", () => performance.timeOrigin + ms + 60_000);
  const said: boolean[] = [];
  const watch = new Watch((asleep) => said.push(asleep));
  watch.begin(true, nowMs());
  const pass = (forMs: number, isLive: boolean): void => {
    for (const until = ms + forMs; ms < until; context.mock.timers.tick(100)) {
      ms += 100;
      if (isLive) watch.picture(nowMs());
    }
  };
  pass(5000, true);
  assert.deepEqual(said, []);
  pass(PATIENCE_MS + 1000, false);
  assert.deepEqual(said, [true]);
  watch.begin(false, nowMs());
  for (const name of ["window", "document"]) Reflect.deleteProperty(globalThis, name);
});
