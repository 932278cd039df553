// The camera's thread: takes frames from a track, or from the page if the browser has no track processor, and makes JPEGs.
// A frame that can't be sent at once is closed: the next one is newer.

import { nowMs } from "../clock.js";
import { CaptureGate } from "./gate.js";
import { sizeWithin } from "./size.js";
import type { CapturedFrame, CaptureSettings, FrameWanted, FromCapture, SourceNature, ToCapture } from "./thread.js";

/** How often the page is told that pictures come. */
const ALIVE_EVERY_MS = 500;

const canvas = new OffscreenCanvas(1, 1);
// Frames are only read back, never composited.
const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true })!;
/** For the few pictures with holes, made when the first one comes. */
let clear: { canvas: OffscreenCanvas; context: OffscreenCanvasRenderingContext2D } | null = null;
const gate = new CaptureGate();
let port: MessagePort;
let settings: CaptureSettings = { side: 640, maxFps: 30, quality: 0.8, mirror: false };
let nature: SourceNature = { stays: false, faces: false, transparent: false };
let gateWasOpen = false;
let aliveMs = -Infinity;
/** What is to be seen until the next picture comes, of a source whose pictures stay; and whether it has yet to be sent. */
let held: { run: number; image: VideoFrame | ImageBitmap; due: boolean } | null = null;
let heldTimer = 0;
/** Stops reading from a track without waiting for its next frame: a camera that gives none would stay on. */
let endReading = (): void => undefined;

self.onmessage = (event: MessageEvent<ToCapture>) => {
  const message = event.data;
  switch (message.type) {
    case "frames":
      port = message.port;
      port.onmessage = (reply: MessageEvent<FrameWanted>) => {
        gate.want(reply.data.wanted);
        tellGate();
        sendHeld();
      };
      break;
    case "settings":
      changeSettings(message.settings);
      break;
    case "start":
      endReading();
      letGo();
      nature = message.nature;
      aliveMs = -Infinity;
      gate.start(message.run);
      break;
    case "stop":
      if (gate.isCurrent(message.run)) {
        endReading();
        letGo();
      }
      gate.stop(message.run);
      break;
    case "again":
      sendAgain();
      break;
    case "stream":
      void readFrames(message.run, message.stream);
      break;
    case "track":
      readTrack(message.run, message.track);
      break;
    case "image":
      take(message.run, message.image, message.capturedMs);
      break;
    case "encoded":
      if (gate.takes(message.run, nowMs())) deliver(message.bytes, message.capturedMs);
      break;
  }
};
post({ type: "ready", trackProcessor: typeof MediaStreamTrackProcessor === "function" });

function post(message: FromCapture): void {
  self.postMessage(message);
}

/** Tells the page whether a frame would be taken, so that it makes none in vain. */
function tellGate(): void {
  if (gate.open !== gateWasOpen) post({ type: "gate", open: gate.open });
  gateWasOpen = gate.open;
}

function readTrack(run: number, track: MediaStreamTrack): void {
  const stop = (): void => track.stop();
  try {
    const { readable } = new MediaStreamTrackProcessor({ track: track as MediaStreamVideoTrack });
    void readFrames(run, readable).finally(stop);
  } catch (error) {
    stop();
    post({ type: "failed", message: String(error) });
  }
}

async function readFrames(run: number, stream: ReadableStream<VideoFrame>): Promise<void> {
  const reader = stream.getReader();
  const end = (): void => void reader.cancel().catch(() => undefined);
  if (!gate.isCurrent(run)) return end();
  endReading = end;
  try {
    for (;;) {
      const { value: frame, done } = await reader.read();
      if (done) break;
      take(run, frame, nowMs());
    }
  } catch (error) {
    if (gate.isCurrent(run)) post({ type: "failed", message: String(error) });
  }
}

function changeSettings(next: CaptureSettings): void {
  const { side, quality, mirror } = settings;
  settings = next;
  gate.maxFps = next.maxFps;
  if (side !== next.side || quality !== next.quality || mirror !== next.mirror) sendAgain();
}

/** A picture has come: it is sent, kept, or closed. */
function take(run: number, image: VideoFrame | ImageBitmap, capturedMs: number): void {
  const now = nowMs();
  if (gate.isCurrent(run) && now - aliveMs >= ALIVE_EVERY_MS) {
    aliveMs = now;
    post({ type: "alive", run });
  }
  if (nature.stays && gate.isCurrent(run)) {
    letGo();
    held = { run, image, due: true };
    sendHeld();
  } else if (gate.takes(run, now)) {
    // It is read before the promise is there: cameras have few frames to give, and wait for those that are not closed.
    void encodeAndSend(run, image, capturedMs);
    image.close();
  } else {
    image.close();
  }
}

function letGo(): void {
  held?.image.close();
  held = null;
}

function sendAgain(): void {
  if (held) held.due = true;
  sendHeld();
}

/** Sends what stays, once, as soon as it may be sent. It is what is to be seen now, whenever it came. */
function sendHeld(): void {
  clearTimeout(heldTimer);
  if (!held?.due) return;
  const current = held;
  const waitMs = gate.waitMs(current.run, nowMs());
  if (waitMs > 0) {
    if (waitMs < Infinity) heldTimer = self.setTimeout(sendHeld, waitMs);
    return;
  }
  current.due = false;
  void encodeAndSend(current.run, current.image, nowMs()).then((missed) => {
    if (missed && held === current) sendAgain();
  });
}

/** @returns Whether the socket no longer wanted it when it was encoded. */
async function encodeAndSend(run: number, image: VideoFrame | ImageBitmap, capturedMs: number): Promise<boolean> {
  gate.busy = true;
  tellGate();
  let missed = false;
  try {
    const [fullWidth, fullHeight] =
      "displayWidth" in image ? [image.displayWidth, image.displayHeight] : [image.width, image.height];
    const { width, height } = sizeWithin(fullWidth, fullHeight, settings.side);
    const { canvas: paper, context: pen } = nature.transparent ? clearPaper() : { canvas, context };
    if (paper.width !== width || paper.height !== height) Object.assign(paper, { width, height });
    if (settings.mirror && nature.faces) pen.setTransform(-1, 0, 0, 1, width, 0);
    else pen.resetTransform();
    if (nature.transparent) pen.clearRect(0, 0, width, height);
    pen.drawImage(image, 0, 0, width, height);
    // A browser that writes no WebP writes a PNG instead.
    const type = nature.transparent ? "image/webp" : "image/jpeg";
    const blob = await paper.convertToBlob({ type, quality: settings.quality });
    const bytes = new Uint8Array(await blob.arrayBuffer());
    missed = !gate.delivers(run);
    if (!missed) deliver(bytes, capturedMs);
  } catch (error) {
    if (gate.isCurrent(run)) post({ type: "failed", message: String(error) });
  } finally {
    gate.busy = false;
    tellGate();
    sendHeld();
  }
  return missed;
}

function clearPaper(): NonNullable<typeof clear> {
  if (clear) return clear;
  const paper = new OffscreenCanvas(1, 1);
  clear = { canvas: paper, context: paper.getContext("2d", { willReadFrequently: true })! };
  return clear;
}

function deliver(bytes: Uint8Array<ArrayBuffer>, capturedMs: number): void {
  gate.delivered(nowMs());
  port.postMessage({ bytes, capturedMs } satisfies CapturedFrame, [bytes.buffer]);
  tellGate();
}
