"""What ``benchmarks.stages`` makes of its measurements."""

import pytest

from benchmarks.stages import Timings, compare, describe, summarise


def rounds(*scales: float) -> dict[str, list[Timings]]:
    """Paths that take what the arithmetic of the table can be checked with; each round is slower by a factor."""
    paths: dict[str, Timings] = {
        "process": {"decode": 1.0, "infer": 40.0, "pack": 5.0, "wall": 46.0},
        "decoder": {"decode": 1.0, "wall": 4.0},
        "inference": {"decode": 1.0, "infer": 44.0, "wall": 50.0},
        "packer": {"decode": 1.0, "infer": 44.0, "pack": 5.0, "wall": 57.0},
        "socket": {"decode": 1.0, "infer": 44.0, "pack": 5.0, "wall": 69.0},
    }
    return {path: [{name: ms * scale for name, ms in stages.items()} for scale in scales] for path, stages in paths.items()}


def test_every_hop_is_what_it_adds_beside_the_work() -> None:
    rows = summarise(rounds(1.0))
    assert rows["infer"] == {"process": 40.0, "graph": 44.0, "difference": 4.0, "ratio": 1.1}
    assert rows["hop: ingress to decoder"] == {"process": 0.0, "graph": 3.0, "difference": 3.0}
    assert rows["hop: decoder to inference"]["graph"] == 2.0
    assert rows["hop: inference to packer"]["graph"] == 2.0
    assert rows["ingress, proxy and socket"]["graph"] == 12.0
    assert rows["whole frame"] == {"process": 46.0, "graph": 69.0, "difference": 23.0, "ratio": 1.5}


def test_the_rows_add_up_to_the_whole_frame() -> None:
    rows = summarise(rounds(1.0))
    assert sum(row["difference"] for name, row in rows.items() if name != "whole frame") == rows["whole frame"]["difference"]


def test_ratios_are_paired_so_that_a_slow_machine_does_not_change_them() -> None:
    assert summarise(rounds(1.0, 3.0, 7.0))["whole frame"]["ratio"] == pytest.approx(1.5)
    assert summarise(rounds(1.0, 3.0, 7.0))["whole frame"]["graph"] == pytest.approx(207.0)


def test_codecs_are_compared_round_by_round() -> None:
    found = compare(rounds(1.0, 3.0, 7.0), rounds(0.5, 1.5, 3.5))
    assert found == {"decode": 0.5, "infer": 0.5, "pack": 0.5, "whole frame": 0.5}


def test_the_table_says_when_the_machine_was_busy() -> None:
    report = {
        "machine": {"cpu": "a processor", "cores": 2, "load_1min": 0.2},
        "versions": {"ray": "2.60.0"},
        "args": {"rounds": 1},
        "graph": {"engine": {"name": "relief"}},
        "ms": {"packed": summarise(rounds(1.0)), "depth": summarise(rounds(0.5))},
        "bytes": {"packed": 1_600_000, "depth": 9_600},
        "frames_per_s": {codec: {"process": 21.7, "graph": 30.0} for codec in ("packed", "depth")},
        "ratios": {"depth": compare(rounds(1.0), rounds(0.5))},
    }
    text = describe(report)
    assert "1.50 ×" in text and "busy" not in text and "depth: 9.6 kB a frame" in text
    assert "depth beside packed, through the socket: decode 0.50 ×" in text
    report["machine"] = {"cpu": "a processor", "cores": 2, "load_1min": 5.0}
    assert "busy before this began" in describe(report)
