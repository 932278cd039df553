// What the benchmarks' pages share: a stage as the viewer's, and depth.worker.ts, which decodes as the viewer's worker does.

import type { FrameContent } from "../src/stream/thread.js";
import { Stage } from "../src/view/stage.js";

/** A stage on a canvas of its own, of this many pixels, that looks from where the camera was. */
export async function newStage(width: number, height: number): Promise<Stage> {
  const canvas = document.createElement("canvas");
  document.body.append(canvas);
  const stage = new Stage(canvas, { dirty: () => undefined, sortFailed: () => undefined });
  stage.exactOrder = true;
  stage.ofPixels = true;
  stage.renderer.setSize(width, height, false);
  stage.camera.near = 0.02;
  stage.camera.far = 200;
  stage.camera.aspect = width / height;
  stage.camera.updateProjectionMatrix();
  await stage.ready;
  return stage;
}

export function newWorker(): Worker {
  return new Worker("/worker.js", { type: "module" });
}

/** What depth.worker.ts is to decode; bytes as base64. */
export interface ToDecode {
  codec: string;
  data: string;
  /** The picture that was sent. */
  own: string;
  /** The page lifts it. */
  onPage: boolean;
  /** The buffer of an earlier one. */
  free: ArrayBuffer;
}

export async function decode(
  worker: Worker,
  question: ToDecode,
): Promise<{ content: FrameContent; count: number; ms: number }> {
  const answer = new Promise<MessageEvent>((resolve) => {
    worker.onmessage = resolve;
  });
  worker.postMessage({ ask: "hand over", ...question }, [question.free]);
  const message = (await answer).data;
  if (message.error) throw new Error(message.error);
  return message;
}
