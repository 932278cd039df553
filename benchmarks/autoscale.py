"""``python -m benchmarks.autoscale``: inference replicas and delivered frames over time, under a step and a ramp.

The shipped CPU config with fake GPUs, one a replica, and an engine that sleeps: a replica's ideal rate is then known, and the
machine's cores are not what is measured. Efficiency is what was delivered over ``min(offered, replicas × ideal rate)``, while the
number of replicas was at rest. Sessions are those of people with cameras: they send at their rate whatever comes back.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.chart import Line, Panel, svg
from benchmarks.controller import joined, replica_states
from benchmarks.machine import provenance
from benchmarks.server import LocalServer, shipped_config
from benchmarks.viewers import Viewer, fates, offered, rate
from deployments.scene.clip import encode_clip

SCHEMA = "splatcast.autoscale/1"
SAMPLE_S, RATE_S = 0.5, 2.0
STAGE = "GaussianInference"
SETTLED_S = 3.0
"""Replicas are at rest when their number has been the same for this long: the door finds its new limit in that time."""
_COLORS = {"offered": "#999999", "ideal": "#e0a030", "delivered": "#2060c0", "running": "#208040", "starting": "#c04040"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment. Rates are of the two seconds before it, frames a second."""

    at_s: float
    sessions: int
    offered: float
    delivered: float
    running: int
    starting: int


def config(args: argparse.Namespace) -> dict[str, Any]:
    """The shipped config, with what this benchmark changes of it."""
    engine = {"name": "synthetic", "params": {"splats": 500, "latency_ms": args.latency_ms}}
    found = shipped_config({"engine": engine, "options": {"border": 0.0}})
    (entry,) = (entry for entry in found["applications"][0]["deployments"] if entry["name"] == STAGE)
    entry["autoscaling_config"] |= {"max_replicas": args.replicas, "downscale_delay_s": args.downscale_delay_s}
    entry["ray_actor_options"] = {"num_cpus": 0.1, "num_gpus": 1}
    return found


class Crowd:
    """The sessions of a run; more come and go."""

    def __init__(self, url: str, fps: float) -> None:
        self.viewers: list[Viewer] = []
        self.gone: list[Viewer] = []
        self._url, self._fps = url, fps
        self._clip = encode_clip(1.0, 5.0, 160, 120, 80)

    async def become(self, count: int) -> None:
        """As many sessions as asked for."""
        while len(self.viewers) < count:
            self.viewers.append(viewer := Viewer(self._url, self._clip, self._fps))
            viewer.start()
            # Cameras are not in step.
            await asyncio.sleep(1.0 / self._fps / max(1, count))
        while len(self.viewers) > count:
            viewer = self.viewers.pop()
            self.gone.append(viewer)
            await viewer.stop()

    @property
    def everyone(self) -> list[Viewer]:
        """Those who left too."""
        return [*self.gone, *self.viewers]


async def watch(crowd: Crowd, began_s: float, samples: list[Sample]) -> None:
    """A sample every half second until cancelled."""
    while True:
        await asyncio.sleep(SAMPLE_S)
        states = await asyncio.to_thread(replica_states, STAGE)
        now_s = time.monotonic()
        everyone = crowd.everyone
        samples.append(
            Sample(
                round(now_s - began_s, 2),
                len(crowd.viewers),
                offered(everyone, now_s - RATE_S, now_s),
                rate(everyone, "delivered", now_s - RATE_S, now_s),
                states.get("RUNNING", 0),
                states.get("STARTING", 0),
            )
        )


async def step(crowd: Crowd, args: argparse.Namespace) -> None:
    """One session; all at once; one session."""
    await crowd.become(1)
    await asyncio.sleep(args.calm_s)
    await crowd.become(args.sessions)
    await asyncio.sleep(args.hold_s)
    await crowd.become(1)
    await asyncio.sleep(args.downscale_delay_s + 15.0)


async def ramp(crowd: Crowd, args: argparse.Namespace) -> None:
    """One session after the other, to all, and back."""
    each_s = args.hold_s / args.sessions
    for count in [*range(1, args.sessions + 1), *range(args.sessions - 1, 0, -2)]:
        await crowd.become(count)
        await asyncio.sleep(each_s)
    await asyncio.sleep(args.downscale_delay_s + 10.0)


async def measure(
    url: str, load: Callable[[Crowd, argparse.Namespace], Awaitable[None]], args: argparse.Namespace
) -> dict[str, Any]:
    """Run one load and say what came of it."""
    crowd, samples = Crowd(url, args.fps), list[Sample]()
    began_s = time.monotonic()
    watching = asyncio.ensure_future(watch(crowd, began_s, samples))
    try:
        await load(crowd, args)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await crowd.become(0)
    return {
        **summarise(samples, 1e3 / args.latency_ms),
        "frames": fates(crowd.everyone, began_s, time.monotonic() - 2.0),
        "sessions_broken": sum(len(viewer.broke_s) for viewer in crowd.everyone),
        "samples": [asdict(sample) for sample in samples],
    }


def summarise(samples: Sequence[Sample], ideal_fps: float) -> dict[str, Any]:
    """The figures of a run.

    Args:
        samples: In order.
        ideal_fps: Of one replica.

    Returns:
        ``most_replicas``; ``up_s``: from the first moment that offered more than one replica's rate until the most were running;
        ``down_s``: from the last such moment until one was running; ``efficiency`` at rest, by replicas and over all.
    """
    most = max((sample.running for sample in samples), default=0)
    heavy = [sample.at_s for sample in samples if sample.offered > ideal_fps]
    up_s = next(
        (sample.at_s - heavy[0] for sample in samples if heavy and sample.running == most and sample.at_s >= heavy[0]), None
    )
    down_s = next(
        (sample.at_s - heavy[-1] for sample in samples if heavy and sample.at_s > heavy[-1] and sample.running <= 1), None
    )
    by_replicas: dict[int, list[tuple[float, float]]] = {}
    for sample in samples:
        recent = [other for other in samples if sample.at_s - SETTLED_S <= other.at_s <= sample.at_s]
        at_rest = len({other.running for other in recent}) == 1 and len({other.sessions for other in recent}) == 1
        if at_rest and sample.at_s > SETTLED_S and sample.running and sample.offered:
            by_replicas.setdefault(sample.running, []).append((sample.delivered, min(sample.offered, sample.running * ideal_fps)))
    everything = [pair for pairs in by_replicas.values() for pair in pairs]
    return {
        "most_replicas": most,
        "up_s": up_s and round(up_s, 1),
        "down_s": down_s and round(down_s, 1),
        "efficiency": _efficiency(everything),
        "efficiency_by_replicas": {count: _efficiency(pairs) for count, pairs in sorted(by_replicas.items())},
    }


def _efficiency(pairs: Sequence[tuple[float, float]]) -> float | None:
    ideal = sum(best for _, best in pairs)
    return round(sum(delivered for delivered, _ in pairs) / ideal, 3) if ideal else None


def picture(report: dict[str, Any]) -> str:
    """Each load's rates and replicas, as SVG."""
    panels, ideal_fps, offset_s = list[Panel](), 1e3 / report["args"]["latency_ms"], 0.0
    rates: dict[str, list[tuple[float, float]]] = {"offered": [], "ideal": [], "delivered": []}
    counts: dict[str, list[tuple[float, float]]] = {"running": []}
    for run in report["runs"].values():
        for sample in run["samples"]:
            at_s = offset_s + sample["at_s"]
            rates["offered"].append((at_s, sample["offered"]))
            rates["ideal"].append((at_s, min(sample["offered"], sample["running"] * ideal_fps)))
            rates["delivered"].append((at_s, sample["delivered"]))
            counts["running"].append((at_s, sample["running"]))
        offset_s += run["samples"][-1]["at_s"] if run["samples"] else 0.0
    panels.append(Panel("frames/s", [Line(name, _COLORS[name], points) for name, points in rates.items()]))
    panels.append(Panel("replicas", [Line(name, _COLORS[name], points, steps=True) for name, points in counts.items()]))
    return svg(f"Inference replicas under {' and '.join(report['runs'])}", panels, "s")


def table(report: dict[str, Any]) -> str:
    """The report for people, as Markdown."""
    lines = ["| load | replicas | seconds to scale up | back | efficiency | failed or cut |", "|---|---|---|---|---|---|"]
    for name, run in report["runs"].items():
        lost = sum(count for fate, count in run["frames"].items() if fate.startswith(("failed", "cut")))
        efficiency = "–" if run["efficiency"] is None else f"{run['efficiency']:.0%}"
        lines.append(
            f"| {name} | 1 → {run['most_replicas']} | {run['up_s'] or '–'} | {run['down_s'] or '–'} | {efficiency} "
            f"| {lost} of {sum(run['frames'].values())} |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the table, write report and picture. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.autoscale", description="Autoscaling under a step and a ramp.")
    parser.add_argument("--loads", default="step,ramp", help="which, commas between (%(default)s)")
    parser.add_argument("--replicas", type=int, default=4, help="most inference replicas, each on a fake GPU (%(default)s)")
    parser.add_argument("--latency-ms", type=float, default=200.0, help="of the sleeping engine, a frame (%(default)s)")
    parser.add_argument("--sessions", type=int, default=12, help="at most (%(default)s)")
    parser.add_argument("--fps", type=float, default=2.5, help="of each session (%(default)s)")
    parser.add_argument("--calm-s", type=float, default=8.0, help="one session before the step (%(default)s)")
    parser.add_argument("--hold-s", type=float, default=35.0, help="of the step, and up the ramp (%(default)s)")
    parser.add_argument("--downscale-delay-s", type=float, default=6.0, help="shorter than shipped: 30 (%(default)s)")
    parser.add_argument("--out", type=Path, help="write the report as JSON")
    parser.add_argument("--svg", type=Path, help="write the picture")
    args = parser.parse_args(argv)
    loads = {"step": step, "ramp": ramp}
    names = [name for name in args.loads.split(",") if name]
    if not names or set(names) - set(loads):
        parser.error(f"--loads: expected some of {', '.join(loads)}, got {args.loads!r}")

    report: dict[str, Any] = {"schema": SCHEMA, "args": {**vars(args), "out": str(args.out), "svg": str(args.svg)}, **provenance()}
    with LocalServer(config(args), {"SPLATCAST_FAKE_GPUS": str(args.replicas)}) as server, joined(server):
        report["runs"] = {name: asyncio.run(measure(server.ws_url, loads[name], args)) for name in names}
    print(table(report))
    if args.out:
        args.out.write_text(json.dumps(report, indent=2) + "\n")
    if args.svg:
        args.svg.write_text(picture(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
