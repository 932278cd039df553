"""Benchmarks in a browser: what they read out of its trace."""

from typing import Any

import pytest

from benchmarks import browser
from benchmarks.command import BenchmarkError

PAGE, OTHER = 7, 8


def mark(name: str, ts: int) -> dict[str, Any]:
    return {"name": name, "ph": "I", "tid": PAGE, "ts": ts}


def task(ts: int, wall_us: int, cpu_us: int, tid: int = PAGE) -> dict[str, Any]:
    return {"name": "RunTask", "ph": "X", "tid": tid, "ts": ts, "dur": wall_us, "tdur": cpu_us}


def test_the_longest_task_of_each_round_is_that_of_the_pages_thread_while_the_frame_was_on_its_way():
    events = [
        task(0, 900, 900),
        task(990, 500, 400),  # The frame arrives in it.
        mark("gpu begins", 1000),
        task(1500, 100, 90),
        task(1600, 5000, 3000, tid=OTHER),
        {"name": "RunTask", "ph": "B", "tid": PAGE, "ts": 1700},
        mark("gpu ends", 2000),
        task(2000, 9000, 9000),
        mark("worker begins", 3000),
        task(3100, 4000, 700),
        mark("worker ends", 4000),
        mark("gpu begins", 20000),
        task(20100, 60, 50),
        mark("gpu ends", 20200),
    ]
    measured = browser.Measured({}, events)
    assert measured.longest_tasks_ms("gpu") == [0.4, 0.05]
    # A task that goes on into the next round counts there, too.
    assert measured.longest_tasks_ms("worker") == [9.0]
    assert measured.all_tasks_ms("gpu") == [pytest.approx(0.49), 0.05]


def test_without_a_browser_nothing_is_measured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SPLATCAST_CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BenchmarkError, match="expected a Chromium"):
        browser.find_browser()
