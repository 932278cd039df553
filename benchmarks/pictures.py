"""Photos a second, and the memory that takes, by type and size: ``python -m benchmarks.pictures``.

Each type and size goes one after the other through the pure stages (decode, relief, pack) in a process of its own, whose highest
resident memory is read afterwards, its decoder's with it; then through ``/api/splat`` of a server that this starts, from one client
and from four, while the memory of its decoders is watched. The pictures are made here: the procedural scene, enlarged, with a
sensor's noise.
"""

import argparse
import io
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.command import BenchmarkError, between, command, describe_machine, names, new_parser, publish, start_report
from benchmarks.figures import table
from benchmarks.machine import ROOT
from benchmarks.processes import by_part
from benchmarks.server import LocalServer, shipped_config
from deployments.models import load_model
from deployments.scene.clip import render_scene
from deployments.splats.files import FileOptions
from deployments.stages.local import LocalPipeline
from deployments.stream.frames import Capture, FrameRequest, PackedFrame

KINDS = ("jpeg", "png", "heic")
CLIENTS = (1, 4)
NOISE = 3.0
"""Standard deviation of a sensor's noise, of 255: without it, PNGs would be a tenth of their size."""
_WATCH_EVERY_S = 0.02


def make_picture(kind: str, megapixels: float) -> bytes:
    """A 4:3 photo.

    Raises:
        BenchmarkError: Nothing here writes that type.
    """
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = height * 4 // 3
    scene = cv2.resize(render_scene(0.0).rgb, (width, height), interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(0).normal(0, NOISE, (height, width)).astype(np.int16)
    image = Image.fromarray(np.clip(scene + noise[..., None], 0, 255).astype(np.uint8))
    out = io.BytesIO()
    if kind == "heic":
        if find_spec("pillow_heif") is None:
            raise BenchmarkError("heic: pip install 'splatcast[heic]' first, or leave it out of --kinds")
        import pillow_heif

        pillow_heif.from_pillow(image).save(out, quality=80)
    elif kind in KINDS:
        image.save(out, kind, **({"quality": 90} if kind == "jpeg" else {"compress_level": 3}))
    else:
        raise BenchmarkError(f"kinds: expected some of {', '.join(KINDS)}, got {kind!r}")
    return out.getvalue()


def measure_stages(file: Path, rounds: int) -> dict[str, float]:
    """Seconds a photo of each stage, medians, and the highest resident memory in MB; in this process, which should be a new one."""
    pipeline = LocalPipeline(load_model("relief"))
    pipeline.warm_up()
    small = io.BytesIO()
    Image.new("RGB", (640, 480), (9, 9, 9)).save(small, "PNG")
    _run(pipeline, small.getvalue())  # Compiles what warm_up does not.
    data = file.read_bytes()
    Path("/proc/self/clear_refs").write_text("5")  # Resets the high-water mark, which compiling has raised. Linux only.
    idle_mb = _resident_mb()
    runs = [_run(pipeline, data) for _ in range(rounds)]
    child_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    medians = {stage: statistics.median(run[stage] for run in runs) / 1e3 for stage in ("decode", "infer", "pack")}
    return {**medians, "idle_mb": idle_mb, "peak_mb": _resident_mb(), "decoder_mb": child_mb}


def _run(pipeline: LocalPipeline, data: bytes) -> dict[str, float]:
    outcome = pipeline.run(Capture((data,), FrameRequest(file=FileOptions("spz"))))
    if not isinstance(outcome, PackedFrame):
        raise BenchmarkError(f"a photo failed: {outcome}")
    return outcome.request.timings


def _resident_mb() -> float:
    """The highest since the mark was reset."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def in_a_process(file: Path, rounds: int) -> dict[str, float]:
    """:func:`measure_stages` in a new process."""
    program = [sys.executable, "-m", "benchmarks.pictures", "--measure", str(file), "--rounds", str(rounds)]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"the stages failed; they said:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


class DecoderWatch:
    """The most memory that a server's decoders, and the processes they start, have had together."""

    def __init__(self, server: LocalServer) -> None:
        self.peak_mb = 0.0
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "DecoderWatch":
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_WATCH_EVERY_S):
            usage = by_part(self._server.sample()).get("FrameDecoder")
            self.peak_mb = max(self.peak_mb, usage.private_bytes / 1e6 if usage else 0.0)


def measure_server(server: LocalServer, data: bytes, clients: int, rounds: int) -> dict[str, float]:
    """Photos a second from so many clients at once, ``rounds`` from each, and the decoders' highest memory."""

    def post(_: int) -> int:
        request = urllib.request.Request(f"{server.url}/api/splat?format=spz", data=data, method="POST")
        with _OPENER.open(request, timeout=120) as answer:
            return len(answer.read())

    post(0)
    with DecoderWatch(server) as watch, ThreadPoolExecutor(clients) as pool:
        began_s = time.perf_counter()
        list(pool.map(post, range(clients * rounds)))
        took_s = time.perf_counter() - began_s
    return {"photos_per_s": clients * rounds / took_s, "decoders_mb": watch.peak_mb}


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def measure(kinds: Sequence[str], megapixels: Sequence[float], rounds: int, with_server: bool) -> dict[str, Any]:
    """Every type in every size: name → figures."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = {(kind, size): Path(folder) / f"{size:g}.{kind}" for kind in kinds for size in megapixels}
        for (kind, size), path in files.items():
            path.write_bytes(make_picture(kind, size))
            figures = {"file_mb": path.stat().st_size / 1e6, "stages": in_a_process(path, rounds)}
            found[f"{kind} {size:g}"] = figures
        if not with_server:
            return found
        with LocalServer(shipped_config({})) as server:
            for (kind, size), path in files.items():
                data = path.read_bytes()
                runs = {str(clients): measure_server(server, data, clients, rounds) for clients in CLIENTS}
                found[f"{kind} {size:g}"]["server"] = runs
    return found


def describe(measured: dict[str, Any]) -> str:
    """The table."""
    rows = []
    for name, figures in measured.items():
        stages, server = figures["stages"], figures.get("server", {})
        alone_s = stages["decode"] + stages["infer"] + stages["pack"]
        memory = stages["peak_mb"] - stages["idle_mb"] + stages["decoder_mb"]
        rows.append(
            [
                f"{name} MP",
                f"{figures['file_mb']:.1f}",
                f"{stages['decode'] * 1e3:.0f}",
                f"{1 / alone_s:.1f}",
                f"{memory:.0f}",
                *(f"{server[str(clients)]['photos_per_s']:.1f}" if server else None for clients in CLIENTS),
                f"{server[str(CLIENTS[-1])]['decoders_mb']:.0f}" if server else None,
            ]
        )
    head = ["", "MB", "decode, ms", "stages: photos/s", "more memory, MB", *(f"server, {n} at once: photos/s" for n in CLIENTS)]
    return table([*head, f"its decoders, {CLIENTS[-1]} at once, MB"], rows)


def _sizes(text: str) -> list[float]:
    return [float(between(0.1, 100)(size)) for size in text.split(",")]


@command("pictures")
def main(argv: list[str]) -> int:
    """Measure, print the table, write the report. Returns the exit status."""
    parser = new_parser("pictures", "Photos a second, and the memory that takes, by type and size.")
    parser.add_argument("--kinds", type=names, default=list(KINDS), help=f"of {','.join(KINDS)} (all)")
    parser.add_argument("--megapixels", type=_sizes, default=[12.0, 24.0, 48.0], help="sizes (12,24,48)")
    parser.add_argument("--rounds", type=between(1, 1000, int), default=5, help="photos of each, and of each client (%(default)s)")
    parser.add_argument("--stages-only", action="store_true", help="start no server")
    parser.add_argument("--measure", type=Path, default=None, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.measure:
        print(json.dumps(measure_stages(args.measure, args.rounds)))
        return 0
    report = start_report("pictures", 1, argv, args)
    report["pictures"] = measure(args.kinds, args.megapixels, args.rounds, not args.stages_only)
    publish(report, f"{describe_machine(report)}\n\n{describe(report['pictures'])}", args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
