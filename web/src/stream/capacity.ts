// How many splats the buffers have room for, and with them Spark's textures: for every frame the whole capacity is uploaded,
// generated and read back, however few splats there are. Pure.

import { capacityFor } from "../codecs/words.js";

/**
 * Frames that must all fit into a smaller capacity before it shrinks: a change makes a new texture, and counts fluctuate. Slow
 * devices, which gain the most, show few frames: they should not wait for long.
 */
const PATIENCE = 20;
/** Share of the smaller capacity that they may fill: otherwise a few more splats would bring the larger one back. */
const FILL = 0.9;

export class Capacity {
  private present = 0;
  private most = 0;
  private frames = 0;

  /**
   * The capacity for a frame: the budget, or a half, a quarter, an eighth … of it, so that there are few sizes. It grows at once.
   *
   * @param count Splats in the frame.
   * @param budget Splats that a frame may have.
   */
  next(count: number, budget: number): number {
    this.most = Math.max(this.most, count);
    this.frames++;
    if (count > this.present || this.present === 0) {
      this.change(step(count, budget));
    } else if (this.frames === PATIENCE) {
      this.change(Math.min(this.present, step(this.most / FILL, budget)));
    }
    return this.present;
  }

  private change(capacity: number): void {
    this.present = capacity;
    this.most = this.frames = 0;
  }
}

/** The smallest of the budget's halvings that holds `count`. */
function step(count: number, budget: number): number {
  let share = budget;
  while (share / 2 >= count && share > 1) share /= 2;
  return capacityFor(Math.max(share, count));
}
