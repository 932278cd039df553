// Report → page. Every text goes in as text: client names are whatever a client says.

import { byId, make, setText } from "../ui/dom.js";
import type { History } from "./history.js";
import type { Report, RoomRow, Row } from "./report.js";

export function show(report: Report, history: History): void {
  const { recent, sessions } = report;
  setText(byId("about"), about(report));
  swap(
    byId("findings"),
    report.findings.map(({ level, text }) => make("li", text, level)),
  );

  const age = recent.age_ms;
  swap(byId("tiles"), [
    tile("Age at display", ms(age.p50), `95%: ${ms(age.p95)} · target ${ms(report.target_age_ms)}`, history, "age"),
    tile(
      "Frames shown per second",
      number(recent.shown_s),
      `${number(recent.frames_in_s)} in · ${number(recent.sent_s)} sent`,
      history,
      "shown",
    ),
    tile("Mbit/s out", number(recent.mbit_out_s), `${number(recent.mbit_in_s)} in`, history, "out"),
    tile("Sessions", String(sessions.open), `of ${sessions.max}`, history, "sessions"),
  ]);
  stages(report);
  deployments(report);
  showAdmission(report);
  events(report);
  fill(
    "sessions",
    ["session", "client", "open", "frames/s", "Mbit/s", "age", "in the server", "splats", "quality"],
    sessions.slowest.map(sessionCells),
    "Nobody is connected to this ingress.",
  );
  const { rooms } = report;
  byId("rooms-box").hidden = rooms.open === 0;
  fill("rooms", ["room", "cameras", "viewers", "ingresses", ""], rooms.largest.map(roomCells), "");
  const more = sessions.open - sessions.slowest.length;
  setText(byId("left-out"), more > 0 ? `and ${more} more` : "");
}

function roomCells({ room, cameras, away, viewers, viewers_here: here, replicas, locked }: RoomRow): string[] {
  const gone = away > 0 ? `, ${away} away` : "";
  return [room, `${cameras}${gone}`, `${viewers}, ${here} here`, String(replicas), locked ? "locked" : ""];
}

function about({ version, replica, uptime_s, engine, graph }: Report): string {
  const ingresses = graph?.deployments.find(({ name }) => name === "Ingress")?.replicas["RUNNING"] ?? 1;
  const whose = ingresses > 1 ? `, one of ${ingresses}: each counts its own sessions` : "";
  const parts = [
    engine ? `${engine.label} (${engine.licence}${engine.licence_note ? `: ${engine.licence_note}` : ""})` : "no model yet",
    `version ${version}`,
    `up ${duration(uptime_s)}`,
  ];
  if (replica) parts.push(`ingress ${replica}${whose}`);
  return parts.join(" · ");
}

function tile(title: string, value: string, detail: string, history: History, name: string): HTMLElement {
  const box = make("div", "", "tile");
  box.append(make("h2", title), make("b", value), make("small", detail), history.line(name));
  return box;
}

function stages({ recent }: Report): void {
  const all = Object.entries(recent.stages_ms);
  const longest = Math.max(1, ...all.map(([, { p95 = 0 }]) => p95));
  fill(
    "stages",
    ["stage", "50%", "95%", "beside the slowest"],
    all.map(([stage, { p50 = 0, p95 = 0 }]) => [stage, ms(p50), ms(p95), bar(p50 / longest, p95 / longest)]),
    "No frame in the last ten seconds.",
  );
}

/** A bar up to p50, and a fainter one from there to p95. */
function bar(p50: number, p95: number): Element {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 8");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  for (const [part, length] of [["p95", p95] as const, ["p50", p50] as const]) {
    const rect = document.createElementNS(svg.namespaceURI, "rect");
    rect.setAttribute("width", String(100 * length));
    rect.setAttribute("height", "8");
    rect.setAttribute("class", part);
    svg.append(rect);
  }
  return svg;
}

function deployments({ graph }: Report): void {
  fill(
    "deployments",
    ["deployment", "state", "replicas"],
    (graph?.deployments ?? []).map(({ name, state, replicas }) => [
      name,
      make("span", state.toLowerCase(), state === "HEALTHY" ? "good" : "warn"),
      Object.entries(replicas)
        .map(([what, count]) => `${count} ${what.toLowerCase()}`)
        .join(", ") || make("span", "none", "bad"),
    ]),
    graph ? "Runs in one process, without Ray." : "Serve's controller does not answer.",
  );
}

function showAdmission({ admission }: Report): void {
  const pairs = [
    ["in the graph", `${admission.in_flight} of ${admission.limit}`],
    ["sessions waiting", String(admission.waiting)],
    ["pressure", `${number(admission.pressure)} frames wanted for each served`],
    ["batch", `${number(admission.batch)} of ${admission.max_batch}`],
  ] as const;
  swap(
    byId("admission"),
    pairs.flatMap(([name, value]) => [make("dt", name), make("dd", value)]),
  );
}

function events({ recent }: Report): void {
  const kinds = [
    ["frame dropped", recent.dropped],
    ["error", recent.errors],
    ["session refused", recent.refused],
    ["quality changed", recent.quality_changes],
  ] as const;
  fill(
    "events",
    ["what", "why", `in ${Math.round(recent.seconds)} s`, "in all"],
    kinds.flatMap(([what, counts]) => Object.entries(counts).map(([why, [now, all]]) => [what, why, String(now), String(all)])),
    "Nothing since the start.",
  );
}

function sessionCells(row: Row): Cell[] {
  const quality = row.quality?.cause ? make("span", row.quality.message) : "full";
  return [
    row.session,
    row.client,
    duration(row.open_s),
    number(row.fps),
    number(row.mbit_s),
    row.age_ms_p50 === null ? "–" : ms(row.age_ms_p50),
    row.total_ms_p50 === null ? "–" : ms(row.total_ms_p50),
    row.splats.toLocaleString("en"),
    quality,
  ];
}

type Cell = string | Element;

/** Writes a table's rows; `empty` stands in for them where there are none. */
function fill(id: string, head: string[], rows: Cell[][], empty: string): void {
  const table = byId<HTMLTableElement>(id);
  const header = make("tr");
  header.append(...head.map((text) => make("th", text)));
  const body = rows.length > 0 ? rows.map((cells) => line(cells, head)) : [make("tr")];
  if (rows.length === 0) body[0]!.append(Object.assign(make("td", empty, "empty"), { colSpan: head.length }));
  swap(table, [header, ...body]);
}

/** Like replaceChildren, but what has not changed stays, and with it a selection in it and the page's scroll position. */
function swap(parent: Element, children: Element[]): void {
  for (const [i, child] of children.entries()) {
    const old = parent.children[i];
    if (!old) parent.append(child);
    else if (!old.isEqualNode(child)) old.replaceWith(child);
  }
  while (parent.children.length > children.length) parent.lastElementChild!.remove();
}

function line(cells: Cell[], head: string[]): HTMLTableRowElement {
  const row = make("tr");
  for (const [i, cell] of cells.entries()) {
    const item = make("td", "", /^[\d–]/.test(typeof cell === "string" ? cell : "") && i > 0 ? "number" : "");
    item.dataset["name"] = head[i];
    item.append(cell);
    row.append(item);
  }
  return row;
}

function number(value: number): string {
  return value.toFixed(value < 10 ? 1 : 0);
}

function ms(value: number | undefined): string {
  return value === undefined ? "–" : `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}

function duration(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${(seconds / 3600).toFixed(1)} h` : `${Math.round(seconds / 86_400)} days`;
}
