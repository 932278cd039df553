"""Another clock's offset, from round trips whose two ways differ."""

import math
import random

import hypothesis.strategies as st
import pytest
from hypothesis import given

from deployments.stream.clock_offset import ClockOffset

ways = st.floats(0.0, 0.5)


def test_before_the_first_round_trip_nothing_is_known() -> None:
    clock = ClockOffset()
    assert clock.offset_s(0.0) is None and clock.ours_s(5.0, 0.0) is None and clock.uncertainty_s(0.0) == math.inf


def test_an_even_round_trip_gives_the_offset_exactly() -> None:
    clock = ClockOffset()
    assert clock.measured(10.0, 1010.25, 10.5)
    assert clock.offset_s(10.5) == 1000.0 and clock.uncertainty_s(10.5) == 0.25
    assert clock.ours_s(1012.0, 11.0) == 12.0


@given(st.floats(-1e6, 1e6), st.lists(st.tuples(ways, ways), min_size=1, max_size=50))
def test_the_offset_is_never_off_by_more_than_it_says(offset_s: float, trips: list[tuple[float, float]]) -> None:
    clock, now_s = ClockOffset(), 100.0
    for there_s, back_s in trips:
        clock.measured(now_s, now_s + there_s + offset_s, now_s + there_s + back_s)
        now_s += 1.0
        estimate_s = clock.offset_s(now_s)
        assert estimate_s is not None
        assert abs(estimate_s - offset_s) <= clock.uncertainty_s(now_s) + 1e-6
    fastest_s = min(there_s + back_s for there_s, back_s in trips[-32:])
    assert clock.uncertainty_s(now_s) <= fastest_s / 2 + 1e-4 * 32


@pytest.mark.parametrize("drift", [-50e-6, 50e-6])
def test_a_clock_that_drifts_is_followed_over_a_day_on_a_jittery_link(drift: float) -> None:
    # 50 ppm are 4.3 s a day. 20 ms one way; queues add up to 300 ms to either, as mobile links do.
    rng, clock, worst_s = random.Random(3), ClockOffset(), 0.0
    for second in range(0, 86_400, 5):
        now_s = float(second)
        there_s, back_s = (0.02 + 0.3 * rng.random() ** 4 for _ in range(2))
        clock.measured(now_s, (now_s + there_s) * (1 + drift) + 7.0, now_s + there_s + back_s)
        estimate_s = clock.offset_s(now_s + there_s + back_s)
        assert estimate_s is not None
        if second > 300:
            worst_s = max(worst_s, abs(estimate_s - (7.0 + now_s * drift)))
    assert worst_s < 0.02, "well within the 50 ms in which frames are of one moment"


@pytest.mark.parametrize("jump_s", [-3600.0, -1.0, 1.0, 3600.0])
def test_a_clock_that_was_set_is_believed_at_once(jump_s: float) -> None:
    clock = ClockOffset()
    for second in range(40):
        clock.measured(second, second + 5.01, second + 0.02)
    clock.measured(50.0, 55.05 + jump_s, 50.1)
    assert clock.offset_s(50.1) == pytest.approx(5.0 + jump_s)


@pytest.mark.parametrize(
    "trip", [(1.0, 2.0, 0.5), (math.nan, 1.0, 2.0), (0.0, math.inf, 1.0), (0.0, 1.0, math.inf), (-math.inf, 0.0, 0.0)]
)
def test_what_is_no_round_trip_is_not_taken(trip: tuple[float, float, float]) -> None:
    clock = ClockOffset()
    assert not clock.measured(*trip) and clock.offset_s(0.0) is None
