"""Layered depth: what a model that predicts depth returns (Shade et al. 1998, "Layered depth images").

Invariant: every layer of a view covers the view's whole field, at a resolution of its own; the first is the one that the camera
sees, those behind it fill what it hides. Inverse depth is 1/z in the view's own OpenCV frame (x right, y down, z forward), model
units; exactly 0 where a layer has no surface.
"""

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from deployments.splats.camera import Camera
from deployments.splats.kernel import kernel
from deployments.splats.lifting import scale_camera

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
Pixels = TypeVar("Pixels", U8, F32)

# Two inverse depths belong to one surface when they differ by less than this fraction: as generous as lifting is at 45°.
_SAME_SURFACE = 0.05


_REACH_CELLS = 1.5
"""How far a splat behind the front is seen from its centre."""
_STEEPEST = 0.5
"""By which share of itself the distance from the camera grows with the tangent of the angle, near a wide picture's border."""


@dataclass(frozen=True, slots=True)
class DepthLayer:
    """One surface a pixel.

    Attributes:
        inverse_depth: 1/z, 1/model units; 0 where there is no surface. float32 [H, W].
        colors: sRGB of the same pixels; None: the view's picture, resized to the layer where it is smaller. uint8 [H, W, 3].
        opacity: 0: hidden, 255: as opaque as splats are; None: 255 everywhere. uint8 [H, W].
        crisp: No pixel lies between two surfaces; lifting then looks for none. See
            :func:`deployments.splats.lifting.resolve_edges`.

    Raises:
        ValueError: If a shape or dtype differs from the above, or the layer has no pixel.
    """

    inverse_depth: F32
    colors: U8 | None = None
    opacity: U8 | None = None
    crisp: bool = False

    def __post_init__(self) -> None:
        if self.inverse_depth.ndim != 2 or self.inverse_depth.size == 0:
            raise ValueError(f"inverse_depth: expected float32 [H, W] with a pixel, got shape {self.inverse_depth.shape}")
        shape = self.inverse_depth.shape
        _check("inverse_depth", self.inverse_depth, shape, np.float32)
        if self.colors is not None:
            _check("colors", self.colors, (*shape, 3), np.uint8)
        if self.opacity is not None:
            _check("opacity", self.opacity, shape, np.uint8)

    @property
    def width(self) -> int:
        """Pixels across."""
        return int(self.inverse_depth.shape[1])

    @property
    def height(self) -> int:
        """Pixels down."""
        return int(self.inverse_depth.shape[0])


@dataclass(frozen=True, slots=True)
class DepthView:
    """The layers that one camera looks through.

    Attributes:
        camera: Intrinsics, in pixels of the front layer.
        layers: Front first.
        picture: sRGB of the front layer's pixels. uint8 [H, W, 3].
        pose: Rotation and translation from the first view's camera frame to this one's, model units; None: they are the same.
            float32 [3, 4].

    Raises:
        ValueError: If there is no layer, or the sizes of camera, front layer and picture differ.
    """

    camera: Camera
    layers: tuple[DepthLayer, ...]
    picture: U8
    pose: F32 | None = None

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("layers: expected one or more, got none")
        front = self.layers[0]
        if (self.camera.width, self.camera.height) != (front.width, front.height):
            raise ValueError(
                f"camera: expected the front layer's {front.width}×{front.height} pixels,"
                f" got {self.camera.width}×{self.camera.height}"
            )
        _check("picture", self.picture, (front.height, front.width, 3), np.uint8)
        if self.pose is not None:
            _check("pose", self.pose, (3, 4), np.float32)


@dataclass(frozen=True, slots=True)
class LayeredDepth:
    """One frame.

    Attributes:
        views: The first one's camera frame is the frame's.
        scale: What the model's own depth was multiplied by to stay calm over time; 1: it is as it came.

    Raises:
        ValueError: If there is no view, the first has a pose, or the scale is not above 0 and finite.
    """

    views: tuple[DepthView, ...]
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.views:
            raise ValueError("views: expected one or more, got none")
        if self.views[0].pose is not None:
            raise ValueError("views: expected no pose for the first, whose camera is the frame's origin")
        if not 0 < self.scale < math.inf:
            raise ValueError(f"scale: expected a number above 0, got {self.scale}")

    @property
    def layer_count(self) -> int:
        """Of all views."""
        return sum(len(view.layers) for view in self.views)

    @property
    def pixels(self) -> int:
        """Of all layers: as many Gaussians as lifting can make."""
        return sum(layer.inverse_depth.size for view in self.views for layer in view.layers)


def settle_behind(layered: LayeredDepth, border: float) -> LayeredDepth:
    """The frame with layers behind the front that end before the front does, and lie so far behind it that none of them covers it.

    Their splats are several pixels wide: those at the border would hang out from behind the picture's edge. And viewers draw by the
    distance of centres: one that is little behind its own pixels is before those a few pixels farther out.

    Args:
        layered: A frame.
        border: What is cut off each side of the picture, as a share of it, 0..0.45.
    """
    return replace(layered, views=tuple(_settle_view(view, border) for view in layered.views))


def _settle_view(view: DepthView, border: float) -> DepthView:
    if len(view.layers) == 1:
        return view
    return replace(view, layers=(view.layers[0], *(_settle(layer, view.camera, border) for layer in view.layers[1:])))


def _settle(layer: DepthLayer, camera: Camera, border: float) -> DepthLayer:
    # The centre of the first cell that is left is so many cells within the border.
    first_u, first_v = (math.ceil(border * side + _REACH_CELLS - 0.5) for side in (layer.width, layer.height))
    focal_cells = camera.fx * layer.width / camera.width
    inverse = np.zeros_like(layer.inverse_depth)
    inner = np.s_[first_v : layer.height - first_v, first_u : layer.width - first_u]
    inverse[inner] = layer.inverse_depth[inner] / np.float32(1 + _STEEPEST * _REACH_CELLS / focal_cells)
    return replace(layer, inverse_depth=inverse)


def resize_layers(layered: LayeredDepth, width: int, height: int) -> LayeredDepth:
    """The frame on smaller grids, without a depth that lies between two surfaces.

    Inverse depth and opacity of a cell are the means over those of its pixels that belong to the surface in its middle; colours
    are the means over the whole cell.

    Args:
        layered: A frame.
        width, height: Size of the first view's front layer afterwards, pixels; every other layer shrinks by as much.

    Returns:
        The frame itself if it has that size.

    Raises:
        ValueError: If a side is below 1 or above what it is.
    """
    camera = layered.views[0].camera
    if not (1 <= width <= camera.width and 1 <= height <= camera.height):
        raise ValueError(f"resize_layers: expected 1×1 to {camera.width}×{camera.height}, got {width}×{height}")
    if (width, height) == (camera.width, camera.height):
        return layered
    across, down = width / camera.width, height / camera.height
    return replace(layered, views=tuple(_resize_view(view, across, down) for view in layered.views))


def count_surfaces(layered: LayeredDepth, border: float = 0.0) -> int:
    """Pixels of all layers that have a surface and do not lie in the border that is cut: about as many splats as are drawn."""
    total = 0
    for view in layered.views:
        for layer in view.layers:
            y, x = round(border * layer.height), round(border * layer.width)
            total += int(np.count_nonzero(layer.inverse_depth[y : layer.height - y, x : layer.width - x] > 0))
    return total


def resize_picture(picture: U8, width: int, height: int) -> U8:
    """A picture on a grid no larger than it: each cell is the mean of the pixels it covers. uint8 [height, width, 3]."""
    out = np.empty((height, width, 3), np.uint8)
    _mean_colours(np.ascontiguousarray(picture), out)
    return out


def upright(picture: Pixels, orientation: int) -> Pixels:
    """A picture without its EXIF orientation: 5 to 8 are stored sideways, the others mirrored or upside down. [H, W, …]."""
    if orientation >= 5:
        picture = picture.swapaxes(0, 1)
    flip_y, flip_x = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(picture[:: -1 if flip_y else 1, :: -1 if flip_x else 1])


def _resize_view(view: DepthView, across: float, down: float) -> DepthView:
    layers = tuple(_resize_layer(layer, across, down) for layer in view.layers)
    width, height = layers[0].width, layers[0].height
    picture = resize_picture(view.picture, width, height)
    return DepthView(scale_camera(view.camera, width, height), layers, picture, view.pose)


def _resize_layer(layer: DepthLayer, across: float, down: float) -> DepthLayer:
    width, height = max(1, round(layer.width * across)), max(1, round(layer.height * down))
    inverse = np.empty((height, width), np.float32)
    opacity = np.empty((height, width), np.uint8)
    source = layer.opacity if layer.opacity is not None else np.full((1, 1), 255, np.uint8)
    _mean_surface(
        np.ascontiguousarray(layer.inverse_depth), np.ascontiguousarray(source), np.float32(_SAME_SURFACE), inverse, opacity
    )
    colors = None if layer.colors is None else resize_picture(layer.colors, width, height)
    return DepthLayer(inverse, colors, None if layer.opacity is None else opacity, layer.crisp)


@kernel
def _mean_surface(w: F32, alpha: U8, same: np.float32, out: F32, alpha_out: U8) -> None:
    """Means over the pixels of each cell that belong to the surface in its middle. ``alpha`` of 1×1 stands for all pixels."""
    height, width = w.shape
    rows, columns = out.shape
    fixed = alpha.size == 1
    for i in range(rows):
        y0, y1 = i * height / rows, (i + 1) * height / rows
        top, bottom = int(y0), min(math.ceil(y1), height)
        for j in range(columns):
            x0, x1 = j * width / columns, (j + 1) * width / columns
            left, right = int(x0), min(math.ceil(x1), width)
            middle = w[(2 * i + 1) * height // (2 * rows), (2 * j + 1) * width // (2 * columns)]
            if not middle > np.float32(0.0):
                out[i, j] = np.float32(0.0)
                alpha_out[i, j] = np.uint8(0)
                continue
            total, opacity, area = 0.0, 0.0, 0.0
            for v in range(top, bottom):
                part = min(v + 1, y1) - max(v, y0)
                for u in range(left, right):
                    here = w[v, u]
                    if abs(here - middle) <= same * min(here, middle):
                        weight = part * (min(u + 1, x1) - max(u, x0))
                        total += weight * here
                        opacity += weight * (alpha[0, 0] if fixed else alpha[v, u])
                        area += weight
            out[i, j] = np.float32(total / area)
            alpha_out[i, j] = np.uint8(opacity / area + 0.5)


@kernel
def _mean_colours(picture: U8, out: U8) -> None:
    """Area means: a pixel that a cell covers in part counts by its part."""
    height, width = picture.shape[0], picture.shape[1]
    rows, columns = out.shape[0], out.shape[1]
    for i in range(rows):
        y0, y1 = i * height / rows, (i + 1) * height / rows
        top, bottom = int(y0), min(math.ceil(y1), height)
        for j in range(columns):
            x0, x1 = j * width / columns, (j + 1) * width / columns
            left, right = int(x0), min(math.ceil(x1), width)
            red, green, blue, area = 0.0, 0.0, 0.0, 0.0
            for v in range(top, bottom):
                part = min(v + 1, y1) - max(v, y0)
                for u in range(left, right):
                    weight = part * (min(u + 1, x1) - max(u, x0))
                    red += weight * picture[v, u, 0]
                    green += weight * picture[v, u, 1]
                    blue += weight * picture[v, u, 2]
                    area += weight
            out[i, j, 0] = np.uint8(red / area + 0.5)
            out[i, j, 1] = np.uint8(green / area + 0.5)
            out[i, j, 2] = np.uint8(blue / area + 0.5)


def _check(name: str, array: NDArray[np.generic], shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{name}: expected {np.dtype(dtype).name} {shape}, got {array.dtype} {array.shape}")
