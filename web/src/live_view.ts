// The live stream on the screen: what the server sends → picture, state, statistics, problems; what became of a frame → back.

import { nowMs } from "./clock.js";
import { STARTING } from "./figures/quality.js";
import { Statistics } from "./figures/statistics.js";
import { type Invitation, SAMPLE_RUN } from "./recording/invitation.js";
import type { RecordingProgress } from "./recording/recorder.js";
import type { Rooms } from "./rooms/rooms.js";
import type { State } from "./state.js";
import type { Access } from "./stream/access.js";
import { changesFrames } from "./stream/options.js";
import { askByHttp } from "./stream/reach.js";
import { Stream } from "./stream/stream.js";
import { bufferOf, type DecodedFrame, endsRoom, type FromFile, type FromSocket, type ServerRefusal } from "./stream/thread.js";
import { badReply, notDrawn, refused, serverGone, tokenAsked, workerFailed } from "./ui/problem_texts.js";
import type { Problems } from "./ui/problems.js";
import type { Store } from "./ui/store.js";
import { Unreached } from "./ui/unreached.js";
import type { HeadsetMode } from "./view/headset.js";
import { chooseLift, type LiftChoice, type LiftWish } from "./view/lift_choice.js";
import { Player, type PlayerEvents } from "./view/player.js";

/** How soon a picture is asked for again that the server left out, and one that was refused or made with less than is wanted. */
const SOON_MS = 500;
const LATER_MS = 2000;
/** What becomes of files: those that are written, and those that are shown. */
export interface Keeper {
  recorded(progress: RecordingProgress, file: Blob | null): void;
  read(message: FromFile): void;
  /** A frame of a file won't be shown. */
  unshown(frame: DecodedFrame): void;
}

export class LiveView implements PlayerEvents {
  keeper: Keeper | null = null;
  invitation: Invitation | null = null;
  rooms: Rooms | null = null;
  readonly statistics = new Statistics();
  readonly player: Player;
  readonly stream: Stream;
  /** Called when what is on the screen is not what is wanted: a source whose picture stays sends it again. */
  stale = (): void => undefined;
  private staleTimer = 0;
  private wasConnected = false;
  private readonly unreached: Unreached;
  /** The next frame is shown though the view is frozen. */
  private stepping = false;

  /** @throws Error If the browser has no WebGL2. */
  constructor(
    canvas: HTMLCanvasElement,
    workerUrl: URL,
    private readonly store: Store<State>,
    private readonly problems: Problems,
    private readonly access: Access,
    lift: LiftWish,
  ) {
    this.player = new Player(canvas, this);
    this.unreached = new Unreached(problems, {
      ask: () => askByHttp((path, init) => access.fetch(path, init)),
      isOpen: () => store.get().connection === "open",
      gone: () => serverGone(this.wasConnected),
      refused: (refusal) => this.refused(refusal),
    });
    const failed = (why: string): void => problems.report(workerFailed(why));
    this.stream = new Stream(workerUrl, (message) => this.receive(message), failed);
    void chooseLift(this.player.stage, lift).then((choice) => this.lifts(choice));
    canvas.addEventListener("webglcontextlost", () => this.lifts({ where: "worker", why: "the 3D view was lost once." }));
  }

  /** Until the GPU has shown that it can, and from when it no longer can, the worker lifts. */
  private lifts(choice: LiftChoice): void {
    if (this.store.get().lift?.where === "worker") return;
    this.stream.liftsOnPage = choice.where === "gpu";
    this.store.set({ lift: choice });
  }

  shown(frame: DecodedFrame): void {
    if (frame.isSample) {
      this.invitation?.settled(true);
      return;
    }
    const shownMs = nowMs();
    if (!frame.fromFile) this.stream.shown(frame, shownMs);
    this.statistics.shown(frame, shownMs);
    const { seq, count, codec, kind, label, quality, intrinsics, timings_ms: timingsMs } = frame;
    const onGpu = "pixels" in frame.content;
    this.store.set({ shown: { seq, count, codec, kind, label, quality, intrinsics, timingsMs, onGpu } });
    this.problems.settle("shown");
    // Quality rises with the frames that are shown: a still that is sent once would keep what little it began with.
    const isLess = quality.splats_share < 1 || quality.px_share < 1;
    this.staleIn(isLess ? (quality.cause === STARTING ? SOON_MS : LATER_MS) : null);
  }

  private staleIn(ms: number | null): void {
    window.clearTimeout(this.staleTimer);
    if (ms !== null) this.staleTimer = window.setTimeout(() => this.stale(), ms);
  }

  superseded(frame: DecodedFrame): void {
    if (!frame.isSample) this.statistics.counts.supersededInClient++;
    this.leave(frame);
  }

  /** It won't be shown. */
  private leave(frame: DecodedFrame): void {
    this.unshown(frame);
    this.freed(bufferOf(frame.content));
  }

  /** Who waits for it hears that. */
  private unshown(frame: DecodedFrame): void {
    if (frame.isSample) this.invitation?.settled(false);
    else if (frame.fromFile) this.keeper?.unshown(frame);
    else this.stream.skipped(frame);
  }

  failed(frame: DecodedFrame | null, error: unknown): void {
    // That the whole view is lost is said already.
    if (frame?.isSample) {
      // It was asked for by nobody: that there is none needs no card.
      this.invitation?.settled(false);
      return;
    }
    if (this.player.stage.disposed) {
      if (frame) this.unshown(frame);
      return;
    }
    if (frame) {
      this.statistics.counts.notDrawn++;
      if (!frame.fromFile) this.stream.skipped(frame);
    }
    this.problems.report(notDrawn(error));
  }

  freed(buffer: ArrayBuffer): void {
    this.stream.recycle(buffer);
  }

  headset(inside: HeadsetMode | null): void {
    this.store.set({ inside });
  }

  busy(ms: number): void {
    this.statistics.busy(ms, nowMs());
  }

  private receive(message: Exclude<FromSocket, { type: "lastCapture" }>): void {
    switch (message.type) {
      case "connection":
        this.connectionChanged(message);
        break;
      case "welcome":
        this.store.set({ engine: message.engine, limits: message.limits, options: message.options });
        this.stale();
        break;
      case "configured":
        if (changesFrames(this.store.get().options, message.options)) this.stale();
        this.store.set({ options: message.options });
        break;
      case "joined":
        this.rooms?.joined(message);
        break;
      case "room":
        this.rooms?.changed(message);
        break;
      case "sent":
        this.statistics.counts.sent++;
        break;
      case "frame":
        this.statistics.counts.received++;
        this.showLive(message.frame);
        break;
      case "recording":
        this.keeper?.recorded(message.progress, message.file);
        break;
      case "fileOpened":
      case "fileFrame":
      case "fileBad":
        if (message.run === SAMPLE_RUN) this.invitation?.receive(message);
        else this.keeper?.read(message);
        break;
      case "bad":
        this.statistics.counts.badReplies++;
        this.problems.report(badReply(message.message));
        break;
      case "dropped":
        this.statistics.drop(message.code, message.count);
        this.staleIn(SOON_MS);
        break;
      case "error":
        this.refused(message);
        break;
    }
  }

  /** Shows one more frame of a stream that stands still. */
  step(): void {
    this.stepping = true;
    this.stream.on = true;
  }

  /** A late frame of the stream neither thaws the view nor takes the place of a file. */
  private showLive(frame: DecodedFrame): void {
    const { frozen, replay } = this.store.get();
    if (replay || (frozen && !this.stepping)) {
      this.leave(frame);
      return;
    }
    if (frozen) this.stream.on = false;
    this.stepping = false;
    this.player.show(frame);
  }

  private connectionChanged({ status, text, reconnects }: FromSocket & { type: "connection" }): void {
    this.statistics.counts.reconnects = reconnects;
    this.store.set({ connection: status, connectionText: text });
    if (status === "open") {
      this.wasConnected = true;
      this.problems.settle("connected");
    } else if (status === "waiting") {
      this.unreached.failed();
    }
  }

  private refused(refusal: ServerRefusal): void {
    if (refusal.seq !== null) {
      this.statistics.counts.refused++;
      this.staleIn(LATER_MS);
    }
    if (endsRoom(refusal.code)) this.rooms?.refused();
    if (refusal.code !== "unauthorized") {
      this.problems.report(refused(refusal));
      return;
    }
    const wasWrong = this.access.known;
    // So that a reload does not offer it again.
    this.access.set(null);
    this.problems.report(tokenAsked(wasWrong));
  }
}
