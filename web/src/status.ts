// `/status`: asks `/api/status` every two seconds and shows the answer. With several ingress replicas, it comes from whichever the
// proxy chooses: the newest of each is kept, and one is shown.

import { History } from "./figures/history.js";
import type { Report } from "./figures/report.js";
import { show } from "./figures/report_view.js";
import { Access } from "./stream/access.js";
import { byId, make, setText } from "./ui/dom.js";

const PERIOD_MS = 2000;
const TIMEOUT_MS = 15_000;
/** An ingress replica that has not answered for this long is gone, or the proxy no longer sends us to it. */
const FORGET_MS = 60_000;

interface Known {
  report: Report;
  atMs: number;
  history: History;
}

const access = new Access();
const known = new Map<string, Known>();
let chosen: string | null = null;
let failure = "";

void run();

async function run(): Promise<void> {
  while (true) {
    // A hidden page costs nobody anything.
    if (!document.hidden) {
      try {
        take(await ask());
        failure = "";
      } catch (error) {
        failure = error instanceof Error ? error.message : String(error);
      }
      draw();
    }
    await new Promise((resolve) => setTimeout(resolve, PERIOD_MS));
  }
}

async function ask(): Promise<Report> {
  const response = await access.fetch("api/status", { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (response.status === 401) throw new Error("the server asks for its token: add #token=… to the address and reload");
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return (await response.json()) as Report;
}

function take(report: Report): void {
  const history = known.get(report.replica)?.history ?? new History();
  const { recent, sessions } = report;
  history.add("sessions", sessions.open);
  history.add("shown", recent.shown_s);
  history.add("age", recent.age_ms.p50 ?? 0);
  history.add("out", recent.mbit_out_s);
  known.set(report.replica, { report, atMs: performance.now(), history });
}

function draw(): void {
  const nowMs = performance.now();
  for (const [replica, { atMs }] of known) if (nowMs - atMs > FORGET_MS && known.size > 1) known.delete(replica);
  if (chosen === null || !known.has(chosen)) chosen = known.keys().next().value ?? null;
  const current = chosen === null ? undefined : known.get(chosen);
  drawReplicas();
  document.body.classList.toggle("stale", failure !== "");
  if (current) show(current.report, current.history);
  const age = current ? Math.round((nowMs - current.atMs) / 1000) : 0;
  setText(byId("freshness"), failure ? `no answer: ${failure}` : age > PERIOD_MS / 1000 ? `${age} s ago` : "live");
}

/** Which ingress replica is shown, where there are several. */
function drawReplicas(): void {
  const box = byId("replicas");
  box.hidden = known.size < 2;
  const names = [...known.keys()].sort();
  const same = names.join() === [...box.querySelectorAll("input")].map((input) => input.value).join();
  if (!same) {
    box.replaceChildren(
      ...names.map((name) => {
        const label = make("label", "", "segment");
        const input = make("input");
        Object.assign(input, { type: "radio", name: "replica", value: name });
        input.addEventListener("change", () => {
          chosen = name;
          draw();
        });
        label.append(input, make("span", `ingress ${name}`));
        return label;
      }),
    );
  }
  for (const input of box.querySelectorAll("input")) input.checked = input.value === chosen;
}
