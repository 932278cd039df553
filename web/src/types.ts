// The viewer's vocabulary: frozen Config from the address bar, observable State, and what the threads say to each other.

import type { SplatRange } from "./codecs/words.js";
import type { Camera, Engine, FrameOptions, Limits, QualityState, SplatsMessage } from "./stream/messages.js";

export type SourceKind = "camera" | "sample" | "file";

/** What the page's address asks for. Never changes while the page lives. */
export interface Config {
  /** Source chosen at first. */
  readonly source: SourceKind;
  /** Start without a click. */
  readonly autostart: boolean;
  /** Orbit at first: degrees to the right, degrees up, distance over the default one. */
  readonly view: readonly [yawDeg: number, pitchDeg: number, distance: number];
  /** Settings that differ from the defaults. */
  readonly settings: Partial<Settings>;
  /** WebSocket of the server. */
  readonly socketUrl: string;
}

/** What a person sets in the panel. */
export interface Settings {
  /** Splats (native or lifted), points, or the model's default. */
  representation: FrameOptions["representation"];
  /** Width of the picture that is sent, pixels; its height follows. */
  captureWidth: number;
  /** Frames sent a second at most. */
  maxFps: number;
  /** JPEG quality, 0..1. */
  jpegQuality: number;
  /** Splat budget of a frame, at most; null takes the server's default. */
  maxSplats: number | null;
  /** Whether the server may go below it, and below the model's resolution, to keep the picture recent; null: its default. */
  adapt: boolean | null;
  /** As far as it may go; null takes the server's default. */
  minSplats: number | null;
  minInferencePx: number | null;
  /** Gaussians fainter than this are not sent; null takes the server's default. */
  minOpacity: number | null;
  /** Each frame waits for its own depth sort; else it is shown at once in the last frame's order, wrong at moving edges. */
  exactOrder: boolean;
  /** Mirror the preview like a selfie. The splats never are. */
  mirrorPreview: boolean;
  /** Axes and the outline of the capture camera. */
  axes: boolean;
  /** Gentle motion that shows the depth. */
  sway: boolean;
  /** Orbit without limits. A single view has nothing behind what it saw. */
  freeOrbit: boolean;
}

export type Connection = "connecting" | "open" | "waiting" | "closed";

/** Something a person should read. */
export interface Problem {
  /** Machine-readable, for tests. */
  readonly code: string;
  /** A few words. */
  readonly title: string;
  /** What happened and what to do. */
  readonly text: string;
  /** Goes away when this is over: the connection opens, a source starts, a frame is shown. Null: until dismissed. */
  readonly until: "connected" | "started" | "shown" | null;
  /** Nothing goes on until a person does something: such a card makes no room for others. */
  readonly blocks?: boolean;
  /** What the card asks for. */
  readonly ask?: "token";
}

/** What the page shows. Changed through Store.set only. */
export interface State {
  /** State of the WebSocket. */
  connection: Connection;
  /** Words to it: the server's address, or when the next attempt is. */
  connectionText: string;
  /** Source chosen. */
  source: SourceKind;
  /** Frames are being sent. */
  running: boolean;
  /** A source is being opened. */
  starting: boolean;
  /** Name of the file, camera or clip. */
  sourceName: string;
  /** What makes the splats; null until the server said so. */
  engine: Engine | null;
  /** What the server takes. */
  limits: Limits | null;
  /** Options in force on the server. */
  options: Partial<FrameOptions>;
  /** Choices of the panel. */
  settings: Settings;
  /** Open problems, newest last. */
  problems: readonly Problem[];
  /** Reply on the screen; null before the first. */
  shown: ShownFrame | null;
}

/** What is on the screen. */
export interface ShownFrame {
  seq: number;
  count: number;
  bytes: number;
  codec: string;
  kind: string;
  label: string;
  camera: Camera;
  timingsMs: Record<string, number>;
  pruned: Record<string, number>;
  quality: QualityState;
}

/** Counters since the page was opened. */
export interface Stats {
  /** Frames sent. */
  sent: number;
  /** Replies with splats that came. */
  received: number;
  /** Replies whose pixels were handed to the screen. */
  shown: number;
  /** Replies that a newer one overtook before they were drawn. */
  supersededInClient: number;
  /** Replies that could not be decoded. */
  badReplies: number;
  /** Replies that could not be drawn. */
  notDrawn: number;
  /** Frames the server refused with an error. */
  refused: number;
  /** Frames dropped by the server, by reason. */
  dropped: Record<string, number>;
  /** Connections opened after the first. */
  reconnects: number;
  /** Frames shown a second, over the last three seconds. */
  fps: number;
  /** Capture to pixels, over the last five seconds. */
  ageP50Ms: number;
  ageP95Ms: number;
  /** Mean size of a reply over the last five seconds. */
  kilobytesPerFrame: number;
}

// --- between the threads ---

/** A decoded reply. `words` is transferred, and goes back with `shown` or `skipped`. */
export interface DecodedFrame extends Omit<SplatsMessage, "type" | "data"> {
  words: Uint32Array<ArrayBuffer>;
  range: SplatRange;
  /** Bytes of the reply's data. */
  bytes: number;
  /** Depth to orbit around, model units. */
  pivotDepth: number;
  /** When it had arrived and when it was decoded, on the page's clock. */
  receivedMs: number;
  decodedMs: number;
}

/** From the page to the socket worker. */
export type ToSocket =
  | { type: "connect"; url: string; subprotocols: string[]; options: Partial<FrameOptions>; frames: MessagePort }
  | { type: "configure"; options: Partial<FrameOptions> }
  | { type: "stream"; on: boolean }
  | { type: "shown"; seq: number; capturedMs: number; receivedMs: number; decodedMs: number; shownMs: number }
  | { type: "skipped"; seq: number; receivedMs: number; decodedMs: number }
  | { type: "recycle"; buffer: ArrayBuffer }
  | { type: "lastCapture" }
  | { type: "reconnect" }
  | { type: "authorize"; subprotocols: string[] };

/** From the socket worker to the page. */
export type FromSocket =
  | { type: "connection"; status: Connection; text: string; reconnects: number }
  | { type: "welcome"; engine: Engine; limits: Limits; options: Partial<FrameOptions>; version: string }
  | { type: "configured"; options: Partial<FrameOptions> }
  | { type: "sent"; seq: number; bytes: number }
  | { type: "frame"; frame: DecodedFrame }
  | { type: "bad"; seq: number; message: string }
  | { type: "dropped"; code: string; message: string; count: number }
  | { type: "error"; code: string; message: string; seq: number | null; fatal: boolean }
  | { type: "lastCapture"; seq: number; jpeg: ArrayBuffer | null };

/** How frames are captured. */
export interface CaptureSettings {
  width: number;
  maxFps: number;
  quality: number;
}

/** From the page to the capture worker. Every start has a new `run`; what belongs to an older one is closed unseen. */
export type ToCapture =
  | { type: "frames"; port: MessagePort }
  | { type: "settings"; settings: CaptureSettings }
  | { type: "start"; run: number }
  | { type: "stop"; run: number }
  | { type: "stream"; run: number; stream: ReadableStream<VideoFrame> }
  | { type: "track"; run: number; track: MediaStreamTrack }
  | { type: "image"; run: number; image: VideoFrame | ImageBitmap; capturedMs: number }
  | { type: "encoded"; run: number; bytes: Uint8Array<ArrayBuffer>; capturedMs: number };

/** From the capture worker to the page. */
export type FromCapture =
  | { type: "ready"; trackProcessor: boolean }
  | { type: "gate"; open: boolean }
  | { type: "failed"; message: string };

/** From the capture worker to the socket worker, and back whether one more frame is wanted. */
export type CapturedFrame = { bytes: Uint8Array<ArrayBuffer>; capturedMs: number };
export type FrameWanted = { wanted: boolean };
