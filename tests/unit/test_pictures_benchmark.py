"""What ``benchmarks.pictures`` makes of its measurements."""

import io

import pytest
from PIL import Image

from benchmarks.command import BenchmarkError
from benchmarks.pictures import describe, make_picture, measure_stages

STAGES = {"decode": 0.1, "infer": 0.05, "pack": 0.05, "idle_mb": 300.0, "peak_mb": 320.0, "decoder_mb": 80.0}


def test_the_table_has_rates_and_the_memory_that_a_photo_adds() -> None:
    server = {"1": {"photos_per_s": 2.0, "decoders_mb": 200.0}, "4": {"photos_per_s": 3.5, "decoders_mb": 410.0}}
    row = describe({"heic 12": {"file_mb": 2.5, "stages": STAGES, "server": server}}).splitlines()[2]
    assert [cell.strip() for cell in row.split("|")[1:-1]] == ["heic 12 MP", "2.5", "100", "5.0", "100", "2.0", "3.5", "410"]


def test_without_a_server_its_columns_are_empty() -> None:
    row = describe({"png 12": {"file_mb": 2.5, "stages": STAGES}}).splitlines()[2]
    assert [cell.strip() for cell in row.split("|")[-4:-1]] == ["–", "–", "–"]


def test_pictures_are_of_the_size_that_is_asked_for() -> None:
    for kind in ("jpeg", "png"):
        width, height = Image.open(io.BytesIO(make_picture(kind, 0.3))).size
        assert (width, height) == (632, 474)
    with pytest.raises(BenchmarkError, match=r"expected some of jpeg, png, heic, got 'psd'"):
        make_picture("psd", 0.3)


def test_the_stages_of_a_photo_are_timed(tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "a.jpeg"
    file.write_bytes(make_picture("jpeg", 0.3))
    found = measure_stages(file, 2)
    assert set(found) == set(STAGES) and min(found["decode"], found["infer"], found["pack"]) > 0
    assert found["peak_mb"] >= found["idle_mb"] > 50
