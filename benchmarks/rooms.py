"""One camera and many viewers: frames a second and age for each, what a viewer-frame costs the server, and what limits.

    python -m benchmarks.rooms --viewers 1,10,50,200 --out rooms.json
    python -m benchmarks.rooms --ingress 2 --mixed
    python -m benchmarks.rooms --proxy haproxy

A local server with the synthetic engine, whose graph takes next to nothing, so that what is seen is the rooms'. The camera and the
viewers are programs on this machine with one clock, so ages are exact but for the server's own knowledge of their clocks, which it
has from acks. The viewers' own CPU time is measured apart: one process for all of them, which must not be what limits.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack
import numpy as np

from benchmarks.audience import film
from benchmarks.command import BenchmarkError, between, command, describe_machine, new_parser, rising_counts, start_report
from benchmarks.command import publish as publish_report
from benchmarks.processes import Sample, by_part, cores
from benchmarks.proxy.modes import MODES, PYTHON, environment_of
from benchmarks.server import LocalServer, shipped_config
from deployments import cast
from deployments.client import Stream, connect
from deployments.scene.clip import sample_clip
from deployments.stream.messages import Ack, Join, Splats

ROOM = "benchmark"
KINDS = ("fast", "slow", "deaf")
SLOW_S = 0.5
"""What a slow viewer takes for a frame."""
WARM_UP_S, SETTLE_S = 12.0, 3.0
"""Before anything is counted: once, for a server that has just started has work of its own, and for each measurement."""


@dataclass
class Watcher:
    """One viewer; ``kind``: ``fast`` acknowledges at once, ``slow`` after half a second, ``deaf`` never.

    Attributes:
        ages_ms: From capture to here, of the frames since the measurement began.
        bytes_in: Of those frames' messages.
    """

    url: str
    kind: str = "fast"
    ages_ms: list[float] = field(default_factory=list)
    bytes_in: int = 0
    counts: bool = False

    async def run(self) -> None:
        """Watch until cancelled."""
        async with connect(self.url, join=Join(ROOM, "viewer"), acknowledges=False) as stream:
            async for reply in stream:
                if isinstance(reply, Splats):
                    await self._take(stream, reply)

    async def _take(self, stream: Stream, reply: Splats) -> None:
        now_ms = time.monotonic() * 1e3
        if self.counts:
            self.ages_ms.append(now_ms - reply.captured_ms)
            self.bytes_in += len(reply.data)
        if self.kind == "slow":
            await asyncio.sleep(SLOW_S)
        if self.kind != "deaf":
            shown_ms = time.monotonic() * 1e3
            await stream.acknowledge(Ack(reply.seq, now_ms, now_ms, shown_ms, max(0.1, shown_ms - reply.captured_ms)))


async def measure(
    server: LocalServer, pictures: Sequence[bytes], kinds: Sequence[str], fps: float, seconds: float
) -> dict[str, Any]:
    """One room for a while.

    Args:
        server: Runs it.
        pictures: JPEGs of the clip.
        kinds: Of its viewers, one each.
        fps: Of the camera.
        seconds: How long to count.

    Returns:
        The row of the report.

    Raises:
        BenchmarkError: A viewer was refused or cut off.
    """

    async def publish() -> None:
        async for _ in cast.publish(server.ws_url, ROOM, film(pictures, fps)):
            pass

    watchers = [Watcher(server.ws_url, kind) for kind in kinds]
    tasks = [asyncio.ensure_future(publish())]
    try:
        for watcher in watchers:
            tasks.append(asyncio.ensure_future(watcher.run()))
            await asyncio.sleep(0.02)  # Handshakes that come all at once would be what is measured.
        await asyncio.sleep(SETTLE_S)
        for watcher in watchers:
            watcher.counts = True
        first, own_s, began_s = await asyncio.to_thread(server.sample), time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        took_s = time.monotonic() - began_s
        last, own_s = await asyncio.to_thread(server.sample), time.process_time() - own_s
        if ended := [task for task in tasks if task.done()]:
            raise BenchmarkError(f"{len(ended)} of {len(tasks)} clients ended early: {ended[0].exception()!r}")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "viewers": len(watchers),
        "kinds": {
            kind: _of_kind([watcher for watcher in watchers if watcher.kind == kind], took_s) for kind in KINDS if kind in kinds
        },
        "cores": cores(first, last, took_s),
        "kernel_cores": round((_kernel_s(last) - _kernel_s(first)) / took_s, 3),
        "client_cores": round(own_s / took_s, 3),
        "frames_s": round(sum(len(watcher.ages_ms) for watcher in watchers) / took_s, 1),
        "processes": {part: usage.processes for part, usage in by_part(last).items()},
    }


def _of_kind(watchers: Sequence[Watcher], seconds: float) -> dict[str, Any]:
    ages = np.array([age for watcher in watchers for age in watcher.ages_ms] or [np.nan])
    rates = [len(watcher.ages_ms) / seconds for watcher in watchers]
    return {
        "viewers": len(watchers),
        "fps_p50": round(float(np.median(rates)), 2),
        "fps_min": round(min(rates), 2),
        "age_ms_p50": round(float(np.percentile(ages, 50)), 1),
        "age_ms_p95": round(float(np.percentile(ages, 95)), 1),
        "mbit_s": round(sum(watcher.bytes_in for watcher in watchers) * 8e-6 / seconds, 2),
    }


def _kernel_s(sample: Sample) -> float:
    return sum(usage.kernel_s for _, usage in sample.values())


def viewer_frame_ms(alone: dict[str, Any], row: dict[str, Any]) -> dict[str, float] | None:
    """CPU of the whole server for each frame to a viewer beyond the first, milliseconds: ``all``, and of it the ``kernel``'s.

    None for the first row itself.
    """
    more = row["frames_s"] - alone["frames_s"]
    if more <= 0:
        return None
    used = sum(row["cores"].values()) - sum(alone["cores"].values())
    kernel = row["kernel_cores"] - alone["kernel_cores"]
    return {"all": round(1e3 * used / more, 3), "kernel": round(1e3 * kernel / more, 3)}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows for people, as Markdown."""
    head = "| viewers | fps each (least) | age ms, 50 / 95% | Mbit/s | ingress | proxy | relay | all "
    head += "| ms a viewer-frame (kernel's) | clients |"
    lines = [head, "|" + "---|" * (head.count("|") - 1)]
    for row in rows:
        used, cost = row["cores"], row.get("viewer_frame_ms")
        costs = f"{cost['all']:.2f} ({cost['kernel']:.2f})" if cost else "–"
        parts = " | ".join(f"{used.get(part, 0):.2f}" for part in ("Ingress", "proxy", "Relay"))
        for kind, found in row["kinds"].items():
            name = str(row["viewers"]) if len(row["kinds"]) == 1 else f"{found['viewers']} {kind} of {row['viewers']}"
            ages = f"{found['age_ms_p50']:.0f} / {found['age_ms_p95']:.0f}"
            rates = f"{found['fps_p50']:.1f} ({found['fps_min']:.1f})"
            whole = f"{sum(used.values()):.2f} | {costs} | {row['client_cores']:.2f}"
            lines.append(f"| {name} | {rates} | {ages} | {found['mbit_s']:.1f} | {parts} | {whole} |")
    return "\n".join(lines)


@command("rooms")
def main(argv: list[str]) -> int:
    """The command line."""
    parser = new_parser("rooms", "One camera and many viewers on a local server.")
    parser.add_argument("--viewers", type=rising_counts(500), default=[1, 10, 50], help="how many, one measurement each (1,10,50)")
    parser.add_argument("--mixed", action="store_true", help="also a room of fast, slow and deaf viewers, a third each")
    parser.add_argument("--ingress", type=between(1, 8, int), default=1, help="ingress replicas (%(default)s)")
    parser.add_argument("--proxy", choices=MODES, default=PYTHON, help="what takes the connections (%(default)s)")
    parser.add_argument("--fps", type=between(0.5, 60), default=10.0, help="of the camera (%(default)s)")
    parser.add_argument("--seconds", type=between(1, 600), default=10.0, help="of each measurement (%(default)s)")
    args = parser.parse_args(argv)
    report = start_report("rooms", 2, argv, args)
    engine = {"name": "synthetic", "params": {"splats": 100_000, "depth": True}}
    config = shipped_config({"engine": engine}, {"Ingress": {"num_replicas": args.ingress}})
    pictures: list[bytes] = msgpack.unpackb(sample_clip())["frames"]
    rows: list[dict[str, Any]] = []
    with LocalServer(config, environment_of(args.proxy)) as server:
        time.sleep(WARM_UP_S)
        crowds = [["fast"] * count for count in args.viewers]
        crowds += [[KINDS[index % 3] for index in range(30)]] if args.mixed else []
        for kinds in crowds:
            rows.append(asyncio.run(measure(server, pictures, kinds, args.fps, args.seconds)))  # noqa: PERF401  # One at a time.
    for row in rows[1:]:
        row["viewer_frame_ms"] = viewer_frame_ms(rows[0], row)
    report |= {"ingress": args.ingress, "proxy": args.proxy, "rows": rows}
    publish_report(report, f"{table(rows)}\n{describe_machine(report)}", args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
