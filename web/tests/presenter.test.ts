import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { AckOrder } from "../src/stream/acks.js";
import type { DecodedFrame } from "../src/stream/thread.js";
import { Presenter } from "../src/view/presenter.js";

const frame = (seq: number): DecodedFrame => ({ seq }) as DecodedFrame;
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
let draw: (frame: DecodedFrame | null) => Promise<void>;
let finished: () => Promise<void>;
let ends: string[];
let acked: number[];
let presenter: Presenter;

function receive(seq: number): void {
  acks.arrived(seq);
  presenter.offer(frame(seq));
}

let acks: AckOrder;

beforeEach(() => {
  [draw, finished] = [async () => undefined, async () => undefined];
  [ends, acked] = [[], []];
  acks = new AckOrder(({ seq }) => acked.push(seq));
  const end = (how: string, seq: number): void => {
    ends.push(`${seq} ${how}`);
    acks.done({ type: "ack", seq });
  };
  presenter = new Presenter(
    { draw: (each) => draw(each), finished: () => finished() },
    {
      shown: ({ seq }) => end("shown", seq),
      superseded: ({ seq }) => end("superseded", seq),
      failed: (each, error) => (each ? end(`failed: ${String(error)}`, each.seq) : ends.push(`view failed: ${String(error)}`)),
    },
  );
});

test("the newest frame is drawn, and the one it overtook is superseded", async () => {
  receive(1);
  receive(2);
  await presenter.present();
  await settle();
  assert.deepEqual(ends, ["1 superseded", "2 shown"]);
});

test("a frame whose drawing fails is settled, and holds back no later ack", async () => {
  draw = () => Promise.reject("no sort");
  receive(1);
  await presenter.present();
  assert.ok(!presenter.busy);
  draw = async () => undefined;
  receive(2);
  await presenter.present();
  await settle();
  assert.deepEqual(ends, ["1 failed: no sort", "2 shown"]);
  assert.deepEqual(acked, [1, 2]);
});

test("a frame the GPU never finishes in order is settled as failed", async () => {
  finished = () => Promise.reject("context lost");
  receive(1);
  await presenter.present();
  await settle();
  assert.deepEqual(ends, ["1 failed: context lost"]);
  assert.deepEqual(acked, [1]);
});

test("a view that can't be drawn is reported once, and the next frame is drawn", async () => {
  draw = () => Promise.reject("no");
  await presenter.present();
  draw = async () => undefined;
  receive(1);
  await presenter.present();
  await settle();
  assert.deepEqual(ends, ["view failed: no", "1 shown"]);
});

test("the next frame is drawn before the GPU is done with the last one", async () => {
  const fences: (() => void)[] = [];
  finished = () => new Promise((resolve) => fences.push(resolve));
  receive(1);
  await presenter.present();
  receive(2);
  await presenter.present();
  assert.equal(fences.length, 2);
  assert.ok(!presenter.busy);
  for (const fence of fences.reverse()) fence();
  await settle();
  assert.deepEqual(ends, ["2 shown", "1 shown"]);
  assert.deepEqual(acked, [1, 2]);
});

test("what comes while a frame is drawn waits, and is superseded by what comes after it", async () => {
  let done = (): void => undefined;
  draw = () => new Promise((resolve) => (done = resolve));
  receive(1);
  const drawing = presenter.present();
  assert.ok(presenter.busy);
  receive(2);
  receive(3);
  done();
  await drawing;
  presenter.skip();
  await settle();
  assert.deepEqual(ends.sort(), ["1 shown", "2 superseded", "3 superseded"]);
  assert.deepEqual(acked, [1, 2, 3]);
});
