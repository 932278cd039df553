import assert from "node:assert/strict";
import { test } from "node:test";
import { Orbit } from "../src/view/orbit.js";
import { containRect, frustum } from "../src/view/projection.js";

const camera = { width: 640, height: 480, fx: 600, fy: 600, cx: 300, cy: 260 };

/** Where a point of the camera's frame lands in the window, in fractions from its left and top. */
function project(x: number, y: number, z: number, windowAspect: number): [number, number] {
  const [left, right, top, bottom] = frustum(camera, containRect(camera, windowAspect));
  return [(x / z - left) / (right - left), (top + y / z) / (top - bottom)];
}

for (const aspect of [0.5, 4 / 3, 2.4]) {
  test(`in a window of aspect ${aspect.toFixed(2)} each pixel lands in its place of the picture's rectangle`, () => {
    const rect = containRect(camera, aspect);
    for (const [u, v] of [[0, 0] as const, [640, 480] as const, [123, 456] as const]) {
      const [x, y] = project((u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, 1, aspect);
      assert.ok(Math.abs(x - (rect.left + (rect.width * u) / 640)) < 1e-12);
      assert.ok(Math.abs(y - (rect.top + (rect.height * v) / 480)) < 1e-12);
    }
    assert.ok(Math.max(rect.width, rect.height) === 1);
  });
}

test("the view stays within its limits until it is freed", () => {
  const orbit = new Orbit();
  orbit.turn(500, -500);
  orbit.zoom(100);
  for (let i = 0; i < 200; i++) orbit.advance(16);
  assert.deepEqual(orbit.pose, { yawDeg: 35, pitchDeg: -25, distance: 2.2, panX: 0, panY: 0 });
  orbit.free = true;
  orbit.turn(100, 0);
  for (let i = 0; i < 200; i++) orbit.advance(16);
  assert.equal(orbit.pose.yawDeg, 135);
});

test("a reset ends exactly at the capture viewpoint, and then nothing moves any more", () => {
  const orbit = new Orbit();
  orbit.turn(10, 10);
  for (let i = 0; i < 10; i++) orbit.advance(16);
  orbit.reset();
  for (let i = 0; i < 400; i++) orbit.advance(16);
  assert.deepEqual(orbit.pose, { yawDeg: 0, pitchDeg: 0, distance: 1, panX: 0, panY: 0 });
  assert.equal(orbit.advance(16), false);
});

test("swaying goes to both sides and keeps drawing", () => {
  const orbit = new Orbit();
  orbit.sway = true;
  const yaws = Array.from({ length: 100 }, () => {
    orbit.advance(100);
    return orbit.pose.yawDeg;
  });
  assert.ok(Math.max(...yaws) > 8 && Math.min(...yaws) < -8);
  assert.ok(orbit.advance(16));
});
