// Word buffers that go to the page with a frame and come back: after the first frames nothing is allocated any more.

import { capacityFor, WORDS } from "../codecs/words.js";

/** One on the screen, one waiting, one being decoded, one on its way back. */
const KEPT = 4;

export class BufferPool {
  private free: ArrayBuffer[] = [];
  private capacity = 0;

  /**
   * A buffer for at least `count` splats.
   *
   * @param usual Capacity all frames should have (the splat budget), so that Spark's textures keep their size.
   */
  take(count: number, usual: number): Uint32Array<ArrayBuffer> {
    const capacity = capacityFor(Math.max(count, usual));
    if (capacity !== this.capacity) {
      this.capacity = capacity;
      this.free = [];
    }
    return new Uint32Array(this.free.pop() ?? new ArrayBuffer(capacity * WORDS * 4));
  }

  give(buffer: ArrayBuffer): void {
    if (buffer.byteLength === this.capacity * WORDS * 4 && this.free.length < KEPT) this.free.push(buffer);
  }
}
