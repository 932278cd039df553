// A picture or a video from the person's disk. It is read here and sent like a camera's frames; the file itself is uploaded only if it
// is a photo that this browser can't read and the server may.

import { nowMs } from "../clock.js";
import type { Access } from "../stream/access.js";
import { isPhoto, unreadable } from "./file_words.js";
import { fovOf, HEAD_BYTES } from "./lens.js";
import { sizeWithin } from "./size.js";
import { atEnd, type CaptureLine, type Previews, type Ready, SourceError } from "./source.js";
import { pumpVideo } from "./video_frames.js";

/** Photos have up to 200 megapixels and a canvas on iOS 16.7: a picture is decoded to this, the most that is ever sent. */
const LARGEST_SIDE = 1920;
/** Below this there is no scene to see. */
const SMALLEST_SIDE = 32;
/** A video of which only the sound plays has no picture, and no error either. */
const PICTURE_LIMIT_MS = 3000;
/** Holes are looked for in the picture made as small as this. */
const HOLES_SIDE = 256;
/** Behind holes in the preview: neither of the colours that pictures are cut out on. */
const BEHIND = "#808080";

/**
 * Reads the file, as far as that takes to know that it can be shown.
 *
 * @throws SourceError Where it can't, saying what it is.
 */
export async function openFile(
  file: File,
  line: CaptureLine,
  previews: Previews,
  access: Access,
  signal: AbortSignal,
): Promise<Ready> {
  if (file.size === 0) throw await unreadable(file);
  const ways = file.type.startsWith("video/") ? [openVideo] : [openImage, openVideo];
  // Files without a type, or with a wrong one, are common: what can't be read as a picture may be a video.
  for (const open of ways) {
    const ready = await open(file, line, previews, signal);
    signal.throwIfAborted();
    if (ready) return ready;
  }
  if (!(await isPhoto(file))) throw await unreadable(file);
  const { picture, fovDeg } = await readByServer(file, access, signal);
  const ready = await openImage(picture, line, previews, signal, fovDeg);
  if (ready) return ready;
  throw await unreadable(file);
}

/**
 * The picture of a photo as the server reads it, and its field of view.
 *
 * @throws SourceError With what the server says.
 */
async function readByServer(file: File, access: Access, signal: AbortSignal): Promise<{ picture: File; fovDeg: number }> {
  let answer: Response;
  try {
    answer = await access.fetch("api/picture", { method: "POST", body: file, signal });
  } catch {
    signal.throwIfAborted();
    throw await unreadable(file);
  }
  if (!answer.ok) {
    const { message } = (await answer.json().catch(() => ({}))) as { message?: string };
    throw await unreadable(file, message);
  }
  const bytes = await answer.blob();
  const fovDeg = Number(answer.headers.get("x-splatcast-fov-deg")) || 0;
  return { picture: new File([bytes], file.name, { type: bytes.type }), fovDeg };
}

/**
 * @param knownFovDeg Of a picture that has lost its EXIF.
 * @returns Null if the browser reads no picture in it.
 */
async function openImage(
  file: File,
  line: CaptureLine,
  previews: Previews,
  signal: AbortSignal,
  knownFovDeg = 0,
): Promise<Ready | null> {
  const image = await decodeImage(file, signal);
  if (!image) return null;
  const { canvas } = previews;
  atEnd(signal, () => image.close());
  checkSize(file, image.width, image.height);
  const transparent = hasHoles(image);
  const fovDeg = knownFovDeg || fovOf(new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer()));
  const begin = async (): Promise<void> => {
    const run = line.start(signal, { stays: true, transparent });
    canvas.width = image.width;
    canvas.height = image.height;
    const context = canvas.getContext("2d", { alpha: false })!;
    context.fillStyle = BEHIND;
    context.fillRect(0, 0, image.width, image.height);
    context.drawImage(image, 0, 0);
    const copy = await createImageBitmap(image);
    line.post({ type: "image", run, image: copy, capturedMs: nowMs() }, [copy]);
  };
  return { name: file.name, shows: "canvas", still: true, fovDeg, transparent, begin };
}

function hasHoles(image: ImageBitmap): boolean {
  const { width, height } = sizeWithin(image.width, image.height, HOLES_SIDE);
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })!;
  context.drawImage(image, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  for (let at = 3; at < data.length; at += 4) if (data[at]! < 255) return true;
  return false;
}

/** The picture, upright, decoded to the size it is needed in. Null if it can't be read. */
async function decodeImage(file: File, signal: AbortSignal): Promise<ImageBitmap | null> {
  const url = URL.createObjectURL(file);
  try {
    const element = new Image();
    // Its header is enough for the size, and is all that is read so far.
    await new Promise((resolve, reject) => {
      element.onload = resolve;
      element.onerror = reject;
      element.src = url;
    });
    signal.throwIfAborted();
    const { width, height } = sizeWithin(element.naturalWidth, element.naturalHeight, LARGEST_SIDE);
    const size = { resizeWidth: width, resizeHeight: height, resizeQuality: "high" } as const;
    // Of the file, the decoder itself may make it small; drawings (SVG) have no pixels until they are an element.
    return await createImageBitmap(file, size).catch(() => createImageBitmap(element, size));
  } catch {
    signal.throwIfAborted();
    return null;
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** @returns Null if the browser sees no picture in it. */
async function openVideo(file: File, line: CaptureLine, previews: Previews, signal: AbortSignal): Promise<Ready | null> {
  const url = URL.createObjectURL(file);
  // Tried in an element of its own: until it is known to work, the source before it goes on.
  const trial = document.createElement("video");
  const size = await firstPicture(trial, url, signal);
  trial.removeAttribute("src");
  trial.load();
  if (!size) {
    URL.revokeObjectURL(url);
    return null;
  }
  const preview = previews.video;
  atEnd(signal, () => URL.revokeObjectURL(url));
  checkSize(file, size.width, size.height);
  const begin = async (): Promise<void> => {
    preview.srcObject = null;
    preview.src = url;
    preview.loop = true;
    // Before another source gets the element: if it were emptied later, that one would lose its video.
    atEnd(signal, () => {
      preview.pause();
      preview.removeAttribute("src");
      preview.load();
    });
    try {
      await preview.play();
    } catch {
      throw await unreadable(file);
    }
    pumpVideo(preview, line, line.start(signal), signal);
  };
  return { name: file.name, shows: "video", begin };
}

/** Its size, once its first picture is there. Null if there is none. */
function firstPicture(
  video: HTMLVideoElement,
  url: string,
  signal: AbortSignal,
): Promise<{ width: number; height: number } | null> {
  return new Promise((resolve) => {
    const decide = (): void => {
      const { videoWidth: width, videoHeight: height } = video;
      resolve(width > 0 && height > 0 ? { width, height } : null);
    };
    video.onloadeddata = decide;
    video.onloadedmetadata = () => {
      const timer = setTimeout(() => resolve(null), PICTURE_LIMIT_MS);
      atEnd(signal, () => clearTimeout(timer));
    };
    video.onerror = () => resolve(null);
    atEnd(signal, () => resolve(null));
    Object.assign(video, { muted: true, playsInline: true, preload: "auto", src: url });
  });
}

function checkSize(file: File, width: number, height: number): void {
  if (Math.min(width, height) >= SMALLEST_SIDE) return;
  throw new SourceError(
    "file_too_small",
    "This picture is too small",
    `${file.name} is ${width} × ${height} pixels here; ${SMALLEST_SIDE} on the shorter side are the fewest that show a scene.`,
  );
}
