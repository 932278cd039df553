"""What benchmarks.proxy makes of its rounds, without a server."""

from typing import Any

from benchmarks.proxy import modes
from benchmarks.proxy.__main__ import describe, summarise
from deployments.ops.launch import read_environment_file


def measured(fps: float, *ways_ms: float) -> dict[str, Any]:
    figures = {"fps": fps, "mb_s": 2 * fps, "proxy_cpu_ms": 5.0, "Ingress_cpu_ms": 20.0}
    return {"ages_ms": [way_ms + 50.0 for way_ms in ways_ms], "ways_ms": list(ways_ms), "figures": figures}


# The second round met a busy machine: the way was 4, 2 and 3 times as long, and 2, 1 and 1.5 times the frames came.
ROUNDS: dict[str, list[dict[str, Any]]] = {
    "python": [measured(10.0, 20, 20), measured(8.0, 100, 100), measured(8.0, 30, 30)],
    "haproxy": [measured(20.0, 5, 5), measured(8.0, 50, 50), measured(12.0, 10, 10)],
}


def test_ratios_are_medians_of_paired_rounds() -> None:
    found = summarise(ROUNDS)
    assert (found["way_ratio"], found["fps_ratio"]) == (3.0, 1.5)
    assert found["python"]["way_ms"]["p50"] == 30.0 and found["haproxy"]["age_ms"]["p50"] == 60.0
    assert found["python"]["fps"] == 8.0 and found["haproxy"]["Ingress_cpu_ms"] == 20.0


def test_the_tables_have_every_load_and_every_death() -> None:
    machine = {"cpu": "x", "cores": 2, "load_1min": 0.0}
    death = {"noticed_s": None, "worst_gap_s": 4.5}
    recovery = {"Ingress": {"python": death, "haproxy": death}}
    text = describe({"machine": machine, "loads": [{"sessions": 4, "reply_mb": 2.0, **summarise(ROUNDS)}], "recovery": recovery})
    assert "4 × 2 MB, haproxy (way 3 × shorter, 1.5 × the frames)" in text and "Ingress, python" in text


def test_a_second_server_behind_haproxy_shares_no_port_with_the_first() -> None:
    first, second = modes.environment_of(modes.HAPROXY), modes.environment_of(modes.HAPROXY)
    shared = {name for name in first if first[name] == second[name]}
    assert shared == set(read_environment_file(modes.ROOT / "serve.cluster.env"))
