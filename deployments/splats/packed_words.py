"""The kernels of the ``packed`` codec: Gaussians → SparkJS words and back, bit for bit what SparkJS computes.

Every value is computed fast, in loops that vectorise, and corrected where the fast value could round to another byte than
SparkJS's: scale, opacity and angle bytes against tables of the exact steps, rotation axes, which depend on three numbers, by
redoing the few (0.2 %) that lie next to a rounding boundary in SparkJS's own arithmetic. Layout: :mod:`deployments.splats.packed`.
"""

import math

import numpy as np
from numpy.typing import NDArray

from deployments.splats.activations import SH_C0, log_scale, logit_opacity
from deployments.splats.errors import no_direction, not_finite
from deployments.splats.gaussians import FloatArray
from deployments.splats.kernel import inline, kernel

# Gaussians worked on at a time, so that the intermediate bytes stay in the first-level cache (512 × 40 bytes).
_BLOCK = 512

_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
_C0, _FULL, _HALF_FULL = np.float32(SH_C0), np.float32(255), np.float32(127.5)
_PI = np.float32(math.pi)
# θ in bytes is 2·255/π · acos(w); acos(w) = √(1−w) · A(w), a minimax fit of this project, 1e-7 relative.
_THETA = np.float32(510 / math.pi)
_A0, _A1, _A2, _A3, _A4, _A5, _A6 = (
    np.float32(c) for c in (1.5707961, -0.21458471, 0.08874905, -0.04877412, 0.02684475, -0.01109688, 0.00227945)
)
# How near a rounding boundary, in bytes, the fast rotation is not trusted: 5 times its largest error.
_DOUBT = np.float32(5e-4)
# How far below the true value the fast scale and opacity bytes start, in bytes: above their largest error.
_BELOW = np.float32(0.01)

# fdlibm's acosf: π/2 in two parts, and the rational approximation.
_PI_2_HIGH, _PI_2_LOW = np.float32(1.5707962513), np.float32(7.5497894159e-08)
_P0, _P1, _P2 = np.float32(1.6666586697e-01), np.float32(-4.2743422091e-02), np.float32(-8.6563630030e-03)
_Q1 = np.float32(-7.0662963390e-01)
_HEAD_BITS = np.int32(-4096)  # all but the last 12 bits

_SIGN16, _MAGNITUDE = np.int32(0x8000), np.int32(0x7FFFFFFF)
_HALF_MAX = np.int32(0x477FE000)  # 65504, the largest f16, as a float32
_HALF_NORMAL = np.int32(0x38800000)  # 2⁻¹⁴, the smallest normal f16, as a float32
_HALF_REBIAS = np.int32((127 - 15) << 23)


@inline
def half_bits(value: np.float32) -> np.int32:
    """The f16 next to ``value``, ties to even, clamped to ±65504, as bits."""
    bits = np.float32(value).view(np.int32)
    size = np.int32(bits & _MAGNITUDE)
    size = size if size < _HALF_MAX else _HALF_MAX
    odd = np.int32(np.int32(size >> np.int32(13)) & np.int32(1))
    normal = np.int32(np.int32(size + np.int32(0xFFF) + odd - _HALF_REBIAS) >> np.int32(13))
    # Below 2⁻¹⁴ the last bit of an f16 is 2⁻²⁴, which is the last bit of a float32 in ½..1: adding ½ rounds to it.
    subnormal = np.int32(np.float32(np.int32(size).view(np.float32) + _HALF).view(np.int32) - np.int32(0x3F000000))
    half = normal if size >= _HALF_NORMAL else subnormal
    return np.int32(half | np.int32(np.int32(bits >> np.int32(16)) & _SIGN16))


@inline
def to_byte(value: np.float32) -> np.int32:
    """``value`` clamped to 0..255 and rounded, halves up. (Adding ½ first would round 0.49999997 up.)"""
    v = value if value > _ZERO else _ZERO
    v = v if v < _FULL else _FULL
    whole = np.int32(v)
    return np.int32(whole + np.int32(np.float32(v - np.float32(whole)) >= _HALF))


@kernel
def encode_words(
    means: FloatArray,
    scales: FloatArray,
    quats: FloatArray,
    opacities: FloatArray,
    sh: FloatArray,
    scale_steps: FloatArray,
    opacity_steps: FloatArray,
    w_steps: FloatArray,
    rgb_min: np.float32,
    rgb_max: np.float32,
    ln_min: np.float32,
    ln_max: np.float32,
    words: NDArray[np.uint32],
) -> bool:
    """Fill ``words``; False if a value cannot be stored (the words are then not to be used).

    Args:
        means: float32 [3·N].
        scales: float32 [3·N].
        quats: wxyz. float32 [N, 4].
        opacities: float32 [N].
        sh: Only DC is used. float32 [N, K, 3].
        scale_steps: Smallest scale of each byte. float32 [257].
        opacity_steps: Smallest opacity of each byte. float32 [257].
        w_steps: Largest w of each angle byte. float32 [257].
        rgb_min, rgb_max, ln_min, ln_max: The header's ranges.
        words: uint32 [4·N].
    """
    n = opacities.size
    halves, sizes = np.empty(3 * _BLOCK, np.int32), np.empty(3 * _BLOCK, np.int32)
    alphas, turns, doubts = np.empty(_BLOCK, np.int32), np.empty(_BLOCK, np.int32), np.empty(_BLOCK, np.int32)
    cosines = np.empty(_BLOCK, np.float32)
    per_ln = np.float32(np.float32(254) / np.float32(ln_max - ln_min))
    rgb_size = np.float32(rgb_max - rgb_min)
    bad = np.int32(0)
    for start in range(0, n, _BLOCK):
        count = min(_BLOCK, n - start)
        block = means[3 * start : 3 * (start + count)]
        for i in range(block.size):
            halves[i] = half_bits(block[i])
            bad |= not_finite(block[i])
        block = scales[3 * start : 3 * (start + count)]
        for i in range(block.size):
            bad |= not_finite(block[i]) | np.int32(np.float32(block[i]).view(np.int32) < np.int32(0))
            guess = np.float32((log_scale(block[i]) - ln_min) * per_ln + (np.float32(1.5) - _BELOW))
            guess = guess if guess > _ZERO else _ZERO
            sizes[i] = np.int32(guess if guess < _FULL else _FULL)
        for i in range(block.size):
            sizes[i] += np.int32(block[i] >= scale_steps[sizes[i] + 1])
        block = opacities[start : start + count]
        for i in range(block.size):
            bad |= not_finite(block[i])
            guess = np.float32(block[i] * _FULL + (_HALF - _BELOW))
            guess = guess if guess > _ZERO else _ZERO
            alphas[i] = np.int32(guess if guess < _FULL else _FULL)
        for i in range(block.size):
            alphas[i] += np.int32(block[i] >= opacity_steps[alphas[i] + 1])
        rows = quats[start : start + count]
        for i in range(count):
            turns[i], doubts[i], cosines[i], broken = fast_turn(rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3])
            bad |= broken
        for i in range(count):
            angle = turns[i] >> 16
            turns[i] += np.int32(cosines[i] <= w_steps[angle + 1]) << 16
            if doubts[i]:
                turns[i] = (turns[i] & 0xFF0000) | exact_axis(rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3])
        for i in range(count):
            colour = np.int32(alphas[i] << 24)
            for c in range(3):
                dc = sh[start + i, 0, c]
                bad |= not_finite(dc)
                value = np.float32(np.float32(np.float32(_HALF + dc * _C0) - rgb_min) / rgb_size)
                colour |= np.int32(to_byte(np.float32(value * _FULL)) << (8 * c))
            at = 4 * (start + i)
            words[at] = np.uint32(colour)
            words[at + 1] = np.uint32(halves[3 * i] | halves[3 * i + 1] << 16)
            words[at + 2] = np.uint32(halves[3 * i + 2] | turns[i] << 16)
            words[at + 3] = np.uint32(
                sizes[3 * i] | sizes[3 * i + 1] << 8 | sizes[3 * i + 2] << 16 | np.int32(turns[i] >> 16) << 24
            )
    return bad == 0


@inline
def fast_turn(w: np.float32, x: np.float32, y: np.float32, z: np.float32) -> tuple[np.int32, np.int32, np.float32, np.int32]:
    """Rotation bytes u | v << 8 | θ << 16, θ rounded down; whether u or v is in doubt; |w| normalised; no direction."""
    square = np.float32(np.float32(np.float32(x * x + y * y) + z * z) + w * w)
    # Times 1/length would be faster, and not what SparkJS does: w decides θ to its last bit.
    length = np.float32(np.sqrt(square))
    w, x, y, z = w / length, x / length, y / length, z / length
    sign = -_ONE if w < _ZERO else _ONE
    w, x, y, z = w * sign, x * sign, y * sign, z * sign
    w = w if w < _ONE else _ONE
    p = _A6
    p = p * w + _A5
    p = p * w + _A4
    p = p * w + _A3
    p = p * w + _A2
    p = p * w + _A1
    p = p * w + _A0
    theta = np.float32(np.sqrt(_ONE - w) * p * _THETA)
    still = w >= _ONE
    ax, ay = np.abs(x), np.abs(y)
    total = np.float32(ax + ay + np.abs(z))
    total = _ONE if still else total
    px, py = np.float32(x / total), np.float32(y / total)
    fx = np.float32((_ONE - np.abs(py)) * (_ONE if px >= _ZERO else -_ONE))
    fy = np.float32((_ONE - np.abs(px)) * (_ONE if py >= _ZERO else -_ONE))
    # A zero gives exactly 127.5, which no rounding error can move; common enough (flat scenes) to leave out of the doubts.
    sure_u, sure_v = (px == _ZERO) & (z >= _ZERO), (py == _ZERO) & (z >= _ZERO)
    px, py = (fx, fy) if z < _ZERO else (px, py)
    px, py = (_ONE, _ZERO) if still else (px, py)
    u = np.float32(px * _HALF_FULL + _HALF_FULL) + _HALF
    v = np.float32(py * _HALF_FULL + _HALF_FULL) + _HALF
    iu, iv = np.int32(u), np.int32(v)
    doubt = np.int32(0) if sure_u else doubtful(np.float32(u - np.float32(iu)))
    doubt |= np.int32(0) if sure_v else doubtful(np.float32(v - np.float32(iv)))
    doubt = np.int32(0) if still else doubt
    iu = iu if iu < np.int32(255) else np.int32(255)
    iv = iv if iv < np.int32(255) else np.int32(255)
    it = np.int32(theta + (_HALF - _BELOW))
    return np.int32(iu | np.int32(iv << np.int32(8)) | np.int32(it << np.int32(16))), doubt, w, no_direction(square)


@inline
def doubtful(fraction: np.float32) -> np.int32:
    """1 if a value this far above a whole number is next to one."""
    return np.int32((fraction < _DOUBT) | (fraction > _ONE - _DOUBT))


@inline
def exact_axis(w: np.float32, x: np.float32, y: np.float32, z: np.float32) -> np.int32:
    """Axis bytes u | v << 8 in SparkJS's own float32 steps (rust/spark-lib/src/splat_encode.rs, ``encode_quat_oct888``)."""
    square = np.float32(np.float32(np.float32(x * x + y * y) + z * z) + w * w)
    length = np.float32(np.sqrt(square))
    w, x, y, z = np.float32(w / length), np.float32(x / length), np.float32(y / length), np.float32(z / length)
    if w < _ZERO:
        w, x, y, z = -w, -x, -y, -z
    sine = np.float32(math.sin(np.float64(acos32(min(w, _ONE)))))
    x, y, z = np.float32(x / sine), np.float32(y / sine), np.float32(z / sine)
    total = np.float32(np.float32(abs(x) + abs(y)) + abs(z))
    px, py = np.float32(x / total), np.float32(y / total)
    if z < _ZERO:
        fx = np.float32((_ONE - abs(py)) * (_ONE if px >= _ZERO else -_ONE))
        py = np.float32((_ONE - abs(px)) * (_ONE if py >= _ZERO else -_ONE))
        px = fx
    u = to_byte(np.float32(np.float32(np.float32(px + _ONE) / _TWO) * _FULL))
    v = to_byte(np.float32(np.float32(np.float32(py + _ONE) / _TWO) * _FULL))
    return np.int32(u | v << 8)


@inline
def acos32(x: np.float32) -> np.float32:
    """acos of 0..1 to the last bit of the float32 libm that SparkJS runs on.

    That is fdlibm's method: with R(z) a rational approximation, π/2 − (x + x·R(x²)) below ½, and 2·asin(√((1−x)/2)) above, its
    root taken as a head of 12 bits and the exact rest. The coefficients are fdlibm's, which any bit-equal acos has to use.
    """
    if x < _HALF:
        z = np.float32(x * x)
        return np.float32(_PI_2_HIGH - np.float32(x - np.float32(_PI_2_LOW - np.float32(x * acos_ratio(z)))))
    z = np.float32(np.float32(_ONE - x) * _HALF)
    if z == _ZERO:
        return _ZERO
    root = np.float32(np.sqrt(z))
    head = np.int32(np.float32(root).view(np.int32) & _HEAD_BITS).view(np.float32)
    rest = np.float32(np.float32(z - np.float32(head * head)) / np.float32(root + head))
    return np.float32(_TWO * np.float32(head + np.float32(np.float32(acos_ratio(z) * root) + rest)))


@inline
def acos_ratio(z: np.float32) -> np.float32:
    """R(z) of :func:`acos32`: (asin(x) − x) / x at z = x²."""
    p = np.float32(_P1 + np.float32(z * _P2))
    p = np.float32(z * np.float32(_P0 + np.float32(z * p)))
    return np.float32(p / np.float32(_ONE + np.float32(z * _Q1)))


@kernel
def angle_steps(out: FloatArray) -> None:
    """Fill entry b with the largest w for which SparkJS's angle byte is b or more. float32 [256]."""
    for b in range(256):
        low, high = np.int32(0), np.float32(1).view(np.int32)
        while low < high:
            middle = (low + high + 1) // 2
            theta = np.float32(_TWO * acos32(np.int32(middle).view(np.float32)))
            if to_byte(np.float32(np.float32(theta / _PI) * _FULL)) >= b:
                low = middle
            else:
                high = middle - 1
        out[b] = np.int32(low).view(np.float32)


@kernel
def first_at_least_log(logs: FloatArray, out: FloatArray) -> None:
    """The smallest scales whose stored log reaches each of ``logs``. float32, same shape."""
    for i in range(logs.size):
        low, high = np.int32(1), np.int32(0x7F7FFFFF)
        while low < high:
            middle = (low + high) // 2
            if log_scale(np.int32(middle).view(np.float32)) >= logs[i]:
                high = middle
            else:
                low = middle + 1
        out[i] = np.int32(low).view(np.float32)


@kernel
def first_at_least_logit(logits: FloatArray, out: FloatArray) -> None:
    """The smallest opacities whose stored logit reaches each of ``logits``. float32, same shape."""
    for i in range(logits.size):
        low, high = np.int32(0), np.float32(1).view(np.int32)
        while low < high:
            middle = (low + high) // 2
            if logit_opacity(np.int32(middle).view(np.float32)) >= logits[i]:
                high = middle
            else:
                low = middle + 1
        out[i] = np.int32(low).view(np.float32)


@kernel
def decode_words(
    words: NDArray[np.uint32],
    scale_of: FloatArray,
    dc_of: FloatArray,
    scales: FloatArray,
    quats: FloatArray,
    opacities: FloatArray,
    sh: FloatArray,
) -> None:
    """Everything but the centres, which numpy reads as f16.

    Args:
        words: uint32 [4·N].
        scale_of: Byte → scale. float32 [256].
        dc_of: Byte → DC coefficient. float32 [256].
        scales, quats, opacities, sh: Filled. float32 [N, 3], [N, 4], [N], [N, 1, 3].
    """
    sines, cosines = np.empty(256, np.float32), np.empty(256, np.float32)
    for b in range(256):
        half = b / 255 * math.pi / 2
        sines[b], cosines[b] = math.sin(half), math.cos(half)
    for i in range(opacities.size):
        w0, w2, w3 = words[4 * i], words[4 * i + 2], words[4 * i + 3]
        for c in range(3):
            sh[i, 0, c] = dc_of[w0 >> np.uint32(8 * c) & np.uint32(255)]
            scales[i, c] = scale_of[w3 >> np.uint32(8 * c) & np.uint32(255)]
        opacities[i] = np.float32(w0 >> np.uint32(24)) / _FULL
        x = np.float32(w2 >> np.uint32(16) & np.uint32(255)) / _HALF_FULL - _ONE
        y = np.float32(w2 >> np.uint32(24)) / _HALF_FULL - _ONE
        z = np.float32(_ONE - abs(x) - abs(y))
        fold = -z if z < _ZERO else _ZERO
        x = x - fold if x >= _ZERO else x + fold
        y = y - fold if y >= _ZERO else y + fold
        angle = w3 >> np.uint32(24)
        by = np.float32(sines[angle] / np.sqrt(np.float32(x * x + y * y + z * z)))
        quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3] = cosines[angle], x * by, y * by, z * by
