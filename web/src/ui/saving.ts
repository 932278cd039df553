// What a person can save of what is on the screen: the view as a picture, the splats as a file, the view as a film.

import { plyOf } from "../codecs/ply_file.js";
import { spzOf } from "../codecs/spz_file.js";
import type { Engine } from "../stream/messages.js";
import type { Stage } from "../view/stage.js";
import { paintBackground } from "./background.js";
import { saveAs, timedName } from "./dom.js";

/** Saves the view, which is transparent where there is no splat, on the page's background as a PNG. */
export function savePicture(view: HTMLCanvasElement): void {
  paintBackground(view);
  view.toBlob((blob) => blob && saveAs(blob, timedName("png")));
}

/** What lengths are in: metres only of a model that measures in them, by a focal length that somebody knows. */
export function unitOf(engine: Engine, intrinsics: string | undefined): string {
  if (!engine.metric) return "the model's own";
  return intrinsics === undefined || intrinsics === "guessed" ? "the model's own, as the focal length was guessed" : "metres";
}

/**
 * Saves the splats on the screen as a PLY file.
 *
 * @param engine What made them, which the file says, and under which licence; null: nobody knows.
 * @param intrinsics Where the focal length is from.
 */
export function savePly(stage: Stage, engine: Engine | null, intrinsics: string | undefined): void {
  const { words, range } = stage.shown;
  const comments = engine && [
    `unit: ${unitOf(engine, intrinsics)}`,
    `engine: ${engine.name} (${engine.label})`,
    `licence: ${engine.licence} ${engine.licence_note}`.trimEnd(),
  ];
  saveAs(new Blob([plyOf(words, range, comments ?? [])], { type: "application/ply" }), timedName("ply"));
}

/** Saves the splats on the screen as an SPZ file: about a seventh of the PLY, for viewers and shops that take it. */
export async function saveSpz(stage: Stage): Promise<void> {
  const { words, range } = stage.shown;
  saveAs(await spzOf(words, range), timedName("spz"));
}
