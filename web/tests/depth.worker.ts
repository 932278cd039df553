// What the viewer does with a `depth` or `planes` reply, in a worker as there, for tests/browser/test_depth.py, test_planes.py and
// benchmarks/lifting.py and benchmarks/viewer.py.

import { codecNamed } from "../src/codecs/index.js";
import { GridPainter } from "../src/codecs/pictures.js";
import type { SplatsMessage } from "../src/stream/messages.js";
import { BufferPool } from "../src/stream/pool.js";
import { ReplyDecoder } from "../src/stream/reply_decoder.js";
import { bufferOf } from "../src/stream/thread.js";
import { WEBCAM } from "../src/view/projection.js";

type Bytes = Uint8Array<ArrayBuffer>;

/** What a test asks; bytes travel as base64, as Playwright has no other way for them. */
type Question =
  | { ask: "paint"; picture: string; width: number; height: number; orientation: number | null }
  | { ask: "decode"; codec: string; data: string; own: string | null; times: number; ahead?: boolean }
  | { ask: "hand over"; codec: string; data: string; own: string; onPage: boolean; free: ArrayBuffer };

const painter = new GridPainter();
const pool = new BufferPool();
const decoder = new ReplyDecoder(pool);

self.onmessage = async (event: MessageEvent<Question>) => {
  try {
    if (event.data.ask === "hand over") await handOver(event.data);
    else self.postMessage(await answer(event.data));
  } catch (error) {
    self.postMessage({ error: String(error) });
  }
};

/** Decodes a frame, and gives the page what it would show. `free` is the buffer of an earlier one. */
async function handOver({ codec, data, own, onPage, free }: Question & { ask: "hand over" }): Promise<void> {
  pool.give(free);
  decoder.liftsOnPage = onPage;
  const bytes = bytesOf(data);
  const message = { codec, data: bytes, count: countIn(codec, bytes), camera: WEBCAM } as SplatsMessage;
  const picture = bytesOf(own);
  // The stream does it when it sends the picture: long before the reply comes.
  await decoder.paintAhead(picture);
  const began = performance.now();
  const { content, count } = await decoder.decode(message, picture, 200_000);
  self.postMessage({ content, count, ms: performance.now() - began }, { transfer: [bufferOf(content)] });
}

/** What a message would announce; of a depth frame nobody asks. */
function countIn(codec: string, bytes: Bytes): number {
  return codec === "depth" ? 0 : codecNamed(codec).count(bytes);
}

async function answer(question: Exclude<Question, { ask: "hand over" }>): Promise<object> {
  if (question.ask === "paint") {
    const { width, height, orientation } = question;
    const picture = bytesOf(question.picture);
    const rgba = orientation
      ? await painter.paintJpeg({ data: picture, orientation }, width, height)
      : await painter.paint(picture, width, height);
    return { bytes: base64(rgba) };
  }
  const own = question.own === null ? null : bytesOf(question.own);
  const message = { codec: question.codec, data: bytesOf(question.data), camera: WEBCAM } as SplatsMessage;
  const times: number[] = [];
  let words: Uint8Array = new Uint8Array(0);
  let count = 0;
  for (let i = 0; i < question.times; i++) {
    if (own && question.ahead) await decoder.paintAhead(own);
    const began = performance.now();
    const reply = await decoder.decode(message, own, 400_000);
    times.push(performance.now() - began);
    count = reply.count;
    if (!("words" in reply.content)) throw new Error("expected words, got pixels");
    if (i === question.times - 1) words = new Uint8Array(reply.content.words.slice(0, 4 * count).buffer);
    pool.give(reply.content.words.buffer);
  }
  return { bytes: base64(words), count, times };
}

function bytesOf(text: string): Bytes {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function base64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}
