// Buttons, keys and the bar of a file that plays.

import type { Keeping } from "../recording/keeping.js";
import { SPEEDS } from "../recording/replay_clock.js";
import { filmType } from "../recording/view_film.js";
import type { ReplayState, State } from "../state.js";
import { byId, setText } from "./dom.js";
import type { Store } from "./store.js";

/** @param close Ends the replay: what was the source before is chosen again, but not started. */
export function attachKeeping(store: Store<State>, keeping: Keeping, close: () => void): void {
  const { replay } = keeping;
  const seek = byId<HTMLInputElement>("replay-seek");
  const speed = byId<HTMLSelectElement>("replay-speed");
  for (const value of SPEEDS) speed.append(new Option(`${value}×`, String(value), value === 1, value === 1));
  const actions: Record<string, () => void> = {
    record: () => keeping.toggleRecording(),
    film: () => void keeping.toggleFilm(),
    freeze: () => keeping.toggleFreeze(),
    step: () => keeping.step(1),
    "download-spz": () => keeping.saveSpz(),
    "replay-play": () => replay.toggle(),
    "replay-back": () => replay.step(-1),
    "replay-on": () => replay.step(1),
    "replay-loop": () => replay.loop(!store.get().replay?.loops),
    "replay-close": close,
  };
  for (const [id, action] of Object.entries(actions)) byId(id).addEventListener("click", action);
  byId("film").hidden = filmType() === null;
  seek.addEventListener("input", () => replay.seek(seek.valueAsNumber));
  speed.addEventListener("change", () => replay.setSpeed(Number(speed.value)));

  const shortcuts: Record<string, () => void> = {
    ...{ e: actions["record"]!, v: actions["film"]!, k: actions["freeze"]!, z: actions["download-spz"]! },
    ...{ ".": () => keeping.step(1), ",": () => keeping.step(-1) },
  };
  // Before the page's own keys: while a file plays, Space is its.
  const onKey = (event: KeyboardEvent): void => {
    const target = event.target as HTMLElement;
    if (
      event.ctrlKey ||
      event.metaKey ||
      event.altKey ||
      event.shiftKey ||
      event.repeat ||
      document.querySelector("dialog[open]")
    )
      return;
    if (target.matches("input, select, textarea") || (event.key === " " && target.matches("button, a"))) return;
    const isSpace = event.key === " " && store.get().replay !== null;
    const action = isSpace ? actions["replay-play"] : shortcuts[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  };
  document.addEventListener("keydown", onKey, { capture: true });
  store.subscribe((state) => show(state));
}

function show(state: Readonly<State>): void {
  const { replay, recording, filming, frozen, running, watching } = state;
  const record = byId<HTMLButtonElement>("record");
  pressed("record", recording !== null);
  record.disabled = !recording && (state.connection !== "open" || replay !== null);
  setText(byId("record-state"), recording ? `${clock(recording.durationMs)} · ${megabytes(recording.bytes)}` : "");
  pressed("film", filming);
  byId<HTMLButtonElement>("film").disabled = !filming && !state.shown;
  pressed("freeze", frozen);
  byId("freeze").hidden = replay !== null;
  byId<HTMLButtonElement>("freeze").disabled = !running && !watching;
  byId("step").hidden = replay !== null || !frozen;
  byId("replay").hidden = replay === null;
  if (replay) showReplay(replay);
}

function showReplay(replay: ReplayState): void {
  const isStill = replay.frames === 1;
  setText(byId("replay-name"), replay.name);
  setText(byId("replay-label"), replay.label);
  setText(byId("replay-note"), replay.cut && `Plays as far as the file goes: ${replay.cut}.`);
  for (const id of ["replay-play", "replay-back", "replay-on", "replay-seek", "replay-speed", "replay-loop", "replay-time"]) {
    byId(id).hidden = isStill;
  }
  const play = byId("replay-play");
  play.classList.toggle("playing", replay.playing);
  play.setAttribute("aria-label", replay.playing ? "Pause" : "Play");
  play.title = replay.playing ? "Pause (Space)" : "Play (Space)";
  pressed("replay-loop", replay.loops);
  const seek = byId<HTMLInputElement>("replay-seek");
  seek.max = String(replay.durationMs);
  // The hand that drags it is right.
  if (!seek.matches(":active")) seek.valueAsNumber = replay.positionMs;
  seek.setAttribute("aria-valuetext", `${clock(replay.positionMs)} of ${clock(replay.durationMs)}`);
  byId<HTMLSelectElement>("replay-speed").value = String(replay.speed);
  const time = `${clock(replay.positionMs)} / ${clock(replay.durationMs)}`;
  setText(byId("replay-time"), replay.frames ? `${time} · frame ${replay.frame + 1} of ${replay.frames}` : "opening…");
}

function pressed(id: string, is: boolean): void {
  byId(id).setAttribute("aria-pressed", String(is));
}

function clock(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
