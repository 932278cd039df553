import assert from "node:assert/strict";
import { test } from "node:test";
import { initialState, type Problem, type State } from "../src/state.js";
import { askByHttp, type Reach } from "../src/stream/reach.js";
import type { ServerRefusal } from "../src/stream/thread.js";
import { serverGone } from "../src/ui/problem_texts.js";
import { Problems } from "../src/ui/problems.js";
import { Store } from "../src/ui/store.js";
import { Unreached } from "../src/ui/unreached.js";

const INFO = JSON.stringify({ name: "splatcast", version: "0.1.0" });

function asked(body: string, status = 200, headers: Record<string, string> = {}): Promise<Reach> {
  return askByHttp(async (path, init) => {
    assert.equal(path, "api/info");
    assert.equal(init.cache, "no-store");
    return new Response(body, { status, headers });
  });
}

test("a server that answers HTTP as it should lacks the WebSocket only", async () => {
  assert.deepEqual(await asked(INFO), { kind: "serves", by: "" });
  assert.deepEqual(await asked(INFO, 200, { server: "uvicorn" }), { kind: "serves", by: "" });
  assert.deepEqual(await asked(INFO, 200, { server: "nginx/1.22.1 (Ubuntu)" }), { kind: "serves", by: "nginx" });
});

test("a header that is no name is not shown", async () => {
  assert.deepEqual(await asked(INFO, 200, { server: "<b>/1" }), { kind: "serves", by: "" });
});

test("what the server refuses is said in its words", async () => {
  const reach = await asked(JSON.stringify({ code: "not_ready", message: "The model is loading." }), 503);
  const refusal = { type: "error", code: "not_ready", message: "The model is loading.", seq: null, fatal: true };
  assert.deepEqual(reach, { kind: "refused", refusal });
});

test("a page, another service, or JSON of somebody else is no server of ours", async () => {
  assert.deepEqual(await asked("<html>502 Bad Gateway</html>", 502, { server: "nginx" }), {
    kind: "away",
    status: 502,
    by: "nginx",
  });
  for (const body of ["<html>Sign in</html>", "null", "[]", '{"name": "grafana"}', '{"code": 5, "message": "x"}', ""]) {
    assert.deepEqual(await asked(body), { kind: "away", status: 200, by: "" });
  }
});

test("where nobody answers there is nothing to tell", async () => {
  assert.deepEqual(await askByHttp(() => Promise.reject(new TypeError("Failed to fetch"))), { kind: "gone" });
});

/** The cards after each failed attempt, for which HTTP told what is given. */
function page(): {
  store: Store<State>;
  problems: Problems;
  refused: ServerRefusal[];
  fail(reach: Reach): Promise<Problem[]>;
  open: boolean;
} {
  const config = { settings: {}, view: [0, 0, 1] } as unknown as Parameters<typeof initialState>[0];
  const store = new Store(initialState(config));
  const problems = new Problems(store);
  let next: Reach = { kind: "gone" };
  const self = {
    store,
    problems,
    refused: [] as ServerRefusal[],
    open: false,
    async fail(reach: Reach) {
      next = reach;
      unreached.failed();
      await new Promise((done) => setImmediate(done));
      return [...store.get().problems];
    },
  };
  const unreached = new Unreached(problems, {
    ask: async () => next,
    isOpen: () => self.open,
    gone: () => serverGone(false),
    refused: (refusal) => self.refused.push(refusal),
  });
  return self;
}
const SERVES: Reach = { kind: "serves", by: "nginx" };
const codes = (problems: Problem[]): string[] => problems.map((each) => each.code);

test("that a proxy keeps WebSockets back is said at the second attempt, with the lines for nginx", async () => {
  const here = page();
  assert.deepEqual(codes(await here.fail(SERVES)), ["server_gone"]);
  const [problem] = await here.fail(SERVES);
  assert.equal(problem!.code, "no_websocket");
  assert.match(problem!.text, /calls itself nginx/);
  assert.ok(problem!.lines!.includes("proxy_set_header Upgrade $http_upgrade;"));
  assert.deepEqual(codes(await here.fail(SERVES)), ["no_websocket"]);
  assert.equal(here.problems.past.length, 2);
});

test("a server that has just come up is not taken for a proxy", async () => {
  const here = page();
  await here.fail({ kind: "gone" });
  assert.deepEqual(codes(await here.fail(SERVES)), ["server_gone"]);
  assert.deepEqual(codes(await here.fail({ kind: "gone" })), ["server_gone"]);
  assert.deepEqual(codes(await here.fail(SERVES)), ["server_gone"]);
  here.problems.settle("connected");
  assert.deepEqual(codes(await here.fail(SERVES)), ["server_gone"]);
});

test("an answer that comes when it is connected again says nothing", async () => {
  const here = page();
  await here.fail(SERVES);
  here.open = true;
  here.problems.settle("connected");
  here.open = true;
  assert.deepEqual(codes(await here.fail(SERVES)), ["server_gone"]);
  assert.deepEqual(codes(await here.fail(SERVES)), ["server_gone"]);
});

test("a proxy that answers in the server's place is named, and a server that answers is heard", async () => {
  const here = page();
  assert.deepEqual(codes(await here.fail({ kind: "away", status: 502, by: "" })), ["proxy_answers"]);
  assert.match(here.store.get().problems[0]!.text, /It answers with 502/);
  const refusal: ServerRefusal = { type: "error", code: "not_ready", message: "Loading.", seq: null, fatal: true };
  await here.fail({ kind: "refused", refusal });
  assert.deepEqual(here.refused, [refusal]);
});

test("what the server has said itself stays", async () => {
  const here = page();
  here.problems.report({ code: "server_full", title: "Full", text: "", until: "connected" });
  assert.deepEqual(codes(await here.fail(SERVES)), ["server_full"]);
  assert.deepEqual(codes(await here.fail(SERVES)), ["server_full"]);
});
