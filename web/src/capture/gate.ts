// Which pictures the capture worker takes: those of the current source, one at a time, no faster than asked, and only when one can
// be sent at once. Pure; the worker feeds it messages and time.

export class CaptureGate {
  /** Pictures per second, at most. */
  maxFps = 30;
  private run = 0;
  private wanted = false;
  private encoding = false;
  private nextDueMs = 0;

  /** Another source begins. */
  start(run: number): void {
    this.run = run;
    this.nextDueMs = 0;
  }

  /** A source ends. If it says so after it was replaced, that is nothing new. */
  stop(run: number): void {
    if (run === this.run) this.run = 0;
  }

  /** The socket would take a picture now, or not. */
  want(wanted: boolean): void {
    this.wanted = wanted;
  }

  isCurrent(run: number): boolean {
    return run === this.run;
  }

  /** Whether a picture would be taken, if it is due and from the current source. */
  get open(): boolean {
    return this.wanted && !this.encoding;
  }

  /** Whether this run's picture is taken. */
  takes(run: number, nowMs: number): boolean {
    return this.waitMs(run, nowMs) === 0;
  }

  /** How long until this run's picture is taken, ms; Infinity: not before something else happens. */
  waitMs(run: number, nowMs: number): number {
    return this.isCurrent(run) && this.open ? Math.max(0, this.nextDueMs - nowMs) : Infinity;
  }

  /** A picture is being encoded, or no longer. */
  set busy(encoding: boolean) {
    this.encoding = encoding;
  }

  /** Whether a picture that was taken may still be sent now that it is encoded. */
  delivers(run: number): boolean {
    return this.isCurrent(run) && this.wanted;
  }

  /** A picture was sent: no other until the socket wants one. */
  delivered(nowMs: number): void {
    this.wanted = false;
    const periodMs = 1000 / this.maxFps;
    // Cameras keep their own time: counting on from when it was due keeps the mean rate, half a period keeps frames apart.
    this.nextDueMs = Math.max(this.nextDueMs + periodMs, nowMs + periodMs / 2);
  }
}
