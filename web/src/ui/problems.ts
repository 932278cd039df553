// What went wrong, in plain words: one card a problem, which goes when the problem does.

import type { Store } from "../store.js";
import type { Problem, State } from "../types.js";
import { byId, make } from "./dom.js";

/** Cards at a time: a flood of refusals must not cover the page. */
const MOST = 3;

export interface ProblemActions {
  startSample(): void;
  reconnect(): void;
}

export class Problems {
  private drawn = "";

  constructor(
    private readonly store: Store<State>,
    private readonly actions: ProblemActions,
  ) {
    store.subscribe((state) => this.draw(state.problems));
  }

  /** Says it, in place of an older problem with the same code. */
  report(problem: Problem): void {
    const others = this.store.get().problems.filter((each) => each.code !== problem.code);
    this.store.set({ problems: [...others, problem].slice(-MOST) });
  }

  /** This is over. */
  settle(what: NonNullable<Problem["until"]>): void {
    const { problems } = this.store.get();
    if (problems.some((each) => each.until === what))
      this.store.set({ problems: problems.filter((each) => each.until !== what) });
  }

  dismiss(code: string): void {
    this.store.set({ problems: this.store.get().problems.filter((each) => each.code !== code) });
  }

  private draw(problems: readonly Problem[]): void {
    const key = JSON.stringify(problems);
    if (key === this.drawn) return;
    this.drawn = key;
    byId("problems").replaceChildren(...problems.map((problem) => this.card(problem)));
  }

  private card(problem: Problem): HTMLElement {
    const card = make("div", "", "problem");
    card.dataset["code"] = problem.code;
    const close = make("button", "×");
    close.type = "button";
    close.setAttribute("aria-label", "Dismiss");
    close.addEventListener("click", () => this.dismiss(problem.code));
    card.append(make("strong", problem.title), close, make("p", problem.text));
    const actions = make("div", "", "actions");
    const offer = (text: string, act: () => void): void => {
      const button = make("button", text);
      button.type = "button";
      button.addEventListener("click", act);
      actions.append(button);
    };
    if (problem.until === "started" && problem.code !== "sample_failed") offer("Play the sample", this.actions.startSample);
    if (problem.until === "connected") offer("Try now", this.actions.reconnect);
    if (actions.childElementCount > 0) card.append(actions);
    return card;
  }
}
