"""Whether a series grows: a robust slope against a tolerance and the series' own noise. Pure.

Only the second half is judged: caches fill and allocators settle in the first. The slope is Theil and Sen's, the median of the
slopes between all pairs of points, so a few outliers do not move it. A series grows when, over the judged time,

- it rose by more than its tolerance,
- and by more than twice its noise (the residuals' median absolute deviation, as a standard deviation): a garbage collector's
  sawtooth is high and leads nowhere,
- and kept rising: each third's median lies above the one before by at least a fifth of the rise, so that one step up (a new
  replica, a larger buffer) does not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

LEAST_POINTS = 12
"""In the judged half: four for each third."""
_MOST_POINTS = 600
"""All pairs of more would take seconds; beyond that, only every second point, or third, … is taken."""
_NOISES = 2.0
_NORMAL = 1.4826
"""The standard deviation of a normal distribution over its median absolute deviation."""
_SHARE_OF_A_THIRD = 0.2


@dataclass(frozen=True, slots=True)
class Trend:
    """What the second half of a series does.

    Attributes:
        verdict: ``flat``, ``grows``, or ``too short`` to say.
        per_min: Its slope.
        rise: What that amounts to over the judged time.
        noise: Standard deviation around the slope.
        tolerance: How far it may rise.
    """

    verdict: Literal["flat", "grows", "too short"]
    per_min: float = 0.0
    rise: float = 0.0
    noise: float = 0.0
    tolerance: float = 0.0


def theil_sen(x: np.ndarray, y: np.ndarray) -> float:
    """The median of the slopes between all pairs of points with different ``x``. Both are [N], N ≥ 2."""
    first, second = np.triu_indices(len(x), 1)
    run = x[second] - x[first]
    return float(np.median((y[second] - y[first])[run > 0] / run[run > 0]))


def judge(points: Sequence[tuple[float, float]], tolerance: float, tolerance_per_min: float = 0.0) -> Trend:
    """Whether a series grows.

    Args:
        points: (seconds, value), seconds rising.
        tolerance: How far it may rise in the judged time, however long that is: how finely it can be measured.
        tolerance_per_min: How far it may rise a minute; the larger of the two holds.
    """
    end_s = points[-1][0] if points else 0.0
    half = [point for point in points if point[0] >= end_s / 2]
    if len(half) < LEAST_POINTS:
        return Trend("too short")
    half = half[:: -(-len(half) // _MOST_POINTS)]
    minutes, values = (np.array(column, float) for column in zip(*half, strict=True))
    minutes = minutes / 60.0
    slope = theil_sen(minutes, values)
    length = float(minutes[-1] - minutes[0])
    rise = slope * length
    residuals = values - slope * minutes
    noise = _NORMAL * float(np.median(np.abs(residuals - np.median(residuals))))
    allowed = max(tolerance, tolerance_per_min * length)
    low, middle, high = (float(np.median(third)) for third in np.array_split(values, 3))
    goes_on = min(middle - low, high - middle) >= _SHARE_OF_A_THIRD * (high - low) > 0
    grows = rise > max(allowed, _NOISES * noise) and goes_on
    return Trend("grows" if grows else "flat", *(round(value, 4) for value in (slope, rise, noise, allowed)))


def hours_to(amount: float, per_min: float) -> str:
    """How long a slope takes to add up to an amount, in words."""
    minutes = amount / per_min
    unit, name = next(((unit, name) for unit, name in ((1440, "days"), (60, "h")) if minutes >= 3 * unit), (1, "min"))
    return f"{minutes / unit:.0f} {name}"
