// Whether pixels that are drawn are those that are read. Some browsers change them, so that sites can't recognise a device by its
// canvas: the pictures that are sent, and the colours of splats, are then wrong, and nothing says why.

import type { Problem } from "../state.js";

const SIDE = 16;
/** Of a channel. Up to this it is noise, as Brave adds it; beyond it the picture is another one, as with Firefox's setting. */
const NOISE = 8;

/** Colours that are far apart and never extreme: noise shows, and nothing is cut off. RGBA of SIDE × SIDE pixels. */
export function knownPixels(): Uint8ClampedArray<ArrayBuffer> {
  const pixels = new Uint8ClampedArray(4 * SIDE * SIDE);
  for (let i = 0; i < SIDE * SIDE; i++) {
    pixels.set([40 + ((i * 37) % 170), 40 + ((i * 101) % 170), 40 + ((i * 59) % 170), 255], 4 * i);
  }
  return pixels;
}

/** The known pixels as a page gets them back: drawn, encoded without loss, decoded, drawn and read, as pictures are on their way. */
export async function readBack(): Promise<Uint8ClampedArray> {
  const context = (): OffscreenCanvasRenderingContext2D =>
    new OffscreenCanvas(SIDE, SIDE).getContext("2d", { alpha: false, willReadFrequently: true })!;
  const drawn = context();
  drawn.putImageData(new ImageData(knownPixels(), SIDE, SIDE), 0, 0);
  const file = await drawn.canvas.convertToBlob({ type: "image/png" });
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const read = context();
  read.drawImage(bitmap, 0, 0);
  bitmap.close();
  return read.getImageData(0, 0, SIDE, SIDE).data;
}

/** The largest difference of a channel, 0..255. */
export function largestDifference(expected: ArrayLike<number>, got: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < expected.length; i++) largest = Math.max(largest, Math.abs(expected[i]! - got[i]!));
  return largest;
}

/** What to turn off, in the browser's own words. */
function advice({ isBrave, userAgent }: Reader): string {
  if (isBrave) return "In Brave, click the lion beside the address and turn Shields off for this site.";
  if (/Firefox\//.test(userAgent)) {
    return (
      "In Firefox, allow the use of canvas data beside the address, or turn off the shield's enhanced protection for this site, " +
      "or set privacy.resistFingerprinting to false in about:config. Tor Browser has no other way than to allow it."
    );
  }
  return "Turn off protection against fingerprinting for this site, or the extension that does it.";
}

/** Who reads. */
export interface Reader {
  isBrave: boolean;
  userAgent: string;
}

/** What to say of a difference; null: nothing. */
export function falsified(difference: number, reader: Reader): Problem | null {
  if (difference === 0) return null;
  const what =
    difference > NOISE
      ? "Pictures that are sent, and the colours of splats, are wrong."
      : "Pictures that are sent are a little noisy, and splats that come as pictures may lie in the wrong place.";
  return {
    code: "canvas_falsified",
    title: "This browser changes the pictures that pages read",
    text: `It does so against fingerprinting. ${what} ${advice(reader)} Then reload the page.`,
    until: null,
  };
}

/** Reads known pixels back. Never rejects: a browser in which that fails is told of by the first picture. */
export async function checkReadBack(): Promise<Problem | null> {
  const difference = await readBack().then(
    (got) => largestDifference(knownPixels(), got),
    () => 0,
  );
  return falsified(difference, { isBrave: "brave" in navigator, userAgent: navigator.userAgent });
}
