// What a frame costs a browser by the way it comes, in a page of its own, for benchmarks/viewer.py: a PLY file through a Blob URL into a
// fresh SplatMesh, as the original page did it, and the viewer's codecs in place, as the viewer does.

import { SplatFileType, SplatMesh } from "@sparkjsdev/spark";
import type { Stage } from "../src/view/stage.js";
import { decode, newStage, newWorker } from "./bench.js";

/** A picture and its negative, each as the way has it; bytes as base64. `own`: the pictures that `depth` takes its colours from. */
interface Frames {
  data: readonly [string, string];
  own: readonly [string, string];
}

interface Measured {
  renderer: string;
  splats: number;
  /** From the bytes to splats: in a worker, for PLY in Spark's. */
  decodeMs: number[];
  /** Handing them to Spark: the page's thread. */
  uploadMs: number[];
  /** Decoded and handed over. */
  readyMs: number[];
  /** Pictures drawn until the new frame was in one. */
  renders: number[];
  /** From the bytes until the GPU had drawn that picture. */
  shownMs: number[];
}

/** Frames that each way is handed before anything is measured. */
const WARM_UP = 12;

/** One way of showing a frame: handed over when it returns. */
interface Way {
  stage: Stage;
  /** Pictures after which a frame is to be seen, whatever happens. */
  surely: number;
  hand(frames: Frames, which: 0 | 1): Promise<{ decodeMs: number; uploadMs: number; splats: number }>;
  /** Draws one picture. */
  render(): Promise<void>;
}

async function measure(
  ways: Record<string, Frames>,
  rounds: number,
  width: number,
  height: number,
): Promise<Record<string, Measured>> {
  const kinds: Record<string, Way> = {};
  for (const name of Object.keys(ways)) {
    kinds[name] = name === "ply" ? await freshMeshes(width, height) : await inPlace(name.split("+")[0]!, width, height);
  }
  const measured: Record<string, Measured> = {};
  const brightness: Record<string, [number, number]> = {};
  // A stream's code is compiled after its first second.
  for (let round = 0; round < WARM_UP; round++) {
    for (const [name, way] of Object.entries(kinds)) await way.hand(ways[name]!, (round & 1) as 0 | 1);
  }
  // In turn, so that whatever slows the machine slows all; two rounds more say how bright each picture is.
  for (let round = -2; round < rounds; round++) {
    const which = (round & 1) as 0 | 1;
    for (const [name, way] of Object.entries(kinds)) {
      const mark = round < 0 ? "warm-up" : name;
      performance.mark(`${mark} begins`);
      const beganMs = performance.now();
      const { decodeMs, uploadMs, splats } = await way.hand(ways[name]!, which);
      let renders = 0;
      for (let isShown = false; !isShown; ) {
        if (++renders > 30) throw new Error(`${name}: not shown after 30 pictures`);
        await way.render();
        const light = centre(way.stage);
        await way.stage.finished();
        const [mine, other] = brightness[name] ? [brightness[name][which], brightness[name][1 - which]!] : [0, 0];
        isShown = round < 0 ? renders >= way.surely : Math.abs(light - mine) < Math.abs(light - other);
        if (round < 0) {
          brightness[name] ??= [0, 0];
          brightness[name][which] = light;
        }
        // Sorts are done in a worker, and heard of between tasks.
        await new Promise(requestAnimationFrame);
      }
      const shownMs = performance.now() - beganMs;
      performance.mark(`${mark} ends`);
      if (round < 0) continue;
      const empty = { decodeMs: [], uploadMs: [], readyMs: [], renders: [], shownMs: [] };
      measured[name] ??= { renderer: way.stage.rendererName, splats, ...empty };
      measured[name].decodeMs.push(decodeMs);
      measured[name].uploadMs.push(uploadMs);
      measured[name].readyMs.push(decodeMs + uploadMs);
      measured[name].renders.push(renders);
      measured[name].shownMs.push(shownMs);
    }
  }
  for (const [name, { stage }] of Object.entries(kinds)) {
    if (stage.glErrors > 0) throw new Error(`${name}: expected no GL error, got ${stage.glErrors}`);
  }
  return measured;
}

// What benchmarks/browser.py calls.
Object.assign(window, { measure });

async function freshMeshes(width: number, height: number): Promise<Way> {
  const stage = await newStage(width, height);
  stage.exactOrder = false;
  stage.captureFrame.clear();
  let shown: SplatMesh | null = null;
  // What came over the network is there as bytes.
  const files = new Map<string, Blob>();
  return {
    stage,
    surely: 8,
    hand: async ({ data }, which) => {
      const text = data[which];
      if (!files.has(text)) files.set(text, new Blob([bytesOf(text)]));
      const beganMs = performance.now();
      const url = URL.createObjectURL(files.get(text)!);
      const mesh = new SplatMesh({ url, fileType: SplatFileType.PLY });
      await mesh.initialized;
      const decodedMs = performance.now();
      URL.revokeObjectURL(url);
      stage.captureFrame.add(mesh);
      if (shown) {
        stage.captureFrame.remove(shown);
        shown.dispose();
      }
      shown = mesh;
      return {
        decodeMs: decodedMs - beganMs,
        uploadMs: performance.now() - decodedMs,
        splats: mesh.packedSplats?.numSplats ?? 0,
      };
    },
    render: async () => stage.draw(),
  };
}

async function inPlace(codec: string, width: number, height: number): Promise<Way> {
  const stage = await newStage(width, height);
  const worker = newWorker();
  let free = new ArrayBuffer(0);
  return {
    stage,
    surely: 2,
    hand: async ({ data, own }, which) => {
      const question = { codec, data: data[which], own: own[which], onPage: false, free };
      const { content, count, ms } = await decode(worker, question);
      if (!("words" in content)) throw new Error("expected words, got pixels");
      const beganMs = performance.now();
      free = stage.replace(content.words, content.range).buffer;
      return { decodeMs: ms, uploadMs: performance.now() - beganMs, splats: count };
    },
    render: async () => {
      await stage.sort();
      stage.draw();
    },
  };
}

/** How bright the middle of the picture is that was drawn in this task. */
function centre(stage: Stage): number {
  const gl = stage.renderer.getContext() as WebGL2RenderingContext;
  const side = 16;
  const pixels = new Uint8Array(4 * side * side);
  gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
  gl.readPixels(
    (gl.drawingBufferWidth - side) >> 1,
    (gl.drawingBufferHeight - side) >> 1,
    side,
    side,
    gl.RGBA,
    gl.UNSIGNED_BYTE,
    pixels,
  );
  return pixels.reduce((sum, value, i) => sum + ((i & 3) === 3 ? 0 : value), 0) / (3 * side * side);
}

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}
