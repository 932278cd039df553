// `/selftest`: checks this browser alone, line by line. The result is on `window.splatcastSelftest` for programs.

import { DEPTH_NAME, DepthDecoder } from "./codecs/depth.js";
import { PIXEL_WORDS } from "./codecs/depth_pixels.js";
import { codecNamed } from "./codecs/index.js";
import { LIFTED_RANGE } from "./codecs/lift.js";
import { GridPainter } from "./codecs/pictures.js";
import { depthFrame, differenceFrom, liftedFrame } from "./codecs/test_depth.js";
import { aScene, expectedRange, expectedWords, sceneAs } from "./codecs/test_scene.js";
import type { SplatsMessage } from "./stream/messages.js";
import { BufferPool } from "./stream/pool.js";
import { ReplyDecoder } from "./stream/reply_decoder.js";
import { checkFrame, differenceBetween, wordsOf } from "./view/lift_check.js";
import { rendererName, Stage } from "./view/stage.js";

interface Check {
  name: string;
  /** Gives a detail to show, or throws with what was expected and got. */
  run(): string | Promise<string>;
  /** A failure only limits the page: it is noted, and the browser still passes. */
  optional?: boolean;
}

interface Line {
  name: string;
  result: "pass" | "fail" | "note";
  detail: string;
}

declare global {
  interface Window {
    splatcastSelftest?: { done: boolean; passed: boolean; lines: Line[] };
  }
}

const TIMEOUT_MS = 20_000;
const CAMERA = { width: 64, height: 64, fx: 64, fy: 64, cx: 32, cy: 32 };
let stage: Stage;

const checks: Check[] = [
  {
    name: "Secure context",
    optional: true,
    run: () => expect(window.isSecureContext, "https or localhost: without it the browser gives no access to a camera"),
  },
  {
    name: "Camera interface",
    optional: true,
    run: () => expect(typeof navigator.mediaDevices?.getUserMedia === "function", "navigator.mediaDevices.getUserMedia"),
  },
  {
    name: "Camera frames in a worker",
    optional: true,
    run: () =>
      expect(typeof MediaStreamTrackProcessor === "function", "MediaStreamTrackProcessor; frames go through the page instead"),
  },
  { name: "WebGL2", run: checkWebGl },
  { name: "Encoding JPEG in a worker's canvas", run: checkJpeg },
  { name: "Workers of the viewer", run: checkWorkers },
  ...["packed", "points", "ply"].map((codec) => ({ name: `Decoding ${codec}`, run: () => checkCodec(codec) })),
  { name: "Decoding depth, and lifting it", run: checkDepth },
  { name: "A picture's colours on a grid", run: checkPicture },
  { name: "Decoders refuse broken data", run: checkRefusals },
  { name: "Spark starts", run: startSpark },
  { name: "A splat has its colour and place", run: () => checkPixels([255, 64, 32], [32, 96, 255]) },
  // Where one of these fails, the viewer lifts in a worker.
  { name: "Lifting depth on the GPU", run: checkGpuLift, optional: true },
  { name: "It looks as what the processor lifts", run: checkGpuPicture, optional: true },
  { name: "The next frame replaces it in place", run: () => checkPixels([40, 220, 80], [250, 240, 60]) },
  { name: "No WebGL error", run: () => expect(stage.glErrors === 0, "no GL error", `${stage.glErrors}`) },
];

void runAll();

async function runAll(): Promise<void> {
  const lines: Line[] = [];
  for (const check of checks) {
    const line = await runOne(check);
    lines.push(line);
    const item = document.createElement("li");
    item.className = line.result;
    const words = document.createElement("b");
    words.textContent = line.result;
    const detail = document.createElement("small");
    detail.textContent = line.detail;
    item.append(words, line.name, detail);
    document.getElementById("checks")!.append(item);
  }
  const failed = lines.filter((line) => line.result === "fail").length;
  const passed = failed === 0;
  document.getElementById("summary")!.textContent = passed
    ? `Yes: ${lines.length} checks, none failed.`
    : `No: ${failed} of ${lines.length} checks failed.`;
  window.splatcastSelftest = { done: true, passed, lines };
}

async function runOne(check: Check): Promise<Line> {
  try {
    const detail = await Promise.race([check.run(), timeout()]);
    return { name: check.name, result: "pass", detail };
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return { name: check.name, result: check.optional ? "note" : "fail", detail };
  }
}

function timeout(): Promise<never> {
  return new Promise((_, reject) => setTimeout(() => reject(new Error(`no result within ${TIMEOUT_MS / 1000} s`)), TIMEOUT_MS));
}

function expect(ok: boolean, what: string, got = "none"): string {
  if (!ok) throw new Error(`expected ${what}; got ${got}`);
  return "";
}

function checkWebGl(): string {
  const gl = document.createElement("canvas").getContext("webgl2");
  if (!gl) throw new Error("expected a WebGL2 context; turn on hardware acceleration, or use a newer browser");
  const name = rendererName(gl);
  // Browsers keep a few contexts at a time: give this one back.
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return name;
}

async function checkJpeg(): Promise<string> {
  const canvas = new OffscreenCanvas(8, 8);
  canvas.getContext("2d")!.fillRect(0, 0, 8, 8);
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.8 });
  return expect(blob.type === "image/jpeg", "a JPEG", blob.type);
}

async function checkWorkers(): Promise<string> {
  const worker = new Worker(
    new URL(document.querySelector<HTMLElement>("[data-capture-worker]")?.dataset["captureWorker"] ?? "", document.baseURI),
    { type: "module" },
  );
  try {
    await new Promise<void>((resolve, reject) => {
      worker.onmessage = () => resolve();
      worker.onerror = (event) => reject(new Error(event.message || "the worker could not be loaded"));
    });
  } finally {
    worker.terminate();
  }
  return "";
}

function checkCodec(name: string): string {
  const scene = aScene();
  const data = sceneAs(name, scene);
  // One byte off, as data in a message usually is.
  const shifted = new Uint8Array(data.length + 1);
  shifted.set(data, 1);
  const decoded = codecNamed(name).decode(shifted.subarray(1), new Uint32Array(2048 * 4), CAMERA);
  expect(decoded.count === scene.length, `${scene.length} splats`, `${decoded.count}`);
  expect(
    JSON.stringify(decoded.range) === JSON.stringify(expectedRange(name)),
    "the range of the header",
    JSON.stringify(decoded.range),
  );
  const expected = expectedWords(name, scene, CAMERA);
  for (const [i, word] of expected.entries()) {
    expect(decoded.words[i] === word, `0x${word.toString(16)} as word ${i}`, `0x${decoded.words[i]!.toString(16)}`);
  }
  expect(
    decoded.words.subarray(expected.length).every((word) => word === 0),
    "zeros after the last splat",
    "others",
  );
  return `${scene.length} splats, ${data.length} bytes`;
}

async function checkDepth(): Promise<string> {
  const data = depthFrame();
  const expected = liftedFrame();
  const reply = { codec: DEPTH_NAME, data } as SplatsMessage;
  const { content, count } = await new ReplyDecoder(new BufferPool()).decode(reply, null, 2048);
  expect(4 * count === expected.length, `${expected.length / 4} splats`, `${count}`);
  if (!("words" in content)) throw new Error("expected words, got pixels");
  const difference = differenceFrom(expected, content.words);
  if (difference) throw new Error(`expected ${difference}`);
  return `${count} splats, ${data.length} bytes`;
}

/** Some browsers give wrong pixels to pages that read them, against fingerprinting: then the colours of splats are wrong, too. */
async function checkPicture(): Promise<string> {
  const colours = [
    [250, 20, 60],
    [30, 200, 90],
  ] as const;
  const canvas = new OffscreenCanvas(64, 32);
  const context = canvas.getContext("2d")!;
  for (const [i, [red, green, blue]] of colours.entries()) {
    context.fillStyle = `rgb(${red} ${green} ${blue})`;
    context.fillRect(32 * i, 0, 32, 32);
  }
  const png = new Uint8Array(await (await canvas.convertToBlob({ type: "image/png" })).arrayBuffer());
  const rgba = await new GridPainter().paint(png, 2, 1);
  for (const [i, want] of colours.entries()) {
    const got = [...rgba.subarray(4 * i, 4 * i + 3)];
    expect(
      got.every((value, channel) => Math.abs(value - want[channel]!) <= 4),
      `about rgb(${want.join(", ")})`,
      `rgb(${got.join(", ")})`,
    );
  }
  return "";
}

function checkRefusals(): string {
  let refused = 0;
  for (const name of ["packed", "points", "ply"]) {
    const data = sceneAs(name, aScene());
    for (const broken of [data.subarray(0, data.length - 1), data.subarray(0, 7), new Uint8Array(0)]) {
      try {
        codecNamed(name).decode(broken, new Uint32Array(2048 * 4), CAMERA);
      } catch {
        refused++;
      }
    }
  }
  const depth = depthFrame();
  const flipped = depth.map((byte, i) => (i === depth.length - 9 ? byte ^ 1 : byte));
  for (const broken of [depth.subarray(0, depth.length - 1), flipped, new Uint8Array(0)]) {
    try {
      new DepthDecoder().decode(broken);
    } catch {
      refused++;
    }
  }
  return expect(refused === 12, "twelve broken frames refused", `${refused}`);
}

async function startSpark(): Promise<string> {
  const canvas = document.getElementById("stage") as HTMLCanvasElement;
  stage = new Stage(canvas, { dirty: () => undefined, sortFailed: () => undefined });
  stage.exactOrder = true;
  stage.renderer.setSize(64, 64, false);
  // The field of view of CAMERA: 64 pixels at a focal length of 64.
  stage.camera.fov = (2 * Math.atan(0.5) * 180) / Math.PI;
  stage.camera.near = 0.1;
  stage.camera.far = 100;
  stage.camera.updateProjectionMatrix();
  await stage.ready;
  return "";
}

/** Draws what the stage has, onto a canvas that can be read. */
async function drawn(): Promise<CanvasRenderingContext2D> {
  await stage.sort();
  stage.draw();
  const copy = document.createElement("canvas");
  copy.width = copy.height = 64;
  const context = copy.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(stage.renderer.domElement, 0, 0);
  return context;
}

/** The words that the GPU makes of the server's frame are the server's, and those of the viewer's own check the processor's. */
async function checkGpuLift(): Promise<string> {
  const expected = liftedFrame();
  const reply = { codec: DEPTH_NAME, data: depthFrame() } as SplatsMessage;
  const decoder = new ReplyDecoder(new BufferPool());
  decoder.liftsOnPage = true;
  const { content, count } = await decoder.decode(reply, null, 2048);
  if (!("pixels" in content)) throw new Error("expected pixels, got words");
  expect(4 * count === expected.length, `${expected.length / 4} splats`, `${count}`);
  const difference = differenceBetween(expected, stage.liftedWords(content));
  if (difference) throw new Error(`expected ${difference}`);
  await stage.checkLift();
  return rendererName(stage.renderer.getContext() as WebGL2RenderingContext);
}

/** As the codec `packed` is held to. */
const LEAST_DB = 45;

async function checkGpuPicture(): Promise<string> {
  const details: string[] = [];
  for (const isRound of [false, true]) {
    const frame = checkFrame(isRound);
    const words = new Uint32Array((frame.pixels.length / PIXEL_WORDS) * 4);
    words.set(wordsOf(frame));
    const pictures: ImageData[] = [];
    for (const replace of [() => stage.replace(words, { ...LIFTED_RANGE, zOffset: frame.zOffset }), () => stage.lift(frame)]) {
      replace();
      pictures.push((await drawn()).getImageData(0, 0, 64, 64));
      expect(stage.activeSplats === frame.count, `${frame.count} splats drawn`, `${stage.activeSplats}`);
    }
    const [theirs, ours] = pictures as [ImageData, ImageData];
    const covered = theirs.data.filter((value, i) => (i & 3) === 3 && value > 0).length;
    const squares = theirs.data.reduce((sum, value, i) => sum + (value - ours.data[i]!) ** 2, 0);
    const db = 10 * Math.log10((255 ** 2 * 4 * covered) / Math.max(squares, 1e-9));
    expect(covered > 1000 && db >= LEAST_DB, `at least ${LEAST_DB} dB over 1000 pixels`, `${db.toFixed(1)} dB over ${covered}`);
    details.push(`${frame.count} splats, ${db.toFixed(1)} dB`);
  }
  return details.join("; ");
}

/** Two splats at depth 2: `upperLeft` where x and y are negative in the capture camera's frame, `lowerRight` opposite. */
async function checkPixels(upperLeft: [number, number, number], lowerRight: [number, number, number]): Promise<string> {
  const scene = aScene(upperLeft, lowerRight);
  const decoded = codecNamed("packed").decode(sceneAs("packed", scene), new Uint32Array(2048 * 4), CAMERA);
  stage.replace(decoded.words, decoded.range);
  const context = await drawn();
  // Depth 2, x = ±0.5, focal length 64: 16 pixels from the centre.
  for (const [x, y, want] of [[16, 16, upperLeft] as const, [48, 48, lowerRight] as const]) {
    const got = [...context.getImageData(x, y, 1, 1).data.subarray(0, 3)];
    const far = got.some((value, i) => Math.abs(value - want[i]!) > 12);
    expect(!far, `about rgb(${want.join(", ")}) at (${x}, ${y})`, `rgb(${got.join(", ")})`);
  }
  const [, , , alpha] = context.getImageData(48, 16, 1, 1).data;
  expect(alpha === 0, "nothing at the upper right", `alpha ${alpha}`);
  return `${stage.activeSplats} splats drawn`;
}
