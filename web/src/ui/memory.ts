// What a person chose, kept for the next visit. Browsers may refuse to keep anything: then nothing is, and nothing else changes.

import { DEFAULT_SETTINGS, type Remembered, type Settings, SOURCE_KINDS } from "../config.js";

const KEY = "splatcast.settings";
/** What belongs to one look at one scene, or says more than a person would expect to be kept. */
const FORGOTTEN: readonly (keyof Settings)[] = ["axes", "freeOrbit", "stereo"];

/** What was chosen on an earlier visit. What can't be read, or is of the wrong type, is as if never chosen. */
export function recall(): Remembered {
  try {
    return readRemembered(JSON.parse(localStorage.getItem(KEY) ?? "{}"));
  } catch {
    return {};
  }
}

/** Keeps these choices, where the browser lets us. */
export function remember(choices: Remembered): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(withoutDefaults(choices)));
  } catch {
    // Private windows, full disks, blocked storage: the choices last as long as the page.
  }
}

/** The choices in what was stored, by this version or another, or by somebody else. Pure. */
export function readRemembered(stored: unknown): Remembered {
  if (typeof stored !== "object" || stored === null) return {};
  const known = stored as Record<string, unknown>;
  const choices: Record<string, unknown> = {};
  for (const [key, usual] of Object.entries(DEFAULT_SETTINGS)) {
    if (key in known && !isForgotten(key) && fits(key, known[key], usual)) choices[key] = known[key];
  }
  const source = SOURCE_KINDS.find((kind) => kind === known["source"]);
  // A page can't open a file by itself, and nobody wants to be asked for a screen first thing.
  if (source === "camera" || source === "sample") choices["source"] = source;
  return choices as Remembered;
}

/** Ranges in which a number, or the number in place of a null, must lie. */
const RANGES: Readonly<Record<string, readonly [number, number]>> = {
  captureSide: [64, 1920],
  maxFps: [0.2, 60],
  jpegQuality: [0.1, 1],
  minOpacity: [0, 1],
};

function fits(key: string, value: unknown, usual: unknown): boolean {
  if (key === "representation") return value === "auto" || value === "splats" || value === "points";
  if (key === "adapt") return typeof value === "boolean";
  if (typeof usual === "string") return typeof value === "string" && value.length <= 200;
  if (typeof usual === "boolean") return typeof value === "boolean";
  const [low, high] = RANGES[key] ?? [0, 4_000_000];
  return typeof value === "number" && value >= low && value <= high;
}

function withoutDefaults(choices: Remembered): Remembered {
  const differs = ([key, value]: [string, unknown]): boolean =>
    !isForgotten(key) && value !== (DEFAULT_SETTINGS as Readonly<Record<string, unknown>>)[key];
  return Object.fromEntries(Object.entries(choices).filter(differs)) as Remembered;
}

function isForgotten(key: string): boolean {
  return (FORGOTTEN as readonly string[]).includes(key);
}
