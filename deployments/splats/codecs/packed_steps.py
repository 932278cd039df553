"""The exact steps of the ``packed`` codec's bytes: from which scale, opacity and angle on SparkJS gives the next byte.

A fast approximation, rounded to be at most one byte low, and one comparison with these tables give SparkJS's byte.
"""

import math
from functools import lru_cache

import numpy as np

from deployments.splats.activations import log_scale, logit_opacity
from deployments.splats.codecs.packed_rotation import acos32, to_byte
from deployments.splats.codecs.spark_bins import LN_SCALE_STEPS, LOGIT_STEPS
from deployments.splats.gaussians import FloatArray
from deployments.splats.kernel import kernel

SPARK_LN_SCALE_RANGE = (-12.0, 9.0)
"""SparkJS's default: 6 µm to 8 km, in steps of 8.6 %."""

_PI, _TWO, _FULL = np.float32(math.pi), np.float32(2), np.float32(255)


@lru_cache(maxsize=16)
def scale_steps(ln_scale_range: tuple[float, float]) -> FloatArray:
    """Entry b: the smallest scale of byte b or above; entry 256: infinity. float32 [257]."""
    if ln_scale_range == SPARK_LN_SCALE_RANGE:
        logs = LN_SCALE_STEPS
    else:
        low, high = (float(np.float32(end)) for end in ln_scale_range)  # as the header has them
        logs = (low + (np.arange(2, 256) - 1.5) / 254 * (high - low)).astype(np.float32)
    steps = np.full(257, np.inf, np.float32)
    steps[:2] = 0, np.finfo(np.float32).tiny
    _first_at_least_log(logs, steps[2:256])
    return steps


@lru_cache(maxsize=1)
def opacity_steps() -> FloatArray:
    """Entry b: the smallest opacity of byte b or above; entry 256: infinity. float32 [257]."""
    steps = np.full(257, np.inf, np.float32)
    steps[0] = 0
    _first_at_least_logit(LOGIT_STEPS, steps[1:256])
    return steps


@lru_cache(maxsize=1)
def angle_steps() -> FloatArray:
    """Entry b: the largest w of angle byte b or above; entry 256: below every w. float32 [257]."""
    steps = np.full(257, -np.inf, np.float32)
    _last_with_angle(steps[:256])
    return steps


@kernel
def _first_at_least_log(logs: FloatArray, out: FloatArray) -> None:
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
def _first_at_least_logit(logits: FloatArray, out: FloatArray) -> None:
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
def _last_with_angle(out: FloatArray) -> None:
    for b in range(out.size):
        low, high = np.int32(0), np.float32(1).view(np.int32)
        while low < high:
            middle = (low + high + 1) // 2
            theta = np.float32(_TWO * acos32(np.int32(middle).view(np.float32)))
            if to_byte(np.float32(np.float32(theta / _PI) * _FULL)) >= b:
                low = middle
            else:
                high = middle - 1
        out[b] = np.int32(low).view(np.float32)
