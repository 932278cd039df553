import assert from "node:assert/strict";
import { test } from "node:test";
import type { Problem } from "../src/types.js";
import { withProblem } from "../src/ui/problems.js";

const problem = (code: string, rest: Partial<Problem> = {}): Problem => ({
  code,
  title: code,
  text: "",
  until: "shown",
  ...rest,
});
const codes = (problems: readonly Problem[]): string[] => problems.map(({ code }) => code);
const after = (first: Problem[], ...later: Problem[]): string[] => codes(later.reduce(withProblem, first));

test("a problem takes the place of an older one with its code, and the oldest one leaves when there are too many", () => {
  const flood = ["a", "b", "c", "b", "d"].map((code) => problem(code));
  assert.deepEqual(after([], ...flood), ["c", "b", "d"]);
});

test("the card that asks for the token stays, whatever else goes wrong", () => {
  const token = problem("unauthorized", { until: "connected", ask: "token" });
  const flood = ["a", "b", "c", "d"].map((code) => problem(code, { until: null }));
  assert.deepEqual(after([token], ...flood), ["unauthorized", "c", "d"]);
});

test("what only a person can end outlives what goes by itself", () => {
  const lost = problem("graphics_lost", { until: null, blocks: true });
  assert.deepEqual(after([lost], ...["a", "b", "c"].map((code) => problem(code))), ["graphics_lost", "b", "c"]);
  const blocking = ["x", "y", "z", "w"].map((code) => problem(code, { until: null, blocks: true }));
  assert.deepEqual(after([], ...blocking), ["x", "y", "z", "w"], "none of them is left out");
  assert.deepEqual(after(blocking, problem("a"), problem("b")), ["x", "y", "z", "w", "b"], "and the newest other one is shown");
});

test("that the server is gone is said until it is back, and the connection has one card", () => {
  const gone = problem("server_gone", { until: "connected" });
  assert.deepEqual(after([gone], ...["a", "b", "c"].map((code) => problem(code))), ["server_gone", "b", "c"]);
  assert.deepEqual(after([gone, problem("a")], problem("server_full", { until: "connected" })), ["a", "server_full"]);
});
