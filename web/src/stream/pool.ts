// Buffers that go to the page with a frame and come back: after the first frames nothing is allocated any more.

import { WORDS } from "../codecs/words.js";
import { Capacity } from "./capacity.js";

/** One on the screen, one waiting, one being decoded, one on its way back. */
const KEPT = 4;

export class BufferPool {
  private readonly capacity = new Capacity();
  private free: ArrayBuffer[] = [];
  private bytes = 0;

  /**
   * A buffer for a frame.
   *
   * @param count Splats in the frame.
   * @param budget Splats that a frame may have.
   * @param words 32-bit words of one.
   */
  take(count: number, budget: number, words = WORDS): Uint32Array<ArrayBuffer> {
    const bytes = this.capacity.next(count, budget) * words * 4;
    if (bytes !== this.bytes) {
      this.bytes = bytes;
      this.free = [];
    }
    return new Uint32Array(this.free.pop() ?? new ArrayBuffer(bytes));
  }

  give(buffer: ArrayBuffer): void {
    if (buffer.byteLength === this.bytes && this.free.length < KEPT) this.free.push(buffer);
  }
}
