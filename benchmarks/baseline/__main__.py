"""``python -m benchmarks.baseline --out run.json``: peer and graph in turn, at rising numbers of sessions.

Each round starts the peer, asks it at every count, stops it, and does the same with the graph, so neither runs beside the other.
Both have one engine. Figures are medians over the rounds, ratios are paired within a round. Exit status: 0 ahead at every count,
1 not, 2 could not start.
"""

import argparse
import asyncio
import json
import shlex
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.baseline.talk import Start, Talk, talk_to_graph, talk_to_peer
from benchmarks.load.monitor import LoopMonitor
from benchmarks.machine import ROOT, provenance
from benchmarks.server import ONE_REPLICA, LocalServer, ServerError, free_port, shipped_config
from deployments.scene.clip import encode_clip

SCHEMA = "splatcast.baseline/1"
PEER_START_S = 60.0
DESIGNS = {"peer": talk_to_peer, "graph": talk_to_graph}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the report. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.baseline", description="The graph beside the single-process design."
    )
    parser.add_argument("--counts", type=_counts, default=[1, 2, 4, 8, 16], help="sessions, commas between (1,2,4,8,16)")
    parser.add_argument("--splats", type=int, default=100_000, help="Gaussians of a frame (%(default)s)")
    parser.add_argument("--latency-ms", type=float, default=50.0, help="what the engine takes (%(default)s)")
    parser.add_argument("--seconds", type=float, default=15.0, help="measured, for each count and design (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--markdown", action="store_true", help="print the table as in docs/benchmarks.md")
    parser.add_argument("--out", type=Path, help="write the report as JSON")
    args = parser.parse_args(argv)
    if not (1 <= args.splats <= 200_000 and 0 <= args.latency_ms <= 10_000 and 1 <= args.seconds <= 600 and 1 <= args.rounds <= 20):
        parser.error("expected 1 to 200000 splats, 0 to 10000 ms, 1 to 600 seconds and 1 to 20 rounds")
    origin = provenance()
    clip = encode_clip(1.0, 8.0, 640, 480, 80)
    samples: list[dict[str, Any]] = []
    try:
        for index in range(args.rounds):
            with peer(args.splats, args.latency_ms) as url:
                samples += measure(index, "peer", url, clip, args.counts, args.seconds)
            with graph(args.splats, args.latency_ms) as url:
                samples += measure(index, "graph", url, clip, args.counts, args.seconds)
    except (ServerError, OSError) as error:
        print(f"benchmarks.baseline: {error}", file=sys.stderr)
        return 2
    settings = {name: value for name, value in vars(args).items() if name not in ("out", "markdown")}
    report = {
        "schema": SCHEMA,
        "command": shlex.join(["python", "-m", "benchmarks.baseline", *(sys.argv[1:] if argv is None else argv)]),
        **origin,
        "args": settings,
        "samples": samples,
        "rows": summarise(samples),
    }
    print(table(report, args.markdown))
    if args.out:
        args.out.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if all(row["fps_ratio"] > 1.0 for row in report["rows"]) else 1


@contextmanager
def peer(splats: int, latency_ms: float) -> Iterator[str]:
    """The single process on a free port; gives its WebSocket's address."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.baseline.peer", "--port", str(port)]
    process = subprocess.Popen([*command, "--splats", str(splats), "--latency-ms", str(latency_ms)], cwd=ROOT)
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
    """The shipped CPU config with the same engine, one replica of it; gives its WebSocket's address."""
    # Every splat is kept, as the peer keeps them: pruning would make our frames smaller than its.
    keep = {"min_opacity": 0.0, "border": 0.0, "max_splats": splats}
    engine = {"name": "synthetic", "params": {"splats": splats, "latency_ms": latency_ms}}
    # And at full quality, as the peer's are: fewer splats would be ahead too easily.
    args = {"engine": engine, "batch": {"max_size": 1}, "options": keep, "quality": {"enabled": False}}
    with LocalServer(shipped_config(args, {"GaussianInference": ONE_REPLICA})) as server:
        yield server.ws_url


def measure(
    index: int, design: str, url: str, clip: Sequence[bytes], counts: Sequence[int], seconds: float
) -> list[dict[str, Any]]:
    """One design at every count of sessions."""
    return [{"round": index, "design": design, **asyncio.run(_measure_one(design, url, clip, n, seconds))} for n in counts]


async def _measure_one(design: str, url: str, clip: Sequence[bytes], sessions: int, seconds: float) -> dict[str, Any]:
    start = Start(sessions, seconds)
    async with LoopMonitor() as monitor:
        talks = await asyncio.gather(*(DESIGNS[design](url, clip, start) for _ in range(sessions)))
        lags_ms = list(monitor.lags_ms)
    return {"sessions": sessions, **describe(talks, seconds), "client_lag_p99_ms": _percentile(lags_ms, 99)}


def describe(talks: Sequence[Talk], seconds: float) -> dict[str, Any]:
    """Frames per second, ages and bytes of all sessions together."""
    ages_ms = [age for talk in talks for age in talk.ages_ms]
    sizes = [size for talk in talks for size in talk.reply_bytes]
    return {
        "seconds": seconds,
        "fps": len(ages_ms) / seconds,
        "age_p50_ms": _percentile(ages_ms, 50),
        "age_p95_ms": _percentile(ages_ms, 95),
        "reply_mb": statistics.fmean(sizes) / 1e6 if sizes else None,
        "least_and_most_frames": [min(len(talk.ages_ms) for talk in talks), max(len(talk.ages_ms) for talk in talks)],
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


def table(report: dict[str, Any], markdown: bool) -> str:
    """The rows for people."""
    args, machine = report["args"], report["machine"]
    head = [
        "sessions",
        "frames/s: peer",
        "graph",
        "ratio",
        "age p50 ms: peer",
        "graph",
        "p95: peer",
        "graph",
        "MB: peer",
        "graph",
    ]
    body = [
        [
            str(row["sessions"]),
            _text(row["peer_fps"], 1),
            _text(row["graph_fps"], 1),
            f"{row['fps_ratio']:.1f}",
            *(_text(row[f"{design}_age_{p}_ms"], 0) for p in ("p50", "p95") for design in DESIGNS),
            *(_text(row[f"{design}_reply_mb"], 2) for design in DESIGNS),
        ]
        for row in report["rows"]
    ]
    if markdown:
        lines = ["| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *body]]
    else:
        widths = [max(len(cells[i]) for cells in [head, *body]) for i in range(len(head))]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)) for cells in [head, *body]]
    about = (
        f"{args['splats']} splats, engine {args['latency_ms']:g} ms, {args['rounds']} rounds of {args['seconds']:g} s; "
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_1min']} before"
    )
    return "\n".join([about, "", *lines])


def _text(value: float | None, digits: int) -> str:
    return "none" if value is None else f"{value:.{digits}f}"


def _percentile(values: Sequence[float], percent: float) -> float | None:
    return round(float(np.percentile(values, percent)), 2) if values else None


def _counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or not all(1 <= count <= 64 for count in counts):
        raise argparse.ArgumentTypeError(f"expected whole numbers from 1 to 64 with commas between, got {text!r}")
    return counts


if __name__ == "__main__":
    sys.exit(main())
