"""What a frame looks like after each way of coding it, beside its bytes and times; and the picture of that.

Every frame is layered depth or native Gaussians (:mod:`benchmarks.subjects`). The reference is what ``lift_and_prune`` or ``prune``
makes of it uncoded, with the stream's default pruning; what a row decodes to is drawn beside it from the camera's place and from an
orbit about the scene's median depth.
"""

import gzip
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from benchmarks.chart import Line, Panel, svg
from benchmarks.figures import table
from benchmarks.libraries import GsplyFile
from benchmarks.splatter import draw, turn
from benchmarks.subjects import Subject
from deployments.client import read_jpeg
from deployments.splats.camera import Camera, PosedCamera
from deployments.splats.codecs import CODECS, planes
from deployments.splats.codecs.depth import Jpeg, decode_depth, encode_depth, lift_decoded
from deployments.splats.codecs.planes_ladder import rung_at
from deployments.splats.gaussians import Gaussians
from deployments.splats.layer_lifting import lift_and_prune
from deployments.splats.pruning import prune, select
from deployments.stages.pack import JPEG_QUALITY, PackSettings, encode_plane
from deployments.stream.options import FrameOptions

F32 = NDArray[np.float32]

STEPS = (768, 512, 256, 128, 64)
"""Of the median inverse depth, as so many in it."""
ORBIT_DEG = (0, 10, -10, 20, -20)
BEST_DB = 100.0
"""Two pictures that differ by less are called the same."""
_CHART_DB = (30.0, 60.0)
_COLORS = {
    "packed": "#1f77b4",
    "gzip of packed": "#17becf",
    "SPZ (gsply)": "#d62728",
    "ply": "#ff7f0e",
    "points": "#9467bd",
    "depth, own picture": "#2ca02c",
    "depth, camera's JPEG": "#7f7f7f",
    "planes": "#2ca02c",
}
_WISHES: dict[str, Any] = {"border": FrameOptions().border, "min_opacity": FrameOptions().min_opacity}
"""Pruning, as a stream has it by default."""


@dataclass(frozen=True, slots=True)
class Row:
    """One way of coding a frame.

    Attributes:
        name: What it is called.
        line: The line of the chart that it is a point of.
        encode: The prediction, or the Gaussians lifted from it, to bytes, or to their number where they are in a file.
        decode: The part of the way back that is timed.
        show: What was decoded to the Gaussians that a viewer draws.
        reference: What these should look like.
    """

    name: str
    line: str
    encode: Callable[[], Any]
    decode: Callable[[Any], Any]
    show: Callable[[Any], Gaussians]
    reference: Gaussians


def psnr(a: F32, b: F32) -> float:
    """Peak signal to noise of two pictures in 0..1, dB; at most ``BEST_DB``."""
    return min(BEST_DB, -10 * math.log10(max(float(np.mean((a - b) ** 2, dtype=np.float64)), 1e-12)))


def ssim(a: F32, b: F32) -> float:
    """Structural similarity with the Gaussian windows of Wang et al. 2004."""
    small = {"win_size": 3} if min(a.shape[:2]) < 11 else {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(a, b, channel_axis=2, data_range=1.0, **small))


def views_of(gaussians: Gaussians, camera: Camera, pivot_z: float) -> list[F32]:
    """Pictures from the camera's place and from the orbit, in the order of ``ORBIT_DEG``."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda yaw: draw(turn(gaussians, yaw, pivot_z), camera), ORBIT_DEG))


def compare(reference: Sequence[F32], found: Sequence[F32]) -> dict[str, list[float]]:
    """``psnr`` and ``ssim``, each at 0° and as the means at ±10° and ±20°."""

    def figures(measure: Callable[[F32, F32], float], digits: int) -> list[float]:
        at = [measure(a, b) for a, b in zip(reference, found, strict=True)]
        return [round(value, digits) for value in (at[0], (at[1] + at[2]) / 2, (at[3] + at[4]) / 2)]

    return {"psnr": figures(psnr, 2), "ssim": figures(ssim, 4)}


def rows_of(subject: Subject, folder: Path) -> Iterator[Row]:
    """Every way of coding a subject, ``packed`` first.

    Args:
        subject: The frame.
        folder: For libraries that only write files; in RAM.
    """
    layered, lifted = subject.layered, pruned(subject)
    packed, spz = PackSettings().packed_codec(), GsplyFile(folder / f"{subject.name}.spz")

    def of_gaussians(name: str, encode: Callable[[Gaussians], Any], decode: Callable[[Any], Gaussians]) -> Row:
        return Row(name, name, lambda: encode(lifted), decode, lambda found: found, lifted)

    yield of_gaussians("packed", packed.encode, packed.decode)
    yield of_gaussians(
        "gzip of packed", lambda g: gzip.compress(packed.encode(g).data, 6), lambda data: packed.decode(gzip.decompress(data))
    )
    yield of_gaussians("SPZ (gsply)", spz.encode, spz.decode)
    yield of_gaussians("ply", CODECS["ply"].encode, CODECS["ply"].decode)
    if subject.native is not None:
        yield from _planes(subject, lifted)
        return
    points, _ = lift_and_prune(layered, "points", **_WISHES)
    codec = CODECS["points"]
    # Centres and colours are all that it carries; how large and how dense its points are is up to the viewer.
    yield Row(
        "points", "points", lambda: codec.encode(points), codec.decode,
        lambda found: replace(points, means=found.means, sh=found.sh), points,
    )  # fmt: skip
    pictures = [view.picture for view in layered.views]
    for line, colour in (("depth, own picture", None), ("depth, camera's JPEG", [subject.jpeg])):
        for step in STEPS:

            def encode(step: int = step, colour: list[Jpeg] | None = colour) -> Any:
                return encode_depth(layered, step=1 / step, colour=colour, encode_jpeg=_encode_jpeg, **_WISHES)

            def show(coded: Any) -> Gaussians:
                sent = [view.picture for view in coded.views]
                shown = [own if jpeg is None else subject.picture(jpeg) for own, jpeg in zip(pictures, sent, strict=True)]
                return lift_decoded(coded, shown, _decode_jpeg)[0]

            yield Row(f"{line}, 1/{step}", line, encode, decode_depth, show, lifted)


def _planes(subject: Subject, reference: Gaussians) -> Iterator[Row]:
    """Rows of native Gaussians as pictures."""
    gaussians, views = subject.native, [PosedCamera(subject.layered.views[0].camera)]
    if gaussians is None:
        return
    kept, _, _ = select(gaussians, views[0].camera, **_WISHES)
    for step in STEPS:

        def encode(step: int = step) -> Any:
            return planes.encode_planes(gaussians, kept, views, rung=rung_at(1 / step), encode_jpeg=encode_plane)[0]

        def decode(data: Any) -> Gaussians:
            return planes.decode_planes(data, read_jpeg)

        yield Row(f"planes, 1/{step}", "planes", encode, decode, lambda found: found, reference)


def pruned(subject: Subject) -> Gaussians:
    """What is there to be packed: lifted, if it is depth, and pruned."""
    if subject.native is not None:
        return prune(subject.native, subject.layered.views[0].camera, **_WISHES)[0]
    return lift_and_prune(subject.layered, "lifted", **_WISHES)[0]


def measure(subject: Subject, folder: Path, repeats: int) -> dict[str, Any]:
    """Bytes, times and fidelity of every row.

    Args:
        subject: The frame.
        folder: For libraries that only write files.
        repeats: Rounds, in each of which every row is timed once.

    Returns:
        ``name``, ``width``, ``height``, ``layers`` (0: native Gaussians), ``splats``, ``jpeg_bytes``, ``lift_ms`` (lifting and
        pruning, which come before every codec but ``depth``; before ``planes`` it is the choice alone) and ``rows``.
    """
    view = subject.layered.views[0]
    rows = list(rows_of(subject, folder))
    inverse = view.layers[0].inverse_depth
    pivot_z = 1 / float(np.median(inverse[inverse > 0]))
    references: dict[int, list[F32]] = {}
    found: list[dict[str, Any]] = []
    coded = [row.encode() for row in rows]
    for row, data in zip(rows, coded, strict=True):
        if id(row.reference) not in references:
            references[id(row.reference)] = views_of(row.reference, view.camera, pivot_z)
        pictures = views_of(row.show(row.decode(data)), view.camera, pivot_z)
        size = data if isinstance(data, int) else len(data)
        found.append({"name": row.name, "line": row.line, "bytes": size, **compare(references[id(row.reference)], pictures)})
    encodes: list[list[float]] = [[] for _ in rows]
    decodes: list[list[float]] = [[] for _ in rows]
    lifts = []
    for _ in range(repeats):
        lifts.append(thread_ms(lambda: pruned(subject)))
        for index, (row, data) in enumerate(zip(rows, coded, strict=True)):
            encodes[index].append(thread_ms(row.encode))
            decodes[index].append(thread_ms(lambda row=row, data=data: row.decode(data)))  # type: ignore[misc]
    for index, entry in enumerate(found):
        entry["encode_ms"] = round(float(np.median(encodes[index])), 3)
        entry["decode_ms"] = round(float(np.median(decodes[index])), 3)
        entry["encode_per_packed"] = round(float(np.median(np.divide(encodes[index], encodes[0]))), 2)
    return {
        "name": subject.name,
        "width": view.camera.width,
        "height": view.camera.height,
        "layers": 0 if subject.native is not None else subject.layered.layer_count,
        "splats": len(rows[0].reference),
        "jpeg_bytes": len(subject.jpeg.data),
        "lift_ms": round(float(np.median(lifts)), 3),
        "rows": found,
    }


def describe(subject: dict[str, Any]) -> str:
    """One subject's figures for people."""
    what = f"layers: {subject['layers']}" if subject["layers"] else "native Gaussians"
    about = (
        f"{subject['name']}: {subject['width']}×{subject['height']}, {what}, {subject['splats']} splats kept, "
        f"the camera's JPEG {subject['jpeg_bytes'] / 1e3:.1f} kB; {'lifting and ' if subject['layers'] else ''}pruning "
        f"{subject['lift_ms']:.1f} ms"
    )
    heads = ["", "kB", "encode ms", "× packed", "decode ms", "PSNR 0°", "±10°", "±20°", "SSIM 0°", "±10°", "±20°"]
    rows = (
        [
            row["name"], row["bytes"] / 1e3, row["encode_ms"], row["encode_per_packed"], row["decode_ms"],
            *row["psnr"], *(f"{value:.4f}" for value in row["ssim"]),
        ]
        for row in subject["rows"]
    )  # fmt: skip
    return f"{about}\n\n{table(heads, rows)}"


def chart(subjects: Sequence[dict[str, Any]]) -> str:
    """Rate and distortion of every codec, a panel for each subject: SVG."""
    low, high = _CHART_DB
    panels = []
    for subject in subjects:
        lines: dict[str, list[tuple[float, float]]] = {}
        for row in subject["rows"]:
            lines.setdefault(row["line"], []).append((row["bytes"] / 1e3, float(np.mean(row["psnr"]))))
        shown = [
            # A codec that is off the chart is drawn at its edge, and says so.
            Line(_label(name, points[0][1]), _COLORS[name], [(x, min(max(y, low), high)) for x, y in sorted(points)], marks=True)
            for name, points in lines.items()
        ]
        panels.append(Panel(f"dB: {subject['name']}", shown, low, high))
    return svg("Bytes of a frame, and how true it is: mean of the PSNR at 0°, ±10° and ±20°", panels, "kB", log_x=True)


def _label(name: str, best_db: float) -> str:
    if best_db <= _CHART_DB[1]:
        return name
    return f"{name}: ≥ {best_db:.0f} dB" if best_db >= BEST_DB else f"{name}: {best_db:.0f} dB"


def thread_ms(function: Callable[[], object]) -> float:
    """CPU time of this thread that a call takes, milliseconds."""
    began_s = time.thread_time()
    function()
    return (time.thread_time() - began_s) * 1e3


def _encode_jpeg(picture: NDArray[np.uint8]) -> bytes:
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(picture), JPEG_QUALITY, "RGB", "420"))


def _decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(simplejpeg.decode_jpeg(data, "RGB"))
