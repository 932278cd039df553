"""The headers of the ``depth`` codec, whose layout :mod:`deployments.splats.codecs.depth` states: each number within its bounds.

Everything that comes from outside is checked here, sizes above all, before a byte is taken for a plane.
"""

import functools
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployments.splats.camera import Camera
from deployments.splats.codecs.view_heads import HUGE, LENS, TINY, check_pixels, check_range, read_lens
from deployments.splats.errors import BadBytes, Truncated
from deployments.splats.layer_lifting import Kind

U8 = NDArray[np.uint8]

NAME, MAGIC, VERSION = "depth", b"SPLD", 1
HEADER, VIEW, LAYER = struct.Struct("<4s4BI4f"), struct.Struct(LENS.format + "4BI"), struct.Struct("<2HfI2BH2I")
REST = struct.Struct("<4BI")
"""Of a view, after its lens."""

MEDIA_TYPE, SUFFIX = "application/vnd.splatcast.depth", ".spld"

MAX_VIEWS = MAX_LAYERS = 8

KINDS: tuple[Kind, ...] = ("lifted", "points")
"""In the order of their numbers."""

PICTURE, RGB, JPEG = 0, 1, 2
"""Where a layer's colours come from."""

_check_range = functools.partial(check_range, NAME)


@dataclass(frozen=True, slots=True)
class ViewHead:
    """What is stated of a view.

    Attributes:
        camera: Intrinsics of its front layer.
        pose: First camera to this one. float32 [3, 4].
        layers: How many.
        has_jpeg, orientation, jpeg: Whether its picture is here, how that is turned, and its bytes.
    """

    camera: Camera
    pose: NDArray[np.float32]
    layers: int
    has_jpeg: bool
    orientation: int
    jpeg: int


@dataclass(frozen=True, slots=True)
class LayerHead:
    """What is stated of a layer.

    Attributes:
        width, height: Pixels.
        unit: Of inverse depth.
        levels: The highest of opacity; 0: opaque.
        coloured: ``PICTURE``, ``RGB`` or ``JPEG``.
        depth, opacity, colors: Bytes of its sections.
    """

    width: int
    height: int
    unit: float
    levels: int
    coloured: int
    depth: int
    opacity: int
    colors: int


def read_settings(data: U8) -> tuple[Kind, tuple[int, int], tuple[float, float, float, float]]:
    """The first header.

    Returns:
        The kind; how many views and layers; scale, border, min_opacity and farthest.

    Raises:
        BadBytes: A number out of its range.
        Truncated: Fewer bytes than a header has.
    """
    if len(data) < HEADER.size:
        raise Truncated(NAME, len(data), f"a header of {HEADER.size} bytes", f"{len(data)}")
    magic, version, kind, views, layers, _, *settings = HEADER.unpack(data[: HEADER.size].tobytes())
    if magic != MAGIC:
        raise BadBytes(NAME, 0, f"the magic {MAGIC!r}", f"{magic!r}")
    if version != VERSION:
        raise BadBytes(NAME, 4, f"version {VERSION}", f"{version}")
    _check_range(5, "kind", kind, 0, 1)
    _check_range(6, "number of views", views, 1, MAX_VIEWS)
    _check_range(7, "number of layers", layers, views, MAX_LAYERS)
    scale, border, min_opacity, farthest = settings
    _check_range(12, "scale", scale, TINY, HUGE)
    _check_range(16, "border", border, 0, float(np.float32(0.45)))
    _check_range(20, "min_opacity", min_opacity, 0, 1)
    _check_range(24, "farthest", farthest, 0, HUGE)
    return KINDS[kind], (views, layers), (scale, border, min_opacity, farthest)


def read_heads(data: U8, counts: tuple[int, int]) -> tuple[list[ViewHead], list[LayerHead]]:
    """The headers of ``counts`` views and layers.

    Raises:
        BadBytes: A number out of its range, or two that don't fit together.
        Truncated: Fewer bytes than they have.
    """
    views, layers = counts
    size = HEADER.size + VIEW.size * views + LAYER.size * layers
    if len(data) < size:
        raise Truncated(NAME, len(data), f"headers of {size} bytes", f"{len(data)}")
    view_heads = [_read_view(data, HEADER.size + VIEW.size * index, index) for index in range(views)]
    if sum(head.layers for head in view_heads) != layers:
        raise BadBytes(NAME, 7, f"the views' {sum(head.layers for head in view_heads)} layers", f"{layers}")
    fronts = {sum(head.layers for head in view_heads[:i]): head.camera for i, head in enumerate(view_heads)}
    layer_heads: list[LayerHead] = []
    for index in range(layers):
        at = HEADER.size + VIEW.size * views + LAYER.size * index
        head = _read_layer(data, at)
        front = fronts.get(index)
        if front is not None and (front.width, front.height) != (head.width, head.height):
            raise BadBytes(NAME, at, f"the view's {front.width}×{front.height}", f"{head.width}×{head.height}")
        layer_heads.append(head)
    return view_heads, layer_heads


def _read_view(data: U8, at: int, index: int) -> ViewHead:
    camera, pose = read_lens(NAME, data, at, is_first=index == 0)
    layers, has_jpeg, orientation, zero, jpeg = REST.unpack(data[at + LENS.size : at + VIEW.size].tobytes())
    _check_range(at + 68, "number of layers", layers, 1, MAX_LAYERS)
    _check_range(at + 69, "picture", has_jpeg, 0, 1)
    _check_range(at + 70, "orientation", orientation, 1, 8)
    _check_range(at + 71, "spare byte", zero, 0, 0)
    if bool(jpeg) != bool(has_jpeg):
        raise BadBytes(NAME, at + 72, "the bytes of a JPEG if there is one, else 0", f"{jpeg}")
    return ViewHead(camera, pose, layers, bool(has_jpeg), orientation, jpeg)


def _read_layer(data: U8, at: int) -> LayerHead:
    width, height, unit, depth, levels, coloured, zero, opacity, colors = LAYER.unpack(data[at : at + LAYER.size].tobytes())
    check_pixels(NAME, at, width, height)
    _check_range(at + 4, "unit", unit, TINY, HUGE)
    _check_range(at + 13, "colours", coloured, 0, 2)
    _check_range(at + 14, "spare number", zero, 0, 0)
    if bool(levels) != bool(opacity):
        raise BadBytes(NAME, at + 16, "the bytes of an opacity plane if there is one, else 0", f"{opacity}")
    expected = {PICTURE: 0, RGB: 3 * width * height}.get(coloured, colors or -1)
    if colors != expected:
        raise BadBytes(NAME, at + 20, "the bytes of the layer's colours", f"{colors}")
    return LayerHead(width, height, unit, levels, coloured, depth, opacity, colors)
