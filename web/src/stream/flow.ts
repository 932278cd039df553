// Client-side flow control: how many frames may be unanswered, so that the next one captured is always the newest.

/** Smoothed network time above which one extra frame pays off: below it, that frame would only wait at the server. */
const WORTHWHILE_NETWORK_MS = 20;
const SMOOTHING = 0.2;

export class FlowControl {
  private readonly sentAt = new Map<number, number>();
  private networkMs = 0;

  /** @param maxInFlight Frames of a session that the server works on at a time (`limits.max_in_flight`). */
  constructor(private readonly maxInFlight: number) {}

  /** As many as the server works on, and one more if frames spend long on the way. */
  private get allowance(): number {
    return this.maxInFlight + (this.networkMs > WORTHWHILE_NETWORK_MS ? 1 : 0);
  }

  get canSend(): boolean {
    return this.sentAt.size < this.allowance;
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
    }
    for (const other of [...this.sentAt.keys()]) if (other <= seq) this.sentAt.delete(other);
  }

  /** A frame got an error, or was dropped. */
  settled(seq: number): void {
    this.sentAt.delete(seq);
  }
}
