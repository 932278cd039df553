// A picture or a video from the person's disk. It is read here and sent like a camera's frames; nothing is uploaded as a file.

import { nowMs } from "../clock.js";
import { type CaptureLine, type Source, SourceError } from "./source.js";
import { pumpVideo } from "./video_frames.js";

/** A still picture is sent again and again so that changed options take effect; this often is enough for that. */
const STILL_PERIOD_MS = 500;

export interface Previews {
  readonly video: HTMLVideoElement;
  readonly canvas: HTMLCanvasElement;
}

/** Whether the file goes to `previews.video` rather than `previews.canvas`. */
export function isVideo(file: File): boolean {
  return file.type.startsWith("video/");
}

export async function openFile(file: File, line: CaptureLine, previews: Previews): Promise<Source> {
  if (isVideo(file)) return openVideo(file, line, previews.video);
  return openImage(file, line, previews.canvas);
}

async function openImage(file: File, line: CaptureLine, preview: HTMLCanvasElement): Promise<Source> {
  let image: ImageBitmap;
  try {
    image = await createImageBitmap(file);
  } catch {
    throw unreadable(file);
  }
  preview.width = image.width;
  preview.height = image.height;
  preview.getContext("2d", { alpha: false })!.drawImage(image, 0, 0);
  const run = line.start();
  let stopped = false;
  const send = async (): Promise<void> => {
    if (!line.gateOpen) return;
    const copy = await createImageBitmap(image);
    if (stopped) copy.close();
    else line.post({ type: "image", run, image: copy, capturedMs: nowMs() }, [copy]);
  };
  const timer = setInterval(() => void send(), STILL_PERIOD_MS);
  return {
    name: file.name,
    stop() {
      if (stopped) return;
      stopped = true;
      clearInterval(timer);
      line.stop();
      image.close();
    },
  };
}

async function openVideo(file: File, line: CaptureLine, preview: HTMLVideoElement): Promise<Source> {
  const url = URL.createObjectURL(file);
  const release = (): void => {
    preview.pause();
    preview.removeAttribute("src");
    preview.load();
    URL.revokeObjectURL(url);
  };
  preview.srcObject = null;
  preview.src = url;
  preview.loop = true;
  try {
    await preview.play();
  } catch {
    release();
    throw unreadable(file);
  }
  const run = line.start();
  const stopPump = pumpVideo(preview, line, run);
  let stopped = false;
  return {
    name: file.name,
    stop() {
      if (stopped) return;
      stopped = true;
      stopPump();
      line.stop();
      release();
    },
  };
}

function unreadable(file: File): SourceError {
  return new SourceError(
    "file_unreadable",
    "This file can't be shown",
    `${file.name} is no picture or video that this browser can read. JPEG, PNG, WebP, MP4 (H.264) and WebM work nearly everywhere.`,
  );
}
