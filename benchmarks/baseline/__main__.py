"""``python -m benchmarks.baseline --out run.json``: peer and graph in turn, at rising numbers of sessions.

Each round starts the peer, measures it at every count, stops it, and does the same with the graph, so neither runs beside the
other. Both have one engine, and clients with one frame unanswered each, as both designs answer every frame of such a client.
Figures are medians over the rounds, ratios are paired within a round. Exit status: 0 ahead at every count, 1 not, 2 could not
start.
"""

import asyncio
import math
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.command import between, command, describe_machine, new_parser, publish, rising_counts, start_report
from benchmarks.figures import table
from benchmarks.load.report import build_report
from benchmarks.load.run import Outcome, run
from benchmarks.load.schedule import CLOSED_LOOP, plan
from benchmarks.load.session import Client
from benchmarks.machine import ROOT
from benchmarks.server import ONE_REPLICA, LocalServer, ServerError, free_port, shipped_config
from deployments.scene.clip import encode_clip

PEER_START_S = 60.0
DESIGNS = {"peer": "original", "graph": "viewer"}
"""Design → the kind of client that speaks its protocol."""
WARMUP_S, DRAIN_S = 3.0, 60.0
MAX_LAG_MS = 20.0


@command("baseline")
def main(argv: list[str]) -> int:
    """Measure, print the table, write the report. Returns the exit status."""
    parser = new_parser("baseline", "The graph beside the single-process design.")
    parser.add_argument("--counts", type=rising_counts(64), default=[1, 2, 4, 8, 16], help="sessions (1,2,4,8,16)")
    parser.add_argument("--splats", type=between(1, 200_000, int), default=100_000, help="Gaussians in a frame (%(default)s)")
    parser.add_argument("--latency-ms", type=between(0.0, 10_000.0), default=50.0, help="how long the engine takes (%(default)s)")
    parser.add_argument("--seconds", type=between(1.0, 600.0), default=15.0, help="for each count and design (%(default)s)")
    parser.add_argument("--rounds", type=between(1, 20, int), default=3, help="of both designs (%(default)s)")
    args = parser.parse_args(argv)
    report = start_report("baseline", 2, argv, args)
    clip = encode_clip(1.0, 8.0, 640, 480, 80)
    samples: list[dict[str, Any]] = []
    for index in range(args.rounds):
        for design, started in (("peer", peer), ("graph", graph)):
            with started(args.splats, args.latency_ms) as url:
                found = [measure(design, url, clip, count, args.seconds) for count in args.counts]
            samples += [{"round": index, "design": design, **sample} for sample in found]
    report |= {"samples": samples, "rows": summarise(samples)}
    publish(report, describe(report), args.out)
    return 0 if all(row["fps_ratio"] > 1.0 for row in report["rows"]) else 1


@contextmanager
def peer(splats: int, latency_ms: float) -> Iterator[str]:
    """The single process on a free port; gives its WebSocket's address."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.baseline.peer", str(port), str(splats), str(latency_ms)], cwd=ROOT
    )
    try:
        deadline_s = time.monotonic() + PEER_START_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise ServerError("the peer did not start; the lines above say why")
            time.sleep(0.1)
        yield f"ws://127.0.0.1:{port}/ws"
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def graph(splats: int, latency_ms: float) -> Iterator[str]:
    """The shipped CPU config with one replica of the same engine; gives its WebSocket's address."""
    # Every splat is kept, as the peer keeps them: pruning would make our frames smaller than its own.
    keep = {"min_opacity": 0.0, "border": 0.0, "max_splats": splats}
    engine = {"name": "synthetic", "params": {"splats": splats, "latency_ms": latency_ms}}
    # And at full quality, like the peer's: with fewer splats it would be ahead too easily.
    args = {"engine": engine, "batch": {"max_size": 1}, "options": keep, "quality": {"enabled": False}}
    with LocalServer(shipped_config(args, {"GaussianInference": ONE_REPLICA})) as server:
        yield server.ws_url


def measure(design: str, url: str, clip: Sequence[bytes], sessions: int, seconds: float) -> dict[str, Any]:
    """One design at one number of sessions.

    Raises:
        ClientError: A session failed.
    """
    client = Client(url, clip, open_timeout_s=30.0, patience_s=math.inf)
    kinds = [DESIGNS[design]] * sessions
    outcome = asyncio.run(run(client, plan(sessions, CLOSED_LOOP, WARMUP_S, seconds), DRAIN_S, kinds))
    for session in outcome.sessions:
        if session.failure:
            raise session.failure
    return {"sessions": sessions, "seconds": seconds, **figures(outcome)}


def figures(outcome: Outcome) -> dict[str, Any]:
    """Frames per second, ages and bytes of all sessions together; None for what no frame tells."""
    found = build_report(outcome, MAX_LAG_MS)
    ages, replies, lags = found["age_ms"] or {}, found["bytes"]["reply"] or {}, found["client"]["loop_lag_ms"] or {}
    return {
        "fps": found["delivered_fps"],
        "age_p50_ms": ages.get("p50"),
        "age_p95_ms": ages.get("p95"),
        "reply_mb": replies["mean"] / 1e6 if replies else None,
        "client_lag_p99_ms": lags.get("p99"),
    }


def summarise(samples: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Medians over the rounds for every count, and the median of the paired ratios."""
    rows = []
    for sessions in sorted({sample["sessions"] for sample in samples}):
        of = {design: [s for s in samples if (s["design"], s["sessions"]) == (design, sessions)] for design in DESIGNS}
        row: dict[str, Any] = {"sessions": sessions}
        for design, found in of.items():
            for key in ("fps", "age_p50_ms", "age_p95_ms", "reply_mb"):
                values = [sample[key] for sample in found if sample[key] is not None]
                row[f"{design}_{key}"] = statistics.median(values) if values else None
        pairs = zip(of["graph"], of["peer"], strict=True)
        # A peer that finished nothing counts as one that finished a single frame: the ratio is then the least it can be.
        row["fps_ratio"] = statistics.median(ours["fps"] / (theirs["fps"] or 1.0 / ours["seconds"]) for ours, theirs in pairs)
        rows.append(row)
    return rows


def describe(report: dict[str, Any]) -> str:
    """The report for people."""
    args = report["args"]
    head = ["sessions", "frames/s: peer", "graph", "ratio", "age p50, ms: peer", "graph", "p95: peer", "graph", "MB: peer", "graph"]
    keys = ["sessions", "peer_fps", "graph_fps", "fps_ratio"]
    keys += [f"{design}_{key}" for key in ("age_p50_ms", "age_p95_ms", "reply_mb") for design in DESIGNS]
    about = f"{args['splats']} splats, engine {args['latency_ms']:g} ms, {args['rounds']} rounds of {args['seconds']:g} s"
    return f"{about}; {describe_machine(report)}\n\n{table(head, ([row[key] for key in keys] for row in report['rows']))}"


if __name__ == "__main__":
    sys.exit(main())
