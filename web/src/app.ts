// Wires the parts: sources → capture worker → socket worker → screen, the state they share, and the controls.

import { listCameras } from "./capture/camera.js";
import { checkReadBack } from "./capture/read_back.js";
import { CaptureLine, type Opened } from "./capture/source.js";
import { Sources } from "./capture/sources.js";
import { Watch } from "./capture/watch.js";
import { nowMs } from "./clock.js";
import type { Config, Settings, SourceKind } from "./config.js";
import { attachEmbed } from "./embed.js";
import { LiveView } from "./live_view.js";
import { isKept } from "./recording/file_names.js";
import { Invitation } from "./recording/invitation.js";
import { Keeping } from "./recording/keeping.js";
import { Rooms } from "./rooms/rooms.js";
import { attachSharing } from "./rooms/share_dialog.js";
import { initialState, type State } from "./state.js";
import type { Access } from "./stream/access.js";
import { NO_WISHES, type SourceWishes, wantedOptions } from "./stream/options.js";
import type { DecodedFrame } from "./stream/thread.js";
import { attachControls } from "./ui/controls.js";
import { attachCopying } from "./ui/copying.js";
import { byId } from "./ui/dom.js";
import { fetchSmall, takeEarly } from "./ui/early.js";
import { keepFocus } from "./ui/focus.js";
import { Hud } from "./ui/hud.js";
import { attachKeeping } from "./ui/keeping_controls.js";
import { recall, remember } from "./ui/memory.js";
import { Panels } from "./ui/panels.js";
import { Preview } from "./ui/preview.js";
import { ProblemCards } from "./ui/problem_cards.js";
import {
  CAMERA_ASLEEP,
  CAMERA_GONE,
  GRAPHICS_LOST,
  headsetFailed,
  sourceFailed,
  unknownSource,
  workerFailed,
} from "./ui/problem_texts.js";
import { Problems } from "./ui/problems.js";
import { reportText } from "./ui/report.js";
import { SettingsPanel } from "./ui/settings.js";
import { Store } from "./ui/store.js";
import { type HeadsetMode, headsetModes } from "./view/headset.js";
import { drawsInSoftware } from "./view/lift_choice.js";
import { swaysAtFirst } from "./view/orbit.js";

export class App {
  readonly store: Store<State>;
  readonly view: LiveView;
  private readonly problems: Problems;
  private readonly preview = new Preview();
  private readonly line: CaptureLine;
  private readonly sources: Sources;
  private readonly watch = new Watch((asleep) => this.cameraAsleep(asleep));
  private readonly keeping: Keeping;
  private wishes: SourceWishes = NO_WISHES;
  private usualFovDeg: number | null = null;

  /** @throws Error If the browser has no WebGL2. */
  constructor(config: Config, access: Access) {
    this.store = new Store(initialState(config));
    this.problems = new Problems(this.store);
    const canvas = byId<HTMLCanvasElement>("view");
    this.view = new LiveView(canvas, workerUrl("socketWorker"), this.store, this.problems, access, config.lift);
    const { player, stream, statistics } = this.view;
    this.watchMotion(config);

    const { port1, port2 } = new MessageChannel();
    this.line = new CaptureLine(workerUrl("captureWorker"), port2, (why) => this.problems.report(workerFailed(why)));
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
    const rooms = new Rooms(this.store, stream);
    this.view.rooms = rooms;
    attachSharing(this.store, rooms, () => access.known);
    this.keeping = new Keeping(this.store, this.view, this.problems, () => this.streamIfWanted());
    attachKeeping(this.store, this.keeping, () => this.keeping.replay.close());
    attachControls(this.store, player.orbit, {
      start: (kind, file) => void this.start(kind, file),
      stop: () => (this.store.get().starting ? this.cancel() : this.stop()),
      report: (problem) => this.problems.report(problem),
      change: (patch) => this.change(patch),
      screenshot: () => this.keeping.savePicture(),
      download: () => this.keeping.savePly(),
      headset: (mode) => void this.toggleHeadset(mode),
      moved: () => player.invalidate(),
    });
    this.watchHeadsets();
    this.apply(this.store.get().settings);
    player.orbit.aim({ yawDeg: config.view[0], pitchDeg: config.view[1], distance: config.view[2] });
    this.watchPage(canvas);
    const panels = new Panels(() => player.invalidate());
    player.room = (aspect) => panels.room(aspect);
    this.store.subscribe(keepFocus());
    this.store.subscribe(({ engine, replay }) => {
      player.orbit.around = (replay ? replay.engine : engine)?.around_deg ?? 0;
    });
    attachCopying(() => this.report());
    if (config.theme) document.documentElement.dataset["theme"] = config.theme;
    document.body.classList.toggle("embed", config.embed);
    attachEmbed(this.store, {
      start: (kind) => void this.start(kind),
      stop: () => this.stop(),
      view: (pose) => {
        player.orbit.aim(pose);
        player.invalidate();
      },
      change: (patch) => this.change(patch),
    });
    // From here on every button does something.
    for (const id of ["welcome", "dock"]) byId(id).inert = false;
    const early = takeEarly();
    if (early) void this.start(early.kind, early.file);
    else if (config.unknownSource !== null) this.problems.report(unknownSource(config.unknownSource));
    // A browser opens neither a file nor a screen without a click.
    else if (config.autostart && (config.source === "camera" || config.source === "sample")) void this.start(config.source);
    if (!this.store.get().starting) this.invite();
    void checkReadBack().then((problem) => problem && this.problems.report(problem));
  }

  /** Until somebody starts something, the sample moves; for people who want less motion it stands still. */
  private invite(): void {
    if (this.store.get().watching) return;
    const { stream, player } = this.view;
    const host = {
      post: (question: Parameters<typeof stream.read>[0]) => stream.read(question),
      show: (frame: DecodedFrame) => player.show(frame),
      load: () => fetchSmall("static/sample.splatcast"),
    };
    this.view.invitation = new Invitation(this.store, host, !player.orbit.still);
    void this.view.invitation.begin();
  }

  /** Opens a source and streams it. The current one goes on until then. */
  private async start(kind: SourceKind, file?: File): Promise<void> {
    // Who watches sends nothing; a recording may be opened all the same.
    if (this.store.get().watching && !(file && isKept(file.name))) return;
    if (file && isKept(file.name)) {
      this.stop();
      this.keeping.replay.close();
      this.keeping.open(file);
      return;
    }
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
    this.keeping.replay.close();
    this.problems.settle("started");
    if (kind === "camera" || kind === "sample") remember({ ...recall(), source: kind });
    this.store.set({ source: kind, starting: false, running: true, sourceName: opened.name });
    this.wishFor(opened);
    this.preview.show(opened, kind === "camera");
    this.watch.begin(kind === "camera", nowMs());
    this.view.player.forgetPivot();
    this.view.statistics.clearWindows();
    this.streamIfWanted();
  }

  /** Asks for what this source needs, and no longer for what the one before did. */
  private wishFor({ fovDeg = 0, transparent = false, still = false }: Opened): void {
    const { options, settings } = this.store.get();
    // What the server does when nobody asks for a lens, once one was asked for.
    if (fovDeg && this.usualFovDeg === null) this.usualFovDeg = options.fov_deg ?? 0;
    const before = wantedOptions(settings, this.wishes);
    this.wishes = { fovDeg: fovDeg || this.usualFovDeg, transparent, still };
    const wanted = wantedOptions(settings, this.wishes);
    if (JSON.stringify(wanted) !== JSON.stringify(before)) this.view.stream.configure(wanted);
  }

  /** While nobody can see the picture, or it stands still, the server should not compute it. */
  private streamIfWanted(): void {
    const { running, frozen } = this.store.get();
    this.view.stream.on = running && !frozen && !document.hidden;
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
    this.store.set({ running: false, starting: false, sourceName: "", frozen: false });
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
    const options = wantedOptions(settings, this.wishes);
    if (JSON.stringify(options) !== JSON.stringify(wantedOptions(before, this.wishes))) this.view.stream.configure(options);
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
    this.view.player.fieldOfView = settings.fieldOfView;
    this.view.player.stereo = settings.stereo;
    orbit.free = settings.freeOrbit;
    orbit.aim({});
    this.preview.mirrored = settings.mirror;
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

  /** A headset may be put on, or plugged in, while the page is open. */
  private watchHeadsets(): void {
    const look = (): void => void headsetModes().then((headsets) => this.store.set({ headsets }));
    navigator.xr?.addEventListener("devicechange", look);
    look();
  }

  private async toggleHeadset(mode: HeadsetMode): Promise<void> {
    const { headset } = this.view.player;
    try {
      await (headset.isOn ? headset.leave() : headset.enter(mode));
    } catch (error) {
      this.problems.report(headsetFailed(error));
    }
  }

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
      this.streamIfWanted();
      if (document.hidden) this.view.player.skip();
    });
    canvas.addEventListener("webglcontextlost", () => this.problems.report(GRAPHICS_LOST));
    canvas.addEventListener("webglcontextrestored", () => {
      this.problems.dismiss(GRAPHICS_LOST.code);
      // What came meanwhile was not drawn.
      this.line.again();
    });
    for (const change of ["online", "offline"] as const) window.addEventListener(change, () => this.view.stream.probe());
    document.addEventListener("visibilitychange", () => !document.hidden && this.view.stream.probe());
  }

  /** What somebody who mends things would ask for. */
  private report(): string {
    const { player, statistics } = this.view;
    return reportText(this.store.get(), statistics.at(nowMs()), this.problems.past, {
      userAgent: navigator.userAgent,
      renderer: player.stage.rendererName,
      window: `${innerWidth} × ${innerHeight} at ${devicePixelRatio}`,
      address: location.href,
      atIso: new Date().toISOString(),
    });
  }
}

/** The page says what the build has called its workers. */
function workerUrl(name: "socketWorker" | "captureWorker"): URL {
  const path = document.querySelector<HTMLElement>("[data-viewer]")?.dataset[name] ?? "";
  return new URL(path, document.baseURI);
}
