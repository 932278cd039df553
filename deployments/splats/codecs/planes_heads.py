"""The headers of the ``planes`` codec, as :mod:`deployments.splats.codecs.planes` states them: each number within its bounds."""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployments.splats.camera import Camera
from deployments.splats.codecs.view_heads import HUGE, LENS, MAX_PIXELS, TINY, check_range, read_lens
from deployments.splats.errors import BadBytes, Truncated

U8 = NDArray[np.uint8]

NAME, MAGIC, VERSION = "planes", b"SPLP", 1
HEADER, REST = struct.Struct("<4s2BHI"), struct.Struct("<4f6I")
VIEW = struct.Struct(LENS.format + "4f6I")
CRC_FROM = HEADER.size

MAX_VIEWS = 8
MAX_SIDE = 4096
"""Of a plane, pixels: every browser has canvases of that size."""
MAX_LN_SCALE = 20.0
"""Of a scale over its pixel's size, either way."""
MIN_LN_RANGE = 1e-3
MAX_OFFSET = 1e4
"""Pixels."""


@dataclass(frozen=True, slots=True)
class ViewHead:
    """What is stated of a view.

    Attributes:
        camera: Intrinsics of the planes' grid.
        pose: First camera to this one. float32 [3, 4].
        unit: Of inverse depth.
        ln_scale: Lowest and highest ln of a scale over its pixel's size.
        offset: Of byte 255, pixels.
        sizes: Bytes of depth, colour, front, side, opacity, offset.
    """

    camera: Camera
    pose: NDArray[np.float32]
    unit: float
    ln_scale: tuple[float, float]
    offset: float
    sizes: tuple[int, int, int, int, int, int]


def read_heads(data: U8) -> list[ViewHead]:
    """The header and the views' heads.

    Raises:
        BadBytes: A number out of its range, or two that don't fit together.
        Truncated: Fewer bytes than they have.
    """
    if len(data) < HEADER.size:
        raise Truncated(NAME, len(data), f"a header of {HEADER.size} bytes", f"{len(data)}")
    magic, version, views, zero, _ = HEADER.unpack(data[: HEADER.size].tobytes())
    if magic != MAGIC:
        raise BadBytes(NAME, 0, f"the magic {MAGIC!r}", f"{magic!r}")
    if version != VERSION:
        raise BadBytes(NAME, 4, f"version {VERSION}", f"{version}")
    check_range(NAME, 5, "number of views", views, 1, MAX_VIEWS)
    check_range(NAME, 6, "spare number", zero, 0, 0)
    size = HEADER.size + VIEW.size * views
    if len(data) < size:
        raise Truncated(NAME, len(data), f"headers of {size} bytes", f"{len(data)}")
    heads = [_read_view(data, HEADER.size + VIEW.size * index, is_first=index == 0) for index in range(views)]
    pixels = sum(head.camera.width * head.camera.height for head in heads)
    if pixels > MAX_PIXELS:
        raise BadBytes(NAME, HEADER.size, f"at most {MAX_PIXELS} pixels in all views", f"{pixels}")
    return heads


def _read_view(data: U8, at: int, is_first: bool) -> ViewHead:
    camera, pose = read_lens(NAME, data, at, is_first)
    if max(camera.width, camera.height) > MAX_SIDE:
        raise BadBytes(NAME, at, f"sides of up to {MAX_SIDE} pixels", f"{camera.width}×{camera.height}")
    at += LENS.size
    unit, low, high, offset, *sizes = REST.unpack(data[at : at + REST.size].tobytes())
    check_range(NAME, at, "unit", unit, TINY, HUGE)
    check_range(NAME, at + 4, "lowest ln of scales", low, -MAX_LN_SCALE, MAX_LN_SCALE)
    check_range(NAME, at + 8, "highest ln of scales", high, low + MIN_LN_RANGE, MAX_LN_SCALE)
    check_range(NAME, at + 12, "bound of offsets", offset, 0, MAX_OFFSET)
    for index, size in enumerate(sizes[:5]):
        check_range(NAME, at + 16 + 4 * index, "number of bytes", size, 1, 0xFFFFFFFF)
    if bool(sizes[5]) != (offset > 0):
        raise BadBytes(NAME, at + 36, "the bytes of offsets if they have a bound, else 0", f"{sizes[5]}")
    return ViewHead(camera, pose, unit, (low, high), offset, tuple(sizes))
