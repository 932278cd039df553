"""The metric table is filled: every row by something that happens, with the labels it names."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest

from deployments import inference
from deployments.ops.metrics import METRICS, PrometheusExport
from deployments.stream.admission import Admission, AdmissionLimits
from deployments.stream.counts import TICK_S, Counts


class Sink:
    """Keeps what it is given, and holds it against the table."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.times: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.gauges: dict[str, float] = {}

    def _key(self, name: str, kind: str, labels: Mapping[str, str]) -> tuple[str, str]:
        metric = METRICS[name]
        assert (metric.kind, metric.labels) == (kind, tuple(labels))
        return name, "".join(labels.values())

    def count(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        assert value > 0
        self.counts[self._key(name, "counter", labels)] += value  # type: ignore[assignment]

    def observe(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        self.times[self._key(name, "histogram", labels)].append(value)

    def set(self, name: str, value: float) -> None:
        self.gauges[self._key(name, "gauge", {})[0]] = value


def test_everything_that_happens_reaches_its_row_and_no_row_is_left_empty() -> None:
    sink, admission, now_s = Sink(), Admission(AdmissionLimits()), 0.0
    counts = Counts(lambda: now_s)
    PrometheusExport(sink, counts, admission, 600)
    counts.session_opened()
    counts.frame_received(1000)
    for frame in range(4):
        admission.ask(lambda: True, frame)
    later = lambda: False  # noqa: E731
    admission.ask(later, 1)
    admission.ask(later, 2)
    admission.finished(0.2, 0.1)
    counts.splats_sent(5000, {"decode": 1.0, "total": 9.0})
    counts.acked(True, 120.0)
    counts.acked(False, 130.0)
    counts.dropped("superseded")
    counts.error("image_broken")
    counts.quality_changed("network")
    counts.session_refused("server_full")
    counts.room_opened()
    counts.viewer_entered()
    counts.room_frame("published")
    assert not sink.counts, "they wait for the tick"
    now_s = TICK_S
    counts.frame_received(500)
    assert sink.counts["splatcast_received_bytes_total", ""] == 1000, "what begins a tick is of the next one"
    assert sink.counts["splatcast_frames_dropped_total", "superseded"] == 1
    assert sink.counts["splatcast_frames_served_total", ""] == 1
    assert sink.counts["splatcast_frames_wanted_total", ""] == 1 + admission.passed_over
    assert sink.counts["splatcast_stage_seconds_total", "decode"] == 0.001
    assert sink.times["splatcast_stage_ms", "decode"] == pytest.approx([1.0], rel=0.011)
    assert sink.times["splatcast_age_at_display_ms", ""] == pytest.approx([120.0], rel=0.011)
    assert sink.counts["splatcast_room_frames_total", "published"] == 1
    assert sink.gauges["splatcast_rooms"] == sink.gauges["splatcast_room_viewers"] == 1
    assert sink.gauges["splatcast_sessions"] == 1 and sink.gauges["splatcast_admission_limit"] == admission.limit
    counts.session_closed()
    assert sink.gauges["splatcast_sessions"] == 0, "told at once: perhaps nothing else happens for long"
    filled = {name for name, _ in sink.counts} | {name for name, _ in sink.times} | set(sink.gauges)
    source = Path(inference.__file__).read_text()
    in_replicas = {name for name in METRICS if f'"{name}"' in source}
    assert filled | in_replicas == set(METRICS)


def test_names_follow_the_conventions() -> None:
    for metric in METRICS.values():
        assert re.fullmatch(r"splatcast_[a-z_]+", metric.name) and metric.text.endswith(".")
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert (metric.kind == "histogram") == bool(metric.buckets) and list(metric.buckets) == sorted(metric.buckets)
