// A saved file of splats, as a recording of one frame. Its capture camera is not in it: it is drawn as a webcam would have seen it.

import { codecNamed } from "../codecs/index.js";
import type { SplatsMessage } from "../stream/messages.js";
import { WEBCAM } from "../view/projection.js";
import { RecordingError } from "./format.js";
import type { RecordedFrame } from "./recording_file.js";

/** 4 million splats of an ordinary file, at the most that is shown. */
const MAX_FILE_BYTES = 2 ** 30;

/** One frame, and nothing else. */
export interface SplatFile {
  readonly times: number[];
  readonly cut: string;
  frame(index: number): Promise<RecordedFrame>;
}

/** @throws Error Saying why it can't be shown. */
export async function readSplats(file: File): Promise<SplatFile> {
  if (file.size > MAX_FILE_BYTES) throw new RecordingError(`expected at most ${MAX_FILE_BYTES} bytes, got ${file.size}`);
  const data = new Uint8Array(await file.arrayBuffer());
  const name = data[0] === 0x70 ? "ply" : "packed"; // "ply" or "SPPK"
  const count = codecNamed(name).count(data);
  const quality = { max_splats: count, inference_px: 0, splats_share: 1, px_share: 1, cause: "", message: "" };
  const message: SplatsMessage = {
    ...{ type: "splats", seq: 0, captured_ms: 0, codec: name, kind: "file", label: file.name, count, camera: WEBCAM },
    ...{ pruned: {}, timings_ms: {}, dropped: {}, quality, data },
  };
  return { times: [0], cut: "", frame: () => Promise.resolve({ message, picture: null }) };
}
