// What the page shows: one observable object, changed through Store.set only.

import type { CameraName } from "./capture/camera.js";
import { type Config, DEFAULT_SETTINGS, type Settings, type SourceKind } from "./config.js";
import type { RecordingProgress } from "./recording/recorder.js";
import type { Engine, FrameOptions, Limits, QualityState, RoomCamera } from "./stream/messages.js";
import type { ConnectionStatus } from "./stream/thread.js";
import type { HeadsetMode } from "./view/headset.js";
import type { LiftChoice } from "./view/lift_choice.js";

export interface State {
  /** State of the WebSocket. */
  connection: ConnectionStatus;
  /** The same in words, with when the next attempt is. */
  connectionText: string;
  /** Source chosen. */
  source: SourceKind;
  /** Cameras of this device; empty until one was allowed. */
  cameras: readonly CameraName[];
  /** Id of the camera that was opened last; empty before. */
  camera: string;
  /** Frames are being sent. */
  running: boolean;
  /** A source is being opened; meanwhile another one may be running. */
  starting: boolean;
  /** Name of the file, camera or clip. */
  sourceName: string;
  /** What makes the splats; null until the server has said so. */
  engine: Engine | null;
  /** What the server takes; null until it has said so. */
  limits: Limits | null;
  /** Options in force on the server. */
  options: Partial<FrameOptions>;
  /** Choices of the panel. */
  settings: Settings;
  /** Open problems, newest last. */
  problems: readonly Problem[];
  /** Where depth frames are lifted; null while the GPU is being tried: until then the worker does. */
  lift: LiftChoice | null;
  /** Reply on the screen; null before the first. */
  shown: ShownFrame | null;
  /** The sample's recording is on the screen, and nothing else was so far. */
  sample: boolean;
  /** A file that is shown in place of the stream. */
  replay: ReplayState | null;
  /** The recording that is being made of the stream. */
  recording: RecordingProgress | null;
  /** The view is being filmed. */
  filming: boolean;
  /** The stream stands still. */
  frozen: boolean;
  /** Headsets that this device has. */
  headsets: readonly HeadsetMode[];
  /** The one that the view is in; null: it is in the window. */
  inside: HeadsetMode | null;
  /** The room that the page is in; null: none. */
  room: RoomState | null;
  /** The page came to watch a room: it sends nothing. */
  watching: boolean;
}

/** The room that the page is in. */
export interface RoomState {
  /** This page's id there. */
  readonly id: string;
  readonly role: "both" | "viewer";
  /** Right → the key that gives it; empty in a room with a name. */
  readonly keys: Readonly<Record<string, string>>;
  readonly cameras: readonly RoomCamera[];
  readonly viewers: number;
  /** Of viewers who have told one. */
  readonly names: readonly string[];
  readonly locked: boolean;
  /** Id of the camera that this page sees. */
  readonly shown: string;
}

/** A file on the screen, and where it is. */
export interface ReplayState {
  readonly name: string;
  /** How many frames it has; 0: it is being opened. */
  readonly frames: number;
  /** Index of the frame that is due. */
  readonly frame: number;
  readonly positionMs: number;
  readonly durationMs: number;
  readonly playing: boolean;
  readonly speed: number;
  readonly loops: boolean;
  /** Why it ends before the file does; empty: it does not. */
  readonly cut: string;
  /** What made the frame on the screen. */
  readonly label: string;
  /** The same, as the server said at first; null: the file does not say. */
  readonly engine: Engine | null;
}

/** Something a person should read. */
export interface Problem {
  /** Machine-readable, for tests. */
  readonly code: string;
  /** A few words. */
  readonly title: string;
  /** What happened and what to do. */
  readonly text: string;
  /** To be typed somewhere, after the text. */
  readonly lines?: readonly string[];
  /** Goes away when this happens: the connection opens, a source or a file is opened, a frame is shown. Null: only when dismissed. */
  readonly until: "connected" | "started" | "shown" | null;
  /** Nothing goes on until a person acts: such a card does not make room for others. */
  readonly blocks?: boolean;
  /** What the card asks for. */
  readonly ask?: "token";
}

/** What is on the screen. */
export interface ShownFrame {
  seq: number;
  count: number;
  codec: string;
  kind: string;
  /** What made it. */
  label: string;
  timingsMs: Record<string, number>;
  /** It was lifted on the GPU. */
  onGpu: boolean;
  quality: QualityState;
  /** Where the focal length is from; `guessed`: lengths are in no unit. */
  intrinsics: string;
}

export function initialState(config: Config): State {
  return {
    connection: "connecting",
    connectionText: "connecting",
    source: config.source,
    cameras: [],
    camera: "",
    running: false,
    starting: false,
    sourceName: "",
    engine: null,
    limits: null,
    options: {},
    settings: { ...DEFAULT_SETTINGS, ...config.settings },
    problems: [],
    lift: null,
    shown: null,
    sample: false,
    replay: null,
    recording: null,
    filming: false,
    frozen: false,
    room: null,
    watching: false,
    headsets: [],
    inside: null,
  };
}
