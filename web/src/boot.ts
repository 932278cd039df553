// Runs long before the viewer, which is a megabyte: whoever clicks meanwhile has not clicked in vain, and whose browser can't run it is
// told so. Old browsers read this, too.

import { missing, OLDEST, TOO_OLD } from "./ui/browser.js";

/** Where the viewer finds what was clicked before it was there. */
const EARLY = "early";
const WORDS: Readonly<Record<string, string>> = {
  camera: "Loading the viewer; then your browser may ask whether the camera is allowed.",
  sample: "Loading the viewer; then the sample plays.",
};

const welcome = document.getElementById("welcome");
const opening = document.getElementById("opening");
const viewer = document.querySelector("script[data-viewer]");

const lacks = missing();
if (lacks.length > 0) {
  document.body.dataset["lacks"] = lacks.join(", ");
  const card = document.createElement("div");
  card.className = "problem";
  card.dataset["code"] = TOO_OLD.code;
  const title = document.createElement("strong");
  title.textContent = TOO_OLD.title;
  const text = document.createElement("p");
  text.textContent = `It lacks ${lacks.join(", ")}. ${OLDEST} have all that is needed; so have later ones.`;
  card.append(title, text);
  document.getElementById("problems")?.replaceChildren(card);
  for (const id of ["welcome", "dock", "connection"]) document.getElementById(id)?.setAttribute("hidden", "");
} else if (welcome && opening && viewer) {
  welcome.inert = false;
  welcome.addEventListener("click", ({ target }) => {
    const kind = target instanceof HTMLElement ? target.closest<HTMLElement>("[data-start]")?.dataset["start"] : undefined;
    // From when the viewer is there, it has listeners of its own.
    if (!kind || document.body.dataset["ready"] !== undefined) return;
    // A dialog opens only at a click: the file is chosen now, and opened later.
    if (kind === "file") document.getElementById("file")?.click();
    else document.body.dataset[EARLY] = kind;
    opening.textContent = WORDS[kind] ?? "Loading the viewer.";
  });
  viewer.addEventListener("error", () => {
    welcome.inert = true;
    opening.textContent = "The viewer could not be loaded. Check the connection and load this page again.";
    const connection = document.getElementById("connection-text");
    if (connection) connection.textContent = "not loaded";
  });
}
