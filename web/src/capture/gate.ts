// Which pictures the capture worker takes: those of the present source, one at a time, no faster than asked, and only when one can
// be sent at once. Pure; the worker feeds it messages and time.

export class CaptureGate {
  /** Pictures a second at most. */
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

  /** A source ends. One that was replaced says so late, and nobody is sending for it any more. */
  stop(run: number): void {
    if (run === this.run) this.run = 0;
  }

  /** The socket would take a picture now, or not. */
  want(wanted: boolean): void {
    this.wanted = wanted;
  }

  isPresent(run: number): boolean {
    return run === this.run;
  }

  /** Whether any picture would be taken, apart from when and whose it is. */
  get open(): boolean {
    return this.wanted && !this.encoding;
  }

  /** Whether this run's picture is taken. */
  takes(run: number, nowMs: number): boolean {
    return this.isPresent(run) && this.open && nowMs >= this.nextDueMs;
  }

  /** A picture is being encoded, or no longer. */
  set busy(encoding: boolean) {
    this.encoding = encoding;
  }

  /** Whether a picture that was taken may still be sent now that it is encoded. */
  delivers(run: number): boolean {
    return this.isPresent(run) && this.wanted;
  }

  /** A picture was sent: no other until the socket wants one. */
  delivered(nowMs: number): void {
    this.wanted = false;
    const periodMs = 1000 / this.maxFps;
    // Cameras have a raster of their own: counting on from the due time keeps the mean rate, half a period keeps the distance.
    this.nextDueMs = Math.max(this.nextDueMs + periodMs, nowMs + periodMs / 2);
  }
}
