// The open problems of the page's state: what is said, what makes room for what, and when it is over.

import type { Problem, State } from "../state.js";
import type { Store } from "./store.js";

/** Cards at a time: a flood of refusals must not cover the page. */
const MOST = 3;

/** Problems that a report names: the last ones, those that are over as well. */
const REMEMBERED = 10;

/** A problem, and when it was said. */
export interface PastProblem {
  readonly atIso: string;
  readonly problem: Problem;
}

export class Problems {
  private readonly log: PastProblem[] = [];

  constructor(private readonly store: Store<State>) {}

  /** The last ones, oldest first. */
  get past(): readonly PastProblem[] {
    return this.log;
  }

  /** Adds a problem. */
  report(problem: Problem): void {
    this.log.push({ atIso: new Date().toISOString(), problem });
    if (this.log.length > REMEMBERED) this.log.shift();
    this.store.set({ problems: withProblem(this.store.get().problems, problem) });
  }

  /** This has happened: what was open until then is over. */
  settle(what: NonNullable<Problem["until"]>): void {
    this.keep((each) => each.until !== what);
  }

  dismiss(code: string): void {
    this.keep((each) => each.code !== code);
  }

  /** What the page says of why there is no connection. */
  get aboutConnection(): Problem | undefined {
    return this.store.get().problems.find(isAboutConnection);
  }

  private keep(stays: (problem: Problem) => boolean): void {
    const { problems } = this.store.get();
    if (!problems.every(stays)) this.store.set({ problems: problems.filter(stays) });
  }
}

/**
 * The problems with this one among them, newest last.
 *
 * It takes the place of an older one with the same code and, if it is about the connection, of an older one about that. Where there
 * are too many, the oldest of the others leave: refused pictures must not push out the card that asks for the token.
 */
export function withProblem(problems: readonly Problem[], problem: Problem): Problem[] {
  const others = problems.filter(
    (each) => each.code !== problem.code && !(isAboutConnection(problem) && isAboutConnection(each)),
  );
  const all = [...others, problem];
  const passing = all.filter((each) => !isAboutConnection(each) && !each.blocks);
  const room = Math.max(1, MOST - (all.length - passing.length));
  const leaving = new Set(passing.slice(0, -room));
  return all.filter((each) => !leaving.has(each));
}

function isAboutConnection(problem: Problem): boolean {
  return problem.until === "connected";
}
