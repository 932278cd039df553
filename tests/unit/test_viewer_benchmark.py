"""The benchmark of the viewer: what it shows, and how it compares."""

import base64

import pytest

from benchmarks import viewer
from benchmarks.subjects import scene
from deployments.splats.codecs import CODECS
from deployments.splats.codecs.depth import decode_depth


def test_every_way_has_the_same_picture_and_its_negative():
    ways = viewer.frames_of(scene(64))
    counts = {len(CODECS[name].decode(base64.b64decode(data))) for name in ("ply", "packed") for data in ways[name]["data"]}
    depths = [decode_depth(base64.b64decode(data)) for way in ("depth", "depth+jpeg") for data in ways[way]["data"]]
    sizes = {coded.views[0].layers[0].inverse_depth.size for coded in depths}
    assert counts == {64 * 48} == sizes
    pictures = [coded.views[0].picture for coded in depths]
    assert [picture and picture.data for picture in pictures] == [None] * 2 + [
        base64.b64decode(own) for own in ways["depth"]["own"]
    ]
    for name in ("ply", "packed"):
        light = [float(CODECS[name].decode(base64.b64decode(data)).sh.mean()) for data in ways[name]["data"]]
        assert light[0] == pytest.approx(-light[1], abs=0.05), "the negative is as dark as the picture is light"


def test_sooner_is_the_median_of_the_rounds_own_ratios():
    measured = {"ply": {"readyMs": [100.0, 1000.0, 300.0]}, "depth": {"readyMs": [10.0, 50.0, 10.0]}}
    assert viewer.sooner(measured, "depth") == 20.0
