// A picture or a video from the person's disk. It is read here and sent like a camera's frames; the file itself is not uploaded.

import { nowMs } from "../clock.js";
import { atEnd, type CaptureLine, type Previews, SourceError } from "./source.js";
import { pumpVideo } from "./video_frames.js";

/** A still picture is sent again and again, so that changed options take effect; twice a second is enough for that. */
const STILL_PERIOD_MS = 500;

/** Whether the file is shown in a video element rather than on a canvas. */
export function isVideo(file: File): boolean {
  return file.type.startsWith("video/");
}

/**
 * Sends the file's pictures until the signal is aborted.
 *
 * @returns Its name.
 * @throws SourceError Where the browser can't read it.
 */
export async function openFile(file: File, line: CaptureLine, previews: Previews, signal: AbortSignal): Promise<string> {
  if (isVideo(file)) await openVideo(file, line, previews.video, signal);
  else await openImage(file, line, previews.canvas, signal);
  return file.name;
}

async function openImage(file: File, line: CaptureLine, preview: HTMLCanvasElement, signal: AbortSignal): Promise<void> {
  let image: ImageBitmap;
  try {
    image = await createImageBitmap(file);
  } catch {
    throw unreadable(file);
  }
  atEnd(signal, () => image.close());
  const run = line.start(signal);
  preview.width = image.width;
  preview.height = image.height;
  preview.getContext("2d", { alpha: false })!.drawImage(image, 0, 0);
  const send = async (): Promise<void> => {
    if (!line.gateOpen) return;
    // It may have been closed meanwhile; then nobody is waiting for it any more.
    const copy = await createImageBitmap(image).catch(() => null);
    if (copy) line.post({ type: "image", run, image: copy, capturedMs: nowMs() }, [copy]);
  };
  const timer = setInterval(() => void send(), STILL_PERIOD_MS);
  atEnd(signal, () => clearInterval(timer));
}

async function openVideo(file: File, line: CaptureLine, preview: HTMLVideoElement, signal: AbortSignal): Promise<void> {
  const url = URL.createObjectURL(file);
  preview.srcObject = null;
  preview.src = url;
  preview.loop = true;
  // Before another source gets the element: if it were emptied later, that one would lose its video.
  atEnd(signal, () => {
    preview.pause();
    preview.removeAttribute("src");
    preview.load();
    URL.revokeObjectURL(url);
  });
  try {
    await preview.play();
  } catch {
    throw unreadable(file);
  }
  pumpVideo(preview, line, line.start(signal), signal);
}

function unreadable(file: File): SourceError {
  return new SourceError(
    "file_unreadable",
    "This file can't be shown",
    `${file.name} is not a picture or video that this browser can read. JPEG, PNG, WebP, MP4 (H.264) and WebM work nearly everywhere.`,
  );
}
