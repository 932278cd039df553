"""How far another machine's clock is ahead of ours, from round trips, as in NTP (RFC 5905). Pure.

A round trip says where the other clock stood at some moment between our asking and the answer: its middle is a guess that is off by
half the round trip at most, however unequal the two ways are. So a fast round trip says more than a slow one, and the fastest is
believed. As clocks drift apart, what it says wears off: its bound grows with age until a newer one is better.

A clock that was set contradicts what was believed: their bounds do not meet. Then everything from before is forgotten.
"""

import math
from collections import deque
from dataclasses import dataclass

_KEPT = 32
"""Round trips: half a minute of one a second. The best of so many is close to as fast as the network gets."""
_DRIFT = 100e-6
"""What two clocks drift apart, seconds a second; crystals of phones and computers are specified to half of it each or better."""


@dataclass(frozen=True, slots=True)
class _RoundTrip:
    at_s: float
    offset_s: float
    half_s: float

    def bound_s(self, now_s: float) -> float:
        return self.half_s + _DRIFT * max(0.0, now_s - self.at_s)


class ClockOffset:
    """Their clock minus ours. Empty at first: nothing is known before the first round trip."""

    def __init__(self) -> None:
        self._trips: deque[_RoundTrip] = deque(maxlen=_KEPT)

    def measured(self, asked_s: float, theirs_s: float, answered_s: float) -> bool:
        """A round trip is over.

        Args:
            asked_s: When we asked, on our clock.
            theirs_s: What their clock said, any time between.
            answered_s: When we had the answer, on our clock.

        Returns:
            Whether it was taken. One that ended before it began, or has a number that is none, is not.
        """
        trip_s = answered_s - asked_s
        offset_s = theirs_s - asked_s - trip_s / 2
        if not (math.isfinite(offset_s) and 0 <= trip_s < math.inf):
            return False
        trip = _RoundTrip(answered_s, offset_s, trip_s / 2)
        best = self._best(answered_s)
        if best and abs(best.offset_s - offset_s) > best.bound_s(answered_s) + trip.half_s:
            self._trips.clear()
        self._trips.append(trip)
        return True

    def offset_s(self, now_s: float) -> float | None:
        """Their clock minus ours; None if nothing is known yet.

        Args:
            now_s: The time, on our clock.
        """
        best = self._best(now_s)
        return None if best is None else best.offset_s

    def uncertainty_s(self, now_s: float) -> float:
        """How far the offset may be off at most; infinite if nothing is known yet."""
        best = self._best(now_s)
        return math.inf if best is None else best.bound_s(now_s)

    def ours_s(self, theirs_s: float, now_s: float) -> float | None:
        """A time of their clock on ours; None if nothing is known yet."""
        offset_s = self.offset_s(now_s)
        return None if offset_s is None else theirs_s - offset_s

    def _best(self, now_s: float) -> _RoundTrip | None:
        return min(self._trips, key=lambda trip: trip.bound_s(now_s), default=None)
