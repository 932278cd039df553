// One WebSocket that comes back: hello on open, exponential backoff with jitter after a close, pings while idle.

import { decode, encode } from "@msgpack/msgpack";
import { isWorthRetrying, retryDelayMs } from "../backoff.js";
import { CODECS } from "../codecs/index.js";
import { type ClientMessage, type FrameOptions, PROTOCOL, type ServerMessage } from "../messages.js";
import type { Connection as Status } from "../types.js";

const CLIENT = "splatcast-viewer/0.1.0";
/** Well below any proxy's or server's idle timeout. */
const PING_EVERY_MS = 10_000;
/** A server that accepts but never says welcome, or a packet black hole, counts as gone after this. */
const SILENCE_LIMIT_MS = 30_000;

export interface ConnectionEvents {
  message(message: ServerMessage): void;
  unreadable(reason: string): void;
  status(status: Status, text: string, reconnects: number): void;
}

export class Connection {
  private socket: WebSocket | null = null;
  private attempt = 0;
  private opened = 0;
  private lastError: string | null = null;
  private lastHeardMs = 0;
  private retryTimer = 0;

  constructor(
    private readonly url: string,
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

  /** Options that are sent now and again after every reconnect. */
  configure(options: Partial<FrameOptions>): void {
    this.options = options;
    if (this.ready) this.send({ type: "configure", options });
  }

  /** Try again at once. */
  reconnect(): void {
    if (this.socket && this.socket.readyState <= WebSocket.OPEN) return;
    this.open();
  }

  private open(): void {
    clearTimeout(this.retryTimer);
    this.lastError = null;
    this.lastHeardMs = performance.now();
    this.events.status("connecting", "connecting", this.reconnects);
    const socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    // Between open and welcome the attempt is still under way: a server that refuses must not reset the backoff.
    this.attempt = Math.max(1, this.attempt);
    socket.onopen = () => {
      this.send({
        type: "hello",
        protocol: PROTOCOL,
        client: CLIENT,
        codecs: CODECS.map((c) => c.name),
        options: this.options,
      });
    };
    socket.onmessage = (event) => this.receive(event.data);
    socket.onclose = (event) => this.closed(event.code);
  }

  private get reconnects(): number {
    return Math.max(0, this.opened - 1);
  }

  private receive(data: unknown): void {
    this.lastHeardMs = performance.now();
    let message: ServerMessage;
    try {
      if (!(data instanceof ArrayBuffer)) throw new Error("it is text");
      message = decode(new Uint8Array(data)) as ServerMessage;
    } catch (error) {
      this.events.unreadable(error instanceof Error ? error.message : String(error));
      return;
    }
    if (message.type === "welcome") {
      this.attempt = 0;
      this.opened++;
      this.events.status("open", "connected", this.reconnects);
    }
    if (message.type === "error") this.lastError = message.code;
    this.events.message(message);
  }

  private closed(code: number): void {
    this.socket = null;
    if (!isWorthRetrying(code, this.lastError)) {
      this.events.status("closed", "the server refused this viewer", this.reconnects);
      return;
    }
    const delayMs = retryDelayMs(Math.max(0, this.attempt - 1), Math.random());
    this.attempt = Math.max(1, this.attempt) + 1;
    const cause = this.lastError === "server_full" ? "server full" : "no connection";
    this.events.status("waiting", `${cause}, next attempt in ${Math.ceil(delayMs / 1000)} s`, this.reconnects);
    this.retryTimer = self.setTimeout(() => this.open(), delayMs);
  }

  private keepAlive(): void {
    const socket = this.socket;
    if (!socket) return;
    if (performance.now() - this.lastHeardMs > SILENCE_LIMIT_MS) {
      // close() waits for the other side, which may be gone: don't wait with it.
      socket.onclose = socket.onmessage = null;
      socket.close();
      this.closed(1006);
    } else {
      this.send({ type: "ping", t: performance.now() });
    }
  }
}
