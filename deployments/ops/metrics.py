"""Prometheus metrics of the graph: one table, and the recorders that fill it through Ray's metrics.

Ray exports them with the prefix ``ray_`` on every node's metrics port. Session ids are in the logs, not here: a label with as many
values as there are visitors would grow Prometheus without end. Counts are handed to Ray once a second and times at once: an
``observe`` costs about 20 µs and a frame has eight of them.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from deployments.stream.admission import Admission

FLUSH_PERIOD_S = 1.0
_MS = (1, 2, 5, 10, 20, 35, 50, 75, 100, 150, 200, 250, 350, 500, 750, 1000, 2000, 5000, 10_000)
"""Finest around the 250 ms that the quality controller aims at."""
_BATCH = (0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 12.5, 16.5, 32.5, 64.5)
"""Whole numbers are in the middle: Ray 2.60 exports a histogram's ``_sum`` as if every value were the middle of its bucket."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table.

    Attributes:
        name: Without Ray's prefix. Counters end in ``_total``.
        kind: Of Prometheus.
        text: What it is.
        labels: Names of its labels.
        buckets: Upper bounds of a histogram.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


METRICS = {
    metric.name: metric
    for metric in (
        Metric("splatcast_sessions", "gauge", "Sessions open on this ingress replica."),
        Metric("splatcast_sessions_max", "gauge", "Sessions it takes at most."),
        Metric("splatcast_sessions_opened_total", "counter", "Sessions that found a place."),
        Metric("splatcast_sessions_refused_total", "counter", "Sessions refused, by error code.", ("code",)),
        Metric("splatcast_frames_received_total", "counter", "Frames that came from clients."),
        Metric("splatcast_received_bytes_total", "counter", "Bytes of their pictures."),
        Metric("splatcast_frames_sent_total", "counter", "Replies with splats."),
        Metric("splatcast_sent_bytes_total", "counter", "Bytes of these replies."),
        Metric("splatcast_frames_shown_total", "counter", "Replies that a client says it has shown."),
        Metric("splatcast_frames_dropped_total", "counter", "Frames dropped, by reason.", ("reason",)),
        Metric("splatcast_errors_total", "counter", "Frames and messages refused, sessions closed, by error code.", ("code",)),
        Metric("splatcast_quality_changes_total", "counter", "Changes of a stream's quality, by cause.", ("cause",)),
        Metric("splatcast_stage_ms", "histogram", "Milliseconds of a frame in each stage.", ("stage",), _MS),
        Metric("splatcast_stage_seconds_total", "counter", "The same added up, exactly: a histogram's sum is not.", ("stage",)),
        Metric("splatcast_age_at_display_ms", "histogram", "Capture to pixels, by the client's clock.", (), _MS),
        Metric("splatcast_batch_size", "histogram", "Frames of a batch of the model.", (), _BATCH),
        Metric("splatcast_admission_limit", "gauge", "Frames this ingress replica lets into the graph at a time."),
        Metric("splatcast_admission_in_flight", "gauge", "Frames of it in the graph."),
        Metric("splatcast_admission_waiting", "gauge", "Sessions whose newest frame waits for its turn."),
        Metric("splatcast_frames_served_total", "counter", "Frames that came through the graph."),
        Metric("splatcast_frames_wanted_total", "counter", "The same, and those passed over while they waited for their turn."),
        Metric("splatcast_pressure", "gauge", "Frames wanted for every frame served, lately."),
    )
}


class Sink(Protocol):
    """Where numbers go. ``name`` is in :data:`METRICS`, ``labels`` has its labels."""

    def count(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """Add to a counter."""

    def observe(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """One value of a histogram."""

    def set(self, name: str, value: float) -> None:
        """A gauge's value now."""


class NoSink:
    """Outside Ray: nobody asks."""

    def count(self, name: str, value: float, labels: Mapping[str, str]) -> None:  # noqa: D102
        pass

    def observe(self, name: str, value: float, labels: Mapping[str, str]) -> None:  # noqa: D102
        pass

    def set(self, name: str, value: float) -> None:  # noqa: D102
        pass


class RaySink:
    """Ray's metrics; for processes that are Ray workers."""

    def __init__(self) -> None:
        from ray.util import metrics

        self._metrics: dict[str, Any] = {}
        for metric in METRICS.values():
            # Ray appends _total to a counter's name itself.
            common = (metric.name.removesuffix("_total"), metric.text)
            if metric.kind == "histogram":
                made: Any = metrics.Histogram(*common, boundaries=list(metric.buckets), tag_keys=metric.labels)
            else:
                made = {"counter": metrics.Counter, "gauge": metrics.Gauge}[metric.kind](*common, tag_keys=metric.labels)
            self._metrics[metric.name] = made

    def count(self, name: str, value: float, labels: Mapping[str, str]) -> None:  # noqa: D102
        self._metrics[name].inc(value, dict(labels))

    def observe(self, name: str, value: float, labels: Mapping[str, str]) -> None:  # noqa: D102
        self._metrics[name].observe(value, dict(labels))

    def set(self, name: str, value: float) -> None:  # noqa: D102
        self._metrics[name].set(value)


class IngressMetrics:
    """What an ingress replica's sessions do, all together: an :class:`~deployments.stream.tally.IngressObserver`."""

    def __init__(self, sink: Sink, admission: Admission, max_sessions: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._sink = sink
        self._admission = admission
        self._max_sessions = max_sessions
        self._clock = clock
        self._counts: defaultdict[tuple[str, str, str], float] = defaultdict(float)
        self._sessions = self._served = self._wanted = 0
        self.flush()  # The gauges are there before the first visitor.

    def session_opened(self) -> None:  # noqa: D102
        self._sessions += 1
        self._count("splatcast_sessions_opened_total", 1)

    def session_closed(self) -> None:  # noqa: D102
        self._sessions -= 1
        self.flush()  # Perhaps the last event for long.

    def session_refused(self, code: str) -> None:  # noqa: D102
        self._count("splatcast_sessions_refused_total", 1, "code", code)

    def frame_received(self, size: int) -> None:  # noqa: D102
        self._count("splatcast_received_bytes_total", size)
        self._count("splatcast_frames_received_total", 1)

    def splats_sent(self, size: int, timings_ms: Mapping[str, float]) -> None:  # noqa: D102
        for stage, ms in timings_ms.items():
            self._sink.observe("splatcast_stage_ms", ms, {"stage": stage})
            self._counts["splatcast_stage_seconds_total", "stage", stage] += ms / 1e3
        self._count("splatcast_sent_bytes_total", size)
        self._count("splatcast_frames_sent_total", 1)

    def dropped(self, reason: str) -> None:  # noqa: D102
        self._count("splatcast_frames_dropped_total", 1, "reason", reason)

    def refused(self, code: str) -> None:  # noqa: D102
        self._count("splatcast_errors_total", 1, "code", code)

    def acked(self, shown: bool, age_ms: float | None) -> None:  # noqa: D102
        if shown:
            self._count("splatcast_frames_shown_total", 1)
            if age_ms is not None:
                self._sink.observe("splatcast_age_at_display_ms", age_ms, {})

    def quality_changed(self, cause: str) -> None:  # noqa: D102
        self._count("splatcast_quality_changes_total", 1, "cause", cause)

    def flush(self) -> None:
        """Hand over what was counted, and the gauges."""
        self._flushed_s = self._clock()
        door = self._admission
        wanted = door.served + door.passed_over
        self._counts["splatcast_frames_served_total", "", ""] += door.served - self._served
        self._counts["splatcast_frames_wanted_total", "", ""] += wanted - self._wanted
        self._served, self._wanted = door.served, wanted
        counts, self._counts = self._counts, defaultdict(float)
        for (name, label, value), count in counts.items():
            if count:
                self._sink.count(name, count, {label: value} if label else {})
        self._sink.set("splatcast_sessions", self._sessions)
        self._sink.set("splatcast_sessions_max", self._max_sessions)
        self._sink.set("splatcast_admission_limit", door.limit)
        self._sink.set("splatcast_admission_in_flight", door.in_flight)
        self._sink.set("splatcast_admission_waiting", door.waiting)
        self._sink.set("splatcast_pressure", door.pressure)

    def _count(self, name: str, value: int, label: str = "", label_value: str = "") -> None:
        self._counts[name, label, label_value] += value
        self._flush_if_due()

    def _flush_if_due(self) -> None:
        if self._clock() - self._flushed_s >= FLUSH_PERIOD_S:
            self.flush()
