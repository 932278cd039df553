// Generated from deployments/stream/messages.py by `python -m deployments.stream.typescript`. Do not edit.

/** Version of the wire protocol. */
export const PROTOCOL = 1;

/** Options that travel through the graph with every frame. */
export interface FrameOptions {
  /** Name of the codec of the reply, or `auto`: `depth` where the model predicts depth, `planes` where it predicts Gaussians, if the client decodes it; else `points` for points and `packed` for splats. */
  codec: string;
  /** Where the colours of a `depth` reply come from: `jpeg`: the picture travels with it as the camera coded it; `own`: the client has the pictures that it sent. */
  colors: "jpeg" | "own";
  /** `splats` (native or lifted Gaussians), `points`, or `auto`: the model's default. */
  representation: "auto" | "splats" | "points";
  /** What `depth` and `planes` round inverse depth to, as a share of its median: half as fine takes a quarter fewer bytes. The qualities of the other planes of `planes` go by it. */
  depth_step: number;
  /** Splat budget of a frame. */
  max_splats: number;
  /** Gaussians fainter than this are pruned, 0..1. */
  min_opacity: number;
  /** Fraction of the picture cut on each side, 0..0.45. */
  border: number;
  /** Gaussians farther than this percentile of the frame's depths are pruned, 1..100 (100: none). */
  depth_percentile: number;
  /** How much a model that predicts depth holds still what does not move, and how slowly the relief's mask and faces ease, 0..1; 0: every frame stands alone. */
  calm: number;
  /** How far to the side surfaces go on behind nearer ones' edges, degrees, 0..30; 0: not at all. For depth, and for Gaussians that a model predicts of one view. */
  behind_deg: number;
  /** Longest side of the picture the model works on, pixels; 0 leaves it to the model. */
  inference_px: number;
  /** Field of view of the camera across the picture's longer side, degrees, for models that do not find it themselves; 0: what the picture's EXIF says, else the model's usual one. */
  fov_deg: number;
  /** Spherical-harmonics degree, 0..2, for models that have them. */
  sh_degree: number;
  /** Whether the server may lower `max_splats` and `inference_px`, and raise `depth_step`, to keep the stream's age down. */
  adapt: boolean;
  /** How far it may lower `max_splats`. */
  min_splats: number;
  /** How far it may lower `inference_px`. */
  min_inference_px: number;
  /** With `adapt`, the budget of the first frames, which grows to `max_splats` as fast as link and client show that they can; 0: all of it at once. */
  start_splats: number;
}

/** What makes the splats. */
export interface Engine {
  /** Kind of engine. */
  engine: string;
  /** Name of the model. */
  name: string;
  /** One line to show below the picture. */
  label: string;
  /** SPDX identifier. */
  licence: string;
  /** What it can produce, its default first: `native`, `lifted`, `points`. */
  kinds: string[];
  /** One sentence if the licence limits use, else empty. */
  licence_note: string;
  /** Whether units are metres. */
  metric: boolean;
  /** Labels that some of its frames have instead. */
  other_labels: string[];
  /** Whether it makes one world of several views of one moment. */
  joins_views: boolean;
  /** How far to the side its frames look right, degrees; 0: nobody has said. */
  around_deg: number;
}

/** What the server accepts. */
export interface Limits {
  /** Encoded bytes of all views of a frame together. */
  max_frame_bytes: number;
  /** Pixels of one view. */
  max_frame_pixels: number;
  /** Views of a frame. */
  max_views: number;
  /** Frames of one session that the graph works on at a time. */
  max_in_flight: number;
  /** Replies on the way before the server waits for an `ack`. */
  max_unacked: number;
  /** Largest splat budget. */
  max_splats: number;
  /** Largest `inference_px`. */
  max_inference_px: number;
  /** Codecs offered. */
  codecs: string[];
  /** A session is closed when nothing comes from it for this long. */
  idle_timeout_s: number;
}

/** Pinhole intrinsics of the capture camera, in pixels of the picture the model worked on. */
export interface Camera {
  /** Width of that picture, pixels. */
  width: number;
  /** Its height, pixels. */
  height: number;
  /** Horizontal focal length, pixels. */
  fx: number;
  /** Vertical focal length, pixels. */
  fy: number;
  /** Principal point from the left edge, pixels; pixel centres lie at +0.5. */
  cx: number;
  /** Principal point from the top edge, pixels. */
  cy: number;
}

/** The quality one frame was made with: the client's options, or less, to keep the stream's age down. */
export interface QualityState {
  /** Splat budget the frame was made with. */
  max_splats: number;
  /** Longest side of the picture the model worked on; 0: the model's choice. */
  inference_px: number;
  /** Splats in the frame over those that the client's own options would give, 0..1. If depth is rounded more coarsely instead: the share of splats that would save as many bytes. */
  splats_share: number;
  /** The same for the longest side. */
  px_share: number;
  /** Why they last changed: `network`, `client`, `compute`, `recovered`, `no_gain`, or `starting`; empty: they never did. */
  cause: string;
  /** The same as a sentence. */
  message: string;
}

/** A camera of the room. */
export interface RoomCamera {
  /** Its id. */
  id: string;
  /** What it calls itself. */
  name: string;
  /** Whether it is gone for the moment; its place is kept for a while. */
  away: boolean;
  /** Whether its frames are views of one capture together with those of other cameras. */
  in_capture: boolean;
}

/** What a calibrated camera knows of itself. */
export interface KnownCamera {
  /** Horizontal focal length, pixels of the view as it is sent, upright: after its EXIF orientation. */
  fx: number;
  /** Vertical focal length, the same pixels. */
  fy: number;
  /** Principal point from the upright view's left edge, the same pixels; pixel centres lie at +0.5. */
  cx: number;
  /** Principal point from its top edge. */
  cy: number;
  /** World to camera, rotation and translation [3, 4], row by row: 12 numbers in OpenCV's axes (x right, y down, z forward). The world is any that all views of the frame share, in metres if the frame has depths. Null: unknown. */
  pose?: number[] | null;
}

/** Opens a session of the current protocol. A client that never sends it gets the original protocol. */
export interface HelloMessage {
  type: "hello";
  /** The version the client speaks. */
  protocol: number;
  /** Codecs the client decodes, best first. */
  codecs: string[];
  /** Name and version of the client, for the log. */
  client?: string;
  /** Changes to the server's default options. */
  options?: Partial<FrameOptions>;
  /** The room to be in from the start; null: none. */
  join?: JoinMessage | null;
}

/** One moment, seen by one camera or by several at once. */
export interface FrameMessage {
  type: "frame";
  /** The client's number for the frame, rising by any step. */
  seq: number;
  /** Encoded images, one for each camera. */
  views: Uint8Array[];
  /** When it was captured, on the client's clock. Echoed, never interpreted. */
  captured_ms?: number;
  /** What is known of the cameras, one for each view; empty: nothing. */
  cameras?: KnownCamera[];
  /** Depth that was measured, to be shown instead of the model's: 16-bit grey PNGs, one for each view; empty: none. Each covers its view's picture (upright, of any size), pixel for pixel the z-depth in the view's camera; 0: unknown. */
  depths?: Uint8Array[];
  /** Metres of one step of `depths`. */
  depth_unit_m?: number;
}

/** The client has shown a reply (or dropped it for a newer one), and is ready for more. */
export interface AckMessage {
  type: "ack";
  /** Number of the frame. */
  seq: number;
  /** When the reply had arrived, on the client's clock. */
  received_ms?: number;
  /** When it had been decoded. */
  decoded_ms?: number;
  /** When its pixels were handed to the screen; 0 if it was not shown. */
  shown_ms?: number;
  /** From capture to that moment: the age at display. 0 if it was not shown. */
  age_ms?: number;
}

/** Changes options from the next frame on. Answered with `configured`, or with an `error` that names the option. */
export interface ConfigureMessage {
  type: "configure";
  options: Partial<FrameOptions>;
}

/** Answered with a `pong` of the same `t`. Also keeps an idle session open. */
export interface PingMessage {
  type: "ping";
  t?: number;
}

/** Enters a room, and leaves the one before. Answered with `joined`, or with an `error`, and then nothing has changed. */
export interface JoinMessage {
  type: "join";
  /** A name, a key of the room (`owner.…`, `camera.…`, `viewer.…`), or `new` for one that nobody knows yet. */
  room: string;
  /** `camera`: sends frames, and gets a `published` for each; `viewer`: gets the room's splats; `both`: sends frames, which the room sees, and gets its own splats. */
  role?: "camera" | "viewer" | "both";
  /** What to call this member to the others; may be empty. */
  name?: string;
  /** The token from an earlier `joined`, to have that place in the room again. */
  place?: string;
  /** The time of sending on the client's clock. */
  t?: number;
}

/** Leaves the room, for good. The session goes on without one; nothing happens if it is in none. */
export interface LeaveMessage {
  type: "leave";
}

/** Chooses the camera of the room that a viewer sees. */
export interface WatchMessage {
  type: "watch";
  /** Its id, as in `room`; empty: the room's first. */
  camera?: string;
}

/** What the owner of a room may do to it. */
export interface GovernMessage {
  type: "govern";
  /** Whether new viewers are kept out; null: as it is. */
  locked?: boolean | null;
  /** Ends the room, for all. */
  close?: boolean;
}

/** Answers `hello`. */
export interface WelcomeMessage {
  type: "welcome";
  /** The version both speak. */
  protocol: number;
  /** Version of the server. */
  version: string;
  /** Id of the session, as in the server's log. */
  session: string;
  /** What makes the splats. */
  engine: Engine;
  /** The options in force. */
  options: Partial<FrameOptions>;
  /** What the server accepts. */
  limits: Limits;
}

/** Answers `configure`: the options in force from the next frame on. */
export interface ConfiguredMessage {
  type: "configured";
  options: Partial<FrameOptions>;
}

/** One frame of splats. */
export interface SplatsMessage {
  type: "splats";
  /** Number of the frame this answers. Rises; every lower number is settled too. */
  seq: number;
  /** Echo of the frame's. */
  captured_ms: number;
  /** How `data` is coded. */
  codec: string;
  /** `native`, `lifted` or `points`. */
  kind: string;
  /** What made it, to show to people. */
  label: string;
  /** Splats in `data`. */
  count: number;
  /** The capture viewpoint: at the origin, looking along +z, x right, y down. */
  camera: Camera;
  /** Reason → Gaussians removed for it: `opacity`, `border`, `depth`, `budget`, `invalid`, `edge`, `transparent`. */
  pruned: Record<string, number>;
  /** Stage → milliseconds: `receive`, `queue`, `decode`, `infer`, `pack`, `send`, `total`; of another camera's frame `relay` in place of `receive` and `queue`: from the graph's end to this reply. */
  timings_ms: Record<string, number>;
  /** Reason → frames of this session dropped for it so far. */
  dropped: Record<string, number>;
  /** The quality it was made with. */
  quality: QualityState;
  /** The codec's bytes. */
  data: Uint8Array;
  /** Id of the room's camera whose frame it is; empty: the client's own. `seq` then counts what this viewer gets, and `captured_ms` is as exact as both clocks are known. */
  source: string;
  /** Where the camera's focal length is from: `given` (`fov_deg`, or the frame's `cameras`), `exif`, `predicted` by the model, or `guessed`: then lengths are in no unit, whatever the engine's `metric` says. */
  intrinsics: string;
}

/** Frames that get no splats, through nobody's mistake. */
export interface DroppedMessage {
  type: "dropped";
  /** `superseded` (a newer frame came before the graph was free), `stale` (a newer result was ready first), `slow_client` (earlier replies were not acknowledged yet), `overloaded` (the graph's queues were full), `rate_limited` (frames came faster than one session may send them). */
  code: string;
  /** The same as a sentence. */
  message: string;
  /** How many. */
  count: number;
  /** Their numbers, at most the newest 64. */
  seqs: number[];
}

/** A frame or a message was refused. */
export interface ErrorMessage {
  type: "error";
  /** Machine-readable. */
  code: string;
  /** What was expected, what came, what to do. */
  message: string;
  /** Number of the frame, or null if it is not about one. */
  seq: number | null;
  /** The server closes the connection after this. */
  fatal: boolean;
}

/** Answers `ping`. */
export interface PongMessage {
  type: "pong";
  t: number;
}

/** Answers `join`. */
export interface JoinedMessage {
  type: "joined";
  /** This member's id, by which the others know it. */
  id: string;
  /** What it does in the room. */
  role: string;
  /** The token to say in the next `join` of this room, to have this place again. Nobody else should have it. */
  place: string;
  /** Right (`owner`, `camera`, `viewer`) → the key that gives it, for this client's own and those below; empty in a room with a name. */
  keys: Record<string, string>;
  /** The server's clock, seconds since 1970. */
  t: number;
}

/** Who is in the room; said at each change. */
export interface RoomMessage {
  type: "room";
  /** The longest there first. */
  cameras: RoomCamera[];
  /** How many watch. */
  viewers: number;
  /** Of viewers who have told one, at most 32. */
  names: string[];
  /** Whether new viewers are kept out. */
  locked: boolean;
  /** Id of the camera that this viewer sees; empty if there is none. */
  shown: string;
}

/** A camera's frame went to the room. */
export interface PublishedMessage {
  type: "published";
  /** Number of the frame. */
  seq: number;
  /** Echo of the frame's. */
  captured_ms: number;
  /** As in `splats`. */
  timings_ms: Record<string, number>;
}

export type ClientMessage =
  | HelloMessage
  | FrameMessage
  | AckMessage
  | ConfigureMessage
  | PingMessage
  | JoinMessage
  | LeaveMessage
  | WatchMessage
  | GovernMessage;

export type ServerMessage =
  | WelcomeMessage
  | ConfiguredMessage
  | SplatsMessage
  | DroppedMessage
  | ErrorMessage
  | PongMessage
  | JoinedMessage
  | RoomMessage
  | PublishedMessage;
