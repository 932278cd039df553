// What the share dialog says of the cameras of a room. Pure.

import type { RoomCamera } from "../stream/messages.js";

/** A line for each camera. @param own The id of this page's. */
export function cameraLines(cameras: readonly RoomCamera[], own: string): string[] {
  const isJoint = cameras.some((camera) => camera.in_capture);
  return cameras.map(({ id, name, away, in_capture: isIn }, index) => {
    const part = isIn ? "in the room's world" : "not in the room's world: too slow, or one too many";
    const notes = [id === own ? "this page" : "", away ? "away" : isJoint ? part : ""].filter(Boolean).join(", ");
    return `${name || `Camera ${index + 1}`}${notes ? ` (${notes})` : ""}`;
  });
}
