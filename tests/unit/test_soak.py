"""The soak's arithmetic on series whose leak is known, and a crowd against the real ASGI app."""

import json
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load.session import Client
from benchmarks.processes import Look, Usage
from benchmarks.soak.__main__ import describe, exit_status, parse, picture
from benchmarks.soak.crowd import SHARES, Crowd
from benchmarks.soak.series import Series, describe_series, rates, sentence, series
from benchmarks.soak.trend import Trend, hours_to, judge
from tests.pictures import jpeg
from tests.stub_server import StubPipeline, stub_server

MINUTE = 60.0


def points(value: Callable[[float], float], minutes: float = 60.0, every_s: float = 5.0) -> list[tuple[float, float]]:
    """A series of an hour, of a function of minutes."""
    return [(k * every_s, value(k * every_s / MINUTE)) for k in range(int(minutes * MINUTE / every_s) + 1)]


def noise(seed: int, width: float) -> Callable[[float], float]:
    chance = random.Random(seed)
    return lambda minute: chance.gauss(0.0, width)


# --- what is flat ---


def test_a_constant_is_flat_without_noise() -> None:
    assert judge(points(lambda m: 100.0), 8.0) == Trend("flat", 0.0, 0.0, 0.0, 8.0)


@given(st.integers(0, 50), st.floats(0.1, 50.0))
def test_noise_is_flat_however_high(seed: int, width: float) -> None:
    around = noise(seed, width)
    assert judge(points(lambda m: 100.0 + around(m), minutes=20.0), 1.0).verdict == "flat"


def test_growth_that_ends_in_the_first_half_is_warm_up() -> None:
    assert judge(points(lambda m: 100.0 + 10.0 * min(m, 25.0)), 8.0).verdict == "flat"
    assert judge(points(lambda m: 200.0 - 100.0 * math.exp(-m / 5.0)), 8.0).verdict == "flat"


@pytest.mark.parametrize("at_min", [5.0, 31.0, 40.0, 45.0, 50.0, 59.0])
def test_a_single_step_is_no_leak_wherever_it_is(at_min: float) -> None:
    assert judge(points(lambda m: 100.0 + 80.0 * (m >= at_min)), 8.0).verdict == "flat"


@pytest.mark.parametrize("period_min", [1.0, 3.0, 7.0, 10.0])
def test_a_garbage_collectors_sawtooth_is_flat(period_min: float) -> None:
    assert judge(points(lambda m: 100.0 + 60.0 * ((m / period_min) % 1.0)), 8.0).verdict == "flat"


def test_a_few_outliers_do_not_make_a_leak() -> None:
    assert judge(points(lambda m: 100.0 + (5000.0 if m > 59.5 else 0.0)), 8.0).verdict == "flat"


def test_what_shrinks_is_flat() -> None:
    assert judge(points(lambda m: 500.0 - 3.0 * m), 8.0).verdict == "flat"


# --- what grows ---


@pytest.mark.parametrize("per_min", [0.4, 3.1, 100.0])
def test_a_slow_leak_grows_by_its_rate(per_min: float) -> None:
    trend = judge(points(lambda m: 100.0 + per_min * m), 8.0)
    assert trend.verdict == "grows" and trend.per_min == pytest.approx(per_min) and trend.rise == pytest.approx(30.0 * per_min)


@given(st.integers(0, 50))
def test_a_leak_is_seen_through_noise(seed: int) -> None:
    around = noise(seed, 4.0)
    trend = judge(points(lambda m: 100.0 + m + around(m)), 8.0)
    assert trend.verdict == "grows" and trend.per_min == pytest.approx(1.0, abs=0.2) and trend.noise == pytest.approx(4.0, rel=0.3)


def test_a_leak_is_seen_under_a_sawtooth() -> None:
    trend = judge(points(lambda m: 100.0 + 2.0 * m + 40.0 * ((m / 3.0) % 1.0)), 8.0)
    assert trend.verdict == "grows" and trend.per_min == pytest.approx(2.0, abs=0.3)


def test_a_staircase_grows() -> None:
    assert judge(points(lambda m: 10.0 + m // 4), 4.0).verdict == "grows", "a descriptor every four minutes"


def test_the_tolerance_is_of_the_judged_time_or_of_a_minute() -> None:
    leak = points(lambda m: 0.2 * m)
    assert judge(leak, 8.0).verdict == "flat", "6 in half an hour"
    assert judge(leak, 5.0).verdict == "grows"
    assert judge(leak, 5.0, tolerance_per_min=0.3) == Trend("flat", 0.2, 6.0, 0.0, 9.0)


def test_a_long_run_is_judged_as_well() -> None:
    day = points(lambda m: 100.0 + 0.01 * m, minutes=1440.0)
    assert judge(day, 4.0).verdict == "grows" and judge(day, 8.0).verdict == "flat"


@pytest.mark.parametrize("count", [0, 1, 20])
def test_too_few_points_say_nothing(count: int) -> None:
    assert judge(points(float)[:count], 0.0).verdict == "too short"


@pytest.mark.parametrize(("per_min", "words"), [(3.1, "5 h"), (0.01, "69 days"), (100.0, "10 min"), (1e6, "0 min")])
def test_how_long_it_lasts_is_said_in_words(per_min: float, words: str) -> None:
    assert hours_to(1000.0, per_min) == words


# --- what is looked at ---


def look(at_s: float, memory: float = 1e8, **metrics: float) -> Look:
    processes = {
        1: ("Ingress", Usage(1.0, int(memory), 30, 10)),
        2: ("Ingress", Usage(1.0, int(memory), 32, 10)),
        3: ("raylet", Usage(1.0, 10**7, 80, 40)),
    }
    return Look(at_s, processes, metrics, 5 * 10**6)


def test_a_parts_series_are_of_its_average_process() -> None:
    found = {each.name: each.points for each in series([look(0.0), look(5.0, 2e8, store_bytes=3e6, sessions=6.0)])}
    assert found["Ingress memory"] == [(0.0, 100.0), (5.0, 200.0)] and found["Ingress descriptors"] == [(0.0, 31.0), (5.0, 31.0)]
    assert found["raylet threads"] == [(0.0, 40.0), (5.0, 40.0)] and found["processes"] == [(0.0, 3.0), (5.0, 3.0)]
    assert found["object store"] == [(5.0, 3.0)] and found["sessions"] == [(5.0, 6.0)] and found["logs"][0] == (0.0, 5.0)
    assert "spilled" not in found, "it was never told"


def test_the_verdict_names_the_part_the_rate_and_the_end() -> None:
    leak = Series("GaussianInference", "memory", points(lambda m: 100.0 + 3.1 * m))
    assert sentence(leak, leak.judge()) == "grows: GaussianInference memory +3.1 MB/min (would fill 1 GB in 5 h)"
    still = Series("", "sessions", points(lambda m: 8.0))
    assert sentence(still, still.judge()) == "flat: sessions +0/min"


def test_the_rate_is_of_the_time_before() -> None:
    assert rates([(float(at_s), at_s) for at_s in range(0, 100, 10)]) == [(float(at_s), 60.0) for at_s in range(30, 100, 10)]
    assert rates([(0.0, 0)]) == []


def report(**leaks: float) -> dict[str, Any]:
    found = [Series("Ingress", "memory", points(lambda m: 100.0 + leaks.get("memory", 0.0) * m))]
    return {
        "args": {"duration_s": 3600.0, "sessions": 8},
        "crowd": {"came": {"viewer": 3}, "frames": {"delivered": 9}, "failures": {}},
        "delivered_per_min": [(30.0, 60.0), (60.0, 66.0)],
        "sessions_open": [(0.0, 8)],
        "sessions_left": leaks.get("sessions", 0.0),
        "series": {each.name: describe_series(each) for each in found},
    }


def test_the_table_and_the_status_say_what_grows() -> None:
    assert exit_status(report()) == 0 and describe(report()).endswith("\nflat")
    assert exit_status(report(memory=3.1)) == 1 and "would fill 1 GB in 5 h" in describe(report(memory=3.1))
    assert exit_status(report(sessions=2.0)) == 1 and "2 sessions are left that nobody has open" in describe(report(sessions=2.0))
    assert exit_status({**report(), "series": {}}) == 3
    json.dumps(report())


def test_the_picture_has_a_line_for_each_part() -> None:
    drawn = picture(report())
    assert drawn.startswith("<svg") and ">Ingress<" in drawn and ">delivered<" in drawn and "descriptors" not in drawn


def test_wrong_arguments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--duration-s", "5"])
    assert "from 60.0 to" in capsys.readouterr().err


# --- who comes and goes ---


async def test_a_crowd_comes_and_goes_and_leaves_nobody_behind() -> None:
    pipeline = StubPipeline()
    async with stub_server(pipeline) as url:
        client = Client(url, [jpeg()], ["packed", "points"], silence_s=0.1)
        crowd = Crowd(client, places=6, fps=20.0, stay_s=(0.2, 0.4), seed=1)
        await crowd.stay(2.0)
    assert crowd.open_sessions == 0 and not crowd.failures, crowd.failures
    assert sum(crowd.came.values()) > 6 and set(crowd.came) <= set(SHARES) and len(crowd.came) >= 4
    frames = crowd.frames
    assert frames["delivered"] > 0 and sum(frames.values()) >= len(pipeline.captures)


async def test_sessions_that_the_server_refuses_are_counted_with_its_reason() -> None:
    crowd = Crowd(Client("ws://127.0.0.1:9/ws", [jpeg()], ["packed"]), places=1, fps=20.0, stay_s=(0.2, 0.4), seed=1)
    await crowd.stay(0.1)
    ((reason, count),) = crowd.failures.items()
    assert "Can't open" in reason and count == 1
