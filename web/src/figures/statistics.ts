// What happens to frames, counted for the statistics panel and for tests.

import type { DecodedFrame } from "../stream/thread.js";
import { Window } from "./window.js";

const RATE_WINDOW_MS = 3000;
const AGE_WINDOW_MS = 5000;

/** Counters since the page was opened. */
export interface Stats {
  /** Frames sent. */
  sent: number;
  /** Replies with splats that arrived. */
  received: number;
  /** Replies whose pixels were handed to the screen. */
  shown: number;
  /** Replies that a newer one overtook before they were drawn. */
  supersededInClient: number;
  /** Replies that could not be decoded. */
  badReplies: number;
  /** Replies that could not be drawn. */
  notDrawn: number;
  /** Frames the server refused with an error. */
  refused: number;
  /** Frames dropped by the server, by reason. */
  dropped: Record<string, number>;
  /** Connections opened after the first. */
  reconnects: number;
  /** Frames shown per second, over the last three seconds. */
  fps: number;
  /** Capture to pixels, over the last five seconds. */
  ageP50Ms: number;
  ageP95Ms: number;
  /** Mean size of a reply over the last five seconds. */
  kilobytesPerFrame: number;
  /** How long a frame keeps the page's thread busy, over the last five seconds. */
  busyP50Ms: number;
  busyP95Ms: number;
}

export class Statistics {
  readonly counts = {
    sent: 0,
    received: 0,
    shown: 0,
    supersededInClient: 0,
    badReplies: 0,
    notDrawn: 0,
    refused: 0,
    reconnects: 0,
  };
  readonly dropped: Record<string, number> = {};
  private readonly shownTimes = new Window(RATE_WINDOW_MS);
  private readonly ages = new Window(AGE_WINDOW_MS);
  private readonly sizes = new Window(AGE_WINDOW_MS);
  private readonly busyTimes = new Window(AGE_WINDOW_MS);

  shown(frame: DecodedFrame, shownMs: number): void {
    this.counts.shown++;
    this.shownTimes.add(1, shownMs);
    this.ages.add(shownMs - frame.captured_ms, shownMs);
    this.sizes.add(frame.bytes / 1000, shownMs);
  }

  busy(ms: number, atMs: number): void {
    this.busyTimes.add(ms, atMs);
  }

  drop(reason: string, count: number): void {
    this.dropped[reason] = (this.dropped[reason] ?? 0) + count;
  }

  /** Rates and ages start afresh; the counts stay. */
  clearWindows(): void {
    for (const window of [this.shownTimes, this.ages, this.sizes, this.busyTimes]) window.clear();
  }

  at(nowMs: number): Stats {
    return {
      ...this.counts,
      dropped: { ...this.dropped },
      fps: this.shownTimes.ratePerSecond(nowMs),
      ageP50Ms: this.ages.percentile(50, nowMs),
      ageP95Ms: this.ages.percentile(95, nowMs),
      kilobytesPerFrame: this.sizes.mean(nowMs),
      busyP50Ms: this.busyTimes.percentile(50, nowMs),
      busyP95Ms: this.busyTimes.percentile(95, nowMs),
    };
  }
}
