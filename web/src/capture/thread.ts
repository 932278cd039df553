// What the page, the capture worker and the socket worker say to each other about captured pictures.

/** How pictures are captured. */
export interface CaptureSettings {
  /** Longest side, pixels; the other follows. */
  side: number;
  /** Pictures per second, at most. */
  maxFps: number;
  /** JPEG quality, 0..1. */
  quality: number;
  /** Left and right exchanged, for sources that face the person. */
  mirror: boolean;
}

/** What the worker should know of a source. */
export interface SourceNature {
  /** A picture stays what is to be seen until the next comes, however long that takes: stills, and screens. */
  stays: boolean;
  /** It faces the person, and may be mirrored. */
  faces: boolean;
  /** It is sent with its transparency, which a JPEG can't hold. */
  transparent: boolean;
}

/** From the page to the capture worker. `again`: what stays is to be sent once more. Every start has a new `run`; what belongs to an older one is closed unseen. */
export type ToCapture =
  | { type: "frames"; port: MessagePort }
  | { type: "settings"; settings: CaptureSettings }
  | { type: "start"; run: number; nature: SourceNature }
  | { type: "stop"; run: number }
  | { type: "stream"; run: number; stream: ReadableStream<VideoFrame> }
  | { type: "track"; run: number; track: MediaStreamTrack }
  | { type: "image"; run: number; image: VideoFrame | ImageBitmap; capturedMs: number }
  | { type: "again" }
  | { type: "encoded"; run: number; bytes: Uint8Array<ArrayBuffer>; capturedMs: number };

/** From the capture worker to the page. `alive`: the source gives pictures, said twice a second at most. */
export type FromCapture =
  | { type: "ready"; trackProcessor: boolean }
  | { type: "gate"; open: boolean }
  | { type: "alive"; run: number }
  | { type: "failed"; message: string };

/** From the capture worker to the socket worker. */
export type CapturedFrame = { bytes: Uint8Array<ArrayBuffer>; capturedMs: number };

/** And back: whether another frame would be sent at once. */
export type FrameWanted = { wanted: boolean };
