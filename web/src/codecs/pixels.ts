// A JPEG's pixels exactly as the browser's decoder gives them: numbers are in them, not colours.
//
// Nothing may touch them on the way: no colour profile, no multiplication by alpha. A 2D canvas with alpha would do the latter,
// and one on the GPU might round.

import { DecodeError } from "./codec.js";
import { pixelsOf } from "./picture_size.js";

const AS_STORED: ImageBitmapOptions = { colorSpaceConversion: "none", premultiplyAlpha: "none" };

/** Gives a JPEG's pixels, 4 bytes each: red, green, blue (all three the same where it is grey), and one unused. */
export type ReadPixels = (jpeg: Uint8Array, width: number, height: number) => Promise<Uint8Array | Uint8ClampedArray>;

/** A reader with a canvas of its own, which it keeps. */
export function pixelReader(codec: string): ReadPixels {
  let context: OffscreenCanvasRenderingContext2D | null = null;
  return async (jpeg, width, height) => {
    // Before it is decoded: a few bytes can claim any size.
    const pixels = pixelsOf(jpeg);
    if (pixels > width * height) throw new DecodeError(codec, `a JPEG of ${width}×${height}`, `${pixels} pixels`);
    const file = new Blob([jpeg.slice()], { type: "image/jpeg" });
    const bitmap = await createImageBitmap(file, AS_STORED).catch((error: unknown) => {
      throw new DecodeError(codec, "a JPEG", String(error));
    });
    if (bitmap.width !== width || bitmap.height !== height) {
      throw new DecodeError(codec, `a JPEG of ${width}×${height}`, `${bitmap.width}×${bitmap.height}`);
    }
    // From here on nothing waits, so that readings under way can share the canvas.
    if (context?.canvas.width !== width || context.canvas.height !== height) {
      context = new OffscreenCanvas(width, height).getContext("2d", { alpha: false, willReadFrequently: true })!;
    }
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    return context.getImageData(0, 0, width, height).data;
  };
}
