// What was clicked before the viewer was there (boot.ts).

import type { SourceKind } from "../config.js";
import { byId } from "./dom.js";

/** Every button has its listener now. Returns what was asked for meanwhile, once. */
export function takeEarly(): { kind: SourceKind; file?: File } | null {
  const { dataset } = document.body;
  const kind = dataset["early"];
  dataset["ready"] = "";
  delete dataset["early"];
  const file = byId<HTMLInputElement>("file").files?.[0];
  if (file) return { kind: "file", file };
  return kind === "camera" || kind === "sample" ? { kind } : null;
}

/** A small file that the build or the server has put beside the page; null where it has not, or the visitor saves data. */
export async function fetchSmall(path: string): Promise<Blob | null> {
  const { connection } = navigator as { connection?: { saveData?: boolean } };
  if (connection?.saveData) return null;
  // Whatever the page needs to work comes first.
  const response = await fetch(new URL(path, document.baseURI), { priority: "low" } as RequestInit);
  return response.ok ? response.blob() : null;
}
