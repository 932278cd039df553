"""The codec benchmark runs, checks what it times, and writes a report that says where its figures come from."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import codecs
from benchmarks.frame import HEIGHT, WIDTH, pixel_aligned_frame
from deployments.splats.codecs import CODECS


def test_the_report_has_a_row_for_every_codec_and_library(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "codecs.json"
    picture = tmp_path / "codecs.svg"
    sizes = ["--splats", "600", "--repeats", "2", "--subjects", "scene", "--px", "64"]
    assert codecs.main([*sizes, "--out", str(path), "--svg", str(picture)]) == 0
    report = json.loads(path.read_text())
    assert report["schema"] == "splatcast.codecs/2"
    assert report["args"] == {"splats": 600, "repeats": 2, "subjects": ["scene"], "px": 64}
    assert {"commit", "machine", "versions", "at", "rows"} <= set(report)
    assert [subject["name"] for subject in report["subjects"]] == ["scene"]
    assert "dB: scene" in picture.read_text()
    assert {"gsply", "plyfile", "numba", "numpy"} <= set(report["versions"])
    rows = {row["name"]: row for row in report["rows"]}
    assert {*CODECS, "plyfile, from columns", "plyfile, from tuples", "gsply, ply", "gsply, spz", "copy of the PLY"} <= set(rows)
    assert rows["packed"]["bytes"] == 32 + 16 * 600
    assert rows["plyfile, from tuples"]["bytes"] == rows["plyfile, from columns"]["bytes"]
    printed = capsys.readouterr().out
    assert all(name in printed for name in rows)
    assert all(row["name"] in printed for row in report["subjects"][0]["rows"])


def test_an_unknown_subject_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        codecs.main(["--subjects", "scene,moon"])
    assert "motorcycle-middle, motorcycle-wild or none, got moon" in capsys.readouterr().err


def test_a_case_that_decodes_to_another_frame_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    other = codecs.Case("wrong", lambda g: b"", lambda data: pixel_aligned_frame(50, seed=1))
    monkeypatch.setattr(codecs, "cases", lambda folder: [other])
    with pytest.raises(RuntimeError, match="wrong: decoding gave another frame"):
        codecs.measure(50, 1)


def test_the_frame_is_the_same_every_time_and_valid() -> None:
    first, second = pixel_aligned_frame(5000), pixel_aligned_frame(5000)
    assert WIDTH * HEIGHT == 190_512
    np.testing.assert_array_equal(first.means, second.means)
    assert (first.scales > 0).all() and (first.means[:, 2] > 0.3).all() and (first.means[:, 2] < 10).all()
    np.testing.assert_allclose(np.linalg.norm(first.quats, axis=1), 1, atol=1e-6)
    for codec in CODECS.values():
        assert len(codec.decode(codec.encode(first))) == 5000
