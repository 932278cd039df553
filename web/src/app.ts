// Wires the parts: sources → capture worker → socket worker → screen, the state they share, and the controls.

import { isVideo } from "./capture/file.js";
import { CaptureLine } from "./capture/source.js";
import { Sources } from "./capture/sources.js";
import { nowMs } from "./clock.js";
import type { Config, Settings, SourceKind } from "./config.js";
import { LiveView } from "./live_view.js";
import { isKept, Keeping } from "./recording/keeping.js";
import { initialState, type State } from "./state.js";
import type { Access } from "./stream/access.js";
import { wantedOptions } from "./stream/options.js";
import { attachControls } from "./ui/controls.js";
import { byId } from "./ui/dom.js";
import { Hud } from "./ui/hud.js";
import { attachKeeping } from "./ui/keeping_controls.js";
import { Preview } from "./ui/preview.js";
import { ProblemCards } from "./ui/problem_cards.js";
import { CAMERA_GONE, GRAPHICS_LOST, sourceFailed, workerFailed } from "./ui/problem_texts.js";
import { Problems } from "./ui/problems.js";
import { SettingsPanel } from "./ui/settings.js";
import { Store } from "./ui/store.js";
import { drawsInSoftware } from "./view/lift_choice.js";
import { swaysAtFirst } from "./view/orbit.js";

export class App {
  readonly store: Store<State>;
  readonly view: LiveView;
  private readonly problems: Problems;
  private readonly preview = new Preview();
  private readonly line: CaptureLine;
  private readonly sources: Sources;
  private readonly keeping: Keeping;

  /** @throws Error If the browser has no WebGL2. */
  constructor(config: Config, access: Access) {
    this.store = new Store(initialState(config));
    this.problems = new Problems(this.store);
    const canvas = byId<HTMLCanvasElement>("view");
    this.view = new LiveView(canvas, asset("socket.worker.js"), this.store, this.problems, access, config.lift);
    const { player, stream, statistics } = this.view;
    this.watchMotion(config);

    const { port1, port2 } = new MessageChannel();
    this.line = new CaptureLine(asset("capture.worker.js"), port2, (why) => this.problems.report(workerFailed(why)));
    this.sources = new Sources(this.line, this.preview, access, () => this.cameraEnded());
    stream.connect(config.socketUrl, access.subprotocols, wantedOptions(this.store.get().settings), port1);

    new Hud(this.store, () => statistics.at(nowMs()));
    new SettingsPanel(this.store, (patch) => this.change(patch));
    new ProblemCards(this.store, {
      startSample: () => void this.start("sample"),
      reconnect: () => stream.reconnect(),
      authorize: (token) => {
        access.set(token);
        stream.authorize(access.subprotocols);
      },
      dismiss: (code) => this.problems.dismiss(code),
    });
    this.keeping = new Keeping(this.store, this.view, this.problems, () => this.streamIfWanted());
    attachKeeping(this.store, this.keeping, () => this.keeping.replay.close());
    attachControls(this.store, player.orbit, {
      start: (kind, file) => void this.start(kind, file),
      stop: () => this.stop(),
      change: (patch) => this.change(patch),
      screenshot: () => this.keeping.savePicture(),
      download: () => this.keeping.savePly(),
      moved: () => player.invalidate(),
    });
    this.apply(this.store.get().settings);
    player.orbit.aim({ yawDeg: config.view[0], pitchDeg: config.view[1], distance: config.view[2] });
    this.watchPage(canvas);
    if (config.autostart && config.source !== "file") void this.start(config.source);
  }

  /** Opens a source and streams it, in place of the current one. */
  private async start(kind: SourceKind, file?: File): Promise<void> {
    this.stop();
    this.keeping.replay.close();
    if (file && isKept(file)) {
      this.keeping.open(file);
      return;
    }
    this.store.set({ source: kind, starting: true });
    let name: string | null;
    try {
      name = await this.sources.start(kind, file, this.store.get().settings);
    } catch (error) {
      this.store.set({ starting: false });
      this.problems.report(sourceFailed(error));
      return;
    }
    // Another one was started meanwhile, or this one stopped.
    if (name === null) return;
    this.problems.settle("started");
    this.store.set({ starting: false, running: true, sourceName: name });
    this.preview.show(kind === "camera" || (file !== undefined && isVideo(file)) ? "video" : "canvas", name);
    this.view.player.forgetPivot();
    this.view.statistics.clearWindows();
    this.streamIfWanted();
  }

  /** While nobody can see the picture, or it stands still, the server should not compute it. */
  private streamIfWanted(): void {
    const { running, frozen } = this.store.get();
    this.view.stream.on = running && !frozen && !document.hidden;
  }

  /** Ends the source. The last frame stays on the screen. */
  private stop(): void {
    this.view.stream.on = false;
    this.sources.stop();
    this.store.set({ running: false, starting: false, sourceName: "", frozen: false });
    this.preview.hide();
  }

  private cameraEnded(): void {
    this.stop();
    this.problems.report(CAMERA_GONE);
  }

  private change(patch: Partial<Settings>): void {
    const before = this.store.get().settings;
    const settings = { ...before, ...patch };
    this.store.set({ settings });
    this.apply(patch);
    const options = wantedOptions(settings);
    if (JSON.stringify(options) !== JSON.stringify(wantedOptions(before))) this.view.stream.configure(options);
    const { running, source } = this.store.get();
    if ("captureWidth" in patch && running && source === "camera") void this.start("camera");
  }

  private apply(patch: Partial<Settings>): void {
    const { settings } = this.store.get();
    const { orbit, axes, stage } = this.view.player;
    this.line.configure({ width: settings.captureWidth, maxFps: settings.maxFps, quality: settings.jpegQuality });
    if (patch.exactOrder !== undefined) stage.exactOrder = patch.exactOrder;
    axes.group.visible = settings.axes;
    orbit.sway = settings.sway;
    this.view.player.fieldOfView = settings.fieldOfView;
    orbit.free = settings.freeOrbit;
    orbit.aim({});
    this.preview.mirrored = settings.mirrorPreview;
    this.view.player.invalidate();
  }

  /** The view sways at first, unless somebody would rather it did not. */
  private watchMotion({ settings, view }: Config): void {
    const { orbit, stage } = this.view.player;
    const lessMotion = window.matchMedia("(prefers-reduced-motion: reduce)");
    orbit.still = lessMotion.matches;
    const isAimed = view.some((value, i) => value !== [0, 0, 1][i]);
    const sway = settings.sway ?? swaysAtFirst(lessMotion.matches, isAimed, drawsInSoftware(stage.rendererName));
    this.store.set({ settings: { ...this.store.get().settings, sway } });
    lessMotion.addEventListener("change", ({ matches }) => {
      orbit.still = matches;
      if (matches) this.change({ sway: false });
    });
  }

  private watchPage(canvas: HTMLCanvasElement): void {
    window.addEventListener("pagehide", () => this.stop());
    document.addEventListener("visibilitychange", () => {
      this.streamIfWanted();
      if (document.hidden) this.view.player.skip();
    });
    canvas.addEventListener("webglcontextlost", () => {
      this.stop();
      this.problems.report(GRAPHICS_LOST);
    });
  }
}

function asset(name: string): URL {
  return new URL(`static/${name}`, document.baseURI);
}
