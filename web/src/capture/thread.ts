// What the page, the capture worker and the socket worker say to each other about captured pictures.

/** How pictures are captured. */
export interface CaptureSettings {
  /** Largest width, pixels; the height follows. */
  width: number;
  /** Pictures per second, at most. */
  maxFps: number;
  /** JPEG quality, 0..1. */
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

/** From the capture worker to the socket worker. */
export type CapturedFrame = { bytes: Uint8Array<ArrayBuffer>; capturedMs: number };

/** And back: whether another frame would be sent at once. */
export type FrameWanted = { wanted: boolean };
