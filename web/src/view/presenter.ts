// Brings the newest frame to the screen, one at a time. Every frame that is offered is settled exactly once, whatever fails:
// acks leave in order, so one frame that is never settled would hold back those of all later ones. Pure; the player draws.

import type { DecodedFrame } from "../stream/thread.js";

export interface PresenterEvents {
  /** The frame's pixels are on their way to the screen: the GPU has drawn them. */
  shown(frame: DecodedFrame): void;
  /** It won't be drawn: a newer frame came first, or nobody looks. */
  superseded(frame: DecodedFrame): void;
  /** Drawing failed: of this frame or, if null, of a view that moved. */
  failed(frame: DecodedFrame | null, error: unknown): void;
}

export interface Screen {
  /** Draws the scene, with the frame in place of the last one. Keeps the frame's words, even if it fails. */
  draw(frame: DecodedFrame | null): Promise<void>;
  /** Resolves when the GPU has drawn everything so far. */
  finished(): Promise<void>;
}

export class Presenter {
  private waiting: DecodedFrame | null = null;
  private drawing = false;

  constructor(
    private readonly screen: Screen,
    private readonly events: PresenterEvents,
  ) {}

  /** A drawing is under way: in exact order it waits for its sort. */
  get busy(): boolean {
    return this.drawing;
  }

  /** A frame to show instead of any that still waits. */
  offer(frame: DecodedFrame): void {
    this.skip();
    this.waiting = frame;
  }

  /** The frame that waits to be drawn won't be. */
  skip(): void {
    const frame = this.waiting;
    this.waiting = null;
    if (frame) this.events.superseded(frame);
  }

  /** Draws, with the waiting frame if there is one. Not to be called while busy. Never rejects. */
  async present(): Promise<void> {
    const frame = this.waiting;
    this.waiting = null;
    this.drawing = true;
    try {
      await this.screen.draw(frame);
      if (frame) void this.settle(frame);
    } catch (error) {
      this.events.failed(frame, error);
    } finally {
      this.drawing = false;
    }
  }

  /** The next drawing need not wait for this. */
  private async settle(frame: DecodedFrame): Promise<void> {
    try {
      await this.screen.finished();
    } catch (error) {
      this.events.failed(frame, error);
      return;
    }
    this.events.shown(frame);
  }
}
