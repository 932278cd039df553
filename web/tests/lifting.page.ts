// What a depth frame costs the viewer, in a page of its own, for benchmarks/lifting.py: decoded in depth.worker.ts, then uploaded,
// lifted, sorted and drawn as the player does it.

import { LIFTED_RANGE } from "../src/codecs/lift.js";
import type { FrameContent } from "../src/stream/thread.js";
import type { Stage } from "../src/view/stage.js";
import { decode, newStage, newWorker } from "./bench.js";

interface Measured {
  renderer: string;
  splats: number;
  /** In the worker: bytes to words, or to pixels. */
  decodeMs: number[];
  /** On the page's thread: upload and lifting, the start of the sort, the drawing. */
  busyMs: number[];
  /** From arrival until the GPU had drawn it. */
  drawnMs: number[];
}

declare global {
  interface Window {
    measure(data: string, own: string, rounds: number, width: number, height: number): Promise<Record<string, Measured>>;
  }
}

window.measure = async (data, own, rounds, width, height) => {
  const stage = await newStage(width, height);
  await stage.checkLift();
  const worker = newWorker();
  const measured: Record<string, Measured> = {};
  const free: Record<string, ArrayBuffer> = {};
  // In turn, so that whatever slows the machine slows both; the first round warms up.
  for (let round = 0; round <= rounds; round++) {
    for (const way of ["worker", "gpu"]) {
      const question = {
        codec: "depth",
        data,
        own,
        onPage: way === "gpu",
        free: free[way] ?? new ArrayBuffer(0),
      };
      const { content, count, ms } = await decode(worker, question);
      // The benchmark's trace is cut by these marks.
      performance.mark(`${round > 0 ? way : "warm-up"} begins`);
      const shown = await show(stage, content);
      performance.mark(`${round > 0 ? way : "warm-up"} ends`);
      const row = { renderer: stage.rendererName, splats: count, decodeMs: [], busyMs: [], drawnMs: [] };
      measured[way] ??= row;
      free[way] = shown.free;
      if (round === 0) continue;
      measured[way].decodeMs.push(ms);
      measured[way].busyMs.push(shown.busyMs);
      measured[way].drawnMs.push(shown.drawnMs);
    }
  }
  if (stage.glErrors > 0) throw new Error(`expected no GL error, got ${stage.glErrors}`);
  return measured;
};

interface Shown {
  busyMs: number;
  drawnMs: number;
  free: ArrayBuffer;
}

async function show(stage: Stage, content: FrameContent): Promise<Shown> {
  const beganMs = performance.now();
  let free: ArrayBuffer;
  if ("words" in content) {
    free = stage.replace(content.words, LIFTED_RANGE).buffer;
  } else {
    stage.lift(content);
    free = content.pixels.buffer;
  }
  const sorted = stage.sort();
  const waitsMs = performance.now();
  await sorted;
  const goesOnMs = performance.now();
  stage.draw();
  const endedMs = performance.now();
  await stage.finished();
  const drawnMs = performance.now() - beganMs;
  return { busyMs: waitsMs - beganMs + endedMs - goesOnMs, drawnMs, free };
}
