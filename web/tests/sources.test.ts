import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { encode } from "@msgpack/msgpack";
import { CaptureGate } from "../src/capture/gate.js";
import { CaptureLine, type SourceError } from "../src/capture/source.js";
import { Sources } from "../src/capture/sources.js";
import type { ToCapture } from "../src/capture/thread.js";
import { DEFAULT_SETTINGS, type Settings, type SourceKind } from "../src/config.js";
import type { Access } from "../src/stream/access.js";

/** What the capture worker makes of the page's messages: its gate decides whose pictures are sent. */
class FakeWorker {
  readonly gate = new CaptureGate();
  onmessage: ((event: { data: unknown }) => void) | null = null;
  images = 0;
  constructor() {
    worker = this;
    this.gate.want(true);
  }
  postMessage(message: ToCapture): void {
    if (message.type === "start") this.gate.start(message.run);
    if (message.type === "image") this.images++;
    if (message.type === "stop") this.gate.stop(message.run);
  }
  /** Whose pictures are taken; 0: nobody's. */
  get run(): number {
    return [1, 2, 3, 4].find((run) => this.gate.takes(run, Infinity)) ?? 0;
  }
}

/** A video element: a change of what it plays rejects the play() under way, as browsers do. */
class FakeVideo {
  srcObject: unknown = null;
  loop = false;
  readyState = 0;
  private source = "";
  private rejectPlay: ((error: Error) => void) | null = null;
  /** Ends the play() under way. */
  ready = (_error?: Error): void => undefined;

  get src(): string {
    return this.source;
  }
  set src(url: string) {
    this.source = url;
    this.load();
  }
  removeAttribute(): void {
    this.source = "";
  }
  load(): void {
    this.rejectPlay?.(new DOMException("The play() request was interrupted", "AbortError"));
    this.rejectPlay = null;
  }
  pause(): void {}
  requestVideoFrameCallback(): void {}
  play(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.rejectPlay = reject;
      this.ready = (error) => {
        this.rejectPlay = null;
        if (error) reject(error);
        else resolve();
      };
    });
  }
}

/** A video element in which a file is tried: it says what the test says, once it is told what to play. */
class FakeTrial {
  videoWidth = 160;
  videoHeight = 120;
  onloadeddata = (): void => undefined;
  onloadedmetadata = (): void => undefined;
  onerror = (): void => undefined;
  verdict: "picture" | "error" | "sound" = "picture";
  set src(_url: string) {
    if (this.verdict === "sound") this.videoWidth = this.videoHeight = 0;
    setImmediate(() => (this.verdict === "error" ? this.onerror() : this.onloadeddata()));
  }
  removeAttribute(): void {}
  load(): void {}
}

class FakeTrack extends EventTarget {
  label = "webcam";
  on = true;
  stop(): void {
    this.on = false;
  }
}

/** An image element that reads every file. */
class FakeImage {
  naturalWidth = 400;
  naturalHeight = 300;
  onload = (): void => undefined;
  set src(_url: string) {
    setImmediate(() => this.onload());
  }
}

const CLIP = { fps: 5, width: 4, height: 3, frames: [new Uint8Array(8)] };
const access = { fetch: () => Promise.resolve(new Response(encode(CLIP))) } as unknown as Access;
const canvas = { getContext: () => ({ drawImage: () => undefined }) };
const replaced: [string, PropertyDescriptor | undefined][] = [];
let worker: FakeWorker;
let video: FakeVideo;
let sources: Sources;
let cameraEnded: number;
/** What the elements in which videos are tried will say. */
let trials: FakeTrial[];

function replaceGlobal(name: string, value: unknown): void {
  replaced.push([name, Object.getOwnPropertyDescriptor(globalThis, name)]);
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}

/** A camera whose permission, or its refusal, comes when the test says so. */
function fakeCamera(): { track: FakeTrack; grant(): void } {
  const track = new FakeTrack();
  const stream = { getTracks: () => [track], getVideoTracks: () => [track] };
  let grant = (): void => undefined;
  const asked = new Promise((resolve) => (grant = () => resolve(stream)));
  replaceGlobal("navigator", { mediaDevices: { getUserMedia: () => asked } });
  return { track, grant };
}

/** Lets everything run that waits for nothing but its turn. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const start = async (kind: SourceKind, file?: File, settings: Partial<Settings> = {}): Promise<string | null> =>
  (await sources.start(kind, file, { ...DEFAULT_SETTINGS, ...settings }))?.name ?? null;
const aVideo = (name: string): File => new File(["…"], name, { type: "video/webm" });

beforeEach(() => {
  mock.timers.enable({ apis: ["setInterval"] });
  replaceGlobal("Worker", FakeWorker);
  replaceGlobal("window", { isSecureContext: true });
  replaceGlobal("createImageBitmap", () => Promise.resolve({ width: 400, height: 300, close: () => undefined }));
  replaceGlobal("HTMLMediaElement", { HAVE_CURRENT_DATA: 2 });
  video = new FakeVideo();
  cameraEnded = 0;
  trials = [];
  replaceGlobal("document", { createElement: () => trials.shift() ?? new FakeTrial() });
  replaceGlobal("Image", FakeImage);
  const line = new CaptureLine(new URL("http://h/capture.worker.js"), {} as MessagePort, assert.fail);
  const previews = { video, canvas } as unknown as ConstructorParameters<typeof Sources>[1];
  const camera = { ended: () => void cameraEnded++, muted: () => undefined, opened: () => undefined };
  sources = new Sources(line, previews, access, camera, () => undefined);
});

afterEach(() => {
  sources.stop();
  mock.timers.reset();
  for (const [name, descriptor] of replaced.splice(0).reverse()) {
    if (descriptor) Object.defineProperty(globalThis, name, descriptor);
    else Reflect.deleteProperty(globalThis, name);
  }
});

test("a camera whose permission comes late is switched off again, and the source started meanwhile goes on", async () => {
  const { track, grant } = fakeCamera();
  const camera = start("camera");
  assert.equal(await start("sample"), "sample clip");
  const run = worker.run;
  assert.ok(run > 0);
  grant();
  await settle();
  video.ready();
  assert.equal(await camera, null);
  assert.ok(!track.on);
  assert.equal(video.srcObject, null);
  assert.equal(worker.run, run);
});

test("a camera that was stopped before its permission came is switched off again", async () => {
  const { track, grant } = fakeCamera();
  const camera = start("camera");
  sources.stop();
  grant();
  assert.equal(await camera, null);
  assert.ok(!track.on);
  assert.equal(worker.run, 0);
});

test("a camera whose preview can't be played is switched off, and the browser's words are shown", async () => {
  const { track, grant } = fakeCamera();
  const camera = start("camera");
  grant();
  await settle();
  video.ready(new DOMException("no picture for you", "NotSupportedError"));
  await assert.rejects(
    camera,
    (error: SourceError) => error.code === "camera_failed" && /no picture for you/.test(error.message),
  );
  assert.ok(!track.on);
  assert.equal(video.srcObject, null);
  assert.equal(worker.run, 0);
});

test("a camera whose preview never begins is switched off when another source is started", async () => {
  const { track, grant } = fakeCamera();
  void start("camera");
  grant();
  await settle();
  assert.ok(track.on);
  await start("sample");
  assert.ok(!track.on);
});

test("a running camera is switched off by stop, and does not count as gone", async () => {
  const { track, grant } = fakeCamera();
  const camera = start("camera");
  grant();
  await settle();
  video.ready();
  assert.equal(await camera, "webcam");
  assert.ok(worker.run > 0);
  sources.stop();
  track.dispatchEvent(new Event("ended"));
  assert.ok(!track.on);
  assert.equal(cameraEnded, 0);
  assert.equal(worker.run, 0);
});

test("of two videos that are dropped quickly the second one is played", async () => {
  const first = start("file", aVideo("first.webm"));
  const second = start("file", aVideo("second.webm"));
  await settle();
  const { src } = video;
  assert.notEqual(src, "");
  video.ready();
  assert.equal(await first, null);
  assert.equal(await second, "second.webm");
  assert.equal(video.src, src);
  assert.ok(worker.run > 0);
});

test("a video that can't be played is named, and its element is emptied", async () => {
  const sample = await start("sample");
  const { run } = worker;
  for (const verdict of ["error", "sound"] as const) {
    trials = [Object.assign(new FakeTrial(), { verdict })];
    await assert.rejects(start("file", aVideo("odd.webm")), /odd\.webm has no picture that this browser can play/);
  }
  assert.deepEqual([sample, worker.run], ["sample clip", run], "what ran goes on");
  const opened = start("file", aVideo("odd.webm"));
  await settle();
  await settle();
  video.ready(new DOMException("no decoder", "NotSupportedError"));
  await assert.rejects(opened, /odd\.webm/);
  assert.equal(video.src, "");
  assert.equal(worker.run, 0);
});

test("a picture or a sample that is ready late does not end the source started meanwhile", async () => {
  const picture = new File(["…"], "slow.png", { type: "image/png" });
  let decoded = (): void => undefined;
  const closed = mock.fn();
  const waiting = new Promise((resolve) => (decoded = () => resolve({ width: 400, height: 300, close: closed })));
  replaceGlobal("createImageBitmap", () => waiting);
  const late = start("file", picture);
  await settle();
  await settle();
  const sample = start("sample");
  const { track, grant } = fakeCamera();
  const camera = start("camera");
  grant();
  await settle();
  video.ready();
  assert.equal(await camera, "webcam");
  const run = worker.run;
  decoded();
  assert.deepEqual([await late, await sample], [null, null]);
  assert.equal(closed.mock.callCount(), 1);
  assert.equal(worker.run, run);
  assert.ok(track.on);
});

test("the gate takes one picture at a time, of the present source, when one is wanted and due", () => {
  const gate = new CaptureGate();
  gate.maxFps = 10;
  gate.start(1);
  assert.ok(!gate.takes(1, 0), "none is wanted yet");
  gate.want(true);
  assert.ok(gate.takes(1, 0) && !gate.takes(2, 0));
  gate.busy = true;
  assert.ok(!gate.takes(1, 0) && !gate.open);
  gate.busy = false;
  gate.delivered(1000);
  assert.ok(!gate.open);
  gate.want(true);
  assert.ok(!gate.takes(1, 1049) && gate.takes(1, 1050));
  gate.start(2);
  assert.ok(gate.takes(2, 0), "another source is due at once");
  gate.stop(1);
  assert.ok(gate.takes(2, 0), "a source that was replaced has no say");
  gate.stop(2);
  assert.ok(!gate.takes(2, 0) && !gate.delivers(2));
});
