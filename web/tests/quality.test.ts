import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_SETTINGS, readConfig } from "../src/config.js";
import { QualityLine } from "../src/figures/quality.js";
import { isToken, tokenOf } from "../src/stream/access.js";
import { AckOrder } from "../src/stream/acks.js";
import type { AckMessage, QualityState } from "../src/stream/messages.js";
import { changesFrames, NO_WISHES, wantedOptions } from "../src/stream/options.js";

const FULL: QualityState = { max_splats: 200_000, inference_px: 0, splats_share: 1, px_share: 1, cause: "", message: "" };
const MESSAGE = "less detail: the network takes too long for more";

test("full quality is quiet, and says so once more after it was lowered", () => {
  const line = new QualityLine();
  assert.deepEqual(line.words(FULL, 0), { value: "full", note: "" });
  const lowered = { ...FULL, splats_share: 0.621, cause: "network", message: MESSAGE };
  assert.deepEqual(line.words(lowered, 1000), {
    value: "62% detail",
    note: "Less detail: the network takes too long for more.",
  });
  const back = { ...FULL, cause: "recovered", message: "more again: there is room" };
  assert.deepEqual(line.words(back, 2000), { value: "full", note: "Full quality again." });
  assert.deepEqual(line.words(back, 6000), { value: "full", note: "" });
});

test("a stream that starts small is no trouble, and a still one does not start small", () => {
  const line = new QualityLine();
  const starting = { ...FULL, splats_share: 0.12, cause: "starting", message: "small at first" };
  assert.deepEqual(line.words(starting, 0), { value: "starting", note: "" });
  assert.deepEqual(line.words(FULL, 500), { value: "full", note: "" });
  const [live, still] = [wantedOptions(DEFAULT_SETTINGS), wantedOptions(DEFAULT_SETTINGS, { ...NO_WISHES, still: true })];
  assert.deepEqual([live.start_splats, still.start_splats], [24_000, 0]);
  assert.deepEqual([live.adapt, still.adapt], [undefined, false], "a slow stream before it leaves nothing behind");
  assert.ok(!changesFrames(live, still), "what is on the screen would be the same");
  assert.ok(changesFrames(live, { ...live, min_opacity: 0.5 }));
});

test("a link that wavers leaves the sentence where it is, and another stream begins without one", () => {
  const line = new QualityLine();
  const lowered = { ...FULL, splats_share: 0.9, message: MESSAGE };
  for (let ms = 0; ms < 60_000; ms += 3000) assert.notEqual(line.words(ms % 6000 ? FULL : lowered, ms).note, "");
  line.forget();
  assert.equal(line.words(FULL, 60_000).note, "");
});

test("a share rounds to what it is: never all or nothing", () => {
  const value = (splats: number, px = 1): string =>
    new QualityLine().words({ ...FULL, splats_share: splats, px_share: px, inference_px: px < 1 ? 320 : 0 }, 0).value;
  assert.equal(value(0.999), "99% detail");
  assert.equal(value(0.0001), "1% detail");
  assert.equal(value(1, 0.63), "model at 320 px");
  assert.equal(value(0.5, 0.63), "50% detail, 320 px");
});

test("acks leave in the order of their replies, whatever is ready first", () => {
  const sent: AckMessage[] = [];
  const order = new AckOrder((ack) => sent.push(ack));
  for (const seq of [3, 5, 6]) order.arrived(seq);
  order.done({ type: "ack", seq: 5, received_ms: 1 });
  assert.deepEqual(sent, []);
  order.done({ type: "ack", seq: 3, shown_ms: 9 });
  assert.deepEqual(
    sent.map(({ seq, shown_ms }) => [seq, shown_ms]),
    [
      [3, 9],
      [5, undefined],
    ],
  );
  order.done({ type: "ack", seq: 5, received_ms: 1 });
  order.clear();
  order.done({ type: "ack", seq: 6 });
  assert.equal(sent.length, 2, "one ack a reply, and none of an earlier connection");
});

test("the address gives its token away, and keeps everything else", () => {
  const read = (address: string): [string | null, string] => {
    const { token, rest } = tokenOf(address);
    return [token, rest];
  };
  assert.deepEqual(read("http://h/?source=sample#token=aB.9_~-"), ["aB.9_~-", "http://h/?source=sample"]);
  assert.deepEqual(read("http://h/p/?token=one&fps=5"), ["one", "http://h/p/?fps=5"]);
  assert.deepEqual(read("http://h/?token=query#token=fragment&x=1"), ["fragment", "http://h/#x=1"]);
  assert.deepEqual(read("http://h/?fps=5#some:anchor"), [null, "http://h/?fps=5#some:anchor"]);
  // What no subprotocol can carry is no token, and is not left in the address either.
  assert.deepEqual(read("http://h/#token=with%20space"), [null, "http://h/"]);
});

test("a token is what a subprotocol can carry, all of it", () => {
  assert.ok(isToken("0123456789abcdef._~-"));
  for (const text of ["", "a b", "a/b", "ä", "a\n"]) assert.ok(!isToken(text), JSON.stringify(text));
});

test("the address says how far the server may go, and what it leaves open is the server's default", () => {
  const { settings } = readConfig("http://h/?adapt=0&min_splats=5000&min_inference_px=252");
  assert.deepEqual(settings, { adapt: false, minSplats: 5000, minInferencePx: 252 });
  const options = {
    representation: "auto",
    colors: "own",
    adapt: false,
    min_splats: 5000,
    min_inference_px: 252,
    start_splats: 24_000,
  };
  assert.deepEqual(wantedOptions({ ...DEFAULT_SETTINGS, ...settings }), options);
});
