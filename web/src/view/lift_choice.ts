// Where depth frames are lifted: on the GPU if that is one and does it right, else in the stream's worker, for good.

import type { Stage } from "./stage.js";

/** What the page's address asks for. */
export type LiftWish = "auto" | "gpu" | "worker";

export interface LiftChoice {
  readonly where: "gpu" | "worker";
  /** For people: the end of a sentence. */
  readonly why: string;
}

/** Renderers that are the processor: the pass takes it four times as long as the worker's loops (docs/benchmarks.md). */
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;

/** Whether the processor draws. */
export function drawsInSoftware(rendererName: string): boolean {
  return SOFTWARE.test(rendererName);
}

const ASKED = "the page's address asks for it.";

/** Tries the GPU, unless it is not wanted. Never rejects. */
export async function chooseLift(stage: Pick<Stage, "rendererName" | "checkLift">, wish: LiftWish): Promise<LiftChoice> {
  if (wish === "worker") return { where: "worker", why: ASKED };
  const name = stage.rendererName;
  if (wish === "auto" && drawsInSoftware(name)) return { where: "worker", why: `drawing is done in software (${name}).` };
  try {
    await stage.checkLift();
  } catch (error) {
    return { where: "worker", why: `the GPU does not do it right, ${error instanceof Error ? error.message : String(error)}.` };
  }
  return { where: "gpu", why: wish === "gpu" ? ASKED : `${name}.` };
}
