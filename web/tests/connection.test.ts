import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { decode, encode } from "@msgpack/msgpack";
import { LONGEST_DELAY_MS } from "../src/stream/backoff.js";
import { Connection, PROBE_LIMIT_MS, WELCOME_LIMIT_MS } from "../src/stream/connection.js";
import type { FrameOptions, Limits } from "../src/stream/messages.js";
import { withinLimits, withoutNumbers } from "../src/stream/options.js";

type Sent = { type: string; options?: Partial<FrameOptions> } & Record<string, unknown>;
const LIMITS = { max_splats: 200_000, max_inference_px: 1008, max_in_flight: 2 } as Limits;

/** The browser's WebSocket, with the server's side in the test's hand. */
class FakeSocket {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static all: FakeSocket[] = [];
  readyState = 0;
  sent: Sent[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: ArrayBuffer }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;

  constructor(
    readonly url: string,
    readonly subprotocols: string[],
  ) {
    FakeSocket.all.push(this);
  }
  send(data: Uint8Array): void {
    this.sent.push(decode(data) as Sent);
  }
  close(): void {
    this.readyState = 2;
  }
  accept(): void {
    this.readyState = FakeSocket.OPEN;
    this.onopen?.();
  }
  say(message: object): void {
    this.onmessage?.({ data: encode(message).slice().buffer });
  }
  end(code: number): void {
    this.readyState = 3;
    this.onclose?.({ code });
  }
}

const last = (): FakeSocket => FakeSocket.all.at(-1)!;
const welcome = (limits = LIMITS): object => ({ type: "welcome", options: {}, limits });
let now = 0;
let heard: { status: string; text: string; reconnects: number }[] = [];
let messages: Sent[] = [];

function wait(ms: number): void {
  // In steps, so that a timer sees the time at which it goes off.
  for (let left = ms; left > 0; left -= 100) {
    now += Math.min(100, left);
    mock.timers.tick(Math.min(100, left));
  }
}

function connect(options: Partial<FrameOptions>, subprotocols: string[] = []): Connection {
  return new Connection("ws://server/ws", subprotocols, options, {
    message: (message) => messages.push(message as unknown as Sent),
    unreadable: (reason) => assert.fail(reason),
    status: (status, text, reconnects) => heard.push({ status, text, reconnects }),
  });
}

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  Object.assign(globalThis, { WebSocket: FakeSocket, self: globalThis });
  mock.method(performance, "now", () => now);
  [FakeSocket.all, heard, messages, now] = [[], [], [], 0];
});

test("hello has no number in its options; they follow the welcome, within its limits", () => {
  const connection = connect({ representation: "points", max_splats: 4_000_000, min_opacity: 0.5 });
  last().accept();
  const [hello] = last().sent;
  assert.deepEqual(Object.keys(hello!).sort(), ["client", "codecs", "options", "protocol", "type"]);
  assert.deepEqual(hello!.options, { representation: "points" });
  assert.ok(!connection.ready);
  last().say(welcome());
  assert.ok(connection.ready);
  const options = { representation: "points", max_splats: 200_000, min_opacity: 0.5 };
  assert.deepEqual(last().sent.slice(1), [{ type: "configure", options }]);
});

test("what is set before the welcome is sent after it, and after a reconnect within the new limits", () => {
  const connection = connect({ representation: "auto" });
  last().accept();
  connection.configure({ representation: "auto", max_splats: 150_000 });
  assert.equal(last().sent.length, 1);
  last().say(welcome());
  assert.equal(last().sent[1]!.options!.max_splats, 150_000);
  last().end(1006);
  wait(LONGEST_DELAY_MS);
  last().accept();
  assert.deepEqual(last().sent[0]!.options, { representation: "auto" });
  last().say(welcome({ ...LIMITS, max_splats: 9000 }));
  assert.equal(last().sent[1]!.options!.max_splats, 9000);
});

test("without numbers nothing is configured", () => {
  connect({ representation: "auto" });
  last().accept();
  last().say(welcome());
  assert.equal(last().sent.length, 1);
});

test("a server that never says welcome is left and tried again, however much else it says", () => {
  const connection = connect({});
  last().accept();
  for (let ms = 0; ms < WELCOME_LIMIT_MS - 1000; ms += 1000) {
    wait(1000);
    last().say({ type: "pong", t: 0 });
  }
  last().say({ type: "error", code: "bad_message", message: "no", seq: null, fatal: false });
  assert.equal(FakeSocket.all.length, 1);
  wait(1000);
  assert.equal(messages.at(-1)!["code"], "no_welcome");
  assert.match(heard.at(-1)!.text, /^no welcome, next attempt in \d+ s$/);
  assert.equal(heard.at(-1)!.status, "waiting");
  assert.equal(last().readyState, 2);
  const first = last();
  wait(1000);
  assert.equal(FakeSocket.all.length, 2);
  // The old socket's late end does not touch the new one.
  first.end(1006);
  last().accept();
  last().say(welcome());
  assert.ok(connection.ready);
  wait(WELCOME_LIMIT_MS);
  assert.ok(connection.ready);
});

test("the pauses grow while no welcome comes", () => {
  connect({});
  for (let attempt = 0; attempt < 8; attempt++) {
    last().accept();
    wait(WELCOME_LIMIT_MS);
    for (const { length } = FakeSocket.all; FakeSocket.all.length === length; ) wait(100);
  }
  const pauses = heard.filter(({ status }) => status === "waiting").map(({ text }) => Number(/(\d+) s$/.exec(text)![1]));
  assert.equal(pauses[0], 1);
  assert.ok(pauses.at(-1)! >= 7);
});

test("a silent connection is left, one with pongs is not", () => {
  connect({});
  last().accept();
  last().say(welcome());
  for (let i = 0; i < 60; i++) {
    wait(1000);
    last().say({ type: "pong", t: 0 });
  }
  assert.equal(FakeSocket.all.length, 1);
  wait(41_000);
  assert.ok(heard.some(({ status }) => status === "waiting"));
});

test("silence is said after five seconds, and is over with the first answer", () => {
  connect({});
  last().accept();
  last().say(welcome());
  wait(4000);
  assert.ok(last().sent.some(({ type }) => type === "ping"));
  assert.equal(heard.at(-1)!.status, "open");
  wait(3000);
  assert.equal(heard.at(-1)!.status, "connecting");
  assert.match(heard.at(-1)!.text, /^no answer for \d s$/);
  last().say({ type: "pong", t: 0 });
  assert.deepEqual([heard.at(-1)!.status, heard.at(-1)!.text], ["open", "connected"]);
  assert.equal(FakeSocket.all.length, 1);
});

/** A connection on which replies come, ten a second. */
function stream(): Connection {
  const connection = connect({});
  last().accept();
  last().say(welcome());
  for (let i = 0; i < 10; i++) {
    wait(100);
    last().say({ type: "pong", t: 0 });
  }
  return connection;
}

test("a stream that ends without a word goes on over a second socket within three seconds", () => {
  const connection = stream();
  const beganMs = now;
  while (FakeSocket.all.length === 1) wait(100);
  last().accept();
  assert.ok(!last().sent.length, "the first one may still speak");
  while (!last().sent.length) wait(50);
  assert.equal(last().sent[0]!.type, "hello");
  assert.ok(now - beganMs <= 3000, `${now - beganMs} ms`);
  assert.equal(FakeSocket.all[0]!.readyState, 2);
  assert.ok(FakeSocket.all[0]!.sent.some(({ type }) => type === "ping"));
  last().say(welcome());
  assert.ok(connection.ready);
  assert.deepEqual(heard.at(-1), { status: "open", text: "connected", reconnects: 1 });
});

test("a server that was only busy keeps its socket: the second one says nothing and is closed", () => {
  const connection = stream();
  while (FakeSocket.all.length === 1) wait(100);
  const [first, second] = FakeSocket.all as [FakeSocket, FakeSocket];
  second.accept();
  wait(100);
  first.say({ type: "pong", t: 0 });
  wait(1000);
  assert.ok(connection.ready && second.readyState === 2 && second.sent.length === 0);
  assert.ok(first.readyState === FakeSocket.OPEN && FakeSocket.all.length === 2);
  assert.ok(heard.every(({ reconnects }) => reconnects === 0));
});

test("a second socket that fails is followed by another, and none outlives the first", () => {
  stream();
  while (FakeSocket.all.length === 1) wait(100);
  last().end(1006);
  while (FakeSocket.all.length === 2) wait(100);
  const [first, , third] = FakeSocket.all as [FakeSocket, FakeSocket, FakeSocket];
  first.end(1006);
  assert.equal(third.readyState, 2);
  assert.equal(heard.at(-1)!.status, "waiting");
});

test("a connection that is quiet by nature has no second socket", () => {
  connect({});
  last().accept();
  last().say(welcome());
  wait(14_000);
  assert.equal(FakeSocket.all.length, 1);
});

test("a network that is back is tried at once, in the middle of a pause", () => {
  const connection = connect({});
  for (let i = 0; i < 6; i++) {
    last().end(1006);
    wait(3000);
  }
  last().end(1006);
  const before = FakeSocket.all.length;
  connection.probe();
  assert.equal(FakeSocket.all.length, before + 1);
  last().accept();
  last().say(welcome());
  assert.ok(connection.ready);
});

test("an open socket that does not answer a probe is replaced, one that does is kept", () => {
  const connection = connect({});
  last().accept();
  last().say(welcome());
  wait(1000);
  connection.probe();
  wait(500);
  last().say({ type: "pong", t: 0 });
  wait(PROBE_LIMIT_MS);
  assert.equal(FakeSocket.all.length, 1);
  connection.probe();
  wait(PROBE_LIMIT_MS);
  assert.equal(FakeSocket.all.length, 2);
  assert.equal(FakeSocket.all[0]!.readyState, 2);
});

test("an attempt that began while the network was away is not waited for when it is back", () => {
  const connection = connect({});
  wait(500);
  connection.probe();
  wait(PROBE_LIMIT_MS - 501);
  assert.equal(FakeSocket.all.length, 1, "it may only be slow");
  wait(1);
  assert.equal(FakeSocket.all.length, 2);
  last().accept();
  last().say(welcome());
  wait(PROBE_LIMIT_MS);
  assert.ok(connection.ready && FakeSocket.all.length === 2);
});

test("after a sleep the connection is there again within three seconds", () => {
  const connection = connect({});
  last().accept();
  last().say(welcome());
  wait(1000);
  now += 90_000;
  wait(3000);
  assert.equal(FakeSocket.all.length, 2);
  last().accept();
  last().say(welcome());
  assert.ok(connection.ready);
});

test("a probe does not repeat what was refused for good", () => {
  const connection = connect({});
  last().accept();
  last().say({ type: "error", code: "forbidden_origin", message: "no", seq: null, fatal: true });
  last().end(1008);
  connection.probe();
  assert.equal(FakeSocket.all.length, 1);
});

test("a connection that nobody takes or refuses is left and tried again", () => {
  connect({});
  wait(WELCOME_LIMIT_MS);
  assert.equal(heard.at(-1)!.status, "waiting");
  wait(1000);
  assert.equal(FakeSocket.all.length, 2);
});

test("a token is asked for once, and another one is tried at once", () => {
  const connection = connect({}, ["splatcast", "splatcast.token.wrong"]);
  assert.deepEqual(last().subprotocols, ["splatcast", "splatcast.token.wrong"]);
  const refused = last();
  refused.accept();
  refused.say({ type: "error", code: "unauthorized", message: "no", seq: null, fatal: true });
  refused.end(1008);
  assert.deepEqual([heard.at(-1)!.status, heard.at(-1)!.text], ["closed", "waiting for a token"]);
  wait(2 * LONGEST_DELAY_MS);
  assert.equal(FakeSocket.all.length, 1);
  connection.authorize(["splatcast", "splatcast.token.right"]);
  assert.deepEqual(last().subprotocols, ["splatcast", "splatcast.token.right"]);
  last().accept();
  last().say(welcome());
  assert.ok(connection.ready);
  wait(WELCOME_LIMIT_MS);
  assert.ok(connection.ready, "the deadline of the refused socket is off");
});

test("a token given while a socket is open replaces that socket", () => {
  const connection = connect({});
  last().accept();
  const old = last();
  connection.authorize(["splatcast", "splatcast.token.t"]);
  assert.equal(old.readyState, 2);
  old.end(1000);
  last().accept();
  last().say(welcome());
  assert.ok(connection.ready);
  assert.equal(FakeSocket.all.length, 2);
});

test("without a token no subprotocol is offered", () => {
  connect({});
  assert.deepEqual(last().subprotocols, []);
});

test("too many viewers at an address are tried again, a page that is not allowed is not", () => {
  for (const [code, closeCode, status] of [
    ["too_many_from_address", 1013, "waiting"],
    ["forbidden_origin", 1008, "closed"],
  ] as const) {
    connect({});
    last().accept();
    last().say({ type: "error", code, message: "no", seq: null, fatal: true });
    last().end(closeCode);
    assert.equal(heard.at(-1)!.status, status, code);
  }
});

test("a room that does not let the page in, or is over, is neither left nor entered again", () => {
  const join = { type: "join", room: "hall", role: "viewer", place: "", t: 0 } as const;
  for (const code of ["room_locked", "room_closed"]) {
    const connection = connect({});
    connection.join(join);
    last().accept();
    assert.equal((last().sent[0]!["join"] as typeof join).room, "hall");
    last().say(welcome());
    const { length } = last().sent;
    last().say({ type: "error", code, message: "no", seq: null, fatal: false });
    connection.join(null);
    assert.equal(last().sent.length, length, code);
    connection.authorize([]);
    last().accept();
    assert.equal(last().sent[0]!["join"], undefined);
  }
});

test("a room is left, and what its link does not allow leaves the page in it", () => {
  const connection = connect({});
  connection.join({ type: "join", room: "hall", role: "viewer", place: "", t: 0 });
  last().accept();
  last().say(welcome());
  last().say({ type: "error", code: "room_forbidden", message: "no", seq: null, fatal: false });
  connection.join(null);
  assert.equal(last().sent.at(-1)!.type, "leave");
});

test("every number is kept in its range, and names are left alone", () => {
  const options: Partial<FrameOptions> = { codec: "ply", adapt: false, max_splats: 0, inference_px: 5000, min_opacity: -1 };
  const within = { codec: "ply", adapt: false, max_splats: 1, inference_px: 1008, min_opacity: 0 };
  assert.deepEqual(withinLimits(options, LIMITS), within);
  assert.deepEqual(withinLimits({ min_splats: 4e6, min_inference_px: 0 }, LIMITS), {
    min_splats: 200_000,
    min_inference_px: 1,
  });
  assert.deepEqual(withoutNumbers(options), { codec: "ply", adapt: false });
});
