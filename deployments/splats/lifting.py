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

from deployments.splats.activations import SH_C0
from deployments.splats.camera import Camera
from deployments.splats.gaussians import Gaussians
from deployments.splats.kernel import for_kernel, inline, kernel

F32 = NDArray[np.float32]

SIGMA_PX = 0.68
"""Standard deviation of a splat seen from the capture viewpoint, pixels. At 0.6, 5 % of what is behind shows through, as dots;
above 0.7 the picture blurs (``python -m benchmarks.picture``)."""

OPACITY = 0.98
"""Of every splat: surfaces hide what is behind them. Below 1, so that the logit stays small."""

THICKNESS = 0.15
"""Standard deviation along the normal, relative to the pixel's size at that depth."""

MAX_SLOPE = 3.5
"""Bound on |dz/dx| and |dz/dy|, about 74°: a splat is stretched to 3.6 times its width at most, however wild the depth."""

SMALLEST, LARGEST = np.float32(1e-6), np.float32(1e6)
"""Depths, and inverse depths, between these are surfaces; far beyond any model's unit, and far within float32."""

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
    inverse = np.empty(depth.shape, np.float32)
    _invert(depth, inverse)
    return lift_inverse_depth(inverse, rgb, camera, kind)


def lift_inverse_depth(
    inverse: NDArray[np.float32],
    rgb: NDArray[np.uint8],
    camera: Camera,
    kind: Literal["lifted", "points"] = "lifted",
    *,
    crisp: bool = False,
) -> Gaussians:
    """One Gaussian a pixel, as :func:`lift_depth` makes them.

    Args:
        inverse: 1/z in the capture camera's frame; 0 where there is no surface, and what is not between ``SMALLEST`` and
            ``LARGEST`` counts as 0. float32 [H, W].
        rgb: sRGB of the same pixels. uint8 [H, W, 3].
        camera: Intrinsics of that picture.
        kind: As there.
        crisp: No pixel lies between two surfaces, as :func:`resolve_edges` leaves them; none is looked for.

    Returns:
        H·W Gaussians, ``grid=(1, H, W)``; opacity 0 where there is no surface.

    Raises:
        ValueError: If the three sizes differ.
    """
    height, width = inverse.shape
    if rgb.shape != (height, width, 3) or (camera.width, camera.height) != (width, height):
        raise ValueError(
            f"depth, rgb and camera: expected one size, got {width}×{height}, {rgb.shape[1]}×{rgb.shape[0]}"
            f" and {camera.width}×{camera.height}"
        )
    n = height * width
    means, scales = np.empty((n, 3), np.float32), np.empty((n, 3), np.float32)
    quats, opacities = np.empty((n, 4), np.float32), np.empty(n, np.float32)
    jump = edge_jump(camera)
    framed = _frame(for_kernel(inverse), jump)
    ramps = np.zeros((height, width), np.uint8)
    if not crisp:
        framed = _resolve(framed, jump, ramps)
    lens = np.array([camera.fx, camera.fy, camera.cx, camera.cy], np.float32)
    _lift(framed, ramps, lens, jump, kind == "points", means, scales, quats, opacities)
    sh = np.take(_COLOUR, rgb.reshape(n, 1, 3))
    return Gaussians(means, scales, quats, opacities, sh, (1, height, width))


def resolve_edges(inverse: NDArray[np.float32], camera: Camera) -> NDArray[np.float32]:
    """Inverse depth without a pixel between two surfaces: it joins the nearer one, as lifting makes it do, or has none.

    Args:
        inverse: As for ``lift_inverse_depth``. float32 [H, W].
        camera: Intrinsics of that picture.

    Returns:
        Fresh; 0 where there is no surface. float32 [H, W].
    """
    jump = edge_jump(camera)
    ramps = np.zeros(inverse.shape, np.uint8)
    framed = _resolve(_frame(for_kernel(inverse), jump), jump, ramps)
    crisp = framed[1:-1, 1:-1].copy()
    crisp[ramps != 0] = 0
    return crisp


def edge_jump(camera: Camera) -> np.float32:
    """Relative step of inverse depth between neighbours that is an edge."""
    return np.float32(_JUMP + MAX_SLOPE / max(min(camera.fx, camera.fy), 1.0))


def _resolve(framed: F32, jump: np.float32, ramps: NDArray[np.uint8]) -> F32:
    """Inverse depth with what can be snapped snapped, and in ``ramps`` what can't. float32 [H+2, W+2]."""
    if _find_ramps(framed, jump, ramps):
        framed = _snap(framed, ramps, EDGE_SNAP_PX)
        _find_ramps(framed, jump, ramps)
    return framed


def warm_up() -> None:
    """Compile the kernels, or load them from the cache."""
    lift_depth(np.ones((2, 3), np.float32), np.zeros((2, 3, 3), np.uint8), Camera(3, 2, 2.0, 2.0, 1.5, 1.0))


@kernel
def _invert(depth: F32, out: F32) -> None:
    """1 / depth, 0 where there is none. float32 [H, W]."""
    for v in range(depth.shape[0]):
        for u in range(depth.shape[1]):
            z = depth[v, u]
            # NaN fails both comparisons; the bounds keep infinities out and 1/z a normal number.
            out[v, u] = np.float32(1.0) / z if z > SMALLEST and z < LARGEST else np.float32(0.0)


@kernel
def _frame(inverse: F32, jump: np.float32) -> F32:
    """Inverse depth in a frame of one pixel that continues it in a straight line. float32 [H+2, W+2]."""
    height, width = inverse.shape
    out = np.empty((height + 2, width + 2), np.float32)
    two = np.float32(2.0)
    for v in range(height):
        source, row = inverse[v], out[v + 1, 1 : width + 1]
        for u in range(width):
            row[u] = source[u] if source[u] > SMALLEST and source[u] < LARGEST else np.float32(0.0)
        for outer, near, far in ((0, 1, min(2, width)), (width + 1, width, max(width - 1, 1))):
            a, b = out[v + 1, near], out[v + 1, far]
            out[v + 1, outer] = two * a - b if _same(a, b, jump) else a
    for outer, near, far in ((0, 1, min(2, height)), (height + 1, height, max(height - 1, 1))):
        for u in range(width + 2):
            a, b = out[near, u], out[far, u]
            out[outer, u] = two * a - b if _same(a, b, jump) else a
    return out


@inline
def _same(here: np.float32, there: np.float32, jump: np.float32) -> np.bool_:
    """Whether two neighbours' inverse depths belong to one surface. Without depth (0) nothing does."""
    return (abs(here - there) <= jump * min(here, there)) & (min(here, there) > np.float32(0.0))


@inline
def _between(a: np.float32, here: np.float32, b: np.float32, jump: np.float32) -> np.bool_:
    """Whether ``here`` lies on a slope too steep for a surface: a step on both sides, in one direction."""
    down = (a < here * (np.float32(1.0) - jump)) & (a > np.float32(0.0)) & (b > here * (np.float32(1.0) + jump))
    up = (b < here * (np.float32(1.0) - jump)) & (b > np.float32(0.0)) & (a > here * (np.float32(1.0) + jump))
    return down | up


@kernel
def _find_ramps(w: F32, jump: np.float32, ramps: NDArray[np.uint8]) -> int:
    """Mark in ``ramps`` [H, W] the pixels between two surfaces, and count them."""
    height, width = ramps.shape
    total = 0
    for v in range(height):
        above, row, below, out = w[v, 1 : width + 1], w[v + 1], w[v + 2, 1 : width + 1], ramps[v]
        here, left, right = row[1 : width + 1], row[:width], row[2 : width + 2]
        for u in range(width):
            ramp = _between(left[u], here[u], right[u], jump) | _between(above[u], here[u], below[u], jump)
            out[u] = np.uint8(ramp)
            total += int(ramp)
    return total


@kernel
def _snap(w: F32, ramps: NDArray[np.uint8], radius: int) -> F32:
    """Inverse depth with marked pixels moved onto the nearer of the extremes within ``radius`` pixels. float32 [H+2, W+2]."""
    height, width = ramps.shape
    out = w.copy()
    for v in range(height):
        for u in range(width):
            if ramps[v, u]:
                here = w[v + 1, u + 1]
                low, high = here, here
                for y in range(max(v - radius, 0), min(v + radius + 1, height)):
                    for x in range(max(u - radius, 0), min(u + radius + 1, width)):
                        if w[y + 1, x + 1] > np.float32(0.0):
                            low, high = min(low, w[y + 1, x + 1]), max(high, w[y + 1, x + 1])
                out[v + 1, u + 1] = high if high - here < here - low else low
    return out


@inline
def _slope(a: np.float32, here: np.float32, b: np.float32, jump: np.float32) -> np.float32:
    """Change of inverse depth per pixel: the mean of the sides that belong to the same surface."""
    zero, one = np.float32(0.0), np.float32(1.0)
    on_a, on_b = _same(here, a, jump), _same(here, b, jump)
    total = (here - a if on_a else zero) + (b - here if on_b else zero)
    return total * (np.float32(0.5) if on_a & on_b else one)


@kernel
def _lift(
    w: F32,
    ramps: NDArray[np.uint8],
    lens: F32,
    jump: np.float32,
    points: bool,
    means: F32,
    scales: F32,
    quats: F32,
    opacities: F32,
) -> None:
    """Fill the outputs, row-major. The loops have no branches and few arrays each, so that they vectorise; all is float32.

    Args:
        w: Inverse depth with its frame, [H+2, W+2].
        ramps: Pixels to hide, [H, W].
        lens: fx, fy, cx, cy, pixels.
        jump: Relative step between surfaces.
        points: Round splats.
        means, scales, quats, opacities: Outputs, as in ``Gaussians``.
    """
    height, width = ramps.shape
    zero, half, one, four, tiny = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(4.0), np.float32(1e-12)
    steepest, sigma, thin = np.float32(MAX_SLOPE), np.float32(SIGMA_PX), np.float32(THICKNESS)
    opaque, longest = np.float32(OPACITY), np.float32(1.05 * math.sqrt(1.0 + MAX_SLOPE * MAX_SLOPE))
    fx, fy, cx, cy = lens[0], lens[1], lens[2], lens[3]
    px, py = one / fx, one / fy
    size = half * (px + py)
    along, down = np.empty(width, np.float32), np.empty(width, np.float32)
    for v in range(height):
        span = slice(v * width, (v + 1) * width)
        mean, scale, quat, opacity, ramp = means[span], scales[span], quats[span], opacities[span], ramps[v]
        above, row, below = w[v, 1 : width + 1], w[v + 1], w[v + 2, 1 : width + 1]
        here, left, right = row[1 : width + 1], row[:width], row[2 : width + 2]
        y = (np.float32(v) + half - cy) * py
        for u in range(width):
            x = (np.float32(u) + half - cx) * px
            surface = here[u] > zero
            z = one / here[u] if surface else one
            mean[u, 0], mean[u, 1], mean[u, 2] = x * z, y * z, z
            opacity[u] = opaque if surface & (ramp[u] == 0) else zero
        if points:
            for u in range(width):
                radius = sigma * size * mean[u, 2]
                scale[u, 0], scale[u, 1], scale[u, 2] = radius, radius, radius
                quat[u, 0], quat[u, 1], quat[u, 2], quat[u, 3] = one, zero, zero, zero
            continue
        for u in range(width):
            # The surface's slopes dz/dx and dz/dy along the picture's axes, bounded.
            safe = max(here[u], tiny)
            along[u] = min(max(-fx * _slope(left[u], here[u], right[u], jump) / safe, -steepest), steepest)
            down[u] = min(max(-fy * _slope(above[u], here[u], below[u], jump) / safe, -steepest), steepest)
        for u in range(width):
            x, z = (np.float32(u) + half - cx) * px, mean[u, 2]
            sx, sy = along[u], down[u]
            # J's columns in units of depth a pixel: ∂p/∂u = z/fx · ((1, 0, 0) + sx · (x, y, 1)), and the same for v.
            ux, uy, uz = (one + sx * x) * px, sx * y * px, sx * px
            vx, vy, vz = sy * x * py, (one + sy * y) * py, sy * py
            # Principal axes of JᵀJ: turn (u, v) by φ in −45°..45°, so that axis 0 stays the one nearer to u.
            e, f, g = ux * ux + uy * uy + uz * uz, ux * vx + uy * vy + uz * vz, vx * vx + vy * vy + vz * vz
            # The small term keeps φ near 0, and still, where the footprint is round.
            apart = abs(e - g) + np.float32(0.005) * (e + g)
            cos2 = apart / np.sqrt(apart * apart + four * f * f + tiny * tiny)
            c = np.sqrt(half * (one + cos2))
            s = f * cos2 / (apart * c) * (one if e >= g else -one)
            ax, ay, az = c * ux + s * vx, c * uy + s * vy, c * uz + s * vz
            bx, by, bz = c * vx - s * ux, c * vy - s * uy, c * vz - s * uz
            la = np.sqrt(ax * ax + ay * ay + az * az) + tiny
            ax, ay, az = ax / la, ay / la, az / la
            # Gram-Schmidt takes out what the small term left of the other axis.
            dot = ax * bx + ay * by + az * bz
            bx, by, bz = bx - dot * ax, by - dot * ay, bz - dot * az
            lb = np.sqrt(bx * bx + by * by + bz * bz) + tiny
            bx, by, bz = bx / lb, by / lb, bz / lb
            nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
            scale[u, 0] = sigma * z * min(la, longest * size)
            scale[u, 1] = sigma * z * min(lb, longest * size)
            scale[u, 2] = thin * z * size
            # Columns a, b, n to a quaternion. A surface that faces the camera is turned by less than 120°, so w is never small.
            qw, qx, qy, qz = max(one + ax + by + nz, np.float32(0.01)), bz - ny, nx - az, ay - bx
            k = one / np.sqrt(qw * qw + qx * qx + qy * qy + qz * qz)
            quat[u, 0], quat[u, 1], quat[u, 2], quat[u, 3] = qw * k, qx * k, qy * k, qz * k
