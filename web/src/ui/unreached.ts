// Says why there is no connection, where the server could not say it itself: first that there is none, then what plain HTTP found out.

import type { Problem } from "../state.js";
import type { Reach } from "../stream/reach.js";
import type { ServerRefusal } from "../stream/thread.js";
import { noWebSocket, proxyAnswers } from "./problem_texts.js";
import type { Problems } from "./problems.js";

/** Failed attempts in a row for which HTTP works, before that is more than a server that has just come up. */
const SURE_AFTER = 2;

export interface UnreachedParts {
  ask(): Promise<Reach>;
  isOpen(): boolean;
  /** What is said at first, and where nobody answers. */
  gone(): Problem;
  refused(refusal: ServerRefusal): void;
}

export class Unreached {
  private served = 0;
  private asking = false;
  /** Code of what this has said; what the server itself says stays. */
  private said = "";

  constructor(
    private readonly problems: Problems,
    private readonly parts: UnreachedParts,
  ) {}

  /** An attempt to connect has failed. */
  failed(): void {
    const open = this.problems.aboutConnection;
    if (open && open.code !== this.said) return;
    if (!open) {
      this.served = 0;
      this.say(this.parts.gone());
    }
    if (!this.asking) void this.explain();
  }

  private async explain(): Promise<void> {
    this.asking = true;
    const reach = await this.parts.ask();
    this.asking = false;
    // Meanwhile it may have connected, or the server has said what is wrong.
    if (this.parts.isOpen() || this.problems.aboutConnection?.code !== this.said) return;
    this.served = reach.kind === "serves" ? this.served + 1 : 0;
    if (reach.kind === "refused") this.parts.refused(reach.refusal);
    else if (reach.kind === "away") this.say(proxyAnswers(reach.status, reach.by));
    else if (reach.kind === "gone") this.say(this.parts.gone());
    else if (this.served >= SURE_AFTER) this.say(noWebSocket(reach.by));
  }

  private say(problem: Problem): void {
    this.said = problem.code;
    // Again and again the same would fill the report.
    if (JSON.stringify(this.problems.aboutConnection) !== JSON.stringify(problem)) this.problems.report(problem);
  }
}
