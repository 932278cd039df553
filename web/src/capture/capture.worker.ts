// The camera's thread: takes frames from a track, or from the page if the browser has no track processor, and makes JPEGs.
// A frame that can't be sent at once is closed: the next one is newer.

import { nowMs } from "../clock.js";
import { CaptureGate } from "./gate.js";
import type { CapturedFrame, CaptureSettings, FrameWanted, FromCapture, ToCapture } from "./thread.js";

const canvas = new OffscreenCanvas(1, 1);
// Frames are only read back, never composited.
const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true })!;
const gate = new CaptureGate();
let port: MessagePort;
let settings: CaptureSettings = { width: 640, maxFps: 30, quality: 0.8 };
let gateWasOpen = false;
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
      };
      break;
    case "settings":
      settings = message.settings;
      gate.maxFps = settings.maxFps;
      break;
    case "start":
      endReading();
      gate.start(message.run);
      break;
    case "stop":
      if (gate.isCurrent(message.run)) endReading();
      gate.stop(message.run);
      break;
    case "stream":
      void readFrames(message.run, message.stream);
      break;
    case "track":
      readTrack(message.run, message.track);
      break;
    case "image":
      if (gate.takes(message.run, nowMs())) void encodeAndSend(message.run, message.image, message.capturedMs);
      else message.image.close();
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
      if (gate.takes(run, nowMs())) void encodeAndSend(run, frame, nowMs());
      else frame.close();
    }
  } catch (error) {
    if (gate.isCurrent(run)) post({ type: "failed", message: String(error) });
  }
}

async function encodeAndSend(run: number, image: VideoFrame | ImageBitmap, capturedMs: number): Promise<void> {
  gate.busy = true;
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
    if (gate.delivers(run)) deliver(bytes, capturedMs);
  } catch (error) {
    if (gate.isCurrent(run)) post({ type: "failed", message: String(error) });
  } finally {
    gate.busy = false;
    tellGate();
  }
}

function deliver(bytes: Uint8Array<ArrayBuffer>, capturedMs: number): void {
  gate.delivered(nowMs());
  port.postMessage({ bytes, capturedMs } satisfies CapturedFrame, [bytes.buffer]);
  tellGate();
}
