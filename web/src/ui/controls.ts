// Buttons, shortcuts and the drop target: every way to tell the viewer what to do, and how they show its state.

import type { Settings, SourceKind } from "../config.js";
import type { Problem, State } from "../state.js";
import type { HeadsetMode } from "../view/headset.js";
import type { Orbit } from "../view/orbit.js";
import { nextStereo, type Stereo } from "../view/stereo.js";
import { byId, setText } from "./dom.js";
import { attachGestures, orbitByKey } from "./gestures.js";
import { keepsKey } from "./keys.js";
import { NOT_A_FILE } from "./problem_texts.js";
import { choiceOf, showEntries } from "./source_menu.js";
import type { Store } from "./store.js";
import { attachPanels } from "./tray.js";

export interface Commands {
  start(source: SourceKind, file?: File): void;
  /** Gives up what is being opened, else ends what runs. */
  stop(): void;
  report(problem: Problem): void;
  change(patch: Partial<Settings>): void;
  screenshot(): void;
  download(): void;
  /** Enters the headset, or leaves it. */
  headset(mode: HeadsetMode): void;
  /** The view moved. */
  moved(): void;
}

export function attachControls(store: Store<State>, orbit: Orbit, commands: Commands): void {
  const source = byId<HTMLSelectElement>("source");
  const fileInput = byId<HTMLInputElement>("file");
  const help = byId<HTMLDialogElement>("help");
  const start = (kind: SourceKind): void => (kind === "file" ? fileInput.click() : commands.start(kind));
  const toggleRun = (): void => {
    const { running, starting } = store.get();
    if (running || starting) commands.stop();
    else start(store.get().source);
  };
  const holdStill = (): void => {
    if (store.get().settings.sway) commands.change({ sway: false });
  };
  const reset = (): void => {
    holdStill();
    orbit.reset();
    commands.moved();
  };
  const toggle = (key: "sway" | "axes"): void => commands.change({ [key]: !store.get().settings[key] });
  const { toggleSettings, toggleBare, closeOne } = attachPanels();
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
    stereo: () => commands.change({ stereo: nextStereo(store.get().settings.stereo) }),
    vr: () => commands.headset("vr"),
    ar: () => commands.headset("ar"),
    screenshot: commands.screenshot,
    download: commands.download,
    fullscreen: toggleFullscreen,
    "settings-toggle": toggleSettings,
    hide: toggleBare,
    "help-toggle": () => help.showModal(),
  };
  for (const [id, action] of Object.entries(actions)) byId(id).addEventListener("click", action);
  byId("fullscreen").hidden = !document.documentElement.requestFullscreen;
  for (const button of document.querySelectorAll<HTMLButtonElement>("[data-start]")) {
    button.addEventListener("click", () => start(button.dataset["start"] as SourceKind));
  }
  source.addEventListener("change", () => {
    const choice = choiceOf(source.value);
    const { running, starting, source: before } = store.get();
    if (!choice) return;
    const { kind, camera } = choice;
    // Until a file is chosen, what was chosen before stays, so that choosing “File…” again is a change.
    if (kind === "file") {
      showEntries(source, store.get());
      fileInput.click();
      return;
    }
    // Of two cameras that are exchanged, the change itself opens the other one.
    const isChange = camera !== undefined && camera !== store.get().settings.camera;
    if (isChange) commands.change({ camera });
    if (running || starting) {
      if (!isChange || before !== "camera" || starting) start(kind);
    } else {
      store.set({ source: kind });
    }
  });
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
  attachDrop(
    (file) => commands.start("file", file),
    () => commands.report(NOT_A_FILE),
  );

  const shortcuts: Record<string, () => void> = {
    " ": toggleRun,
    r: reset,
    w: actions["sway"]!,
    a: actions["axes"]!,
    x: actions["stereo"]!,
    p: commands.screenshot,
    d: commands.download,
    f: toggleFullscreen,
    s: toggleSettings,
    h: toggleBare,
    l: () => byId("share").click(),
    "?": () => help.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (event.key === "Escape" ? closeOne() : keepsKey(target, event.key)) return;
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
  if (location.host) byId("server").textContent = location.host;
  store.subscribe((state) => showState(state, source));
}

function representations(): NodeListOf<HTMLInputElement> {
  return document.querySelectorAll<HTMLInputElement>("#representation input");
}

function showState(state: Readonly<State>, source: HTMLSelectElement): void {
  const button = byId<HTMLButtonElement>("start");
  setText(byId("start-text"), state.starting ? "Cancel" : state.running ? "Stop" : "Start");
  button.classList.toggle("running", state.running || state.starting);
  button.setAttribute("aria-busy", String(state.starting));
  showEntries(source, state);
  const isInvited = !state.running && state.shown === null && !state.watching;
  document.body.classList.toggle("watching", state.watching);
  byId("welcome").hidden = !isInvited;
  byId("sample-label").hidden = !state.sample;
  document.body.classList.toggle("sampled", state.sample && isInvited);
  setText(byId("opening"), state.starting ? OPENING[state.source] : "");
  byId("sway").setAttribute("aria-pressed", String(state.settings.sway));
  byId("axes").setAttribute("aria-pressed", String(state.settings.axes));
  for (const id of ["screenshot", "download", "download-spz"]) byId<HTMLButtonElement>(id).disabled = !state.shown;
  showStereo(state.settings.stereo);
  for (const mode of ["vr", "ar"] as const) {
    byId(mode).hidden = !state.headsets.includes(mode);
    byId(mode).setAttribute("aria-pressed", String(state.inside === mode));
  }
  const kinds = state.engine?.kinds ?? [];
  const usual = kinds[0] === "points" ? "points" : "splats";
  const chosen = state.settings.representation === "auto" ? usual : state.settings.representation;
  for (const radio of representations()) {
    radio.checked = radio.value === chosen;
    radio.disabled = kinds.length > 0 && !kinds.some((kind) => (kind === "points") === (radio.value === "points"));
  }
}

const STEREO_WORDS: Readonly<Record<Stereo, string>> = {
  off: "Side by side, for two eyes (X)",
  parallel: "Side by side: parallel (X for cross-eyed)",
  cross: "Side by side: cross-eyed (X for one picture)",
};

function showStereo(stereo: Stereo): void {
  const button = byId("stereo");
  button.setAttribute("aria-pressed", String(stereo !== "off"));
  if (button.title !== STEREO_WORDS[stereo]) button.title = STEREO_WORDS[stereo];
}

/** What is waited for, while a source is being opened. */
const OPENING: Readonly<Record<SourceKind, string>> = {
  camera: "Opening the camera: the browser may ask whether it is allowed.",
  screen: "Choose what to share in the browser's dialog.",
  sample: "Loading the sample.",
  file: "Reading the file.",
};

function attachDrop(open: (file: File) => void, refused: () => void): void {
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
    else if (event.dataTransfer?.types.length) refused();
  });
}
