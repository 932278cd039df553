// What the server made of the options, in words a person understands.

import type { QualityState } from "../stream/messages.js";

/** The cause, while a stream is only smaller because it has just begun. */
export const STARTING = "starting";
/** The sentence stays this long after full quality is back, so that an unsteady link does not make the panel jump. */
const LINGERS_MS = 5000;

export interface QualityWords {
  /** Two or three words: "full", or how much of it. */
  value: string;
  /** Why, as a sentence; empty while there is nothing to say. */
  note: string;
}

export class QualityLine {
  private loweredMs = -Infinity;

  words(quality: QualityState, nowMs: number): QualityWords {
    const { splats_share: splats, px_share: px, inference_px: inferencePx, cause, message } = quality;
    // Over in a moment, and no trouble.
    if (cause === STARTING) return { value: STARTING, note: "" };
    const parts: string[] = [];
    if (splats < 1) parts.push(`${percent(splats)} detail`);
    if (px < 1) parts.push(splats < 1 ? `${inferencePx} px` : `model at ${inferencePx} px`);
    if (parts.length === 0) return { value: "full", note: nowMs - this.loweredMs < LINGERS_MS ? "Full quality again." : "" };
    this.loweredMs = nowMs;
    return { value: parts.join(", "), note: message && `${message[0]!.toUpperCase()}${message.slice(1)}.` };
  }

  /** Another stream begins: the last one's quality no longer matters. */
  forget(): void {
    this.loweredMs = -Infinity;
  }
}

/** Never "100%" of what is not full. */
function percent(share: number): string {
  return `${Math.min(99, Math.max(1, Math.round(share * 100)))}%`;
}
