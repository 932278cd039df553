// Client-side flow control: how many frames may be unanswered and when the next one leaves, so that the next one captured is always
// the newest, and no more of them are sent than are shown.

/** Smoothed network time above which one extra frame pays off: below it, that frame would only wait at the server. */
const WORTHWHILE_NETWORK_MS = 20;
const SMOOTHING = 0.2;
/** A page that was stopped for a while (a hidden tab, a breakpoint) says nothing about how long drawing takes. */
const LONGEST_DRAWING_MS = 1000;
/** A reply that was not drawn for this long is not waited for: the graphics may have been reset under it. */
const GIVEN_UP_MS = 5000;

export class FlowControl {
  private readonly sentAt = new Map<number, number>();
  /** Replies that the page has not drawn yet, and when they came. */
  private readonly undrawn = new Map<number, number>();
  /** Frames that were dropped while others were under way: the server had no use for so many. */
  private withheld = 0;
  private networkMs = 0;
  private roundTripMs = 0;
  private drawingMs = 0;
  private lastDrawnMs = 0;
  private anyDrawn = false;

  /** @param maxInFlight Frames of a session that the server works on at a time (`limits.max_in_flight`). */
  constructor(private readonly maxInFlight: number) {}

  /** As many as the server works on, and one more if frames spend long on the way. One alone until it is known how that goes. */
  private get allowance(): number {
    if (!this.anyDrawn) return 1;
    return this.maxInFlight + (this.networkMs > WORTHWHILE_NETWORK_MS ? 1 : 0);
  }

  /**
   * How long until the next frame should leave, ms; Infinity: not before something else happens.
   *
   * Its reply should come when the page has drawn those before it: one that came sooner would only grow old, or be drawn over.
   */
  waitMs(nowMs: number): number {
    const underWay = this.sentAt.size + this.undrawn.size > 0;
    if (this.sentAt.size + (underWay ? this.withheld : 0) >= this.allowance) return Infinity;
    for (const [seq, cameMs] of this.undrawn) if (nowMs - cameMs >= GIVEN_UP_MS) this.undrawn.delete(seq);
    // One is being drawn and one waits already: whatever comes now takes the place of that one.
    if (this.undrawn.size > (this.anyDrawn ? 1 : 0)) return Math.min(...this.undrawn.values()) + GIVEN_UP_MS - nowMs;
    let freeMs = this.lastDrawnMs;
    for (const cameMs of this.undrawn.values()) freeMs = Math.max(freeMs, cameMs) + this.drawingMs;
    for (const sentMs of this.sentAt.values()) freeMs = Math.max(freeMs, sentMs + this.roundTripMs) + this.drawingMs;
    return Math.max(0, freeMs - this.roundTripMs - nowMs);
  }

  /** As many are unanswered as ever may be. */
  get isFull(): boolean {
    return this.sentAt.size > this.maxInFlight;
  }

  sent(seq: number, nowMs: number): void {
    this.sentAt.set(seq, nowMs);
  }

  /** Splats came: they settle their frame and every lower one. */
  answered(seq: number, nowMs: number, serverMs: number): void {
    const sentAt = this.sentAt.get(seq);
    if (sentAt !== undefined) {
      this.networkMs += SMOOTHING * (Math.max(0, nowMs - sentAt - serverMs) - this.networkMs);
      this.roundTripMs += (this.roundTripMs ? SMOOTHING : 1) * (nowMs - sentAt - this.roundTripMs);
    }
    for (const other of [...this.sentAt.keys()]) if (other <= seq) this.sentAt.delete(other);
    this.withheld = 0;
    this.undrawn.set(seq, nowMs);
  }

  /** A reply is done with: shown, or not (drawn over, not understood, not looked at). */
  done(seq: number, nowMs: number, shown: boolean): void {
    const cameMs = this.undrawn.get(seq);
    this.undrawn.delete(seq);
    if (!shown || cameMs === undefined) return;
    const tookMs = Math.min(LONGEST_DRAWING_MS, nowMs - Math.max(cameMs, this.lastDrawnMs));
    this.drawingMs += (this.anyDrawn ? SMOOTHING : 1) * (tookMs - this.drawingMs);
    this.anyDrawn = true;
    this.lastDrawnMs = nowMs;
  }

  /** A frame got an error. */
  settled(seq: number): void {
    this.sentAt.delete(seq);
  }

  /** A frame was dropped. Another in its place would be dropped as well, as long as those before it are under way. */
  dropped(seq: number): void {
    if (this.sentAt.delete(seq)) this.withheld++;
  }
}
