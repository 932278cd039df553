// Writes a session to a file while it goes on. Runs in the stream's worker, which has the messages as they came.

import { DEPTH_NAME } from "../codecs/depth.js";
import type { SplatsMessage } from "../stream/messages.js";
import { MAX_BYTES, writeEntry, writeHeader } from "./format.js";

/** The browser may keep a blob on the disk, so what is recorded becomes one from time to time. */
const BLOB_BYTES = 1 << 20;
/** A recording that is forgotten ends by itself: a minute of depth takes some 40 MB. */
export const LONGEST_BYTES = 2 ** 31;

const NONE = new Uint8Array(0);
/** Where a `depth` header has the number of its views, where the first view's head is, how long it is, and where in it the picture. */
const [VIEWS, FIRST_VIEW, VIEW_BYTES, PICTURE] = [6, 28, 76, 69] as const;

/** How far a recording has come. */
export interface RecordingProgress {
  readonly frames: number;
  readonly bytes: number;
  readonly durationMs: number;
}

export class Recorder {
  private readonly blobs: Blob[] = [];
  private parts: Uint8Array<ArrayBuffer>[] = [];
  private partBytes = 0;
  private bytes = 0;
  private frames = 0;
  private firstMs = Number.NaN;
  private lastMs = 0;

  /**
   * @param welcome The server's, as it came.
   * @param beganMs Milliseconds since 1970.
   */
  constructor(welcome: Uint8Array<ArrayBuffer>, beganMs: number) {
    this.append(writeHeader(beganMs));
    this.write(welcome, NONE);
  }

  get progress(): RecordingProgress {
    return { frames: this.frames, bytes: this.bytes, durationMs: this.lastMs };
  }

  get isFull(): boolean {
    return this.bytes >= LONGEST_BYTES;
  }

  /**
   * @param message The reply.
   * @param bytes It as it came.
   * @param own The picture that was sent as its frame, if it is still there.
   */
  add(message: SplatsMessage, bytes: Uint8Array<ArrayBuffer>, own: Uint8Array<ArrayBuffer> | null): void {
    if (this.isFull || bytes.length > MAX_BYTES) return;
    if (Number.isNaN(this.firstMs)) this.firstMs = message.captured_ms;
    const ms = message.captured_ms - this.firstMs;
    if (ms > this.lastMs) this.lastMs = ms;
    this.write(bytes, own && wantsPicture(message) ? own : NONE);
    this.frames++;
  }

  finish(): Blob {
    this.flush();
    return new Blob(this.blobs, { type: "application/octet-stream" });
  }

  private write(message: Uint8Array<ArrayBuffer>, picture: Uint8Array<ArrayBuffer>): void {
    for (const part of [writeEntry(message, picture, this.lastMs), message, picture]) this.append(part);
  }

  private append(part: Uint8Array<ArrayBuffer>): void {
    this.parts.push(part);
    this.partBytes += part.length;
    this.bytes += part.length;
    if (this.partBytes >= BLOB_BYTES) this.flush();
  }

  private flush(): void {
    this.blobs.push(new Blob(this.parts));
    this.parts = [];
    this.partBytes = 0;
  }
}

/** Whether a reply takes its colours from the picture that was sent: a `depth` reply in which a view has none. */
export function wantsPicture({ codec, data }: Pick<SplatsMessage, "codec" | "data">): boolean {
  if (codec !== DEPTH_NAME) return false;
  for (let view = 0; view < (data[VIEWS] ?? 0); view++) {
    if (data[FIRST_VIEW + VIEW_BYTES * view + PICTURE] === 0) return true;
  }
  return false;
}
