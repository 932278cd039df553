// The report for somebody who could mend what went wrong: versions, choices, figures, the last problems. No picture, no token.

import type { Stats } from "../figures/statistics.js";
import type { State } from "../state.js";
import { CLIENT } from "../stream/connection.js";
import type { PastProblem } from "./problems.js";

/** What the page knows of itself. */
export interface Surroundings {
  readonly userAgent: string;
  /** What draws, in the browser's words. */
  readonly renderer: string;
  readonly window: string;
  /** The page's address; what a token could be in is left out. */
  readonly address: string;
  readonly atIso: string;
}

/** Lines of `name: value`, to be pasted into an issue. */
export function reportText(state: Readonly<State>, stats: Stats, past: readonly PastProblem[], where: Surroundings): string {
  const { engine, shown, settings, options, lift } = state;
  const { origin, pathname, search } = new URL(where.address);
  const set = Object.entries(settings).filter(([, value]) => value !== null);
  const lines: [string, string][] = [
    ["viewer", CLIENT],
    ["time", where.atIso],
    ["address", `${origin}${pathname}${search}`],
    ["browser", where.userAgent],
    ["renderer", where.renderer],
    ["window", where.window],
    ["connection", `${state.connectionText}; connected again ${stats.reconnects} times`],
    ["engine", engine ? `${engine.label} (${engine.licence})` : "unknown"],
    ["source", `${state.source}${state.running ? ", running" : ""}`],
    ["settings", JSON.stringify(Object.fromEntries(set))],
    ["options", JSON.stringify(options)],
    [
      "shown",
      shown
        ? `${shown.count} splats as ${shown.kind}, ${shown.codec}; lifted ${lift?.where ?? "by the worker"}`
        : "nothing yet",
    ],
    ["stages, ms", JSON.stringify(shown?.timingsMs ?? {})],
    ["figures", JSON.stringify(stats, (_, value) => (typeof value === "number" ? Math.round(value * 10) / 10 : value))],
    ["problems", past.length === 0 ? "none" : ""],
  ];
  const problems = past.map(({ atIso, problem }) => `- ${atIso} ${problem.code}: ${problem.title}. ${problem.text}`);
  return [...lines.map(([name, value]) => `${name}: ${value}`.trimEnd()), ...problems].join("\n");
}
