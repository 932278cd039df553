"""One store of counts and its views, by a clock that the test moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.stream.counts import WINDOW_S, Counts, SessionReports, Window


def near(ms: float) -> object:
    return pytest.approx(ms, rel=0.011)


class Clock:
    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def test_nothing_has_happened_yet() -> None:
    told = Window(Counts(), Clock()).describe()
    assert told["frames_in_s"] == told["mbit_out_s"] == 0 and told["age_ms"] == {} and told["dropped"] == {}


def test_rates_are_of_the_time_there_was() -> None:
    clock = Clock()
    counts = Counts(clock)
    window = Window(counts, clock)
    for _ in range(20):
        counts.frame_received(125_000)
        counts.splats_sent(250_000, {"total": 10.0})
        counts.acked(True, 50.0)
        clock.now_s += 0.1
    told = window.describe()
    assert told["seconds"] == 2.0
    assert (told["frames_in_s"], told["sent_s"], told["shown_s"]) == (10.0, 10.0, 10.0)
    assert (told["mbit_in_s"], told["mbit_out_s"]) == (10.0, 20.0)


def test_what_is_older_than_the_window_counts_for_the_total_only() -> None:
    clock = Clock()
    counts = Counts(clock)
    window = Window(counts, clock)
    counts.dropped("superseded")
    counts.error("image_broken")
    counts.session_refused("server_full")
    counts.quality_changed("network")
    counts.acked(True, 900.0)
    counts.splats_sent(10, {"infer": 80.0, "total": 90.0})
    clock.now_s += WINDOW_S + 1
    counts.dropped("superseded")
    counts.acked(True, 100.0)
    told = window.describe()
    assert told["dropped"] == {"superseded": [1, 2]}
    assert told["errors"] == {"image_broken": [0, 1]} and told["refused"] == {"server_full": [0, 1]}
    assert told["quality_changes"] == {"network": [0, 1]}
    assert told["age_ms"] == {"p50": near(100), "p95": near(100)} and told["stages_ms"] == {}


def test_percentiles_are_nearest_ranks_of_every_stage() -> None:
    clock = Clock()
    counts = Counts(clock)
    window = Window(counts, clock)
    for ms in range(1, 101):
        counts.splats_sent(1, {"infer": float(ms), "total": 2.0 * ms})
    assert window.describe()["stages_ms"] == {
        "infer": {"p50": near(50), "p95": near(95)},
        "total": {"p50": near(100), "p95": near(190)},
    }


def test_an_ack_of_what_was_not_shown_has_no_age() -> None:
    clock = Clock()
    counts = Counts(clock)
    window = Window(counts, clock)
    counts.acked(False, 70.0)
    counts.acked(True, None)
    told = window.describe()
    assert told["age_ms"] == {} and told["shown_s"] > 0


def test_sessions_are_those_that_are_open() -> None:
    counts = Counts(Clock())
    counts.session_opened()
    counts.session_opened()
    counts.session_closed()
    assert counts.open_sessions == 1


def test_memory_is_bounded_by_the_labels_and_the_window_and_not_by_the_load() -> None:
    clock = Clock()
    counts = Counts(clock)
    window = Window(counts, clock)
    for frame in range(5000):
        counts.frame_received(1)
        counts.splats_sent(1, {"total": 1.0 + frame % 7})
        counts.acked(True, 1e300 if frame % 2 else 1.0)
        clock.now_s += 0.02
    assert len(window._seconds) <= WINDOW_S + 1
    assert sum(map(len, counts.snapshot().cells.values())) < 40


def test_what_happens_in_a_session_counts_for_the_ingress_as_well() -> None:
    counts = Counts(Clock())
    for _ in range(2):
        session = Counts(parent=counts)
        session.dropped("stale")
        session.splats_sent(10, {"infer": 1.0, "total": 2.0})
        assert session.by_label("dropped") == {"stale": 1} and session.total("sent") == 1
    assert counts.by_label("dropped") == {"stale": 2} and counts.by_label("stage_ms") == {"infer": 2, "total": 2}


def test_a_report_is_of_its_period_and_the_summary_of_it_all() -> None:
    counts = Counts()
    reports = SessionReports(counts, 0.0)
    assert reports.lately(1.0)["splats_out"] == 0, "nothing was reported yet: what there is so far"
    for size, total_ms in ((1_000_000, 80.0), (250_000, 20.0)):
        counts.frame_received(5)
        counts.splats_sent(size, {"total": total_ms})
        reported = reports.report(2.0 if total_ms == 80.0 else 4.0)
    assert (reported["seconds"], reported["splats_out"], reported["fps"], reported["mbit_s"]) == (2.0, 1, 0.5, 1.0)
    assert reported["total_ms_p50"] == near(20) and reported["age_ms_p50"] is None
    assert reports.lately(9.0) == reported
    assert (reports.summary(4.0)["splats_out"], reports.summary(4.0)["mbit_s"]) == (2, 2.5)


def test_listeners_hear_of_a_tick_before_what_comes_after_it_and_of_a_session_that_ends() -> None:
    clock = Clock()
    counts, heard = Counts(clock), []
    counts.listeners.append(lambda now_s: heard.append((now_s, counts.total("frames_in"))))
    session = Counts(parent=counts)
    session.frame_received(1)
    session.frame_received(1)
    clock.now_s += 0.3
    session.frame_received(1)
    clock.now_s += 0.1
    counts.session_closed()
    assert heard == [(1000.3, 2), (1000.4, 3)]


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.floats(0.0, 7.0)), max_size=60))
def test_the_total_is_the_count_of_what_happened_whatever_the_pauses(events: list[tuple[str, float]]) -> None:
    clock = Clock(0.0)
    counts = Counts(clock)
    window = Window(counts, clock)
    for reason, pause_s in events:
        counts.dropped(reason)
        clock.now_s += pause_s
    reasons = [reason for reason, _ in events]
    told = window.describe()["dropped"]
    assert {reason: both[1] for reason, both in told.items()} == {reason: reasons.count(reason) for reason in set(reasons)}
    assert all(now <= all_of_it for now, all_of_it in told.values())
