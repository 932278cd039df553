// The page's entry: starts the viewer, or says why it can't.

import { App } from "./app.js";
import { readConfig } from "./config.js";
import { Access } from "./stream/access.js";
import { exposeForTests } from "./testing.js";
import { OLDEST } from "./ui/browser.js";
import { byId, make } from "./ui/dom.js";
import { recall } from "./ui/memory.js";

function sayNoWebGl(error: unknown): void {
  const card = make("div", "", "problem");
  card.dataset["code"] = "no_webgl2";
  card.append(
    make("strong", "This browser can't draw 3D here"),
    make(
      "p",
      `Splats need WebGL2. Turn on hardware acceleration in the browser's settings, or use a newer one: ${OLDEST} have it.`,
    ),
    make("p", String(error)),
  );
  byId("problems").replaceChildren(card);
  // Nothing on this page can help: no button is left that does nothing, and no word of a connection that is never made.
  for (const id of ["welcome", "dock", "connection"]) byId(id).hidden = true;
}

// First of all: whatever else fails, the token does not stay in the address bar.
const access = new Access();
if (document.body.dataset["lacks"] !== undefined) {
  // boot.ts has said what is missing.
} else if (document.createElement("canvas").getContext("webgl2") === null) {
  sayNoWebGl("There is no WebGL2 context.");
} else {
  try {
    exposeForTests(new App(readConfig(location.href, recall()), access));
  } catch (error) {
    sayNoWebGl(error);
  }
}
