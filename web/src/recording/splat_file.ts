// A saved file of splats, as a recording of one frame. Its capture camera is not in it: it is drawn as a webcam would have seen it.

import { viewOf } from "../codecs/codec.js";
import { codecNamed } from "../codecs/index.js";
import { readPlyHeader } from "../codecs/ply.js";
import { plainPly } from "../codecs/ply_plain.js";
import type { SplatsMessage } from "../stream/messages.js";
import { WEBCAM } from "../view/projection.js";
import { RecordingError } from "./format.js";
import { SAMPLES, shiftOf, type Vector } from "./placing.js";
import { pointsOfPly } from "./point_ply.js";
import type { RecordedFrame } from "./recording_file.js";

/** 4 million splats of an ordinary file, at the most that is shown. */
const MAX_FILE_BYTES = 2 ** 30;

/** One frame, and nothing else. */
export interface SplatFile {
  readonly times: number[];
  readonly cut: string;
  readonly engine: null;
  frame(index: number): Promise<RecordedFrame>;
}

/** @throws Error Saying why it can't be shown. */
export async function readSplats(file: Blob): Promise<SplatFile> {
  if (file.size > MAX_FILE_BYTES) throw new RecordingError(`expected at most ${MAX_FILE_BYTES} bytes, got ${file.size}`);
  const bytes = new Uint8Array(await file.arrayBuffer());
  const begins = (magic: string): boolean => String.fromCharCode(...bytes.subarray(0, magic.length)) === magic;
  const points = begins("ply") ? pointsOfPly(bytes) : begins("SPPT") ? bytes : null;
  const data = points ?? (begins("ply") ? plainPly(bytes) : bytes);
  const name = points ? "points" : begins("ply") ? "ply" : "packed";
  const count = codecNamed(name).count(data);
  if (name === "ply") placePly(data);
  const quality = { max_splats: count, inference_px: 0, splats_share: 1, px_share: 1, cause: "", message: "" };
  const message: SplatsMessage = {
    ...{ type: "splats", seq: 0, captured_ms: 0, codec: name, kind: "file", label: "", count, camera: WEBCAM },
    ...{ pruned: {}, timings_ms: {}, dropped: {}, quality, data, source: "", intrinsics: "guessed" },
  };
  return { times: [0], cut: "", engine: null, frame: () => Promise.resolve({ message, picture: null }) };
}

/**
 * Turns and moves a scene, in its bytes, to where the camera sees it: a file that says `frame: opengl` has y up and z towards the
 * viewer, and one from elsewhere may lie around its origin, which is where the camera is.
 */
export function placePly(data: Uint8Array): void {
  const { count, start, properties, comments } = readPlyHeader(data);
  const stride = 4 * properties.length;
  // What is not there, the codec says.
  if (data.length !== start + count * stride) return;
  const view = viewOf(data);
  const at = (name: string): number => 4 * properties.indexOf(name);
  const edit = (name: string, change: (value: number) => number): void => {
    for (let i = 0, to = start + at(name); i < count; i++, to += stride)
      view.setFloat32(to, change(view.getFloat32(to, true)), true);
  };
  // Half a turn about x: q' = (0, 1, 0, 0)·q·(0, −1, 0, 0) for the axes, here both ways to keep the splat as it is.
  const isUp = comments.some((line) => line.startsWith("frame: opengl"));
  if (isUp) for (const name of ["y", "z"]) edit(name, (value) => -value);
  if (isUp) turnQuats();
  const step = Math.max(1, Math.floor(count / SAMPLES));
  const placeOf = (i: number): Vector =>
    ["x", "y", "z"].map((name) => view.getFloat32(start + i * step * stride + at(name), true)) as unknown as Vector;
  const shift = shiftOf(Array.from({ length: Math.ceil(count / step) }, (_, i) => placeOf(i)));
  if (!shift) return;
  for (const [axis, name] of ["x", "y", "z"].entries()) edit(name, (value) => value + shift[axis]!);

  function turnQuats(): void {
    for (let i = 0, row = start; i < count; i++, row += stride) {
      const [w, qx, qy, qz] = ["rot_0", "rot_1", "rot_2", "rot_3"].map((name) => view.getFloat32(row + at(name), true)) as [
        number,
        number,
        number,
        number,
      ];
      // (0, 1, 0, 0) times it.
      [-qx, w, -qz, qy].forEach((value, part) => view.setFloat32(row + at(`rot_${part}`), value, true));
    }
  }
}
