import assert from "node:assert/strict";
import { test } from "node:test";
import { readConfig } from "../src/config.js";
import { Window } from "../src/figures/window.js";
import {
  FIRST_DELAY_MS,
  isWorthRetrying,
  KNOCKS,
  LONGEST_DELAY_MS,
  LONGEST_KNOCK_MS,
  retryDelayMs,
} from "../src/stream/backoff.js";
import { Capacity } from "../src/stream/capacity.js";
import { FlowControl } from "../src/stream/flow.js";
import { BufferPool } from "../src/stream/pool.js";
import { pivotDepth } from "../src/view/pivot.js";

test("delays double up to the longest, and jitter keeps them within half of it", () => {
  assert.deepEqual(
    [0, 1, 2, 3].map((attempt) => retryDelayMs(attempt, 1, true)),
    [1, 2, 4, 8].map((times) => times * FIRST_DELAY_MS),
  );
  assert.equal(retryDelayMs(0, 0, true), FIRST_DELAY_MS / 2);
  assert.equal(retryDelayMs(1000, 1, true), LONGEST_DELAY_MS);
});

test("a server that is not there is tried every second or so for the first minutes, and then more rarely", () => {
  assert.equal(retryDelayMs(0, 1, false), FIRST_DELAY_MS);
  assert.equal(retryDelayMs(KNOCKS - 1, 1, false), LONGEST_KNOCK_MS);
  assert.equal(retryDelayMs(KNOCKS, 1, false), LONGEST_DELAY_MS);
});

test("a restart, a crash and a full server are tried again, a refusal is not", () => {
  for (const code of [1000, 1001, 1006, 1011, 1012, 1013]) assert.ok(isWorthRetrying(code, null));
  assert.ok(isWorthRetrying(1008, "idle"));
  assert.ok(!isWorthRetrying(1008, "protocol_mismatch"));
  assert.ok(!isWorthRetrying(1008, null));
});

/** A flow that knows how things go: one frame was sent, answered and drawn, all in no time. */
function warmFlow(maxInFlight: number): FlowControl {
  const flow = new FlowControl(maxInFlight);
  flow.sent(0, 0);
  flow.answered(0, 0, 0);
  flow.done(0, 0, true);
  return flow;
}

const canSend = (flow: FlowControl, nowMs = 1e6): boolean => flow.waitMs(nowMs) === 0;

test("no more frames are unanswered than the server works on, while the network is fast", () => {
  const flow = warmFlow(2);
  flow.sent(1, 0);
  assert.ok(canSend(flow));
  flow.sent(2, 1);
  assert.ok(!canSend(flow));
  flow.answered(1, 51, 50);
  assert.ok(canSend(flow));
});

test("until the first frame is on the screen, one goes alone", () => {
  const flow = new FlowControl(4);
  assert.ok(canSend(flow));
  flow.sent(1, 0);
  assert.ok(!canSend(flow));
  flow.answered(1, 50, 40);
  assert.ok(!canSend(flow, 60), "it is being drawn");
  flow.done(1, 90, true);
  assert.ok(canSend(flow));
});

test("a first reply that can't be shown does not end the stream", () => {
  const flow = new FlowControl(4);
  flow.sent(1, 0);
  flow.answered(1, 50, 40);
  flow.done(1, 60, false);
  assert.ok(canSend(flow));
  flow.sent(2, 0);
  flow.settled(2);
  assert.ok(canSend(flow));
  flow.sent(3, 0);
  flow.dropped(3);
  assert.ok(canSend(flow));
});

test("a slow network earns one frame more, and never two", () => {
  const flow = warmFlow(2);
  for (let seq = 1; seq < 20; seq++) {
    flow.sent(seq, seq * 1000);
    flow.answered(seq, seq * 1000 + 200, 50);
    flow.done(seq, seq * 1000 + 200, true);
  }
  for (let seq = 20; seq < 23; seq++) {
    assert.ok(canSend(flow));
    flow.sent(seq, 0);
  }
  assert.ok(!canSend(flow));
  assert.ok(flow.isFull);
});

test("a reply settles every lower frame, an error only its own", () => {
  const flow = warmFlow(4);
  /** How many frames may still be sent; sends them. */
  let seq = 0;
  const fill = (): number => {
    const before = seq;
    while (canSend(flow)) flow.sent(++seq, 0);
    return seq - before;
  };
  assert.equal(fill(), 4);
  flow.settled(2);
  assert.equal(fill(), 1);
  flow.answered(3, 10, 5);
  assert.equal(fill(), 2);
  flow.settled(1);
  assert.equal(fill(), 0);
});

test("a dropped frame is not replaced before a reply has come, or nothing is under way", () => {
  const flow = warmFlow(2);
  flow.sent(1, 0);
  flow.sent(2, 0);
  flow.dropped(1);
  assert.ok(!canSend(flow));
  flow.answered(2, 10, 5);
  assert.ok(canSend(flow));
  flow.done(2, 10, true);
  flow.sent(3, 10);
  flow.sent(4, 10);
  flow.dropped(3);
  flow.dropped(4);
  assert.ok(canSend(flow));
});

test("replies that are never drawn hold up the stream for five seconds, not for ever", () => {
  const flow = warmFlow(4);
  for (const seq of [1, 2]) {
    flow.sent(seq, 0);
    flow.answered(seq, 10, 5);
  }
  assert.equal(flow.waitMs(10), 5000);
  assert.equal(flow.waitMs(5010), 0);
});

/** A stream of ten seconds to a server that works on two frames at a time and a page that draws the newest reply, one at a time. */
function simulate(way: { networkMs: number; serverMs: number; drawingMs: number }): {
  sent: number;
  shown: number;
  age: number;
} {
  const flow = new FlowControl(2);
  const busy = [0, 0];
  const arriving: { seq: number; sentMs: number; atMs: number }[] = [];
  let drawing: { seq: number; sentMs: number; endMs: number } | null = null;
  let waiting: { seq: number; sentMs: number } | null = null;
  const ages: number[] = [];
  let seq = 0;
  for (let now = 0; now < 10_000; now++) {
    while (arriving[0] && arriving[0].atMs <= now) {
      const reply = arriving.shift()!;
      flow.answered(reply.seq, now, way.serverMs);
      if (waiting) flow.done(waiting.seq, now, false);
      waiting = reply;
    }
    if (drawing && drawing.endMs <= now) {
      flow.done(drawing.seq, now, true);
      ages.push(now - drawing.sentMs);
      drawing = null;
    }
    if (!drawing && waiting) {
      drawing = { ...waiting, endMs: now + way.drawingMs };
      waiting = null;
    }
    if (flow.waitMs(now) === 0) {
      flow.sent(++seq, now);
      const worker = busy[0]! <= busy[1]! ? 0 : 1;
      busy[worker] = Math.max(busy[worker]!, now + way.networkMs / 2) + way.serverMs;
      arriving.push({ seq, sentMs: now, atMs: busy[worker]! + way.networkMs / 2 });
      arriving.sort((a, b) => a.atMs - b.atMs);
    }
  }
  ages.sort((a, b) => a - b);
  return { sent: seq, shown: ages.length, age: ages[ages.length >> 1]! };
}

test("a page that draws slowly is sent what it can show, when it can show it", () => {
  for (const drawingMs of [100, 250]) {
    for (const serverMs of [10, 40]) {
      const { sent, shown, age } = simulate({ networkMs: 4, serverMs, drawingMs });
      const what = `${sent} sent, ${shown} shown, ${age} ms old, for ${serverMs} ms of work and ${drawingMs} ms of drawing`;
      assert.ok(sent <= shown * 1.1 + 2, what);
      assert.ok(shown >= 0.85 * (10_000 / drawingMs), what);
      assert.ok(age <= drawingMs + serverMs + 30, what);
    }
  }
});

test("a page that draws quickly keeps the server as busy as it may", () => {
  for (const networkMs of [2, 80]) {
    const { sent, shown } = simulate({ networkMs, serverMs: 60, drawingMs: 8 });
    const rate = Math.min(2 / 0.06, 3 / (0.06 + networkMs / 1000));
    assert.ok(shown >= 0.85 * 10 * rate, `${sent} sent, ${shown} shown of ${10 * rate}`);
  }
});

test("a window forgets, and its percentiles are samples", () => {
  const window = new Window(1000);
  assert.equal(window.percentile(50, 0), 0);
  for (let i = 1; i <= 100; i++) window.add(i, i);
  assert.equal(window.percentile(50, 100), 50);
  assert.equal(window.percentile(95, 100), 95);
  assert.equal(window.mean(100), 50.5);
  assert.equal(window.percentile(50, 1090), 95);
  assert.equal(window.mean(5000), 0);
});

test("a rate counts intervals, not samples", () => {
  const window = new Window(2000);
  window.add(1, 0);
  assert.equal(window.ratePerSecond(0), 0);
  for (let i = 1; i <= 10; i++) window.add(1, i * 100);
  assert.equal(window.ratePerSecond(1000), 10);
});

test("buffers come back into use, and those of another size don't", () => {
  const pool = new BufferPool();
  const first = pool.take(2100, 3000);
  assert.equal(first.length, 4096 * 4);
  pool.give(first.buffer);
  assert.equal(pool.take(4000, 3000).buffer, first.buffer);
  const larger = pool.take(5000, 3000);
  assert.equal(larger.length, 6144 * 4);
  pool.give(first.buffer);
  assert.notEqual(pool.take(5000, 3000).buffer, first.buffer);
});

const BUDGET = 200_000;
/** The capacities that frames with these counts get, without repetitions. */
function capacities(capacity: Capacity, counts: number[]): number[] {
  return counts.map((count) => capacity.next(count, BUDGET)).filter((each, i, all) => each !== all[i - 1]);
}
const frames = (count: number, times: number): number[] => Array<number>(times).fill(count);

test("a capacity is the budget or one of its halvings, in whole rows", () => {
  const steps = [200_000, 100_001, 100_000, 25_000, 3000, 0].map((count) => new Capacity().next(count, BUDGET));
  assert.deepEqual(steps, [200_704, 200_704, 100_352, 26_624, 4096, 2048]);
  assert.equal(new Capacity().next(5000, 3000), 6144, "a frame above its budget fits, too");
});

test("a capacity grows at once, and shrinks after twenty frames that all fit into less", () => {
  const capacity = new Capacity();
  assert.deepEqual(capacities(capacity, [...frames(20_000, 3), 190_000]), [26_624, 200_704]);
  assert.deepEqual(capacities(capacity, frames(20_000, 19)), [200_704]);
  assert.deepEqual(capacities(capacity, frames(20_000, 1)), [26_624]);
  assert.deepEqual(capacities(capacity, [150_000]), [200_704]);
});

test("one large frame in twenty, or counts that waver about a step, leave the capacity as it is", () => {
  const capacity = new Capacity();
  capacity.next(190_000, BUDGET);
  const spikes = Array.from({ length: 600 }, (_, i) => (i % 20 === 10 ? 120_000 : 20_000));
  assert.deepEqual(capacities(capacity, spikes), [200_704]);
  const wavering = Array.from({ length: 600 }, (_, i) => 98_000 + 3000 * Math.sin(i));
  assert.deepEqual(capacities(capacity, wavering), [200_704]);
});

test("another budget has other steps, which are taken when the frames follow it", () => {
  const capacity = new Capacity();
  capacity.next(190_000, BUDGET);
  const after = Array.from({ length: 20 }, () => capacity.next(4900, 5000));
  assert.equal(after[0], 200_704);
  assert.equal(after.at(-1), 6144);
});

test("the pivot is the median of the nearer half in the middle of the picture, and 0 without splats", () => {
  const camera = { width: 64, height: 64, fx: 64, fy: 64, cx: 32, cy: 32 };
  // Halves: depths 8, 1, 4 and 2 on the axis, and 1 (0x3c00) far to the side at x = 1.
  const depths = [0x4800, 0x3c00, 0x4400, 0x4000].flatMap((half) => [0, 0, half, 0]);
  const aside = [0, 0x3c00, 0x3c00, 0];
  const words = Uint32Array.from([...depths, ...aside, ...aside, ...aside]);
  assert.equal(pivotDepth(words, 7, camera, 0), 2);
  assert.equal(pivotDepth(Uint32Array.from(aside), 1, camera, 0), 1);
  assert.equal(pivotDepth(words, 0, camera, 0), 0);
});

test("the address sets what it names and nothing else", () => {
  const config = readConfig(
    "https://host:8443/viewer/?source=sample&autostart=1&max_splats=4000&width=320&fps=5&view=20,-5,1.2&lift=gpu#x",
  );
  assert.equal(config.socketUrl, "wss://host:8443/viewer/ws");
  assert.equal(config.source, "sample");
  assert.ok(config.autostart);
  assert.deepEqual(config.settings, { maxSplats: 4000, captureSide: 320, maxFps: 5 });
  assert.deepEqual(config.view, [20, -5, 1.2]);
  assert.equal(config.lift, "gpu");
  assert.ok(Object.isFrozen(config));
});

test("an address that can't be read leaves the defaults", () => {
  const config = readConfig(
    "http://localhost:8000/?source=moon&max_splats=many&representation=fog&view=a,b&autostart=1&lift=moon",
  );
  assert.equal(config.socketUrl, "ws://localhost:8000/ws");
  assert.equal(config.source, "camera");
  assert.equal(config.unknownSource, "moon");
  assert.ok(!config.autostart);
  assert.deepEqual(config.settings, {});
  assert.deepEqual(config.view, [0, 0, 1]);
  assert.equal(config.lift, "auto");
});
