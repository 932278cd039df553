// Where a recording is: time passes while it plays, at its speed, around and around if it loops. Pure.

/** Speeds that are offered. */
export const SPEEDS = [0.25, 0.5, 1, 2, 4] as const;
/** How long the last frame stays, where frames come at no rate: a recording of one. */
const SHORTEST_MS = 100;

export class ReplayClock {
  /** From the first frame to where it starts again: the last frame stays as long as frames do on average. */
  readonly durationMs: number;
  loops = true;
  private position = 0;
  private since: number | null = null;
  private rate = 1;

  /** @param times When each frame is due, ms, rising from 0; at least one. */
  constructor(private readonly times: readonly number[]) {
    const last = times.at(-1)!;
    this.durationMs = last + Math.max(SHORTEST_MS, last / Math.max(1, times.length - 1));
  }

  get playing(): boolean {
    return this.since !== null;
  }

  get speed(): number {
    return this.rate;
  }

  /** Goes on, from the beginning if it is at the end. */
  play(nowMs: number): void {
    if (this.playing) return;
    if (this.position >= this.durationMs) this.position = 0;
    this.since = nowMs;
  }

  pause(nowMs: number): void {
    this.settle(nowMs);
    this.since = null;
  }

  setSpeed(speed: number, nowMs: number): void {
    this.settle(nowMs);
    this.rate = speed;
  }

  seek(ms: number, nowMs: number): void {
    this.position = Math.min(Math.max(0, ms), this.durationMs);
    if (this.playing) this.since = nowMs;
  }

  /** One frame on or back, and stops there. */
  step(by: 1 | -1, nowMs: number): void {
    const index = this.frameAt(nowMs) + by;
    this.pause(nowMs);
    this.position = this.times[Math.min(Math.max(0, index), this.times.length - 1)]!;
  }

  /** Where it is. At the end it stops, unless it loops. */
  at(nowMs: number): number {
    this.settle(nowMs);
    return this.position;
  }

  /** Index of the frame that is due: the last one whose time has come. */
  frameAt(nowMs: number): number {
    const position = this.at(nowMs);
    let [low, high] = [0, this.times.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.times[middle]! <= position) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  private settle(nowMs: number): void {
    if (this.since === null) return;
    this.position += Math.max(0, nowMs - this.since) * this.rate;
    this.since = nowMs;
    if (this.position < this.durationMs) return;
    if (this.loops) {
      this.position %= this.durationMs;
    } else {
      this.position = this.durationMs;
      this.since = null;
    }
  }
}
