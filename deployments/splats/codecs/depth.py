"""The ``depth`` codec: layered depth, which the viewer lifts to splats itself. Tens of kilobytes; every frame stands alone.

Little-endian. A header of 28 bytes:

======  =======  ==============================================================================================
offset  type     meaning
======  =======  ==============================================================================================
0       4 bytes  ``SPLD``
4       u8       version, 1
5       u8       kind: 0 lifted, 1 points
6       u8       views, 1..8
7       u8       layers of all views, 1..8
8       u32      CRC-32 (zlib's) of all bytes after it
12      f32      scale: what the model's depth was multiplied by to stay calm over time; above 0
16      f32      border: fraction of each layer that is cut on each side, 0..0.45
20      f32      min_opacity: fainter splats are left out, 0..1
24      f32      farthest: smallest 1/z kept, in the first camera's frame; 0: all are
======  =======  ==============================================================================================

then 76 bytes for each view:

======  =======  ==============================================================================================
0       u16 × 2  width, height of the front layer, pixels, 1 or more
4       f32 × 4  fx, fy, cx, cy, pixels; fx and fy above 0
20      f32      pose, row by row: first camera to this one, [3, 4]; the first view's is the identity
68      u8       layers of this view, 1..8, front first
69      u8       picture: 0 the viewer's own (it sent the frame of this sequence number), 1 a JPEG
70      u8       EXIF orientation of that JPEG, 1..8; 1 is upright
71      u8       0
72      u32      bytes of the JPEG; 0 without
======  =======  ==============================================================================================

then 24 bytes for each layer, view after view:

======  =======  ==============================================================================================
0       u16 × 2  width, height, pixels, 1 or more; their product is at most 2²⁰
4       f32      unit: inverse depth is a whole number of units, at most 2²² − 1; above 0
8       u32      bytes of the depth plane
12      u8       opacity: 0: the layer is opaque; else the highest level L, and opacity is round(255 · level / L)
13      u8       colours: 0 the view's picture, 1 RGB, 3 bytes a pixel, 2 a JPEG
14      u16      0
16      u32      bytes of the opacity plane; 0 without
20      u32      bytes of the colours; 0 without
======  =======  ==============================================================================================

then, view after view, the picture's JPEG and each layer's depth plane, opacity plane and colours. Planes:
:mod:`deployments.splats.codecs.depth_map`.

Edges are resolved before coding, as lifting does it (:func:`deployments.splats.lifting.resolve_edges`): a pixel that a network
blurred between two surfaces joins one of them or has none. A step costs a tenth less than a ramp, no rounding can turn it over,
and whoever decodes lifts what comes as it is.

Error: inverse depth is then off by at most half a step (15 units) at every pixel, and layers behind the front have units four times
as large; where there is no surface it is exactly 0.
Opacity is off by at most 255/(2·L), and exact at 0 and 255. Cameras and poses are float32.
"""

import math
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deployments.splats.camera import Camera
from deployments.splats.codecs import depth_map
from deployments.splats.codecs.depth_heads import (
    HEADER,
    JPEG,
    KINDS,
    LAYER,
    MAGIC,
    MAX_LAYERS,
    MAX_VIEWS,
    NAME,
    PICTURE,
    REST,
    RGB,
    VERSION,
    VIEW,
    LayerHead,
    read_heads,
    read_settings,
)
from deployments.splats.codecs.view_heads import MAX_PIXELS, pack_lens
from deployments.splats.errors import BadBytes, Buffer, as_bytes, check_size
from deployments.splats.gaussians import Gaussians
from deployments.splats.layer_lifting import Kind, lift_and_prune
from deployments.splats.layers import DepthLayer, DepthView, LayeredDepth
from deployments.splats.lifting import LARGEST, SMALLEST, resolve_edges, scale_camera

U8 = NDArray[np.uint8]

MIN_STEP, MAX_STEP = 1 / 4096, 1 / 16
OPACITY_LEVELS = 17
"""Steps of 15/255: a fade of a few pixels needs no more."""
BEHIND_STEP = 4.0
"""How much coarser the step of layers behind the front is: what they show is guessed, smooth, and seen in part."""

_CRC_FROM = 12


@dataclass(frozen=True, slots=True)
class Jpeg:
    """A picture as the camera coded it.

    Attributes:
        data: The file; whatever it says of place and person should be out of it.
        orientation: EXIF's, 1..8: how it is turned and mirrored before it lies on the grid.
    """

    data: bytes
    orientation: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.orientation <= 8:
            raise ValueError(f"orientation: expected 1 to 8, got {self.orientation}")


def without_pictures(data: U8) -> U8:
    """The same frame for whoever has the pictures: without the views' JPEGs. Bytes of :func:`encode_depth`, uint8 [size].

    Raises:
        CodecError: They are not.
    """
    _, counts, _ = read_settings(data)
    views, layers = read_heads(data, counts)
    heads = bytearray(data[: HEADER.size + VIEW.size * len(views) + LAYER.size * len(layers)])
    at, of_layers, parts = len(heads), iter(layers), []
    for index, view in enumerate(views):
        rest = HEADER.size + VIEW.size * index + VIEW.size - REST.size
        REST.pack_into(heads, rest, view.layers, 0, 1, 0, 0)
        own = sum(head.depth + head.opacity + head.colors for head in (next(of_layers) for _ in range(view.layers)))
        parts.append(data[at + view.jpeg : at + view.jpeg + own].tobytes())
        at += view.jpeg + own
    body = b"".join((heads[_CRC_FROM:], *parts))
    heads[_CRC_FROM - 4 : _CRC_FROM] = struct.pack("<I", zlib.crc32(body))
    return np.frombuffer(heads[:_CRC_FROM] + body, np.uint8)


@dataclass(frozen=True, slots=True)
class CodedLayer:
    """One layer as the bytes have it.

    Attributes:
        inverse_depth: float32 [H, W].
        opacity: uint8 [H, W]; None: opaque.
        colors: RGB, uint8 [H, W, 3], or a JPEG of that size; None: the view's picture.
    """

    inverse_depth: NDArray[np.float32]
    opacity: U8 | None
    colors: U8 | Jpeg | None


@dataclass(frozen=True, slots=True)
class CodedView:
    """One view as the bytes have it.

    Attributes:
        camera: Intrinsics of the front layer.
        layers: Front first.
        picture: The camera's JPEG; None: whoever asked has the picture already.
        pose: First camera to this one, float32 [3, 4]; None for the first view.
    """

    camera: Camera
    layers: tuple[CodedLayer, ...]
    picture: Jpeg | None
    pose: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class CodedDepth:
    """A frame as the bytes have it.

    Attributes:
        views: In their order.
        kind: What it is to be lifted to.
        scale: Of :class:`~deployments.splats.layers.LayeredDepth`.
        border, min_opacity: What is to be pruned; see :func:`deployments.splats.pruning.prune`.
        farthest: Smallest 1/z kept; 0: all are.
    """

    views: tuple[CodedView, ...]
    kind: Kind
    scale: float
    border: float
    min_opacity: float
    farthest: float

    @property
    def max_depth(self) -> float:
        """z of the farthest splat kept, model units; infinite if all are. As float32 has it, in every decoder."""
        return float(np.float32(1) / np.float32(self.farthest)) if self.farthest > 0 else math.inf


def encode_depth(
    layered: LayeredDepth,
    *,
    step: float,
    kind: Kind = "lifted",
    colour: Sequence[Jpeg] | None = None,
    border: float = 0.0,
    min_opacity: float = 0.0,
    depth_percentile: float = 100.0,
    farthest: float | None = None,
    encode_jpeg: Callable[[U8], bytes] | None = None,
) -> U8:
    """A frame as bytes.

    Args:
        layered: The frame. Pictures of its views don't travel.
        step: Quantisation step of inverse depth, as a share of the median of the first front layer: 1/4096 to 1/16.
        kind: What the viewer lifts it to.
        colour: One JPEG a view; None: the viewer has the pictures.
        border, min_opacity, depth_percentile: What the viewer prunes, as :func:`deployments.splats.pruning.prune` does.
        farthest: Smallest 1/z kept, 0: all are; in place of what follows from the percentile.
        encode_jpeg: Codes the colours that layers have of their own, uint8 [H, W, 3]; None: they travel as RGB.

    Returns:
        Fresh, contiguous, uint8 [size].

    Raises:
        ValueError: If an argument or the frame's size is out of its range.
    """
    _check_arguments(layered, step, border, min_opacity, depth_percentile)
    if colour is not None and len(colour) != len(layered.views):
        raise ValueError(f"colour: expected {len(layered.views)} JPEGs, got {len(colour)}")
    unit = step * median_inverse(layered.views[0].layers[0].inverse_depth) / depth_map.UNITS_PER_STEP
    if farthest is None:
        farthest = _farthest(layered, border, min_opacity, depth_percentile)
    view_heads, layer_heads, sections = [], [], []
    for index, view in enumerate(layered.views):
        jpeg = None if colour is None else colour[index]
        view_heads.append(_view_head(view, jpeg))
        sections.append(jpeg.data if jpeg else b"")
        for number, layer in enumerate(view.layers):
            lens, coarser = scale_camera(view.camera, layer.width, layer.height), BEHIND_STEP if number else 1.0
            if number:
                # By as much as both may be off once they are rounded: it must never come before the front.
                layer = _farther(layer, unit * (coarser + 1) * depth_map.UNITS_PER_STEP / 2)
            head, parts = _encode_layer(layer, lens, unit * coarser, encode_jpeg)
            layer_heads.append(head)
            sections += parts
    body = b"".join([*view_heads, *layer_heads, *sections])
    settings = struct.pack("<4f", layered.scale, border, min_opacity, farthest)
    counts = (VERSION, KINDS.index(kind), len(layered.views), layered.layer_count)
    start = struct.pack("<4s4BI", MAGIC, *counts, zlib.crc32(body, zlib.crc32(settings)))
    return np.frombuffer(bytearray(start + settings + body), np.uint8)


def decode_depth(buffer: Buffer) -> CodedDepth:
    """The frame in ``buffer``.

    Raises:
        BadBytes: Another magic or version, a number out of its range, a checksum or a plane that does not fit, trailing bytes.
        Truncated: Fewer bytes than the headers announce.
    """
    data = as_bytes(NAME, buffer)
    kind, counts, settings = read_settings(data)
    view_heads, layer_heads = read_heads(data, counts)
    at = HEADER.size + VIEW.size * len(view_heads) + LAYER.size * len(layer_heads)
    sizes = sum(head.jpeg for head in view_heads) + sum(h.depth + h.opacity + h.colors for h in layer_heads)
    check_size(NAME, data, at + sizes, f"the headers and sections of {sizes}")
    crc, stated = zlib.crc32(data[_CRC_FROM:].data), int.from_bytes(data[8:12].tobytes(), "little")
    if crc != stated:
        raise BadBytes(NAME, 8, f"the checksum {crc:08x}", f"{stated:08x}")
    views: list[CodedView] = []
    used = 0
    for head in view_heads:
        picture = Jpeg(data[at : at + head.jpeg].tobytes(), head.orientation) if head.has_jpeg else None
        at += head.jpeg
        layers = []
        for layer in layer_heads[used : used + head.layers]:
            layers.append(_decode_layer(data, at, layer))
            at += layer.depth + layer.opacity + layer.colors
        used += head.layers
        views.append(CodedView(head.camera, tuple(layers), picture, head.pose if views else None))
    scale, border, min_opacity, farthest = settings
    return CodedDepth(tuple(views), kind, scale, border, min_opacity, farthest)


def layers_of(coded: CodedDepth, pictures: Sequence[U8], read_jpeg: Callable[[bytes], U8] | None = None) -> LayeredDepth:
    """A decoded frame with its pictures, as a model would return it.

    Args:
        coded: From ``decode_depth``.
        pictures: Each view's picture on its front layer's grid, upright, sRGB. uint8 [H, W, 3] each.
        read_jpeg: Decodes the colours that layers have as JPEGs; needed only where one has. Bytes → uint8 [H, W, 3].

    Raises:
        ValueError: If a picture's size is not its grid's, or ``read_jpeg`` is missing.
    """

    def colors_of(layer: CodedLayer) -> U8 | None:
        if not isinstance(layer.colors, Jpeg):
            return layer.colors
        if read_jpeg is None:
            raise ValueError("read_jpeg: expected a decoder, as a layer has its colours as a JPEG")
        return read_jpeg(layer.colors.data)

    views = tuple(
        DepthView(
            view.camera,
            tuple(DepthLayer(layer.inverse_depth, colors_of(layer), layer.opacity, crisp=True) for layer in view.layers),
            picture,
            view.pose,
        )
        for view, picture in zip(coded.views, pictures, strict=True)
    )
    return LayeredDepth(views, coded.scale)


def lift_decoded(
    coded: CodedDepth, pictures: Sequence[U8], read_jpeg: Callable[[bytes], U8] | None = None
) -> tuple[Gaussians, dict[str, int]]:
    """The Gaussians that a viewer makes of a decoded frame; parameters and errors are those of :func:`layers_of`.

    Returns:
        The Gaussians, pruned as the frame says, and reason → number removed.
    """
    return lift_and_prune(
        layers_of(coded, pictures, read_jpeg),
        coded.kind,
        min_opacity=coded.min_opacity,
        border=coded.border,
        max_depth=coded.max_depth,
    )


def warm_up() -> None:
    """Compile the kernels, or load them from the cache."""
    layer = DepthLayer(np.array([[0.0, 1.0], [0.5, 0.25]], np.float32), None, np.full((2, 2), 255, np.uint8))
    picture = np.zeros((2, 2, 3), np.uint8)
    view = DepthView(Camera(2, 2, 2.0, 2.0, 1.0, 1.0), (layer, replace(layer, colors=picture)), picture)
    lift_decoded(decode_depth(encode_depth(LayeredDepth((view,)), step=1 / 256)), [picture])


def _check_arguments(layered: LayeredDepth, step: float, border: float, min_opacity: float, depth_percentile: float) -> None:
    if len(layered.views) > MAX_VIEWS or layered.layer_count > MAX_LAYERS:
        raise ValueError(f"depth: expected up to {MAX_LAYERS} layers, got {layered.layer_count} in {len(layered.views)} views")
    for view in layered.views:
        for layer in view.layers:
            if layer.inverse_depth.size > MAX_PIXELS or max(layer.width, layer.height) > 0xFFFF:
                raise ValueError(f"depth: expected a layer of up to {MAX_PIXELS} pixels, got {layer.width}×{layer.height}")
    for name, value, low, high in (
        ("step", step, MIN_STEP, MAX_STEP),
        ("border", border, 0.0, 0.45),
        ("min_opacity", min_opacity, 0.0, 1.0),
        ("depth_percentile", depth_percentile, 1.0, 100.0),
    ):
        if not low <= value <= high:
            raise ValueError(f"{name}: expected {low:g} to {high:g}, got {value}")


def median_inverse(inverse: NDArray[np.float32]) -> float:
    """Of the surfaces; of every 16th pixel or so, which is as good and 16 times as fast. 1 if there is no surface."""
    stride = 4 if min(inverse.shape) >= 64 else 1
    some = inverse[stride // 2 :: stride, stride // 2 :: stride]
    known = some[(some > SMALLEST) & (some < LARGEST)]
    return float(np.median(known)) if known.size else 1.0


def _farthest(layered: LayeredDepth, border: float, min_opacity: float, depth_percentile: float) -> float:
    """The smallest inverse depth within the percentile of what else is left, in the first camera's frame; 0: no limit."""
    if depth_percentile >= 100:
        return 0.0
    kept, _ = lift_and_prune(layered, "points", border=border, min_opacity=min_opacity, depth_percentile=depth_percentile)
    return float(np.float32(1) / kept.means[:, 2].max()) if len(kept) and kept.means[:, 2].max() > 0 else 0.0


def _view_head(view: DepthView, jpeg: Jpeg | None) -> bytes:
    source = (0, 1, 0, 0) if jpeg is None else (1, jpeg.orientation, 0, len(jpeg.data))
    return pack_lens(view.camera, view.pose) + REST.pack(len(view.layers), *source)


def _farther(layer: DepthLayer, by: float) -> DepthLayer:
    """The layer with so much less inverse depth; what was a surface stays one."""
    inverse = layer.inverse_depth
    least = np.minimum(inverse, np.float32(by))
    return replace(layer, inverse_depth=np.where(inverse > 0, np.maximum(inverse - np.float32(by), least), np.float32(0)))


def _encode_layer(
    layer: DepthLayer, camera: Camera, unit: float, encode_jpeg: Callable[[U8], bytes] | None
) -> tuple[bytes, tuple[bytes, bytes, bytes]]:
    inverse = layer.inverse_depth if layer.crisp else resolve_edges(layer.inverse_depth, camera)
    # A depth far nearer than the median would not fit at this step: the layer gets a coarser one.
    nearest = float(np.max(inverse, where=inverse < LARGEST, initial=0.0))
    unit = float(np.float32(max(unit, nearest / (depth_map.MAX_UNITS - 1), float(np.finfo(np.float32).tiny))))
    depth = depth_map.encode_plane(depth_map.quantise(inverse, unit), depth_map.DEPTH)[0].tobytes()
    levels, opacity = 0, b""
    if layer.opacity is not None:
        levels = OPACITY_LEVELS
        steps = (layer.opacity.astype(np.int32) * levels + 127) // 255
        opacity = depth_map.encode_plane(steps, depth_map.levels(levels))[0].tobytes()
    coloured, colors = PICTURE, b""
    if layer.colors is not None:
        coloured = RGB if encode_jpeg is None else JPEG
        colors = layer.colors.tobytes() if encode_jpeg is None else encode_jpeg(layer.colors)
    head = LAYER.pack(layer.width, layer.height, unit, len(depth), levels, coloured, 0, len(opacity), len(colors))
    return head, (depth, opacity, colors)


def _decode_layer(data: U8, at: int, head: LayerHead) -> CodedLayer:
    size = (head.width, head.height)
    units = depth_map.decode_plane(NAME, data, at, head.depth, *size, depth_map.DEPTH)
    at += head.depth
    opacity = None
    if head.levels:
        steps = depth_map.decode_plane(NAME, data, at, head.opacity, *size, depth_map.levels(head.levels))
        opacity = ((2 * 255 * steps + head.levels) // (2 * head.levels)).astype(np.uint8)
    section = data[at + head.opacity : at + head.opacity + head.colors]
    colors: U8 | Jpeg | None = None
    if head.coloured == RGB:
        colors = section.reshape(head.height, head.width, 3).copy()
    elif head.coloured == JPEG:
        colors = Jpeg(section.tobytes())
    return CodedLayer(units.astype(np.float32) * np.float32(head.unit), opacity, colors)
