"""What benchmarks.proxy makes of its rounds, without a server."""

from typing import Any

from benchmarks.proxy import modes, report
from deployments.ops.launch import read_environment_file


def frames(*ways_ms: float) -> list[dict[str, float]]:
    return [{"age_ms": way_ms + 50.0, "way_ms": way_ms, "bytes": 2e6} for way_ms in ways_ms]


def test_the_ratio_of_replies_is_the_median_of_paired_rounds() -> None:
    # The second round met a busy machine: 4 ×, 2 ×, 3 ×.
    rounds: dict[str, list[Any]] = {
        "python": [frames(20, 20), frames(100, 100), frames(30, 30)],
        "haproxy": [frames(5, 5), frames(50, 50), frames(10, 10)],
    }
    found = report.summarise_replies(rounds)
    assert found["ratio"] == 3.0 and found["python"]["way_ms"]["p50"] == 30.0
    assert found["haproxy"]["age_ms"]["p50"] == 60.0 and found["haproxy"]["mb"] == 2.0


def test_the_ratio_of_rates_is_haproxys_frames_over_the_python_proxys() -> None:
    rounds: dict[str, list[Any]] = {"python": [{"fps": 10.0}, {"fps": 8.0}], "haproxy": [{"fps": 20.0}, {"fps": 8.0}]}
    assert report.summarise_rates(rounds)["ratio"] == 1.5


def test_a_second_server_behind_haproxy_shares_no_port_with_the_first() -> None:
    first, second = modes.haproxy_environment(), modes.haproxy_environment()
    shared = {name for name in first if first[name] == second[name]}
    assert shared == set(read_environment_file(modes.ROOT / "serve.cluster.env"))
