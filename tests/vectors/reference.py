"""Slow decoders that share no code with ``deployments``: float64, one formula a line, from the layouts in the codecs' docstrings.

They say what the golden files hold; ``values.json`` is their output. For ``packed`` there is a slow encoder too, which stops
before rounding.
"""

import io
import struct

import numpy as np
from numpy.typing import NDArray
from plyfile import PlyData

from deployments.splats.gaussians import Gaussians

Fields = dict[str, NDArray[np.float64]]
C0 = 0.28209479177387814
PACKED_NUMBERS = ("red", "green", "blue", "opacity", "x", "y", "z", "u", "v", "scale x", "scale y", "scale z", "angle")
"""Columns of :func:`packed_numbers`, in the order of the layout."""


def read_ply(data: bytes, turned: bool = False) -> Fields:
    """A PLY through plyfile; ``turned``: back from the OpenGL frame."""
    vertex = PlyData.read(io.BytesIO(data))["vertex"]
    column = {p.name: np.asarray(vertex[p.name], np.float64) for p in vertex.properties}
    bands = sum(name.startswith("f_rest_") for name in column) // 3
    sh = [np.stack([column[f"f_dc_{c}"], *(column[f"f_rest_{c * bands + b}"] for b in range(bands))], axis=1) for c in range(3)]
    w, x, y, z = (column[f"rot_{i}"] for i in range(4))
    signs = np.array([1, -1, -1, 1, -1, 1, 1, -1, 1.0])[: bands + 1] if turned else np.ones(bands + 1)
    quats = np.stack([x, -w, z, -y] if turned else [w, x, y, z], axis=1)
    means = np.stack([column["x"], column["y"], column["z"]], axis=1)
    logits = column["opacity"]
    return {
        "means": means * ([1, -1, -1] if turned else 1),
        "scales": np.exp(np.stack([column[f"scale_{i}"] for i in range(3)], axis=1)),
        "quats": quats / np.linalg.norm(quats, axis=1, keepdims=True),
        # ±16.6355 and beyond stand for 0 and 1.
        "opacities": np.where(logits <= -16.6355, 0, np.where(logits >= 16.6355, 1, 1 / (1 + np.exp(-logits)))),
        "sh": np.stack(sh, axis=2) * signs[:, None],
    }


def read_packed(data: bytes) -> Fields:
    """SparkJS words behind our header."""
    magic, version, n, rgb_min, rgb_max, ln_min, ln_max, z_offset = struct.unpack_from("<4sB3xIfffff", data)
    assert (magic, version, len(data)) == (b"SPPK", 1, 32 + 16 * n)
    byte = np.frombuffer(data, np.uint8, offset=32).reshape(n, 16)
    p = byte[:, 10:12] / 255 * 2 - 1
    z = 1 - np.abs(p).sum(axis=1)
    p = np.where(z[:, None] < 0, (1 - np.abs(p[:, ::-1])) * np.where(p >= 0, 1, -1), p)
    axis = np.concatenate([p, z[:, None]], axis=1)
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    half = byte[:, 15:16] / 255 * np.pi / 2
    rgb = rgb_min + byte[:, :3] / 255 * (rgb_max - rgb_min)
    scales = np.exp(ln_min + (byte[:, 12:15] - 1.0) / 254 * (ln_max - ln_min))
    return {
        "means": np.ascontiguousarray(byte[:, 4:10]).view("<f2").astype(np.float64) + np.array([0, 0, z_offset]),
        "scales": np.where(byte[:, 12:15] == 0, 0, scales),
        "quats": np.concatenate([np.cos(half), axis * np.sin(half)], axis=1),
        "opacities": byte[:, 3] / 255,
        "sh": ((rgb - 0.5) / C0)[:, None, :],
    }


def read_points(data: bytes) -> Fields:
    """Centres and colours; everything else is the same for every point."""
    magic, version, n, zero = struct.unpack_from("<4sB3xII", data)
    assert (magic, version, zero, len(data)) == (b"SPPT", 1, 0, 16 + 15 * n)
    rgb = np.frombuffer(data, np.uint8, offset=16 + 12 * n).reshape(n, 3)
    return {
        "means": np.frombuffer(data, "<f4", 3 * n, 16).reshape(n, 3).astype(np.float64),
        "scales": np.full((n, 3), 0.001),
        "quats": np.tile([1.0, 0, 0, 0], (n, 1)),
        "opacities": np.full(n, 0.98),
        "sh": ((rgb / 255 - 0.5) / C0)[:, None, :],
    }


def read(name: str, data: bytes) -> Fields:
    """A golden file, by its name."""
    if name.endswith(".ply"):
        return read_ply(data, turned=".opengl." in name)
    return read_packed(data) if name.endswith(".packed") else read_points(data)


def half_index(halves: NDArray[np.float16]) -> NDArray[np.float64]:
    """Half floats → their place among all half floats: neighbours are 1 apart, and both zeros are 0."""
    size = (halves.view(np.uint16) & 0x7FFF).astype(np.float64)
    return np.where(np.signbit(halves), -size, size)


def packed_numbers(data: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The numbers of each splat of a ``packed`` buffer, in steps. [N, 13]."""
    byte = data[32:].reshape(-1, 16)
    centre = half_index(np.ascontiguousarray(byte[:, 4:10]).view("<f2"))
    return np.concatenate([byte[:, :4], centre, byte[:, 10:]], axis=1)


def exact_packed_numbers(g: Gaussians, ln_range: tuple[float, float]) -> NDArray[np.float64]:
    """What :func:`packed_numbers` would be without rounding, for positive scales and colours from 0 to 1. [N, 13]."""
    rgb = 255 * (0.5 + C0 * g.sh[:, 0].astype(np.float64))
    half = g.means.astype(np.float16)
    beside = np.nextafter(half, np.where(g.means > half, np.float16(np.inf), np.float16(-np.inf)))
    centre = half_index(half) + (g.means - half.astype(np.float64)) / np.abs(beside.astype(np.float64) - half)
    w, *axis = g.quats.T.astype(np.float64) * np.where(g.quats[:, 0] < 0, -1, 1)
    p = np.stack(axis[:2], axis=1) / np.abs(axis).sum(axis=0)[:, None]
    p = np.where(axis[2][:, None] < 0, (1 - np.abs(p[:, ::-1])) * np.where(p >= 0, 1, -1), p)
    scales = 1 + 254 * (np.log(g.scales.astype(np.float64)) - ln_range[0]) / (ln_range[1] - ln_range[0])
    angle = 255 / np.pi * 2 * np.arctan2(np.linalg.norm(axis, axis=0), w)
    opacity = 255 * g.opacities.astype(np.float64)
    return np.concatenate([rgb, opacity[:, None], centre, 255 * (p + 1) / 2, scales, angle[:, None]], axis=1)
