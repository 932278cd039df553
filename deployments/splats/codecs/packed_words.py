"""The loops of the ``packed`` codec: Gaussians → SparkJS words and back. Layout: :mod:`deployments.splats.codecs.packed`.

To encode, the numbers of a block of Gaussians become columns, so that one loop without branches, which the compiler can turn
into vector instructions, makes all four words. To decode, most numbers are looked up by their byte.
"""

import math

import numpy as np
from numpy.typing import NDArray

from deployments.splats.activations import LN_SCALE_ZERO, log_scale
from deployments.splats.errors import no_direction, not_finite
from deployments.splats.gaussians import FloatArray
from deployments.splats.kernel import inline, kernel

IntArray = NDArray[np.int32]

_BLOCK = 128
"""Gaussians in a block: their columns and words (9 KB) stay in the first-level cache, and the calls a block cost little."""

_X, _Y, _Z, _SX, _SY, _SZ, _QW, _QX, _QY, _QZ, _R, _G, _B, _ALPHA = range(14)
"""Rows of a block."""

_ZERO, _HALF, _ONE, _FULL = np.float32(0), np.float32(0.5), np.float32(1), np.float32(255)
_HALF_FULL, _NEXT = np.float32(127.5), np.float32(128)
_TO_HALF, _FROM_HALF = np.float32(2.0**-112), np.float32(2.0**112)
_HALF_MAX, _HALF_INFINITY = np.float32(65504), np.uint32(0x7C00 << 13)
_ANGLE, _NO_AXIS = np.float32(510 / math.pi), np.int32(255 | 128 << 8)
_A0, _A1, _A2, _A3 = (np.float32(c) for c in (1.5707288, -0.2121144, 0.0742610, -0.0187293))


@kernel
def encode_words(
    means: FloatArray,
    scales: FloatArray,
    quats: FloatArray,
    opacities: FloatArray,
    sh: FloatArray,
    colour_gain: np.float32,
    colour_offset: np.float32,
    ln_gain: np.float32,
    ln_offset: np.float32,
    z_offset: np.float32,
    words: IntArray,
) -> bool:
    """Fill ``words``; False if a value cannot be stored (the words are then not to be used).

    Args:
        means, scales, quats, opacities: float32 [N, 3], [N, 3], [N, 4] (wxyz), [N].
        sh: Only DC is used. float32 [N, K, 3].
        colour_gain, colour_offset: Colour in steps = DC coefficient · gain + offset.
        ln_gain, ln_offset: Scale in steps = ln(scale) · gain + offset.
        z_offset: Taken off every z.
        words: int32 [N, 4].
    """
    n = len(words)
    # Ones are good Gaussians: the last block is worked on whole, and what it doesn't fill is left from the one before.
    block, out = np.ones((14, _BLOCK), np.float32), np.empty((4, _BLOCK), np.int32)
    bad = np.int32(0)
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        transpose(means[start:stop], block[_X : _Z + 1])
        transpose(scales[start:stop], block[_SX : _SZ + 1])
        transpose(quats[start:stop], block[_QW : _QZ + 1])
        transpose(sh[start:stop, 0], block[_R : _B + 1])
        block[_ALPHA, : stop - start] = opacities[start:stop]
        bad |= encode_block(block, colour_gain, colour_offset, ln_gain, ln_offset, z_offset, out)
        transpose(out.T[: stop - start], words[start:stop].T)
    return bool(bad == 0)


@inline
def transpose(source: NDArray[np.generic], out: NDArray[np.generic]) -> None:
    """``source`` [n, k] as ``out`` [k, ≥ n]."""
    for k in range(len(out)):
        for i in range(len(source)):
            out[k, i] = source[i, k]


@inline
def encode_block(
    block: FloatArray,
    colour_gain: np.float32,
    colour_offset: np.float32,
    ln_gain: np.float32,
    ln_offset: np.float32,
    z_offset: np.float32,
    out: IntArray,
) -> np.int32:
    """The words of a block, a column each. Returns 1 if a number cannot be stored."""
    bad = np.int32(0)
    for i in range(_BLOCK):
        x, y, z, alpha = block[_X, i], block[_Y, i], block[_Z, i], block[_ALPHA, i]
        r, g, b = block[_R, i], block[_G, i], block[_B, i]
        sx, sy, sz = block[_SX, i], block[_SY, i], block[_SZ, i]
        qw, qx, qy, qz = block[_QW, i], block[_QX, i], block[_QY, i], block[_QZ, i]
        square = qx * qx + qy * qy + qz * qz + qw * qw
        bad = np.int32(bad | not_finite(x) | not_finite(y) | not_finite(z) | not_finite(alpha))
        bad = np.int32(bad | not_finite(r) | not_finite(g) | not_finite(b) | no_direction(square))
        bad = np.int32(bad | not_a_scale(sx) | not_a_scale(sy) | not_a_scale(sz))
        r, g, b = r * colour_gain + colour_offset, g * colour_gain + colour_offset, b * colour_gain + colour_offset
        sx, sy, sz = scale_byte(sx, ln_gain, ln_offset), scale_byte(sy, ln_gain, ln_offset), scale_byte(sz, ln_gain, ln_offset)
        cosine = abs(qw) / np.sqrt(square)
        axis = axis_bytes(qw, qx, qy, qz)
        axis = axis if cosine < _ONE else _NO_AXIS
        out[0, i] = to_byte(r) | to_byte(g) << 8 | to_byte(b) << 16 | to_byte(alpha * _FULL) << 24
        out[1, i] = half_bits(x) | half_bits(y) << 16
        out[2, i] = half_bits(z - z_offset) | axis << 16
        out[3, i] = sx | sy << 8 | sz << 16 | angle_byte(cosine) << 24
    return bad


@inline
def not_a_scale(value: np.float32) -> np.int32:
    """1 for NaN, infinity and numbers below 0, else 0."""
    return np.int32(not_finite(value) | (value < _ZERO))


@inline
def to_byte(value: np.float32) -> np.int32:
    """The nearest of 0..255."""
    v = value if value > _ZERO else _ZERO
    v = v if v < _FULL else _FULL
    return np.int32(v + _HALF)


@inline
def scale_byte(scale: np.float32, gain: np.float32, offset: np.float32) -> np.int32:
    """0 for scale 0, else the nearest of 1..255."""
    ln = log_scale(scale)
    steps = ln * gain + offset
    byte = to_byte(steps if steps > _ONE else _ONE)
    return byte if ln > LN_SCALE_ZERO else np.int32(0)


@inline
def half_bits(value: np.float32) -> np.int32:
    """The nearest f16, ties to even, within ±65504."""
    size = abs(value)
    size = size if size < _HALF_MAX else _HALF_MAX
    # Times 2⁻¹¹² moves the exponent from float32's bias to f16's, subnormals included; the last 13 bits are then rounded off.
    bits = np.float32(size * _TO_HALF).view(np.int32)
    odd = bits >> 13 & 1
    sign = np.float32(value).view(np.int32) >> 16 & 0x8000
    return np.int32(bits + 0xFFF + odd >> 13 | sign)


@inline
def angle_byte(cosine: np.float32) -> np.int32:
    """255/π · 2·acos(cosine), for 0..1, at most 0.011 off before it is rounded.

    acos(c) = √(1−c) · polynomial: Abramowitz & Stegun 4.4.45.
    """
    polynomial = ((_A3 * cosine + _A2) * cosine + _A1) * cosine + _A0
    return to_byte(np.sqrt(_ONE - cosine) * polynomial * _ANGLE)


@inline
def axis_bytes(w: np.float32, x: np.float32, y: np.float32, z: np.float32) -> np.int32:
    """Octahedral bytes u | v << 8 of the axis; meaningless for x = y = z = 0."""
    sign = -_ONE if w < _ZERO else _ONE
    total = (abs(x) + abs(y) + abs(z)) * sign
    u, v = x / total, y / total
    folded_u = (_ONE - abs(v)) * (_ONE if u >= _ZERO else -_ONE)
    folded_v = (_ONE - abs(u)) * (_ONE if v >= _ZERO else -_ONE)
    back = z * sign < _ZERO
    u = folded_u if back else u
    v = folded_v if back else v
    return np.int32(np.int32(u * _HALF_FULL + _NEXT) | np.int32(v * _HALF_FULL + _NEXT) << 8)


@kernel
def decode_words(
    words: NDArray[np.uint32],
    scale_of: FloatArray,
    dc_of: FloatArray,
    means: FloatArray,
    scales: FloatArray,
    quats: FloatArray,
    opacities: FloatArray,
    sh: FloatArray,
) -> bool:
    """Fill the arrays of N Gaussians; False if a centre is not finite.

    Args:
        words: uint32 [N, 4].
        scale_of: Byte → scale. float32 [256].
        dc_of: Byte → DC coefficient. float32 [256].
        means, scales, quats, opacities, sh: Filled. float32 [N, 3], [N, 3], [N, 4], [N], [N, 1, 3].
    """
    sines, cosines = np.empty(256, np.float32), np.empty(256, np.float32)
    for b in range(256):
        half = b / 255 * math.pi / 2
        sines[b], cosines[b] = math.sin(half), math.cos(half)
    for i in range(len(words)):
        w0, w1, w2, w3 = words[i, 0], words[i, 1], words[i, 2], words[i, 3]
        means[i, 0] = half_value(w1)
        means[i, 1] = half_value(w1 >> np.uint32(16))
        means[i, 2] = half_value(w2)
        for c in range(3):
            sh[i, 0, c] = dc_of[w0 >> np.uint32(8 * c) & np.uint32(255)]
            scales[i, c] = scale_of[w3 >> np.uint32(8 * c) & np.uint32(255)]
        opacities[i] = np.float32(w0 >> np.uint32(24)) / _FULL
        x = np.float32(np.float32(w2 >> np.uint32(16) & np.uint32(255)) / _HALF_FULL - _ONE)
        y = np.float32(np.float32(w2 >> np.uint32(24)) / _HALF_FULL - _ONE)
        z = np.float32(_ONE - abs(x) - abs(y))
        fold = -z if z < _ZERO else _ZERO
        x = x - fold if x >= _ZERO else x + fold
        y = y - fold if y >= _ZERO else y + fold
        angle = w3 >> np.uint32(24)
        by = np.float32(sines[angle] / np.sqrt(np.float32(x * x + y * y + z * z)))
        quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3] = cosines[angle], x * by, y * by, z * by
    bad = np.int32(0)
    flat = means.reshape(-1)
    for i in range(flat.size):
        bad = np.int32(bad | not_finite(flat[i]))
    return bool(bad == 0)


@inline
def half_value(bits: np.uint32) -> np.float32:
    """The f16 in the low half of ``bits``."""
    size = np.uint32((np.uint32(bits) & np.uint32(0x7FFF)) << np.uint32(13))
    # Times 2¹¹² moves the exponent from f16's bias to float32's, subnormals included.
    value = np.float32(np.uint32(size).view(np.float32) * _FROM_HALF)
    value = value if size < _HALF_INFINITY else np.float32(np.uint32(size | np.uint32(0x7F800000)).view(np.float32))
    return -value if np.uint32(bits) & np.uint32(0x8000) else value
