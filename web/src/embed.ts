// The viewer in somebody else's page: commands in and events out by postMessage. docs/embedding.md is the reference.
//
// Only the page that frames this one is heard, and only pages that the server's frame-ancestors allow can frame it.

import { readSettings, type Settings, type SourceKind } from "./config.js";
import type { State } from "./state.js";
import type { Store } from "./ui/store.js";
import type { OrbitPose } from "./view/orbit.js";

/** Of every message, both ways: what lacks it is somebody else's. */
const MARK = "splatcast";
/** A file takes a person's choice. */
const STARTABLE: readonly unknown[] = ["camera", "sample"] satisfies SourceKind[];
/** Name in a message → part of the view. */
const POSE: Readonly<Record<string, keyof OrbitPose>> = {
  yaw: "yawDeg",
  pitch: "pitchDeg",
  distance: "distance",
  pan_x: "panX",
  pan_y: "panY",
};

/** What the framing page asks for. */
export type Command =
  | { readonly do: "start"; readonly source: SourceKind }
  | { readonly do: "stop" }
  | { readonly do: "view"; readonly pose: Partial<OrbitPose> }
  | { readonly do: "set"; readonly settings: Partial<Settings> };

export interface EmbedActions {
  start(source: SourceKind): void;
  stop(): void;
  view(pose: Partial<OrbitPose>): void;
  change(settings: Partial<Settings>): void;
}

/**
 * The command in a message.
 *
 * @returns null where the message is not meant for the viewer.
 * @throws Error Saying what was expected and what came.
 */
export function commandOf(data: unknown): Command | null {
  if (typeof data !== "object" || data === null || !(MARK in data)) return null;
  const { [MARK]: what, ...rest } = data as Record<string, unknown>;
  switch (what) {
    case "start": {
      const source = rest["source"] ?? "camera";
      if (!STARTABLE.includes(source)) throw expected("source", STARTABLE.map(String).join(" or "), source);
      return { do: "start", source: source as SourceKind };
    }
    case "stop":
      return { do: "stop" };
    case "view":
      return { do: "view", pose: poseOf(rest) };
    case "set": {
      // The same names and values as in the page's address.
      const query = new URLSearchParams();
      for (const [name, value] of Object.entries(rest))
        query.set(name, value === true ? "1" : value === false ? "0" : String(value));
      return { do: "set", settings: readSettings(query) };
    }
    default:
      throw expected(MARK, "start, stop, view or set", what);
  }
}

function poseOf(message: Record<string, unknown>): Partial<OrbitPose> {
  const pose: Partial<OrbitPose> = {};
  for (const [name, value] of Object.entries(message)) {
    const part = POSE[name];
    if (!part) throw expected("view", Object.keys(POSE).join(", "), name);
    if (typeof value !== "number" || !Number.isFinite(value)) throw expected(name, "a finite number", value);
    pose[part] = value;
  }
  return pose;
}

function expected(name: string, what: string, got: unknown): Error {
  return new Error(`${name}: expected ${what}, got ${String(JSON.stringify(got)).slice(0, 100)}`);
}

/** Listens to the page that frames this one, if there is one, and tells it what happens. */
export function attachEmbed(store: Store<State>, actions: EmbedActions): void {
  const { parent } = window;
  if (parent === window) return;
  // Whoever frames this page was allowed to by the server; nothing that is said is secret from it.
  const say = (what: string, details: object = {}): void => parent.postMessage({ [MARK]: what, ...details }, "*");
  window.addEventListener("message", (event) => {
    if (event.source !== parent) return;
    try {
      const command = commandOf(event.data);
      if (command) obey(command, actions);
    } catch (error) {
      say("error", { message: error instanceof Error ? error.message : String(error) });
    }
  });
  let last = "";
  let seq = 0;
  const told = new Set<string>();
  store.subscribe(({ connection, source, starting, running, shown, problems }) => {
    const state = { connection, source, starting, running };
    if (JSON.stringify(state) !== last) say("state", state);
    last = JSON.stringify(state);
    if (shown && shown.seq !== seq) say("shown", { seq: shown.seq, splats: shown.count });
    seq = shown?.seq ?? seq;
    const codes = problems.map(({ code }) => code);
    for (const { code, title, text } of problems) if (!told.has(code)) say("problem", { code, title, text });
    for (const code of told) if (!codes.includes(code)) say("solved", { code });
    told.clear();
    for (const code of codes) told.add(code);
  });
  say("ready");
}

function obey(command: Command, actions: EmbedActions): void {
  switch (command.do) {
    case "start":
      actions.start(command.source);
      break;
    case "stop":
      actions.stop();
      break;
    case "view":
      actions.view(command.pose);
      break;
    case "set":
      actions.change(command.settings);
      break;
  }
}
