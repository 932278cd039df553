// The page's address → Config. A parameter that can't be read is ignored: a link from elsewhere should still open the page.

import type { FrameOptions } from "./stream/messages.js";
import type { LiftWish } from "./view/lift_choice.js";

export type SourceKind = "camera" | "sample" | "file";

/** What the page's address asks for. Never changes while the page lives. */
export interface Config {
  /** Source chosen at first. */
  readonly source: SourceKind;
  /** Start without a click. */
  readonly autostart: boolean;
  /** Orbit at first: degrees to the right, degrees up, distance relative to the default one. */
  readonly view: readonly [yawDeg: number, pitchDeg: number, distance: number];
  /** Where depth frames are to be lifted. */
  readonly lift: LiftWish;
  /** Settings that differ from the defaults. */
  readonly settings: Partial<Settings>;
  /** WebSocket of the server. */
  readonly socketUrl: string;
}

/** What a person sets in the panel. */
export interface Settings {
  /** Splats (native or lifted), points, or the model's default. */
  representation: FrameOptions["representation"];
  /** Width of the picture that is sent, pixels; its height follows. */
  captureWidth: number;
  /** Frames sent per second, at most. */
  maxFps: number;
  /** JPEG quality, 0..1. */
  jpegQuality: number;
  /** Splat budget of a frame; null takes the server's default. */
  maxSplats: number | null;
  /** Whether the server may lower it, and the model's resolution, to keep the picture recent; null takes the server's default. */
  adapt: boolean | null;
  /** Splat budget below which it may not go; null takes the server's default. */
  minSplats: number | null;
  /** The same for the model's resolution, pixels. */
  minInferencePx: number | null;
  /** Gaussians fainter than this are not sent; null takes the server's default. */
  minOpacity: number | null;
  /** Each frame waits for its own depth sort; otherwise it is shown at once in the last frame's order, wrong at moving edges. */
  exactOrder: boolean;
  /** Mirror the preview like a selfie. The splats never are. */
  mirrorPreview: boolean;
  /** Axes and the outline of the capture camera. */
  axes: boolean;
  /** Gentle motion that reveals the depth. */
  sway: boolean;
  /** Width of what is seen relative to the camera's picture. */
  fieldOfView: number;
  /** Orbit without limits. There is nothing behind what the camera saw. */
  freeOrbit: boolean;
}

export const DEFAULT_SETTINGS: Readonly<Settings> = {
  representation: "auto",
  captureWidth: 640,
  maxFps: 30,
  jpegQuality: 0.8,
  maxSplats: null,
  adapt: null,
  minSplats: null,
  minInferencePx: null,
  minOpacity: null,
  // Later by one sort (5 to 15 ms on a GPU), but without sparks at moving edges.
  exactOrder: true,
  mirrorPreview: false,
  axes: false,
  sway: false,
  fieldOfView: 1,
  freeOrbit: false,
};

/** Widths the panel offers, pixels. */
export const CAPTURE_WIDTHS = [320, 480, 640, 800, 960, 1280] as const;

/** What the panel offers of it. */
export const FIELDS_OF_VIEW = [0.5, 1.6] as const;

/** @param address The page's whole address. */
export function readConfig(address: string): Config {
  const url = new URL(address);
  const query = url.searchParams;
  const socket = new URL("ws", url);
  socket.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  socket.search = socket.hash = "";

  const settings: Partial<Settings> = {};
  const number = (name: string, low: number, high: number, use: (value: number) => void): void => {
    const text = query.get(name);
    const value = Number(text);
    if (text && Number.isFinite(value)) use(Math.min(high, Math.max(low, value)));
  };
  number("width", 64, 1920, (value) => (settings.captureWidth = Math.round(value)));
  number("fps", 0.2, 60, (value) => (settings.maxFps = value));
  number("quality", 0.1, 1, (value) => (settings.jpegQuality = value));
  number("max_splats", 1, 4_000_000, (value) => (settings.maxSplats = Math.round(value)));
  number("min_splats", 1, 4_000_000, (value) => (settings.minSplats = Math.round(value)));
  number("min_inference_px", 1, 4096, (value) => (settings.minInferencePx = Math.round(value)));
  number("min_opacity", 0, 1, (value) => (settings.minOpacity = value));
  number("field_of_view", ...FIELDS_OF_VIEW, (value) => (settings.fieldOfView = value));
  const representation = query.get("representation");
  if (representation === "auto" || representation === "splats" || representation === "points") {
    settings.representation = representation;
  }
  const flags = {
    adapt: "adapt",
    exact: "exactOrder",
    mirror: "mirrorPreview",
    axes: "axes",
    sway: "sway",
    free_orbit: "freeOrbit",
  } as const;
  for (const [name, key] of Object.entries(flags)) if (query.has(name)) settings[key] = query.get(name) !== "0";

  const wanted = query.get("source");
  const source: SourceKind = wanted === "sample" || wanted === "file" ? wanted : "camera";
  const [yaw = 0, pitch = 0, distance = 1] = (query.get("view") ?? "").split(",").filter(Boolean).map(Number);
  const view =
    [yaw, pitch, distance].every(Number.isFinite) && distance > 0 ? ([yaw, pitch, distance] as const) : ([0, 0, 1] as const);
  const autostart = query.has("autostart") && query.get("autostart") !== "0";
  const where = query.get("lift");
  const lift = where === "gpu" || where === "worker" ? where : "auto";
  return Object.freeze({ source, autostart, view, lift, settings, socketUrl: socket.href });
}
