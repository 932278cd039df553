"""``python -m benchmarks.proxy --out proxy.json``: both modes in turn, about five minutes. Linux only, like HAProxy mode.

Sessions ask again as soon as they have their reply. *Way* is from sending a frame to having the whole reply, less the time that
the server says the graph took: what proxy, ingress and sockets cost.
"""

import asyncio
import statistics
import sys
from contextlib import ExitStack
from typing import Any

from benchmarks.command import BenchmarkError, between, command, describe_machine, new_parser, publish, start_report
from benchmarks.faults.inject import kill
from benchmarks.faults.watch import Plan, watch
from benchmarks.figures import percentiles, table
from benchmarks.load.run import run
from benchmarks.load.schedule import CLOSED_LOOP, plan
from benchmarks.load.session import Client
from benchmarks.proxy.modes import HAPROXY, MODES, PARTS, PYTHON, cpu_seconds, splats_of, start
from benchmarks.server import LocalServer
from benchmarks.viewers import watching
from deployments.scene.clip import encode_clip

LOADS = ((1, 0.5), (1, 2.0), (1, 10.0), (4, 2.0), (16, 2.0))
"""Sessions, and megabytes a reply; 2 is about what a webcam frame of Depth Anything 3 is as ``packed``."""
WARMUP_S, DRAIN_S = 1.0, 5.0
RECOVERY = Plan(calm_s=3.0, after_s=2.0, limit_s=120.0)
Rounds = dict[str, list[dict[str, Any]]]
"""Mode → one measurement for each round; the modes' rounds are in step."""


@command("proxy")
def main(argv: list[str]) -> int:
    """Measure, print the tables, write the report. Returns the exit status."""
    parser = new_parser("proxy", "Ray's Python proxy and HAProxy mode.")
    parser.add_argument("--rounds", type=between(2, 100, int), default=4, help="rounds in each mode, alternating (%(default)s)")
    parser.add_argument("--seconds", type=between(1.0, 600.0), default=4.0, help="length of each (%(default)s)")
    args = parser.parse_args(argv)
    report = start_report("proxy", 2, argv, args)
    (jpeg,) = encode_clip(0.1, 10.0, 640, 480, 80)
    with ExitStack() as stack:
        servers = {mode: stack.enter_context(start(mode)) for mode in MODES}
        report["loads"] = [measure_both(servers, jpeg, *load, args.rounds, args.seconds) for load in LOADS]
        report["recovery"] = {
            part: {mode: asyncio.run(recovery(servers[mode], jpeg, part)) for mode in MODES} for part in reversed(PARTS)
        }
    publish(report, describe(report), args.out)
    return 0


def measure_both(
    servers: dict[str, LocalServer], jpeg: bytes, sessions: int, reply_mb: float, rounds: int, seconds: float
) -> dict[str, Any]:
    """Both modes under one load, each first in every other round: what disturbs the machine disturbs both alike."""
    found: Rounds = {mode: [] for mode in MODES}
    for index in range(rounds):
        for mode in MODES if index % 2 else MODES[::-1]:
            found[mode].append(asyncio.run(measure(servers[mode], jpeg, sessions, reply_mb, seconds)))
    return {"sessions": sessions, "reply_mb": reply_mb, **summarise(found)}


async def measure(server: LocalServer, jpeg: bytes, sessions: int, reply_mb: float, seconds: float) -> dict[str, Any]:
    """One mode in one round.

    Returns:
        ``ages_ms`` and ``ways_ms`` of its frames, and ``figures``: ``fps`` and ``mb_s`` of all sessions together, and CPU
        milliseconds a frame of each of :data:`PARTS`.

    Raises:
        BenchmarkError: Sessions failed, or the server compresses, and nothing would compare.
    """
    client = Client(server.ws_url, [jpeg], options={"max_splats": splats_of(reply_mb)})
    before = cpu_seconds(server)
    outcome = await run(client, plan(sessions, CLOSED_LOOP, WARMUP_S, seconds), DRAIN_S)
    after = cpu_seconds(server)
    wrong = [str(session.failure or session.extensions) for session in outcome.sessions if session.failure or session.extensions]
    if wrong:
        raise BenchmarkError(f"{len(wrong)} sessions failed, or negotiated compression: {wrong[0]}")
    everything = [frame for session in outcome.sessions for frame in session.frames if frame.outcome == "delivered"]
    frames = [frame for frame in everything if frame.due_s >= WARMUP_S]
    if not frames:
        raise BenchmarkError(f"no reply of {reply_mb:g} MB arrived within {seconds:g} s")
    return {
        "ages_ms": [frame.age_ms for frame in frames],
        "ways_ms": [frame.age_ms - frame.timings_ms["total"] for frame in frames],
        "figures": {
            "fps": len(frames) / seconds,
            "mb_s": sum(frame.reply_bytes for frame in frames) / seconds / 1e6,
            **{f"{part}_cpu_ms": (after[part] - before[part]) * 1e3 / len(everything) for part in PARTS},
        },
    }


async def recovery(server: LocalServer, jpeg: bytes, part: str) -> dict[str, Any]:
    """What a viewer that reconnects sees when all processes of a part are killed; see :func:`~benchmarks.faults.watch.watch`."""
    client = Client(server.ws_url, [jpeg], options={"max_splats": 1000})
    async with watching(client, 1, 4.0) as viewers:
        return await watch(viewers, kill(server, part, all_of_it=True), RECOVERY)


def summarise(rounds: Rounds) -> dict[str, Any]:
    """Mode → percentiles over all frames and medians over the rounds; and from paired rounds, how many times shorter HAProxy's
    way is (``way_ratio``) and how many times more frames it delivers (``fps_ratio``).
    """
    found: dict[str, Any] = {}
    for mode, entries in rounds.items():
        found[mode] = {
            "way_ms": percentiles(ms for entry in entries for ms in entry["ways_ms"]),
            "age_ms": percentiles(ms for entry in entries for ms in entry["ages_ms"]),
            **{name: statistics.median(entry["figures"][name] for entry in entries) for name in entries[0]["figures"]},
        }
    pairs = list(zip(rounds[PYTHON], rounds[HAPROXY], strict=True))
    ways = [statistics.median(p["ways_ms"]) / statistics.median(h["ways_ms"]) for p, h in pairs]
    found["way_ratio"] = round(statistics.median(ways), 2)
    found["fps_ratio"] = round(statistics.median(h["figures"]["fps"] / p["figures"]["fps"] for p, h in pairs), 2)
    return found


def describe(report: dict[str, Any]) -> str:
    """The report for people."""
    head = ["sessions, replies", "way p50, ms", "p95", "age p50, ms", "p95", "frames/s", "MB/s", "CPU ms a frame: proxy", "ingress"]
    rows = []
    for load in report["loads"]:
        for mode in MODES:
            row, name = load[mode], f"{load['sessions']} × {load['reply_mb']:g} MB, {mode}"
            if mode == HAPROXY:
                name += f" (way {load['way_ratio']:g} × shorter, {load['fps_ratio']:g} × the frames)"
            times = [row[key][percentile] for key in ("way_ms", "age_ms") for percentile in ("p50", "p95")]
            rows.append([name, *times, row["fps"], row["mb_s"], *(row[f"{part}_cpu_ms"] for part in PARTS)])
    killed = [
        [f"{part}, {mode}", found["noticed_s"], found["worst_gap_s"]]
        for part, modes in report["recovery"].items()
        for mode, found in modes.items()
    ]
    ends = table(["killed", "session ended after, s", "longest without splats, s"], killed)
    return f"{describe_machine(report)}\n\n{table(head, rows)}\n\n{ends}"


if __name__ == "__main__":
    sys.exit(main())
