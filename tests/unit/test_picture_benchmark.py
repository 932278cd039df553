"""What ``benchmarks.picture`` looks at: what the layer behind the front costs, and that it closes the holes."""

from functools import cache

import pytest

from benchmarks.picture import shots, zoom
from benchmarks.picture.shots import SHOTS, Shot, sent
from benchmarks.picture.still import figures, look
from deployments.stream.options import FrameOptions


@cache
def shot(name: str) -> Shot:
    return SHOTS[name](504)


@pytest.mark.parametrize("name", ["one", "across", "motorcycle"])
def test_what_is_behind_costs_a_quarter_more_bytes_at_most(name: str) -> None:
    (_, plain, _), (_, packed, _) = (sent(shot(name), FrameOptions(behind_deg=angle)) for angle in (0, 15))
    camera = len(shot(name).jpeg.data)
    assert len(packed.data) - camera <= 1.25 * (len(plain.data) - camera)


def test_somebody_across_a_cluttered_table_leaves_few_holes_in_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shots, "orbit", lambda: [(15, 0), (-15, 0)])
    gaussians, _, _ = sent(shot("across"), FrameOptions())
    assert sum(figures(place, *look(gaussians, place))["holes"] for place in shot("across").places()) / 2 < 0.003


def test_flat_tops_are_sharper_than_plain_splats_and_let_less_through_at_every_size() -> None:
    found = zoom.measure(shot("one"))
    for plain, flat in zip(found["plain"], found["flat"], strict=True):
        assert flat["psnr"] > plain["psnr"] and flat["black"] < plain["black"]
