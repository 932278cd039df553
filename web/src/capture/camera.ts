// The webcam: which one, its permission, and its pictures.

import type { Settings } from "../config.js";
import { type CaptureLine, type Ready, SourceError } from "./source.js";
import { browserSays, endTracks, mediaRefusal, playTrack } from "./tracks.js";

/** A camera of this device, as far as the browser names it. */
export interface CameraName {
  readonly id: string;
  readonly label: string;
}

export type CameraWish = Pick<Settings, "camera" | "captureSide" | "maxFps">;

export interface CameraEvents {
  /** It went away by itself. */
  ended(): void;
  /** It gives no pictures for now, or does again: the system, or a key on the device, muted it. */
  muted(muted: boolean): void;
  /** It was opened: now the browser tells the names. */
  opened(cameras: CameraName[], id: string): void;
}

/**
 * Opens the camera.
 *
 * @throws SourceError Saying why there is no camera.
 */
export async function openCamera(
  line: CaptureLine,
  preview: HTMLVideoElement,
  wish: CameraWish,
  events: CameraEvents,
  signal: AbortSignal,
): Promise<Ready> {
  let stream = await getCamera(wish);
  let track = endTracks(stream, signal);
  const cameras = await listCameras();
  signal.throwIfAborted();
  // Without the permission the names were hidden: only now it shows that another one was meant.
  const meant = findCamera(cameras, wish.camera);
  if (meant && idOf(track) && meant.id !== idOf(track)) {
    track.stop();
    stream = await getCamera({ ...wish, camera: meant.id });
    track = endTracks(stream, signal);
  }
  track.addEventListener("ended", events.ended, { signal });
  track.addEventListener("mute", () => events.muted(true), { signal });
  track.addEventListener("unmute", () => events.muted(false), { signal });
  events.opened(cameras, idOf(track));
  const begin = async (): Promise<void> => {
    try {
      await playTrack(stream, line, preview, { faces: true }, signal);
    } catch (error) {
      throw failed(error);
    }
    events.muted(track.muted);
  };
  return { name: track.label || "camera", shows: "video", begin };
}

/** The cameras that the browser names: none before one was allowed. */
export async function listCameras(): Promise<CameraName[]> {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
  return devices
    .filter(({ kind, deviceId, label }) => kind === "videoinput" && deviceId && label)
    .map(({ deviceId, label }) => ({ id: deviceId, label }));
}

/** The camera that is meant: by its id, or by a part of its name. */
export function findCamera(cameras: readonly CameraName[], wanted: string): CameraName | undefined {
  if (!isName(wanted)) return undefined;
  const lower = wanted.toLowerCase();
  return cameras.find(({ id }) => id === wanted) ?? cameras.find(({ label }) => label.toLowerCase().includes(lower));
}

/**
 * What to ask the browser for. A side is a wish, as few devices say which side a camera is on. A camera that is known by its id is
 * asked for exactly: given a wish, Chromium may open another one.
 *
 * @param camera Empty for any, `front`, `rear`, or an id.
 */
export function cameraConstraints({ camera, captureSide, maxFps }: CameraWish): MediaTrackConstraints {
  const which: MediaTrackConstraints = isName(camera)
    ? { deviceId: { exact: camera } }
    : camera
      ? { facingMode: { ideal: camera === "front" ? "user" : "environment" } }
      : {};
  const size = { width: { ideal: captureSide }, height: { ideal: Math.round((captureSide * 3) / 4) } };
  return { ...which, ...size, frameRate: { ideal: maxFps } };
}

function isName(camera: string): boolean {
  return camera !== "" && camera !== "front" && camera !== "rear";
}

function idOf(track: MediaStreamTrack): string {
  return track.getSettings?.().deviceId ?? "";
}

async function getCamera(wish: CameraWish): Promise<MediaStream> {
  if (!window.isSecureContext || !navigator.mediaDevices?.getUserMedia) {
    throw new SourceError(
      "insecure_context",
      "The browser allows no camera here",
      `Cameras need https, or http on this very machine: open this page as https://${location.host}, or as http://localhost. The sample and files work without that.`,
    );
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: false, video: cameraConstraints(wish) });
  } catch (error) {
    // It is not plugged in, or another device's: whatever camera there is, is better than none.
    if (isName(wish.camera) && mediaRefusal(error) === "missing") return getCamera({ ...wish, camera: "" });
    throw inWords(error);
  }
}

function inWords(error: unknown): SourceError {
  switch (mediaRefusal(error)) {
    case "denied":
      return new SourceError(
        "camera_denied",
        "The camera is not allowed",
        "Allow it in the browser's address bar (the camera icon), then press Start again. Or try the sample, which needs no camera.",
      );
    case "missing":
      return new SourceError(
        "no_camera",
        "No camera was found",
        "Connect one and press Start again. Or try the sample, or drop a picture or video on the page.",
      );
    case "in_use":
      return new SourceError(
        "camera_in_use",
        "The camera can't be read",
        "Another program or tab is probably using it: close that one, then press Start again.",
      );
    case "failed":
      return failed(error);
  }
}

function failed(error: unknown): SourceError {
  return new SourceError("camera_failed", "The camera could not be opened", browserSays(error));
}
