"""Gaussians on a grid ↔ the numbers of the ``planes`` codec's planes. Layout: :mod:`deployments.splats.codecs.planes`.

Scales and rotation are stored as one symmetric matrix, the logarithm of the ellipsoid: its eigenvectors are the axes, its
eigenvalues ln of the scales (log-Euclidean metrics: Arsigny et al. 2006). It is smooth wherever the ellipsoids are: that a network
may name the axes in any order and turn them half about, which for quaternions is an edge at every pixel, does not show in it, and
an error weighs as much as it is seen (the axes of a ball don't matter). For a picture as good it takes 25 to 40 % fewer bytes than
scales and quaternions do.
"""

import numpy as np
from numpy.typing import NDArray

from deployments.splats.activations import exp32, log_scale
from deployments.splats.codecs.packed_words import to_byte
from deployments.splats.gaussians import FloatArray
from deployments.splats.kernel import inline, kernel

U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]

MIDDLE, HALF_SPAN = 128, 127
"""Byte of 0, and bytes from there to the bound, of what may be negative: 0 is exact."""

_ZERO, _HALF, _ONE, _FULL = np.float32(0), np.float32(0.5), np.float32(1), np.float32(255)
_MIDDLE, _SPAN = np.float32(MIDDLE), np.float32(HALF_SPAN)
_X, _Y, _Z, _SX, _SY, _SZ, _QW, _QX, _QY, _QZ, _R, _G, _B, _ALPHA = range(14)
_ENOUGH = 0.004
"""What may be left of a matrix beside its diagonal: a quarter of a byte's step."""
# Minimax fits of this project: cos(½·atan t), and sin(½·atan t)/t, by t² in 0..1; off by 3e-6 at most. They spare a root and a
# division, and are summed in pairs, as a long chain of products is what a turn waits for.
_H0, _H1, _H2, _H3, _H4, _H5 = 0.99999767, -0.12482061, 0.0836322, -0.05593963, 0.02761829, -0.00661009
_K0, _K1, _K2, _K3, _K4, _K5 = 0.49999696, -0.187266, 0.11809124, -0.07644099, 0.03710374, -0.00880375
_SWEEPS, _NOT_ZERO = 5, 1e-100
"""Each leaves about the square of what the one before left."""


@kernel
def measure_offsets(
    means: FloatArray,
    scales: FloatArray,
    indices: NDArray[np.intp],
    width: int,
    lens: FloatArray,
    offsets: FloatArray,
    ln: FloatArray,
) -> None:
    """How far some Gaussians lie beside their pixels' centres, and how large they are, to choose ranges by.

    Args:
        means, scales: float32 [N, 3].
        indices: Which. [M].
        width: Of the grid.
        lens: fx, fy, cx, cy. float32 [4].
        offsets: The farther of |x| and |y|, pixels. float32 [M].
        ln: Of the largest scale over a pixel's size at that depth. float32 [M].
    """
    fx, fy, cx, cy = lens[0], lens[1], lens[2], lens[3]
    pixel = _HALF / fx + _HALF / fy
    for j in range(len(indices)):
        i = indices[j]
        u, v = np.float32(i % width) + _HALF, np.float32(i // width) + _HALF
        z = means[i, 2]
        x, y = means[i, 0] / z * fx + cx - u, means[i, 1] / z * fy + cy - v
        offsets[j] = max(abs(x), abs(y))
        ln[j] = log_scale(max(scales[i, 0], scales[i, 1], scales[i, 2])) - log_scale(abs(z) * pixel)


@kernel
def to_planes(
    means: FloatArray,
    scales: FloatArray,
    quats: FloatArray,
    opacities: FloatArray,
    sh: FloatArray,
    kept: NDArray[np.bool_],
    rows: I32,
    columns: I32,
    width: int,
    lens: FloatArray,
    numbers: FloatArray,
    inverse: FloatArray,
    colour: U8,
    front: U8,
    side: U8,
    opacity: U8,
    offset: U8,
) -> None:
    """Fill the planes of a view.

    Args:
        means, scales, quats, opacities, sh: All of the view's Gaussians in its camera's frame, as in ``Gaussians``.
        kept: Which are stored. bool [N].
        rows, columns: Of the grid that the planes' rows and columns take. int32 [H], [W].
        width: Of the grid.
        lens: fx, fy, cx, cy of the planes' own grid, pixels. float32 [4].
        numbers: Lowest and highest ln of a scale over a pixel's size, what scales are multiplied by, the bound of offsets,
            and colour over a DC coefficient. float32 [5].
        inverse: 1/z; 0 where none is stored. float32 [H, W].
        colour, front, side, offset: uint8 [H, W, 3].
        opacity: uint8 [H, W, 1].
    """
    fx, fy, cx, cy = lens[0], lens[1], lens[2], lens[3]
    low, high, growth, bound, colour_of_dc = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    gain, offset_gain = _FULL / (high - low), _SPAN / bound
    beside_gain = np.float32(2) * _SPAN / (high - low)
    per_pixel = log_scale(np.float32(_HALF / fx + _HALF / fy) / growth)
    n = len(columns)
    block, out = np.empty((14, n), np.float32), np.empty((12, n), np.int32)
    for v in range(len(rows)):
        base = rows[v] * width
        for u in range(n):
            i = base + columns[u]
            for k in range(3):
                block[_X + k, u], block[_SX + k, u], block[_R + k, u] = means[i, k], scales[i, k], sh[i, 0, k]
            for k in range(4):
                block[_QW + k, u] = quats[i, k]
            block[_ALPHA, u] = opacities[i]
            inverse[v, u] = _ONE / means[i, 2] if kept[i] else _ZERO
        top = np.float32(v) + _HALF
        for u in range(n):
            x, y, z = block[_X, u], block[_Y, u], block[_Z, u]
            over = _ONE / z
            out[0, u] = to_byte((_HALF + block[_R, u] * colour_of_dc) * _FULL)
            out[1, u] = to_byte((_HALF + block[_G, u] * colour_of_dc) * _FULL)
            out[2, u] = to_byte((_HALF + block[_B, u] * colour_of_dc) * _FULL)
            alpha = to_byte(block[_ALPHA, u] * _FULL)
            out[9, u] = alpha if alpha > 0 else np.int32(1)
            out[10, u] = to_byte((x * over * fx + cx - (np.float32(u) + _HALF)) * offset_gain + _MIDDLE)
            out[11, u] = to_byte((y * over * fy + cy - top) * offset_gain + _MIDDLE)
        for u in range(n):
            own = log_scale(abs(block[_Z, u])) + per_pixel
            a = min(max(log_scale(block[_SX, u]) - own, low), high)
            b = min(max(log_scale(block[_SY, u]) - own, low), high)
            c = min(max(log_scale(block[_SZ, u]) - own, low), high)
            w, x, y, z = block[_QW, u], block[_QX, u], block[_QY, u], block[_QZ, u]
            two = np.float32(2) / (w * w + x * x + y * y + z * z)
            # Rows of the rotation; R · diag(a, b, c) · Rᵀ.
            xa, xb, xc = _ONE - two * (y * y + z * z), two * (x * y - w * z), two * (x * z + w * y)
            ya, yb, yc = two * (x * y + w * z), _ONE - two * (x * x + z * z), two * (y * z - w * x)
            za, zb, zc = two * (x * z - w * y), two * (y * z + w * x), _ONE - two * (x * x + y * y)
            out[3, u] = to_byte((xa * xa * a + xb * xb * b + xc * xc * c - low) * gain)
            out[4, u] = to_byte((ya * ya * a + yb * yb * b + yc * yc * c - low) * gain)
            out[5, u] = to_byte((xa * ya * a + xb * yb * b + xc * yc * c) * beside_gain + _MIDDLE)
            out[6, u] = to_byte((xa * za * a + xb * zb * b + xc * zc * c) * beside_gain + _MIDDLE)
            out[7, u] = to_byte((ya * za * a + yb * zb * b + yc * zc * c) * beside_gain + _MIDDLE)
            out[8, u] = to_byte((za * za * a + zb * zb * b + zc * zc * c - low) * gain)
        for u in range(n):
            for k in range(3):
                colour[v, u, k], front[v, u, k], side[v, u, k] = out[k, u], out[3 + k, u], out[6 + k, u]
            opacity[v, u, 0] = out[9, u]
            # A blue that makes Cb, blue beside brightness, next to nothing: what is left to code is two channels.
            p, q = out[10, u], out[11, u]
            offset[v, u, 0], offset[v, u, 1], offset[v, u, 2] = p, q, (346 * p + 678 * q + 512) >> 10


@kernel
def fill_holes(units: I32, plane: U8) -> None:
    """Give pixels that are not stored what lies beside them, so that they cost next to nothing.

    Args:
        units: 0 where none is stored. int32 [H, W].
        plane: Changed there. uint8 [H, W, C].
    """
    height, width, channels = plane.shape
    for v in range(height):
        for u in range(width):
            if units[v, u] != 0:
                continue
            for c in range(channels):
                left = np.int32(plane[v, u - 1, c]) if u > 0 else (np.int32(plane[v - 1, u, c]) if v > 0 else np.int32(MIDDLE))
                above = np.int32(plane[v - 1, u, c]) if v > 0 else left
                plane[v, u, c] = (left + above) >> 1


@inline
def principal_axes(
    xx: float, yy: float, zz: float, xy: float, xz: float, yz: float
) -> tuple[float, float, float, float, float, float, float]:
    """Eigenvalues of a symmetric matrix, and the rotation (wxyz) whose columns are its eigenvectors.

    By Jacobi's rotations (1846). Sums, products, quotients and roots of float64 alone, so that every decoder finds the same axes
    where any would do.
    """
    w, x, y, z = 1.0, 0.0, 0.0, 0.0
    for sweep in range(_SWEEPS):
        # Two are mostly enough, and what they don't ask the processor can't guess wrongly.
        if sweep >= 2 and max(abs(xy), abs(xz), abs(yz)) <= _ENOUGH:
            break
        t, c, s, h, k = _turn(xx, yy, xy)
        xx, yy, xy, xz, yz = xx - t * xy, yy + t * xy, 0.0, c * xz - s * yz, s * xz + c * yz
        w, x, y, z = w * h + z * k, x * h - y * k, y * h + x * k, z * h - w * k
        t, c, s, h, k = _turn(xx, zz, xz)
        xx, zz, xz, xy, yz = xx - t * xz, zz + t * xz, 0.0, c * xy - s * yz, s * xy + c * yz
        w, x, y, z = w * h - y * k, x * h - z * k, y * h + w * k, z * h + x * k
        t, c, s, h, k = _turn(yy, zz, yz)
        yy, zz, yz, xy, xz = yy - t * yz, zz + t * yz, 0.0, c * xy - s * xz, s * xy + c * xz
        w, x, y, z = w * h + x * k, x * h - w * k, y * h - z * k, z * h + y * k
    length = np.sqrt(w * w + x * x + y * y + z * z)
    return xx, yy, zz, w / length, x / length, y / length, z / length


@inline
def _turn(first: float, second: float, beside: float) -> tuple[float, float, float, float, float]:
    """The angle, up to 45°, that makes ``beside`` nothing: its tangent, cosine and sine, and cosine and sine of its half."""
    apart, twice = second - first, 2.0 * beside
    size = twice / (abs(apart) + np.sqrt(apart * apart + twice * twice) + _NOT_ZERO)
    t = size if apart >= 0.0 else -size
    q = t * t
    qq = q * q
    h = (_H0 + q * _H1) + qq * ((_H2 + q * _H3) + qq * (_H4 + q * _H5))
    k = t * ((_K0 + q * _K1) + qq * ((_K2 + q * _K3) + qq * (_K4 + q * _K5)))
    return t, h * h - k * k, 2.0 * h * k, h, k


@inline
def _move_back(pose: NDArray[np.float64], mean: FloatArray) -> None:
    """A centre from a view's frame to the first camera's."""
    x, y, z = mean[0] - pose[0, 3], mean[1] - pose[1, 3], mean[2] - pose[2, 3]
    for k in range(3):
        mean[k] = np.float32(pose[0, k] * x + pose[1, k] * y + pose[2, k] * z)


@inline
def _turn_back(
    r: NDArray[np.float64], xx: float, yy: float, zz: float, xy: float, xz: float, yz: float
) -> tuple[float, float, float, float, float, float]:
    """A symmetric matrix from a view's frame to the first camera's: Rᵀ·M·R."""
    a0, a1, a2 = (
        xx * r[0, 0] + xy * r[1, 0] + xz * r[2, 0],
        xy * r[0, 0] + yy * r[1, 0] + yz * r[2, 0],
        xz * r[0, 0] + yz * r[1, 0] + zz * r[2, 0],
    )
    b0, b1, b2 = (
        xx * r[0, 1] + xy * r[1, 1] + xz * r[2, 1],
        xy * r[0, 1] + yy * r[1, 1] + yz * r[2, 1],
        xz * r[0, 1] + yz * r[1, 1] + zz * r[2, 1],
    )
    c0, c1, c2 = (
        xx * r[0, 2] + xy * r[1, 2] + xz * r[2, 2],
        xy * r[0, 2] + yy * r[1, 2] + yz * r[2, 2],
        xz * r[0, 2] + yz * r[1, 2] + zz * r[2, 2],
    )
    return (
        r[0, 0] * a0 + r[1, 0] * a1 + r[2, 0] * a2,
        r[0, 1] * b0 + r[1, 1] * b1 + r[2, 1] * b2,
        r[0, 2] * c0 + r[1, 2] * c1 + r[2, 2] * c2,
        r[0, 0] * b0 + r[1, 0] * b1 + r[2, 0] * b2,
        r[0, 0] * c0 + r[1, 0] * c1 + r[2, 0] * c2,
        r[0, 1] * c0 + r[1, 1] * c1 + r[2, 1] * c2,
    )


@kernel
def from_planes(
    units: I32,
    colour: U8,
    front: U8,
    side: U8,
    opacity: U8,
    offset: U8,
    lens: FloatArray,
    numbers: FloatArray,
    pose: NDArray[np.float64],
    dc_of: FloatArray,
    means: FloatArray,
    scales: FloatArray,
    quats: FloatArray,
    opacities: FloatArray,
    sh: FloatArray,
) -> None:
    """The Gaussians of a view's planes, in the first camera's frame, row by row.

    Args:
        units: 0: none. int32 [H, W].
        colour, front, side: uint8 [H, W, 3].
        opacity: uint8 [H, W, 1].
        offset: uint8 [H, W, 3]; of 1×1 pixel: for all.
        lens: fx, fy, cx, cy. float32 [4].
        numbers: Inverse depth of a unit, the bound of offsets, and the lowest and highest ln of a scale over a pixel's size.
            float32 [4].
        pose: First camera to this one; empty: they are the same. float64 [3, 4], or [0, 4].
        dc_of: Byte → DC coefficient. float32 [256].
        means, scales, quats, opacities, sh: Filled; as many as units are above 0.
    """
    fx, fy, cx, cy = lens[0], lens[1], lens[2], lens[3]
    pixel = _HALF / fx + _HALF / fy
    unit, step = numbers[0], numbers[1] / _SPAN
    low, high = float(numbers[2]), float(numbers[3])
    along, beside = (high - low) / 255.0, (high - low) / 254.0
    many = offset.shape[0] * offset.shape[1] > 1
    i = 0
    for v in range(units.shape[0]):
        for u in range(units.shape[1]):
            if units[v, u] == 0:
                continue
            z = _ONE / (np.float32(units[v, u]) * unit)
            at_v, at_u = (v, u) if many else (0, 0)
            x = np.float32(u) + _HALF + (np.float32(offset[at_v, at_u, 0]) - _MIDDLE) * step
            y = np.float32(v) + _HALF + (np.float32(offset[at_v, at_u, 1]) - _MIDDLE) * step
            means[i, 0], means[i, 1], means[i, 2] = (x - cx) / fx * z, (y - cy) / fy * z, z
            xx, yy = low + along * float(front[v, u, 0]), low + along * float(front[v, u, 1])
            zz = low + along * float(side[v, u, 2])
            xy = beside * (float(front[v, u, 2]) - MIDDLE)
            xz, yz = beside * (float(side[v, u, 0]) - MIDDLE), beside * (float(side[v, u, 1]) - MIDDLE)
            if len(pose):
                _move_back(pose, means[i])
                xx, yy, zz, xy, xz, yz = _turn_back(pose, xx, yy, zz, xy, xz, yz)
            first, second, third, qw, qx, qy, qz = principal_axes(xx, yy, zz, xy, xz, yz)
            quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3] = qw, qx, qy, qz
            size = pixel * z
            scales[i, 0] = exp32(np.float32(min(max(first, low), high))) * size
            scales[i, 1] = exp32(np.float32(min(max(second, low), high))) * size
            scales[i, 2] = exp32(np.float32(min(max(third, low), high))) * size
            for k in range(3):
                sh[i, 0, k] = dc_of[colour[v, u, k]]
            opacities[i] = np.float32(max(opacity[v, u, 0], np.uint8(1))) / _FULL
            i += 1
