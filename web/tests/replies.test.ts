import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { AckOrder } from "../src/stream/acks.js";
import type { SplatsMessage } from "../src/stream/messages.js";
import { OwnPictures } from "../src/stream/own_pictures.js";
import { BufferPool } from "../src/stream/pool.js";
import { Replies } from "../src/stream/replies.js";
import { ReplyDecoder } from "../src/stream/reply_decoder.js";

declare const __VECTORS__: string;

const reply = (seq: number): SplatsMessage => ({ seq }) as SplatsMessage;
/** Everything that is due has run. */
const idle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Replies whose decoding ends when the test says so, and acks as the stream sends them. */
function aStream() {
  const under: { seq: number; end(): void; fail(): void }[] = [];
  const shown: number[] = [];
  const acked: number[] = [];
  let settled = 0;
  const acks = new AckOrder((ack) => acked.push(ack.seq));
  const replies = new Replies(
    async ({ seq }) => {
      await new Promise<void>((end, fail) => under.push({ seq, end, fail }));
      shown.push(seq);
      acks.done({ type: "ack", seq, received_ms: 1, shown_ms: 2 });
    },
    ({ seq }, receivedMs) => acks.done({ type: "ack", seq, received_ms: receivedMs }),
    () => settled++,
  );
  const arrive = (seq: number): void => {
    acks.arrived(seq);
    replies.arrived(reply(seq), null, 1);
  };
  return { under, shown, acked, acks, replies, arrive, settled: () => settled };
}

test("replies are decoded one at a time and shown in their order", async () => {
  const { under, shown, acked, arrive } = aStream();
  [1, 2, 3].forEach(arrive);
  for (const seq of [1, 2, 3]) {
    await idle();
    assert.deepEqual(
      under.map((each) => each.seq),
      [seq],
      "the next one waits",
    );
    under.pop()!.end();
  }
  await idle();
  assert.deepEqual(shown, [1, 2, 3]);
  assert.deepEqual(acked, [1, 2, 3]);
});

test("a reply that can't be decoded is acknowledged, not shown, and holds up no later one", async () => {
  const { under, shown, acked, arrive, settled } = aStream();
  [1, 2].forEach(arrive);
  await idle();
  under.pop()!.fail();
  await idle();
  under.pop()!.end();
  await idle();
  assert.deepEqual(shown, [2]);
  assert.deepEqual(acked, [1, 2]);
  assert.equal(settled(), 2);
});

test("no frame is asked for while one reply is decoded and another waits", async () => {
  const { under, replies, arrive } = aStream();
  arrive(1);
  assert.ok(!replies.areBehind);
  arrive(2);
  assert.ok(replies.areBehind);
  await idle();
  under.pop()!.fail();
  await idle();
  assert.ok(!replies.areBehind);
});

test("a connection that ends in the middle of a decoding leaves nothing behind: the next one's replies are decoded and acknowledged", async () => {
  const { under, shown, acked, acks, replies, arrive } = aStream();
  [1, 2].forEach(arrive);
  await idle();
  acks.clear();
  arrive(3);
  for (let i = 0; i < 3; i++) {
    under.pop()!.end();
    await idle();
  }
  assert.deepEqual(shown, [1, 2, 3]);
  assert.deepEqual(acked, [3], "nobody waits for the others any more");
  assert.ok(!replies.areBehind);
});

test("pictures are kept until their reply, and no more than sixteen", () => {
  const pictures = new OwnPictures();
  const bytes = (seq: number): Uint8Array<ArrayBuffer> => Uint8Array.of(seq);
  for (let seq = 1; seq <= 20; seq++) pictures.sent(seq, bytes(seq));
  assert.equal(pictures.take(4), null, "the seventeenth newest is gone");
  assert.deepEqual(pictures.take(5), bytes(5));
  assert.equal(pictures.take(5), null, "it was taken");
  assert.deepEqual(pictures.take(18), bytes(18));
  assert.equal(pictures.take(17), null, "replies come in order: an earlier frame gets none any more");
  pictures.clear();
  assert.equal(pictures.take(20), null);
});

test("a depth reply whose picture is gone is refused", async () => {
  const data = new Uint8Array(readFileSync(join(__VECTORS__, "scene.depth")));
  const decoder = new ReplyDecoder(new BufferPool());
  await assert.rejects(decoder.decode({ codec: "depth", data } as SplatsMessage, null, 5000), /picture is gone/);
});
