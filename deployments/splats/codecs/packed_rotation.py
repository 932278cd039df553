"""Quaternions → SparkJS's three rotation bytes, bit for bit, in loops that vectorise.

With w ≥ 0: θ = 2·acos(w) is one byte; the axis, projected onto the octahedron |x| + |y| + |z| = 1 and folded flat, is two. An
axis byte depends on three rounded numbers, so no table of steps can give it: :func:`axis_bytes` computes it fast and says
how near it is to a rounding boundary, and :func:`exact_axis` redoes the few that are near in SparkJS's own order of operations
(sparkjsdev/spark, ``rust/spark-lib/src/splat_encode.rs``, ``encode_quat_oct888``).
"""

import math

import numpy as np
from numpy.typing import NDArray

from deployments.splats.errors import no_direction
from deployments.splats.gaussians import FloatArray
from deployments.splats.kernel import inline

DOUBT = np.float32(0.5 - 2e-4)
"""A fast axis byte whose unrounded value is this far or farther from the middle of its step is not trusted: the largest error
of the fast value, against SparkJS's, is 7e-5 bytes."""

_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
_HALF_FULL, _FULL = np.float32(127.5), np.float32(255)
# θ in bytes is 510/π · acos(w); acos(w) = √(1−w) · A(w), a minimax fit of this project, 1e-7 relative.
_THETA = np.float32(510 / math.pi)
_A0, _A1, _A2, _A3, _A4, _A5, _A6 = (
    np.float32(c) for c in (1.5707961, -0.21458471, 0.08874905, -0.04877412, 0.02684475, -0.01109688, 0.00227945)
)
# fdlibm's float32 sine and cosine: coefficients of x³, x⁵, … and of x², x⁴, …
_S0, _S1, _S2, _S3 = (
    -0.166666666416265235595,
    0.0083333293858894631756,
    -0.000198393348360966317347,
    0.0000027183114939898219064,
)
_K0, _K1, _K2, _K3 = -0.499999997251031003120, 0.0416666233237390631894, -0.00138867637746099294692, 0.0000243904487962774090654
_PI_4, _PI_2 = np.float32(math.pi / 4), math.pi / 2
# fdlibm's acosf: π/2 in two parts, and the rational approximation.
_PI_2_HIGH, _PI_2_LOW = np.float32(1.5707962513), np.float32(7.5497894159e-08)
_P0, _P1, _P2 = np.float32(1.6666586697e-01), np.float32(-4.2743422091e-02), np.float32(-8.6563630030e-03)
_Q1 = np.float32(-7.0662963390e-01)
_HEAD_BITS = np.int32(-4096)  # all but the last 12 bits


@inline
def normalise(quats: FloatArray, w: FloatArray, x: FloatArray, y: FloatArray, z: FloatArray) -> np.int32:
    """Split wxyz quaternions into unit-length columns with w ≥ 0, as SparkJS's PLY reader does.

    Returns:
        0, or 1 if one of them has no direction.
    """
    n = len(quats)
    for i in range(n):
        w[i], x[i], y[i], z[i] = quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]
    bad = np.int32(0)
    for i in range(n):
        a, b, c, d = x[i], y[i], z[i], w[i]
        square = np.float32(np.float32(np.float32(a * a + b * b) + c * c) + d * d)
        bad = np.int32(bad | no_direction(square))
        # A product with 1/length would be faster, and not what SparkJS does: w decides θ to its last bit.
        length = np.float32(np.sqrt(square))
        length = -length if d < _ZERO else length
        x[i], y[i], z[i], w[i] = a / length, b / length, c / length, d / length
    return bad


@inline
def angle_bytes(w: FloatArray, below: np.float32, out: NDArray[np.int32]) -> None:
    """θ in bytes minus ``below``, rounded to the nearest. Fills ``out``, which is as long as the block."""
    for i in range(out.size):
        c = w[i] if w[i] < _ONE else _ONE
        p = _A6
        p = p * c + _A5
        p = p * c + _A4
        p = p * c + _A3
        p = p * c + _A2
        p = p * c + _A1
        p = p * c + _A0
        out[i] = np.int32(np.float32(np.sqrt(np.float32(_ONE - c)) * p * _THETA + np.float32(_HALF - below)))


@inline
def axis_bytes(w: FloatArray, x: FloatArray, y: FloatArray, z: FloatArray, out: NDArray[np.int32], distance: FloatArray) -> None:
    """Axis bytes u | v << 8 of normalised quaternions, and how far their unrounded values are from the middle of the step."""
    for i in range(out.size):
        a, b, c = x[i], y[i], z[i]
        # No rotation to float32's precision: the axis is (1, 0, 0).
        still = w[i] >= _ONE
        total = np.float32(np.float32(abs(a) + abs(b)) + abs(c))
        total = _ONE if still else total
        p, q = np.float32(a / total), np.float32(b / total)
        back = c < _ZERO
        # A zero gives exactly 127.5, which no rounding error can move; common enough (flat scenes) to be let off.
        sure_p, sure_q = still | ((p == _ZERO) & (not back)), still | ((q == _ZERO) & (not back))
        folded_p = np.float32(np.float32(_ONE - abs(q)) * (_ONE if p >= _ZERO else -_ONE))
        folded_q = np.float32(np.float32(_ONE - abs(p)) * (_ONE if q >= _ZERO else -_ONE))
        p = folded_p if back else p
        q = folded_q if back else q
        p = _ONE if still else p
        q = _ZERO if still else q
        # + 0.5 + 127.5: the whole part is then the rounded byte, 0..255.
        u, v = np.float32(p * _HALF_FULL + np.float32(128)), np.float32(q * _HALF_FULL + np.float32(128))
        iu, iv = np.int32(u), np.int32(v)
        du = np.float32(abs(np.float32(u - np.float32(iu)) - _HALF))
        dv = np.float32(abs(np.float32(v - np.float32(iv)) - _HALF))
        du = _ZERO if sure_p else du
        dv = _ZERO if sure_q else dv
        distance[i] = du if du > dv else dv
        out[i] = np.int32(iu | np.int32(iv << np.int32(8)))


@inline
def exact_axis(w: np.float32, x: np.float32, y: np.float32, z: np.float32) -> np.int32:
    """Axis bytes u | v << 8 of one normalised quaternion with 0 ≤ w < 1, in SparkJS's own float32 steps."""
    sine = sin32(acos32(w))
    x, y, z = np.float32(x / sine), np.float32(y / sine), np.float32(z / sine)
    total = np.float32(np.float32(abs(x) + abs(y)) + abs(z))
    p, q = np.float32(x / total), np.float32(y / total)
    if z < _ZERO:
        folded = np.float32(np.float32(_ONE - abs(q)) * (_ONE if p >= _ZERO else -_ONE))
        q = np.float32(np.float32(_ONE - abs(p)) * (_ONE if q >= _ZERO else -_ONE))
        p = folded
    u = to_byte(np.float32(np.float32(np.float32(p + _ONE) / _TWO) * _FULL))
    v = to_byte(np.float32(np.float32(np.float32(q + _ONE) / _TWO) * _FULL))
    return np.int32(u | np.int32(v << np.int32(8)))


@inline
def to_byte(value: np.float32) -> np.int32:
    """``value`` clamped to 0..255 and rounded, halves up. (Adding ½ before truncating would round 0.49999997 up.)"""
    v = value if value > _ZERO else _ZERO
    v = v if v < _FULL else _FULL
    whole = np.int32(v)
    return np.int32(whole + np.int32(np.float32(v - np.float32(whole)) >= _HALF))


@inline
def acos32(x: np.float32) -> np.float32:
    """acos of 0..1 to the last bit of the float32 libm that SparkJS runs on.

    That is fdlibm's method: with R(z) a rational approximation, π/2 − (x + x·R(x²)) below ½, and 2·asin(√((1−x)/2)) above, its
    root taken as a head of 12 bits and the exact rest. The coefficients are fdlibm's, which any bit-equal acos has to use.
    """
    if x < _HALF:
        z = np.float32(x * x)
        return np.float32(_PI_2_HIGH - np.float32(x - np.float32(_PI_2_LOW - np.float32(x * _ratio(z)))))
    z = np.float32(np.float32(_ONE - x) * _HALF)
    if z <= _ZERO:
        return _ZERO
    root = np.float32(np.sqrt(z))
    head = np.int32(np.float32(root).view(np.int32) & _HEAD_BITS).view(np.float32)
    rest = np.float32(np.float32(z - np.float32(head * head)) / np.float32(root + head))
    return np.float32(_TWO * np.float32(head + np.float32(np.float32(_ratio(z) * root) + rest)))


@inline
def sin32(x: np.float32) -> np.float32:
    """sin of 0..π/2 to the last bit of the same libm: in float64, as sin(x) up to π/4 and as cos(x − π/2) beyond."""
    t = np.float64(x) if x <= _PI_4 else np.float64(x) - _PI_2
    z = t * t
    if x <= _PI_4:
        cube = z * t
        return np.float32((t + cube * (_S0 + z * _S1)) + cube * (z * z) * (_S2 + z * _S3))
    return np.float32(((1.0 + z * _K0) + (z * z) * _K1) + (z * z * z) * (_K2 + z * _K3))


@inline
def _ratio(z: np.float32) -> np.float32:
    """R(z) of :func:`acos32`: (asin(x) − x) / x at z = x²."""
    p = np.float32(_P1 + np.float32(z * _P2))
    p = np.float32(z * np.float32(_P0 + np.float32(z * p)))
    return np.float32(p / np.float32(_ONE + np.float32(z * _Q1)))
