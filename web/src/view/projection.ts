// From the capture camera's intrinsics to a projection that shows its whole picture in any window.

import type { Camera } from "../stream/messages.js";

/** A typical webcam: for what comes without a camera. */
export const WEBCAM: Camera = { width: 640, height: 480, fx: 560, fy: 560, cx: 320, cy: 240 };

/** Where the picture lies in the window, in fractions of the window's width and height from its left and top. */
export interface PictureRect {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

const WHOLE: PictureRect = { left: 0, top: 0, width: 1, height: 1 };

/** The picture's width by its height. Pixels need not be square: its shape is its field of view. */
export function aspectOf(camera: Camera): number {
  return camera.width / camera.fx / (camera.height / camera.fy);
}

/** The largest rectangle of the picture's aspect in a part of the window, centred in it. */
export function containRect(camera: Camera, windowAspect: number, room: PictureRect = WHOLE): PictureRect {
  const aspect = aspectOf(camera);
  const roomAspect = (windowAspect * room.width) / room.height;
  const width = room.width * Math.min(1, aspect / roomAspect);
  const height = room.height * Math.min(1, roomAspect / aspect);
  return { left: room.left + (room.width - width) / 2, top: room.top + (room.height - height) / 2, width, height };
}

/**
 * The near plane's edges [left, right, top, bottom] at distance 1, x right and y up.
 *
 * The principal point may lie anywhere: the frustum is then lopsided, and the picture still fills its rectangle exactly.
 */
export function frustum(camera: Camera, rect: PictureRect): [left: number, right: number, top: number, bottom: number] {
  const tanWidth = camera.width / camera.fx / rect.width;
  const tanHeight = camera.height / camera.fy / rect.height;
  const left = -camera.cx / camera.fx - rect.left * tanWidth;
  const top = camera.cy / camera.fy + rect.top * tanHeight;
  return [left, left + tanWidth, top, top - tanHeight];
}
