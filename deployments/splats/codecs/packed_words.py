"""The loops of the ``packed`` codec: Gaussians → SparkJS words and back. Layout: :mod:`deployments.splats.codecs.packed`.

Blocks of Gaussians go through short loops, one a field, that vectorise; the words are put together from their results. Scale,
opacity and angle bytes are computed fast and at most one too low, then compared with the tables of exact steps.
"""

import math

import numpy as np
from numpy.typing import NDArray

from deployments.splats.activations import SH_C0
from deployments.splats.codecs.packed_rotation import DOUBT, angle_bytes, axis_bytes, exact_axis, normalise, to_byte
from deployments.splats.errors import not_finite
from deployments.splats.gaussians import FloatArray
from deployments.splats.kernel import inline, kernel

IntArray = NDArray[np.int32]

# Gaussians worked on at a time: what the loops hand on (18 numbers a Gaussian) stays in the first-level cache.
_BLOCK = 256
# How far below the true value the fast bytes start, in bytes; above their largest error, 0.006 (a scale at the narrowest,
# farthest range).
_BELOW = np.float32(0.01)

_ZERO, _HALF, _ONE, _FULL = np.float32(0), np.float32(0.5), np.float32(1), np.float32(255)
_C0, _HALF_FULL, _LOWEST = np.float32(SH_C0), np.float32(127.5), np.float32(1.5)
_I8, _I13, _I16, _I23, _I24 = (np.int32(n) for n in (8, 13, 16, 23, 24))
_SIGN16, _MAGNITUDE = np.int32(0x8000), np.int32(0x7FFFFFFF)
_HALF_MAX = np.int32(0x477FE000)  # 65504, the largest f16, as a float32
_HALF_NORMAL = np.int32(0x38800000)  # 2⁻¹⁴, the smallest normal f16, as a float32
_HALF_REBIAS = np.int32((127 - 15) << 23)
_HALF_SCALE, _HALF_INFINITY = np.float32(2.0**112), np.uint32(0x7C00 << 13)
_HALF_ROUND = np.int32(0xFFF)
_HALF_BITS = np.int32(0x3F000000)  # ½ as a float32
_SQRT_HALF_BITS, _LN2 = np.int32(0x3F3504F3), np.float32(math.log(2))
# ln(1 + f) = f · L(f) on √½−1..√2−1, a minimax fit of this project, 1e-5: enough for a fast scale byte.
_L0, _L1, _L2, _L3, _L4, _L5 = (np.float32(c) for c in (1.00001278, -0.49985051, 0.33225873, -0.25472465, 0.22330067, -0.14319841))


@kernel
def encode_words(
    means: FloatArray,
    scales: FloatArray,
    quats: FloatArray,
    opacities: FloatArray,
    sh: FloatArray,
    scale_steps: FloatArray,
    opacity_steps: FloatArray,
    angle_steps: FloatArray,
    rgb_range: FloatArray,
    ln_range: FloatArray,
    words: IntArray,
) -> bool:
    """Fill ``words``; False if a value cannot be stored (the words are then not to be used).

    Args:
        means: float32 [3·N].
        scales: float32 [3·N].
        quats: wxyz. float32 [N, 4].
        opacities: float32 [N].
        sh: Only DC is used. float32 [N, K, 3].
        scale_steps, opacity_steps, angle_steps: Of :mod:`deployments.splats.codecs.packed_steps`. float32 [257].
        rgb_range, ln_range: The header's. float32 [2].
        words: int32 [4·N].
    """
    n = opacities.size
    halves, sizes, colours = np.empty(3 * _BLOCK, np.int32), np.empty(3 * _BLOCK, np.int32), np.empty(3 * _BLOCK, np.int32)
    alphas, axes, angles = np.empty(_BLOCK, np.int32), np.empty(_BLOCK, np.int32), np.empty(_BLOCK, np.int32)
    w, x, y, z = (
        np.empty(_BLOCK, np.float32),
        np.empty(_BLOCK, np.float32),
        np.empty(_BLOCK, np.float32),
        np.empty(_BLOCK, np.float32),
    )
    distance, dc = np.empty(_BLOCK, np.float32), np.empty(3 * _BLOCK, np.float32)
    bad = np.int32(0)
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        count = stop - start
        bad |= half_bytes(means[3 * start : 3 * stop], halves)
        bad |= scale_bytes(scales[3 * start : 3 * stop], scale_steps, ln_range, sizes)
        bad |= alpha_bytes(opacities[start:stop], opacity_steps, alphas)
        for i in range(count):
            for c in range(3):
                dc[3 * i + c] = sh[start + i, 0, c]
        bad |= colour_bytes(dc[: 3 * count], rgb_range, colours)
        bad |= normalise(quats[start:stop], w, x, y, z)
        angle_bytes(w, _BELOW, angles[:count])
        axis_bytes(w, x, y, z, axes[:count], distance)
        for i in range(count):
            angles[i] += np.int32(w[i] <= angle_steps[angles[i] + 1])
            if distance[i] >= DOUBT:
                axes[i] = exact_axis(w[i], x[i], y[i], z[i])
        block = words[4 * start : 4 * stop]
        for i in range(count):
            red, green, blue = colours[3 * i], colours[3 * i + 1], colours[3 * i + 2]
            a, b, c = sizes[3 * i], sizes[3 * i + 1], sizes[3 * i + 2]
            block[4 * i] = red | np.int32(green << _I8) | np.int32(blue << _I16) | np.int32(alphas[i] << _I24)
            block[4 * i + 1] = halves[3 * i] | np.int32(halves[3 * i + 1] << _I16)
            block[4 * i + 2] = halves[3 * i + 2] | np.int32(axes[i] << _I16)
            block[4 * i + 3] = a | np.int32(b << _I8) | np.int32(c << _I16) | np.int32(angles[i] << _I24)
    return bool(bad == 0)


@inline
def half_bytes(values: FloatArray, out: IntArray) -> np.int32:
    """f16 next to each value, ties to even, clamped to ±65504, as bits. Returns 1 if a value is not finite."""
    bad = np.int32(0)
    for i in range(values.size):
        bad = np.int32(bad | not_finite(values[i]))
        bits = np.float32(values[i]).view(np.int32)
        size = np.int32(bits & _MAGNITUDE)
        size = size if size < _HALF_MAX else _HALF_MAX
        odd = np.int32(np.int32(size >> _I13) & np.int32(1))
        normal = np.int32(np.int32(np.int32(np.int32(size + _HALF_ROUND) + odd) - _HALF_REBIAS) >> _I13)
        # Below 2⁻¹⁴ the last bit of an f16 is 2⁻²⁴, which is the last bit of a float32 in ½..1: adding ½ rounds to it.
        subnormal = np.int32(np.float32(np.int32(size).view(np.float32) + _HALF).view(np.int32) - _HALF_BITS)
        half = normal if size >= _HALF_NORMAL else subnormal
        out[i] = np.int32(half | np.int32(np.int32(bits >> _I16) & _SIGN16))
    return bad


@inline
def scale_bytes(values: FloatArray, steps: FloatArray, ln_range: FloatArray, out: IntArray) -> np.int32:
    """Scale bytes. Returns 1 if a scale is not finite or has its sign bit set."""
    per_ln = np.float32(np.float32(254) / np.float32(ln_range[1] - ln_range[0]))
    offset = np.float32(_LOWEST - _BELOW - ln_range[0] * per_ln)
    bad = np.int32(0)
    for i in range(values.size):
        bits = np.float32(values[i]).view(np.int32)
        bad = np.int32(bad | np.int32(np.uint32(bits) >= np.uint32(0x7F800000)))
        bits = np.int32(bits & _MAGNITUDE)  # −0.0 is 0
        exponent = np.int32(np.int32(bits - _SQRT_HALF_BITS) >> _I23)
        f = np.float32(np.int32(bits - np.int32(exponent << _I23)).view(np.float32) - _ONE)
        p = _L5
        p = p * f + _L4
        p = p * f + _L3
        p = p * f + _L2
        p = p * f + _L1
        p = p * f + _L0
        guess = np.float32(np.float32(p * f + np.float32(exponent) * _LN2) * per_ln + offset)
        guess = guess if guess > _ZERO else _ZERO
        out[i] = np.int32(guess if guess < _FULL else _FULL)
    for i in range(values.size):
        out[i] += np.int32(values[i] >= steps[out[i] + 1])
    return bad


@inline
def alpha_bytes(values: FloatArray, steps: FloatArray, out: IntArray) -> np.int32:
    """Opacity bytes. Returns 1 if a value is not finite."""
    bad = np.int32(0)
    for i in range(values.size):
        bad = np.int32(bad | not_finite(values[i]))
        guess = np.float32(values[i] * _FULL + np.float32(_HALF - _BELOW))
        guess = guess if guess > _ZERO else _ZERO
        out[i] = np.int32(guess if guess < _FULL else _FULL)
    for i in range(values.size):
        out[i] += np.int32(values[i] >= steps[out[i] + 1])
    return bad


@inline
def colour_bytes(dc: FloatArray, rgb_range: FloatArray, out: IntArray) -> np.int32:
    """Colour bytes of DC coefficients. Returns 1 if one is not finite."""
    low, size = rgb_range[0], np.float32(rgb_range[1] - rgb_range[0])
    bad = np.int32(0)
    for i in range(dc.size):
        bad = np.int32(bad | not_finite(dc[i]))
        colour = np.float32(_HALF + np.float32(dc[i] * _C0))
        out[i] = to_byte(np.float32(np.float32(np.float32(colour - low) / size) * _FULL))
    return bad


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
        words: uint32 [4·N].
        scale_of: Byte → scale. float32 [256].
        dc_of: Byte → DC coefficient. float32 [256].
        means, scales, quats, opacities, sh: Filled. float32 [N, 3], [N, 3], [N, 4], [N], [N, 1, 3].
    """
    sines, cosines = np.empty(256, np.float32), np.empty(256, np.float32)
    for b in range(256):
        half = b / 255 * math.pi / 2
        sines[b], cosines[b] = math.sin(half), math.cos(half)
    for i in range(opacities.size):
        w0, w1, w2, w3 = words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3]
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
    value = np.float32(np.uint32(size).view(np.float32) * _HALF_SCALE)
    value = value if size < _HALF_INFINITY else np.float32(np.uint32(size | np.uint32(0x7F800000)).view(np.float32))
    return -value if np.uint32(bits) & np.uint32(0x8000) else value
