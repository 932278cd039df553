"""A splatter for measuring: EWA projection, one global depth order, front to back, with SparkJS's blur of 0.3 pixels².

Quick enough to draw a frame a hundred times over on a CPU, and the same on every run. What it is not: tiled, or a viewer.
"""

import math
from dataclasses import replace
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from deployments.splats.activations import SH_C0
from deployments.splats.camera import Camera
from deployments.splats.gaussians import Gaussians

F32 = NDArray[np.float32]

NARROWED, STACKED, OPAQUE = 0.75, 3.0, 0.95
"""How the viewer draws pixels of surfaces, see ``web/src/view/flat_tops.ts``."""

BLUR = 0.3
"""Added to the variances on the screen, pixels²; opacity falls by as much as the area grows, as SparkJS has it."""
_NEAR = 0.02
_REACH = math.sqrt(8)
"""Standard deviations that are drawn; of flat tops it is more."""
_FAINTEST = 1 / 510


def turn(gaussians: Gaussians, yaw_deg: float, pivot_z: float) -> Gaussians:
    """The Gaussians turned about the vertical axis through a point straight ahead, which is an orbit seen from the camera.

    Args:
        gaussians: In the camera's OpenCV frame, of degree 0.
        yaw_deg: About +y, degrees.
        pivot_z: The point's depth, model units.
    """
    angle = math.radians(yaw_deg)
    cos, sin = math.cos(angle), math.sin(angle)
    around = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], np.float32)
    pivot = np.array([0, 0, pivot_z], np.float32)
    w, y = math.cos(angle / 2), math.sin(angle / 2)
    times = np.array([[w, 0, -y, 0], [0, w, 0, y], [y, 0, w, 0], [0, -y, 0, w]], np.float32)
    means = np.asarray((gaussians.means - pivot) @ around.T + pivot, np.float32)
    quats = np.asarray(gaussians.quats @ times.T, np.float32)
    return Gaussians(means, gaussians.scales, quats, gaussians.opacities, gaussians.sh)


def with_flat_tops(gaussians: Gaussians) -> Gaussians:
    """Splats that stand for pixels of surfaces as the viewer draws them: narrower, with an opacity above 1."""
    opaque = gaussians.opacities > OPAQUE
    scales = np.where(opaque[:, None], np.float32(NARROWED) * gaussians.scales, gaussians.scales)
    flat = np.float32((3 + math.sqrt(1 + math.e * math.log(STACKED))) / 4)
    opacities = np.where(opaque, flat, gaussians.opacities)
    return replace(gaussians, scales=scales, opacities=opacities)


def draw(gaussians: Gaussians, camera: Camera, blur: float = BLUR) -> F32:
    """The picture before black, 0..1. float32 [H, W, 3]."""
    return draw_and_light(gaussians, camera, blur)[0]


def draw_and_light(gaussians: Gaussians, camera: Camera, blur: float = BLUR) -> tuple[F32, F32]:
    """The picture before black, 0..1, float32 [H, W, 3]; and how much of the black shows, 0..1, float32 [H, W]."""
    picture = np.zeros((camera.height, camera.width, 3), np.float32)
    light = np.ones((camera.height, camera.width), np.float32)
    colors = np.maximum(0.5 + SH_C0 * gaussians.sh[:, 0], 0).astype(np.float32)
    order = np.argsort(gaussians.means[:, 2], kind="stable")
    fields = (gaussians.means, gaussians.scales, gaussians.quats, gaussians.opacities, colors)
    lens = (camera.fx, camera.fy, camera.cx, camera.cy)
    _draw(*(np.ascontiguousarray(field, np.float32) for field in fields), order, lens, blur, picture, light)
    return np.clip(picture, 0, 1), light


@numba.njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _draw(
    means: F32,
    scales: F32,
    quats: F32,
    opacities: F32,
    colors: F32,
    order: NDArray[Any],
    lens: tuple[float, float, float, float],
    blur: float,
    picture: F32,
    light: F32,
) -> None:
    fx, fy, cx, cy = lens
    height, width = light.shape
    for i in order:
        x, y, z = means[i]
        if z < _NEAR:
            continue
        u, v = fx * x / z + cx, fy * y / z + cy
        # Rows of J·R·S, whose product with its transpose is the covariance on the screen.
        w, a, b, c = quats[i]
        sx, sy, sz = scales[i]
        r00, r01, r02 = (1 - 2 * (b * b + c * c)) * sx, 2 * (a * b - w * c) * sy, 2 * (a * c + w * b) * sz
        r10, r11, r12 = 2 * (a * b + w * c) * sx, (1 - 2 * (a * a + c * c)) * sy, 2 * (b * c - w * a) * sz
        r20, r21, r22 = 2 * (a * c - w * b) * sx, 2 * (b * c + w * a) * sy, (1 - 2 * (a * a + b * b)) * sz
        jx, kx, jy, ky = fx / z, -fx * x / (z * z), fy / z, -fy * y / (z * z)
        p0, p1, p2 = jx * r00 + kx * r20, jx * r01 + kx * r21, jx * r02 + kx * r22
        q0, q1, q2 = jy * r10 + ky * r20, jy * r11 + ky * r21, jy * r12 + ky * r22
        xx, xy, yy = p0 * p0 + p1 * p1 + p2 * p2, p0 * q0 + p1 * q1 + p2 * q2, q0 * q0 + q1 * q1 + q2 * q2
        sharp = max(xx * yy - xy * xy, 1e-12)
        xx, yy = xx + blur, yy + blur
        area = xx * yy - xy * xy
        # SparkJS's way of writing flat tops: as if so many plain splats lay on top of each other.
        opacity = min(4 * opacities[i] - 3, 5) if opacities[i] > 1 else opacities[i]
        reach = _REACH + 0.7 * max(opacity - 1, 0)
        peak = opacity * math.sqrt(sharp / area)
        if not peak >= _FAINTEST:
            continue
        stacked = math.exp((peak * peak - 1) / math.e)
        reach_x, reach_y = reach * math.sqrt(xx), reach * math.sqrt(yy)
        left, right = max(math.floor(u - reach_x), 0), min(math.ceil(u + reach_x) + 1, width)
        top, bottom = max(math.floor(v - reach_y), 0), min(math.ceil(v + reach_y) + 1, height)
        for row in range(top, bottom):
            dy = row + 0.5 - v
            for column in range(left, right):
                dx = column + 0.5 - u
                distance = (yy * dx * dx - 2 * xy * dx * dy + xx * dy * dy) / area
                if distance > reach * reach:
                    continue
                bell = math.exp(-0.5 * distance)
                alpha = 1 - (1 - bell) ** stacked if peak > 1 else peak * bell
                if alpha < _FAINTEST:
                    continue
                part = light[row, column] * alpha
                for channel in range(3):
                    picture[row, column, channel] += part * colors[i, channel]
                light[row, column] -= part
