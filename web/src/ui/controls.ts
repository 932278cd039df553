// Buttons, shortcuts and the drop target: every way to tell the viewer what to do, and how they show its state.

import type { Settings, SourceKind } from "../config.js";
import type { State } from "../state.js";
import type { Orbit } from "../view/orbit.js";
import { byId, setText } from "./dom.js";
import { attachGestures, orbitByKey } from "./gestures.js";
import type { Store } from "./store.js";

export interface Commands {
  start(source: SourceKind, file?: File): void;
  stop(): void;
  change(patch: Partial<Settings>): void;
  screenshot(): void;
  download(): void;
  /** The view moved. */
  moved(): void;
}

export function attachControls(store: Store<State>, orbit: Orbit, commands: Commands): void {
  const source = byId<HTMLSelectElement>("source");
  const fileInput = byId<HTMLInputElement>("file");
  const help = byId<HTMLDialogElement>("help");
  const start = (kind: SourceKind): void => (kind === "file" ? fileInput.click() : commands.start(kind));
  const toggleRun = (): void => (store.get().running ? commands.stop() : start(source.value as SourceKind));
  const holdStill = (): void => {
    if (store.get().settings.sway) commands.change({ sway: false });
  };
  const reset = (): void => {
    holdStill();
    orbit.reset();
    commands.moved();
  };
  const toggle = (key: "sway" | "axes"): void => commands.change({ [key]: !store.get().settings[key] });
  const toggleSettings = (): void => {
    const panel = byId("settings");
    panel.hidden = !panel.hidden;
    byId("settings-toggle").setAttribute("aria-expanded", String(!panel.hidden));
  };
  const toggleFullscreen = (): void => {
    // Refused in an iframe that does not allow it: the page then stays as it is.
    const change = document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen?.();
    change?.catch(() => undefined);
  };
  const actions: Record<string, () => void> = {
    start: toggleRun,
    reset,
    sway: () => toggle("sway"),
    axes: () => toggle("axes"),
    screenshot: commands.screenshot,
    download: commands.download,
    fullscreen: toggleFullscreen,
    "settings-toggle": toggleSettings,
    "help-toggle": () => help.showModal(),
  };
  for (const [id, action] of Object.entries(actions)) byId(id).addEventListener("click", action);
  byId("fullscreen").hidden = !document.documentElement.requestFullscreen;
  for (const button of document.querySelectorAll<HTMLButtonElement>("[data-start]")) {
    button.addEventListener("click", () => start(button.dataset["start"] as SourceKind));
  }
  source.addEventListener("change", () => {
    const kind = source.value as SourceKind;
    if (kind === "file" || store.get().running) start(kind);
    else store.set({ source: kind });
  });
  // Closing the file dialog without a choice leaves things as they were.
  fileInput.addEventListener("cancel", () => (source.value = store.get().source));
  fileInput.addEventListener("change", () => {
    const file = fileInput.files?.[0];
    if (file) commands.start("file", file);
    // So that the same file can be chosen again.
    fileInput.value = "";
  });
  for (const radio of representations()) {
    radio.addEventListener("change", () => commands.change({ representation: radio.value as Settings["representation"] }));
  }
  attachGestures(byId("view"), orbit, commands.moved, holdStill);
  attachDrop((file) => commands.start("file", file));

  const shortcuts: Record<string, () => void> = {
    " ": toggleRun,
    r: reset,
    w: actions["sway"]!,
    a: actions["axes"]!,
    p: commands.screenshot,
    d: commands.download,
    f: toggleFullscreen,
    s: toggleSettings,
    h: () => document.body.classList.toggle("bare"),
    "?": () => help.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    // Form controls keep their own keys; Space on a button presses that button.
    if (target.matches("input, select, textarea") || (event.key === " " && target.matches("button, a"))) return;
    // Flying has the same letters, with Shift.
    const shortcut = event.shiftKey && event.key !== "?" ? undefined : shortcuts[event.key.toLowerCase()];
    if (shortcut && !event.repeat) {
      shortcut();
    } else if (orbitByKey(event, orbit)) {
      holdStill();
      commands.moved();
    } else {
      return;
    }
    event.preventDefault();
  });
  store.subscribe((state) => showState(state, source));
}

function representations(): NodeListOf<HTMLInputElement> {
  return document.querySelectorAll<HTMLInputElement>("#representation input");
}

function showState(state: Readonly<State>, source: HTMLSelectElement): void {
  const button = byId<HTMLButtonElement>("start");
  setText(byId("start-text"), state.starting ? "Opening…" : state.running ? "Stop" : "Start");
  button.disabled = state.starting;
  button.classList.toggle("running", state.running);
  source.value = state.source;
  byId("welcome").hidden = state.running || state.shown !== null;
  for (const each of document.querySelectorAll<HTMLButtonElement>("[data-start]")) each.disabled = state.starting;
  byId("sway").setAttribute("aria-pressed", String(state.settings.sway));
  byId("axes").setAttribute("aria-pressed", String(state.settings.axes));
  byId<HTMLButtonElement>("screenshot").disabled = byId<HTMLButtonElement>("download").disabled = !state.shown;
  const kinds = state.engine?.kinds ?? [];
  const usual = kinds[0] === "points" ? "points" : "splats";
  const chosen = state.settings.representation === "auto" ? usual : state.settings.representation;
  for (const radio of representations()) {
    radio.checked = radio.value === chosen;
    radio.disabled = kinds.length > 0 && !kinds.some((kind) => (kind === "points") === (radio.value === "points"));
  }
}

function attachDrop(open: (file: File) => void): void {
  const hint = byId("drop-hint");
  // Enter and leave come for every child: only the difference says whether the pointer is over the page.
  let depth = 0;
  const over = (change: number): void => {
    depth = Math.max(0, depth + change);
    hint.hidden = depth === 0;
  };
  document.addEventListener("dragenter", () => over(1));
  document.addEventListener("dragleave", () => over(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(-depth);
    const file = event.dataTransfer?.files[0];
    if (file) open(file);
  });
}
