// What went wrong, in plain words: one card per problem, which goes when the problem does.

import type { Problem, State } from "../state.js";
import { TOKEN_PATTERN } from "../stream/access.js";
import { byId, make } from "./dom.js";
import type { Store } from "./store.js";

export interface ProblemActions {
  startSample(): void;
  reconnect(): void;
  authorize(token: string): void;
  dismiss(code: string): void;
}

export class ProblemCards {
  private readonly cards = new Map<string, HTMLElement>();

  constructor(
    store: Store<State>,
    private readonly actions: ProblemActions,
  ) {
    store.subscribe((state) => this.draw(state.problems));
  }

  private draw(problems: readonly Problem[]): void {
    const wanted = new Map(problems.map((problem) => [JSON.stringify(problem), problem]));
    for (const [key, card] of this.cards) {
      if (wanted.has(key)) continue;
      card.remove();
      this.cards.delete(key);
    }
    // Cards that stay are left alone: somebody may be typing into one.
    for (const [key, problem] of wanted) {
      if (this.cards.has(key)) continue;
      const card = this.card(problem);
      this.cards.set(key, card);
      byId("problems").append(card);
      card.querySelector("input")?.focus();
    }
  }

  private card(problem: Problem): HTMLElement {
    const card = make("div", "", "problem");
    card.dataset["code"] = problem.code;
    const close = make("button", "×");
    close.type = "button";
    close.setAttribute("aria-label", "Dismiss");
    close.addEventListener("click", () => this.actions.dismiss(problem.code));
    card.append(make("strong", problem.title), close, make("p", problem.text));
    if (problem.lines) card.append(make("pre", problem.lines.join("\n")));
    const actions = make("div", "", "actions");
    const offer = (text: string, act: () => void): void => {
      const button = make("button", text);
      button.type = "button";
      button.addEventListener("click", act);
      actions.append(button);
    };
    const needsSource = problem.until === "started" && problem.code !== "sample_failed" && problem.code !== "camera_asleep";
    if (needsSource) offer("Play the sample", this.actions.startSample);
    if (problem.until === "connected" && !problem.ask) offer("Try now", this.actions.reconnect);
    if (actions.childElementCount > 0) card.append(actions);
    if (problem.ask === "token") {
      card.classList.add("asks");
      close.remove(); // Without it there would be no way in.
      card.append(this.tokenForm(problem));
    }
    return card;
  }

  private tokenForm(problem: Problem): HTMLFormElement {
    const form = make("form", "", "actions");
    const input = make("input");
    Object.assign(input, { type: "password", name: "token", placeholder: "Token", autocomplete: "current-password" });
    Object.assign(input, { required: true, pattern: TOKEN_PATTERN });
    input.setAttribute("aria-label", "Token");
    input.title = "Letters, digits and . _ ~ -, without spaces";
    const button = make("button", "Connect", "primary");
    button.type = "submit";
    form.append(input, button);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.actions.dismiss(problem.code);
      this.actions.authorize(input.value);
    });
    return form;
  }
}
