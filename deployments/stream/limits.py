"""The limits that :mod:`deployments.stream.quality` moves, comparing what a round took with what it may take. Pure.

When a round took too long, a limit goes down in proportion; when it took much less, the limit goes up by a small step, after a
pause. Going down above 1.1 and up below 0.7, by a factor of 1.15, leaves a gap that no single step crosses, so a steady link gives
a steady picture; a step up that had to be taken back doubles the pause. If less does not help (the link is long rather than narrow;
the queue is not ours), all steps down are taken back, and not tried again for a minute unless it gets worse.

Before any of that, a stream may start small: its first limit doubles or more until something has taken too long.
"""

import math
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["down", "no_gain", "up"]

_DOWN_ABOVE, _UP_BELOW = 1.1, 0.7
_STEP_UP = 1.15
_LEAST_STEP_DOWN, _MOST_STEP_DOWN = 0.85, 0.25
_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 60.0
"""Between steps up."""
_JUDGED_AT, _GAIN = 0.5, 0.2
"""Steps down are judged together, once they have halved the limit: smaller steps drown in a link's own variation. They must
have gained a fifth of what would be proportional."""
_NO_GAIN_PAUSE_S, _WORSE = 60.0, 1.3
"""If a link narrows while the limit goes down, less seems not to help, until the limit is back and things are worse."""
_FIRST_UNDER_WAY = 2
_WAITED = 1.25
"""A reply that took this many times as long as a reply alone has waited for another one."""
_WIDEN_PAUSE_S, _LONGEST_WIDEN_PAUSE_S = 30.0, 240.0
"""The pause after more replies were under way than the link has room for: each try costs a round of old frames."""

_SURELY_FAST = 0.5
"""What took no more than this share of its time bears twice as much, even if all of it is in proportion."""
_LEAST_GROWTH, _MOST_GROWTH = 2.0, 4.0
"""Not all the way at once: what the first frames took may not be in proportion, as they are small."""


@dataclass(slots=True)
class Growth:
    """How many times its first limit a stream that starts small may have; without end once it has grown."""

    factor: float = 1.0

    @property
    def is_over(self) -> bool:
        """Whether the start no longer limits anything."""
        return self.factor == math.inf

    def is_surely_fast(self, took_s: float, allowed_s: float) -> bool:
        """Whether one reply is enough to grow: it need not be the median of a round."""
        return not self.is_over and took_s <= _SURELY_FAST * allowed_s

    def grow(self, took_s: float, allowed_s: float, room: float) -> None:
        """Grow by as much as should fit.

        Args:
            took_s: How long it took.
            allowed_s: How long it may take.
            room: How many times the first limit is all there is.
        """
        self.factor *= min(_MOST_GROWTH, max(_LEAST_GROWTH, allowed_s / max(took_s, 1e-6)))
        if self.factor >= room:
            self.end()

    def end(self) -> None:
        """Whatever limits the stream from now on, it is not its start."""
        self.factor = math.inf


@dataclass(slots=True)
class AdaptiveLimit:
    """A limit, and what is known about moving it."""

    limit: float = math.inf
    pause_s: float = _PAUSE_S
    may_rise_s: float = 0.0
    rose: bool = False
    start: tuple[float, float, float] | None = None
    """Before the limit went down: the limit, what was used of it, how long that took. Kept until going down has proved useful."""
    is_doubted: bool = False
    """One round has shown no gain: the next one decides."""
    in_vain_until_s: float = 0.0
    in_vain_s: float = 0.0
    """How long rounds took when less did not help."""

    def move(self, took_s: float, allowed_s: float, at: float, full: float, least: float, now_s: float) -> Verdict | None:
        """Judge a round and move the limit accordingly.

        Args:
            took_s: How long the round took.
            allowed_s: How long it may take.
            at: How much of the limit was used; less than the limit if there was no more to use.
            full: From here on, the limit no longer limits anything.
            least: How far the limit may go down.
            now_s: The time.
        """
        if took_s > _DOWN_ABOVE * allowed_s:
            if self.start and (at <= _JUDGED_AT * self.start[1] or at <= least):
                limit, level, before_s = self.start
                is_in_vain = before_s - took_s < _GAIN * (1.0 - at / level) * before_s
                if is_in_vain and not self.is_doubted:
                    self.is_doubted = True
                    return None
                self.start, self.is_doubted = None, False
                if is_in_vain:
                    self.limit = limit
                    self.in_vain_until_s, self.in_vain_s = now_s + _NO_GAIN_PAUSE_S, before_s
                    return "no_gain"
            if at <= least or (now_s < self.in_vain_until_s and took_s < _WORSE * self.in_vain_s):
                return None
            if self.rose:
                self.pause_s = min(2.0 * self.pause_s, _LONGEST_PAUSE_S)
            self.start, self.rose = self.start or (self.limit, at, took_s), False
            self.limit = max(least, at * min(_LEAST_STEP_DOWN, max(_MOST_STEP_DOWN, allowed_s / took_s)))
            self.may_rise_s = now_s + self.pause_s
            return "down"
        self.start, self.is_doubted = None, False
        if took_s < _UP_BELOW * allowed_s and self.limit < full and now_s >= self.may_rise_s:
            if self.rose:
                self.pause_s = max(_PAUSE_S, 0.5 * self.pause_s)  # The last step up was right.
            self.limit, self.rose = _STEP_UP * self.limit, True
            self.may_rise_s = now_s + self.pause_s
            return "up"
        return None


@dataclass(slots=True)
class SendWindow:
    """How many replies may be under way: one, or more if they do not wait for one another."""

    size: int = _FIRST_UNDER_WAY
    alone_s: float | None = None
    """How long a reply takes with no other under way, at the current setting."""
    may_widen_s: float = 0.0
    pause_s: float = _WIDEN_PAUSE_S

    def move(self, took_s: float, allowed_s: float, less_helps: bool, most: int, now_s: float) -> bool:
        """Adjust the window after a round.

        Args:
            took_s: How long the round took.
            allowed_s: How long it may take.
            less_helps: Whether the limit can still go down, and that may help.
            most: The most replies that may be under way.
            now_s: The time.

        Returns:
            Whether the limit may be judged by this round; not if its replies may have waited for one another.
        """
        if self.size == 1:
            self.alone_s = min(took_s, self.alone_s or took_s)  # The smallest, as other traffic may fill the link.
        waited = self.alone_s is not None and took_s > _WAITED * self.alone_s
        too_slow = took_s > _DOWN_ABOVE * allowed_s
        is_unclear = too_slow and (waited or self.alone_s is None) and self.size > 1
        if waited and self.size > 1:
            self.may_widen_s = now_s + self.pause_s
            self.pause_s = min(2.0 * self.pause_s, _LONGEST_WIDEN_PAUSE_S)
            self.size -= 1
        elif now_s >= self.may_widen_s and (took_s < 0.5 * allowed_s or (self.alone_s and not (too_slow and less_helps))):
            self.size = min(self.size + 1, most)
        if is_unclear:
            self.size = 1
        return not is_unclear
