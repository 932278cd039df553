// Why no WebSocket opens, as far as plain HTTP can tell: the browser gives a page no reason for a handshake that failed.

import type { ServerRefusal } from "./thread.js";

/** Longer than the server takes to give up on a graph that does not say what it is. */
const ASK_LIMIT_MS = 12_000;

export type Reach =
  /** Nobody answers. */
  | { kind: "gone" }
  /** The server answers as it should: only the WebSocket does not get through. */
  | { kind: "serves"; by: string }
  /** The server says why not. */
  | { kind: "refused"; refusal: ServerRefusal }
  /** Something answers in its place. */
  | { kind: "away"; status: number; by: string };

/** @param get `fetch` of a path beside the page, with the token. */
export async function askByHttp(get: (path: string, init: RequestInit) => Promise<Response>): Promise<Reach> {
  let response: Response;
  let answer: unknown;
  try {
    response = await get("api/info", { cache: "no-store", signal: AbortSignal.timeout(ASK_LIMIT_MS) });
    answer = await response.json().catch(() => null);
  } catch {
    return { kind: "gone" };
  }
  const by = proxyName(response.headers.get("server"));
  const { name, code, message } = (answer ?? {}) as Partial<Record<"name" | "code" | "message", unknown>>;
  if (response.ok && name === "splatcast") return { kind: "serves", by };
  if (!response.ok && typeof code === "string" && typeof message === "string") {
    return { kind: "refused", refusal: { type: "error", code, message, seq: null, fatal: true } };
  }
  return { kind: "away", status: response.status, by };
}

/** What a `Server` header calls the last proxy; empty if it is the server's own, or none. */
function proxyName(header: string | null): string {
  const name = header?.split(/[/ ]/)[0] ?? "";
  return name === "uvicorn" || !/^[\w.-]{1,40}$/.test(name) ? "" : name;
}
