// Runs long before the viewer, which is a megabyte: whoever clicks meanwhile has not clicked in vain. Imports nothing.

/** Where the viewer finds what was clicked before it was there. */
const EARLY = "early";
const WORDS: Readonly<Record<string, string>> = {
  camera: "Loading the viewer; then your browser may ask whether the camera is allowed.",
  sample: "Loading the viewer; then the sample plays.",
};

const welcome = document.getElementById("welcome");
const opening = document.getElementById("opening");
const viewer = document.querySelector("script[data-viewer]");

if (welcome && opening && viewer) {
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
