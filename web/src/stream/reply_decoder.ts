// A reply's bytes → packed words. Most codecs hold them; a `depth` reply is lifted here, with the colours of its picture, or comes as
// the pixels that the page's GPU lifts.

import { DecodeError } from "../codecs/codec.js";
import { type CodedFrame, type CodedLayer, type CodedView, DEPTH_NAME, DepthDecoder, readFrame } from "../codecs/depth.js";
import { PIXEL_WORDS, toPixels } from "../codecs/depth_pixels.js";
import { codecNamed } from "../codecs/index.js";
import { LIFTED_RANGE, Lifter } from "../codecs/lift.js";
import { GridPainter } from "../codecs/pictures.js";
import { pixelReader } from "../codecs/pixels.js";
import { PLANES_NAME, PlanesDecoder } from "../codecs/planes.js";
import type { Size } from "../codecs/resample.js";
import { ROW } from "../codecs/words.js";
import { pivotDepth, pivotOfPixels } from "../view/pivot.js";
import type { Camera, SplatsMessage } from "./messages.js";
import type { BufferPool } from "./pool.js";
import type { FrameContent } from "./thread.js";

/** Pixels that the page can lift: 2048 rows of a texture are what every browser has. */
const MOST_ON_PAGE = 2048 * ROW;

export interface DecodedReply {
  readonly count: number;
  readonly content: FrameContent;
  /** Depth to orbit around, model units; 0 where there is none. */
  readonly pivot: number;
}

export class ReplyDecoder {
  /** The page lifts depth frames: they are handed over as pixels. */
  liftsOnPage = false;
  private scratch = new Uint32Array(0);
  private readonly depth = new DepthDecoder();
  private readonly lifter = new Lifter();
  private readonly painter = new GridPainter();
  /** Of the last reply, where its colours were those of the picture that was sent. */
  private ownGrid: Size | null = null;
  /** Pictures that were painted while they were sent, as long as somebody has them. */
  private readonly painted = new WeakMap<Uint8Array, { grid: Size; rgba: Promise<Uint8Array> }>();
  private readonly planes = new PlanesDecoder(pixelReader(PLANES_NAME));

  /** @param mostOnPage Frames with room for more pixels are lifted here, whatever {@link liftsOnPage} says. */
  constructor(
    private readonly pool: BufferPool,
    private readonly mostOnPage = MOST_ON_PAGE,
  ) {}

  /**
   * Decodes one reply; the next one must wait for it, as buffers are shared.
   *
   * @param message The reply.
   * @param own The picture that was sent as its frame, if it is still there.
   * @param budget Splats that a frame may have.
   * @throws Error Saying what was expected and what came.
   */
  async decode(message: SplatsMessage, own: Uint8Array<ArrayBuffer> | null, budget: number): Promise<DecodedReply> {
    if (message.codec === DEPTH_NAME) return this.lift(readFrame(message.data), own, budget);
    this.ownGrid = null;
    if (message.codec === PLANES_NAME) {
      const take = (pixels: number) => this.pool.take(pixels, budget);
      const { count, words, zOffset } = await this.planes.decode(message.data, LIFTED_RANGE, take);
      const range = { ...LIFTED_RANGE, zOffset };
      return { count, content: { words, range }, pivot: pivotDepth(words, count, message.camera, zOffset) };
    }
    const codec = codecNamed(message.codec);
    const count = codec.count(message.data);
    if (count !== message.count)
      throw new Error(`${message.codec}: the message announces ${message.count} splats, its data ${count}`);
    // The header's count is checked against the length before a buffer of that size is taken.
    if (count > message.data.byteLength)
      throw new Error(`${message.codec}: ${count} splats can't be in ${message.data.byteLength} bytes`);
    const { words, range } = codec.decode(message.data, this.pool.take(count, budget), message.camera);
    return { count, content: { words, range }, pivot: pivotDepth(words, count, message.camera, range.zOffset) };
  }

  /**
   * Paints a picture that is being sent, while the server works on it, onto the grid of the last reply: its own reply has most likely
   * the same. Never rejects: what is wrong with the picture is said with its reply.
   */
  async paintAhead(own: Uint8Array<ArrayBuffer>): Promise<void> {
    const grid = this.ownGrid;
    if (!grid) return;
    const rgba = this.painter.paint(own, grid.width, grid.height);
    this.painted.set(own, { grid, rgba });
    await rgba.catch(() => undefined);
  }

  private async lift(coded: CodedFrame, own: Uint8Array<ArrayBuffer> | null, budget: number): Promise<DecodedReply> {
    this.ownGrid = null;
    // The browser decodes pictures beside this thread, while the planes are decoded here. If those are refused first, theirs is no news.
    const painting = Promise.all(coded.views.flatMap((view) => view.layers.map((layer) => this.colorsOf(view, layer, own))));
    painting.catch(() => undefined);
    const frame = this.depth.decodePlanes(coded);
    const colors = await painting;
    if (this.liftsOnPage) {
      const room = this.pool.take(frame.pixels, budget, PIXEL_WORDS);
      if (room.length <= PIXEL_WORDS * this.mostOnPage) {
        const content = toPixels(frame, colors, room);
        return { count: content.count, content, pivot: pivotOfPixels(content) };
      }
    }
    const size = frame.pixels * PIXEL_WORDS;
    if (this.scratch.length < size) this.scratch = new Uint32Array(size);
    const pixels = toPixels(frame, colors, this.scratch);
    const words = this.pool.take(frame.pixels, budget);
    this.lifter.lift(pixels, LIFTED_RANGE, words);
    const range = { ...LIFTED_RANGE, zOffset: pixels.zOffset };
    return { count: pixels.count, content: { words, range }, pivot: pivotOfPixels(pixels) };
  }

  private async colorsOf(view: CodedView, layer: CodedLayer, own: Uint8Array<ArrayBuffer> | null): Promise<Uint8Array> {
    const { width, height, colors } = layer;
    if (colors instanceof Uint8Array) return opaque(colors);
    if (colors) return this.painter.paintJpeg(colors, width, height);
    if (view.picture) return this.painter.paintJpeg(view.picture, width, height);
    if (!own) throw new DecodeError(DEPTH_NAME, "the picture that was sent", "a reply whose picture is gone");
    this.ownGrid ??= { width, height };
    const ahead = this.painted.get(own);
    if (ahead?.grid.width === width && ahead.grid.height === height) return ahead.rgba;
    return this.painter.paint(own, width, height);
  }
}

/** @throws Error Where they are no intrinsics. */
export function checkCamera(camera: Camera): void {
  const { width, height, fx, fy, cx, cy } = camera;
  if (![width, height, fx, fy, cx, cy].every((value) => Number.isFinite(value)) || Math.min(width, height, fx, fy) <= 0) {
    throw new Error(`camera: expected finite intrinsics with a size and focal lengths above 0, got ${JSON.stringify(camera)}`);
  }
}

/** RGB → RGBA. */
function opaque(rgb: Uint8Array): Uint8Array {
  const rgba = new Uint8Array((rgb.length / 3) * 4);
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    rgba[to] = rgb[from]!;
    rgba[to + 1] = rgb[from + 1]!;
    rgba[to + 2] = rgb[from + 2]!;
    rgba[to + 3] = 255;
  }
  return rgba;
}
