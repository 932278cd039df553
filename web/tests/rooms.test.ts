import assert from "node:assert/strict";
import { test } from "node:test";
import { cameraLines } from "../src/rooms/camera_lines.js";

const camera = (id: string, more = {}) => ({ id, name: "", away: false, in_capture: false, ...more });

test("of cameras that are computed by themselves nothing is said but who they are", () => {
  const cameras = [camera("a"), camera("b", { name: "Side" }), camera("c", { away: true })];
  assert.deepEqual(cameraLines(cameras, "a"), ["Camera 1 (this page)", "Side", "Camera 3 (away)"]);
});

test("of several cameras in one capture the one that is left out is named", () => {
  const cameras = [camera("a", { in_capture: true }), camera("b"), camera("c", { away: true })];
  assert.deepEqual(cameraLines(cameras, "b"), [
    "Camera 1 (in the room's world)",
    "Camera 2 (this page, not in the room's world: too slow, or one too many)",
    "Camera 3 (away)",
  ]);
});
