"""What all sessions of an ingress replica did lately, for a person who looks. Pure; one clock, passed in.

Memory is bounded whatever clients do: eleven slots of a second, whose keys are our own error codes, reasons and causes, and the
times of the newest 1024 replies. A frame costs a few dictionary additions; the percentiles are taken when somebody asks.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

WINDOW_S = 10
_REMEMBERED = 1024
"""Replies whose times are kept: the whole window up to 100 a second, and enough for a p95 above."""


class Recent:
    """Rates, counts and percentiles of the last ten seconds: an :class:`~deployments.stream.tally.IngressObserver`.

    Attributes:
        sessions: Open now.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.sessions = 0
        self._clock = clock
        self._began_s = clock()
        self._past: Counter[tuple[str, str]] = Counter()
        """Of the seconds that have left the window."""
        self._slots: deque[tuple[int, Counter[tuple[str, str]]]] = deque()
        self._stages: deque[tuple[float, Mapping[str, float]]] = deque(maxlen=_REMEMBERED)
        self._ages: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)

    def session_opened(self) -> None:  # noqa: D102
        self.sessions += 1

    def session_closed(self) -> None:  # noqa: D102
        self.sessions -= 1

    def session_refused(self, code: str) -> None:  # noqa: D102
        self._slot(self._clock())["refused", code] += 1

    def frame_received(self, size: int) -> None:  # noqa: D102
        slot = self._slot(self._clock())
        slot["frames_in", ""] += 1
        slot["bytes_in", ""] += size

    def splats_sent(self, size: int, timings_ms: Mapping[str, float]) -> None:  # noqa: D102
        now_s = self._clock()
        slot = self._slot(now_s)
        slot["sent", ""] += 1
        slot["bytes_out", ""] += size
        self._stages.append((now_s, timings_ms))

    def dropped(self, reason: str) -> None:  # noqa: D102
        self._slot(self._clock())["dropped", reason] += 1

    def refused(self, code: str) -> None:  # noqa: D102
        self._slot(self._clock())["errors", code] += 1

    def acked(self, shown: bool, age_ms: float | None) -> None:  # noqa: D102
        if shown:
            now_s = self._clock()
            self._slot(now_s)["shown", ""] += 1
            if age_ms is not None:
                self._ages.append((now_s, age_ms))

    def quality_changed(self, cause: str) -> None:  # noqa: D102
        self._slot(self._clock())["quality_changes", cause] += 1

    def describe(self) -> dict[str, Any]:
        """The window in numbers that JSON takes, and the counts since the start beside it.

        Returns:
            ``seconds`` the window covers; rates ``…_s``; ``mbit_in_s`` and ``mbit_out_s``; ``age_ms`` and each of ``stages_ms`` as
            ``{p50, p95}``, absent where there was none; and by their labels ``dropped``, ``errors``, ``refused`` and
            ``quality_changes``, each ``{label: [in the window, since the start]}``.
        """
        now_s = self._clock()
        self._slot(now_s)
        window: Counter[tuple[str, str]] = sum((counts for _, counts in self._slots), Counter())
        # The second that runs has only begun: the window is ten whole ones and it.
        seconds = max(min(now_s - self._began_s, WINDOW_S + now_s % 1), 1e-3)
        begins_s = now_s - WINDOW_S
        stages: dict[str, list[float]] = {}
        for at_s, timings_ms in self._stages:
            if at_s >= begins_s:
                for stage, ms in timings_ms.items():
                    stages.setdefault(stage, []).append(ms)

        def rate(name: str, factor: float = 1.0) -> float:
            return round(factor * window[name, ""] / seconds, 2)

        def by_label(name: str) -> dict[str, list[int]]:
            labels = sorted({label for kind, label in (*window, *self._past) if kind == name})
            return {label: [window[name, label], window[name, label] + self._past[name, label]] for label in labels}

        return {
            "seconds": round(seconds, 1),
            "frames_in_s": rate("frames_in"),
            "sent_s": rate("sent"),
            "shown_s": rate("shown"),
            "mbit_in_s": rate("bytes_in", 8e-6),
            "mbit_out_s": rate("bytes_out", 8e-6),
            "age_ms": _percentiles(age_ms for at_s, age_ms in self._ages if at_s >= begins_s),
            "stages_ms": {stage: _percentiles(values) for stage, values in stages.items()},
            **{name: by_label(name) for name in ("dropped", "errors", "refused", "quality_changes")},
        }

    def _slot(self, now_s: float) -> Counter[tuple[str, str]]:
        """The counts of the second that runs."""
        second = math.floor(now_s)
        if not self._slots or self._slots[-1][0] != second:
            while self._slots and self._slots[0][0] < second - WINDOW_S:
                self._past += self._slots.popleft()[1]
            self._slots.append((second, Counter()))
        return self._slots[-1][1]


def _percentiles(values: Iterable[float]) -> dict[str, float]:
    """Nearest rank."""
    ordered = sorted(values)
    return {f"p{percent}": round(ordered[math.ceil(len(ordered) * percent / 100) - 1], 1) for percent in (50, 95) if ordered}
