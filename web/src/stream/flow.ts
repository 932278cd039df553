// Client-side flow control: how many frames may be unanswered, so that the next one captured is always the newest.

/** Smoothed network time above which the one extra frame pays: below it, the frame would only wait on the server. */
const WORTHWHILE_NETWORK_MS = 20;
const SMOOTHING = 0.2;

export class FlowControl {
  private readonly sentAt = new Map<number, number>();
  private networkMs = 0;

  /** @param maxInFlight Frames of a session that the server works on at a time (`limits.max_in_flight`). */
  constructor(private readonly maxInFlight: number) {}

  /** One more than the server works on, where a frame would otherwise spend its time on the way. */
  private get allowance(): number {
    return this.maxInFlight + (this.networkMs > WORTHWHILE_NETWORK_MS ? 1 : 0);
  }

  get canSend(): boolean {
    return this.sentAt.size < this.allowance;
  }

  /** The most a session may ever have on the way. */
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
    }
    for (const other of [...this.sentAt.keys()]) if (other <= seq) this.sentAt.delete(other);
  }

  /** A frame got an error, or was dropped. */
  settled(seq: number): void {
    this.sentAt.delete(seq);
  }
}
