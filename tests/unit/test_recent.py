"""The window's numbers, by a clock that the test moves."""

from hypothesis import given
from hypothesis import strategies as st

from deployments.stream.recent import WINDOW_S, Recent


class Clock:
    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def test_nothing_has_happened_yet() -> None:
    told = Recent(Clock()).describe()
    assert told["frames_in_s"] == told["mbit_out_s"] == 0 and told["age_ms"] == {} and told["dropped"] == {}


def test_rates_are_of_the_time_there_was() -> None:
    clock = Clock()
    recent = Recent(clock)
    for _ in range(20):
        recent.frame_received(125_000)
        recent.splats_sent(250_000, {"total": 10.0})
        recent.acked(True, 50.0)
        clock.now_s += 0.1
    told = recent.describe()
    assert told["seconds"] == 2.0
    assert (told["frames_in_s"], told["sent_s"], told["shown_s"]) == (10.0, 10.0, 10.0)
    assert (told["mbit_in_s"], told["mbit_out_s"]) == (10.0, 20.0)


def test_what_is_older_than_the_window_counts_for_the_total_only() -> None:
    clock = Clock()
    recent = Recent(clock)
    recent.dropped("superseded")
    recent.refused("image_broken")
    recent.session_refused("server_full")
    recent.quality_changed("network")
    recent.acked(True, 900.0)
    recent.splats_sent(10, {"infer": 80.0})
    clock.now_s += WINDOW_S + 1
    recent.dropped("superseded")
    recent.acked(True, 100.0)
    told = recent.describe()
    assert told["dropped"] == {"superseded": [1, 2]}
    assert told["errors"] == {"image_broken": [0, 1]} and told["refused"] == {"server_full": [0, 1]}
    assert told["quality_changes"] == {"network": [0, 1]}
    assert told["age_ms"] == {"p50": 100.0, "p95": 100.0} and told["stages_ms"] == {}


def test_percentiles_are_nearest_ranks_of_every_stage() -> None:
    recent = Recent(Clock())
    for ms in range(1, 101):
        recent.splats_sent(1, {"infer": float(ms), "total": 2.0 * ms})
    assert recent.describe()["stages_ms"] == {"infer": {"p50": 50.0, "p95": 95.0}, "total": {"p50": 100.0, "p95": 190.0}}


def test_an_ack_of_what_was_not_shown_has_no_age() -> None:
    recent = Recent(Clock())
    recent.acked(False, 70.0)
    recent.acked(True, None)
    told = recent.describe()
    assert told["age_ms"] == {} and told["shown_s"] > 0


def test_sessions_are_those_that_are_open() -> None:
    recent = Recent(Clock())
    recent.session_opened()
    recent.session_opened()
    recent.session_closed()
    assert recent.sessions == 1


def test_memory_is_bounded_by_the_window_and_not_by_the_load() -> None:
    clock = Clock()
    recent = Recent(clock)
    for _ in range(5000):
        recent.frame_received(1)
        recent.splats_sent(1, {"total": 1.0})
        recent.acked(True, 1.0)
        clock.now_s += 0.02
    assert len(recent._slots) <= WINDOW_S + 1
    assert len(recent._stages) == len(recent._ages) == recent._stages.maxlen


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.floats(0.0, 7.0)), max_size=60))
def test_the_total_is_the_count_of_what_happened_whatever_the_pauses(events: list[tuple[str, float]]) -> None:
    clock = Clock(0.0)
    recent = Recent(clock)
    for reason, pause_s in events:
        recent.dropped(reason)
        clock.now_s += pause_s
    reasons = [reason for reason, _ in events]
    told = recent.describe()["dropped"]
    assert {reason: both[1] for reason, both in told.items()} == {reason: reasons.count(reason) for reason in set(reasons)}
    assert all(now <= all_of_it for now, all_of_it in told.values())
