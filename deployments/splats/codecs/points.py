"""The ``points`` codec: coloured points, for models that predict no Gaussians.

Little-endian, ``16 + 15 · count`` bytes:

======  ==========  ====================================================================
offset  type        meaning
======  ==========  ====================================================================
0       4 bytes     ``SPPT``
4       u8          version, 1
5       3 bytes     0
8       u32         count
12      u32         0
16      f32 [n, 3]  centres: OpenCV camera frame (x right, y down, z forward), model units
…       u8 [n, 3]   red, green, blue: round(255 · (0.5 + SH_C0 · DC)), clamped to 0..255
======  ==========  ====================================================================

Scales, rotations, opacities and view dependence are lost. A decoded point is a round Gaussian of ``POINT_SCALE``, as opaque as
lifting makes its own; its colour is within 1/510 of the original, clamped to 0..1; its centre is exact. The viewer, which knows the
camera, also gives it the size of a lifted one: σ = 0.6 pixels, so that a grid of points shows a closed surface.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployments.splats.activations import SH_C0, rgb_to_dc
from deployments.splats.errors import BadBytes, Buffer, Truncated, as_bytes, check_size, not_finite, refuse_bad, sample
from deployments.splats.gaussians import Gaussians
from deployments.splats.kernel import for_kernel, kernel
from deployments.splats.lifting import OPACITY

MAGIC, VERSION = b"SPPT", 1
HEADER = struct.Struct("<4sB3xII")
POINT_BYTES = 15

POINT_SCALE = 0.001
"""Standard deviation of a decoded point, model units; SparkJS gives the same to a PLY's points."""

_DC_OF = rgb_to_dc(np.arange(256, dtype=np.float32) / np.float32(255))
_C0, _HALF, _ZERO, _FULL = np.float32(SH_C0), np.float32(0.5), np.float32(0), np.float32(255)


@dataclass(frozen=True, slots=True)
class PointsCodec:
    """Centres and colours. See the module for the layout."""

    name: str = "points"
    media_type: str = "application/vnd.splatcast.points"
    suffix: str = ".sppt"

    def encode(self, gaussians: Gaussians) -> NDArray[np.uint8]:
        """The frame's centres and colours. uint8 [16 + 15 · N].

        Raises:
            BadGaussians: If a centre or a DC coefficient is not finite.
        """
        n = len(gaussians)
        out = np.empty(HEADER.size + POINT_BYTES * n, np.uint8)
        out[: HEADER.size] = np.frombuffer(HEADER.pack(MAGIC, VERSION, n, 0), np.uint8)
        xyz, rgb = _views(out, n)
        means = for_kernel(gaussians.means).reshape(-1)
        if not _encode(means, for_kernel(gaussians.sh), xyz.reshape(-1), rgb):
            refuse_bad(gaussians, ("means", "sh"))
        return out

    def decode(self, buffer: Buffer) -> Gaussians:
        """The points as round Gaussians of ``POINT_SCALE``, as opaque as lifted ones.

        Raises:
            BadBytes: For a wrong magic or version, non-zero padding, trailing bytes, or a centre that is not finite.
            Truncated: If there are fewer bytes than the header announces.
        """
        xyz, rgb = split_points(buffer)
        n = len(xyz)
        means, dc = np.empty((n, 3), np.float32), np.empty((n, 1, 3), np.float32)
        if not _decode(for_kernel(xyz.reshape(-1)), for_kernel(rgb.reshape(-1)), _DC_OF, means.reshape(-1), dc.reshape(-1)):
            row = int(np.argmax(~np.isfinite(means).all(axis=1)))
            raise BadBytes(self.name, HEADER.size + 12 * row, "a finite centre", str(means[row]))
        quats = np.zeros((n, 4), np.float32)
        quats[:, 0] = 1
        return Gaussians(means, np.full((n, 3), POINT_SCALE, np.float32), quats, np.full(n, OPACITY, np.float32), dc)

    def warm_up(self) -> None:
        """Compile or load the kernels."""
        for degree in (0, 1, 2):
            self.decode(self.encode(sample(degree)))


def split_points(buffer: Buffer) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The two arrays of a ``points`` buffer, as views into it.

    Returns:
        Centres, float32 [N, 3], and colours, uint8 [N, 3].

    Raises:
        BadBytes: For a wrong magic or version, non-zero padding, or trailing bytes.
        Truncated: If there are fewer bytes than the header announces.
    """
    data = as_bytes("points", buffer)
    if len(data) < HEADER.size:
        raise Truncated("points", len(data), f"a header of {HEADER.size} bytes", f"{len(data)}")
    magic, version, count, zero = HEADER.unpack(data[: HEADER.size].tobytes())
    if magic != MAGIC:
        raise BadBytes("points", 0, f"the magic {MAGIC!r}", f"{magic!r}")
    if version != VERSION:
        raise BadBytes("points", 4, f"version {VERSION}", f"{version}")
    if data[5:8].any():
        raise BadBytes("points", 5, "three zero bytes", str(data[5:8].tolist()))
    if zero:
        raise BadBytes("points", 12, "0", f"{zero}")
    check_size("points", data, HEADER.size + POINT_BYTES * count, f"the header and {count} points")
    return _views(data, count)


def _views(data: NDArray[np.uint8], n: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    end = HEADER.size + 12 * n
    return data[HEADER.size : end].view("<f4").reshape(n, 3), data[end:].reshape(n, 3)


@kernel
def _encode(means: NDArray[np.float32], sh: NDArray[np.float32], xyz: NDArray[np.float32], rgb: NDArray[np.uint8]) -> bool:
    bad = np.int32(0)
    for i in range(means.size):
        xyz[i] = means[i]
        bad |= not_finite(means[i])
    for i in range(len(rgb)):
        for c in range(3):
            dc = sh[i, 0, c]
            bad |= not_finite(dc)
            value = (_HALF + dc * _C0) * _FULL
            value = value if value > _ZERO else _ZERO
            value = value if value < _FULL else _FULL
            rgb[i, c] = np.uint8(np.int32(value + _HALF))
    return bool(bad == 0)


@kernel
def _decode(
    xyz: NDArray[np.float32],
    rgb: NDArray[np.uint8],
    dc_of: NDArray[np.float32],
    means: NDArray[np.float32],
    dc: NDArray[np.float32],
) -> bool:
    bad = np.int32(0)
    for i in range(xyz.size):
        means[i] = xyz[i]
        bad = np.int32(bad | not_finite(xyz[i]))
    for i in range(rgb.size):
        dc[i] = dc_of[rgb[i]]
    return bool(bad == 0)
