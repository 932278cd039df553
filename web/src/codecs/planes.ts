// The `planes` codec: Gaussians that a network predicted for the pixels of a picture. Layout: deployments/splats/codecs/planes.py.
//
//   header 12   SPLP · u8 version 1, views · u16 0 · u32 CRC-32 of what follows
//   view 108    u16 width, height · f32 fx, fy, cx, cy · f32 pose [3, 4] · f32 unit, lowest and highest ln of scales, bound of
//               offsets · u32 bytes of depth, colour, front, side, opacity, offset
//   then for each view the depth plane, and JPEGs of the other five
//
// The words are those that the server's `packed` codec makes of what its own decoder finds, at most a step apart.

import type { Camera } from "../stream/messages.js";
import { DecodeError, viewOf } from "./codec.js";
import { crc32, isPose } from "./depth.js";
import { DEPTH, PlaneDecoder } from "./depth_map.js";
import { farOffset } from "./far.js";
import { checkJpeg } from "./jpeg_head.js";
import type { ReadPixels } from "./pixels.js";
import { type PixelPlanes, writeView } from "./planes_words.js";
import { type SplatRange, WORDS } from "./words.js";

export const PLANES_NAME = "planes";
const NAME = PLANES_NAME;
const HEADER_BYTES = 12;
const VIEW_BYTES = 108;
const MAX_VIEWS = 8;
const MAX_SIDE = 4096;
/** Of all views. */
const MAX_PIXELS = 1 << 20;
const MAX_LN_SCALE = 20;
const MIN_LN_RANGE = 1e-3;
const MAX_OFFSET = 1e4;
const TINY = 2 ** -126;
const HUGE = 1e12;
/** The sections' numbers. */
const [DEPTH_PLANE, OPACITY, OFFSET] = [0, 4, 5];

/** What is stated of a view. */
export interface PlanesView {
  readonly camera: Camera;
  /** First camera to this one, row by row, [3, 4]; null for the first view. */
  readonly pose: Float32Array | null;
  /** Inverse depth of a unit. */
  readonly unit: number;
  readonly lnLow: number;
  readonly lnHigh: number;
  /** Bound of offsets, pixels; 0: there are none. */
  readonly offset: number;
  /** Bytes of the six sections. */
  readonly sizes: readonly number[];
}

/** Decodes frames, one after the other, into buffers that it keeps. */
export class PlanesDecoder {
  private readonly planes = new PlaneDecoder();
  private units = new Int32Array(0);

  constructor(private readonly readPixels: ReadPixels) {}

  /**
   * @param range What bytes of colours (0..1) and scales are to span.
   * @param take Gives room for the words of so many splats.
   * @returns How many splats there are, their words, and what is to be added to every z; the room left over is cleared.
   * @throws DecodeError Saying what was expected and what came.
   */
  async decode<Words extends Uint32Array>(
    data: Uint8Array,
    range: SplatRange,
    take: (pixels: number) => Words,
  ): Promise<{ count: number; words: Words; zOffset: number }> {
    const views = readViews(data);
    let at = HEADER_BYTES + VIEW_BYTES * views.length;
    const size = views.reduce((sum, { sizes }) => sizes.reduce((a, b) => a + b, sum), at);
    if (data.length !== size) throw new DecodeError(NAME, `${size} bytes`, `${data.length}`);
    const [crc, stated] = [crc32(data, HEADER_BYTES), viewOf(data).getUint32(8, true)];
    if (crc !== stated) throw new DecodeError(NAME, `the checksum ${crc.toString(16)}`, stated.toString(16));
    const sections = views.map(({ sizes }) =>
      sizes.map((bytes) => {
        at += bytes;
        return data.subarray(at - bytes, at);
      }),
    );
    // Every file's header before any file's pixels.
    views.forEach(({ camera: { width, height }, sizes }, view) => {
      for (let i = 1; i < sizes.length; i++) {
        if (sizes[i]! > 0) checkJpeg(NAME, sections[view]![i]!, width, height, i === OPACITY ? 1 : 3);
      }
    });
    const pixels = pixelsOf(views);
    const words = take(pixels);
    if (words.length < pixels * WORDS) throw new DecodeError(NAME, `room for ${pixels} splats`, `${words.length / WORDS}`);
    let count = 0;
    let zOffset = 0;
    for (const [i, view] of views.entries()) {
      const planes = await this.planesOf(view, sections[i]!);
      // z is the first camera's depth. Splats of others may be as near as they like, which costs precision only.
      if (i === 0) zOffset = farOffset(view.camera.width * view.camera.height, (at) => depthAt(planes, view, at), false);
      count = writeView(view, planes, { ...range, zOffset }, words, count);
    }
    words.fill(0, count * WORDS);
    return { count, words, zOffset };
  }

  private async planesOf(view: PlanesView, sections: readonly Uint8Array[]): Promise<PixelPlanes> {
    const { width, height } = view.camera;
    const reading = Promise.all(
      sections.slice(1).map((jpeg) => (jpeg.length > 0 ? this.readPixels(jpeg, width, height) : null)),
    );
    // The browser decodes them beside this thread. If the depth is refused first, theirs is no news.
    reading.catch(() => undefined);
    if (this.units.length < width * height) this.units = new Int32Array(width * height);
    this.planes.decode(NAME, sections[DEPTH_PLANE]!, width, height, DEPTH, this.units);
    const [colour, front, side, opacity, offset] = await reading;
    return { units: this.units, colour: colour!, front: front!, side: side!, opacity: opacity!, offset: offset ?? null };
  }
}

/** z of a pixel's splat in its view's frame; 0: there is none. */
function depthAt({ units }: PixelPlanes, { unit }: PlanesView, at: number): number {
  return units[at] === 0 ? 0 : 1 / (units[at]! * unit);
}

function pixelsOf(views: readonly PlanesView[]): number {
  return views.reduce((sum, { camera: { width, height } }) => sum + width * height, 0);
}

function readViews(data: Uint8Array): PlanesView[] {
  if (data.length < HEADER_BYTES) throw new DecodeError(NAME, `a header of ${HEADER_BYTES} bytes`, `${data.length} bytes`);
  const magic = String.fromCharCode(...data.subarray(0, 4));
  if (magic !== "SPLP") throw new DecodeError(NAME, "the magic SPLP", JSON.stringify(magic));
  if (data[4] !== 1) throw new DecodeError(NAME, "version 1", `${data[4]}`);
  const count = check("number of views", data[5]!, 1, MAX_VIEWS);
  const view = viewOf(data);
  check("spare number", view.getUint16(6, true), 0, 0);
  const size = HEADER_BYTES + VIEW_BYTES * count;
  if (data.length < size) throw new DecodeError(NAME, `headers of ${size} bytes`, `${data.length} bytes`);
  const views = Array.from({ length: count }, (_, i) => readView(view, HEADER_BYTES + VIEW_BYTES * i, i === 0));
  const pixels = pixelsOf(views);
  if (pixels > MAX_PIXELS) throw new DecodeError(NAME, `at most ${MAX_PIXELS} pixels in all views`, `${pixels}`);
  return views;
}

function readView(view: DataView, at: number, isFirst: boolean): PlanesView {
  const float = (offset: number): number => view.getFloat32(at + offset, true);
  const width = check("width", view.getUint16(at, true), 1, MAX_SIDE);
  const height = check("height", view.getUint16(at + 2, true), 1, MAX_SIDE);
  const fx = check("fx", float(4), TINY, HUGE);
  const fy = check("fy", float(8), TINY, HUGE);
  const cx = check("cx", float(12), -HUGE, HUGE);
  const cy = check("cy", float(16), -HUGE, HUGE);
  const pose = Float32Array.from({ length: 12 }, (_, i) => float(20 + 4 * i));
  if (!isPose(pose, isFirst)) {
    throw new DecodeError(NAME, "a rotation and a translation, none for the first view", pose.join(" "));
  }
  const unit = check("unit", float(68), TINY, HUGE);
  const lnLow = check("lowest ln of scales", float(72), -MAX_LN_SCALE, MAX_LN_SCALE);
  const lnHigh = check("highest ln of scales", float(76), lnLow + MIN_LN_RANGE, MAX_LN_SCALE);
  const offset = check("bound of offsets", float(80), 0, MAX_OFFSET);
  const sizes = Array.from({ length: 6 }, (_, i) => view.getUint32(at + 84 + 4 * i, true));
  for (const bytes of sizes.slice(0, OFFSET)) check("number of bytes", bytes, 1, 2 ** 32 - 1);
  if (sizes[OFFSET]! > 0 !== offset > 0) {
    throw new DecodeError(NAME, "the bytes of offsets if they have a bound, else 0", `${sizes[OFFSET]}`);
  }
  return { camera: { width, height, fx, fy, cx, cy }, pose: isFirst ? null : pose, unit, lnLow, lnHigh, offset, sizes };
}

/** The value, if it is in its range; NaN never is. */
function check(name: string, value: number, low: number, high: number): number {
  if (!(low <= value && value <= high)) throw new DecodeError(NAME, `a ${name} of ${low} to ${high}`, `${value}`);
  return value;
}
