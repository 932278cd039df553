"""Prometheus metrics of the graph: one table, and the recorders that fill it through Ray's metrics.

Ray exports them with the prefix ``ray_`` on every node's metrics port. Session ids are in the logs, not here: a label with as many
values as there are visitors would grow Prometheus without end. What an ingress replica counts is handed to Ray a few times a
second: an ``observe`` costs about 20 µs and a frame has eight of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from deployments.stream.admission import Admission
from deployments.stream.counts import Counts, Snapshot, time_of

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
        Metric("splatcast_rooms", "gauge", "Rooms that have a member on this ingress replica."),
        Metric("splatcast_room_viewers", "gauge", "Sessions on this ingress replica that watch a room."),
        Metric("splatcast_room_frames_total", "counter", "Frames of rooms: published here, received from others.", ("way",)),
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


_COUNTERS = {
    "sessions_opened": ("splatcast_sessions_opened_total", ""),
    "refused": ("splatcast_sessions_refused_total", "code"),
    "frames_in": ("splatcast_frames_received_total", ""),
    "bytes_in": ("splatcast_received_bytes_total", ""),
    "sent": ("splatcast_frames_sent_total", ""),
    "bytes_out": ("splatcast_sent_bytes_total", ""),
    "shown": ("splatcast_frames_shown_total", ""),
    "dropped": ("splatcast_frames_dropped_total", "reason"),
    "errors": ("splatcast_errors_total", "code"),
    "quality_changes": ("splatcast_quality_changes_total", "cause"),
    "room_frames": ("splatcast_room_frames_total", "way"),
}
"""Name in :mod:`deployments.stream.counts` → metric, and the metric's label."""
_HISTOGRAMS = {"stage_ms": ("splatcast_stage_ms", "stage"), "age_ms": ("splatcast_age_at_display_ms", "")}


class PrometheusExport:
    """Hands what an ingress replica has counted to a sink, tick by tick."""

    def __init__(self, sink: Sink, counts: Counts, admission: Admission, max_sessions: int) -> None:
        self._sink = sink
        self._counts = counts
        self._admission = admission
        self._max_sessions = max_sessions
        self._last = Snapshot({})
        self._served = self._wanted = 0
        counts.listeners.append(self.flush)
        self.flush(0.0)  # The gauges are there before the first visitor.

    def flush(self, now_s: float) -> None:
        """Hand over what came since the last time, and the gauges."""
        now = self._counts.snapshot()
        new, self._last = now - self._last, now
        for name, (metric, label) in _COUNTERS.items():
            for value, count in new.by_label(name).items():
                self._sink.count(metric, count, {label: value} if label else {})
        for name, (metric, label) in _HISTOGRAMS.items():
            for (value, step), count in new.cells.get(name, {}).items():
                for _ in range(count):
                    self._sink.observe(metric, time_of(step), {label: value} if label else {})
        for stage, microseconds in new.by_label("stage_us").items():
            self._sink.count("splatcast_stage_seconds_total", microseconds / 1e6, {"stage": stage})
        admission = self._admission
        wanted = admission.served + admission.passed_over
        for metric, count in (
            ("splatcast_frames_served_total", admission.served - self._served),
            ("splatcast_frames_wanted_total", wanted - self._wanted),
        ):
            if count:
                self._sink.count(metric, count, {})
        self._served, self._wanted = admission.served, wanted
        self._sink.set("splatcast_sessions", self._counts.open_sessions)
        self._sink.set("splatcast_rooms", self._counts.open_rooms)
        self._sink.set("splatcast_room_viewers", self._counts.viewers)
        self._sink.set("splatcast_sessions_max", self._max_sessions)
        self._sink.set("splatcast_admission_limit", admission.limit)
        self._sink.set("splatcast_admission_in_flight", admission.in_flight)
        self._sink.set("splatcast_admission_waiting", admission.waiting)
        self._sink.set("splatcast_pressure", admission.pressure)
