// Acks leave in the order of their replies. An ack is one for every earlier reply as well: sent for a frame that was skipped while
// an older one is still being drawn, it would hide from the server how long that one took.

import type { AckMessage } from "./messages.js";

export class AckOrder {
  private readonly open = new Map<number, AckMessage | null>();

  constructor(private readonly send: (ack: AckMessage) => void) {}

  /** A reply has come; replies come in rising order. */
  arrived(seq: number): void {
    this.open.set(seq, null);
  }

  /** What became of it. */
  done(ack: AckMessage): void {
    if (!this.open.has(ack.seq)) return;
    this.open.set(ack.seq, ack);
    for (const [seq, ready] of this.open) {
      if (!ready) return;
      this.open.delete(seq);
      this.send(ready);
    }
  }

  /** Another connection: nobody waits for these any more. */
  clear(): void {
    this.open.clear();
  }
}
