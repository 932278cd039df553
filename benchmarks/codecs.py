"""Bytes and time of every codec, beside copying the same bytes, beside other libraries.

    python -m benchmarks.codecs [--splats 190512] [--repeats 30] [--out codecs.json]

Everything runs in one thread and in turn, round after round, so that whatever slows the machine slows all of them; times are
the thread's CPU time, medians over the rounds, and ratios are medians of the ratios within a round. Encoding starts from linear
``Gaussians`` and decoding ends with them, for the libraries too: logs and logits are part of the work. plyfile and gsply are
made for files, so they get files in RAM (/dev/shm); the codecs work in memory.
"""

import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gsply
import numba
import numpy as np
from numpy.typing import NDArray
from plyfile import PlyData, PlyElement

from benchmarks.command import between, command, describe_machine, new_parser, publish, start_report
from benchmarks.figures import table
from benchmarks.frame import HEIGHT, WIDTH, pixel_aligned_frame
from deployments.splats.codecs import CODECS
from deployments.splats.codecs.packed import PackedCodec
from deployments.splats.codecs.ply import PlyCodec, property_names
from deployments.splats.gaussians import Gaussians
from deployments.stages.pack import PackSettings

MAX_LN_SCALE_ERROR = 0.05
"""No format here may exceed it; SPZ's steps are 1/16, SparkJS's 0.083."""
NAMES = property_names(0)


@dataclass(frozen=True, slots=True)
class Case:
    """One row: what it is called, and how it encodes and decodes the frame. ``encode`` returns the bytes or their number."""

    name: str
    encode: Callable[[Gaussians], Any]
    decode: Callable[[Any], Gaussians]


def columns_of(g: Gaussians) -> list[NDArray[np.float32]]:
    """The 14 columns of a PLY, by numpy."""
    o = np.clip(g.opacities, 1e-7, 1 - 1e-7)
    parts = (g.means.T, g.sh[:, 0].T, np.log(o / (1 - o))[None], np.log(g.scales.T), g.quats.T)
    return [column for part in parts for column in part]


def gaussians_of(columns: dict[str, NDArray[np.float32]]) -> Gaussians:
    """The Gaussians of the 14 columns, by numpy."""

    def stack(*names: str) -> NDArray[np.float32]:
        return np.stack([np.asarray(columns[name], np.float32) for name in names], axis=1)

    opacities = 1 / (1 + np.exp(-np.asarray(columns["opacity"], np.float32)))
    return Gaussians(stack(*NAMES[:3]), np.exp(stack(*NAMES[7:10])), stack(*NAMES[10:]), opacities, stack(*NAMES[3:6])[:, None])


class PlyfileFile:
    """plyfile through a file in RAM, which it maps; with ``tuples`` filled row by row, as 3DGS's own exporter does it."""

    def __init__(self, path: Path, tuples: bool) -> None:
        self.path, self.tuples = path, tuples

    def encode(self, g: Gaussians) -> int:
        """Write the file; its size in bytes."""
        rows = np.empty(len(g), [(name, "<f4") for name in NAMES])
        if self.tuples:
            rows[:] = list(map(tuple, np.stack(columns_of(g), axis=1)))
        else:
            for name, column in zip(NAMES, columns_of(g), strict=True):
                rows[name] = column
        PlyData([PlyElement.describe(rows, "vertex")], byte_order="<").write(self.path)
        return self.path.stat().st_size

    def decode(self, _: int) -> Gaussians:
        """Read the file."""
        vertex = PlyData.read(self.path)["vertex"]
        return gaussians_of({name: vertex[name] for name in NAMES})


class GsplyFile:
    """gsply through a file in RAM, SPZ or PLY by its suffix."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def encode(self, g: Gaussians) -> int:
        """Write the file; its size in bytes."""
        rest = np.zeros((len(g), 0, 3), np.float32)
        linear = gsply.create_rasterizer_format(0)
        stored = gsply.GSData(g.means, g.scales, g.quats, g.opacities, g.sh[:, 0], rest, _format=linear)
        # Not in place: that would overwrite the frame. The label stays "linear", for which the writer would do it again.
        stored = gsply.apply_pre_deactivations(stored, inplace=False)
        stored._format = gsply.create_ply_format(0)
        (gsply.write_spz if self.path.suffix == ".spz" else gsply.plywrite)(self.path, stored)
        return self.path.stat().st_size

    def decode(self, _: int) -> Gaussians:
        """Read the file."""
        data = (gsply.read_spz if self.path.suffix == ".spz" else gsply.plyread)(self.path)
        data = gsply.apply_pre_activations(data, inplace=False)
        return Gaussians(
            *(np.ascontiguousarray(a) for a in (data.means, data.scales, data.quats, data.opacities, data.sh0[:, None]))
        )


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
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        todo = cases(Path(folder))
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
    return f"{about}\n\n{table(heads, rows)}"


@command("codecs")
def main(argv: list[str]) -> int:
    """Measure, print, and write the report if a file was named. Returns the exit status."""
    parser = new_parser("codecs", "Bytes and time of every codec.")
    whole = between(1, 10_000_000, int)
    parser.add_argument("--splats", type=whole, default=WIDTH * HEIGHT, help="Gaussians in the frame (%(default)s)")
    parser.add_argument("--repeats", type=whole, default=30, help="rounds (%(default)s)")
    args = parser.parse_args(argv)
    report = start_report("codecs", 1, argv, args)
    report["versions"].update({name: version(name) for name in ("plyfile", "gsply")})
    # gsply's kernels would otherwise run on every core.
    numba.set_num_threads(1)
    for codec in CODECS.values():
        codec.warm_up()
    report["rows"] = measure(args.splats, args.repeats)
    publish(report, describe(report), args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
