// Behind the invitation: the sample, moving, so that a first visit shows something before any permission is asked.

import { playClip, sampleClip } from "../capture/sample.js";
import type { State } from "../state.js";
import type { Access } from "../stream/access.js";
import { byId } from "./dom.js";
import type { Store } from "./store.js";

/** Plays the sample's pictures while the invitation is to be seen. They are not sent: nobody asked for that yet. */
export function showSample(store: Store<State>, access: Access): void {
  const canvas = byId<HTMLCanvasElement>("welcome-clip");
  let showing: AbortController | null = null;
  store.subscribe(({ connection }) => {
    const isSeen = !byId("welcome").hidden;
    if (!isSeen) {
      showing?.abort();
      return;
    }
    // Not before the server has let this viewer in: it may ask for a token first.
    if (connection !== "open" || showing || savesData()) return;
    showing = new AbortController();
    void play(canvas, access, showing);
  });
}

async function play(canvas: HTMLCanvasElement, access: Access, showing: AbortController): Promise<void> {
  // Without the clip the invitation does well enough; who asks for the sample is told what is wrong with it.
  const clip = await sampleClip(access).catch(() => null);
  if (!clip || showing.signal.aborted) return;
  canvas.hidden = false;
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  playClip(still ? { ...clip, frames: clip.frames.slice(0, 1) } : clip, canvas, showing.signal);
}

function savesData(): boolean {
  const { connection } = navigator as { connection?: { saveData?: boolean } };
  return connection?.saveData === true;
}
