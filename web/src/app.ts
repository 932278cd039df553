// Wires the parts: sources → capture worker → socket worker → screen, the state they share, and the controls.

import { listCameras } from "./capture/camera.js";
import { CaptureLine, type Opened } from "./capture/source.js";
import { Sources } from "./capture/sources.js";
import { Watch } from "./capture/watch.js";
import { nowMs } from "./clock.js";
import type { Config, Settings, SourceKind } from "./config.js";
import { LiveView } from "./live_view.js";
import { initialState, type State } from "./state.js";
import type { Access } from "./stream/access.js";
import { wantedOptions } from "./stream/options.js";
import { attachControls } from "./ui/controls.js";
import { byId } from "./ui/dom.js";
import { Hud } from "./ui/hud.js";
import { recall, remember } from "./ui/memory.js";
import { Preview } from "./ui/preview.js";
import { ProblemCards } from "./ui/problem_cards.js";
import {
  CAMERA_ASLEEP,
  CAMERA_GONE,
  downloadFailed,
  GRAPHICS_LOST,
  sourceFailed,
  unknownSource,
  workerFailed,
} from "./ui/problem_texts.js";
import { Problems } from "./ui/problems.js";
import { savePicture, savePly } from "./ui/saving.js";
import { SettingsPanel } from "./ui/settings.js";
import { Store } from "./ui/store.js";
import { showSample } from "./ui/welcome.js";

export class App {
  readonly store: Store<State>;
  readonly view: LiveView;
  private readonly problems: Problems;
  private readonly preview = new Preview();
  private readonly line: CaptureLine;
  private readonly sources: Sources;
  private readonly watch = new Watch((asleep) => this.cameraAsleep(asleep));

  /** @throws Error If the browser has no WebGL2. */
  constructor(
    config: Config,
    private readonly access: Access,
  ) {
    this.store = new Store(initialState(config));
    this.problems = new Problems(this.store);
    const canvas = byId<HTMLCanvasElement>("view");
    this.view = new LiveView(canvas, asset("socket.worker.js"), this.store, this.problems, access, config.lift);
    const { player, stream, statistics } = this.view;
    player.orbit.still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;

    const { port1, port2 } = new MessageChannel();
    this.line = new CaptureLine(asset("capture.worker.js"), port2, (why) => this.problems.report(workerFailed(why)));
    this.view.stale = () => this.line.again();
    this.line.alive = () => this.watch.picture(nowMs());
    const camera = {
      ended: () => this.cameraEnded(),
      muted: (muted: boolean) => this.watch.muted(muted, nowMs()),
      opened: (cameras: State["cameras"], id: string) => this.store.set({ cameras, camera: id }),
    };
    this.sources = new Sources(this.line, this.preview, access, camera, () => this.stop());
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
    attachControls(this.store, player.orbit, {
      start: (kind, file) => void this.start(kind, file),
      stop: () => (this.store.get().starting ? this.cancel() : this.stop()),
      report: (problem) => this.problems.report(problem),
      change: (patch) => this.change(patch),
      screenshot: () => savePicture(player.capture(false)),
      download: () => void this.download(),
      moved: () => player.invalidate(),
    });
    showSample(this.store, access);
    this.apply(this.store.get().settings);
    player.orbit.aim({ yawDeg: config.view[0], pitchDeg: config.view[1], distance: config.view[2] });
    this.watchPage(canvas);
    if (config.unknownSource !== null) this.problems.report(unknownSource(config.unknownSource));
    // A browser opens neither a file nor a screen without a click.
    else if (config.autostart && (config.source === "camera" || config.source === "sample")) void this.start(config.source);
  }

  /** Opens a source and streams it. The current one goes on until then. */
  private async start(kind: SourceKind, file?: File): Promise<void> {
    this.store.set({ source: kind, starting: true });
    let opened: Opened | null;
    try {
      opened = await this.sources.start(kind, file, this.store.get().settings);
    } catch (error) {
      this.goBack();
      this.problems.report(sourceFailed(error));
      return;
    }
    // Another one was started meanwhile, or this one given up.
    if (opened === null) return;
    this.problems.settle("started");
    if (kind === "camera" || kind === "sample") remember({ ...recall(), source: kind });
    this.store.set({ source: kind, starting: false, running: true, sourceName: opened.name });
    this.preview.show(opened, kind === "camera");
    this.watch.begin(kind === "camera", nowMs());
    this.view.player.forgetPivot();
    this.view.statistics.clearWindows();
    this.view.stream.on = !document.hidden;
  }

  /** Gives up what is being opened. */
  private cancel(): void {
    this.sources.cancel();
    this.goBack();
  }

  /** Nothing is being opened any more: the page says what still runs, if anything does. */
  private goBack(): void {
    const { running } = this.sources;
    if (running) this.store.set({ source: running, starting: false });
    else this.stop();
  }

  /** Ends the source. The last frame stays on the screen. */
  private stop(): void {
    this.view.stream.on = false;
    this.sources.stop();
    this.watch.begin(false, nowMs());
    this.problems.dismiss(CAMERA_ASLEEP.code);
    this.store.set({ running: false, starting: false, sourceName: "" });
    this.preview.hide();
  }

  private cameraEnded(): void {
    this.stop();
    this.problems.report(CAMERA_GONE);
  }

  private cameraAsleep(asleep: boolean): void {
    if (asleep) this.problems.report(CAMERA_ASLEEP);
    else this.problems.dismiss(CAMERA_ASLEEP.code);
  }

  private change(patch: Partial<Settings>): void {
    const before = this.store.get().settings;
    const settings = { ...before, ...patch };
    this.store.set({ settings });
    remember({ ...recall(), ...patch });
    this.apply(patch);
    const options = wantedOptions(settings);
    if (JSON.stringify(options) !== JSON.stringify(wantedOptions(before))) this.view.stream.configure(options);
    const reopens = settings.captureSide !== before.captureSide || settings.camera !== before.camera;
    if (reopens && this.sources.running === "camera" && !this.store.get().starting) void this.start("camera");
  }

  private apply(patch: Partial<Settings>): void {
    const { settings } = this.store.get();
    const { orbit, axes, stage } = this.view.player;
    const { captureSide: side, maxFps, jpegQuality: quality, mirror } = settings;
    this.line.configure({ side, maxFps, quality, mirror });
    if (patch.exactOrder !== undefined) stage.exactOrder = patch.exactOrder;
    axes.group.visible = settings.axes;
    orbit.sway = settings.sway;
    orbit.free = settings.freeOrbit;
    orbit.aim({});
    this.preview.mirrored = settings.mirror;
    this.view.player.invalidate();
  }

  /** While nobody can see the picture, the server should not compute it. */
  private watchPage(canvas: HTMLCanvasElement): void {
    window.addEventListener("pagehide", () => this.stop());
    navigator.mediaDevices?.addEventListener?.("devicechange", () => {
      // Names that are known stay known when the browser hides them again.
      void listCameras().then((cameras) => cameras.length > 0 && this.store.set({ cameras }));
    });
    document.addEventListener("visibilitychange", () => {
      this.watch.picture(nowMs());
      // What came while nobody looked was not drawn.
      if (!document.hidden) this.line.again();
      this.view.stream.on = this.store.get().running && !document.hidden;
      if (document.hidden) this.view.player.skip();
    });
    canvas.addEventListener("webglcontextlost", () => {
      this.stop();
      this.problems.report(GRAPHICS_LOST);
    });
  }

  private async download(): Promise<void> {
    try {
      const { jpeg } = await this.view.stream.lastCapture();
      await savePly(jpeg, this.store.get().options, this.access);
    } catch (error) {
      this.problems.report(downloadFailed(error instanceof Error ? error.message : String(error)));
    }
  }
}

function asset(name: string): URL {
  return new URL(`static/${name}`, document.baseURI);
}
