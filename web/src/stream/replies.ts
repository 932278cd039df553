// Replies are decoded one after the other, in their order: each shares buffers with the next, and the page shows the newest last.

import type { SplatsMessage } from "./messages.js";

type Bytes = Uint8Array<ArrayBuffer>;

/** Decodes a reply and hands it on. */
export type Decode = (message: SplatsMessage, own: Bytes | null, receivedMs: number) => Promise<void>;

export class Replies {
  private last: Promise<void> = Promise.resolve();
  private undecoded = 0;

  /**
   * @param decode Decodes one; what it throws is for `failed`.
   * @param failed A reply could not be decoded.
   * @param settled One more was decoded, or could not be.
   */
  constructor(
    private readonly decode: Decode,
    private readonly failed: (message: SplatsMessage, receivedMs: number, error: unknown) => void,
    private readonly settled: () => void,
  ) {}

  /** One waits while another is decoded: a frame sent now would find both before its own reply. */
  get areBehind(): boolean {
    return this.undecoded > 1;
  }

  arrived(message: SplatsMessage, own: Bytes | null, receivedMs: number): void {
    this.undecoded++;
    this.last = this.last
      .then(() => this.decode(message, own, receivedMs))
      .catch((error: unknown) => this.failed(message, receivedMs, error))
      .then(() => {
        this.undecoded--;
        this.settled();
      });
  }
}
