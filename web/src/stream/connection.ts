// One WebSocket that comes back: hello on open, a deadline for the welcome, exponential backoff with jitter after a close, pings.

import { decode, encode } from "@msgpack/msgpack";
import { DECODED } from "../codecs/index.js";
import { isWorthRetrying, retryDelayMs } from "./backoff.js";
import { type ClientMessage, type FrameOptions, type Limits, PROTOCOL, type ServerMessage } from "./messages.js";
import { withinLimits, withoutNumbers } from "./options.js";
import type { ConnectionStatus } from "./thread.js";

const CLIENT = "splatcast-viewer/0.1.0";
/** Well below any proxy's or server's idle timeout. */
const PING_EVERY_MS = 10_000;
/** Checked with every ping: a server from which nothing has come for this long, not even a pong, counts as gone. */
const SILENCE_LIMIT_MS = 30_000;
/** From the open socket to the welcome. Nothing but the welcome counts. */
export const WELCOME_LIMIT_MS = 10_000;

/** Why there is a pause before the next attempt, and why there is no next attempt. */
const PAUSES: Record<string, string> = {
  server_full: "server full",
  too_many_from_address: "too many viewers at this address",
  no_welcome: "no welcome",
};
const ENDS: Record<string, string> = {
  unauthorized: "waiting for a token",
  forbidden_origin: "this page is not allowed",
  forbidden_host: "this address is not allowed",
};

export interface ConnectionEvents {
  /** @param bytes The message as it came; none where the connection says it in the server's place. */
  message(message: ServerMessage, bytes?: Uint8Array<ArrayBuffer>): void;
  unreadable(reason: string): void;
  status(status: ConnectionStatus, text: string, reconnects: number): void;
}

export class Connection {
  private socket: WebSocket | null = null;
  private attempt = 0;
  private opened = 0;
  private lastError: string | null = null;
  private lastHeardMs = 0;
  private retryTimer = 0;
  private welcomeTimer = 0;
  private limits: Limits | null = null;

  constructor(
    private readonly url: string,
    private subprotocols: string[],
    private options: Partial<FrameOptions>,
    private readonly events: ConnectionEvents,
  ) {
    setInterval(() => this.keepAlive(), PING_EVERY_MS);
    this.open();
  }

  /** The server said welcome and listens. */
  get ready(): boolean {
    return this.attempt === 0 && this.socket?.readyState === WebSocket.OPEN;
  }

  send(message: ClientMessage): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(encode(message, { ignoreUndefined: true }));
  }

  /** Options that are sent now, and again after every reconnect, each within the server's limits. */
  configure(options: Partial<FrameOptions>): void {
    this.options = options;
    if (this.ready && this.limits) this.send({ type: "configure", options: withinLimits(options, this.limits) });
  }

  /** Try again at once. */
  reconnect(): void {
    if (this.socket && this.socket.readyState <= WebSocket.OPEN) return;
    this.open();
  }

  /** Try again at once, with another token. */
  authorize(subprotocols: string[]): void {
    this.subprotocols = subprotocols;
    const old = this.socket;
    this.open();
    old?.close();
  }

  private open(): void {
    clearTimeout(this.retryTimer);
    clearTimeout(this.welcomeTimer);
    this.lastError = null;
    this.lastHeardMs = performance.now();
    this.events.status("connecting", "connecting", this.reconnects);
    const socket = new WebSocket(this.url, this.subprotocols);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    // Between open and welcome the attempt is still under way: a server that refuses must not reset the backoff.
    this.attempt = Math.max(1, this.attempt);
    // A socket that was abandoned may close long after its successor has opened: only the current one counts.
    const ifCurrent = (act: () => void): void => (socket === this.socket ? act() : undefined);
    socket.onopen = () => ifCurrent(() => this.greet());
    socket.onmessage = (event) => ifCurrent(() => this.receive(event.data));
    socket.onclose = (event) => ifCurrent(() => this.closed(event.code));
  }

  private greet(): void {
    const codecs = [...DECODED];
    this.send({ type: "hello", protocol: PROTOCOL, client: CLIENT, codecs, options: withoutNumbers(this.options) });
    this.welcomeTimer = self.setTimeout(() => this.notWelcome(), WELCOME_LIMIT_MS);
  }

  private notWelcome(): void {
    this.lastError = "no_welcome";
    const seconds = WELCOME_LIMIT_MS / 1000;
    const message = `It accepts connections, but did not welcome this one within ${seconds} s. The viewer tries again by itself.`;
    this.events.message({ type: "error", code: "no_welcome", message, seq: null, fatal: true });
    this.giveUp();
  }

  private get reconnects(): number {
    return Math.max(0, this.opened - 1);
  }

  private receive(data: unknown): void {
    this.lastHeardMs = performance.now();
    let message: ServerMessage;
    let bytes: Uint8Array<ArrayBuffer>;
    try {
      if (!(data instanceof ArrayBuffer)) throw new Error("it is text");
      bytes = new Uint8Array(data);
      message = decode(bytes) as ServerMessage;
    } catch (error) {
      this.events.unreadable(error instanceof Error ? error.message : String(error));
      return;
    }
    if (message.type === "welcome") {
      clearTimeout(this.welcomeTimer);
      this.attempt = 0;
      this.opened++;
      this.limits = message.limits;
      // Before any frame. Hello had the rest, so without numbers there is nothing to add.
      if (Object.values(this.options).some((value) => typeof value === "number")) this.configure(this.options);
      this.events.status("open", "connected", this.reconnects);
    }
    if (message.type === "error") this.lastError = message.code;
    this.events.message(message, bytes);
  }

  /** close() waits for the other side, which may be gone: don't wait for it. */
  private giveUp(): void {
    const socket = this.socket;
    this.closed(1006);
    socket?.close();
  }

  private closed(code: number): void {
    this.socket = null;
    clearTimeout(this.welcomeTimer);
    if (!isWorthRetrying(code, this.lastError)) {
      this.events.status("closed", ENDS[this.lastError ?? ""] ?? "the server refused this viewer", this.reconnects);
      return;
    }
    const delayMs = retryDelayMs(Math.max(0, this.attempt - 1), Math.random());
    this.attempt = Math.max(1, this.attempt) + 1;
    const cause = PAUSES[this.lastError ?? ""] ?? "no connection";
    this.events.status("waiting", `${cause}, next attempt in ${Math.ceil(delayMs / 1000)} s`, this.reconnects);
    this.retryTimer = self.setTimeout(() => this.open(), delayMs);
  }

  private keepAlive(): void {
    if (!this.socket) return;
    if (performance.now() - this.lastHeardMs > SILENCE_LIMIT_MS) this.giveUp();
    else this.send({ type: "ping", t: performance.now() });
  }
}
