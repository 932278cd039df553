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

/** The largest rectangle of the picture's aspect in the window, centred. */
export function containRect(camera: Camera, windowAspect: number): PictureRect {
  // Pixels need not be square: the picture's shape is its field of view.
  const aspect = camera.width / camera.fx / (camera.height / camera.fy);
  const width = Math.min(1, aspect / windowAspect);
  const height = Math.min(1, windowAspect / aspect);
  return { left: (1 - width) / 2, top: (1 - height) / 2, width, height };
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
