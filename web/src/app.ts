// Wires the parts: sources → capture worker → socket worker → player, with the state between them.

import { isVideo } from "./capture/file.js";
import { CaptureLine, SourceError } from "./capture/source.js";
import { Sources } from "./capture/sources.js";
import { nowMs } from "./clock.js";
import { DEFAULT_SETTINGS } from "./config.js";
import { Tally } from "./figures/tally.js";
import type { Access } from "./stream/access.js";
import type { FrameOptions } from "./stream/messages.js";
import { Stream } from "./stream/stream.js";
import type { Config, DecodedFrame, FromSocket, Settings, SourceKind, State } from "./types.js";
import { attachControls } from "./ui/controls.js";
import { byId, saveAs, setText, timedName } from "./ui/dom.js";
import { Hud } from "./ui/hud.js";
import { ProblemCards } from "./ui/problem_cards.js";
import { SettingsPanel } from "./ui/settings.js";
import { Store } from "./ui/store.js";
import { Player } from "./view/player.js";

export class App {
  readonly store: Store<State>;
  readonly tally = new Tally();
  readonly player: Player;
  readonly stream: Stream;
  private readonly line: CaptureLine;
  private readonly problems: ProblemCards;
  private readonly sources: Sources;
  private everConnected = false;

  /** @throws Error Where the browser has no WebGL2. */
  constructor(
    config: Config,
    private readonly access: Access,
  ) {
    this.store = new Store<State>({
      connection: "connecting",
      connectionText: "connecting",
      source: config.source,
      running: false,
      starting: false,
      sourceName: "",
      engine: null,
      limits: null,
      options: {},
      settings: { ...DEFAULT_SETTINGS, ...config.settings },
      problems: [],
      shown: null,
    });
    this.problems = new ProblemCards(this.store, {
      startSample: () => void this.start("sample"),
      reconnect: () => this.stream.reconnect(),
      authorize: (token) => {
        this.access.set(token);
        this.stream.authorize(this.access.subprotocols);
      },
    });
    this.player = new Player(byId<HTMLCanvasElement>("view"), {
      shown: (frame) => this.shown(frame, nowMs()),
      superseded: (frame) => {
        this.tally.counts.supersededInClient++;
        this.stream.skipped(frame);
        this.stream.recycle(frame.words.buffer);
      },
      failed: (frame, error) => this.notDrawn(frame, error),
      freed: (buffer) => this.stream.recycle(buffer),
    });
    this.player.orbit.still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const broken = (message: string): void =>
      this.problems.report({
        code: "worker_failed",
        title: "Part of the viewer failed",
        text: `${message}. Reload the page.`,
        until: null,
        blocks: true,
      });
    this.stream = new Stream(asset("socket.worker.js"), (message) => this.receive(message), broken);
    const { port1, port2 } = new MessageChannel();
    this.line = new CaptureLine(asset("capture.worker.js"), port2, broken);
    const previews = { video: byId<HTMLVideoElement>("preview-video"), canvas: byId<HTMLCanvasElement>("preview-canvas") };
    this.sources = new Sources(this.line, previews, access, () => this.cameraEnded());
    this.stream.connect(config.socketUrl, access.subprotocols, this.wantedOptions(), port1);

    new Hud(this.store, () => this.tally.stats(nowMs()));
    new SettingsPanel(this.store, (patch) => this.change(patch));
    attachControls(this.store, this.player.orbit, {
      start: (kind, file) => void this.start(kind, file),
      stop: () => this.stop(),
      change: (patch) => this.change(patch),
      screenshot: () => this.saveScreenshot(),
      download: () => void this.download(),
      moved: () => this.player.invalidate(),
    });
    this.apply(this.store.get().settings);
    this.player.orbit.aim({ yawDeg: config.view[0], pitchDeg: config.view[1], distance: config.view[2] });
    window.addEventListener("pagehide", () => this.stop());
    // Nobody looks: the server should not compute for nobody.
    document.addEventListener("visibilitychange", () => {
      this.stream.on = this.store.get().running && !document.hidden;
      if (document.hidden) this.player.skip();
    });
    byId("view").addEventListener("webglcontextlost", () => {
      const text =
        "The graphics driver was reset, or had too little memory. Reload the page; a smaller splat budget needs less.";
      this.problems.report({ code: "graphics_lost", title: "The 3D view was lost", text, until: null, blocks: true });
      this.stop();
    });
    if (config.autostart && config.source !== "file") void this.start(config.source);
  }

  /** Opens a source and streams it, in place of the present one. */
  async start(kind: SourceKind, file?: File): Promise<void> {
    this.stop();
    this.store.set({ source: kind, starting: true });
    let name: string | null;
    try {
      name = await this.sources.start(kind, file, this.store.get().settings);
    } catch (error) {
      this.store.set({ starting: false });
      const { code, title } =
        error instanceof SourceError ? error : { code: "source_failed", title: "The source could not be opened" };
      this.problems.report({ code, title, text: error instanceof Error ? error.message : String(error), until: "started" });
      return;
    }
    // Another one was started meanwhile, or this one stopped.
    if (name === null) return;
    this.problems.settle("started");
    this.store.set({ starting: false, running: true, sourceName: name });
    this.showPreview(kind === "camera" || (file !== undefined && isVideo(file)) ? "video" : "canvas");
    this.player.forgetPivot();
    this.tally.clearWindows();
    this.stream.on = !document.hidden;
  }

  /** Ends the source. The last frame stays on the screen. */
  stop(): void {
    this.stream.on = false;
    this.sources.stop();
    this.store.set({ running: false, starting: false, sourceName: "" });
    this.showPreview(null);
  }

  private cameraEnded(): void {
    this.stop();
    this.problems.report({
      code: "camera_gone",
      title: "The camera went away",
      text: "It was unplugged, or its permission was withdrawn. Press Start when it is back.",
      until: "started",
    });
  }

  private change(patch: Partial<Settings>): void {
    const before = this.store.get().settings;
    this.store.set({ settings: { ...before, ...patch } });
    this.apply(patch);
    const options: (keyof Settings)[] = ["representation", "maxSplats", "minOpacity", "adapt", "minSplats", "minInferencePx"];
    if (options.some((key) => key in patch)) this.stream.configure(this.wantedOptions());
    if ("captureWidth" in patch && this.store.get().running && this.store.get().source === "camera") void this.start("camera");
  }

  private apply(patch: Partial<Settings>): void {
    const { settings } = this.store.get();
    const { orbit, helpers, stage } = this.player;
    this.line.configure({ width: settings.captureWidth, maxFps: settings.maxFps, quality: settings.jpegQuality });
    if (patch.exactOrder !== undefined) stage.exactOrder = patch.exactOrder;
    helpers.group.visible = settings.axes;
    orbit.sway = settings.sway;
    orbit.free = settings.freeOrbit;
    orbit.aim({});
    byId("preview").classList.toggle("mirrored", settings.mirrorPreview);
    this.player.invalidate();
  }

  private wantedOptions(): Partial<FrameOptions> {
    const { settings } = this.store.get();
    const options = {
      representation: settings.representation,
      max_splats: settings.maxSplats,
      min_opacity: settings.minOpacity,
      adapt: settings.adapt,
      min_splats: settings.minSplats,
      min_inference_px: settings.minInferencePx,
    };
    return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== null));
  }

  private receive(message: Exclude<FromSocket, { type: "lastCapture" }>): void {
    switch (message.type) {
      case "connection":
        this.connectionChanged(message);
        break;
      case "welcome":
        this.store.set({ engine: message.engine, limits: message.limits, options: message.options });
        break;
      case "configured":
        this.store.set({ options: message.options });
        break;
      case "sent":
        this.tally.counts.sent++;
        break;
      case "frame":
        this.tally.counts.received++;
        this.player.show(message.frame);
        break;
      case "bad":
        this.tally.counts.badReplies++;
        this.problems.report({ code: "bad_reply", title: "A reply was not understood", text: message.message, until: "shown" });
        break;
      case "dropped":
        this.tally.drop(message.code, message.count);
        break;
      case "error":
        this.refused(message);
        break;
    }
  }

  private connectionChanged(message: FromSocket & { type: "connection" }): void {
    this.tally.counts.reconnects = message.reconnects;
    this.store.set({ connection: message.status, connectionText: message.text });
    if (message.status === "open") {
      this.everConnected = true;
      this.problems.settle("connected");
    } else if (message.status === "waiting" && !this.store.get().problems.some((each) => each.until === "connected")) {
      const text = this.everConnected
        ? "The connection was lost. The viewer tries again by itself and goes on where it was."
        : "There is no answer. The viewer tries again by itself; check that the server runs and that this address is right.";
      this.problems.report({ code: "server_gone", title: "The server can't be reached", text, until: "connected" });
    }
  }

  private refused(message: FromSocket & { type: "error" }): void {
    if (message.seq !== null) this.tally.counts.refused++;
    if (message.code === "unauthorized") {
      this.askForToken();
      return;
    }
    const titles: Record<string, string> = {
      protocol_mismatch: "Viewer and server don't fit together",
      no_common_codec: "Viewer and server don't fit together",
      no_welcome: "The server does not answer the viewer",
      server_full: "The server is full",
      too_many_from_address: "Too many viewers at your address",
      forbidden_origin: "The server does not serve this page",
      forbidden_host: "The server does not serve this page",
      too_many_messages: "This viewer sent too much",
      internal: "The server failed",
      too_many_bad_messages: "The server did not understand this viewer",
    };
    const title = titles[message.code] ?? (message.seq === null ? "The server refused something" : "A picture was refused");
    const advices: Record<string, string> = {
      protocol_mismatch: " Reload the page.",
      no_common_codec: " Reload the page.",
      too_many_bad_messages: " Reload the page.",
      too_many_messages: " Reload the page.",
      forbidden_origin: " Open the viewer at the server's own address.",
      forbidden_host: "",
    };
    const stays = message.code in advices;
    const advice = advices[message.code] ?? "";
    const until = stays ? null : message.fatal ? "connected" : message.seq === null ? null : "shown";
    this.problems.report({ code: message.code, title, text: message.message + advice, until, blocks: stays });
  }

  private askForToken(): void {
    const text = this.access.known
      ? "That token is not the server's. Check it, or ask whoever runs the server."
      : "Ask whoever runs it. The token is kept in this tab only.";
    // So that a reload does not offer it again.
    this.access.set(null);
    this.problems.report({
      code: "unauthorized",
      title: "This server asks for a token",
      text,
      until: "connected",
      ask: "token",
    });
  }

  private shown(frame: DecodedFrame, shownMs: number): void {
    this.stream.shown(frame, shownMs);
    this.tally.shown(frame, shownMs);
    const { seq, count, bytes, codec, kind, label, camera, pruned, quality, timings_ms: timingsMs } = frame;
    this.store.set({ shown: { seq, count, bytes, codec, kind, label, camera, timingsMs, pruned, quality } });
    this.problems.settle("shown");
  }

  private notDrawn(frame: DecodedFrame | null, error: unknown): void {
    if (frame) {
      this.tally.counts.notDrawn++;
      this.stream.skipped(frame);
    }
    const text = `The browser says: ${String(error)}. The next picture is tried again; if this stays, reload the page.`;
    this.problems.report({ code: "not_drawn", title: "A picture could not be drawn", text, until: "shown" });
  }

  private showPreview(which: "video" | "canvas" | null): void {
    byId("preview").hidden = which === null;
    byId("preview-video").hidden = which !== "video";
    byId("preview-canvas").hidden = which !== "canvas";
    setText(byId("preview-name"), this.store.get().sourceName);
  }

  private saveScreenshot(): void {
    const picture = this.player.capture(false);
    // What no splat covers is transparent; a saved picture gets the page's ground.
    const context = picture.getContext("2d")!;
    context.globalCompositeOperation = "destination-over";
    context.fillStyle = "#10141d";
    context.fillRect(0, 0, picture.width, picture.height);
    picture.toBlob((blob) => blob && saveAs(blob, timedName("png")));
  }

  private async download(): Promise<void> {
    const failed = (text: string): void =>
      this.problems.report({ code: "download_failed", title: "The file could not be made", text, until: null });
    const { jpeg } = await this.stream.lastCapture();
    if (!jpeg) return failed("No picture was sent yet. Press Start first.");
    const { options } = this.store.get();
    const query = new URLSearchParams({ format: "ply" });
    for (const key of ["max_splats", "min_opacity"] as const)
      if (options[key] !== undefined) query.set(key, String(options[key]));
    try {
      const response = await this.access.fetch(`api/splat?${query}`, {
        method: "POST",
        headers: { "content-type": "image/jpeg" },
        body: jpeg,
      });
      if (!response.ok) return failed(await reasonOf(response));
      saveAs(await response.blob(), timedName("ply"));
    } catch (error) {
      failed(`The server can't be reached (${String(error)}).`);
    }
  }
}

async function reasonOf(response: Response): Promise<string> {
  const body: unknown = await response.json().catch(() => null);
  const message = body && typeof body === "object" && "message" in body ? String(body.message) : "";
  return message || `The server answered ${response.status}.`;
}

function asset(name: string): URL {
  return new URL(`static/${name}`, document.baseURI);
}
