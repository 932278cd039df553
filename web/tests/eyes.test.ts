import assert from "node:assert/strict";
import { test } from "node:test";
import * as THREE from "three";
import { readConfig } from "../src/config.js";
import { readRemembered } from "../src/ui/memory.js";
import { headsetModes, placementOf } from "../src/view/headset.js";
import { eyesOf, nextStereo } from "../src/view/stereo.js";

test("each eye has half of the room, and crossed eyes have each other's", () => {
  const room = { left: 0.1, top: 0.2, width: 0.6, height: 0.5 };
  const [left, right] = eyesOf("parallel", room);
  assert.deepEqual(left.room, { left: 0.1, top: 0.2, width: 0.3, height: 0.5 });
  assert.deepEqual(right.room, { left: 0.4, top: 0.2, width: 0.3, height: 0.5 });
  assert.ok(left.offset < 0 && right.offset === -left.offset);
  assert.deepEqual(
    eyesOf("cross", room).map(({ offset }) => offset),
    [right.offset, left.offset],
  );
});

test("the key goes around", () => {
  assert.deepEqual([nextStereo("off"), nextStereo("parallel"), nextStereo("cross")], ["parallel", "cross", "off"]);
});

test("an address asks for two pictures, and a visit does not keep them", () => {
  assert.equal(readConfig("http://a.test/?stereo=cross").settings.stereo, "cross");
  assert.equal(readConfig("http://a.test/?stereo=3d").settings.stereo, undefined);
  assert.deepEqual(readRemembered({ stereo: "cross" }), {});
});

/** Where a point of the capture camera's frame is in the room. */
function inRoom(point: [number, number, number], head: THREE.Vector3, yaw: number, pitch: number, subject: number): number[] {
  const orientation = new THREE.Quaternion().setFromEuler(new THREE.Euler(pitch, yaw, 0, "YXZ"));
  const { position, quaternion, scale } = placementOf(head, orientation, subject);
  const place = new THREE.Vector3(...point).multiplyScalar(scale).applyQuaternion(quaternion).add(position);
  return place.toArray().map((value) => Math.round(value * 1000) / 1000 || 0);
}

test("the subject is 1.25 m in front of the eyes, at their height, whatever its depth in the scene", () => {
  const head = new THREE.Vector3(1, 1.6, 2);
  assert.deepEqual(inRoom([0, 0, 4], head, 0, 0, 4), [1, 1.6, 0.75]);
  assert.deepEqual(inRoom([0, 0, 0.5], head, 0, 0, 0.5), [1, 1.6, 0.75]);
  // y down in the camera's frame is down in the room, and its right is on the right.
  assert.deepEqual(inRoom([2, 4, 4], head, 0, 0, 4), [1.625, 0.35, 0.75]);
  // To the left is where one looks after a quarter turn to the left; a nod changes nothing.
  assert.deepEqual(inRoom([0, 0, 4], head, Math.PI / 2, 0.6, 4), [-0.25, 1.6, 2]);
});

test("modes are those that the device says it has, and none where it may not say", async () => {
  const xr = (supported: (mode: string) => Promise<boolean>): XRSystem =>
    ({ isSessionSupported: supported }) as unknown as XRSystem;
  assert.deepEqual(await headsetModes(xr(() => Promise.resolve(true))), ["vr", "ar"]);
  assert.deepEqual(await headsetModes(xr((mode) => Promise.resolve(mode === "immersive-ar"))), ["ar"]);
  assert.deepEqual(await headsetModes(xr(() => Promise.reject(new DOMException("", "SecurityError")))), []);
});
