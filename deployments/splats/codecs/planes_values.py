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
F64 = NDArray[np.float64]
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
_USUAL_SWEEPS, _MORE_SWEEPS, _NOT_ZERO = 2, 3, 1e-100
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


@kernel
def diagonalise(m: NDArray[np.float64], n: int) -> None:
    """Eigenvalues of symmetric matrices, and the rotations whose columns are their eigenvectors.

    By Jacobi's rotations (1846), all matrices a turn at a time: one alone would wait for each number. Sums, products, quotients and
    roots of float64 alone, so that every decoder finds the same axes where any would do.

    Args:
        m: A column each: xx, yy, zz, xy, xz, yz, of which the first three become the eigenvalues; then, filled, the rotation, wxyz,
            of a length within 10⁻⁴ of 1. float64 [10, N or more].
        n: How many.
    """
    m[6, :n] = 1.0
    m[7:, :n] = 0.0
    for _ in range(_USUAL_SWEEPS):
        _sweep(m, 0, n)
    for i in range(n):
        for _ in range(_MORE_SWEEPS):
            if max(abs(m[3, i]), abs(m[4, i]), abs(m[5, i])) <= _ENOUGH:
                break
            _sweep(m, i, i + 1)


@inline
def _sweep(m: NDArray[np.float64], start: int, stop: int) -> None:
    _turn(m[0], m[1], m[3], m[4], m[5], m[6], m[9], m[7], m[8], 1.0, start, stop)
    _turn(m[0], m[2], m[4], m[3], m[5], m[6], m[8], m[9], m[7], -1.0, start, stop)
    _turn(m[1], m[2], m[5], m[3], m[4], m[6], m[7], m[8], m[9], 1.0, start, stop)


@inline
def _turn(
    pp: F64, qq: F64, pq: F64, pr: F64, qr: F64, w: F64, axis: F64, following: F64, last: F64, sign: float, start: int, stop: int
) -> None:
    """Turn matrices by the angle, up to 45°, that makes ``pq`` nothing.

    Args:
        pp, qq: The two on the diagonal.
        pq, pr, qr: The three beside it.
        w, axis, following, last: Of the quaternions: about which it is, and the other two in turn.
        sign: Of the turn about that axis.
        start, stop: Which matrices.
    """
    for i in range(start, stop):
        beside = pq[i]
        apart, twice = qq[i] - pp[i], 2.0 * beside
        size = twice / (abs(apart) + np.sqrt(apart * apart + twice * twice) + _NOT_ZERO)
        t = size if apart >= 0.0 else -size
        q = t * t
        square = q * q
        h = (_H0 + q * _H1) + square * ((_H2 + q * _H3) + square * (_H4 + q * _H5))
        half = t * ((_K0 + q * _K1) + square * ((_K2 + q * _K3) + square * (_K4 + q * _K5)))
        c, s, k = h * h - half * half, 2.0 * h * half, sign * half
        pp[i], qq[i], pq[i] = pp[i] - t * beside, qq[i] + t * beside, 0.0
        pr[i], qr[i] = c * pr[i] - s * qr[i], s * pr[i] + c * qr[i]
        ow, oa, of, ol = w[i], axis[i], following[i], last[i]
        w[i], axis[i] = ow * h + oa * k, oa * h - ow * k
        following[i], last[i] = of * h - ol * k, ol * h + of * k


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
    width = units.shape[1]
    m, places = np.empty((10, width), np.float64), np.empty(width, np.int32)
    i = 0
    for v in range(units.shape[0]):
        n = 0
        for u in range(width):
            if units[v, u] == 0:
                continue
            z = _ONE / (np.float32(units[v, u]) * unit)
            at_v, at_u = (v, u) if many else (0, 0)
            x = np.float32(u) + _HALF + (np.float32(offset[at_v, at_u, 0]) - _MIDDLE) * step
            y = np.float32(v) + _HALF + (np.float32(offset[at_v, at_u, 1]) - _MIDDLE) * step
            mean = means[i + n]
            mean[0], mean[1], mean[2] = (x - cx) / fx * z, (y - cy) / fy * z, z
            # Until its shape is known, what that is to be multiplied by.
            scales[i + n, 0] = pixel * z
            m[0, n] = low + along * float(front[v, u, 0])
            m[1, n] = low + along * float(front[v, u, 1])
            m[2, n] = low + along * float(side[v, u, 2])
            m[3, n] = beside * (float(front[v, u, 2]) - MIDDLE)
            m[4, n] = beside * (float(side[v, u, 0]) - MIDDLE)
            m[5, n] = beside * (float(side[v, u, 1]) - MIDDLE)
            if len(pose):
                _move_back(pose, mean)
                m[0, n], m[1, n], m[2, n], m[3, n], m[4, n], m[5, n] = _turn_back(
                    pose, m[0, n], m[1, n], m[2, n], m[3, n], m[4, n], m[5, n]
                )
            places[n] = u
            n += 1
        diagonalise(m, n)
        for j in range(n):
            u = places[j]
            length = np.sqrt(m[6, j] * m[6, j] + m[7, j] * m[7, j] + m[8, j] * m[8, j] + m[9, j] * m[9, j])
            for k in range(4):
                quats[i, k] = m[6 + k, j] / length
            size = scales[i, 0]
            for k in range(3):
                scales[i, k] = exp32(np.float32(min(max(m[k, j], low), high))) * size
                sh[i, 0, k] = dc_of[colour[v, u, k]]
            opacities[i] = np.float32(max(opacity[v, u, 0], np.uint8(1))) / _FULL
            i += 1
