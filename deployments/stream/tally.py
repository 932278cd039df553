"""What a session did, counted: for its log lines, and for whoever else watches."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

_REMEMBERED = 512
"""Frames whose times a report's medians are taken of: five seconds at 100 a second."""


class SessionObserver(Protocol):
    """Told what happens in a session, when it happens. Must not raise, and must be quick: it is called for every frame."""

    def frame_received(self, size: int) -> None:
        """A frame came; ``size`` is the bytes of its views."""

    def splats_sent(self, size: int, timings_ms: Mapping[str, float]) -> None:
        """A reply of ``size`` bytes was written; its stages' milliseconds are those in the reply."""

    def dropped(self, reason: str) -> None:
        """A frame was dropped; ``reason`` is one of ``DROP_REASONS``."""

    def refused(self, code: str) -> None:
        """A frame or a message was refused with the error ``code``."""

    def acked(self, shown: bool, age_ms: float | None) -> None:
        """The client took a reply; ``age_ms`` is capture to pixels by its own clock, None where it makes no sense."""

    def quality_changed(self, cause: str) -> None:
        """The stream's quality was changed."""


class IngressObserver(SessionObserver, Protocol):
    """Told of all sessions of an ingress replica."""

    def session_opened(self) -> None:
        """A session began."""

    def session_closed(self) -> None:
        """A session ended."""

    def session_refused(self, code: str) -> None:
        """A session was refused with an error of this code."""


@dataclass(slots=True)
class Totals:
    """Counts since some moment; a :class:`SessionObserver`."""

    frames_in: int = 0
    bytes_in: int = 0
    splats_out: int = 0
    bytes_out: int = 0
    acks: int = 0
    shown: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    quality_changes: Counter[str] = field(default_factory=Counter)
    total_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    age_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def frame_received(self, size: int) -> None:  # noqa: D102
        self.frames_in += 1
        self.bytes_in += size

    def splats_sent(self, size: int, timings_ms: Mapping[str, float]) -> None:  # noqa: D102
        self.splats_out += 1
        self.bytes_out += size
        self.total_ms.append(timings_ms["total"])

    def dropped(self, reason: str) -> None:  # noqa: D102
        self.drops[reason] += 1

    def refused(self, code: str) -> None:  # noqa: D102
        self.errors[code] += 1

    def acked(self, shown: bool, age_ms: float | None) -> None:  # noqa: D102
        self.acks += 1
        self.shown += shown
        if age_ms is not None:
            self.age_ms.append(age_ms)

    def quality_changed(self, cause: str) -> None:  # noqa: D102
        self.quality_changes[cause] += 1

    def describe(self, seconds: float) -> dict[str, Any]:
        """The counts and rates, for a log line."""
        seconds = max(seconds, 1e-3)
        return {
            "seconds": round(seconds, 1),
            "frames_in": self.frames_in,
            "splats_out": self.splats_out,
            "shown": self.shown,
            "fps": round(self.splats_out / seconds, 1),
            "mbit_s": round(self.bytes_out * 8e-6 / seconds, 2),
            "dropped": dict(self.drops),
            "errors": dict(self.errors),
            "quality_changes": dict(self.quality_changes),
            "total_ms_p50": _median(self.total_ms),
            "age_ms_p50": _median(self.age_ms),
        }


class Tally:
    """A :class:`SessionObserver` that counts since the session began and since the last report, and tells other observers."""

    def __init__(self, observers: Sequence[SessionObserver], now_s: float) -> None:
        self.totals = Totals()
        self._observers = observers
        self.began_s = now_s
        self._last_report: dict[str, Any] | None = None
        self._begin_period(now_s)

    def report(self, now_s: float) -> dict[str, Any]:
        """Numbers since the last report."""
        self._last_report = self._period.describe(now_s - self._period_began_s)
        self._begin_period(now_s)
        return self._last_report

    def lately(self, now_s: float) -> dict[str, Any]:
        """The last report's numbers; those of now where there was none yet."""
        return self._last_report or self._period.describe(now_s - self._period_began_s)

    def summary(self, now_s: float) -> dict[str, Any]:
        """Numbers since the session began."""
        return self.totals.describe(now_s - self.began_s)

    def _begin_period(self, now_s: float) -> None:
        self._period, self._period_began_s = Totals(), now_s
        self._each: tuple[SessionObserver, ...] = (self.totals, self._period, *self._observers)

    def frame_received(self, size: int) -> None:  # noqa: D102
        for each in self._each:
            each.frame_received(size)

    def splats_sent(self, size: int, timings_ms: Mapping[str, float]) -> None:  # noqa: D102
        for each in self._each:
            each.splats_sent(size, timings_ms)

    def dropped(self, reason: str) -> None:  # noqa: D102
        for each in self._each:
            each.dropped(reason)

    def refused(self, code: str) -> None:  # noqa: D102
        for each in self._each:
            each.refused(code)

    def acked(self, shown: bool, age_ms: float | None) -> None:  # noqa: D102
        for each in self._each:
            each.acked(shown, age_ms)

    def quality_changed(self, cause: str) -> None:  # noqa: D102
        for each in self._each:
            each.quality_changed(cause)


def _median(values: deque[float]) -> float | None:
    return round(sorted(values)[len(values) // 2], 1) if values else None
