// The menu of sources: kinds, the cameras by name, and the file that is open. Its values are what choosing an entry means.

import { canShareScreen } from "../capture/screen.js";
import { SOURCE_KINDS, type SourceKind } from "../config.js";
import type { State } from "../state.js";
import { make } from "./dom.js";

/** The file that is open: never chosen, but while it is the current entry, choosing “File…” again is a change. */
const OPEN_FILE = "open-file";
const CAMERA_PREFIX = "camera:";

/** What an entry stands for: a source, and of cameras which one. */
export interface SourceChoice {
  kind: SourceKind;
  camera?: string;
}

/** @returns Null for the entry of the open file: it is open already. */
export function choiceOf(value: string): SourceChoice | null {
  if (value.startsWith(CAMERA_PREFIX)) return { kind: "camera", camera: value.slice(CAMERA_PREFIX.length) };
  const kind = SOURCE_KINDS.find((each) => each === value);
  return kind ? { kind } : null;
}

/** An entry: what it means, and its words. */
export type Entry = readonly [value: string, text: string];

/**
 * The entries and which of them is the current one. Pure.
 *
 * @param device Whether it can share its screen, and whether it is one that has a camera on either side.
 */
export function entriesOf(
  state: Pick<State, "source" | "sourceName" | "running" | "cameras" | "camera" | "settings">,
  device: { sharesScreen: boolean; isHandheld: boolean },
): { entries: Entry[]; value: string } {
  const { source, sourceName, running, cameras, camera, settings } = state;
  const wish = settings.camera;
  const byName = cameras.length > 1 ? cameras : [];
  const entries: Entry[] = byName.length > 0 && !device.isHandheld ? [] : [["camera", "Camera"]];
  if (device.isHandheld) {
    entries.push([`${CAMERA_PREFIX}front`, "Front camera"], [`${CAMERA_PREFIX}rear`, "Rear camera"]);
  }
  for (const each of byName) entries.push([CAMERA_PREFIX + each.id, each.label]);
  if (device.sharesScreen) entries.push(["screen", "Screen"]);
  entries.push(["sample", "Sample"]);
  if (source === "file" && running) entries.push([OPEN_FILE, sourceName]);
  entries.push(["file", "File…"]);

  const has = (value: string): boolean => entries.some(([each]) => each === value);
  const values = [`${CAMERA_PREFIX}${wish}`, `${CAMERA_PREFIX}${camera}`, "camera"];
  if (source === "camera") return { entries, value: values.find(has) ?? entries[0]![0] };
  return { entries, value: source === "file" && has(OPEN_FILE) ? OPEN_FILE : source };
}

/** Keeps the menu as the state is. */
export function showEntries(menu: HTMLSelectElement, state: Readonly<State>): void {
  const isHandheld = window.matchMedia("(pointer: coarse)").matches;
  const { entries, value } = entriesOf(state, { sharesScreen: canShareScreen(), isHandheld });
  const words = JSON.stringify(entries);
  // An open menu would lose its place.
  if (menu.dataset["entries"] !== words) {
    menu.dataset["entries"] = words;
    menu.replaceChildren(
      ...entries.map(([each, text]) => {
        const option = make("option", text);
        option.value = each;
        option.hidden = each === OPEN_FILE;
        return option;
      }),
    );
  }
  menu.value = value;
}
