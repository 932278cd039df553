// A saved file of splats, as a recording of one frame. Its capture camera is not in it: it is drawn as a webcam would have seen it.

import { viewOf } from "../codecs/codec.js";
import { codecNamed } from "../codecs/index.js";
import { readPlyHeader } from "../codecs/ply.js";
import type { SplatsMessage } from "../stream/messages.js";
import { WEBCAM } from "../view/projection.js";
import { RecordingError } from "./format.js";
import type { RecordedFrame } from "./recording_file.js";

/** 4 million splats of an ordinary file, at the most that is shown. */
const MAX_FILE_BYTES = 2 ** 30;
/** Splats whose places are looked at to see where a scene is. */
const SAMPLES = 4096;
/** Of a scene that the camera's place is in the middle of, or behind: how many of its radii it is moved away. */
const AWAY = 2.2;

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
  const data = new Uint8Array(await file.arrayBuffer());
  const name = String.fromCharCode(...data.subarray(0, 3)) === "ply" ? "ply" : "packed";
  const count = codecNamed(name).count(data);
  if (name === "ply") placePly(data);
  const quality = { max_splats: count, inference_px: 0, splats_share: 1, px_share: 1, cause: "", message: "" };
  const message: SplatsMessage = {
    ...{ type: "splats", seq: 0, captured_ms: 0, codec: name, kind: "file", label: "", count, camera: WEBCAM },
    ...{ pruned: {}, timings_ms: {}, dropped: {}, quality, intrinsics: "guessed", data },
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
  const places = ["x", "y", "z"].map((name) => sample(view, start + at(name), stride, count));
  const inFront = places[2]!.filter((z) => z > 0).length;
  if (inFront * 4 >= places[2]!.length * 3) return;
  const [x, y, z] = places.map(middle) as [number, number, number];
  const radius = middle(places[0]!.map((_, i) => Math.hypot(places[0]![i]! - x, places[1]![i]! - y, places[2]![i]! - z)));
  edit("x", (value) => value - x);
  edit("y", (value) => value - y);
  edit("z", (value) => value - z + AWAY * radius);

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

function sample(view: DataView, from: number, stride: number, count: number): number[] {
  const step = Math.max(1, Math.floor(count / SAMPLES));
  const values: number[] = [];
  for (let i = 0; i < count; i += step) values.push(view.getFloat32(from + i * stride, true));
  return values;
}

function middle(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}
