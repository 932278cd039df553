// A live video track, of a camera or a screen: straight into the capture worker where the browser can do that, otherwise through
// the preview.

import { atEnd, type CaptureLine } from "./source.js";
import type { SourceNature } from "./thread.js";
import { pumpVideo } from "./video_frames.js";

/** Ends the stream's tracks with the signal: a permission may come long after the person gave up waiting for it. */
export function endTracks(stream: MediaStream, signal: AbortSignal): MediaStreamTrack {
  atEnd(signal, () => {
    for (const each of stream.getTracks()) each.stop();
  });
  signal.throwIfAborted();
  return stream.getVideoTracks()[0]!;
}

/**
 * Shows the stream in `preview` and sends its pictures until the signal is aborted.
 *
 * @throws Error The browser's own, where the preview can't be played.
 */
export async function playTrack(
  stream: MediaStream,
  line: CaptureLine,
  preview: HTMLVideoElement,
  nature: Partial<SourceNature>,
  signal: AbortSignal,
): Promise<void> {
  preview.srcObject = stream;
  atEnd(signal, () => {
    if (preview.srcObject === stream) preview.srcObject = null;
  });
  await preview.play();
  feed(stream.getVideoTracks()[0]!, line, preview, line.start(signal, nature), nature.stays ?? false, signal);
}

function feed(
  track: MediaStreamTrack,
  line: CaptureLine,
  preview: HTMLVideoElement,
  run: number,
  stays: boolean,
  signal: AbortSignal,
): void {
  if (typeof MediaStreamTrackProcessor === "function") {
    const { readable } = new MediaStreamTrackProcessor({ track: track as MediaStreamVideoTrack });
    line.post({ type: "stream", run, stream: readable }, [readable as unknown as Transferable]);
    return;
  }
  if (line.workerTakesTracks) {
    const copy = track.clone();
    try {
      line.post({ type: "track", run, track: copy }, [copy as unknown as Transferable]);
      return;
    } catch {
      // This browser's worker has the processor, but its tracks can't be handed over.
      copy.stop();
    }
  }
  pumpVideo(preview, line, run, signal, stays);
}

/** What a browser says that gives no camera, or no screen, as a problem's code. */
export type MediaRefusal = "denied" | "missing" | "in_use" | "failed";

export function mediaRefusal(error: unknown): MediaRefusal {
  switch (error instanceof DOMException ? error.name : "") {
    case "NotAllowedError":
    case "SecurityError":
      return "denied";
    case "NotFoundError":
    case "OverconstrainedError":
      return "missing";
    case "NotReadableError":
    case "AbortError":
      return "in_use";
    default:
      return "failed";
  }
}

/** The text of a problem about which the browser alone knows more. */
export function browserSays(error: unknown): string {
  return `The browser says: ${String(error)}`;
}
