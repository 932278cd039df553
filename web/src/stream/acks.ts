// Acks leave in the order of their replies. An ack covers every earlier reply as well: one that is sent for a skipped frame while
// an older frame is still being drawn would hide from the server how long that one took.

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
