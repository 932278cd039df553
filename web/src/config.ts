// The page's address → Config. A parameter that can't be read is ignored: a link from elsewhere should still open the page.

import type { FrameOptions } from "./stream/messages.js";
import type { LiftWish } from "./view/lift_choice.js";
import { STEREO, type Stereo } from "./view/stereo.js";

export const SOURCE_KINDS = ["camera", "screen", "sample", "file"] as const;
export type SourceKind = (typeof SOURCE_KINDS)[number];

/** What the page's address asks for. Never changes while the page lives. */
export interface Config {
  /** Source chosen at first. */
  readonly source: SourceKind;
  /** What the address named as a source, if there is no such source. */
  readonly unknownSource: string | null;
  /** Start without a click. */
  readonly autostart: boolean;
  /** Orbit at first: degrees to the right, degrees up, distance relative to the default one. */
  readonly view: readonly [yawDeg: number, pitchDeg: number, distance: number];
  /** Where depth frames are to be lifted. */
  readonly lift: LiftWish;
  /** In a frame of another page: the view alone, without panels. */
  readonly embed: boolean;
  /** Colours of the page; null takes the system's. */
  readonly theme: "light" | "dark" | null;
  /** Settings that differ from the defaults. */
  readonly settings: Partial<Settings>;
  /** WebSocket of the server. */
  readonly socketUrl: string;
}

/** What a person sets in the panel. */
export interface Settings {
  /** Splats (native or lifted), points, or the model's default. */
  representation: FrameOptions["representation"];
  /** Which camera: empty for any, `front`, `rear`, its id, or a part of its name. */
  camera: string;
  /** Longest side of the picture that is sent, pixels; the other follows. */
  captureSide: number;
  /** Frames sent per second, at most. */
  maxFps: number;
  /** JPEG quality, 0..1. */
  jpegQuality: number;
  /** Longest side of the picture the model works on, pixels: its detail. 0 leaves it to the model; null takes the server's default. */
  inferencePx: number | null;
  /** Splat budget of a frame; null takes the server's default. */
  maxSplats: number | null;
  /** Whether the server may lower it, and the model's resolution, to keep the picture recent; null takes the server's default. */
  adapt: boolean | null;
  /** Splat budget below which it may not go; null takes the server's default. */
  minSplats: number | null;
  /** The same for the model's resolution, pixels. */
  minInferencePx: number | null;
  /** The camera's field of view across the picture's longer side, degrees; null: a photo's own, or the model's usual one. */
  fovDeg: number | null;
  /** Gaussians fainter than this are not sent; null takes the server's default. */
  minOpacity: number | null;
  /** Each frame waits for its own depth sort; otherwise it is shown at once in the last frame's order, wrong at moving edges. */
  exactOrder: boolean;
  /** Mirror the camera, like a selfie: its preview and what is made of it. */
  mirror: boolean;
  /** Axes and the outline of the capture camera. */
  axes: boolean;
  /** Gentle motion that reveals the depth. */
  sway: boolean;
  /** Two pictures side by side, one for each eye. */
  stereo: Stereo;
  /** Width of what is seen relative to the camera's picture. */
  fieldOfView: number;
  /** Orbit without limits. There is nothing behind what the camera saw. */
  freeOrbit: boolean;
}

export const DEFAULT_SETTINGS: Readonly<Settings> = {
  representation: "auto",
  camera: "",
  captureSide: 640,
  maxFps: 30,
  jpegQuality: 0.8,
  inferencePx: null,
  maxSplats: null,
  adapt: null,
  minSplats: null,
  minInferencePx: null,
  fovDeg: null,
  minOpacity: null,
  // Later by one sort (5 to 15 ms on a GPU), but without sparks at moving edges.
  exactOrder: true,
  mirror: false,
  axes: false,
  sway: false,
  stereo: "off",
  fieldOfView: 1,
  freeOrbit: false,
};

/** Settings of a level of detail. Where the server allows less, it is its most. */
export type Preset = Pick<Settings, "captureSide" | "jpegQuality" | "inferencePx" | "maxSplats">;

/** Detail against speed, as names for people. The middle one is the server's own choice. */
export const PRESETS: Readonly<Record<string, Preset>> = {
  fast: { captureSide: 480, jpegQuality: 0.7, inferencePx: 280, maxSplats: null },
  balanced: { captureSide: 640, jpegQuality: 0.8, inferencePx: null, maxSplats: null },
  sharp: { captureSide: 1280, jpegQuality: 0.85, inferencePx: 1008, maxSplats: 4_000_000 },
};

/** The preset that these settings are, if they are one. */
export function presetOf(settings: Preset): string | null {
  const keys = ["captureSide", "jpegQuality", "inferencePx", "maxSplats"] as const;
  return Object.keys(PRESETS).find((name) => keys.every((key) => PRESETS[name]![key] === settings[key])) ?? null;
}

/** Longest sides the panel offers, pixels. */
export const CAPTURE_SIDES = [320, 480, 640, 800, 960, 1280, 1920] as const;

/** What the panel offers of it. */
export const FIELDS_OF_VIEW = [0.5, 1.6] as const;

/** What a person chose on an earlier visit. */
export type Remembered = Partial<Settings> & { readonly source?: SourceKind };

/**
 * @param address The page's whole address. What it names comes before what is remembered.
 */
export function readConfig(address: string, remembered: Remembered = {}): Config {
  const url = new URL(address);
  const query = url.searchParams;
  const socket = new URL("ws", url);
  socket.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  socket.search = socket.hash = "";

  const wanted = query.get("source");
  const named = SOURCE_KINDS.find((kind) => kind === wanted);
  const unknownSource = wanted && !named ? wanted.slice(0, 40) : null;
  const { source: rememberedSource, ...chosen } = remembered;
  const source = named ?? rememberedSource ?? "camera";
  const [yaw = 0, pitch = 0, distance = 1] = (query.get("view") ?? "").split(",").filter(Boolean).map(Number);
  const view =
    [yaw, pitch, distance].every(Number.isFinite) && distance > 0 ? ([yaw, pitch, distance] as const) : ([0, 0, 1] as const);
  // A misspelt source must not switch the camera on.
  const autostart = isOn(query, "autostart") && unknownSource === null;
  const where = query.get("lift");
  const lift = where === "gpu" || where === "worker" ? where : "auto";
  const colours = query.get("theme");
  const theme = colours === "light" || colours === "dark" ? colours : null;
  const [embed, settings] = [isOn(query, "embed"), { ...chosen, ...readSettings(query) }];
  return Object.freeze({ source, unknownSource, autostart, view, lift, embed, theme, settings, socketUrl: socket.href });
}

function isOn(query: URLSearchParams, name: string): boolean {
  return query.has(name) && query.get(name) !== "0";
}

/** The settings among the parameters, each within its bounds. */
export function readSettings(query: URLSearchParams): Partial<Settings> {
  const settings: Partial<Settings> = {};
  const number = (name: string, low: number, high: number, use: (value: number) => void): void => {
    const text = query.get(name);
    const value = Number(text);
    if (text && Number.isFinite(value)) use(Math.min(high, Math.max(low, value)));
  };
  // `width` is what it was called while it was one.
  for (const name of ["width", "size"]) number(name, 64, 1920, (value) => (settings.captureSide = Math.round(value)));
  number("inference_px", 0, 4096, (value) => (settings.inferencePx = Math.round(value)));
  number("fps", 0.2, 60, (value) => (settings.maxFps = value));
  number("quality", 0.1, 1, (value) => (settings.jpegQuality = value));
  number("max_splats", 1, 4_000_000, (value) => (settings.maxSplats = Math.round(value)));
  number("min_splats", 1, 4_000_000, (value) => (settings.minSplats = Math.round(value)));
  number("min_inference_px", 1, 4096, (value) => (settings.minInferencePx = Math.round(value)));
  number("fov_deg", 1, 170, (value) => (settings.fovDeg = value));
  number("min_opacity", 0, 1, (value) => (settings.minOpacity = value));
  number("field_of_view", ...FIELDS_OF_VIEW, (value) => (settings.fieldOfView = value));
  const representation = query.get("representation");
  if (representation === "auto" || representation === "splats" || representation === "points") {
    settings.representation = representation;
  }
  const stereo = STEREO.find((each) => each === query.get("stereo"));
  if (stereo) settings.stereo = stereo;
  const flags = {
    adapt: "adapt",
    exact: "exactOrder",
    mirror: "mirror",
    axes: "axes",
    sway: "sway",
    free_orbit: "freeOrbit",
  } as const;
  for (const [name, key] of Object.entries(flags)) if (query.has(name)) settings[key] = isOn(query, name);
  const detail = PRESETS[query.get("detail") ?? ""];
  if (detail) Object.assign(settings, detail);
  const camera = query.get("camera");
  if (camera !== null) settings.camera = camera.slice(0, 200);
  return settings;
}
