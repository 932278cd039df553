// The camera's thread: takes frames from a track, or from the page where the browser has no track processor, and makes JPEGs.
// A frame that can't be sent at once is closed: the next one is newer.

import { nowMs } from "../clock.js";
import type { CapturedFrame, CaptureSettings, FrameWanted, FromCapture, ToCapture } from "../types.js";

const canvas = new OffscreenCanvas(1, 1);
// Frames are only read back, never composited.
const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true })!;
let port: MessagePort;
let settings: CaptureSettings = { width: 640, maxFps: 30, quality: 0.8 };
let run = 0;
let wanted = false;
let encoding = false;
let nextDueMs = 0;
let gateOpen = false;

self.onmessage = (event: MessageEvent<ToCapture>) => {
  const message = event.data;
  switch (message.type) {
    case "frames":
      port = message.port;
      port.onmessage = (reply: MessageEvent<FrameWanted>) => {
        wanted = reply.data.wanted;
        tellGate();
      };
      break;
    case "settings":
      settings = message.settings;
      break;
    case "start":
      run = message.run;
      nextDueMs = 0;
      break;
    case "stop":
      run = 0;
      break;
    case "stream":
      void readFrames(message.run, message.stream);
      break;
    case "track":
      void readFrames(
        message.run,
        new MediaStreamTrackProcessor({ track: message.track as MediaStreamVideoTrack }).readable,
        message.track,
      );
      break;
    case "image":
      if (message.run === run && isDue()) void encodeAndSend(message.image, message.capturedMs);
      else message.image.close();
      break;
    case "encoded":
      if (message.run === run && isDue()) deliver(message.bytes, message.capturedMs);
      break;
  }
};
post({ type: "ready", trackProcessor: typeof MediaStreamTrackProcessor === "function" });

function post(message: FromCapture): void {
  self.postMessage(message);
}

/** Tells the page whether a frame would be taken, so that it makes none in vain. */
function tellGate(): void {
  const open = wanted && !encoding;
  if (open !== gateOpen) post({ type: "gate", open });
  gateOpen = open;
}

function isDue(): boolean {
  return wanted && !encoding && nowMs() >= nextDueMs;
}

async function readFrames(of: number, stream: ReadableStream<VideoFrame>, track?: MediaStreamTrack): Promise<void> {
  const reader = stream.getReader();
  try {
    while (of === run) {
      const { value: frame, done } = await reader.read();
      if (done) break;
      if (of !== run || !isDue()) frame.close();
      else void encodeAndSend(frame, nowMs());
    }
  } catch (error) {
    if (of === run) post({ type: "failed", message: String(error) });
  } finally {
    await reader.cancel().catch(() => undefined);
    track?.stop();
  }
}

async function encodeAndSend(image: VideoFrame | ImageBitmap, capturedMs: number): Promise<void> {
  const of = run;
  encoding = true;
  tellGate();
  try {
    const [fullWidth, fullHeight] =
      "displayWidth" in image ? [image.displayWidth, image.displayHeight] : [image.width, image.height];
    const scale = Math.min(1, settings.width / fullWidth);
    const width = Math.max(1, Math.round(fullWidth * scale));
    const height = Math.max(1, Math.round(fullHeight * scale));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    try {
      context.drawImage(image, 0, 0, width, height);
    } finally {
      image.close();
    }
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: settings.quality });
    const bytes = new Uint8Array(await blob.arrayBuffer());
    if (of === run && wanted) deliver(bytes, capturedMs);
  } catch (error) {
    if (of === run) post({ type: "failed", message: String(error) });
  } finally {
    encoding = false;
    tellGate();
  }
}

function deliver(bytes: Uint8Array<ArrayBuffer>, capturedMs: number): void {
  // Until the socket answers: one frame at a time.
  wanted = false;
  const periodMs = 1000 / settings.maxFps;
  // Cameras have a raster of their own: counting on from the due time keeps the mean rate, half a period keeps the distance.
  nextDueMs = Math.max(nextDueMs + periodMs, nowMs() + periodMs / 2);
  port.postMessage({ bytes, capturedMs } satisfies CapturedFrame, [bytes.buffer]);
  tellGate();
}
