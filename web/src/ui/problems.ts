// Which problems are on the page at a time. Pure.

import type { Problem } from "../types.js";

/** Cards at a time: a flood of refusals must not cover the page. */
const MOST = 3;

/**
 * The problems with this one among them, newest last.
 *
 * It takes the place of an older one with the same code; and of one about the connection, which has one state, if it is about that.
 * Where there are too many, the oldest ones that end by themselves leave: the token that is asked for must not be pushed out by
 * pictures that were refused meanwhile.
 */
export function withProblem(problems: readonly Problem[], problem: Problem): Problem[] {
  const others = problems.filter(
    (each) => each.code !== problem.code && !(problem.until === "connected" && each.until === "connected"),
  );
  const all = [...others, problem];
  const passing = all.filter((each) => !stays(each));
  const room = Math.max(1, MOST - (all.length - passing.length));
  const leaving = new Set(passing.slice(0, -room));
  return all.filter((each) => !leaving.has(each));
}

function stays(problem: Problem): boolean {
  return problem.until === "connected" || problem.blocks === true;
}
