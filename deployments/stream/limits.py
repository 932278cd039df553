"""The limits that :mod:`deployments.stream.quality` moves, by what a round took against what it may take. Pure.

Above what it may take, a limit goes down in proportion; well below, it goes up by a small step, after a pause. Down at 1.1 and up
below 0.7 by a factor of 1.15 leave a gap that no single step crosses, so a steady link gives a steady picture; a step up that had
to be taken back doubles the pause. Where less does not help (a long way rather than a narrow one; a queue that is not of our
making) it is all taken back, and not tried again for a minute unless it gets worse.
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
"""Steps down are judged together, once they have halved the limit: smaller ones drown in what links do by themselves. They must
have brought a fifth of what would be in proportion."""
_NO_GAIN_PAUSE_S, _WORSE = 60.0, 1.3
"""A link that narrows while the limit goes down looks like one that less does not help, until the limit is back and it is worse."""
_FIRST_UNDER_WAY = 2
_WAITED = 1.25
"""A reply that took that much longer than one that is alone waited for another."""
_WIDEN_PAUSE_S, _LONGEST_WIDEN_PAUSE_S = 30.0, 240.0
"""After more replies under way than the link has room for: a round of old frames is the price of trying."""


@dataclass(slots=True)
class AdaptiveLimit:
    """A limit, and what is known of moving it."""

    limit: float = math.inf
    pause_s: float = _PAUSE_S
    may_rise_s: float = 0.0
    rose: bool = False
    start: tuple[float, float, float] | None = None
    """Limit, place and what that took before it went down, until that has shown its worth."""
    is_doubted: bool = False
    """One round has shown no worth of it: the next one decides."""
    in_vain_until_s: float = 0.0
    in_vain_s: float = 0.0
    """What it took when less did not help."""

    def move(self, took_s: float, allowed_s: float, at: float, full: float, least: float, now_s: float) -> Verdict | None:
        """One round's verdict, carried out.

        Args:
            took_s: What the round took.
            allowed_s: What it may take.
            at: What was used of it; less than the limit where there was no more.
            full: From there on it is no limit.
            least: As far as it may go down.
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
                self.pause_s = max(_PAUSE_S, 0.5 * self.pause_s)  # The last one was right.
            self.limit, self.rose = _STEP_UP * self.limit, True
            self.may_rise_s = now_s + self.pause_s
            return "up"
        return None


@dataclass(slots=True)
class SendWindow:
    """How many replies may be under way: one, or more where they do not wait for one another."""

    size: int = _FIRST_UNDER_WAY
    alone_s: float | None = None
    """What a reply takes with no other under way, at the present setting."""
    may_widen_s: float = 0.0
    pause_s: float = _WIDEN_PAUSE_S

    def move(self, took_s: float, allowed_s: float, less_helps: bool, most: int, now_s: float) -> bool:
        """Follow a round.

        Args:
            took_s: What the round took.
            allowed_s: What it may take.
            less_helps: Whether the limit can still go down, and that may help.
            most: Replies under way at most.
            now_s: The time.

        Returns:
            Whether the round says something of replies that do not wait for one another.
        """
        if self.size == 1:
            self.alone_s = min(took_s, self.alone_s or took_s)  # Others on the link may fill it up.
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
