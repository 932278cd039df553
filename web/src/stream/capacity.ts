// How many splats the buffers hold, and with them Spark's textures: what is uploaded, generated, read back and sorted for every
// frame is the capacity, whatever the frame has. Pure.

import { capacityFor } from "../codecs/words.js";

/** Frames that must all have fit into less before it becomes less: a change makes a new texture, and counts waver. */
const PATIENCE = 60;
/** Of the smaller capacity, that they may fill: else the next splat more would bring the larger one back. */
const FILL = 0.9;

export class Capacity {
  private present = 0;
  private most = 0;
  private frames = 0;

  /**
   * The capacity for a frame: the budget, or its half, quarter, eighth …, so that there are few sizes. It grows at once.
   *
   * @param count Splats of the frame.
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
