"""Gaussians that a network predicted of one view, seen past their edges: what hangs between two surfaces, and what is behind.

A network with a Gaussian head gives every pixel one, those on the blurred edge of its depth, too: from the side they are sheets
from the nearer surface to the farther one, and where they end is nothing. Here the depth of the Gaussians is taken for what a depth
network would have said: :mod:`deployments.splats.behind` puts its edges right and goes on behind them. A Gaussian whose depth is
moved by more than an edge's step becomes a splat on the surface that its pixel joins; all others stay as they were predicted. A
Gaussian that lies alone before or behind its neighbours is no edge: the median of nine puts it among them.

The layer behind has round splats: of what is smooth and seen in part nobody sees the slope, and it need not be sent.

Invariant: Gaussian ``i`` stays that of pixel ``i``; those that are to be hidden have opacity 0, which pruning counts as ``edge``.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deployments.splats import pruning
from deployments.splats.activations import SH_C0
from deployments.splats.behind import continue_behind
from deployments.splats.camera import Camera
from deployments.splats.gaussians import Gaussians
from deployments.splats.kernel import for_kernel, kernel
from deployments.splats.layer_lifting import lift_layer
from deployments.splats.layers import DepthLayer, DepthView, LayeredDepth
from deployments.splats.lifting import LARGEST, SIGMA_PX, SMALLEST, THICKNESS, edge_jump, scale_camera

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class HiddenLayer:
    """What is behind.

    Attributes:
        gaussians: On the grid of ``camera``; opacity 0 where there is nothing.
        camera: The first view's, with the layer's pixels.
    """

    gaussians: Gaussians
    camera: Camera


def continue_native(
    gaussians: Gaussians, camera: Camera, angle_deg: float, faintest: float = 0.0
) -> tuple[Gaussians, HiddenLayer | None]:
    """The frame with its edges put right, and what is behind them.

    Args:
        gaussians: On the grid of one view.
        camera: Intrinsics of that view, whose pixels the grid has.
        angle_deg: How far to the side it is to be looked at, 0..45; 0: the frame itself.
        faintest: What is fainter is no surface; it stays as it is, 0..1.

    Returns:
        The frame itself and None if it has no edge, or fewer than 16 pixels a side.

    Raises:
        ValueError: If the Gaussians are not on the camera's grid, or the angle is out of its range.
    """
    if gaussians.grid != (1, camera.height, camera.width):
        raise ValueError(f"grid: expected (1, {camera.height}, {camera.width}), got {gaussians.grid}")
    if angle_deg == 0:
        return gaussians, None
    inverse, picture = np.empty((camera.height, camera.width), np.float32), np.empty((camera.height, camera.width, 3), np.uint8)
    means, opacities, sh = (for_kernel(field) for field in (gaussians.means, gaussians.opacities, gaussians.sh))
    _see(means, opacities, sh, np.float32(max(faintest, float(SMALLEST))), inverse.ravel(), picture.reshape(-1, 3))
    among = inverse.copy()
    _median(inverse, among)
    seen = DepthView(camera, (DepthLayer(among),), picture)
    # Beside a Gaussian head's own colours a third layer is not worth its JPEGs.
    (view,) = continue_behind(LayeredDepth((seen,)), angle_deg, most_layers=2).views
    if len(view.layers) == 1:
        return gaussians, None
    front, behind = view.layers
    means, scales, quats, opacities = (
        field.copy() for field in (gaussians.means, gaussians.scales, gaussians.quats, gaussians.opacities)
    )
    opacity = np.full(inverse.shape, 255, np.uint8) if front.opacity is None else front.opacity
    lens = np.array([camera.fx, camera.fy, camera.cx, camera.cy], np.float32)
    _settle(inverse, front.inverse_depth, opacity, lens, edge_jump(camera), means, scales, quats, opacities)
    settled = replace(gaussians, means=means, scales=scales, quats=quats, opacities=opacities)
    lifted = lift_layer(view, behind, 1, "points")
    # Its colours are smooth: of higher degrees there is nothing.
    dc_only = np.zeros((len(lifted), *sh.shape[1:]), np.float32)
    dc_only[:, :1] = lifted.sh
    return settled, HiddenLayer(replace(lifted, sh=dc_only), scale_camera(camera, behind.width, behind.height))


def select_both(
    front: Gaussians, behind: HiddenLayer, camera: Camera, *, min_opacity: float, border: float, depth_percentile: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], dict[str, int]]:
    """Which of both to keep, as :func:`deployments.splats.pruning.select` decides it, without a budget.

    Args:
        front, behind: From :func:`continue_native`.
        camera: Intrinsics of the view.
        min_opacity, border, depth_percentile: As for ``pruning.prune``; the border is each one's own, the depth is the front's.

    Returns:
        Indices in front and behind, rising; and reason → number removed. What is not there behind was not removed.
    """
    kept, _, counts = pruning.select(front, camera, min_opacity=min_opacity, border=border, depth_percentile=depth_percentile)
    farthest = float(front.means[kept, 2].max()) if depth_percentile < 100 and len(kept) else math.inf
    hidden, _, more = pruning.select(behind.gaussians, behind.camera, min_opacity=min_opacity, border=border, max_depth=farthest)
    return kept, hidden, {reason: count + (more[reason] if reason != "edge" else 0) for reason, count in counts.items()}


def warm_up() -> None:
    """Compile the kernels, or load them from the cache."""
    inverse = np.ones((32, 32), np.float32)
    inverse[8:24, 8:24] = 2
    camera = Camera(32, 32, 32.0, 32.0, 16.0, 16.0)
    view = DepthView(camera, (DepthLayer(inverse),), np.zeros((32, 32, 3), np.uint8))
    continue_native(lift_layer(view, view.layers[0], 0, "lifted"), camera, 15)


@kernel
def _see(means: F32, opacities: F32, sh: F32, faintest: np.float32, inverse: F32, picture: U8) -> None:
    """Inverse depth of the Gaussians, 0 where there is no surface, and their colours. [N], [N, 3]."""
    zero, half, full, colour = np.float32(0.0), np.float32(0.5), np.float32(255.0), np.float32(SH_C0)
    for i in range(len(inverse)):
        z = means[i, 2]
        # NaN fails every comparison.
        seen = (z > SMALLEST) & (z < LARGEST) & (opacities[i] >= faintest)
        inverse[i] = np.float32(1.0) / z if seen else zero
        for c in range(3):
            level = (half + colour * sh[i, 0, c]) * full + half
            picture[i, c] = np.uint8(min(max(level, zero), full)) if level == level else np.uint8(0)


@kernel
def _median(inverse: F32, out: F32) -> None:
    """The median of each pixel and its eight neighbours, for all that have them; where either is 0, what it was. [H, W]."""
    height, width = inverse.shape
    zero = np.float32(0.0)
    low, middle, high = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    for v in range(1, height - 1):
        above, here, below, row = inverse[v - 1], inverse[v], inverse[v + 1], out[v]
        for u in range(width):
            a, b, c = above[u], here[u], below[u]
            less, more = min(a, b), max(a, b)
            low[u], middle[u], high[u] = min(less, c), max(less, min(more, c)), max(more, c)
        # Of nine in three sorted columns it is that of the largest low, the middle one in the middle, and the smallest high.
        for u in range(1, width - 1):
            p = max(max(low[u - 1], low[u]), low[u + 1])
            q = max(min(middle[u - 1], middle[u]), min(max(middle[u - 1], middle[u]), middle[u + 1]))
            r = min(min(high[u - 1], high[u]), high[u + 1])
            found = max(min(p, q), min(max(p, q), r))
            row[u] = found if (here[u] > zero) & (found > zero) else here[u]


@kernel
def _settle(
    inverse: F32,
    right: F32,
    opacity: U8,
    lens: F32,
    jump: np.float32,
    means: F32,
    scales: F32,
    quats: F32,
    opacities: F32,
) -> None:
    """Give pixels whose depth was put right a splat there that faces the camera, and hide those that have none.

    Args:
        inverse: As predicted, 0 where there was no surface. float32 [H, W].
        right: Put right, 0 where there is none. float32 [H, W].
        opacity: What opacities are multiplied by, 255 being 1. uint8 [H, W].
        lens: fx, fy, cx, cy, pixels. float32 [4].
        jump: Relative step of inverse depth that is an edge.
        means, scales, quats, opacities: Changed.
    """
    height, width = inverse.shape
    zero, half, one = np.float32(0.0), np.float32(0.5), np.float32(1.0)
    fx, fy, cx, cy = lens[0], lens[1], lens[2], lens[3]
    pixel, sigma, thin = half / fx + half / fy, np.float32(SIGMA_PX), np.float32(THICKNESS)
    for v in range(height):
        for u in range(width):
            before, now, i = inverse[v, u], right[v, u], v * width + u
            if before == zero:
                continue
            if opacity[v, u] != 255:
                opacities[i] *= np.float32(opacity[v, u]) / np.float32(255.0)
            if now == zero:
                opacities[i] = zero
            elif abs(now - before) > jump * min(now, before):
                z = one / now
                means[i, 0] = (np.float32(u) + half - cx) / fx * z
                means[i, 1] = (np.float32(v) + half - cy) / fy * z
                means[i, 2] = z
                scales[i, 0], scales[i, 1], scales[i, 2] = sigma * pixel * z, sigma * pixel * z, thin * pixel * z
                quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3] = one, zero, zero, zero
