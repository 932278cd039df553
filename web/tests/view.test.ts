import assert from "node:assert/strict";
import { test } from "node:test";
import { orbitByKey } from "../src/ui/gestures.js";
import { drawsInSoftware } from "../src/view/lift_choice.js";
import { Orbit, swaysAtFirst } from "../src/view/orbit.js";
import { containRect, frustum, WEBCAM } from "../src/view/projection.js";

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

test("an engine says how far to the side its frames look right, and a view beyond glides back", () => {
  const orbit = new Orbit();
  orbit.turn(30, 20);
  for (let i = 0; i < 200; i++) orbit.advance(16);
  orbit.around = 14;
  assert.equal(orbit.pose.yawDeg, 30, "it does not jump");
  for (let i = 0; i < 200; i++) orbit.advance(16);
  assert.deepEqual([orbit.pose.yawDeg, orbit.pose.pitchDeg], [14, 10]);
  orbit.turn(-99, -99);
  for (let i = 0; i < 200; i++) orbit.advance(16);
  assert.deepEqual([orbit.pose.yawDeg, orbit.pose.pitchDeg], [-14, -10]);
  orbit.around = 14;
  assert.equal(orbit.advance(16), false, "said again, it changes nothing");
  orbit.free = true;
  orbit.turn(-50, 0);
  for (let i = 0; i < 200; i++) orbit.advance(16);
  assert.equal(orbit.pose.yawDeg, -64);
});

test("what an engine does not say, or says beyond reason, leaves the view its own limits", () => {
  for (const [around, yaw, pitch] of [
    [0, 35, 25] as const,
    [-3, 35, 25] as const,
    [NaN, 35, 25] as const,
    [1e9, 180, 25] as const,
  ]) {
    const orbit = new Orbit();
    orbit.still = true;
    orbit.around = around;
    orbit.turn(500, 500);
    orbit.advance(16);
    assert.deepEqual([orbit.pose.yawDeg, orbit.pose.pitchDeg], [yaw, pitch], `${around}`);
  }
});

test("a sway stays where frames look right", () => {
  const widest = (around: number): number => {
    const orbit = new Orbit();
    orbit.around = around;
    orbit.sway = true;
    const yaws = Array.from({ length: 100 }, () => {
      orbit.advance(100);
      return Math.abs(orbit.pose.yawDeg);
    });
    return Math.max(...yaws);
  };
  assert.ok(Math.abs(widest(10) - 6) < 0.1);
  assert.ok(Math.abs(widest(20) - 9) < 0.1 && Math.abs(widest(0) - 9) < 0.1);
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

test("a sway begins without a jump, and who takes hold of the view finds it where it was", () => {
  const orbit = new Orbit();
  orbit.sway = true;
  assert.equal(orbit.pose.yawDeg, 0);
  for (let i = 0; i < 60; i++) orbit.advance(20);
  const seen = { ...orbit.pose };
  assert.ok(seen.yawDeg > 5);
  assert.ok(orbit.swaysOnly);
  orbit.sway = false;
  assert.deepEqual(orbit.pose, seen);
  assert.equal(orbit.advance(20), false, "nothing moves until it is moved");
  orbit.sway = true;
  assert.deepEqual(orbit.pose, seen);
  orbit.turn(1, 0);
  assert.ok(!orbit.swaysOnly);
});

test("the view sways at first, but not against the system's wish, a given aim, or where the processor draws", () => {
  assert.ok(swaysAtFirst(false, false, false));
  assert.ok(!swaysAtFirst(true, false, false));
  assert.ok(!swaysAtFirst(false, true, false));
  assert.ok(
    !swaysAtFirst(false, false, drawsInSoftware("ANGLE (Google, Vulkan 1.3.0 (SwiftShader Device), SwiftShader driver)")),
  );
  assert.ok(!drawsInSoftware("ANGLE (NVIDIA, NVIDIA GeForce RTX 3060 Direct3D11 vs_5_0 ps_5_0, D3D11)"));
});

test("the keys that fly move the camera, within the limits that keep the subject in sight", () => {
  const pressed = (...keys: string[]): Orbit["pose"] => {
    const orbit = new Orbit();
    orbit.still = true;
    for (const key of keys) assert.ok(orbitByKey({ key, shiftKey: true }, orbit), key);
    orbit.advance(16);
    return orbit.pose;
  };
  assert.ok(pressed("W").distance < 1);
  assert.ok(pressed("S").distance > 1);
  assert.ok(pressed("D").panX < 0, "the scene goes to the left");
  assert.ok(pressed("A").panX > 0);
  assert.ok(pressed("E").panY < 0);
  assert.ok(pressed("Q").panY > 0);
  const far = pressed(...Array.from({ length: 100 }, () => ["W", "D", "E"]).flat());
  assert.deepEqual([far.distance, far.panX, far.panY], [0.45, -0.4 * 0.45, -0.4 * 0.45]);
  assert.ok(!orbitByKey({ key: "w", shiftKey: false }, new Orbit()), "without Shift they are other keys");
});

test("however far one pans, zooms and turns, the subject's middle stays in the picture", () => {
  const [left, right, top, bottom] = frustum(WEBCAM, containRect(WEBCAM, 4 / 3));
  for (const zoom of [1e-3, 0.7, 1, 1e3]) {
    for (const [x, y] of [[-9, -9] as const, [9, 9] as const, [9, -9] as const]) {
      const orbit = new Orbit();
      orbit.still = true;
      orbit.pan(x, y);
      orbit.zoom(zoom);
      orbit.turn(99, -99);
      orbit.advance(16);
      const { panX, panY, distance } = orbit.pose;
      assert.ok(panX / distance > left && panX / distance < right, `${panX} at ${distance}`);
      assert.ok(panY / distance > bottom && panY / distance < top, `${panY} at ${distance}`);
    }
  }
});
