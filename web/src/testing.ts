// `window.splatcast`: what the browser tests read. It is a look inside, not an interface to build on.

import type { App } from "./app.js";
import { nowMs } from "./clock.js";
import { WORDS } from "./codecs/words.js";
import type { Stats } from "./figures/statistics.js";
import type { State } from "./state.js";

export interface Splatcast {
  readonly state: Readonly<State>;
  readonly stats: Stats;
  /** Resources on the GPU, room for splats, splats that the last sort found active, pictures drawn and GL errors so far. */
  readonly renderer: Record<"textures" | "capacity" | "activeSplats" | "drawn" | "glErrors", number>;
  /** The picture that was last sent, as a data: URL. */
  lastCapture(): Promise<{ seq: number; jpeg: string | null }>;
  /** The camera's picture as rendered from the capture viewpoint, as a PNG data: URL; transparent where there is no splat. */
  captureScreenshot(): string;
  /** Spark's packed words of the splats that are shown, four each. */
  shownWords(): number[];
}

declare global {
  interface Window {
    splatcast?: Splatcast;
  }
}

export function exposeForTests(app: App): void {
  window.splatcast = {
    get state() {
      return app.store.get();
    },
    get stats() {
      return app.view.statistics.at(nowMs());
    },
    get renderer() {
      const { stage } = app.view.player;
      const { capacity, activeSplats, drawn, glErrors } = stage;
      return { textures: stage.renderer.info.memory.textures, capacity, activeSplats, drawn, glErrors };
    },
    async lastCapture() {
      const { seq, jpeg } = await app.view.stream.lastCapture();
      return { seq, jpeg: jpeg && `data:image/jpeg;base64,${base64(new Uint8Array(jpeg))}` };
    },
    captureScreenshot: () => app.view.player.capture(true).toDataURL("image/png"),
    shownWords() {
      const { words } = app.view.player.stage.shown;
      return Array.from(words).filter((_, i) => words[i - (i % WORDS)]! >>> 24 > 0);
    },
  };
}

function base64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}
