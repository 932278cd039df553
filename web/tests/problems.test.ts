import assert from "node:assert/strict";
import { test } from "node:test";
import type { Problem, State } from "../src/state.js";
import type { ServerRefusal } from "../src/stream/thread.js";
import { refused, tokenAsked } from "../src/ui/problem_texts.js";
import { Problems, withProblem } from "../src/ui/problems.js";
import { Store } from "../src/ui/store.js";

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

test("a refusal stays as long as what it is about", () => {
  const refusal = (code: string, rest: Partial<ServerRefusal> = {}): Problem =>
    refused({ type: "error", code, message: "The server's words.", seq: null, fatal: false, ...rest });
  assert.equal(refusal("undecodable", { seq: 7 }).until, "shown");
  assert.equal(refusal("bad_message").until, null);
  assert.equal(refusal("server_full", { fatal: true }).until, "connected");
  const repeating = refusal("protocol_mismatch", { fatal: true });
  assert.deepEqual([repeating.until, repeating.blocks], [null, true]);
  assert.equal(repeating.text, "The server's words. Reload the page.");
  assert.equal(refusal("forbidden_host", { fatal: true }).text, "The server's words.");
});

test("problems end with what they wait for, or are dismissed", () => {
  const store = new Store<State>({ problems: [] as readonly Problem[] } as State);
  const problems = new Problems(store);
  for (const each of [problem("a"), problem("b", { until: "started" }), tokenAsked(false)]) problems.report(each);
  assert.ok(problems.aboutConnection);
  problems.settle("connected");
  assert.deepEqual(codes(store.get().problems), ["a", "b"]);
  assert.ok(!problems.aboutConnection);
  problems.settle("shown");
  problems.dismiss("b");
  assert.deepEqual(store.get().problems, []);
});
