"""The ``ply`` codec: the 3DGS file that every splat tool reads. For export and the original protocol, not for streaming.

A text header (:mod:`deployments.splats.codecs.ply_header`), then a row of little-endian float32 for each Gaussian:

========================  =======  =================================================================
property                  columns  meaning
========================  =======  =================================================================
``x y z``                 3        centre, in the codec's frame (default: OpenCV), model units
``nx ny nz``              0 or 3   0; only with ``normals``, for tools that insist on them
``f_dc_0 … 2``            3        DC coefficients of red, green, blue: colour = 0.5 + SH_C0 · DC
``f_rest_0 …``            0, 9,    the other coefficients channel-major: all of red, then green,
                          or 24    then blue (degree 0, 1, 2)
``opacity``               1        logit
``scale_0 … 2``           3        ln of the standard deviation
``rot_0 … 3``             4        quaternion w x y z
========================  =======  =================================================================

14 columns and 56 bytes a Gaussian at degree 0. Source: the PLY written by Kerbl et al. 2023
(graphdeco-inria/gaussian-splatting, ``scene/gaussian_model.py``, ``save_ply``).

Centres, coefficients and quaternions are exact. Logs and logits are within ``activations.MAX_RELATIVE_ERROR``; a scale comes back
within 1e-5 relative, an opacity within 1e-6; 0 and 1 come back exactly. Infinite logits, which writers without a clamp store
for opacities 0 and 1, are read as such, and a log of −∞ as scale 0; any other number that is not finite is refused. Quaternions are
stored as they are and normalised when read.

3DGS files are in the frame of the cameras that trained them, which is OpenCV's, so that is the default; a viewer with y up
(SparkJS, three.js) turns the scene half a turn about x. ``frame="opengl"`` stores it already turned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployments.splats.activations import exp32, log_scale, logit_opacity, sigmoid_logit
from deployments.splats.codecs import ply_compressed
from deployments.splats.codecs.ply_header import Table, read_tables, write_header
from deployments.splats.coordinates import FRAMES, Frame, half_turn_x, to_frame
from deployments.splats.errors import BadBytes, Buffer, as_bytes, no_direction, not_finite, refuse_bad, sample
from deployments.splats.gaussians import SH_COEFFICIENTS, FloatArray, Gaussians
from deployments.splats.kernel import for_kernel, inline, kernel

# Gaussians processed at a time: their logs wait in the first-level cache (512 × 4 × 4 bytes) until the rows are written.
_BLOCK = 512
_REST_TO_DEGREE = {0: 0, 9: 1, 24: 2, 45: 2}


@dataclass(frozen=True, slots=True)
class PlyCodec:
    """Standard 3DGS PLY. See the module for the layout.

    Attributes:
        normals: Also write ``nx ny nz`` (zeros): 17 columns at degree 0.
        frame: Frame of the file; ``Gaussians`` are always in the OpenCV frame.
    """

    normals: bool = False
    frame: Frame = "opencv"
    name: str = "ply"
    media_type: str = "application/ply"
    suffix: str = ".ply"

    def __post_init__(self) -> None:
        if self.frame not in FRAMES:
            raise ValueError(f"frame: expected one of {', '.join(FRAMES)}, got {self.frame!r}")

    def encode(self, gaussians: Gaussians) -> NDArray[np.uint8]:
        """A complete PLY file. uint8 [header + N · 4 · columns].

        Raises:
            BadGaussians: If a number is not finite, a scale is negative, or a quaternion has no direction.
        """
        g = to_frame(gaussians, self.frame)
        names = property_names(g.sh_degree, self.normals)
        header = write_header(np.dtype([(name, "<f4") for name in names]), len(g))
        # Numba compiles aligned and unaligned arrays separately: start so that the rows lie on a multiple of 4.
        size, lead = len(header) + 4 * len(names) * len(g), -len(header) % 4
        out = np.empty(lead + size, np.uint8)[lead:]
        out[: len(header)] = np.frombuffer(header, np.uint8)
        rows = out[len(header) :].view("<f4").reshape(len(g), len(names))
        good = _encode(
            for_kernel(g.means),
            for_kernel(g.scales).reshape(-1),
            for_kernel(g.quats),
            for_kernel(g.opacities),
            for_kernel(g.sh),
            3 if self.normals else 0,
            rows,
        )
        if not good:
            refuse_bad(gaussians, ("means", "scales", "quats", "opacities", "sh"))
        return out

    def decode(self, buffer: Buffer) -> Gaussians:
        """The Gaussians in a PLY, whoever wrote it: properties in any order and of any type, in either order of bytes or as text.

        Unknown properties, other elements and bytes after the vertices are ignored. Spherical harmonics of degree 3 are read up to
        degree 2. SuperSplat's compressed files are read too (:mod:`deployments.splats.codecs.ply_compressed`).

        Raises:
            BadBytes: If it is no PLY of Gaussians, or a number is not finite.
            Truncated: If the file ends before its vertices do.
        """
        tables = read_tables(as_bytes(self.name, buffer))
        table = tables["vertex"]
        columns, rows = _columns(tables)
        n, k = len(rows), (len(columns) - 14) // 3 + 1
        means, scales, quats = (np.empty((n, width), np.float32) for width in (3, 3, 4))
        opacities, sh = np.empty(n, np.float32), np.empty((n, k, 3), np.float32)
        good = _decode(rows, columns, means, scales, quats, opacities, sh)
        if not good:
            _refuse_row(table, (means, scales, quats, opacities, sh))
        g = Gaussians(means, scales, quats, opacities, sh)
        return half_turn_x(g) if self.frame == "opengl" else g

    def warm_up(self) -> None:
        """Compile or load the kernels."""
        for degree in SH_COEFFICIENTS:
            self.decode(self.encode(sample(degree)))


def property_names(sh_degree: int, normals: bool = False) -> tuple[str, ...]:
    """The columns in the order they are written; degrees up to 3."""
    rest = 3 * ((sh_degree + 1) ** 2 - 1)
    return (
        *("x", "y", "z"),
        *(("nx", "ny", "nz") if normals else ()),
        *("f_dc_0", "f_dc_1", "f_dc_2"),
        *(f"f_rest_{i}" for i in range(rest)),
        "opacity",
        *("scale_0", "scale_1", "scale_2"),
        *("rot_0", "rot_1", "rot_2", "rot_3"),
    )


def _columns(tables: Mapping[str, Table]) -> tuple[NDArray[np.intp], FloatArray]:
    """The indices of a file's columns in our order, up to degree 2, and its rows."""
    table = tables["vertex"]
    if ply_compressed.is_compressed(tables):
        columns = ply_compressed.decompress(tables)
        return _gathered(table, columns, list(columns))
    names = table.rows.dtype.names or ()
    if all(table.rows.dtype[name] == np.dtype("<f4") for name in names):
        wanted = _wanted(table, names)
        rows = for_kernel(table.rows.view("<f4").reshape(len(table.rows), len(names)))
        return for_kernel(np.array([names.index(name) for name in wanted])), rows
    return _gathered(table, table.rows, names)


def _gathered(table: Table, columns: Any, names: Sequence[str]) -> tuple[NDArray[np.intp], FloatArray]:
    """Columns of any type as float32 rows in our order."""
    wanted = _wanted(table, names)
    rows = np.empty((len(table.rows), len(wanted)), np.float32)
    with np.errstate(over="ignore"):  # A double beyond float32 becomes infinite, and is refused as such.
        for i, name in enumerate(wanted):
            rows[:, i] = columns[name]
    return for_kernel(np.arange(len(wanted))), for_kernel(rows)


def _wanted(table: Table, names: Sequence[str]) -> list[str]:
    """A file's columns in our order, up to degree 2."""
    rest = sum(1 for name in names if name.startswith("f_rest_"))
    if rest not in _REST_TO_DEGREE:
        raise BadBytes("ply", 4, "0, 9, 24 or 45 properties f_rest_*", f"{rest}")
    degree, bands = _REST_TO_DEGREE[rest], rest // 3
    wanted = list(property_names(degree))
    if bands > 8:
        kept = iter([f"f_rest_{channel * bands + i}" for channel in range(3) for i in range(8)])
        wanted = [next(kept) if name.startswith("f_rest_") else name for name in wanted]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise BadBytes("ply", 4, f"a property '{missing[0]}'", f"only {', '.join(names)[:200] or 'none'}")
    return wanted


def _refuse_row(table: Table, arrays: tuple[FloatArray, ...]) -> None:
    n = len(table.rows)
    bad = ~np.all([np.isfinite(a.reshape(n, -1)).all(axis=1) for a in arrays], axis=0)
    row = int(np.argmax(bad))
    what = "finite numbers, a scale below e^88.7 and a quaternion with a direction"
    raise BadBytes("ply", table.offset + row * table.rows.dtype.itemsize, what, f"vertex {row} without")


@kernel
def _encode(
    means: FloatArray,
    scales: FloatArray,
    quats: FloatArray,
    opacities: FloatArray,
    sh: FloatArray,
    normals: int,
    rows: FloatArray,
) -> bool:
    n, k = sh.shape[0], sh.shape[1]
    logs, logits = np.empty(3 * _BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    tail = 6 + normals + 3 * (k - 1)
    bad = np.int32(0)
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        bad |= _log_all(scales[3 * start : 3 * stop], logs)
        bad |= _logit_all(opacities[start:stop], logits)
        bad |= _check_all(means[start:stop], quats[start:stop], sh[start:stop])
        for i in range(start, stop):
            for c in range(3):
                rows[i, c] = means[i, c]
            for c in range(normals):
                rows[i, 3 + c] = np.float32(0)
            for c in range(3):
                rows[i, 3 + normals + c] = sh[i, 0, c]
            rows[i, tail] = logits[i - start]
            for c in range(3):
                rows[i, tail + 1 + c] = logs[3 * (i - start) + c]
            for c in range(4):
                rows[i, tail + 4 + c] = quats[i, c]
        if k > 1:
            for i in range(start, stop):
                for c in range(3):
                    for b in range(1, k):
                        rows[i, 6 + normals + c * (k - 1) + b - 1] = sh[i, b, c]
    return bool(bad == 0)


@inline
def _log_all(scales: FloatArray, out: FloatArray) -> np.int32:
    bad = np.int32(0)
    for i in range(scales.size):
        out[i] = log_scale(scales[i])
        # As unsigned, everything from infinity up is infinite, NaN or has its sign bit set.
        bad = np.int32(bad | np.int32(np.float32(scales[i]).view(np.uint32) >= np.uint32(0x7F800000)))
    return bad


@inline
def _logit_all(opacities: FloatArray, out: FloatArray) -> np.int32:
    bad = np.int32(0)
    for i in range(opacities.size):
        out[i] = logit_opacity(opacities[i])
        bad = np.int32(bad | not_finite(opacities[i]))
    return bad


@inline
def _check_all(means: FloatArray, quats: FloatArray, sh: FloatArray) -> np.int32:
    bad = np.int32(0)
    flat = means.reshape(-1)
    for i in range(flat.size):
        bad = np.int32(bad | not_finite(flat[i]))
    flat = sh.reshape(-1)
    for i in range(flat.size):
        bad = np.int32(bad | not_finite(flat[i]))
    for i in range(len(quats)):
        w, x, y, z = quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]
        bad = np.int32(bad | no_direction(np.float32(w * w + x * x + y * y + z * z)))
    return bad


@kernel
def _decode(
    rows: FloatArray,
    columns: NDArray[np.intp],
    means: FloatArray,
    scales: FloatArray,
    quats: FloatArray,
    opacities: FloatArray,
    sh: FloatArray,
) -> bool:
    n, k = sh.shape[0], sh.shape[1]
    tail = 6 + 3 * (k - 1)
    bad = np.int32(0)
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        for i in range(start, stop):
            for c in range(3):
                means[i, c] = rows[i, columns[c]]
                sh[i, 0, c] = rows[i, columns[3 + c]]
                scales[i, c] = rows[i, columns[tail + 1 + c]]
            opacities[i] = rows[i, columns[tail]]
            for c in range(4):
                quats[i, c] = rows[i, columns[tail + 4 + c]]
        if k > 1:
            for i in range(start, stop):
                for c in range(3):
                    for b in range(1, k):
                        sh[i, b, c] = rows[i, columns[6 + c * (k - 1) + b - 1]]
        bad |= _check_all(means[start:stop], quats[start:stop], sh[start:stop])
        bad |= _exp_all(scales[start:stop].reshape(-1))
        bad |= _sigmoid_all(opacities[start:stop])
        _normalise_all(quats[start:stop])
    return bool(bad == 0)


@inline
def _exp_all(values: FloatArray) -> np.int32:
    bad = np.int32(0)
    for i in range(values.size):
        values[i] = exp32(values[i])
        bad = np.int32(bad | not_finite(values[i]))
    return bad


@inline
def _sigmoid_all(values: FloatArray) -> np.int32:
    bad = np.int32(0)
    for i in range(values.size):
        values[i] = sigmoid_logit(values[i])
        bad = np.int32(bad | not_finite(values[i]))
    return bad


@inline
def _normalise_all(quats: FloatArray) -> None:
    for i in range(len(quats)):
        w, x, y, z = quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]
        square = np.float32(w * w + x * x + y * y + z * z)
        # NaN marks the row to name; a length that overflowed would leave finite zeros.
        norm = np.float32(np.nan) if no_direction(square) else np.float32(np.sqrt(square))
        quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3] = w / norm, x / norm, y / norm, z / norm
