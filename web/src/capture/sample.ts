// The clip that the server makes, for people without a camera: its JPEGs are sent as they are, the first while the rest still comes.

import { nowMs } from "../clock.js";
import type { Access } from "../stream/access.js";
import { type Clip, ClipReader } from "./clip_reader.js";
import { atEnd, type CaptureLine, type Ready, SourceError } from "./source.js";

/** Enough to begin with: a third of a second. */
const FIRST_FRAMES = 5;

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
function sampleClip(access: Access): Promise<Clip> {
  const forget = (): void => {
    clip = null;
  };
  clip ??= fetchClip(access, forget);
  return clip.catch((error: unknown) => {
    forget();
    throw error;
  });
}

/** Draws the clip's pictures on `canvas`, over and over, until the signal is aborted. `shown` gets each one's JPEG. */
function playClip(
  clip: Clip,
  canvas: HTMLCanvasElement,
  signal: AbortSignal,
  shown: (bytes: Uint8Array<ArrayBuffer>) => void,
): void {
  const { fps, width, height, frames } = clip;
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
      const due = Math.floor(((performance.now() - startMs) / 1000) * fps);
      // What has not come yet is waited for: back at the beginning, it would jump.
      const index = clip.complete ? due % frames.length : Math.min(due, frames.length - 1);
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

/**
 * Resolves when enough of it has come to begin with.
 *
 * @param broken Called when it ended too soon: what has come is played, and another start asks again.
 */
async function fetchClip(access: Access, broken: () => void): Promise<Clip> {
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
  if (!response.ok || !response.body) throw failed(`The server answered ${response.status}`);
  const reader = new ClipReader();
  const chunks = response.body.getReader();
  const read = async (until: () => boolean): Promise<void> => {
    while (!until()) {
      const { value, done } = await chunks.read();
      if (done) return;
      reader.push(value);
    }
  };
  try {
    await read(() => (reader.clip?.frames.length ?? 0) >= FIRST_FRAMES);
  } catch (error) {
    throw failed(String(error));
  }
  const loaded = reader.clip;
  if (!loaded || loaded.frames.length === 0) throw failed("The server sent an empty clip");
  const finish = (): void => {
    if (!loaded.complete) broken();
    loaded.complete = true;
  };
  void read(() => false).then(finish, finish);
  return loaded;
}
