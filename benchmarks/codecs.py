"""Bytes and time of every codec, beside copying the same bytes, beside other libraries.

    python -m benchmarks.codecs [--splats 190512] [--repeats 30] [--subjects scene,motorcycle-wild] [--out codecs.json]
    python -m benchmarks.codecs --repeats 1 --svg docs/codecs.svg

Everything runs in one thread and in turn, round after round, so that whatever slows the machine slows all of them; times are
the thread's CPU time, medians over the rounds, and ratios are medians of the ratios within a round. Encoding starts from linear
``Gaussians`` and decoding ends with them, for the libraries too: logs and logits are part of the work. plyfile and gsply are
made for files, so they get files in RAM (/dev/shm); the codecs work in memory.

Then frames as models that predict depth or Gaussians return them, coded in every way, with what is left of the picture
(:mod:`benchmarks.fidelity`); ``--svg`` draws that. Bytes and fidelity come out the same on every run.
"""

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numba
import numpy as np

from benchmarks import fidelity
from benchmarks.command import between, command, describe_machine, names, new_parser, publish, start_report
from benchmarks.figures import table
from benchmarks.frame import HEIGHT, WIDTH, pixel_aligned_frame
from benchmarks.libraries import GsplyFile, PlyfileFile
from benchmarks.subjects import SUBJECTS, USUAL
from deployments.client import read_jpeg
from deployments.splats.codecs import CODECS, depth, planes
from deployments.splats.codecs.packed import PackedCodec
from deployments.splats.codecs.ply import PlyCodec
from deployments.splats.gaussians import Gaussians
from deployments.stages.pack import PackSettings, encode_plane

MAX_LN_SCALE_ERROR = 0.05
"""Of every format here; SPZ's steps are 1/16, SparkJS's 0.083."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row: what it is called, and how it encodes and decodes the frame. ``encode`` returns the bytes or their number."""

    name: str
    encode: Callable[[Gaussians], Any]
    decode: Callable[[Any], Gaussians]


def cases(folder: Path) -> list[Case]:
    """Every row of the table but the copies."""
    ours = [Case(name, codec.encode, codec.decode) for name, codec in CODECS.items()]
    stream = PackSettings()
    streamed = PackedCodec(ln_scale_range=(math.log(stream.scale_min), math.log(stream.scale_max)))
    normals = PlyCodec(normals=True)
    libraries = {
        "plyfile, from columns": PlyfileFile(folder / "columns.ply", tuples=False),
        "plyfile, from tuples": PlyfileFile(folder / "tuples.ply", tuples=True),
        "gsply, ply": GsplyFile(folder / "frame.ply"),
        "gsply, spz": GsplyFile(folder / "frame.spz"),
    }
    return [
        *ours,
        Case("packed, as streamed", streamed.encode, streamed.decode),
        Case("ply with normals", normals.encode, normals.decode),
        *(Case(name, file.encode, file.decode) for name, file in libraries.items()),
    ]


def measure(splats: int, repeats: int) -> list[dict[str, Any]]:
    """A row for each case, as in the report's ``rows``."""
    frame = pixel_aligned_frame(splats)
    ply = CODECS["ply"].encode(frame)
    into = np.empty_like(ply)
    with folder_in_ram() as folder:
        todo = cases(folder)
        encoded = [case.encode(frame) for case in todo]
        sizes = [data if isinstance(data, int) else len(data) for data in encoded]
        encodes: list[list[float]] = [[] for _ in todo]
        decodes: list[list[float]] = [[] for _ in todo]
        ply_copies = []
        for case, data in zip(todo, encoded, strict=True):
            decoded = case.decode(data)
            if not np.allclose(decoded.means, frame.means, rtol=2e-3, atol=1e-3):
                raise RuntimeError(f"{case.name}: decoding gave another frame; its times would mean nothing")
            # Not of all: the stream's range clamps the few thinnest.
            scaled = np.quantile(np.abs(np.log(decoded.scales / frame.scales)), 0.99)
            if "points" not in case.name and scaled > MAX_LN_SCALE_ERROR:
                raise RuntimeError(f"{case.name}: scales are off by {scaled} in ln; its times would mean nothing")
        for _ in range(repeats):
            # The copy is short, and every ratio rests on it: the best of three, so that it is as warm as everything else.
            ply_copies.append(min(_time(np.copyto, into, ply) for _ in range(3)))
            for i, (case, data) in enumerate(zip(todo, encoded, strict=True)):
                encodes[i].append(_time(case.encode, frame))
                decodes[i].append(_time(case.decode, data))
    return [
        {
            "name": case.name,
            "bytes": sizes[i],
            "encode_ms": _median_ms(encodes[i]),
            "decode_ms": _median_ms(decodes[i]),
            "encode_per_ply_copy": _median_ratio(encodes[i], ply_copies),
            "decode_per_ply_copy": _median_ratio(decodes[i], ply_copies),
        }
        for i, case in enumerate(todo)
    ] + [{"name": "copy of the PLY", "bytes": int(ply.size), "copy_ms": _median_ms(ply_copies)}]


@contextmanager
def folder_in_ram() -> Iterator[Path]:
    """A folder for the libraries' files, gone at the end; on disk where /dev/shm is missing."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


def _time(function: Callable[..., object], *args: object) -> float:
    start = time.thread_time()
    function(*args)
    return time.thread_time() - start


def _median_ms(seconds: list[float]) -> float:
    return round(float(np.median(seconds)) * 1e3, 3)


def _median_ratio(seconds: list[float], of: list[float]) -> float:
    return round(float(np.median(np.divide(seconds, of))), 2)


def describe(report: dict[str, Any]) -> str:
    """The report for people."""
    args = report["args"]
    about = f"{args['splats']} Gaussians, one thread, CPU time, medians of {args['repeats']} rounds; {describe_machine(report)}"
    keys = ("encode_ms", "encode_per_ply_copy", "decode_ms", "decode_per_ply_copy", "copy_ms")
    rows = ([row["name"], row["bytes"] / 1e6, *map(row.get, keys)] for row in report["rows"])
    heads = ["", "MB", "encode ms", "× copy of the PLY", "decode ms", "× copy of the PLY", "copy ms"]
    parts = [f"{about}\n\n{table(heads, rows)}", *map(fidelity.describe, report["subjects"])]
    return "\n\n".join(parts)


@command("codecs")
def main(argv: list[str]) -> int:
    """Measure, print, and write the report if a file was named. Returns the exit status."""
    parser = new_parser("codecs", "Bytes and time of every codec.")
    whole = between(1, 10_000_000, int)
    parser.add_argument("--splats", type=whole, default=WIDTH * HEIGHT, help="Gaussians in the frame (%(default)s)")
    parser.add_argument("--repeats", type=whole, default=30, help="rounds (%(default)s)")
    parser.add_argument("--subjects", type=_subjects, default=list(USUAL), help="whose fidelity is measured, or none (%(default)s)")
    parser.add_argument("--px", type=between(32, 2048, int), default=WIDTH, help="width of their grids (%(default)s)")
    parser.add_argument("--svg", type=Path, help="write rate and distortion to this file, as SVG")
    args = parser.parse_args(argv)
    report = start_report("codecs", 2, argv, args)
    report["versions"].update({name: version(name) for name in ("plyfile", "gsply")})
    # gsply's kernels would otherwise run on every core.
    numba.set_num_threads(1)
    for codec in CODECS.values():
        codec.warm_up()
    depth.warm_up()
    planes.warm_up(encode_plane, read_jpeg)
    report["rows"] = measure(args.splats, args.repeats)
    with folder_in_ram() as folder:
        report["subjects"] = [fidelity.measure(SUBJECTS[name](args.px), folder, args.repeats) for name in args.subjects]
    if args.svg:
        args.svg.write_text(fidelity.chart(report["subjects"]))
    publish(report, describe(report), args.out)
    return 0


def _subjects(text: str) -> list[str]:
    found = [] if text == "none" else names(text)
    if unknown := set(found) - set(SUBJECTS):
        raise argparse.ArgumentTypeError(f"expected {', '.join(SUBJECTS)} or none, got {', '.join(sorted(unknown))}")
    return found


if __name__ == "__main__":
    sys.exit(main())
