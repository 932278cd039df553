// Whether the camera still gives pictures. One that is muted, or has given none for a while, is said to be asleep until it gives one.
// All times are on the clock of nowMs: the device's own may be put right at any time.

import { nowMs } from "../clock.js";

/** Without a picture for this long, ms, a camera counts as asleep. */
export const PATIENCE_MS = 3000;
const CHECK_EVERY_MS = 500;

export class Watch {
  private on = false;
  private asleep = false;
  private isMuted = false;
  private lastMs = 0;
  private timer = 0;

  /** @param tell Called when the camera falls asleep, and when it is back. */
  constructor(private readonly tell: (asleep: boolean) => void) {}

  /** Another source begins, which is watched or not. */
  begin(watched: boolean, atMs: number): void {
    clearInterval(this.timer);
    this.on = watched;
    this.lastMs = atMs;
    this.say(false);
    // Timers are slow in hidden pages, and some browsers give them no pictures.
    if (watched) this.timer = window.setInterval(() => document.hidden || this.check(nowMs()), CHECK_EVERY_MS);
  }

  /** A picture came, or the page was hidden until now. */
  picture(atMs: number): void {
    this.lastMs = atMs;
    if (!this.isMuted) this.say(false);
  }

  /** The browser says that the camera gives nothing for now, or does again. */
  muted(muted: boolean, atMs: number): void {
    this.isMuted = muted;
    this.lastMs = atMs;
    if (this.on) this.say(muted);
  }

  check(atMs: number): void {
    if (this.on && atMs - this.lastMs > PATIENCE_MS) this.say(true);
  }

  private say(asleep: boolean): void {
    if (asleep === this.asleep) return;
    this.asleep = asleep;
    this.tell(asleep);
  }
}
