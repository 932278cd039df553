"""Layered depth to one frame of Gaussians: every layer is lifted in its own camera, then moved to the first view's frame.

Pruning by place on the grid and by opacity goes layer by layer, so that the border of a layer is its own and not what the first
camera sees of it; by depth and by number it goes over the whole frame.
"""

import functools
import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deployments.splats import lifting
from deployments.splats.gaussians import Gaussians
from deployments.splats.layers import DepthLayer, DepthView, LayeredDepth, resize_picture
from deployments.splats.pruning import prune

F32 = NDArray[np.float32]

HIDDEN_GROWTH = 1.35
"""Splats of layers behind are this much larger: their colours are smooth, and blurring them closes the gaps through which the
dark would show."""

Kind = Literal["lifted", "points"]


def lift_layers(layered: LayeredDepth, kind: Kind = "lifted") -> Gaussians:
    """One Gaussian a pixel of every front layer, and one a pixel with a surface of every layer behind.

    Args:
        layered: A frame.
        kind: ``lifted``: flat splats along the surface. ``points``: round ones of a pixel's size.

    Returns:
        Gaussians in the first camera's OpenCV frame, view after view, front layer first. A front layer's pixels without a
        surface or between two, and a layer's between two, have opacity 0. ``grid=(V, H, W)`` if there are only front layers
        and they are of one size.
    """
    parts = []
    for view in layered.views:
        for index, layer in enumerate(view.layers):
            lifted = lift_layer(view, layer, index, kind)
            if index:
                lifted = lifted.take((layer.inverse_depth > 0).ravel())
            parts.append(_to_first(lifted, view.pose))
    sizes = {view.layers[0].inverse_depth.shape for view in layered.views}
    on_a_grid = len(sizes) == 1 and all(len(view.layers) == 1 for view in layered.views)
    return join(parts, (len(parts), *sizes.pop()) if on_a_grid else None)


def lift_and_prune(
    layered: LayeredDepth,
    kind: Kind = "lifted",
    *,
    min_opacity: float = 0.0,
    border: float = 0.0,
    depth_percentile: float = 100.0,
    max_depth: float = math.inf,
    max_splats: int | None = None,
) -> tuple[Gaussians, dict[str, int]]:
    """``lift_layers`` and what is left of it after pruning; the border is cut from every layer's own grid.

    Args:
        layered: A frame.
        kind: As for ``lift_layers``.
        min_opacity, border, depth_percentile, max_depth, max_splats: As for :func:`deployments.splats.pruning.prune`.

    Returns:
        The survivors, and reason → number removed.
    """
    camera = layered.views[0].camera
    over_all = functools.partial(
        prune, camera=camera, depth_percentile=depth_percentile, max_depth=max_depth, max_splats=max_splats
    )
    if layered.layer_count == 1:
        return over_all(lift_layers(layered, kind), min_opacity=min_opacity, border=border)
    parts: list[Gaussians] = []
    totals: dict[str, int] = {}
    for view in layered.views:
        for index, layer in enumerate(view.layers):
            kept, counts = prune(lift_layer(view, layer, index, kind), min_opacity=min_opacity, border=border)
            if index:
                counts["edge"] -= int(np.count_nonzero(~(layer.inverse_depth > 0)))
            totals = {reason: totals.get(reason, 0) + count for reason, count in counts.items()}
            parts.append(_to_first(kept, view.pose))
    kept, counts = over_all(join(parts, None))
    return kept, {reason: totals[reason] + count for reason, count in counts.items()}


def lift_layer(view: DepthView, layer: DepthLayer, index: int, kind: Kind) -> Gaussians:
    """One layer in its view's frame, on its grid."""
    colors = layer.colors
    if colors is None:
        colors = view.picture
        if colors.shape[:2] != layer.inverse_depth.shape:
            colors = resize_picture(colors, layer.width, layer.height)
    camera = lifting.scale_camera(view.camera, layer.width, layer.height)
    lifted = lifting.lift_inverse_depth(layer.inverse_depth, colors, camera, kind, crisp=layer.crisp)
    if layer.opacity is not None:
        np.multiply(lifted.opacities, layer.opacity.ravel() / np.float32(255), out=lifted.opacities)
    if index:
        np.multiply(lifted.scales, np.float32(HIDDEN_GROWTH), out=lifted.scales)
    return lifted


def join(parts: list[Gaussians], grid: tuple[int, int, int] | None) -> Gaussians:
    """The Gaussians of all parts, one after the other."""
    if len(parts) == 1:
        return parts[0]
    means, scales, quats, opacities, sh = (
        np.concatenate([getattr(part, field) for part in parts]) for field in ("means", "scales", "quats", "opacities", "sh")
    )
    return Gaussians(means, scales, quats, opacities, sh, grid)


def _to_first(view: Gaussians, pose: F32 | None) -> Gaussians:
    """The Gaussians moved by the inverse of ``pose``; colours of degree 0 have no direction to turn."""
    if pose is None or not len(view):
        return view
    rotation, translation = pose[:, :3], pose[:, 3]
    quats = _turn(rotation_quat(pose), view.quats)
    means = np.asarray((view.means - translation) @ rotation, np.float32)
    return Gaussians(means, view.scales, quats, view.opacities, view.sh, view.grid)


def to_view(gaussians: Gaussians, pose: F32 | None) -> Gaussians:
    """Gaussians of the first camera's frame in a view's: moved by ``pose``."""
    if pose is None or not len(gaussians):
        return gaussians
    quats = _turn(rotation_quat(pose) * np.array([1, -1, -1, -1]), gaussians.quats)
    means = np.asarray(gaussians.means @ pose[:, :3].T + pose[:, 3], np.float32)
    return Gaussians(means, gaussians.scales, quats, gaussians.opacities, gaussians.sh, gaussians.grid)


def rotation_quat(pose: F32) -> NDArray[np.float64]:
    """The turn from a view's camera frame back to the first one's, as a unit quaternion. wxyz, float64 [4]."""
    return _quat(pose[:, :3].T.astype(np.float64))


def _turn(a: NDArray[np.float64], b: F32) -> F32:
    """Hamilton product a·b of wxyz quaternions. [4], [N, 4] → [N, 4]."""
    w, x, y, z = a
    left = np.array([[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]])
    return np.ascontiguousarray(b @ left.T.astype(np.float32))


def _quat(m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit wxyz quaternion of a rotation matrix: the eigenvector of Bar-Itzhack's matrix (2000), stable at every angle."""
    (a, b, c), (d, e, f), (g, h, i) = m
    k = np.array(
        [
            [a + e + i, h - f, c - g, d - b],
            [h - f, a - e - i, d + b, c + g],
            [c - g, d + b, e - a - i, h + f],
            [d - b, c + g, h + f, i - a - e],
        ]
    )
    vector: NDArray[np.float64] = np.linalg.eigh(k)[1][:, -1]
    return vector
