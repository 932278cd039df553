"""``python -m benchmarks.soak --out soak.json --svg soak.svg``: an hour by default; ``--duration-s 300`` for a first look.

Exit status: 0 all flat, 1 something grows, 2 could not start, 3 too short to say.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.chart import Line, Panel, svg
from benchmarks.command import between, command, new_parser, publish, start_report
from benchmarks.figures import table
from benchmarks.load.session import Client
from benchmarks.processes import Look, ServerProcesses, find_server
from benchmarks.server import LocalServer, shipped_config
from benchmarks.soak.crowd import SHARES, Crowd
from benchmarks.soak.series import describe_series, rates, series
from deployments.scene.clip import encode_clip

SILENCE_S = 50.0
"""The server's own pings find a session that vanished within 40 s."""
EMPTY_S = 60.0
"""How long after the last session the server may still report some: it takes pings, and a new page of Ray's metrics."""
_COLORS = ("#2060c0", "#208040", "#c04040", "#e0a030", "#8040a0", "#40a0a0", "#806040", "#999999", "#d060a0", "#404040")


@command("soak")
def main(argv: list[str]) -> int:
    """Run, print the verdicts, write report and picture. Returns the exit status."""
    args = parse(argv)
    report = start_report("soak", 2, argv, args)
    if args.url:
        report |= soak(args, args.url, find_server(urlsplit(args.url).port or 80))
    else:
        with LocalServer(shipped_config({})) as server:
            report |= soak(args, server.ws_url, server)
    publish(report, describe(report), args.out)
    if args.svg:
        args.svg.write_text(picture(report))
    return exit_status(report)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments, checked."""
    parser = new_parser("soak", "Does anything grow in a long run?")
    parser.add_argument("--duration-s", type=between(60.0, 7 * 86400.0), default=3600.0, help="seconds (%(default)s)")
    parser.add_argument("--sample-s", type=between(1.0, 600.0), default=5.0, help="between looks at the server (%(default)s)")
    parser.add_argument("--sessions", type=between(1, 200, int), default=8, help="at a time (%(default)s)")
    parser.add_argument("--fps", type=between(0.1, 60.0), default=2.0, help="frames a second from each that sends (%(default)s)")
    parser.add_argument("--stay-s", type=between(2.0, 3600.0), default=20.0, help="a session's average length (%(default)s)")
    parser.add_argument("--url", help="the WebSocket of a server on this machine, instead of starting one")
    parser.add_argument("--seed", type=int, default=0, help="decides who comes and when (%(default)s)")
    parser.add_argument("--svg", type=Path, help="write the picture to this file")
    return parser.parse_args(argv)


def soak(args: argparse.Namespace, url: str, server: ServerProcesses) -> dict[str, Any]:
    """The run: ``series`` with their verdicts, who the crowd was, and what it left."""
    client = Client(url, encode_clip(1.0, 8.0, 640, 480, 80), silence_s=min(SILENCE_S, args.duration_s / 4))
    crowd = Crowd(client, args.sessions, args.fps, (0.5 * args.stay_s, 1.5 * args.stay_s), args.seed)
    looks: list[Look] = []
    seen: list[tuple[float, int, int]] = []
    left = asyncio.run(_run(crowd, server, args, looks, seen))
    return {
        "crowd": {"shares": dict(SHARES), "came": dict(crowd.came), "failures": dict(crowd.failures), "frames": dict(crowd.frames)},
        "delivered_per_min": rates([(at_s, delivered) for at_s, _, delivered in seen]),
        "sessions_open": [(at_s, present) for at_s, present, _ in seen],
        "sessions_left": left,
        "series": {found.name: describe_series(found) for found in series(looks)},
    }


async def _run(
    crowd: Crowd, server: ServerProcesses, args: argparse.Namespace, looks: list[Look], seen: list[tuple[float, int, int]]
) -> float | None:
    """Fill ``looks`` and ``seen``: (seconds, sessions open, frames delivered so far).

    Returns:
        How many sessions the server still has at the end; None if it does not say.
    """
    began_s = time.monotonic()
    staying = asyncio.ensure_future(crowd.stay(args.duration_s))
    try:
        while not staying.done():
            seen.append((round(time.monotonic() - began_s, 1), crowd.open_sessions, crowd.frames["delivered"]))
            looks.append(await server.look(began_s))
            await asyncio.wait({staying}, timeout=args.sample_s)
    finally:
        staying.cancel()
        await asyncio.gather(staying, return_exceptions=True)
    staying.result()
    deadline_s = time.monotonic() + EMPTY_S
    while (left := (await asyncio.to_thread(server.metrics)).get("sessions")) and time.monotonic() < deadline_s:
        await asyncio.sleep(1.0)
    return left


def exit_status(report: dict[str, Any]) -> int:
    """See the module's docstring."""
    verdicts = Counter(found["verdict"] for found in report["series"].values())
    if verdicts["grows"] or report["sessions_left"]:
        return 1
    return 3 if verdicts["too short"] or not verdicts else 0


def describe(report: dict[str, Any]) -> str:
    """The report for people."""
    crowd = report["crowd"]
    came = ", ".join(f"{count} {kind}" for kind, count in crowd["came"].items())
    frames = ", ".join(f"{count} {name}" for name, count in sorted(crowd["frames"].items()))
    rate = [value for _, value in report["delivered_per_min"]]
    keys = ("unit", "median", "most", "per_min", "rise", "tolerance", "noise", "verdict")
    lines = [
        f"{report['args']['duration_s']:g} s, {report['args']['sessions']} sessions at a time; came: {came}",
        f"frames: {frames}" + (f"; delivered a minute: {min(rate):.0f} to {max(rate):.0f}" if rate else ""),
        "",
        table(
            ["", "unit", "median", "most", "a minute", "rise", "allowed", "noise", "verdict"],
            ([name, *(row[key] for key in keys)] for name, row in report["series"].items()),
        ),
    ]
    left = report["sessions_left"]
    lines += ["", f"sessions after the last one left: {'not known' if left is None else f'{left:g}'}"]
    lines += [f"ended early, {count} times: {why}" for why, count in crowd["failures"].items()]
    grown = [row["sentence"] for row in report["series"].values() if row["verdict"] == "grows"]
    grown += [f"grows: {left:g} sessions are left that nobody has open"] if left else []
    words = {0: "flat", 3: "too short to say"}
    return "\n".join([*lines, "", *(grown or [words[exit_status(report)]])])


def picture(report: dict[str, Any]) -> str:
    """Memory and descriptors of each part, the store, sessions and frames, as SVG."""
    rows = report["series"].values()

    def lines(quantity: str) -> list[Line]:
        chosen = [row for row in rows if row["quantity"] == quantity]
        return [Line(row["part"] or quantity, _COLORS[i % len(_COLORS)], row["points"]) for i, row in enumerate(chosen)]

    panels = [
        Panel("MB of a process", lines("memory")),
        Panel("descriptors", lines("descriptors")),
        Panel("MB", [*lines("object store"), *lines("logs")]),
        Panel("sessions", [*lines("sessions"), Line("open", _COLORS[1], report["sessions_open"], steps=True)]),
        Panel("frames/min", [Line("delivered", _COLORS[0], report["delivered_per_min"])]),
    ]
    panels = [Panel(panel.unit, drawn) for panel in panels if (drawn := [line for line in panel.lines if line.points])]
    return svg("A soak", panels, "s")


if __name__ == "__main__":
    sys.exit(main())
