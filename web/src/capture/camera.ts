// The webcam: straight from its track into the capture worker where the browser can, else by way of the preview.

import { type CaptureLine, type Source, SourceError } from "./source.js";
import { pumpVideo } from "./video_frames.js";

/** Opens the camera and shows it in `preview`. `ended` is called when it goes away by itself. */
export async function openCamera(
  line: CaptureLine,
  preview: HTMLVideoElement,
  width: number,
  maxFps: number,
  ended: () => void,
): Promise<Source> {
  const stream = await getCamera(width, maxFps);
  const track = stream.getVideoTracks()[0]!;
  track.addEventListener("ended", ended);
  preview.srcObject = stream;
  await preview.play();
  const run = line.start();
  const stopPump = feed(track, line, preview, run);
  return {
    name: track.label || "camera",
    stop() {
      track.removeEventListener("ended", ended);
      stopPump();
      line.stop();
      for (const each of stream.getTracks()) each.stop();
      if (preview.srcObject === stream) preview.srcObject = null;
    },
  };
}

function feed(track: MediaStreamTrack, line: CaptureLine, preview: HTMLVideoElement, run: number): () => void {
  const nothing = (): void => undefined;
  if (typeof MediaStreamTrackProcessor === "function") {
    const { readable } = new MediaStreamTrackProcessor({ track: track as MediaStreamVideoTrack });
    line.post({ type: "stream", run, stream: readable }, [readable as unknown as Transferable]);
    return nothing;
  }
  if (line.workerTakesTracks) {
    const copy = track.clone();
    try {
      line.post({ type: "track", run, track: copy }, [copy as unknown as Transferable]);
      return nothing;
    } catch {
      // This browser's worker has the processor, but its tracks can't be handed over.
      copy.stop();
    }
  }
  return pumpVideo(preview, line, run);
}

async function getCamera(width: number, maxFps: number): Promise<MediaStream> {
  if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) {
    throw new SourceError(
      "insecure_context",
      "The browser allows no camera here",
      `Cameras need https, or http on this very machine: open this page as https://${location.host} or through http://localhost. The sample and files work anyway.`,
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
        "Allow it in the browser's address bar (the camera sign), then press Start again. Or try the sample, which needs no camera.",
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
        "Another program or tab probably uses it: close that one, then press Start again.",
      );
    default:
      return new SourceError("camera_failed", "The camera could not be opened", `The browser says: ${String(error)}`);
  }
}
