// Every problem in words: what happened, and what to do. docs/troubleshooting.md explains each title.

import { SourceError } from "../capture/source.js";
import type { Problem } from "../state.js";
import type { ServerRefusal } from "../stream/thread.js";

const RELOAD = "Reload the page.";

/** Code of a refusal → title. */
const TITLES: Record<string, string> = {
  protocol_mismatch: "Viewer and server don't match",
  no_common_codec: "Viewer and server don't match",
  no_welcome: "The server does not answer the viewer",
  server_full: "The server is full",
  too_many_from_address: "Too many viewers at your address",
  forbidden_origin: "The server does not serve this page",
  forbidden_host: "The server does not serve this page",
  too_many_messages: "This viewer sent too much",
  internal: "The server failed",
  room_name: "The link is not whole",
  room_forbidden: "That needs another link",
  room_full: "The room is full",
  room_locked: "The room lets nobody in",
  room_closed: "The room was closed",
  room_taken: "You are in this room elsewhere",
  too_many_bad_messages: "The server did not understand this viewer",
};
/** Code of a refusal that would be repeated → what a person can do about it. */
const ADVICE: Record<string, string> = {
  protocol_mismatch: RELOAD,
  no_common_codec: RELOAD,
  too_many_bad_messages: RELOAD,
  too_many_messages: RELOAD,
  forbidden_origin: "Open the viewer at the server's own address.",
  forbidden_host: "",
};

export function refused({ code, message, seq, fatal }: ServerRefusal): Problem {
  const title = TITLES[code] ?? (seq === null ? "The server refused something" : "A picture was refused");
  const advice = ADVICE[code];
  if (advice !== undefined) return { code, title, text: `${message} ${advice}`.trim(), until: null, blocks: true };
  return { code, title, text: message, until: fatal ? "connected" : seq === null ? null : "shown" };
}

/** @param wasWrong A token was sent already. */
export function tokenAsked(wasWrong: boolean): Problem {
  return {
    code: "unauthorized",
    title: "This server asks for a token",
    text: wasWrong
      ? "That is not the server's token. Check it, or ask whoever runs the server."
      : "Ask whoever runs it. The token is kept in this tab only.",
    until: "connected",
    ask: "token",
  };
}

/** @param wasConnected There was a connection before. */
export function serverGone(wasConnected: boolean): Problem {
  return {
    code: "server_gone",
    title: "The server can't be reached",
    text: wasConnected
      ? "The connection was lost. The viewer tries again by itself and carries on where it was."
      : "There is no answer. The viewer tries again by itself; check that the server is running and that the address is right.",
    until: "connected",
  };
}

const NGINX = [
  "proxy_http_version 1.1;",
  "proxy_set_header Upgrade $http_upgrade;",
  'proxy_set_header Connection "upgrade";',
  "proxy_set_header Host $http_host;",
];

/** @param by What the proxy calls itself; empty: it does not say. */
export function noWebSocket(by: string): Problem {
  return {
    code: "no_websocket",
    title: "A proxy does not pass WebSockets",
    text: `This page and the server's answers arrive, but no WebSocket opens: something between them${by && `, which calls itself ${by},`} does not pass it on. Whoever runs it can let it through; in nginx, beside proxy_pass:`,
    lines: NGINX,
    until: "connected",
  };
}

/** @param by As above. */
export function proxyAnswers(status: number, by: string): Problem {
  return {
    code: "proxy_answers",
    title: "A proxy answers in the server's place",
    text: `${by || "It"} answers with ${status}. Is the server running, and does the proxy know where? The viewer tries again by itself.`,
    until: "connected",
  };
}

export function sourceFailed(error: unknown): Problem {
  const { code, title } =
    error instanceof SourceError ? error : { code: "source_failed", title: "The source could not be opened" };
  return { code, title, text: error instanceof Error ? error.message : String(error), until: "started" };
}

export const CAMERA_GONE: Problem = {
  code: "camera_gone",
  title: "The camera went away",
  text: "It was unplugged, or its permission was withdrawn. Press Start when it is back.",
  until: "started",
};

export const CAMERA_ASLEEP: Problem = {
  code: "camera_asleep",
  title: "The camera gives no pictures",
  text: "Its shutter or privacy key may be on, another program may have it, or it is asleep. This goes away when it is back.",
  until: "started",
};

/** @param name What the address asks for. */
export function unknownSource(name: string): Problem {
  return {
    code: "unknown_source",
    title: "The address names a source that does not exist",
    text: `It says source=${name}; camera, screen, sample and file exist. Nothing was started.`,
    until: "started",
  };
}

export const NOT_A_FILE: Problem = {
  code: "not_a_file",
  title: "That was not a file",
  text: "What was dropped is a link or text, and a page may not fetch from another site. Save the picture first, then drop the file.",
  until: "started",
};

export function badReply(why: string): Problem {
  return { code: "bad_reply", title: "A reply was not understood", text: why, until: "shown" };
}

export function notDrawn(error: unknown): Problem {
  const text = `The browser says: ${String(error)}. The viewer carries on with the next one; if this stays, reload the page.`;
  return { code: "not_drawn", title: "A picture could not be drawn", text, until: "shown" };
}

export function filmFailed(error: unknown): Problem {
  return {
    code: "film_failed",
    title: "The view can't be filmed",
    text: `${String(error)}. Save a picture instead.`,
    until: null,
  };
}

export function headsetFailed(error: unknown): Problem {
  const text = `${String(error)}. Put it on and wake it, close other pages that use it, then try again.`;
  return { code: "headset_failed", title: "The headset can't be used", text, until: null };
}

export function recordingFull(): Problem {
  const text = "It has 2 GB, the most that one file takes, and was saved. Start another one to go on.";
  return { code: "recording_full", title: "The recording has ended", text, until: null };
}

export const GRAPHICS_LOST: Problem = {
  code: "graphics_lost",
  title: "The 3D view was lost",
  text: "The graphics driver was reset, or ran out of memory. The view comes back by itself; if it does not, reload the page. A smaller splat budget needs less.",
  until: null,
  blocks: true,
};

export function workerFailed(why: string): Problem {
  return { code: "worker_failed", title: "Part of the viewer failed", text: `${why}. ${RELOAD}`, until: null, blocks: true };
}
