// The panel of statistics, the connection's dot and the engine's label.

import { nowMs } from "../clock.js";
import { DEPTH_NAME } from "../codecs/depth.js";
import { Graph } from "../figures/graph.js";
import { QualityLine } from "../figures/quality.js";
import type { Stats } from "../figures/statistics.js";
import type { State } from "../state.js";
import type { QualityState } from "../stream/messages.js";
import { byId, make, setText } from "./dom.js";
import type { Store } from "./store.js";

/** Stages in the order a frame meets them, and their names for people. */
const STAGES: Record<string, string> = {
  receive: "receive",
  queue: "wait",
  decode: "decode",
  infer: "depth",
  pack: "pack",
  relay: "relay",
  send: "send",
};
const REASONS: Record<string, string> = {
  superseded: "a newer frame was ready",
  stale: "a newer result was ready",
  slow_client: "this viewer was behind",
  overloaded: "the server was too busy",
  rate_limited: "sent faster than the server accepts",
  client: "a newer reply came before it was drawn",
  bad: "the reply was not understood",
  not_drawn: "the reply could not be drawn",
  refused: "refused by the server",
};
const REFRESH_MS = 250;
const SECOND_MS = 1000;
/** Where the figures leave the view enough room to be open by themselves. */
const ROOMY = "(min-width: 1081px) and (min-height: 640px)";

export class Hud {
  private readonly quality = new QualityLine();
  private readonly graphs = {
    age: new Graph("Age", " ms"),
    frames: new Graph("Frames", "/s"),
    bytes: new Graph("Size", " KB"),
    quality: new Graph("Quality", "%", 100),
  };
  private readonly bars = new Map<string, { label: HTMLElement; bar: HTMLElement; value: HTMLElement }>();

  constructor(
    private readonly store: Store<State>,
    private readonly stats: () => Stats,
  ) {
    const toggle = byId("stats-toggle");
    const setOpen = (open: boolean): void => {
      toggle.setAttribute("aria-expanded", String(open));
      byId("stats-body").hidden = !open;
    };
    const roomy = window.matchMedia(ROOMY);
    setOpen(roomy.matches);
    roomy.addEventListener("change", () => setOpen(roomy.matches));
    byId("graphs").append(...Object.values(this.graphs).map(({ element }) => element));
    toggle.addEventListener("click", () => setOpen(toggle.getAttribute("aria-expanded") !== "true"));
    store.subscribe((state) => this.showState(state));
    setInterval(() => this.showStats(), REFRESH_MS);
    setInterval(() => this.addSecond(), SECOND_MS);
  }

  private showState(state: Readonly<State>): void {
    byId("connection").className = `connection ${state.connection}`;
    setText(byId("connection-text"), state.connectionText);
    const { engine, shown, replay } = state;
    byId("engine").hidden = !engine;
    setText(byId("engine-label"), (replay ? "" : shown?.label) || (engine?.label ?? ""));
    setText(byId("engine-licence"), engine?.licence ?? "");
    byId("licence-note").hidden = !engine?.licence_note;
    setText(byId("licence-note"), engine?.licence_note ?? "");
  }

  private showStats(): void {
    const { shown, running, watching, lift } = this.store.get();
    byId("stats").hidden = !shown && !running;
    if (document.hidden || byId("stats").hidden) return;
    const stats = this.stats();
    const live = isMoving(this.store.get()) && stats.fps > 0;
    setText(byId("fps"), live ? stats.fps.toFixed(stats.fps < 9.95 ? 1 : 0) : "–");
    setText(byId("age"), live ? stats.ageP50Ms.toFixed(0) : "–");
    const [unit, ms, digits] = stats.ageP95Ms < 1000 ? (["ms", 1, 0] as const) : (["s", 1000, 1] as const);
    setText(byId("age-p50"), live ? (stats.ageP50Ms / ms).toFixed(digits) : "–");
    setText(byId("age-p95"), live ? `· ${(stats.ageP95Ms / ms).toFixed(digits)} ${unit}` : "");
    setText(byId("kilobytes"), live ? `${stats.kilobytesPerFrame.toFixed(0)} KB` : "–");
    if (shown) {
      setText(byId("splats"), shown.count.toLocaleString("en"));
      setText(byId("kind"), `${shown.kind}, ${shown.codec}${shown.onGpu ? " (GPU)" : ""}`);
      const lifted = `Lifted ${shown.onGpu ? "on the GPU" : "in a worker"}: ${lift?.why ?? "the GPU is being tried"} `;
      const busy = `A frame keeps this page busy for ${stats.busyP95Ms.toFixed(1)} ms (95%).`;
      byId("kind").title = (shown.codec === DEPTH_NAME ? lifted : "") + (live ? busy : "");
      this.showStages(shown.timingsMs);
    }
    this.showQuality((running || watching) && shown ? shown.quality : null);
    this.showDrops(stats);
  }

  /** A stopped stream leaves a gap: zero would mean something else. */
  private addSecond(): void {
    const { shown, running } = this.store.get();
    if (!shown && !running) return;
    const stats = this.stats();
    const live = isMoving(this.store.get()) && stats.fps > 0 && !document.hidden;
    const quality = shown ? 100 * Math.min(shown.quality.splats_share, shown.quality.px_share) : null;
    this.graphs.age.add(live ? stats.ageP50Ms : null);
    this.graphs.frames.add(live ? stats.fps : null);
    this.graphs.bytes.add(live ? stats.kilobytesPerFrame : null);
    this.graphs.quality.add(live ? quality : null);
  }

  private showQuality(quality: QualityState | null): void {
    if (!quality) this.quality.forget();
    const { value, note } = quality ? this.quality.words(quality, nowMs()) : { value: "–", note: "" };
    setText(byId("quality"), value);
    byId("quality").classList.toggle("lowered", value !== "full" && quality !== null);
    setText(byId("quality-note"), note);
    byId("quality-note").hidden = !note;
  }

  private showStages(timingsMs: Record<string, number>): void {
    const known = Object.keys(STAGES).filter((stage) => timingsMs[stage] !== undefined);
    const other = Object.keys(timingsMs).filter((stage) => stage !== "total" && !(stage in STAGES));
    const longest = Math.max(1, ...[...known, ...other].map((stage) => timingsMs[stage]!));
    for (const stage of [...known, ...other]) {
      const row = this.bars.get(stage) ?? this.addBar(stage);
      const ms = timingsMs[stage]!;
      row.bar.style.transform = `scaleX(${Math.max(0, ms) / longest})`;
      setText(row.value, `${ms.toFixed(ms < 10 ? 1 : 0)} ms`);
    }
  }

  private addBar(stage: string): { label: HTMLElement; bar: HTMLElement; value: HTMLElement } {
    const row = { label: make("span", STAGES[stage] ?? stage, "label"), bar: make("i"), value: make("span") };
    const track = make("span", "", "bar");
    track.append(row.bar);
    byId("stages").append(row.label, track, row.value);
    this.bars.set(stage, row);
    return row;
  }

  private showDrops(stats: Stats): void {
    const all: Record<string, number> = {
      ...stats.dropped,
      client: stats.supersededInClient,
      bad: stats.badReplies,
      not_drawn: stats.notDrawn,
      refused: stats.refused,
    };
    const entries = Object.entries(all).filter(([, count]) => count > 0);
    const total = entries.reduce((sum, [, count]) => sum + count, 0);
    setText(byId("dropped-total"), stats.sent ? `${total} of ${stats.sent}` : total > 0 ? String(total) : "none");
    const list = byId("drops");
    const lines = entries.map(([reason, count]) => ({ text: REASONS[reason] ?? reason, count: String(count) }));
    const key = JSON.stringify(lines);
    if (list.dataset["key"] === key) return;
    list.dataset["key"] = key;
    list.replaceChildren(
      ...lines.map(({ text, count }) => {
        const item = make("li");
        item.append(make("span", text), make("span", count));
        return item;
      }),
    );
  }
}

/** Frames come, from the server or from a file. */
function isMoving({ running, frozen, replay, watching }: Readonly<State>): boolean {
  return replay ? replay.playing : (running || watching) && !frozen;
}
