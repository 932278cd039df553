"""Where a frame's time goes, and what distributing it costs: ``python -m benchmarks.stages``.

The same pictures go, one at a time and taking turns, through five paths:

- ``process``: the graph's pure functions, called in this process.
- ``decoder``, ``inference``, ``packer``: handles of the running deployments, the chain cut after that one and its result
  brought here. What each adds to the one before, less the work it does, is the price of that hop.
- ``socket``: the whole, through a WebSocket, as a browser has it.

Latency with one frame at a time; overlapping stages, which distribution is for, show in the frames per second at the end.
All figures are medians; ratios are medians of paired ratios.
"""

import argparse
import asyncio
import json
import logging
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from benchmarks.load.run import run
from benchmarks.load.schedule import OpenLoop
from benchmarks.load.session import Client
from benchmarks.machine import ROOT, provenance
from benchmarks.server import LocalServer, ServerError
from deployments.client import DEFAULT_CODECS, ClientError, Stream, connect
from deployments.config import GraphArgs
from deployments.models import load_model
from deployments.ops.launch import set_environment
from deployments.scene.clip import encode_clip
from deployments.stages.local import LocalPipeline
from deployments.stream.frames import Capture, FrameRequest, PackedFrame
from deployments.stream.messages import Splats

SCHEMA = "splatcast.stages/1"
STAGES = ("decode", "infer", "pack")
PATHS = ("process", "decoder", "inference", "packer", "socket")
THROUGHPUT_S = 5.0
APPLICATION = "splatcast"

Timings = dict[str, float]
"""Stage → milliseconds."""


class Graph:
    """The running graph, by handle and by socket. Every path takes a capture and gives the stages' milliseconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stream: Stream) -> None:
        from ray import serve

        handles = [serve.get_deployment_handle(name, APPLICATION) for name in ("FrameDecoder", "GaussianInference", "SplatPacker")]
        self._decode, self._predict, self._pack = handles[0].decode, handles[1].predict, handles[2].pack
        self._loop = loop
        self._stream = stream
        self._replies = stream.__aiter__()

    def close(self) -> None:
        """End the handles' routers: they outlive the driver otherwise, and complain."""
        for handle in (self._decode, self._predict, self._pack):
            handle.shutdown()

    def decoder(self, capture: Capture) -> Timings:
        """ingress → decoder → ingress."""
        return _timings(self._decode.remote(capture).result())

    def inference(self, capture: Capture) -> Timings:
        """ingress → decoder → inference → ingress."""
        return _timings(self._predict.remote(self._decode.remote(capture)).result())

    def packer(self, capture: Capture) -> Timings:
        """The whole chain, as the ingress runs it."""
        return _timings(self._pack.remote(self._predict.remote(self._decode.remote(capture))).result())

    def socket(self, capture: Capture) -> Timings:
        """client → proxy → ingress → the chain → ingress → proxy → client."""
        return self._loop.run_until_complete(self._exchange(capture))

    async def _exchange(self, capture: Capture) -> Timings:
        await self._stream.send_frame(capture.views)
        reply = await self._replies.__anext__()
        if not isinstance(reply, Splats):
            raise RuntimeError(f"the server answered {reply}")
        return reply.timings_ms


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the report. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description="Where a frame's time goes.")
    parser.add_argument("--config", type=Path, default=ROOT / "serve_config.cpu.yaml", help="what to serve (serve_config.cpu.yaml)")
    parser.add_argument("--rounds", type=int, default=40, help="frames through each path (%(default)s)")
    parser.add_argument("--frame", default="640x480", help="size of the pictures (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the report")
    options = parser.parse_args(argv)
    if not 3 <= options.rounds <= 1000:
        parser.error(f"--rounds: expected 3 to 1000, got {options.rounds}")
    width, height = map(int, options.frame.split("x"))
    args = GraphArgs.model_validate(yaml.safe_load(options.config.read_text())["applications"][0].get("args") or {})
    clip = encode_clip(1.0, 8.0, width, height, 80)
    origin = provenance()  # Before the server: its load_1min shows whether others use the machine.
    try:
        times, fps = measure(options.config, args, clip, options.rounds)
    except (ServerError, ClientError, RuntimeError) as error:
        print(f"benchmarks.stages: {error}", file=sys.stderr)
        return 2
    report = {
        "schema": SCHEMA,
        "command": shlex.join(["python", "-m", "benchmarks.stages", *(sys.argv[1:] if argv is None else argv)]),
        **origin,
        "args": {"config": str(options.config), "frame": options.frame, "rounds": options.rounds, "graph": args.model_dump()},
        "ms": summarise(times),
        "frames_per_s": fps,
    }
    print(table(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def measure(config: Path, args: GraphArgs, clip: Sequence[bytes], rounds: int) -> tuple[dict[str, list[Timings]], dict[str, float]]:
    """All paths, interleaved; then frames per second one by one in process, and overlapped through the graph.

    Returns:
        Path → the stages of each round, with ``wall``; and frames per second.
    """
    local = LocalPipeline(load_model(args.engine.name, **args.engine.params), args.frames, args.pack)
    local.warm_up()
    with ExitStack() as stack:
        server = stack.enter_context(LocalServer(config))
        loop = asyncio.new_event_loop()
        stack.callback(loop.close)
        stack.callback(_attach(server))
        opening = connect(server.ws_url, client="benchmarks.stages")
        stream = loop.run_until_complete(opening.__aenter__())
        stack.callback(lambda: loop.run_until_complete(opening.__aexit__(None, None, None)))
        graph = Graph(loop, stream)
        stack.callback(graph.close)
        paths: dict[str, Callable[[Capture], Timings]] = {
            "process": lambda capture: _timings(local.run(capture)),
            **{name: getattr(graph, name) for name in PATHS[1:]},
        }
        times: dict[str, list[Timings]] = {name: [] for name in PATHS}
        for index in range(-3, rounds):  # The first three warm up every path.
            capture = Capture((clip[index % len(clip)],), FrameRequest(args.options))
            # Taking turns, and each time another begins: what disturbs the machine disturbs all alike.
            for name in (*PATHS[index % len(PATHS) :], *PATHS[: index % len(PATHS)]):
                began_s = time.perf_counter()
                stages = paths[name](capture)
                if index >= 0:
                    times[name].append({**stages, "wall": (time.perf_counter() - began_s) * 1e3})
        alone_ms = statistics.median(entry["wall"] for entry in times["process"])
        schedule = OpenLoop(60.0, 0.0, 1.0, 1.0 + THROUGHPUT_S)
        outcome = loop.run_until_complete(run(Client(server.ws_url, clip, DEFAULT_CODECS, {}), [schedule], 5.0))
        frames = [f for f in outcome.sessions[0].frames if f.due_s >= 1.0 and f.outcome == "delivered"]
        return times, {"process": round(1e3 / alone_ms, 2), "graph": round(len(frames) / THROUGHPUT_S, 2)}


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
        """What a path took beside the work of the stages in it."""
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


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    machine, args, fps = report["machine"], report["args"], report["frames_per_s"]
    lines = [
        f"engine {args['graph']['engine']['name']}, {args['frame']} JPEG, {args['rounds']} rounds, one frame at a time",
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_1min']}, Ray {report['versions'].get('ray', '?')}",
        "",
        f"{'ms (medians)':<28}{'process':>10}{'graph':>10}{'more':>10}{'ratio':>10}",
    ]
    for name, found in report["ms"].items():
        ratio = f"{found['ratio']:>9.2f}×" if "ratio" in found else ""
        process = f"{found['process']:>10.1f}" if "ratio" in found else f"{'–':>10}"
        lines.append(f"{name:<28}{process}{found['graph']:>10.1f}{found['difference']:>10.1f}{ratio}")
    lines += [
        "",
        f"{'frames per second':<28}{fps['process']:>10.1f}{fps['graph']:>10.1f}   one by one, and overlapped in the graph",
    ]
    if machine["load_1min"] > machine["cores"] / 2:
        lines += ["", "The machine was busy before this began: every figure is inflated, and not all alike."]
    return "\n".join(lines)


def _timings(outcome: Any) -> Timings:
    if isinstance(outcome, Exception):
        raise RuntimeError(f"a frame failed: {outcome}")
    timings = outcome.request.timings
    # The result itself crosses a process boundary: a reader touches all of it.
    if isinstance(outcome, PackedFrame):
        outcome.data.sum(dtype="int64")
    return timings


def _attach(server: LocalServer) -> Callable[[], None]:
    """Join the server's cluster as a driver. Gives the way out."""
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": server.ray_token}
    set_environment()
    # Else a router thread that outlives the driver would start a cluster of its own.
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    import ray
    import ray.serve

    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # The table is what this prints.
    ray.init(address=server.ray_address, namespace="serve", log_to_driver=False, logging_level="ERROR")
    return ray.shutdown


if __name__ == "__main__":
    sys.exit(main())
