// Pictures as the browser decodes them, on the grid of a depth layer: what a `depth` frame's colours are taken from.

import { DecodeError } from "./codec.js";
import { DEPTH_NAME, type Jpeg } from "./depth.js";
import { pixelsOf } from "./picture_size.js";
import { Resampler, type Size } from "./resample.js";

/** Nothing is to change the stored colours on the way: the server knows nothing of this screen, nor of profiles. */
const AS_STORED: ImageBitmapOptions = { colorSpaceConversion: "none" };
/** Full HD and a little more. What has more pixels the browser halves first, which is quicker and, so far above the grid, hardly worse. */
const MOST_PIXELS = 1 << 21;

/** Half a gigabyte while it is decoded and halved: few cameras' pictures have more. */
const MOST_DECODED = 1 << 26;

/** Draws pictures onto grids, one after the other. */
export class GridPainter {
  private readonly canvases: OffscreenCanvasRenderingContext2D[] = [];
  private readonly resampler = new Resampler();

  /**
   * @param picture An image file; its own EXIF orientation is followed, as the server does.
   * @returns RGBA of the grid's pixels, 4 bytes each.
   */
  async paint(picture: Uint8Array<ArrayBuffer>, width: number, height: number): Promise<Uint8Array> {
    checkPixels(picture);
    return this.draw(await createImageBitmap(new Blob([picture]), AS_STORED), 1, { width, height });
  }

  /** The same of a JPEG whose metadata were cut out, and whose orientation is told. */
  async paintJpeg(jpeg: Jpeg, width: number, height: number): Promise<Uint8Array> {
    checkPixels(jpeg.data);
    const bitmap = await createImageBitmap(new Blob([jpeg.data.slice()], { type: "image/jpeg" }), AS_STORED);
    return this.draw(bitmap, jpeg.orientation, { width, height });
  }

  private draw(bitmap: ImageBitmap, orientation: number, grid: Size): Uint8Array {
    const isSideways = orientation >= 5;
    let size = isSideways ? { width: bitmap.height, height: bitmap.width } : { width: bitmap.width, height: bitmap.height };
    let context = this.canvas(0, size);
    context.setTransform(...placement(orientation, size.width, size.height));
    context.drawImage(bitmap, 0, 0);
    context.resetTransform();
    bitmap.close();
    const isLarge = () =>
      size.width * size.height > MOST_PIXELS && size.width >= 2 * grid.width && size.height >= 2 * grid.height;
    for (let step = 1; isLarge(); step++) {
      const source = context.canvas;
      size = { width: size.width >> 1, height: size.height >> 1 };
      context = this.canvas(step, size);
      context.drawImage(source, 0, 0, size.width, size.height);
    }
    const { data } = context.getImageData(0, 0, size.width, size.height);
    return this.resampler.resample(new Uint8Array(data.buffer), size, grid);
  }

  /** An empty canvas of this size; there is one for each step of halving. Its pixels are read: they stay out of the GPU. */
  private canvas(step: number, { width, height }: Size): OffscreenCanvasRenderingContext2D {
    const context = this.canvases[step];
    if (context?.canvas.width === width && context.canvas.height === height) {
      // What is transparent lies on black, as on the server.
      context.clearRect(0, 0, width, height);
      return context;
    }
    const options = { alpha: false, willReadFrequently: true };
    const made = new OffscreenCanvas(width, height).getContext("2d", options)!;
    this.canvases[step] = made;
    return made;
  }
}

/** A few bytes can claim any size, in a file that somebody was sent. */
function checkPixels(picture: Uint8Array): void {
  const pixels = pixelsOf(picture);
  if (pixels === 0 || pixels > MOST_DECODED) {
    throw new DecodeError(
      DEPTH_NAME,
      `a JPEG, PNG or WebP of at most ${MOST_DECODED} pixels`,
      pixels ? `${pixels}` : "no picture",
    );
  }
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
