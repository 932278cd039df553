// Behind the invitation: the sample as it was recorded, so that a first visit shows something moving before any permission is asked.
// It begins when the page is ready and ends with the first frame of anything else, which takes its place in the same mesh.

import { nowMs } from "../clock.js";
import type { State } from "../state.js";
import type { DecodedFrame, FromFile, ToSocket } from "../stream/thread.js";
import type { Store } from "../ui/store.js";
import { ReplayClock } from "./replay_clock.js";

/** Names the sample to the worker; those of files that people open are 0 and above. */
export const SAMPLE_RUN = -1;
/** Between two looks at the clock: frames of the sample stay for several of them. */
const LOOK_MS = 30;
/** The page is hidden, or the view is lost. */
const REST_MS = 500;

/** What the invitation needs of the page. */
export interface InvitationHost {
  post(message: ToSocket & { type: "openFile" | "fileFrame" }): void;
  show(frame: DecodedFrame): void;
  /** The recording; null where there is none. */
  load(): Promise<Blob | null>;
}

export class Invitation {
  private file: File | null = null;
  private clock: ReplayClock | null = null;
  private asked = -1;
  private askedMs = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private on = false;

  /** @param moves It plays; else its first frame is all that is shown. */
  constructor(
    private readonly store: Store<State>,
    private readonly host: InvitationHost,
    private readonly moves: boolean,
  ) {}

  /** Loads the recording, and shows it whenever nothing else is shown. */
  async begin(): Promise<void> {
    const blob = await this.host.load().catch(() => null);
    if (!blob) return;
    this.file = new File([blob], "sample.splatcast");
    this.store.subscribe(() => this.update());
  }

  /** From the worker. */
  receive(message: FromFile): void {
    if (!this.on) return;
    if (message.type === "fileOpened") {
      this.clock = new ReplayClock(message.times);
      if (this.moves) this.clock.play(nowMs());
      this.ask();
    } else if (message.type === "fileFrame") {
      // Before it is drawn: the invitation makes room for it.
      if (!this.store.get().sample) this.store.set({ sample: true });
      this.host.show({ ...message.frame, isSample: true });
    }
    // A file that can't be read is one that is not there.
  }

  /** What became of a frame that was to be shown. */
  settled(shown: boolean): void {
    if (!this.on) return;
    if (!shown) this.asked = -1;
    else if (!this.moves) return;
    // Half of the time is left to what else there is to do: where the processor draws, a frame takes it long.
    this.later(shown ? Math.max(LOOK_MS, nowMs() - this.askedMs) : REST_MS);
  }

  private update(): void {
    const { running, replay, shown, sample } = this.store.get();
    // The last frame stays on the screen until the first of a source.
    if (sample && shown) this.store.set({ sample: false });
    const on = !running && !replay && !shown;
    if (on === this.on) return;
    this.on = on;
    this.clock = null;
    this.asked = -1;
    clearTimeout(this.timer);
    if (on) this.host.post({ type: "openFile", file: this.file!, run: SAMPLE_RUN });
  }

  private later(ms: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), ms);
  }

  private ask(): void {
    if (!this.on || !this.clock) return;
    const index = this.clock.frameAt(nowMs());
    if (index === this.asked) {
      this.later(LOOK_MS);
      return;
    }
    this.asked = index;
    this.askedMs = nowMs();
    this.host.post({ type: "fileFrame", index, run: SAMPLE_RUN });
  }
}
