"""``python -m benchmarks.soak --out soak.json --svg soak.svg``: an hour by default; ``--duration-s 300`` for a first look.

Exit status: 0 all flat, 1 something grows, 2 could not start, 3 too short to say.
"""

import argparse
import asyncio
import json
import shlex
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.chart import Line, Panel, svg
from benchmarks.load.arguments import between
from benchmarks.load.session import Client
from benchmarks.machine import provenance
from benchmarks.processes import NotMeasured, ServerProcesses, find_server
from benchmarks.server import LocalServer, ServerError, shipped_config
from benchmarks.soak.crowd import SHARES, Crowd
from benchmarks.soak.series import Look, describe, rates, series
from deployments.client import DEFAULT_CODECS, ClientError
from deployments.scene.clip import encode_clip

SCHEMA = "splatcast.soak/1"
SILENCE_S = 50.0
"""A session that vanished is found by the server's own pings in 40 s."""
EMPTY_S = 60.0
"""After the last session has left, until the server may be expected to know none: pings, and a report of Ray's metrics."""
_COLORS = ("#2060c0", "#208040", "#c04040", "#e0a030", "#8040a0", "#40a0a0", "#806040", "#999999", "#d060a0", "#404040")


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the verdicts, write report and picture. Returns the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    args = parse(argv)
    origin = provenance()
    try:
        if args.url:
            found = soak(args, args.url, find_server(urlsplit(args.url).port or 80, args.server_pid))
        else:
            params = {"splats": args.splats, "latency_ms": args.latency_ms} if args.engine == "synthetic" else {}
            with LocalServer(shipped_config({"engine": {"name": args.engine, "params": params}})) as server:
                found = soak(args, server.ws_url, server.usage)
    except (ServerError, NotMeasured, ClientError, OSError) as error:
        print(f"benchmarks.soak: {error}", file=sys.stderr)
        return 2
    report = {
        "schema": SCHEMA,
        "command": shlex.join(["python", "-m", "benchmarks.soak", *argv]),
        "argv": argv,
        "args": {**vars(args), "out": str(args.out or ""), "svg": str(args.svg or "")},
        **origin,
        **found,
    }
    print(table(report))
    if args.out:
        args.out.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    if args.svg:
        args.svg.write_text(picture(report))
    return exit_status(report)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments, checked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="Does anything grow in a long run?")
    parser.add_argument("--duration-s", type=between(60.0, 7 * 86400.0), default=3600.0, help="(%(default)s)")
    parser.add_argument("--sample-s", type=between(1.0, 600.0), default=5.0, help="between looks at the server (%(default)s)")
    parser.add_argument("--sessions", type=between(1, 200, int), default=8, help="at a time (%(default)s)")
    parser.add_argument("--fps", type=between(0.1, 60.0), default=2.0, help="of each that sends (%(default)s)")
    parser.add_argument("--stay-s", type=between(2.0, 3600.0), default=20.0, help="a session's average length (%(default)s)")
    parser.add_argument("--engine", choices=("relief", "synthetic"), default="relief", help="of the server to start (%(default)s)")
    parser.add_argument("--splats", type=between(1, 200_000, int), default=50_000, help="of the synthetic engine (%(default)s)")
    parser.add_argument("--latency-ms", type=between(0.0, 10_000.0), default=30.0, help="of the synthetic engine (%(default)s)")
    parser.add_argument("--url", help="the WebSocket of a server of this machine, instead of starting one")
    parser.add_argument("--server-pid", type=between(1, 2**31, int), help="one of its processes, where its port does not tell")
    parser.add_argument("--seed", type=int, default=0, help="of who comes and when (%(default)s)")
    parser.add_argument("--out", type=Path, help="write the report as JSON")
    parser.add_argument("--svg", type=Path, help="write the picture")
    return parser.parse_args(argv)


def soak(args: argparse.Namespace, url: str, server: ServerProcesses) -> dict[str, Any]:
    """The run: ``series`` with their verdicts, what the crowd was, and what it left."""
    clip = encode_clip(1.0, 8.0, 640, 480, 80)
    client = Client(url, clip, DEFAULT_CODECS, {}, slow_mbit=4.0, silence_s=min(SILENCE_S, args.duration_s / 4))
    crowd = Crowd(client, args.sessions, args.fps, (0.5 * args.stay_s, 1.5 * args.stay_s), args.seed)
    looks: list[Look] = []
    left = asyncio.run(_run(crowd, server, args, looks))
    return {
        "crowd": {"shares": dict(SHARES), "came": dict(crowd.came), "failures": dict(crowd.failures), "frames": dict(crowd.frames)},
        "delivered_per_min": rates(looks),
        "sessions_open": [(round(look.at_s, 1), look.open_sessions) for look in looks],
        "sessions_left": left,
        "series": {found.name: describe(found, found.judge()) for found in series(looks)},
    }


async def _run(crowd: Crowd, server: ServerProcesses, args: argparse.Namespace, looks: list[Look]) -> float | None:
    """Fill ``looks``. Returns the sessions that the server has still got at the end; None if it does not say."""
    began_s = time.monotonic()
    staying = asyncio.ensure_future(crowd.stay(args.duration_s))
    try:
        while not staying.done():
            at_s, now, delivered = time.monotonic() - began_s, crowd.open_sessions, crowd.frames["delivered"]
            seen = await asyncio.to_thread(lambda: (server.sample(), server.metrics(), server.log_bytes()))
            looks.append(Look(at_s, *seen, now, delivered))
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


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    crowd = report["crowd"]
    came = ", ".join(f"{count} {kind}" for kind, count in crowd["came"].items())
    frames = ", ".join(f"{count} {name}" for name, count in sorted(crowd["frames"].items()))
    rate = [value for _, value in report["delivered_per_min"]]
    lines = [
        f"{report['args']['duration_s']:g} s, {report['args']['sessions']} sessions at a time; came: {came}",
        f"frames: {frames}" + (f"; delivered a minute: {min(rate):.0f} to {max(rate):.0f}" if rate else ""),
        "",
        f"{'':<32}{'unit':>6}{'median':>10}{'most':>10}{'a minute':>10}{'rise':>8}{'allowed':>9}{'noise':>8}  verdict",
    ]
    for name, row in report["series"].items():
        numbers = f"{row['median']:>10.1f}{row['most']:>10.1f}{row['per_min']:>10.3f}{row['rise']:>8.2f}{row['tolerance']:>9.2f}"
        lines.append(f"{name:<32}{row['unit']:>6}{numbers}{row['noise']:>8.2f}  {row['verdict']}")
    left = report["sessions_left"]
    lines += ["", f"sessions after the last one left: {'not known' if left is None else f'{left:g}'}"]
    lines += [f"ended before its time, {count} times: {why}" for why, count in crowd["failures"].items()]
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
