"""The inference benchmark on a CPU: its report says what it measured, and its parts add up."""

import json
from pathlib import Path

import pytest

from benchmarks import inference


def test_the_report_has_both_sides_ours_by_part_and_the_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.json"
    asked = "--model micro --device cpu --resolutions 84 70 --batches 1 2 --repeats 1 --alone 2 --clip 0.2"
    assert inference.main([*asked.split(), "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["schema"] == "splatcast.inference/3" and [pair["px"] for pair in report["pairs"]] == [84, 70]
    assert [(row["px"], row["batch"]) for row in report["rows"]] == [(84, 1), (84, 2), (70, 1), (70, 2)]
    for row in report["rows"]:
        parts = sum(found["mean"] for name, found in row["ms"].items() if name not in ("frame", "encode"))
        assert parts == pytest.approx(row["ms"]["frame"]["mean"], rel=0.01)
        assert 0 < row["share"] < 1
    assert report["flops"]["84"] > report["flops"]["70"] > 0
    live = report["clip"]["live"]
    assert live["shown"] + live["dropped"] == 6 and live["age_ms"]["pack"]["p50"] >= live["age_ms"]["decode"]["p50"]
    printed = capsys.readouterr().out
    assert "84 px × 2" in printed and "stages overlapping" in printed
