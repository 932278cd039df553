// A file on the screen in place of the stream: asks the worker for the frame that is due, one at a time, and skips what it can't keep up
// with. A file of splats that the worker can't read is converted first.

import { nowMs } from "../clock.js";
import type { Problem, ReplayState, State } from "../state.js";
import type { DecodedFrame, FromFile, ToSocket } from "../stream/thread.js";
import type { Store } from "../ui/store.js";
import { isForeign } from "./file_names.js";
import { ReplayClock } from "./replay_clock.js";

/** What a replay needs of the page. */
export interface ReplayHost {
  /** To the stream's worker. */
  post(message: ToSocket & { type: "openFile" | "fileFrame" }): void;
  /** Reads what the worker does not, as a file that it does. */
  convert(file: File): Promise<File>;
  show(frame: DecodedFrame): void;
  /** Calls back when the next picture is due. */
  nextPicture(call: () => void): void;
  /** A file can be shown: what was said of one that could not is over. */
  opened(): void;
  report(problem: Problem): void;
}

export class Replay {
  private clock: ReplayClock | null = null;
  private run = 0;
  /** A file of splats that may be converted if the worker can't read it. */
  private convertible: File | null = null;
  /** The frame that was asked for, and whether it is still to come. */
  private asked = -1;
  private waiting = false;
  /** The last frame that was handed over to be shown. */
  private given: DecodedFrame | null = null;
  private damaged = false;
  private scheduled = false;

  constructor(
    private readonly store: Store<State>,
    private readonly host: ReplayHost,
  ) {}

  /** Shows a file in place of what is shown. */
  open(file: File): void {
    this.close();
    this.store.set({ replay: { ...CLOSED, name: file.name } });
    if (isForeign(file.name)) {
      void this.convert(file, null);
    } else {
      this.convertible = /\.ply$/i.test(file.name) ? file : null;
      this.host.post({ type: "openFile", file, run: this.run });
    }
  }

  /** @param why The worker can't read it; null: it was not asked. */
  private async convert(file: File, why: string | null): Promise<void> {
    const { run } = this;
    this.convertible = null;
    let converted: File;
    try {
      converted = await this.host.convert(file);
    } catch (error) {
      if (run === this.run) this.refuse(why ?? (error instanceof Error ? error.message : String(error)));
      return;
    }
    if (run === this.run) this.host.post({ type: "openFile", file: converted, run });
  }

  private refuse(why: string): void {
    const { name } = this.store.get().replay ?? CLOSED;
    this.close();
    this.host.report(cannotOpen(name, why));
  }

  /** Leaves the last frame on the screen. */
  close(): void {
    this.run++;
    this.clock = null;
    this.convertible = null;
    this.asked = -1;
    this.given = null;
    this.waiting = this.damaged = false;
    if (this.store.get().replay) this.store.set({ replay: null });
  }

  toggle(): void {
    this.change((clock) => (clock.playing ? clock.pause(nowMs()) : clock.play(nowMs())));
  }

  seek(ms: number): void {
    this.change((clock) => clock.seek(ms, nowMs()));
  }

  step(by: 1 | -1): void {
    this.change((clock) => clock.step(by, nowMs()));
  }

  setSpeed(speed: number): void {
    this.change((clock) => clock.setSpeed(speed, nowMs()));
  }

  loop(loops: boolean): void {
    this.change((clock) => {
      clock.loops = loops;
    });
  }

  /** From the worker. */
  receive(message: FromFile): void {
    if (message.run !== this.run) return;
    if (message.type === "fileOpened") {
      this.host.opened();
      this.clock = new ReplayClock(message.times);
      if (message.times.length > 1) this.clock.play(nowMs());
      const { replay } = this.store.get();
      this.store.set({
        replay: { ...CLOSED, ...replay, frames: message.times.length, cut: message.cut, engine: message.engine },
      });
      this.tick();
      return;
    }
    this.waiting = false;
    if (message.type === "fileFrame") {
      const { replay } = this.store.get();
      if (replay && replay.label !== message.frame.label) this.store.set({ replay: { ...replay, label: message.frame.label } });
      this.given = message.frame;
      this.host.show(message.frame);
    } else if (message.index === null) {
      if (this.convertible) void this.convert(this.convertible, message.message);
      else this.refuse(message.message);
    } else if (!this.damaged) {
      // The others play on; one card is enough.
      this.damaged = true;
      this.host.report(damagedFrame(message.message));
    }
  }

  /** A frame won't be shown: nobody looks, or the view is lost. What is due is asked for with the next picture, which somebody sees. */
  unshown(frame: DecodedFrame): void {
    // Otherwise a newer one takes its place, or is still to come.
    if (frame !== this.given || this.waiting) return;
    this.asked = -1;
    this.tickLater();
  }

  private change(act: (clock: ReplayClock) => void): void {
    if (!this.clock) return;
    act(this.clock);
    this.tick();
  }

  /** Runs on while it plays. */
  private tick(): void {
    const { clock, run } = this;
    if (!clock) return;
    const now = nowMs();
    const index = clock.frameAt(now);
    if (index !== this.asked && !this.waiting) {
      this.asked = index;
      this.waiting = true;
      this.host.post({ type: "fileFrame", index, run });
    }
    this.tell(clock, now, index);
    if (clock.playing || index !== this.asked) this.tickLater();
  }

  private tickLater(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    this.host.nextPicture(() => {
      this.scheduled = false;
      this.tick();
    });
  }

  private tell(clock: ReplayClock, now: number, frame: number): void {
    const { replay } = this.store.get();
    if (!replay) return;
    const { playing, speed, loops, durationMs } = clock;
    // Not for every picture that is drawn: the position is told when a frame changes.
    const told = { frame, playing, speed, loops, durationMs };
    const keys = Object.keys(told) as (keyof typeof told)[];
    if (keys.every((key) => replay[key] === told[key])) return;
    this.store.set({ replay: { ...replay, ...told, positionMs: clock.at(now) } });
  }
}

const CLOSED: ReplayState = {
  ...{ name: "", frames: 0, cut: "", label: "", engine: null },
  ...{ frame: -1, playing: false, speed: 1, loops: true, durationMs: 0, positionMs: 0 },
};

function cannotOpen(name: string, why: string): Problem {
  return { code: "recording_unreadable", title: "This file can't be shown", text: `${name}: ${why}.`, until: "started" };
}

function damagedFrame(why: string): Problem {
  return {
    code: "recording_damaged",
    title: "A part of this file can't be shown",
    text: `${why}. The rest plays on.`,
    until: null,
  };
}
