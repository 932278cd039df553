"""``splatcast PHOTO … -o DIR``: photos a second, here and by a server on this machine, and the command's peak memory.

``python -m benchmarks.photos --photos 40 --megapixels 12``. The photos are made for it: the procedural scene, enlarged, with the
noise of a sensor. The two ways are measured in turn, each with a new process; its start and the loading of the model are reported
apart, as ten thousand photos need them once: the time by the command's own rate, the CPU by what it takes for a single photo.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import psutil
import simplejpeg

from benchmarks.command import BenchmarkError, between, command, describe_machine, new_parser, publish, start_report
from benchmarks.figures import table
from benchmarks.machine import ROOT
from benchmarks.server import LocalServer, shipped_config
from deployments.scene.clip import render_scene
from deployments.splats.files import FORMATS

_RATE = re.compile(r"(\d+) files made in .*, ([0-9.]+) a second")
WAYS = {"here": "on this machine", "server": "by a server on this machine"}


def write_photos(folder: Path, count: int, megapixels: float) -> int:
    """Write JPEGs of a camera's size, in quality 90, and return the bytes of one."""
    folder.mkdir()
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = height * 4 // 3
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 3, (height, width, 3)).astype(np.float32)
    for number in range(count):
        scene = cv2.resize(render_scene(number / 10).rgb, (width, height), interpolation=cv2.INTER_CUBIC)
        pixels = np.clip(scene + np.roll(noise, number * 7, axis=1), 0, 255).astype(np.uint8)
        (folder / f"{number}.jpg").write_bytes(simplejpeg.encode_jpeg(pixels, 90, "RGB", "420"))
    return (folder / "0.jpg").stat().st_size


def measure(arguments: Sequence[str]) -> dict[str, float]:
    """Run the command once.

    Raises:
        BenchmarkError: It failed; the sentence has what it said.
    """
    began_s = time.perf_counter()
    program = [sys.executable, "-m", "deployments.photos", *arguments]
    process = psutil.Popen(program, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    peak, cpu_s = 0, 0.0
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            peak, cpu_s = max(peak, process.memory_info().rss), sum(process.cpu_times()[:2])
        time.sleep(0.02)
    said = process.communicate()[1]
    took_s = time.perf_counter() - began_s
    found = _RATE.search(said)
    if process.returncode or not found:
        raise BenchmarkError(f"the command failed; it said:\n{said}")
    made, rate = int(found[1]), float(found[2])
    return {"made": made, "photos_per_s": rate, "start_s": took_s - made / rate, "peak_mb": peak / 1e6, "cpu_s": cpu_s}


def compare(count: int, megapixels: float, rounds: int, form: str) -> dict[str, Any]:
    """Measure both ways, in turn."""
    with tempfile.TemporaryDirectory() as temporary, LocalServer(shipped_config()) as server:
        folder = Path(temporary)
        size = write_photos(folder / "photos", count, megapixels)
        runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        single = folder / "single"
        single.mkdir()
        shutil.copy(folder / "photos" / "0.jpg", single)
        for number in range(rounds):
            for way, more in (("here", []), ("server", ["--url", server.url])):
                first, many = (["-o", str(folder / f"{name}-{way}{number}"), "--format", form, *more] for name in ("one", "all"))
                one = measure([str(single), *first])
                before_s = _cpu_s(server)
                run = measure([str(folder / "photos"), *many])
                spent_s = run["cpu_s"] - one["cpu_s"] + (_cpu_s(server) - before_s if more else 0.0)
                runs[way].append({**run, "cpu_ms_a_photo": 1e3 * spent_s / max(1, count - 1)})
    return {"photo_bytes": size, "runs": runs}


def _cpu_s(server: LocalServer) -> float:
    """What all processes of a server have used so far."""
    spent_s = 0.0
    for process in server.processes():
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            spent_s += sum(process.cpu_times()[:2])
    return spent_s


def describe(measured: Mapping[str, Any]) -> str:
    """The table: medians of the rounds."""
    keys = ("photos_per_s", "cpu_ms_a_photo", "start_s", "peak_mb")
    rows = [[words, *(f"{median(run[key] for run in measured['runs'][way]):.1f}" for key in keys)] for way, words in WAYS.items()]
    return table(["", "photos/s", "CPU ms a photo", "start, s", "peak of the command, MB"], rows)


@command("photos")
def main(argv: list[str]) -> int:
    """Entry point."""
    parser = new_parser("photos", __doc__ or "", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=between(1, 100_000, int), default=40)
    parser.add_argument("--megapixels", type=between(0.1, 100), default=12.0)
    parser.add_argument("--rounds", type=between(1, 100, int), default=3)
    parser.add_argument("--format", choices=tuple(FORMATS), default="spz")
    args = parser.parse_args(argv)
    report = start_report("photos", 1, argv, args)
    report |= compare(args.photos, args.megapixels, args.rounds, args.format)
    size = f"{args.photos} JPEGs of {args.megapixels:g} megapixels, {report['photo_bytes'] / 1e6:.1f} MB each, as {args.format}"
    publish(report, f"{describe_machine(report)}\n{size}; medians of {args.rounds} rounds\n\n{describe(report)}", args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
