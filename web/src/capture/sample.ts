// The clip that the server makes, for people without a camera: its JPEGs are sent as they are.

import { decode } from "@msgpack/msgpack";
import { nowMs } from "../clock.js";
import type { Access } from "../stream/access.js";
import { atEnd, type CaptureLine, type Ready, SourceError } from "./source.js";

/** Pictures of one size, as JPEGs. */
export interface Clip {
  fps: number;
  width: number;
  height: number;
  frames: Uint8Array[];
}

let clip: Promise<Clip> | null = null;

/**
 * The clip, ready to be played into the capture worker and onto `preview`.
 *
 * @throws SourceError If the server does not provide it.
 */
export async function openSample(
  line: CaptureLine,
  preview: HTMLCanvasElement,
  access: Access,
  signal: AbortSignal,
): Promise<Ready> {
  const loaded = await sampleClip(access);
  const begin = (): void => {
    const run = line.start(signal);
    playClip(loaded, preview, signal, (bytes) => {
      if (line.gateOpen) line.post({ type: "encoded", run, bytes, capturedMs: nowMs() });
    });
  };
  return { name: "sample clip", shows: "canvas", begin };
}

/** Fetched once in the page's life; after a failure, again. */
export function sampleClip(access: Access): Promise<Clip> {
  clip ??= fetchClip(access);
  return clip.catch((error: unknown) => {
    clip = null;
    throw error;
  });
}

/** Draws the clip's pictures on `canvas`, over and over, until the signal is aborted. `shown` gets each one's JPEG. */
export function playClip(
  { fps, width, height, frames }: Clip,
  canvas: HTMLCanvasElement,
  signal: AbortSignal,
  shown: (bytes: Uint8Array<ArrayBuffer>) => void = () => undefined,
): void {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { alpha: false })!;
  const show = async (bytes: Uint8Array<ArrayBuffer>): Promise<void> => {
    const image = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
    // The canvas may be another source's by now.
    if (!signal.aborted) context.drawImage(image, 0, 0);
    image.close();
  };
  const startMs = performance.now();
  let drawn = -1;
  const timer = setInterval(
    () => {
      const index = Math.floor(((performance.now() - startMs) / 1000) * fps) % frames.length;
      if (index === drawn) return;
      drawn = index;
      const bytes = frames[index]!.slice();
      // A picture that the browser can't decode is missing from the preview only.
      show(bytes).catch(() => undefined);
      shown(bytes);
    },
    1000 / fps / 3,
  );
  atEnd(signal, () => clearInterval(timer));
}

async function fetchClip(access: Access): Promise<Clip> {
  const failed = (why: string): SourceError =>
    new SourceError(
      "sample_failed",
      "The sample clip could not be loaded",
      `${why}. Check that the server is running, then press Start again.`,
    );
  let response: Response;
  try {
    response = await access.fetch("api/sample");
  } catch (error) {
    throw failed(String(error));
  }
  if (!response.ok) throw failed(`The server answered ${response.status}`);
  const loaded = decode(await response.arrayBuffer()) as Clip;
  if (!Array.isArray(loaded.frames) || loaded.frames.length === 0 || !(loaded.fps > 0))
    throw failed("The server sent an empty clip");
  return loaded;
}
