// Pictures as the browser decodes them, on the grid of a depth layer: what a `depth` frame's colours are taken from.

import type { Jpeg } from "./depth.js";

/** Nothing is to change the stored colours on the way: the server knows nothing of this screen, nor of profiles. */
const AS_STORED: ImageBitmapOptions = { colorSpaceConversion: "none", premultiplyAlpha: "none" };

/** Draws pictures onto grids, one after the other. */
export class GridPainter {
  private canvas: OffscreenCanvas | null = null;
  private context: OffscreenCanvasRenderingContext2D | null = null;

  /**
   * @param picture An image file; its own EXIF orientation is followed, as the server does.
   * @returns RGBA of the grid's pixels, 4 bytes each.
   */
  async paint(picture: Uint8Array<ArrayBuffer>, width: number, height: number): Promise<Uint8Array> {
    return this.draw(await createImageBitmap(new Blob([picture]), AS_STORED), 1, width, height);
  }

  /** The same of a JPEG whose metadata were cut out, and whose orientation is told. */
  async paintJpeg(jpeg: Jpeg, width: number, height: number): Promise<Uint8Array> {
    const bitmap = await createImageBitmap(new Blob([jpeg.data.slice()], { type: "image/jpeg" }), AS_STORED);
    return this.draw(bitmap, jpeg.orientation, width, height);
  }

  private draw(bitmap: ImageBitmap, orientation: number, width: number, height: number): Uint8Array {
    if (!this.canvas || this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas = new OffscreenCanvas(width, height);
      this.context = this.canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    }
    const context = this.context!;
    const isSideways = orientation >= 5;
    const [across, down] = isSideways ? [height, width] : [width, height];
    // Shrinking by halves first: the last step then averages over all pixels, as the server's area filter does.
    const source = halved(bitmap, across, down);
    context.imageSmoothingQuality = "high";
    context.setTransform(...placement(orientation, width, height));
    context.drawImage(source, 0, 0, across, down);
    context.resetTransform();
    bitmap.close();
    return new Uint8Array(context.getImageData(0, 0, width, height).data.buffer);
  }
}

/** Half the size as often as it stays larger than the grid. */
function halved(bitmap: ImageBitmap, across: number, down: number): ImageBitmap | OffscreenCanvas {
  let source: ImageBitmap | OffscreenCanvas = bitmap;
  while (source.width >= 2 * across && source.height >= 2 * down) {
    const half = new OffscreenCanvas(source.width >> 1, source.height >> 1);
    const context = half.getContext("2d", { alpha: false })!;
    context.imageSmoothingQuality = "high";
    context.drawImage(source, 0, 0, half.width, half.height);
    source = half;
  }
  return source;
}

/** The canvas transform that undoes an EXIF orientation on a grid of this size. */
export function placement(
  orientation: number,
  width: number,
  height: number,
): [a: number, b: number, c: number, d: number, e: number, f: number] {
  switch (orientation) {
    case 2:
      return [-1, 0, 0, 1, width, 0];
    case 3:
      return [-1, 0, 0, -1, width, height];
    case 4:
      return [1, 0, 0, -1, 0, height];
    case 5:
      return [0, 1, 1, 0, 0, 0];
    case 6:
      return [0, 1, -1, 0, width, 0];
    case 7:
      return [0, -1, -1, 0, width, height];
    case 8:
      return [0, -1, 1, 0, 0, height];
    default:
      return [1, 0, 0, 1, 0, 0];
  }
}
