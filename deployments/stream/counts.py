"""Counts of everything that happens. Log lines, the status page and Prometheus show differences between their snapshots. Pure.

Memory is bounded whatever clients do: the labels are our own reasons, codes, causes and stages, and times are counted in steps of
2 %, so that a percentile is within 1 % of a real time.
"""

import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any

TICK_S = 0.25
"""Listeners are told at most this often. What a tick hands to Prometheus holds up the event loop: better little, but often."""
WINDOW_S = 10

_LN_STEP = math.log(1.02)
_SHORTEST_MS = 0.01
_Cell = tuple[str, int]
"""A label and, for times, the step that they fall into."""


def _step_of(ms: float) -> int:
    return round(math.log(max(ms, _SHORTEST_MS)) / _LN_STEP)


def time_of(step: int) -> float:
    """The milliseconds that a step stands for."""
    return math.exp(step * _LN_STEP)


class Snapshot:
    """Counts at one moment, or the difference between two. A name without labels has the label ``""``."""

    def __init__(self, cells: Mapping[str, Counter[_Cell]]) -> None:
        self.cells = cells

    def __sub__(self, earlier: "Snapshot") -> "Snapshot":
        nothing: Counter[_Cell] = Counter()
        return Snapshot({name: cells - earlier.cells.get(name, nothing) for name, cells in self.cells.items()})

    def total(self, name: str) -> int:
        """The count over all labels."""
        return self.cells[name].total() if name in self.cells else 0

    def by_label(self, name: str) -> dict[str, int]:
        """Label → count, without zeros."""
        counts: dict[str, int] = {}
        for (label, _), count in self.cells.get(name, {}).items():
            counts[label] = counts.get(label, 0) + count
        return counts

    def percentile(self, name: str, percent: float, label: str = "") -> float | None:
        """A time by nearest rank, milliseconds, or None if there were none."""
        steps = sorted((step, count) for (each, step), count in self.cells.get(name, {}).items() if each == label)
        rank = math.ceil(sum(count for _, count in steps) * percent / 100)
        for step, count in steps:
            rank -= count
            if rank <= 0:
                return round(time_of(step), 1)
        return None


class Counts:
    """The counts of an ingress replica, or of one of its sessions.

    Attributes:
        listeners: Called with the time at the first event of each tick and second, before it is counted, and when a session ends.
    """

    def __init__(self, clock: Callable[[], float] | None = None, parent: "Counts | None" = None) -> None:
        """Start with no counts.

        Args:
            clock: Seconds; for the listeners.
            parent: The ingress replica's counts, which count the same events.
        """
        self.listeners: list[Callable[[float], None]] = []
        self._clock = clock
        self._parent = parent
        self._told_s = clock() if clock else math.inf
        self._cells: defaultdict[str, Counter[_Cell]] = defaultdict(Counter)

    @property
    def open_sessions(self) -> int:
        """Sessions that have begun and not ended."""
        return self.total("sessions_opened") - self.total("sessions_closed")

    @property
    def open_rooms(self) -> int:
        """Rooms that have a member here."""
        return self.total("rooms_opened") - self.total("rooms_ended")

    @property
    def viewers(self) -> int:
        """Sessions that watch a room."""
        return self.total("viewers_entered") - self.total("viewers_left")

    def snapshot(self) -> Snapshot:
        """The counts so far."""
        return Snapshot({name: cells.copy() for name, cells in self._cells.items()})

    def by_label(self, name: str) -> dict[str, int]:
        """Label → count so far."""
        return Snapshot(self._cells).by_label(name)

    def total(self, name: str) -> int:
        """The count over all labels so far."""
        return Snapshot(self._cells).total(name)

    # --- what happens ---

    def session_opened(self) -> None:
        """A session began."""
        self._add("sessions_opened")

    def session_closed(self) -> None:
        """A session ended. Nothing else may happen for long, so listeners are told at once."""
        self._add("sessions_closed")
        self._tell()

    def session_refused(self, code: str) -> None:
        """A session was refused with the error ``code``."""
        self._add("refused", code)

    def room_opened(self) -> None:
        """A room got its first member here."""
        self._add("rooms_opened")

    def room_ended(self) -> None:
        """A room has nobody left here."""
        self._add("rooms_ended")

    def viewer_entered(self) -> None:
        """A session began to watch a room."""
        self._add("viewers_entered")

    def viewer_left(self) -> None:
        """It does so no longer."""
        self._add("viewers_left")

    def room_frame(self, way: str) -> None:
        """A frame for a room; ``way``: ``published`` by a camera here, ``received`` from another replica."""
        self._add("room_frames", way)

    def frame_received(self, size: int) -> None:
        """A frame came; its views have ``size`` bytes."""
        self._add("frames_in")
        self._add("bytes_in", amount=size)

    def splats_sent(self, size: int, timings_ms: Mapping[str, float]) -> None:
        """A reply of ``size`` bytes was written; ``timings_ms``: its ``total``, and the stages that only this reply passed."""
        self._add("sent")
        self._add("bytes_out", amount=size)
        self._add("total_ms", step=_step_of(timings_ms["total"]))
        self.stages_passed(timings_ms)

    def stages_passed(self, timings_ms: Mapping[str, float]) -> None:
        """What a frame took in each stage. To be told once a frame, however many see it."""
        replica = self._parent or self  # A session, one of hundreds, needs only its total.
        for stage, ms in timings_ms.items():
            replica._add("stage_ms", stage, step=_step_of(ms))
            replica._add("stage_us", stage, amount=round(1e3 * ms))

    def dropped(self, reason: str) -> None:
        """A frame was dropped; ``reason`` is one of ``DROP_REASONS``."""
        self._add("dropped", reason)

    def error(self, code: str) -> None:
        """A frame or a message was refused, or a session closed, with the error ``code``."""
        self._add("errors", code)

    def acked(self, shown: bool, age_ms: float | None) -> None:
        """The client took a reply; ``age_ms`` is from capture to pixels by its own clock, None if that makes no sense."""
        self._add("acks")
        if shown:
            self._add("shown")
            if age_ms is not None:
                self._add("age_ms", step=_step_of(age_ms))

    def quality_changed(self, cause: str) -> None:
        """A stream's quality was changed."""
        self._add("quality_changes", cause)

    def _add(self, name: str, label: str = "", *, step: int = 0, amount: int = 1) -> None:
        if self._clock:
            now_s = self._clock()
            if now_s - self._told_s >= TICK_S or math.floor(now_s) != math.floor(self._told_s):
                self._tell()
        self._cells[name][label, step] += amount
        if self._parent:
            self._parent._add(name, label, step=step, amount=amount)

    def _tell(self) -> None:
        if self._clock:
            self._told_s = self._clock()
            for listener in self.listeners:
                listener(self._told_s)
        elif self._parent:
            self._parent._tell()


class SessionReports:
    """The numbers in a session's log lines."""

    def __init__(self, counts: Counts, now_s: float) -> None:
        self.began_s = now_s
        self._counts = counts
        self._period = counts.snapshot(), now_s
        self._last: dict[str, Any] | None = None

    def report(self, now_s: float) -> dict[str, Any]:
        """The numbers since the last report."""
        self._last = self._since(*self._period, now_s)
        self._period = self._counts.snapshot(), now_s
        return self._last

    def lately(self, now_s: float) -> dict[str, Any]:
        """The last report; before the first one, the numbers so far."""
        return self._last or self._since(*self._period, now_s)

    def summary(self, now_s: float) -> dict[str, Any]:
        """The numbers since the session began."""
        return self._since(Snapshot({}), self.began_s, now_s)

    def _since(self, earlier: Snapshot, began_s: float, now_s: float) -> dict[str, Any]:
        new, seconds = self._counts.snapshot() - earlier, max(now_s - began_s, 1e-3)
        return {
            "seconds": round(seconds, 1),
            "frames_in": new.total("frames_in"),
            "splats_out": new.total("sent"),
            "shown": new.total("shown"),
            "fps": round(new.total("sent") / seconds, 1),
            "mbit_s": round(new.total("bytes_out") * 8e-6 / seconds, 2),
            "dropped": new.by_label("dropped"),
            "errors": new.by_label("errors"),
            "quality_changes": new.by_label("quality_changes"),
            "total_ms_p50": new.percentile("total_ms", 50),
            "age_ms_p50": new.percentile("age_ms", 50),
        }


class Window:
    """The last ten whole seconds and the current one, for people."""

    def __init__(self, counts: Counts, clock: Callable[[], float]) -> None:
        self._counts = counts
        self._clock = clock
        self._began_s = clock()
        self._seconds: deque[tuple[int, Snapshot]] = deque()
        counts.listeners.append(self._tick)
        self._tick(self._began_s)

    def describe(self) -> dict[str, Any]:
        """The window's numbers, ready for JSON, and counts since the start.

        Returns:
            ``seconds`` that the window covers; rates ``…_s``; ``mbit_in_s`` and ``mbit_out_s``; ``age_ms`` and each of
            ``stages_ms`` as ``{p50, p95}``, empty if there were none; and by label ``dropped``, ``errors``, ``refused`` and
            ``quality_changes``, each ``{label: [in the window, since the start]}``.
        """
        now_s, now = self._clock(), self._counts.snapshot()
        self._forget(now_s)
        new = now - (self._seconds[0][1] if self._seconds else now)
        # The window is ten whole seconds and the part of the current one that has passed.
        seconds = max(min(now_s - self._began_s, WINDOW_S + now_s % 1), 1e-3)

        def rate(name: str, factor: float = 1.0) -> float:
            return round(factor * new.total(name) / seconds, 2)

        def percentiles(name: str, label: str = "") -> dict[str, float]:
            found = {f"p{percent}": new.percentile(name, percent, label) for percent in (50, 95)}
            return {name: ms for name, ms in found.items() if ms is not None}

        def by_label(name: str) -> dict[str, list[int]]:
            lately = new.by_label(name)
            return {label: [lately.get(label, 0), count] for label, count in sorted(now.by_label(name).items())}

        return {
            "seconds": round(seconds, 1),
            "frames_in_s": rate("frames_in"),
            "sent_s": rate("sent"),
            "shown_s": rate("shown"),
            "mbit_in_s": rate("bytes_in", 8e-6),
            "mbit_out_s": rate("bytes_out", 8e-6),
            "age_ms": percentiles("age_ms"),
            "stages_ms": {stage: percentiles("stage_ms", stage) for stage in new.by_label("stage_ms")},
            **{name: by_label(name) for name in ("dropped", "errors", "refused", "quality_changes")},
        }

    def _tick(self, now_s: float) -> None:
        """At the first event of a second, keep the counts from before it."""
        self._forget(now_s)
        if not self._seconds or self._seconds[-1][0] != math.floor(now_s):
            self._seconds.append((math.floor(now_s), self._counts.snapshot()))

    def _forget(self, now_s: float) -> None:
        while self._seconds and self._seconds[0][0] < math.floor(now_s) - WINDOW_S:
            self._seconds.popleft()
