// Everything that keeps what is shown or shows what was kept: recordings, films, files of splats, and a view that stands still.

import type { Keeper, LiveView } from "../live_view.js";
import type { State } from "../state.js";
import type { DecodedFrame, FromFile } from "../stream/thread.js";
import { plainBackground } from "../ui/background.js";
import { saveAs, timedName } from "../ui/dom.js";
import { filmFailed, recordingFull } from "../ui/problem_texts.js";
import type { Problems } from "../ui/problems.js";
import { savePicture, savePly, saveSpz } from "../ui/saving.js";
import type { Store } from "../ui/store.js";
import { packedFile } from "./foreign_file.js";
import { SUFFIX } from "./format.js";
import { LONGEST_BYTES, type RecordingProgress } from "./recorder.js";
import { Replay } from "./replay.js";
import { filmType, ViewFilm } from "./view_film.js";

export class Keeping implements Keeper {
  readonly replay: Replay;
  private film: ViewFilm | null = null;

  /** @param streams Tells the stream whether it is wanted: it is not while the view stands still. */
  constructor(
    private readonly store: Store<State>,
    private readonly view: LiveView,
    private readonly problems: Problems,
    private readonly streams: () => void,
  ) {
    view.keeper = this;
    // What is being recorded is not saved yet: the browser asks before it is thrown away.
    window.addEventListener("beforeunload", (event) => {
      const { recording, filming } = store.get();
      if (recording?.frames || filming) event.preventDefault();
    });
    this.replay = new Replay(store, {
      post: (question) => view.stream.read(question),
      convert: packedFile,
      show: (frame) => view.player.show(frame),
      nextPicture: (call) => view.player.nextPicture(call),
      opened: () => problems.settle("started"),
      report: (problem) => problems.report(problem),
    });
  }

  /** Shows a file. The caller has ended the stream. */
  open(file: File): void {
    this.view.player.forgetPivot();
    this.view.statistics.clearWindows();
    this.replay.open(file);
  }

  /** Begins or ends a recording of the stream. It goes on through other sources, and ends when it is saved. */
  toggleRecording(): void {
    const { recording, connection } = this.store.get();
    if (!recording && connection !== "open") return;
    this.view.stream.records = !recording;
    if (!recording) this.store.set({ recording: { frames: 0, bytes: 0, durationMs: 0 } });
  }

  recorded(progress: RecordingProgress, file: Blob | null): void {
    this.store.set({ recording: file ? null : progress });
    if (!file) return;
    if (progress.bytes >= LONGEST_BYTES) this.problems.report(recordingFull());
    // An empty one is what becomes of a second thought.
    if (progress.frames > 0) saveAs(file, timedName(SUFFIX.slice(1)));
  }

  read(message: FromFile): void {
    this.replay.receive(message);
  }

  unshown(frame: DecodedFrame): void {
    this.replay.unshown(frame);
  }

  /** Stops a file or the stream where it is, or goes on. */
  toggleFreeze(): void {
    const { replay, running, frozen } = this.store.get();
    if (replay) {
      this.replay.toggle();
    } else if (running) {
      this.store.set({ frozen: !frozen });
      this.streams();
    }
  }

  /** One frame on or, of a file, back; and stands still there. */
  step(by: 1 | -1): void {
    const { replay, running } = this.store.get();
    if (replay) {
      this.replay.step(by);
    } else if (running && by === 1) {
      this.store.set({ frozen: true });
      this.view.step();
    }
  }

  /** In a headset there is nothing in the window. */
  savePicture(): void {
    if (this.view.player.headset.isOn) return;
    savePicture(this.view.player.capture(false));
  }

  savePly(): void {
    const { engine, replay, shown } = this.store.get();
    savePly(this.view.player.stage, replay ? replay.engine : engine, shown?.intrinsics);
  }

  saveSpz(): void {
    void saveSpz(this.view.player.stage);
  }

  /** Begins or ends a film of the view. */
  async toggleFilm(): Promise<void> {
    const { stage } = this.view.player;
    const type = filmType();
    if (this.film) {
      const { film, suffix } = await this.film.stop();
      this.film = null;
      stage.background = null;
      this.store.set({ filming: false });
      saveAs(film, timedName(suffix));
    } else if (type) {
      stage.background = plainBackground();
      try {
        this.film = new ViewFilm(stage.renderer.domElement, type);
        this.store.set({ filming: true });
      } catch (error) {
        stage.background = null;
        this.problems.report(filmFailed(error));
      }
    }
  }
}
