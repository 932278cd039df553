"""Gaussians on a grid ↔ the numbers of the ``planes`` codec's planes. Layout: :mod:`deployments.splats.codecs.planes`.

An ellipsoid looks the same after half a turn about one of its own axes, so that four rotations, and their negatives, mean the
same. A frame stores the one of the four whose w is the largest as a rule, so that a network which likes its splats upside down
costs no more than one that does not; a Gaussian whose w would then be small, so that w could not follow from x, y, z without
losing digits, stores the one of the smallest angle. To choose for each Gaussian alone would cost half as many bytes again: what
jumps from one to the other has an edge there.
"""

import numpy as np
from numpy.typing import NDArray

from deployments.splats.activations import log_scale
from deployments.splats.codecs.packed_words import to_byte
from deployments.splats.gaussians import FloatArray
from deployments.splats.kernel import kernel

U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]

MIDDLE, HALF_SPAN = 128, 127
"""Byte of 0, and bytes from there to the bound, of rotations (1) and offsets: 0 is exact."""

_ZERO, _HALF, _ONE, _FULL = np.float32(0), np.float32(0.5), np.float32(1), np.float32(255)
_MIDDLE, _SPAN = np.float32(MIDDLE), np.float32(HALF_SPAN)
_SMALL_W = np.float32(0.3)
"""Of w: below it an error of x, y, z in the length of their vector is tripled in w."""
_X, _Y, _Z, _SX, _SY, _SZ, _QW, _QX, _QY, _QZ, _R, _G, _B, _ALPHA = range(14)
# Columns of a row's bytes: colour, scales, rotation, opacity, offset.
_C, _S, _T, _O, _F = 0, 3, 6, 9, 10


@kernel
def measure_offsets(
    means: FloatArray, scales: FloatArray, indices: NDArray[np.intp], width: int, lens: FloatArray, offsets: FloatArray, ln: FloatArray
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
    half_turn: int,
    lens: FloatArray,
    numbers: FloatArray,
    inverse: FloatArray,
    colour: U8,
    scale: U8,
    turn: U8,
    opacity: U8,
    offset: U8,
) -> None:
    """Fill the planes of a view.

    Args:
        means, scales, quats, opacities, sh: All of the view's Gaussians in its camera's frame, as in ``Gaussians``.
        kept: Which are stored. bool [N].
        rows, columns: Of the grid that the planes' rows and columns take. int32 [H], [W].
        width: Of the grid.
        half_turn: Which of the four rotations are stored as a rule: 0, as they are; 1, 2, 3, after half a turn about x, y, z.
        lens: fx, fy, cx, cy of the planes' own grid, pixels. float32 [4].
        numbers: Lowest and highest ln of a scale over a pixel's size, what scales are multiplied by, the bound of offsets,
            and colour over a DC coefficient. float32 [5].
        inverse: 1/z; 0 where none is stored. float32 [H, W].
        colour, scale, turn, offset: uint8 [H, W, 3].
        opacity: uint8 [H, W, 1].
    """
    fx, fy, cx, cy = lens[0], lens[1], lens[2], lens[3]
    low, high, growth, bound, colour_of_dc = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    scale_gain, offset_gain = _FULL / (high - low), _SPAN / bound
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
            ln = log_scale(abs(z)) + per_pixel
            for k in range(3):
                out[_C + k, u] = to_byte((_HALF + block[_R + k, u] * colour_of_dc) * _FULL)
                out[_S + k, u] = to_byte((log_scale(block[_SX + k, u]) - ln - low) * scale_gain)
            alpha = to_byte(block[_ALPHA, u] * _FULL)
            out[_O, u] = alpha if alpha > 0 else np.int32(1)
            a = to_byte((x * over * fx + cx - (np.float32(u) + _HALF)) * offset_gain + _MIDDLE)
            b = to_byte((y * over * fy + cy - top) * offset_gain + _MIDDLE)
            out[_F, u], out[_F + 1, u] = a, b
        for u in range(n):
            w, x, y, z = block[_QW, u], block[_QX, u], block[_QY, u], block[_QZ, u]
            length = np.sqrt(w * w + x * x + y * y + z * z)
            aw, ax, ay, az = abs(w), abs(x), abs(y), abs(z)
            usual = aw if half_turn == 0 else ax if half_turn == 1 else ay if half_turn == 2 else az
            most = max(max(aw, ax), max(ay, az)) if usual < _SMALL_W * length else usual
            by_x, by_y, by_z = ax == most, ay == most, az == most
            p, a, b, c = w, x, y, z
            p, a, b, c = (x if by_x else p), (-w if by_x else a), (-z if by_x else b), (y if by_x else c)
            p, a, b, c = (y if by_y else p), (z if by_y else a), (-w if by_y else b), (-x if by_y else c)
            p, a, b, c = (z if by_z else p), (-y if by_z else a), (x if by_z else b), (-w if by_z else c)
            gain = (_SPAN if p > _ZERO else -_SPAN) / length
            out[_T, u], out[_T + 1, u], out[_T + 2, u] = (
                to_byte(a * gain + _MIDDLE), to_byte(b * gain + _MIDDLE), to_byte(c * gain + _MIDDLE),
            )  # fmt: skip
        for u in range(n):
            for k in range(3):
                colour[v, u, k], scale[v, u, k], turn[v, u, k] = out[_C + k, u], out[_S + k, u], out[_T + k, u]
            opacity[v, u, 0] = out[_O, u]
            # A blue that makes the pair's Cb nothing: only brightness and Cr are left to code.
            a, b = out[_F, u], out[_F + 1, u]
            offset[v, u, 0], offset[v, u, 1], offset[v, u, 2] = a, b, (299 * a + 587 * b + 443) // 886


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
def from_planes(
    units: I32,
    colour: U8,
    scale: U8,
    turn: U8,
    opacity: U8,
    offset: U8,
    lens: FloatArray,
    numbers: FloatArray,
    scale_of: FloatArray,
    dc_of: FloatArray,
    means: FloatArray,
    scales: FloatArray,
    quats: FloatArray,
    opacities: FloatArray,
    sh: FloatArray,
) -> None:
    """The Gaussians of a view's planes, in its camera's frame, row by row.

    Args:
        units: 0: none. int32 [H, W].
        colour, scale, turn: uint8 [H, W, 3].
        opacity: uint8 [H, W, 1].
        offset: uint8 [H, W, 3]; of 1×1 pixel: for all.
        lens: fx, fy, cx, cy. float32 [4].
        numbers: Inverse depth of a unit; the bound of offsets. float32 [2].
        scale_of: Byte → scale over a pixel's size. float32 [256].
        dc_of: Byte → DC coefficient. float32 [256].
        means, scales, quats, opacities, sh: Filled; as many as units are above 0.
    """
    fx, fy, cx, cy = lens[0], lens[1], lens[2], lens[3]
    pixel = _HALF / fx + _HALF / fy
    unit, step = numbers[0], numbers[1] / _SPAN
    angle = _ONE / _SPAN
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
            a = (np.float32(turn[v, u, 0]) - _MIDDLE) * angle
            b = (np.float32(turn[v, u, 1]) - _MIDDLE) * angle
            c = (np.float32(turn[v, u, 2]) - _MIDDLE) * angle
            square = a * a + b * b + c * c
            # JPEG may push a vector out of the unit ball.
            shrink = _ONE if square <= _ONE else _ONE / np.sqrt(square)
            quats[i, 0] = np.sqrt(max(_ONE - square, _ZERO))
            quats[i, 1], quats[i, 2], quats[i, 3] = a * shrink, b * shrink, c * shrink
            for k in range(3):
                scales[i, k] = scale_of[scale[v, u, k]] * pixel * z
                sh[i, 0, k] = dc_of[colour[v, u, k]]
            opacities[i] = np.float32(max(opacity[v, u, 0], np.uint8(1))) / _FULL
            i += 1
