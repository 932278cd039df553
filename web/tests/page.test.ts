import assert from "node:assert/strict";
import { test } from "node:test";
import { readConfig } from "../src/config.js";
import { commandOf } from "../src/embed.js";
import { Minute } from "../src/figures/graph.js";
import type { Stats } from "../src/figures/statistics.js";
import { initialState } from "../src/state.js";
import { type Box, freeArea, pictureIn } from "../src/ui/free_area.js";
import { keepsKey } from "../src/ui/keys.js";
import { reportText } from "../src/ui/report.js";

const box = (left: number, top: number, width: number, height: number): Box => ({ left, top, width, height });
const disjoint = (a: Box, b: Box): boolean =>
  a.left >= b.left + b.width || b.left >= a.left + a.width || a.top >= b.top + b.height || b.top >= a.top + a.height;
const WIDE = box(0, 0, 1280, 800);
const FIGURES = box(1002, 14, 264, 500);
const DOCK = box(300, 726, 680, 60);

test("the picture lies beside the figures and above the dock", () => {
  const room = freeArea(WIDE, [FIGURES, DOCK], [], 4 / 3);
  assert.ok([FIGURES, DOCK].every((panel) => disjoint(room, panel)));
  assert.ok(room.width >= 950 && room.height >= 700, JSON.stringify(room));
});

test("in a tall window it lies below the figures instead", () => {
  const figures = box(10, 60, 370, 250);
  const room = freeArea(box(0, 0, 390, 844), [figures, box(10, 772, 370, 62)], [], 4 / 3);
  assert.equal(room.width, 390);
  assert.ok(room.top >= 310 && room.top + room.height <= 772);
});

test("beside a panel in the corner it stays in the middle of a wide window", () => {
  const window = box(0, 0, 844, 390);
  const room = freeArea(window, [box(631, 10, 202, 44), box(288, 318, 268, 62)], [], 4 / 3);
  assert.equal(room.left + room.width / 2, 422);
  assert.ok(room.height >= 300);
});

test("a corner is spared where that costs little, and covered where it costs much", () => {
  const small = box(14, 14, 120, 40);
  const beside = (soft: Box): Box => pictureIn(freeArea(WIDE, [DOCK], [soft], 4 / 3), 4 / 3);
  assert.ok(disjoint(beside(small), small));
  const large = box(14, 14, 1000, 400);
  assert.ok(!disjoint(beside(large), large));
});

test("without room for a picture the panels lie over it", () => {
  assert.deepEqual(freeArea(box(0, 0, 300, 300), [box(0, 20, 300, 275)], [], 4 / 3), box(0, 0, 300, 300));
});

test("a hidden panel takes no room", () => {
  assert.deepEqual(freeArea(WIDE, [box(0, 0, 0, 0)], [], 4 / 3), WIDE);
});

test("a minute keeps sixty seconds, the newest at the right, and leaves gaps where nothing ran", () => {
  const minute = new Minute();
  for (let i = 0; i < 70; i++) minute.add(i === 40 ? null : i);
  assert.deepEqual([minute.known.length, minute.known[0], minute.known.at(-1)], [59, 10, 69]);
  const path = minute.path();
  assert.equal(path.match(/M/g)!.length, 2);
  assert.ok(path.startsWith("M0.0 ") && path.endsWith("L120.0 2.0"), path);
  const half = new Minute();
  half.add(50);
  assert.equal(half.path(100), "M120.0 15.5");
  assert.equal(new Minute().path(), "");
});

const target = (tag: string, type = ""): Element =>
  ({
    matches: (selector: string) =>
      selector.split(/,(?![^(]*\))/).some((part) => {
        const [, name, not] = /^(\w+)(?::not\((.*)\))?$/.exec(part.trim())!;
        return name === tag && !(not ?? "").includes(`=${type || "none"}]`);
      }),
  }) as unknown as Element;

test("letters go to the page from a slider or a choice, and stay in a field, a list", () => {
  for (const type of ["range", "checkbox", "radio"]) {
    assert.ok(!keepsKey(target("input", type), "r"));
    assert.ok(keepsKey(target("input", type), "ArrowLeft"));
  }
  assert.ok(keepsKey(target("input", "password"), "r") && keepsKey(target("select"), "r"));
  assert.ok(keepsKey(target("button"), " ") && !keepsKey(target("button"), "r") && !keepsKey(target("canvas"), " "));
});

test("commands of a framing page are understood, and what else it says is not meant for the viewer", () => {
  assert.deepEqual(commandOf({ splatcast: "start" }), { do: "start", source: "camera" });
  assert.deepEqual(commandOf({ splatcast: "stop" }), { do: "stop" });
  assert.deepEqual(commandOf({ splatcast: "view", yaw: 10, distance: 0.8 }), {
    do: "view",
    pose: { yawDeg: 10, distance: 0.8 },
  });
  assert.deepEqual(commandOf({ splatcast: "set", max_splats: 5000, sway: false, fps: 1e9 }), {
    do: "set",
    settings: { maxSplats: 5000, sway: false, maxFps: 60 },
  });
  for (const other of [null, undefined, 1, "start", [], {}, { type: "start" }]) assert.equal(commandOf(other), null);
});

test("a command that can't be obeyed says what was expected", () => {
  for (const [message, words] of [
    [{ splatcast: "start", source: "file" }, /source: expected camera or sample, got "file"/],
    [{ splatcast: "view", yaw: Number.NaN }, /yaw: expected a finite number/],
    [{ splatcast: "view", roll: 1 }, /expected yaw, pitch, distance, pan_x, pan_y, got "roll"/],
    [{ splatcast: "explode" }, /expected start, stop, view or set, got "explode"/],
    [{ splatcast: "x".repeat(1e6) }, /^Error: splatcast: .{1,200}$/],
  ] as const) {
    assert.throws(() => commandOf(message), words);
  }
});

test("embedding and colours come from the address", () => {
  const config = readConfig("http://h/?embed&theme=light");
  assert.deepEqual([config.embed, config.theme], [true, "light"]);
  const usual = readConfig("http://h/?embed=0&theme=pink");
  assert.deepEqual([usual.embed, usual.theme], [false, null]);
});

test("a report has versions, figures and problems, and nothing of the address after the query", () => {
  const state = initialState(readConfig("http://h/"));
  const problem = { code: "camera_gone", title: "The camera went away", text: "It was unplugged.", until: null };
  const where = {
    userAgent: "Browser/1",
    renderer: "Card 9",
    window: "1 × 1 at 1",
    address: "http://h/?fps=5#secret",
    atIso: "T0",
  };
  const text = reportText(state, { dropped: {}, fps: 9.87654 } as Stats, [{ atIso: "T1", problem }], where);
  for (const part of [
    "splatcast-viewer/",
    "Browser/1",
    "Card 9",
    "http://h/?fps=5\n",
    '"fps":9.9',
    "- T1 camera_gone: The camera",
  ]) {
    assert.ok(text.includes(part), `${part} in ${text}`);
  }
  assert.ok(!text.includes("secret"));
});
