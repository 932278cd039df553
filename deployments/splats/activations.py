"""Stored value ↔ physical value: logs of scales, logits of opacities, spherical-harmonics DC of colours.

Nothing else applies these. Splat files store ``ln(scale)``, ``logit(opacity)`` and the DC coefficient; ``Gaussians``
holds scales, opacities and raw coefficients. Everything is float32 and accurate to :data:`MAX_RELATIVE_ERROR`.

The ends of the ranges are finite in files, and come back exactly:

=======================  ==================  ==========================
physical                 stored              read back
=======================  ==================  ==========================
opacity ≤ 2⁻²⁴ (and 0)   −``LOGIT_LIMIT``    0
opacity 1                +``LOGIT_LIMIT``    1
opacity below 0          as 0                0
opacity above 1          as 1                1
scale < 1.18e-38 (and 0) ``LN_SCALE_ZERO``   0
any logit beyond         –                   0 or 1
=======================  ==================  ==========================

NaN passes through; the codecs refuse it before it gets here.
"""

import math
from collections.abc import Callable

import numpy as np

from deployments.splats.gaussians import FloatArray
from deployments.splats.kernel import for_kernel, inline, kernel

SH_C0 = 0.28209479177387814
"""Y₀⁰ = 1 / (2·√π): colour = 0.5 + SH_C0 · DC (Kerbl et al. 2023, 3D Gaussian Splatting)."""

LOGIT_LIMIT = np.float32(-math.log(2.0**-24))
"""16.6355: the logit of 1 − 2⁻²⁴, the float32 just below 1."""

LN_SCALE_ZERO = np.float32(-128.0)
"""Stored for scale 0: finite, and so low that every reader's float32 ``exp`` gives exactly 0 (it underflows below −103.97)."""

MAX_RELATIVE_ERROR = 4e-7
"""Of :func:`log`, :func:`logit`, :func:`exp` and :func:`sigmoid`."""

_TINY = np.float32(np.finfo(np.float32).tiny)
_HALF, _ONE, _TWO = np.float32(0.5), np.float32(1.0), np.float32(2.0)
# ln 2 in two parts: the first has 15 trailing zero bits, so that exponent × first part is exact.
_LN2_HIGH, _LN2_LOW = np.float32(0.693145751953125), np.float32(1.42860682030941723212e-6)
_LOG2_E = np.float32(1.4426950408889634)
# Bits of √½: subtracting them puts the mantissa in √½..√2, where ln is smallest.
_SQRT_HALF_BITS = np.int32(0x3F3504F3)
_MANTISSA, _EXPONENT_BITS = np.int32(0x007FFFFF), np.int32(23)
# Minimax fits of this project (relative error 6e-9 and 3e-9): ln(1+f) = f − f²/2 + f³·L(f) on √½−1..√2−1;
# exp(r) = 1 + r + r²·E(r) on ±ln2/2.
_L = tuple(
    np.float32(c) for c in (0.33333331, -0.25000820, 0.20001227, -0.16623357, 0.14201759, -0.13160183, 0.12761575, -0.07634493)
)
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7 = _L
_E0, _E1, _E2, _E3, _E4 = (np.float32(c) for c in (0.49999994, 0.16666521, 0.04166839, 0.00836871, 0.00138146))
_EXP_LIMIT, _EXP_ZERO = np.float32(88.72283), np.float32(-87.33654)


@inline
def ln1p_scaled(f: np.float32, exponent: np.float32) -> np.float32:
    """ln((1 + f) · 2^exponent) for f in √½−1..√2−1."""
    p = _L7
    p = p * f + _L6
    p = p * f + _L5
    p = p * f + _L4
    p = p * f + _L3
    p = p * f + _L2
    p = p * f + _L1
    p = p * f + _L0
    square = f * f
    tail = square * f * p + exponent * _LN2_LOW
    return np.float32(((tail - _HALF * square) + f) + exponent * _LN2_HIGH)


@inline
def log_scale(scale: np.float32) -> np.float32:
    """ln(scale) of a finite scale ≥ 0; ``LN_SCALE_ZERO`` below the smallest normal float32."""
    bits = np.float32(scale).view(np.int32)
    exponent = np.int32(np.int32(bits - _SQRT_HALF_BITS) >> _EXPONENT_BITS)
    mantissa = np.int32(bits - np.int32(exponent << _EXPONENT_BITS)).view(np.float32)
    value = ln1p_scaled(np.float32(mantissa - _ONE), np.float32(exponent))
    return value if scale >= _TINY else LN_SCALE_ZERO


@inline
def logit_opacity(opacity: np.float32) -> np.float32:
    """ln(o / (1 − o)), clamped to ±``LOGIT_LIMIT``."""
    rest = _ONE - opacity
    odds = opacity / rest
    bits = np.float32(odds).view(np.int32)
    exponent = np.int32(np.int32(bits - _SQRT_HALF_BITS) >> _EXPONENT_BITS)
    mantissa = np.int32(bits - np.int32(exponent << _EXPONENT_BITS)).view(np.float32)
    # Around ½ the logit crosses 0: odds − 1 would cancel there, (2o − 1) / (1 − o) does not.
    f = (_TWO * opacity - _ONE) / rest if exponent == 0 else mantissa - _ONE
    value = ln1p_scaled(np.float32(f), np.float32(exponent))
    value = value if value > -LOGIT_LIMIT else -LOGIT_LIMIT
    value = value if value < LOGIT_LIMIT else LOGIT_LIMIT
    value = -LOGIT_LIMIT if opacity <= np.float32(0) else value
    return LOGIT_LIMIT if opacity >= _ONE else value


@inline
def exp32(x: np.float32) -> np.float32:
    """exp(x) in float32: 0 below −87.3 (where the normal numbers end), infinity above 88.7."""
    t = x if x > _EXP_ZERO else _EXP_ZERO
    t = t if t < _EXP_LIMIT else _EXP_LIMIT
    n = np.floor(t * _LOG2_E + _HALF)
    r = (t - n * _LN2_HIGH) - n * _LN2_LOW
    p = _E4
    p = p * r + _E3
    p = p * r + _E2
    p = p * r + _E1
    p = p * r + _E0
    value = np.float32((r * r * p + r) + _ONE)
    # 2^n in two steps: 2^128 does not fit a float32.
    half = np.int32(np.int32(n) >> np.int32(1))
    first = np.int32(np.int32(half + np.int32(127)) << _EXPONENT_BITS).view(np.float32)
    second = np.int32(np.int32(np.int32(n) - half + np.int32(127)) << _EXPONENT_BITS).view(np.float32)
    value = value * first * second
    value = value if x >= _EXP_ZERO else np.float32(0)
    value = value if x <= _EXP_LIMIT else np.float32(np.inf)
    return value if x == x else x


@inline
def sigmoid_logit(logit: np.float32) -> np.float32:
    """1 / (1 + exp(−x)); exactly 0 or 1 at and beyond ±``LOGIT_LIMIT``."""
    value = np.float32(_ONE / (_ONE + exp32(-logit)))
    value = value if logit > -LOGIT_LIMIT else np.float32(0)
    value = value if logit < LOGIT_LIMIT else _ONE
    return value if logit == logit else logit


@kernel
def _log_scales(values: FloatArray, out: FloatArray) -> None:
    for i in range(values.size):
        out[i] = log_scale(values[i])


@kernel
def _logits(values: FloatArray, out: FloatArray) -> None:
    for i in range(values.size):
        out[i] = logit_opacity(values[i])


@kernel
def _exps(values: FloatArray, out: FloatArray) -> None:
    for i in range(values.size):
        out[i] = exp32(values[i])


@kernel
def _sigmoids(values: FloatArray, out: FloatArray) -> None:
    for i in range(values.size):
        out[i] = sigmoid_logit(values[i])


def _map(function: Callable[[FloatArray, FloatArray], None], values: FloatArray) -> FloatArray:
    flat = for_kernel(np.asarray(values, np.float32).reshape(-1))
    out = np.empty_like(flat)
    function(flat, out)
    return out.reshape(np.shape(values))


def log(scales: FloatArray) -> FloatArray:
    """ln of linear scales ≥ 0. float32, any shape."""
    return _map(_log_scales, scales)


def exp(ln_scales: FloatArray) -> FloatArray:
    """Linear scales of stored logs; infinity above 88.7, which the caller must refuse. float32, any shape."""
    return _map(_exps, ln_scales)


def logit(opacities: FloatArray) -> FloatArray:
    """Stored logits of opacities. float32, any shape."""
    return _map(_logits, opacities)


def sigmoid(logits: FloatArray) -> FloatArray:
    """Opacities of stored logits. float32, any shape."""
    return _map(_sigmoids, logits)


def dc_to_rgb(dc: FloatArray) -> FloatArray:
    """Colours of DC coefficients, not clamped. float32, any shape."""
    return np.float32(0.5) + dc * np.float32(SH_C0)


def rgb_to_dc(rgb: FloatArray) -> FloatArray:
    """DC coefficients of colours. float32, any shape."""
    return (rgb - np.float32(0.5)) / np.float32(SH_C0)
