// Options on their way to the server: if one is out of range it refuses the message, and only its welcome says what the ranges are.

import type { Settings } from "../config.js";
import type { FrameOptions, Limits } from "./messages.js";

/** A stream's first frames have no more splats than this: a slow device shows them at once, and a fast one has all after a few. */
const START_SPLATS = 24_000;

/** What a source asks for: a photo may tell its lens, and have holes. */
export interface SourceWishes {
  /** Field of view across the longer side, degrees; null: nothing is known, nor was of the source before. */
  readonly fovDeg: number | null;
  /** Some of its pixels are transparent: their colours are what the server made of them. */
  readonly transparent: boolean;
  /** It is one picture: it is made in full at once, as nothing comes after it that could grow, or be late. */
  readonly still: boolean;
}

export const NO_WISHES: SourceWishes = { fovDeg: null, transparent: false, still: false };

/** What the settings, and the source, ask of the server. What they leave open is left to the server's defaults. */
export function wantedOptions(settings: Settings, source: SourceWishes = NO_WISHES): Partial<FrameOptions> {
  const options = {
    representation: settings.representation,
    colors: source.transparent ? ("jpeg" as const) : ("own" as const),
    fov_deg: settings.fovDeg ?? source.fovDeg,
    max_splats: settings.maxSplats,
    inference_px: settings.inferencePx,
    min_opacity: settings.minOpacity,
    adapt: source.still ? false : settings.adapt,
    min_splats: settings.minSplats,
    min_inference_px: settings.minInferencePx,
    start_splats: source.still ? 0 : START_SPLATS,
  };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== null));
}

/**
 * Whether frames are made in another way: how a stream starts is nothing that a picture on the screen could show, and one that adapting
 * has made with less than was asked for is made again in any case.
 */
export function changesFrames(before: Partial<FrameOptions>, after: Partial<FrameOptions>): boolean {
  const shown = ({ start_splats: _, adapt: __, ...options }: Partial<FrameOptions>): string => JSON.stringify(options);
  return shown(before) !== shown(after);
}

/** What hello may carry: everything but numbers, which wait for the limits. */
export function withoutNumbers(options: Partial<FrameOptions>): Partial<FrameOptions> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => typeof value !== "number"));
}

/** The same options, with every number within the range that the server or the protocol sets. */
export function withinLimits(options: Partial<FrameOptions>, limits: Limits): Partial<FrameOptions> {
  const ranges: Record<string, readonly [low: number, high: number]> = {
    max_splats: [1, limits.max_splats],
    min_opacity: [0, 1],
    border: [0, 0.45],
    depth_percentile: [1, 100],
    calm: [0, 1],
    behind_deg: [0, 30],
    inference_px: [0, limits.max_inference_px],
    fov_deg: [0, 170],
    sh_degree: [0, 2],
    min_splats: [1, limits.max_splats],
    min_inference_px: [1, limits.max_inference_px],
    start_splats: [0, limits.max_splats],
  };
  const clamp = ([name, value]: [string, unknown]): [string, unknown] => {
    const range = ranges[name];
    return [name, range && typeof value === "number" ? Math.min(range[1], Math.max(range[0], value)) : value];
  };
  return Object.fromEntries(Object.entries(options).map(clamp));
}
