// Frames of a <video> for the capture worker: video files, and cameras and screens in browsers without a track processor.

import { nowMs } from "../clock.js";
import type { CaptureLine } from "./source.js";

/**
 * Sends every presented frame that the worker would take, until the signal is aborted.
 *
 * @param stays Send all of them: the worker keeps the newest until it would take it.
 */
export function pumpVideo(video: HTMLVideoElement, line: CaptureLine, run: number, signal: AbortSignal, stays = false): void {
  const next = (): void => {
    if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(take);
    else setTimeout(take, 33);
  };
  const take = (_now?: number, metadata?: VideoFrameCallbackMetadata): void => {
    if (signal.aborted) return;
    line.alive();
    if ((line.gateOpen || stays) && video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) {
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
  // A file's frames may have to be turned to be upright, and a VideoFrame of one that is turned is not turned in every browser.
  return typeof VideoFrame === "function" && video.srcObject ? new VideoFrame(video) : createImageBitmap(video);
}
