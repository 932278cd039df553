// One WebSocket that comes back: hello on open, a deadline for the welcome, exponential backoff with jitter after a close, pings.

import { decode, encode } from "@msgpack/msgpack";
import { nowMs } from "../clock.js";
import { DECODED } from "../codecs/index.js";
import { isWorthRetrying, retryDelayMs } from "./backoff.js";
import {
  type ClientMessage,
  type FrameOptions,
  type JoinMessage,
  type Limits,
  PROTOCOL,
  type ServerMessage,
} from "./messages.js";
import { withinLimits, withoutNumbers } from "./options.js";
import { type ConnectionStatus, endsRoom } from "./thread.js";

/** Name and version of this viewer. */
export const CLIENT = "splatcast-viewer/0.1.0";
/** How often the clock is looked at. */
const TICK_MS = 500;
/** After this much silence the server is asked whether it is there. Well below any proxy's or server's idle timeout. */
const PING_AFTER_MS = 2000;
/** The same of a connection on which replies came faster than this. */
const BUSY_PING_AFTER_MS = 1000;
/** After this much silence, a question in it, a busy connection is tried by a second socket: its way may have ended without a word. */
const SPARE_AFTER_MS = 2000;
/** What the first one may still say once the second is open. A server that was only busy answers both at about the same time. */
const SPARE_GRACE_MS = 250;
/** After this much silence the page says so. */
const SILENT_AFTER_MS = 5000;
/** After this much silence the server counts as gone. A large reply over a slow link may take a while, and is silent until it is whole. */
const SILENCE_LIMIT_MS = 15_000;
/** What a probe waits for an answer: a link that takes longer for a few bytes is of no use to a stream, and who came back waits for it. */
export const PROBE_LIMIT_MS = 1200;
/** Ticks so far apart mean that the device slept. */
const SLEPT_MS = 5000;
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
  /** Between the last two messages. */
  private gapMs = 0;
  /** See {@link SPARE_AFTER_MS}. It says nothing until it takes the other's place. */
  private spare: WebSocket | null = null;
  private lastPingMs = 0;
  private lastTickMs = performance.now();
  private openedMs = 0;
  private silent = false;
  /** Refused for good: only a person can change that. */
  private ended = false;
  private retryTimer = 0;
  private welcomeTimer = 0;
  private probeTimer = 0;
  private limits: Limits | null = null;
  private room: JoinMessage | null = null;
  /** The server's own numbers, for those that were set and no longer are. The rest is what hello asked for, and is never unset. */
  private defaults: Partial<FrameOptions> = {};

  constructor(
    private readonly url: string,
    private subprotocols: string[],
    private options: Partial<FrameOptions>,
    private readonly events: ConnectionEvents,
  ) {
    setInterval(() => this.tick(), TICK_MS);
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
    const known = new Map(Object.entries(this.defaults));
    const left = Object.keys(this.options).filter((name) => known.has(name) && !(name in options));
    this.options = { ...Object.fromEntries(left.map((name) => [name, known.get(name)])), ...options };
    if (this.ready && this.limits) this.send({ type: "configure", options: withinLimits(this.options, this.limits) });
  }

  /** Enters a room, now and after every reconnect, to the same place; null: leaves it. */
  join(room: JoinMessage | null): void {
    const before = this.room;
    this.room = room;
    if (!this.ready) return;
    if (room) this.send({ ...room, t: nowMs() });
    else if (before) this.send({ type: "leave" });
  }

  /** Try again at once. */
  reconnect(): void {
    if (this.socket && this.socket.readyState <= WebSocket.OPEN) return;
    this.open();
  }

  /** The network may be another one, or the device may have slept: what is open must answer at once, or is opened anew. */
  probe(): void {
    if (this.ended) return;
    if (!this.socket) {
      this.openAnew();
      return;
    }
    const askedMs = performance.now();
    const openMs = askedMs - this.openedMs;
    clearTimeout(this.probeTimer);
    if (this.socket.readyState === WebSocket.CONNECTING) {
      // What was sent before the network was back is lost, and is only sent again after seconds.
      const isLost = (): boolean => this.socket?.readyState === WebSocket.CONNECTING;
      this.probeTimer = self.setTimeout(() => isLost() && this.openAnew(), Math.max(0, PROBE_LIMIT_MS - openMs));
      return;
    }
    if (!this.ready && openMs < PROBE_LIMIT_MS) return;
    this.ping();
    this.probeTimer = self.setTimeout(() => this.lastHeardMs < askedMs && this.openAnew(), PROBE_LIMIT_MS);
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
    clearTimeout(this.probeTimer);
    this.dropSpare();
    this.lastError = null;
    // Packets that nobody answers would be sent for minutes.
    this.welcomeTimer = self.setTimeout(() => this.giveUp(), WELCOME_LIMIT_MS);
    this.use(this.newSocket());
  }

  private newSocket(): WebSocket {
    const socket = new WebSocket(this.url, this.subprotocols);
    socket.binaryType = "arraybuffer";
    return socket;
  }

  /** Makes a socket the connection's own. */
  private use(socket: WebSocket): void {
    this.ended = this.silent = false;
    this.openedMs = this.lastHeardMs = performance.now();
    this.events.status("connecting", "connecting", this.reconnects);
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
    const options = withoutNumbers(this.options);
    const room = this.room ? { join: { ...this.room, t: nowMs() } } : {};
    this.send({ type: "hello", protocol: PROTOCOL, client: CLIENT, codecs, options, ...room });
    clearTimeout(this.welcomeTimer);
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

  /** Opens a second socket beside one that has gone silent. A word of the first one's closes it; else it takes the other's place. */
  private trySpare(): void {
    const spare = this.newSocket();
    this.spare = spare;
    const ifStillSpare = (act: () => void): void => (spare === this.spare ? act() : undefined);
    const takeOver = (): void => {
      const old = this.socket;
      this.spare = null;
      this.use(spare);
      this.greet();
      old?.close();
    };
    spare.onopen = () => setTimeout(() => ifStillSpare(takeOver), SPARE_GRACE_MS);
    spare.onclose = () => ifStillSpare(() => (this.spare = null));
  }

  private dropSpare(): void {
    const spare = this.spare;
    this.spare = null;
    spare?.close();
  }

  private receive(data: unknown): void {
    const heardMs = performance.now();
    this.gapMs = heardMs - this.lastHeardMs;
    this.lastHeardMs = heardMs;
    this.dropSpare();
    if (this.silent) {
      this.silent = false;
      this.events.status("open", "connected", this.reconnects);
    }
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
      // Until replies come one after the other, it is not a busy one.
      this.gapMs = SILENCE_LIMIT_MS;
      this.opened++;
      this.limits = message.limits;
      this.defaults = message.options;
      // Before any frame. Hello had the rest, so without numbers there is nothing to add.
      if (Object.values(this.options).some((value) => typeof value === "number")) this.configure(this.options);
      this.events.status("open", "connected", this.reconnects);
    }
    if (message.type === "joined" && this.room) {
      const room = this.room.room === "new" ? (message.keys["owner"] ?? "") : this.room.room;
      this.room = { ...this.room, room, place: message.place };
    }
    if (message.type === "error") {
      this.lastError = message.code;
      // Nobody can leave a room that they are not in, nor should it be asked for again.
      if (endsRoom(message.code)) this.room = null;
    }
    this.events.message(message, bytes);
  }

  /** close() waits for the other side, which may be gone: don't wait for it. */
  private giveUp(): void {
    const socket = this.socket;
    this.closed(1006);
    socket?.close();
  }

  /** The same for a connection that nobody waits for any more, because there is a reason to try the next one at once. */
  private openAnew(): void {
    const old = this.socket;
    this.attempt = 0;
    this.open();
    old?.close();
  }

  private closed(code: number): void {
    this.socket = null;
    this.dropSpare();
    clearTimeout(this.welcomeTimer);
    clearTimeout(this.probeTimer);
    if (!isWorthRetrying(code, this.lastError)) {
      this.ended = true;
      this.events.status("closed", ENDS[this.lastError ?? ""] ?? "the server refused this viewer", this.reconnects);
      return;
    }
    const delayMs = retryDelayMs(Math.max(0, this.attempt - 1), Math.random(), this.lastError !== null);
    this.attempt = Math.max(1, this.attempt) + 1;
    const cause = PAUSES[this.lastError ?? ""] ?? "no connection";
    this.events.status("waiting", `${cause}, next attempt in ${Math.ceil(delayMs / 1000)} s`, this.reconnects);
    this.retryTimer = self.setTimeout(() => this.open(), delayMs);
  }

  private ping(): void {
    this.lastPingMs = performance.now();
    // On the clock that frames and acks have: the server learns from it how far that is from its own.
    this.send({ type: "ping", t: nowMs() });
  }

  private tick(): void {
    const nowMs = performance.now();
    const slept = nowMs - this.lastTickMs > SLEPT_MS;
    this.lastTickMs = nowMs;
    if (slept) {
      this.probe();
      return;
    }
    if (!this.ready) return;
    const silenceMs = nowMs - this.lastHeardMs;
    if (silenceMs > SILENCE_LIMIT_MS) {
      this.giveUp();
      return;
    }
    const isBusy = this.gapMs < BUSY_PING_AFTER_MS;
    const pingAfterMs = isBusy ? BUSY_PING_AFTER_MS : PING_AFTER_MS;
    if (silenceMs >= pingAfterMs && nowMs - this.lastPingMs >= pingAfterMs) this.ping();
    if (isBusy && silenceMs >= SPARE_AFTER_MS && !this.spare) this.trySpare();
    this.silent = silenceMs > SILENT_AFTER_MS;
    if (this.silent) this.events.status("connecting", `no answer for ${Math.floor(silenceMs / 1000)} s`, this.reconnects);
  }
}
