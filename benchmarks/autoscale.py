"""``python -m benchmarks.autoscale``: inference replicas and delivered frames over time, under a step and a ramp.

The shipped CPU config with fake GPUs, one for each replica, and an engine that sleeps: a replica's ideal rate is then known, and
the machine's cores are not what is measured. Efficiency is what was delivered over ``min(offered, replicas × ideal rate)``, while
the number of replicas was at rest. Sessions are those of people with cameras: they send at their rate whatever comes back.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.chart import Line, Panel, svg
from benchmarks.command import command, names, new_parser, publish, start_report
from benchmarks.controller import joined, replica_states
from benchmarks.figures import table
from benchmarks.load.session import Client
from benchmarks.server import LocalServer, shipped_config
from benchmarks.viewers import Viewer, delivered, offered, outcomes
from deployments.scene.clip import encode_clip

SAMPLE_S, RATE_S = 0.5, 2.0
STAGE = "GaussianInference"
SETTLED_S = 3.0
"""Replicas are at rest when their number has been the same for this long: in that time admission finds its new limit."""
_COLORS = {"offered": "#999999", "ideal": "#e0a030", "delivered": "#2060c0", "running": "#208040"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment. Rates are those of the two seconds before it, frames a second."""

    at_s: float
    sessions: int
    offered: float
    delivered: float
    running: int
    starting: int


def config(args: argparse.Namespace) -> dict[str, Any]:
    """The shipped config, with what this benchmark changes in it."""
    engine = {"name": "synthetic", "params": {"splats": 500, "latency_ms": args.latency_ms}}
    found = shipped_config({"engine": engine, "options": {"border": 0.0}})
    (entry,) = (entry for entry in found["applications"][0]["deployments"] if entry["name"] == STAGE)
    entry["autoscaling_config"] |= {"max_replicas": args.replicas, "downscale_delay_s": args.downscale_delay_s}
    entry["ray_actor_options"] = {"num_cpus": 0.1, "num_gpus": 1}
    return found


class Crowd:
    """The sessions of a run, which come and go."""

    def __init__(self, url: str, fps: float) -> None:
        self.viewers: list[Viewer] = []
        self.gone: list[Viewer] = []
        self._client, self._fps = Client(url, encode_clip(1.0, 5.0, 160, 120, 80)), fps

    async def become(self, count: int) -> None:
        """Let sessions come or go until there are so many."""
        while len(self.viewers) < count:
            self.viewers.append(viewer := Viewer(self._client, self._fps))
            viewer.start()
            # Cameras are not in step.
            await asyncio.sleep(1.0 / self._fps / max(1, count))
        while len(self.viewers) > count:
            viewer = self.viewers.pop()
            self.gone.append(viewer)
            await viewer.stop()

    @property
    def everyone(self) -> list[Viewer]:
        """Those who have left, too."""
        return [*self.gone, *self.viewers]


async def watch(crowd: Crowd, began_s: float, samples: list[Sample]) -> None:
    """Take a sample every half second until cancelled."""
    while True:
        await asyncio.sleep(SAMPLE_S)
        states = await asyncio.to_thread(replica_states, STAGE)
        now_s, everyone = time.monotonic(), crowd.everyone
        rates = [count(everyone, now_s - RATE_S, now_s) for count in (offered, delivered)]
        running, starting = states.get("RUNNING", 0), states.get("STARTING", 0)
        samples.append(Sample(round(now_s - began_s, 2), len(crowd.viewers), *rates, running, starting))


async def step(crowd: Crowd, args: argparse.Namespace) -> None:
    """One session; all at once; one session."""
    await crowd.become(1)
    await asyncio.sleep(args.calm_s)
    await crowd.become(args.sessions)
    await asyncio.sleep(args.hold_s)
    await crowd.become(1)
    await asyncio.sleep(args.downscale_delay_s + 15.0)


async def ramp(crowd: Crowd, args: argparse.Namespace) -> None:
    """One session after the other until all are there, and back."""
    each_s = args.hold_s / args.sessions
    for count in [*range(1, args.sessions + 1), *range(args.sessions - 1, 0, -2)]:
        await crowd.become(count)
        await asyncio.sleep(each_s)
    await asyncio.sleep(args.downscale_delay_s + 10.0)


LOADS: dict[str, Callable[[Crowd, argparse.Namespace], Awaitable[None]]] = {"step": step, "ramp": ramp}


async def measure(url: str, load: str, args: argparse.Namespace) -> dict[str, Any]:
    """Run one load and say what came of it."""
    crowd, samples = Crowd(url, args.fps), list[Sample]()
    began_s = time.monotonic()
    watching = asyncio.ensure_future(watch(crowd, began_s, samples))
    try:
        await LOADS[load](crowd, args)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await crowd.become(0)
    return {
        **summarise(samples, 1e3 / args.latency_ms),
        "frames": outcomes(crowd.everyone, began_s, time.monotonic() - 2.0),
        "sessions_broken": sum(len(viewer.broke_s) for viewer in crowd.everyone),
        "samples": [asdict(sample) for sample in samples],
    }


def summarise(samples: Sequence[Sample], ideal_fps: float) -> dict[str, Any]:
    """The figures of a run.

    Args:
        samples: In order.
        ideal_fps: What one replica can do.

    Returns:
        ``most_replicas``; ``up_s``: from the first moment that offered more than one replica's rate until the most were running;
        ``down_s``: from the last such moment until one was running; ``efficiency`` at rest, by replicas and over all.
    """
    most = max((sample.running for sample in samples), default=0)
    heavy = [sample.at_s for sample in samples if sample.offered > ideal_fps]
    up_s = down_s = None
    if heavy:
        up_s = next((sample.at_s - heavy[0] for sample in samples if sample.running == most and sample.at_s >= heavy[0]), None)
        down_s = next((sample.at_s - heavy[-1] for sample in samples if sample.running <= 1 and sample.at_s > heavy[-1]), None)
    by_replicas: dict[int, list[tuple[float, float]]] = {}
    for sample in samples:
        recent = {(other.running, other.sessions) for other in samples if sample.at_s - SETTLED_S <= other.at_s <= sample.at_s}
        if len(recent) == 1 and sample.at_s > SETTLED_S and sample.running and sample.offered:
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
    """Rates and replicas under each load, one after the other, as SVG."""
    ideal_fps, offset_s = 1e3 / report["args"]["latency_ms"], 0.0
    points: dict[str, list[tuple[float, float]]] = {name: [] for name in _COLORS}
    for run in report["runs"].values():
        for sample in run["samples"]:
            values = {**sample, "ideal": min(sample["offered"], sample["running"] * ideal_fps)}
            for name, found in points.items():
                found.append((offset_s + sample["at_s"], values[name]))
        offset_s += run["samples"][-1]["at_s"] if run["samples"] else 0.0
    *rates, replicas = (Line(name, _COLORS[name], found, steps=name == "running") for name, found in points.items())
    panels = [Panel("frames/s", rates), Panel("replicas", [replicas])]
    return svg(f"Inference replicas under {' and '.join(report['runs'])}", panels, "s")


def describe(report: dict[str, Any]) -> str:
    """The report for people."""
    rows = []
    for name, run in report["runs"].items():
        lost = sum(count for outcome, count in run["frames"].items() if outcome.startswith(("errored", "cut")))
        efficiency = None if run["efficiency"] is None else f"{run['efficiency']:.0%}"
        of_all = f"{lost} of {sum(run['frames'].values())}"
        rows.append([name, f"1 → {run['most_replicas']}", run["up_s"], run["down_s"], efficiency, of_all])
    return table(["load", "replicas", "seconds to scale up", "back", "efficiency", "errored or cut"], rows)


@command("autoscale")
def main(argv: list[str]) -> int:
    """Run, print the table, write report and picture. Returns the exit status."""
    parser = new_parser("autoscale", "Autoscaling under a step and a ramp.")
    parser.add_argument("--loads", type=names, default=list(LOADS), help="which, separated by commas (step,ramp)")
    parser.add_argument("--replicas", type=int, default=4, help="most inference replicas, each on a fake GPU (%(default)s)")
    parser.add_argument("--latency-ms", type=float, default=200.0, help="how long the engine sleeps for a frame (%(default)s)")
    parser.add_argument("--sessions", type=int, default=12, help="at most (%(default)s)")
    parser.add_argument("--fps", type=float, default=2.5, help="frames a second from each session (%(default)s)")
    parser.add_argument("--calm-s", type=float, default=8.0, help="one session before the step (%(default)s)")
    parser.add_argument("--hold-s", type=float, default=35.0, help="length of the step, and of the way up the ramp (%(default)s)")
    parser.add_argument("--downscale-delay-s", type=float, default=6.0, help="%(default)s; as shipped it is 30")
    parser.add_argument("--svg", type=Path, help="write the picture to this file")
    args = parser.parse_args(argv)
    if not args.loads or set(args.loads) - set(LOADS):
        parser.error(f"--loads: expected some of {', '.join(LOADS)}, got {','.join(args.loads)!r}")
    report = start_report("autoscale", 2, argv, args)
    with LocalServer(config(args), {"SPLATCAST_FAKE_GPUS": str(args.replicas)}) as server, joined(server):
        report["runs"] = {name: asyncio.run(measure(server.ws_url, name, args)) for name in args.loads}
    publish(report, describe(report), args.out)
    if args.svg:
        args.svg.write_text(picture(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
