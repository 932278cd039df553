// A reply's bytes → packed words. Most codecs hold them; a `depth` reply is lifted here, with the colours of its picture.

import { DecodeError } from "../codecs/codec.js";
import { DEPTH_NAME, DepthDecoder, type DepthFrame, type DepthLayer, type DepthView } from "../codecs/depth.js";
import { codecNamed } from "../codecs/index.js";
import { Lifter } from "../codecs/lift.js";
import { GridPainter } from "../codecs/pictures.js";
import { pixelReader } from "../codecs/pixels.js";
import { PLANES_NAME, PlanesDecoder } from "../codecs/planes.js";
import type { SplatRange } from "../codecs/words.js";
import type { SplatsMessage } from "./messages.js";
import type { BufferPool } from "./pool.js";

/** What bytes of lifted and of native splats span: the scales that the server's `packed` codec spans as well. */
const LIFTED_RANGE: SplatRange = { rgbMin: 0, rgbMax: 1, lnScaleMin: Math.log(1e-4), lnScaleMax: Math.log(4) };

export interface DecodedReply {
  readonly count: number;
  readonly words: Uint32Array<ArrayBuffer>;
  readonly range: SplatRange;
}

export class ReplyDecoder {
  private readonly depth = new DepthDecoder();
  private readonly lifter = new Lifter();
  private readonly painter = new GridPainter();
  private readonly planes = new PlanesDecoder(pixelReader(PLANES_NAME));

  constructor(private readonly pool: BufferPool) {}

  /**
   * Decodes one reply; the next one must wait for it, as buffers are shared.
   *
   * @param message The reply.
   * @param own The picture that was sent as its frame, if it is still there.
   * @param budget Splats that a frame may have.
   * @throws Error Saying what was expected and what came.
   */
  async decode(message: SplatsMessage, own: Uint8Array<ArrayBuffer> | null, budget: number): Promise<DecodedReply> {
    if (message.codec === DEPTH_NAME) return this.lift(this.depth.decode(message.data), own, budget);
    if (message.codec === PLANES_NAME) {
      const take = (pixels: number) => this.pool.take(pixels, budget);
      return { ...(await this.planes.decode(message.data, LIFTED_RANGE, take)), range: LIFTED_RANGE };
    }
    const codec = codecNamed(message.codec);
    const count = codec.count(message.data);
    if (count !== message.count)
      throw new Error(`${message.codec}: the message announces ${message.count} splats, its data ${count}`);
    // The header's count is checked against the length before a buffer of that size is taken.
    if (count > message.data.byteLength)
      throw new Error(`${message.codec}: ${count} splats can't be in ${message.data.byteLength} bytes`);
    return codec.decode(message.data, this.pool.take(count, budget), message.camera);
  }

  private async lift(frame: DepthFrame, own: Uint8Array<ArrayBuffer> | null, budget: number): Promise<DecodedReply> {
    const colors: Uint8Array[] = [];
    for (const view of frame.views) {
      for (const layer of view.layers) colors.push(await this.colorsOf(view, layer, own));
    }
    const words = this.pool.take(frame.pixels, budget);
    return { count: this.lifter.lift(frame, colors, LIFTED_RANGE, words), words, range: LIFTED_RANGE };
  }

  private async colorsOf(view: DepthView, layer: DepthLayer, own: Uint8Array<ArrayBuffer> | null): Promise<Uint8Array> {
    const { width, height, colors } = layer;
    if (colors instanceof Uint8Array) return opaque(colors);
    if (colors) return this.painter.paintJpeg(colors, width, height);
    if (view.picture) return this.painter.paintJpeg(view.picture, width, height);
    if (!own) throw new DecodeError(DEPTH_NAME, "the picture that was sent", "a reply whose picture is gone");
    return this.painter.paint(own, width, height);
  }
}

/** RGB → RGBA. */
function opaque(rgb: Uint8Array): Uint8Array {
  const rgba = new Uint8Array((rgb.length / 3) * 4).fill(255);
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) rgba.set(rgb.subarray(from, from + 3), to);
  return rgba;
}
