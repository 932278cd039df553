// A screen, a window or a tab, as the person chooses in the browser's own dialog.

import type { Settings } from "../config.js";
import { type CaptureLine, type Ready, SourceError } from "./source.js";
import { browserSays, endTracks, mediaRefusal, playTrack } from "./tracks.js";

/** Whether this browser can share a screen with a page. */
export function canShareScreen(): boolean {
  return typeof navigator.mediaDevices?.getDisplayMedia === "function";
}

/**
 * Asks for a screen.
 *
 * @param ended Called when the person ends it by the browser's own button.
 * @throws SourceError Saying why there is none.
 */
export async function openScreen(
  line: CaptureLine,
  preview: HTMLVideoElement,
  { maxFps }: Pick<Settings, "maxFps">,
  ended: () => void,
  signal: AbortSignal,
): Promise<Ready> {
  if (!canShareScreen()) {
    throw new SourceError(
      "no_screen",
      "This browser can't share a screen",
      "Phones can't, nor can pages over plain http. A camera, the sample or a file works.",
    );
  }
  let stream: MediaStream;
  try {
    stream = await navigator.mediaDevices.getDisplayMedia({ audio: false, video: { frameRate: { ideal: maxFps } } });
  } catch (error) {
    if (mediaRefusal(error) !== "denied") throw failed(error);
    throw new SourceError(
      "screen_denied",
      "No screen was shared",
      "Choose one in the browser's dialog. If there was no dialog, the system does not let the browser record the screen.",
    );
  }
  const track = endTracks(stream, signal);
  track.addEventListener("ended", ended, { signal });
  const begin = async (): Promise<void> => {
    try {
      // A screen on which nothing moves gives one picture, and then none.
      await playTrack(stream, line, preview, { stays: true }, signal);
    } catch (error) {
      throw failed(error);
    }
  };
  return { name: track.label || "screen", shows: "video", begin };
}

function failed(error: unknown): SourceError {
  return new SourceError("screen_failed", "The screen could not be opened", browserSays(error));
}
