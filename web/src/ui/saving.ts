// What a person can save: the view as a picture, and the last frame as a file of splats.

import type { Access } from "../stream/access.js";
import type { FrameOptions } from "../stream/messages.js";
import { saveAs, timedName } from "./dom.js";

/** The page's background, for where there is no splat. */
const BACKGROUND = "#10141d";

/** Saves the view, which is transparent where there is no splat, on the page's background as a PNG. */
export function savePicture(view: HTMLCanvasElement): void {
  const context = view.getContext("2d")!;
  context.globalCompositeOperation = "destination-over";
  context.fillStyle = BACKGROUND;
  context.fillRect(0, 0, view.width, view.height);
  view.toBlob((blob) => blob && saveAs(blob, timedName("png")));
}

/**
 * Has the server make a PLY file of the picture, and saves it.
 *
 * @param jpeg The picture that was sent last; null where none was.
 * @param options Those in force: the budget and the minimum opacity apply to the file as well.
 * @throws Error Saying why there is no file.
 */
export async function savePly(jpeg: ArrayBuffer | null, options: Partial<FrameOptions>, access: Access): Promise<void> {
  if (!jpeg) throw new Error("No picture was sent yet. Press Start first.");
  const query = new URLSearchParams({ format: "ply" });
  for (const key of ["max_splats", "min_opacity"] as const)
    if (options[key] !== undefined) query.set(key, String(options[key]));
  const request = { method: "POST", headers: { "content-type": "image/jpeg" }, body: jpeg };
  const response = await access.fetch(`api/splat?${query}`, request).catch((error: unknown) => {
    throw new Error(`The server can't be reached (${String(error)}).`);
  });
  if (!response.ok) throw new Error(await reasonOf(response));
  saveAs(await response.blob(), timedName("ply"));
}

async function reasonOf(response: Response): Promise<string> {
  const body: unknown = await response.json().catch(() => null);
  const message = body && typeof body === "object" && "message" in body ? String(body.message) : "";
  return message || `The server answered ${response.status}.`;
}
