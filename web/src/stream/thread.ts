// What the page and the socket worker say to each other.

import type { DepthPixels } from "../codecs/depth_pixels.js";
import type { SplatRange } from "../codecs/words.js";
import type { RecordingProgress } from "../recording/recorder.js";
import type {
  Engine,
  FrameOptions,
  GovernMessage,
  JoinedMessage,
  JoinMessage,
  Limits,
  RoomMessage,
  SplatsMessage,
  WatchMessage,
} from "./messages.js";

/** State of the WebSocket; `waiting` is the pause before the next attempt, after `closed` there is none. */
export type ConnectionStatus = "connecting" | "open" | "waiting" | "closed";

/** Spark's packed words, and what their numbers mean. */
export interface PackedWords {
  readonly words: Uint32Array<ArrayBuffer>;
  readonly range: SplatRange;
}

/** What a reply was decoded to: words, or the pixels of a depth frame that the page's GPU lifts. */
export type FrameContent = PackedWords | DepthPixels;

/** The one buffer of a content. It is transferred; the page sends it back with `recycle`. */
export function bufferOf(content: FrameContent): ArrayBuffer {
  return "words" in content ? content.words.buffer : content.pixels.buffer;
}

/** A decoded reply. */
export interface DecodedFrame extends Omit<SplatsMessage, "type" | "data"> {
  content: FrameContent;
  /** Bytes of the reply's data. */
  bytes: number;
  /** Depth to orbit around, model units; 0 where there is none. */
  pivotDepth: number;
  /** When it had arrived and when it was decoded, on the page's clock. */
  receivedMs: number;
  decodedMs: number;
  /** It is from a file: no server waits for an ack. */
  fromFile?: boolean;
  /** It is the sample's, behind the invitation: nobody has asked for it. */
  isSample?: boolean;
}

/** From the page to the socket worker. Every frame that came is answered by `shown` or `skipped`. */
export type ToSocket =
  | { type: "connect"; url: string; subprotocols: string[]; options: Partial<FrameOptions>; frames: MessagePort }
  | { type: "configure"; options: Partial<FrameOptions> }
  | { type: "stream"; on: boolean }
  | { type: "lift"; onPage: boolean }
  | { type: "shown"; seq: number; capturedMs: number; receivedMs: number; decodedMs: number; shownMs: number }
  | { type: "skipped"; seq: number; receivedMs: number; decodedMs: number }
  | { type: "recycle"; buffer: ArrayBuffer }
  | { type: "lastCapture" }
  | { type: "record"; on: boolean }
  | { type: "openFile"; file: File; run: number }
  | { type: "fileFrame"; index: number; run: number }
  | { type: "join"; join: JoinMessage | null }
  | { type: "say"; message: WatchMessage | GovernMessage }
  | { type: "reconnect" }
  | { type: "probe" }
  | { type: "authorize"; subprotocols: string[] };

/** From the socket worker to the page. */
export type FromSocket =
  | { type: "connection"; status: ConnectionStatus; text: string; reconnects: number }
  | { type: "welcome"; engine: Engine; limits: Limits; options: Partial<FrameOptions> }
  | { type: "configured"; options: Partial<FrameOptions> }
  | JoinedMessage
  | RoomMessage
  | { type: "sent" }
  | { type: "frame"; frame: DecodedFrame }
  | { type: "bad"; message: string }
  | { type: "recording"; progress: RecordingProgress; file: Blob | null }
  | FromFile
  | { type: "dropped"; code: string; count: number }
  | ServerRefusal
  | { type: "lastCapture"; seq: number; jpeg: ArrayBuffer | null };

/** An `error` of the server, or one that the connection makes in its place. */
export interface ServerRefusal {
  type: "error";
  code: string;
  message: string;
  /** The frame that was refused; null where it was something else. */
  seq: number | null;
  /** The connection is closed after this. */
  fatal: boolean;
}

/** Whether the page is in no room after this refusal: it was not let in, or no longer is. One of a wish leaves it where it is. */
export function endsRoom(code: string): boolean {
  return code.startsWith("room_") && code !== "room_forbidden";
}

/** What became of a file that is shown; `run` is that of the question, and of no earlier file. */
export type FromFile =
  | { type: "fileOpened"; run: number; times: number[]; cut: string; engine: Engine | null }
  | { type: "fileFrame"; run: number; index: number; frame: DecodedFrame }
  | { type: "fileBad"; run: number; index: number | null; message: string };
