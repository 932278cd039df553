// A file that is shown, in the stream's worker: a recording, frame by frame as the page asks for them, or one frame of saved splats.

import { nowMs } from "../clock.js";
import type { BufferPool } from "../stream/pool.js";
import { checkCamera, ReplyDecoder } from "../stream/reply_decoder.js";
import { bufferOf, type DecodedFrame, type FromFile } from "../stream/thread.js";
import { type RecordedFrame, RecordingFile } from "./recording_file.js";
import { readSplats } from "./splat_file.js";

/** Room for what a frame may have, in few sizes; a file may claim any number, of which its codec then refuses what is not there. */
const MOST_SPLATS = 1 << 22;

export class OpenedFile {
  private readonly decoder: ReplyDecoder;
  private run = 0;
  private recording: Pick<RecordingFile, "frame"> | null = null;

  constructor(
    pool: BufferPool,
    private readonly post: (message: FromFile, transfer?: Transferable[]) => void,
  ) {
    // Of its own, as a decoder's frames share buffers: a late reply of the stream may still be under way.
    this.decoder = new ReplyDecoder(pool);
  }

  set liftsOnPage(onPage: boolean) {
    this.decoder.liftsOnPage = onPage;
  }

  /** Opens a file in place of the last. Answered with `fileOpened` or `fileBad`. */
  async open(file: File, run: number): Promise<void> {
    this.run = run;
    this.recording = null;
    try {
      const opened = /\.splatcast$/i.test(file.name) ? await RecordingFile.open(file) : await readSplats(file);
      if (this.run !== run) return;
      this.recording = opened;
      this.post({ type: "fileOpened", run, times: opened.times, cut: opened.cut, engine: opened.engine });
    } catch (error) {
      this.post({ type: "fileBad", run, index: null, message: sentence(error) });
    }
  }

  /** Answered with `fileFrame` or `fileBad`; the next question must wait for it. */
  async show(index: number, run: number): Promise<void> {
    if (this.run !== run || !this.recording) return;
    const receivedMs = nowMs();
    try {
      const frame = await this.decode(await this.recording.frame(index), receivedMs);
      this.post({ type: "fileFrame", run, index, frame }, [bufferOf(frame.content)]);
    } catch (error) {
      this.post({ type: "fileBad", run, index, message: sentence(error) });
    }
  }

  private async decode({ message, picture }: RecordedFrame, receivedMs: number): Promise<DecodedFrame> {
    checkCamera(message.camera);
    const budget = Math.min(MOST_SPLATS, 2 ** Math.ceil(Math.log2(Math.max(1, message.count))));
    const { count, content, pivot } = await this.decoder.decode(message, picture, budget);
    const { data, type: _, ...rest } = message;
    // Its age counts from when it was due.
    const times = { captured_ms: receivedMs, receivedMs, decodedMs: nowMs() };
    return { ...rest, ...times, count, content, bytes: data.byteLength, pivotDepth: pivot, fromFile: true };
  }
}

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
