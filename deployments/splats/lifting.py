"""Depth to Gaussians: one surface-aligned, pixel-sized Gaussian a pixel, so that the capture viewpoint sees its own picture.

Invariant: Gaussian ``i`` lies on the ray through the centre of pixel ``i`` (row-major), and the frame keeps its grid. A pixel
that belongs to no surface (no depth, or between two surfaces) gets opacity exactly 0, which pruning counts as ``edge``.

The Gaussian is the pixel's footprint: with p(u, v) the back-projected point and J = [∂p/∂u, ∂p/∂v], its in-plane covariance is
σ²·J·Jᵀ (the linearisation that EWA splatting projects back: Zwicker et al. 2001). So it is stretched by the foreshortening and
projects onto a round spot of σ pixels. Slopes come from inverse depth, which is linear in pixels on every plane.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deployments.pipeline import Camera
from deployments.splats.activations import SH_C0
from deployments.splats.gaussians import Gaussians
from deployments.splats.kernel import inline, kernel

SIGMA_PX = 0.55
"""Standard deviation of a splat seen from the capture viewpoint, pixels. Below 0.5 the grid shows gaps when it is turned or
magnified; above 0.7 the picture blurs."""

OPACITY = 0.98
"""Of every splat: surfaces hide what is behind them. Below 1, so that the logit stays small."""

THICKNESS = 0.15
"""Standard deviation along the normal, relative to the pixel's size at that depth."""

MAX_SLOPE = 3.5
"""Bound on |dz/dx| and |dz/dy|, about 74°: a splat is stretched to 3.6 times its width at most, however wild the depth."""

EDGE_SNAP_PX = 3
"""Depth networks blur an edge over a few pixels; a pixel on such a ramp joins the nearer (in disparity) of the two surfaces
within this distance."""

# A step of depth between neighbours is an edge when it exceeds this fraction plus what MAX_SLOPE makes of one pixel.
_JUMP = 0.02
_COLOUR = ((np.arange(256) / 255.0 - 0.5) / SH_C0).astype(np.float32)


def fit_grid(width: int, height: int, max_splats: int, longest_px: int = 0) -> tuple[int, int]:
    """The largest grid of a picture's shape within a splat budget; a smaller grid has no holes, a thinned one has.

    Args:
        width, height: Size of the picture, pixels.
        max_splats: Most cells of the grid.
        longest_px: Most cells along the longer side; 0: as many as the picture has.

    Returns:
        Width and height of the grid, each at least 1 and at most the picture's.
    """
    factor = min(1.0, math.sqrt(max(max_splats, 1) / (width * height)))
    if longest_px > 0:
        factor = min(factor, longest_px / max(width, height))
    if factor == 1.0:
        return width, height
    grid_w, grid_h = max(1, int(width * factor)), max(1, int(height * factor))
    # A side that was lifted to 1 takes its share from the other.
    return min(grid_w, max(1, max_splats // grid_h)), min(grid_h, max(1, max_splats // grid_w))


def scale_camera(camera: Camera, width: int, height: int) -> Camera:
    """The same camera with its picture resized to ``width`` × ``height`` pixels."""
    x, y = width / camera.width, height / camera.height
    return Camera(width, height, camera.fx * x, camera.fy * y, camera.cx * x, camera.cy * y)


def lift_depth(
    depth: NDArray[np.float32], rgb: NDArray[np.uint8], camera: Camera, kind: Literal["lifted", "points"] = "lifted"
) -> Gaussians:
    """One Gaussian a pixel.

    Args:
        depth: z-depth in the capture camera's frame, any unit; 0, negative or non-finite where there is no surface.
            float32 [H, W].
        rgb: sRGB of the same pixels. uint8 [H, W, 3].
        camera: Intrinsics of that picture.
        kind: ``lifted``: flat splats along the surface. ``points``: round ones of a pixel's size, not rotated.

    Returns:
        H·W Gaussians in the depth's unit, ``grid=(1, H, W)``; opacity 0 where there is no surface.

    Raises:
        ValueError: If the three sizes differ.
    """
    height, width = depth.shape
    if rgb.shape != (height, width, 3) or (camera.width, camera.height) != (width, height):
        raise ValueError(
            f"depth, rgb and camera: expected one size, got {width}×{height}, {rgb.shape[1]}×{rgb.shape[0]}"
            f" and {camera.width}×{camera.height}"
        )
    n = height * width
    means, scales = np.empty((n, 3), np.float32), np.empty((n, 3), np.float32)
    quats, opacities = np.empty((n, 4), np.float32), np.empty(n, np.float32)
    inverse = _inverse_depth(np.ascontiguousarray(depth, np.float32))
    jump = _JUMP + MAX_SLOPE / max(min(camera.fx, camera.fy), 1.0)
    steady = _snap_edges(inverse, np.float32(jump), EDGE_SNAP_PX)
    _lift(
        steady, np.float32(camera.fx), np.float32(camera.fy), np.float32(camera.cx), np.float32(camera.cy),
        np.float32(jump), kind == "points", means, scales, quats, opacities,
    )  # fmt: skip
    sh = _COLOUR[rgb.reshape(n, 1, 3)]
    return Gaussians(means, scales, quats, opacities, sh, (1, height, width))


def warm_up() -> None:
    """Compile the kernels, or load them from the cache."""
    lift_depth(np.ones((2, 3), np.float32), np.zeros((2, 3, 3), np.uint8), Camera(3, 2, 2.0, 2.0, 1.5, 1.0))


@kernel
def _inverse_depth(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / depth; 0 where there is none. float32 [H, W]."""
    out = np.empty(depth.shape, np.float32)
    for v in range(depth.shape[0]):
        for u in range(depth.shape[1]):
            z = depth[v, u]
            # Not (z > 0) takes NaN along; the upper bound takes infinities and keeps 1/z a normal number.
            out[v, u] = np.float32(1.0) / z if z > np.float32(1e-6) and z < np.float32(1e6) else np.float32(0.0)
    return out


@inline
def _step(here: np.float32, there: np.float32, jump: np.float32) -> int:
    """−1, 0, 1: whether the neighbour's inverse depth is an edge's step below, alike, or above."""
    low = min(here, there)
    if abs(here - there) <= jump * low:
        return 0
    return 1 if there > here else -1


@inline
def _on_ramp(w: NDArray[np.float32], v: int, u: int, jump: np.float32) -> bool:
    """Whether a pixel lies between two surfaces: a step on both sides, in the same direction, along a row or a column."""
    height, width = w.shape
    here = w[v, u]
    ramp = False
    if 0 < u < width - 1:
        a, b = _step(here, w[v, u - 1], jump), _step(here, w[v, u + 1], jump)
        ramp = a * b < 0
    if not ramp and 0 < v < height - 1:
        a, b = _step(here, w[v - 1, u], jump), _step(here, w[v + 1, u], jump)
        ramp = a * b < 0
    return ramp


@kernel
def _snap_edges(w: NDArray[np.float32], jump: np.float32, radius: int) -> NDArray[np.float32]:
    """Inverse depth with the ramps at depth edges made into steps, as far as both ends lie within ``radius``. float32 [H, W]."""
    height, width = w.shape
    out = w.copy()
    for v in range(height):
        for u in range(width):
            here = w[v, u]
            if here <= np.float32(0.0) or not _on_ramp(w, v, u, jump):
                continue
            low, high = here, here
            for y in range(max(v - radius, 0), min(v + radius + 1, height)):
                for x in range(max(u - radius, 0), min(u + radius + 1, width)):
                    if w[y, x] > np.float32(0.0):
                        low, high = min(low, w[y, x]), max(high, w[y, x])
            out[v, u] = high if high - here < here - low else low
    return out


@inline
def _slope(w: NDArray[np.float32], v: int, u: int, dv: int, du: int, jump: np.float32) -> np.float32:
    """∂w/∂u (du = 1) or ∂w/∂v (dv = 1): the mean of the sides that belong to the same surface."""
    height, width = w.shape
    here, total, sides = w[v, u], np.float32(0.0), 0
    if v >= dv and u >= du and _step(here, w[v - dv, u - du], jump) == 0:
        total, sides = total + here - w[v - dv, u - du], sides + 1
    if v + dv < height and u + du < width and _step(here, w[v + dv, u + du], jump) == 0:
        total, sides = total + w[v + dv, u + du] - here, sides + 1
    return total / np.float32(max(sides, 1))


@kernel
def _lift(
    w: NDArray[np.float32],
    fx: np.float32,
    fy: np.float32,
    cx: np.float32,
    cy: np.float32,
    jump: np.float32,
    points: bool,
    means: NDArray[np.float32],
    scales: NDArray[np.float32],
    quats: NDArray[np.float32],
    opacities: NDArray[np.float32],
) -> None:
    """Fill the outputs, row-major, from inverse depth ``w`` [H, W]; all float32."""
    one, half, tiny = np.float32(1.0), np.float32(0.5), np.float32(1e-12)
    height, width = w.shape
    steepest = np.float32(MAX_SLOPE)
    for v in range(height):
        y = (np.float32(v) + half - cy) / fy
        for u in range(width):
            i = v * width + u
            x = (np.float32(u) + half - cx) / fx
            here = w[v, u]
            surface = here > np.float32(0.0)
            z = one / here if surface else one
            opacities[i] = np.float32(OPACITY) if surface and not _on_ramp(w, v, u, jump) else np.float32(0.0)
            means[i, 0], means[i, 1], means[i, 2] = x * z, y * z, z
            pixel = z * half * (one / fx + one / fy)
            if points or not surface:
                for k in range(3):
                    scales[i, k] = np.float32(SIGMA_PX) * pixel
                quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3] = one, 0.0, 0.0, 0.0
                continue
            # dz/d(x·z at constant z) and the same for y, bounded.
            sx = min(max(-z * fx * _slope(w, v, u, 0, 1, jump), -steepest), steepest)
            sy = min(max(-z * fy * _slope(w, v, u, 1, 0, jump), -steepest), steepest)
            # J's columns, in units of depth a pixel: ∂p/∂u = z/fx·((1, 0, 0) + sx·(x, y, 1)).
            ux, uy, uz = (one + sx * x) / fx, sx * y / fx, sx / fx
            vx, vy, vz = sy * x / fy, (one + sy * y) / fy, sy / fy
            # Principal axes of JᵀJ: turn (u, v) by φ in −45°..45°, so that axis 0 stays the one nearer to u.
            e, f, g = ux * ux + uy * uy + uz * uz, ux * vx + uy * vy + uz * vz, vx * vx + vy * vy + vz * vz
            apart, sign = abs(e - g), one if e >= g else -one
            # The small term keeps φ near 0, and still, where the footprint is round.
            hypot = math.sqrt((apart + np.float32(0.02) * (e + g)) ** 2 + np.float32(4.0) * f * f) + tiny
            cos2 = (apart + np.float32(0.02) * (e + g)) / hypot
            c = math.sqrt(half * (one + cos2))
            s = sign * f / (hypot * c)
            ax, ay, az = c * ux + s * vx, c * uy + s * vy, c * uz + s * vz
            bx, by, bz = c * vx - s * ux, c * vy - s * uy, c * vz - s * uz
            na = math.sqrt(ax * ax + ay * ay + az * az) + tiny
            ax, ay, az = ax / na, ay / na, az / na
            # Gram-Schmidt takes out what the small term left of the other axis.
            dot = ax * bx + ay * by + az * bz
            bx, by, bz = bx - dot * ax, by - dot * ay, bz - dot * az
            nb = math.sqrt(bx * bx + by * by + bz * bz) + tiny
            bx, by, bz = bx / nb, by / nb, bz / nb
            nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
            longest = pixel * np.float32(1.05 * math.sqrt(1.0 + MAX_SLOPE * MAX_SLOPE))
            scales[i, 0] = np.float32(SIGMA_PX) * min(z * na, longest)
            scales[i, 1] = np.float32(SIGMA_PX) * min(z * nb, longest)
            scales[i, 2] = np.float32(THICKNESS) * pixel
            # Columns a, b, n to a quaternion (Shepperd 1978), by the largest of the four squares.
            t = ax + by + nz
            if t > np.float32(0.0):
                r = math.sqrt(one + t)
                k = half / r
                qw, qx, qy, qz = half * r, (bz - ny) * k, (nx - az) * k, (ay - bx) * k
            elif ax >= by and ax >= nz:
                r = math.sqrt(one + ax - by - nz)
                k = half / r
                qw, qx, qy, qz = (bz - ny) * k, half * r, (bx + ay) * k, (nx + az) * k
            elif by >= nz:
                r = math.sqrt(one - ax + by - nz)
                k = half / r
                qw, qx, qy, qz = (nx - az) * k, (bx + ay) * k, half * r, (ny + bz) * k
            else:
                r = math.sqrt(one - ax - by + nz)
                k = half / r
                qw, qx, qy, qz = (ay - bx) * k, (nx + az) * k, (ny + bz) * k, half * r
            quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3] = qw, qx, qy, qz
