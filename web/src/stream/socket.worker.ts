// The stream's thread: sends captured frames, receives and decodes replies, so that drawing never delays either.

import type { CapturedFrame, FrameWanted } from "../capture/thread.js";
import { nowMs } from "../clock.js";
import { OpenedFile } from "../recording/opened_file.js";
import { Recorder } from "../recording/recorder.js";
import { AckOrder } from "./acks.js";
import { Connection } from "./connection.js";
import { FlowControl } from "./flow.js";
import type { ServerMessage, SplatsMessage } from "./messages.js";
import { OwnPictures } from "./own_pictures.js";
import { BufferPool } from "./pool.js";
import { Replies } from "./replies.js";
import { checkCamera, ReplyDecoder } from "./reply_decoder.js";
import { bufferOf, type FromSocket, type ToSocket } from "./thread.js";

const pool = new BufferPool();
const decoder = new ReplyDecoder(pool);
const pictures = new OwnPictures();
const replies = new Replies(decodeSplats, refuseSplats, tellCapture);
const openedFile = new OpenedFile(pool, post);
const acks = new AckOrder((ack) => connection.send(ack));
let connection: Connection;
let frames: MessagePort;
let flow = new FlowControl(1);
let streaming = false;
let nextTimer = 0;
/** Rises for the life of the page: a reply to a frame of an earlier connection can't be mistaken for a new one. */
let seq = 0;
let budget = 0;
/** The server's, as it came: a recording begins with it. */
let welcome: Uint8Array<ArrayBuffer> | null = null;
let recorder: Recorder | null = null;
let lastCapture: { seq: number; bytes: Uint8Array<ArrayBuffer> } | null = null;

self.onmessage = (event: MessageEvent<ToSocket>) => {
  const message = event.data;
  switch (message.type) {
    case "connect":
      frames = message.frames;
      frames.onmessage = (captured: MessageEvent<CapturedFrame>) => sendFrame(captured.data);
      connection = new Connection(message.url, message.subprotocols, message.options, {
        message: receive,
        unreadable: (reason) => post({ type: "bad", message: `not a message of protocol 1: ${reason}` }),
        status: (status, text, reconnects) => {
          post({ type: "connection", status, text, reconnects });
          if (status !== "open") tellCapture();
        },
      });
      break;
    case "configure":
      connection.configure(message.options);
      break;
    case "stream":
      streaming = message.on;
      tellCapture();
      break;
    case "lift":
      decoder.liftsOnPage = openedFile.liftsOnPage = message.onPage;
      break;
    case "shown": {
      const { capturedMs, receivedMs, decodedMs, shownMs } = message;
      const times = { received_ms: receivedMs, decoded_ms: decodedMs, shown_ms: shownMs, age_ms: shownMs - capturedMs };
      acks.done({ type: "ack", seq: message.seq, ...times });
      flow.done(message.seq, nowMs(), true);
      tellCapture();
      break;
    }
    case "skipped":
      acks.done({ type: "ack", seq: message.seq, received_ms: message.receivedMs, decoded_ms: message.decodedMs });
      flow.done(message.seq, nowMs(), false);
      tellCapture();
      break;
    case "recycle":
      pool.give(message.buffer);
      break;
    case "lastCapture": {
      const jpeg = lastCapture?.bytes.slice().buffer ?? null;
      post({ type: "lastCapture", seq: lastCapture?.seq ?? 0, jpeg }, jpeg ? [jpeg] : []);
      break;
    }
    case "record":
      if (message.on && welcome) recorder ??= new Recorder(welcome, Date.now());
      else finishRecording();
      break;
    case "openFile":
      void openedFile.open(message.file, message.run);
      break;
    case "fileFrame":
      void openedFile.show(message.index, message.run);
      break;
    case "join":
      connection.join(message.join);
      break;
    case "say":
      connection.send(message.message);
      break;
    case "reconnect":
      connection.reconnect();
      break;
    case "probe":
      connection.probe();
      break;
    case "authorize":
      connection.authorize(message.subprotocols);
      break;
  }
};

function post(message: FromSocket, transfer: Transferable[] = []): void {
  self.postMessage(message, { transfer });
}

/** Capture is asked for a frame only when it can leave at once, and its reply be shown soon: that is what keeps it the newest. */
function tellCapture(): void {
  clearTimeout(nextTimer);
  const waitMs = streaming && connection.ready && !replies.areBehind ? flow.waitMs(nowMs()) : Infinity;
  if (waitMs > 0 && waitMs < Infinity) nextTimer = self.setTimeout(tellCapture, waitMs);
  frames.postMessage({ wanted: waitMs === 0 } satisfies FrameWanted);
}

function sendFrame({ bytes, capturedMs }: CapturedFrame): void {
  // Capture may have been told twice that one frame is wanted, and send two: the second is dropped here.
  if (streaming && connection.ready && !flow.isFull) {
    seq++;
    lastCapture = { seq, bytes };
    pictures.sent(seq, bytes);
    flow.sent(seq, nowMs());
    connection.send({ type: "frame", seq, views: [bytes], captured_ms: capturedMs });
    post({ type: "sent" });
    void decoder.paintAhead(bytes);
  }
  tellCapture();
}

function receive(message: ServerMessage, bytes?: Uint8Array<ArrayBuffer>): void {
  switch (message.type) {
    case "welcome":
      welcome = bytes ?? null;
      flow = new FlowControl(message.limits.max_in_flight);
      acks.clear();
      pictures.clear();
      budget = message.options.max_splats ?? message.limits.max_splats;
      post({ type: "welcome", engine: message.engine, limits: message.limits, options: message.options });
      break;
    case "joined":
      // Replies have other numbers from now on.
      acks.clear();
      post(message);
      break;
    case "room":
      post(message);
      break;
    case "published":
      flow.settled(message.seq);
      break;
    case "configured":
      budget = message.options.max_splats ?? budget;
      post({ type: "configured", options: message.options });
      break;
    case "splats":
      flow.answered(message.seq, nowMs(), message.timings_ms.total ?? 0);
      receiveSplats(message, bytes!);
      break;
    case "dropped":
      for (const each of message.seqs) flow.dropped(each);
      post({ type: "dropped", code: message.code, count: message.count });
      break;
    case "error":
      if (message.seq !== null) flow.settled(message.seq);
      post({ type: "error", code: message.code, message: message.message, seq: message.seq, fatal: message.fatal });
      break;
    case "pong":
      return;
  }
  tellCapture();
}

function receiveSplats(message: SplatsMessage, bytes: Uint8Array<ArrayBuffer>): void {
  acks.arrived(message.seq);
  // Of another camera's frame the number says nothing about what was sent from here.
  const own = message.source ? null : pictures.take(message.seq);
  if (recorder) record(recorder, message, bytes, own);
  replies.arrived(message, own, nowMs());
}

function record(
  into: Recorder,
  message: SplatsMessage,
  bytes: Uint8Array<ArrayBuffer>,
  own: Uint8Array<ArrayBuffer> | null,
): void {
  into.add(message, bytes, own);
  if (into.isFull) finishRecording();
  else post({ type: "recording", progress: into.progress, file: null });
}

function finishRecording(): void {
  if (recorder) post({ type: "recording", progress: recorder.progress, file: recorder.finish() });
  recorder = null;
}

async function decodeSplats(message: SplatsMessage, own: Uint8Array<ArrayBuffer> | null, receivedMs: number): Promise<void> {
  checkCamera(message.camera);
  const { count, content, pivot } = await decoder.decode(message, own, budget);
  const { data, type: _, ...rest } = message;
  const times = { receivedMs, decodedMs: nowMs() };
  post({ type: "frame", frame: { ...rest, count, content, bytes: data.byteLength, pivotDepth: pivot, ...times } }, [
    bufferOf(content),
  ]);
}

/** It is never shown, but it has arrived: without the ack the server would wait for it. */
function refuseSplats(message: SplatsMessage, receivedMs: number, error: unknown): void {
  acks.done({ type: "ack", seq: message.seq, received_ms: receivedMs });
  flow.done(message.seq, nowMs(), false);
  post({ type: "bad", message: error instanceof Error ? error.message : String(error) });
}
