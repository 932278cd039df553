"""Where a frame's time goes, and what distributing it costs: ``python -m benchmarks.stages``.

The same pictures go one at a time, and taking turns, through five paths:

- ``process``: the graph's pure functions, called in this process.
- ``decoder``, ``inference``, ``packer``: handles of the running deployments; the chain is cut after that one and its result
  brought here. What each adds to the one before, less the work it does, is the price of that hop.
- ``socket``: all of it, through a WebSocket, as a browser has it.

Each codec of ``--codecs`` takes all of these paths in every round, so that codecs can be compared as well.

This is latency with one frame at a time; overlapping stages, which distribution is for, show in the frames per second at the end.
All figures are medians; ratios are medians of paired ratios.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from benchmarks.command import BenchmarkError, between, command, describe_machine, names, new_parser, publish, start_report
from benchmarks.controller import APP, joined
from benchmarks.figures import table
from benchmarks.load.run import run
from benchmarks.load.schedule import plan
from benchmarks.load.session import Client
from benchmarks.machine import ROOT
from benchmarks.server import LocalServer
from deployments.client import Stream, connect
from deployments.config import GraphArgs
from deployments.models import load_model
from deployments.scene.clip import encode_clip
from deployments.stages.local import LocalPipeline
from deployments.stream.frames import Capture, FrameRequest, PackedFrame
from deployments.stream.messages import Splats
from deployments.stream.options import COLORS, FrameOptions

STAGES = ("decode", "infer", "pack")
PATHS = ("process", "decoder", "inference", "packer", "socket")
THROUGHPUT_FPS, THROUGHPUT_S = 60.0, 5.0

Timings = dict[str, float]
"""Stage → milliseconds."""


class Graph:
    """The running graph, by handle and by socket. Every path takes a capture and returns the stages' milliseconds.

    Args:
        loop: Runs the sockets.
        streams: Codec → the open session that asks for it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, streams: dict[str, Stream]) -> None:
        from ray import serve

        decoder, inference, packer = (
            serve.get_deployment_handle(name, APP) for name in ("FrameDecoder", "GaussianInference", "SplatPacker")
        )
        self._chain = (decoder.decode, inference.predict, packer.pack)
        self._loop = loop
        self._streams = streams
        self._replies = {codec: stream.__aiter__() for codec, stream in streams.items()}

    def close(self) -> None:
        """End the handles' routers, which would otherwise outlive the driver, and complain."""
        for handle in self._chain:
            handle.shutdown()

    def handles(self, count: int, capture: Capture) -> Timings:
        """Through the first ``count`` deployments of the chain, as the ingress runs it, and back here."""
        result: Any = capture
        for handle in self._chain[:count]:
            result = handle.remote(result)
        return _timings(result.result())

    def socket(self, capture: Capture) -> Timings:
        """client → proxy → ingress → the chain → ingress → proxy → client."""
        return self._loop.run_until_complete(self._exchange(capture))

    async def _exchange(self, capture: Capture) -> Timings:
        codec = capture.request.options.codec
        await self._streams[codec].send_frame(capture.views)
        reply = await self._replies[codec].__anext__()
        if not isinstance(reply, Splats):
            raise BenchmarkError(f"the server answered {reply}")
        return reply.timings_ms


@command("stages")
def main(argv: list[str]) -> int:
    """Measure, print the table, write the report. Returns the exit status."""
    parser = new_parser("stages", "Where a frame's time goes.")
    parser.add_argument("--config", type=Path, default=ROOT / "serve_config.cpu.yaml", help="what to serve (serve_config.cpu.yaml)")
    parser.add_argument("--rounds", type=between(3, 1000, int), default=40, help="frames through each path (%(default)s)")
    parser.add_argument("--codecs", type=names, default=["packed", "depth"], help="compared with the first (packed,depth)")
    parser.add_argument("--colors", choices=COLORS, default="own", help="where depth's colours come from (%(default)s)")
    args = parser.parse_args(argv)
    graph = GraphArgs.model_validate(yaml.safe_load(args.config.read_text())["applications"][0].get("args") or {})
    report = start_report("stages", 3, argv, args)
    wishes = {codec: replace(graph.options, codec=codec, colors=args.colors) for codec in args.codecs}
    times, sizes, fps = measure(args.config, graph, encode_clip(1.0, 8.0, 640, 480, 80), args.rounds, wishes)
    report |= {"graph": graph.model_dump(), "bytes": sizes, "frames_per_s": fps}
    report["ms"] = {codec: summarise(found) for codec, found in times.items()}
    report["ratios"] = {codec: compare(times[args.codecs[0]], times[codec]) for codec in args.codecs[1:]}
    publish(report, describe(report), args.out)
    return 0


def measure(
    config: Path, args: GraphArgs, clip: Sequence[bytes], rounds: int, wishes: dict[str, FrameOptions]
) -> tuple[dict[str, dict[str, list[Timings]]], dict[str, int], dict[str, dict[str, float]]]:
    """All paths, interleaved; then frames per second, one by one in this process and overlapping in the graph.

    Args:
        config, args: What is served, as a file and as its arguments.
        clip: JPEGs, sent in a loop.
        rounds: Frames through each path.
        wishes: Codec → the options of its frames.

    Returns:
        Codec → path → the stages of each round, with ``wall``; codec → bytes of the clip's first frame; and codec → frames per
        second.
    """
    local = LocalPipeline(load_model(args.engine.name, **args.engine.params), args.frames, args.pack)
    local.warm_up()
    with ExitStack() as stack:
        server = stack.enter_context(LocalServer(config))
        loop = asyncio.new_event_loop()
        stack.callback(loop.close)
        stack.enter_context(joined(server))
        graph = Graph(loop, {codec: _open(stack, loop, server, options) for codec, options in wishes.items()})
        stack.callback(graph.close)
        paths: dict[str, Callable[[Capture], Timings]] = {
            "process": lambda capture: _timings(local.run(capture)),
            **{name: partial(graph.handles, count) for count, name in enumerate(PATHS[1:4], start=1)},
            "socket": graph.socket,
        }
        turns = [(codec, name) for name in PATHS for codec in wishes]
        times: dict[str, dict[str, list[Timings]]] = {codec: {name: [] for name in PATHS} for codec in wishes}
        for index in range(-3, rounds):  # The first three warm up every path.
            # Each path goes first in turn: what disturbs the machine disturbs all alike.
            first = index % len(turns)
            for codec, name in (*turns[first:], *turns[:first]):
                capture = _capture(clip[index % len(clip)], wishes[codec])
                began_s = time.perf_counter()
                stages = paths[name](capture)
                if index >= 0:
                    times[codec][name].append({**stages, "wall": (time.perf_counter() - began_s) * 1e3})
        sizes, fps = {}, {}
        for codec, options in wishes.items():
            packed = local.run(_capture(clip[0], options))
            assert isinstance(packed, PackedFrame), "it went through this path before"
            sizes[codec] = len(packed.data)
            client = Client(server.ws_url, clip, [codec], _asked(options))
            outcome = loop.run_until_complete(run(client, plan(1, THROUGHPUT_FPS, 1.0, THROUGHPUT_S), drain_s=5.0))
            frames = [f for f in outcome.sessions[0].frames if f.due_s >= 1.0 and f.outcome == "delivered"]
            alone_ms = statistics.median(entry["wall"] for entry in times[codec]["process"])
            fps[codec] = {"process": round(1e3 / alone_ms, 2), "graph": round(len(frames) / THROUGHPUT_S, 2)}
        return times, sizes, fps


def _open(stack: ExitStack, loop: asyncio.AbstractEventLoop, server: LocalServer, options: FrameOptions) -> Stream:
    opening = connect(server.ws_url, codecs=[options.codec], options=_asked(options), client="benchmarks.stages")
    stream = loop.run_until_complete(opening.__aenter__())
    stack.callback(lambda: loop.run_until_complete(opening.__aexit__(None, None, None)))
    return stream


def _asked(options: FrameOptions) -> dict[str, Any]:
    return {"codec": options.codec, "colors": options.colors}


def _capture(picture: bytes, options: FrameOptions) -> Capture:
    return Capture((picture,), FrameRequest(options, (options.codec,)))


def compare(first: dict[str, list[Timings]], other: dict[str, list[Timings]]) -> dict[str, float]:
    """Stage, and ``whole frame`` → the other codec's time through the socket over the first's, median of paired ratios.

    Args:
        first, other: Path → the stages of each round, with ``wall``.
    """
    pairs = list(zip(first["socket"], other["socket"], strict=True))
    named = {**{stage: stage for stage in STAGES}, "whole frame": "wall"}
    return {name: round(statistics.median(b[key] / a[key] for a, b in pairs), 3) for name, key in named.items()}


def summarise(times: dict[str, list[Timings]]) -> dict[str, dict[str, float]]:
    """Row → ``process``, ``graph``, ``difference``, all in milliseconds, and ``ratio``.

    Args:
        times: Path → the stages of each round, with ``wall``.
    """
    rounds = range(len(times["process"]))

    def row(process: Callable[[int], float], graph: Callable[[int], float]) -> dict[str, float]:
        pairs = [(process(index), graph(index)) for index in rounds]
        found = {
            "process": statistics.median(a for a, _ in pairs),
            "graph": statistics.median(b for _, b in pairs),
            "difference": statistics.median(b - a for a, b in pairs),
        }
        if all(a > 0 for a, _ in pairs):
            found["ratio"] = statistics.median(b / a for a, b in pairs)
        return {name: round(value, 3) for name, value in found.items()}

    def spent(path: str, stages: Sequence[str]) -> list[float]:
        """What a path took in addition to the work of its stages."""
        return [entry["wall"] - sum(entry[stage] for stage in stages) for entry in times[path]]

    beside = [spent("decoder", STAGES[:1]), spent("inference", STAGES[:2]), spent("packer", STAGES), spent("socket", STAGES)]
    rows = {
        stage: row(lambda i, s=stage: times["process"][i][s], lambda i, s=stage: times["socket"][i][s])  # type: ignore[misc]
        for stage in STAGES
    }
    rows["hop: ingress to decoder"] = row(lambda _: 0.0, lambda i: beside[0][i])
    rows["hop: decoder to inference"] = row(lambda _: 0.0, lambda i: beside[1][i] - beside[0][i])
    rows["hop: inference to packer"] = row(lambda _: 0.0, lambda i: beside[2][i] - beside[1][i])
    rows["ingress, proxy and socket"] = row(lambda _: 0.0, lambda i: beside[3][i] - beside[2][i])
    rows["whole frame"] = row(lambda i: times["process"][i]["wall"], lambda i: times["socket"][i]["wall"])
    return rows


def describe(report: dict[str, Any]) -> str:
    """The report for people."""
    machine = report["machine"]
    lines = [
        f"engine {report['graph']['engine']['name']}, {report['args']['rounds']} rounds, one frame at a time",
        f"{describe_machine(report)}, Ray {report['versions'].get('ray', '?')}",
    ]
    for codec, found_rows in report["ms"].items():
        rows = []
        for name, found in found_rows.items():
            process, ratio = (found["process"], f"{found['ratio']:.2f} ×") if "ratio" in found else (None, None)
            rows.append([name, process, found["graph"], found["difference"], ratio])
        fps = report["frames_per_s"][codec]
        lines += [
            "",
            f"{codec}: {report['bytes'][codec] / 1e3:.1f} kB a frame",
            "",
            table(["ms (medians)", "process", "graph", "more", "ratio"], rows),
            "",
            f"frames per second: {fps['process']:.1f} one by one in a process, {fps['graph']:.1f} overlapping in the graph",
        ]
    for codec, ratios in report["ratios"].items():
        said = ", ".join(f"{name} {ratio:.2f} ×" for name, ratio in ratios.items())
        lines += ["", f"{codec} beside {next(iter(report['ms']))}, through the socket: {said}"]
    if machine["load_1min"] > machine["cores"] / 2:
        lines += ["", "The machine was busy before this began: every figure is inflated, and not all by the same factor."]
    return "\n".join(lines)


def _timings(outcome: Any) -> Timings:
    if isinstance(outcome, Exception):
        raise BenchmarkError(f"a frame failed: {outcome}")
    timings: Timings = outcome.request.timings
    # The result crosses a process boundary: as a reader would, touch all of it.
    if isinstance(outcome, PackedFrame):
        outcome.data.sum(dtype="int64")
    return timings


if __name__ == "__main__":
    sys.exit(main())
