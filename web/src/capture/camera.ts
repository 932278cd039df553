// The webcam: straight from its track into the capture worker where the browser can do that, otherwise through the preview.

import type { Settings } from "../config.js";
import { atEnd, type CaptureLine, SourceError } from "./source.js";
import { pumpVideo } from "./video_frames.js";

/**
 * Opens the camera, shows it in `preview` and sends its pictures until the signal is aborted.
 *
 * @param ended Called when the camera goes away by itself.
 * @returns Its name.
 * @throws SourceError Saying why there is no camera.
 */
export async function openCamera(
  line: CaptureLine,
  preview: HTMLVideoElement,
  settings: Pick<Settings, "captureWidth" | "maxFps">,
  ended: () => void,
  signal: AbortSignal,
): Promise<string> {
  const stream = await getCamera(settings);
  // First of all: the permission may come long after the person gave up waiting for it.
  atEnd(signal, () => {
    for (const each of stream.getTracks()) each.stop();
  });
  signal.throwIfAborted();
  const track = stream.getVideoTracks()[0]!;
  track.addEventListener("ended", ended, { signal });
  preview.srcObject = stream;
  atEnd(signal, () => {
    if (preview.srcObject === stream) preview.srcObject = null;
  });
  try {
    await preview.play();
  } catch (error) {
    throw failed(error);
  }
  feed(track, line, preview, line.start(signal), signal);
  return track.label || "camera";
}

function feed(track: MediaStreamTrack, line: CaptureLine, preview: HTMLVideoElement, run: number, signal: AbortSignal): void {
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
  pumpVideo(preview, line, run, signal);
}

async function getCamera({ captureWidth: width, maxFps }: Pick<Settings, "captureWidth" | "maxFps">): Promise<MediaStream> {
  if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) {
    throw new SourceError(
      "insecure_context",
      "The browser allows no camera here",
      `Cameras need https, or http on this very machine: open this page as https://${location.host}, or as http://localhost. The sample and files work without that.`,
    );
  }
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { width: { ideal: width }, height: { ideal: Math.round((width * 3) / 4) }, frameRate: { ideal: maxFps } },
    });
  } catch (error) {
    throw inWords(error);
  }
}

function inWords(error: unknown): SourceError {
  const name = error instanceof DOMException ? error.name : "";
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return new SourceError(
        "camera_denied",
        "The camera is not allowed",
        "Allow it in the browser's address bar (the camera icon), then press Start again. Or try the sample, which needs no camera.",
      );
    case "NotFoundError":
    case "OverconstrainedError":
      return new SourceError(
        "no_camera",
        "No camera was found",
        "Connect one and press Start again. Or try the sample, or drop a picture or video on the page.",
      );
    case "NotReadableError":
    case "AbortError":
      return new SourceError(
        "camera_in_use",
        "The camera can't be read",
        "Another program or tab is probably using it: close that one, then press Start again.",
      );
    default:
      return failed(error);
  }
}

function failed(error: unknown): SourceError {
  return new SourceError("camera_failed", "The camera could not be opened", `The browser says: ${String(error)}`);
}
