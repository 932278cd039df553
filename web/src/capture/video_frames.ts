// Frames of a <video> for the capture worker, for browsers without a track processor and for video files.

import { nowMs } from "../clock.js";
import type { CaptureLine } from "./source.js";

/** Sends every presented frame that the worker would take, until the signal is aborted. */
export function pumpVideo(video: HTMLVideoElement, line: CaptureLine, run: number, signal: AbortSignal): void {
  const next = (): void => {
    if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(take);
    else setTimeout(take, 33);
  };
  const take = (_now?: number, metadata?: VideoFrameCallbackMetadata): void => {
    if (signal.aborted) return;
    if (line.gateOpen && video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) {
      // For a camera the browser knows when the picture was taken.
      const capturedMs = metadata?.captureTime ? performance.timeOrigin + metadata.captureTime : nowMs();
      void grab(video).then(
        (image) => line.post({ type: "image", run, image, capturedMs }, [image]),
        // The element had no picture after all (it is being seeked or replaced): the next frame will have one.
        () => undefined,
      );
    }
    next();
  };
  next();
}

async function grab(video: HTMLVideoElement): Promise<VideoFrame | ImageBitmap> {
  return typeof VideoFrame === "function" ? new VideoFrame(video) : createImageBitmap(video);
}
