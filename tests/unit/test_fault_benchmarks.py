"""The arithmetic of the fault and autoscaling benchmarks."""

from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.autoscale import Sample, summarise
from benchmarks.chart import Line, Panel, svg
from benchmarks.faults.inject import config, poison_picture, with_args, with_replicas
from benchmarks.faults.watch import lost
from benchmarks.viewers import Shot
from deployments.models.synthetic import POISONS, SyntheticModel
from deployments.pipeline import DecodedCapture, Prediction
from deployments.stages.decode import FrameLimits, decode_capture
from deployments.stream.frames import Capture


def sample(at_s: float, offered: float, delivered: float, running: int) -> Sample:
    return Sample(at_s, 4, offered, delivered, running, 0)


def test_scaling_is_timed_from_the_load_and_judged_at_rest() -> None:
    calm = [sample(t, 2.0, 2.0, 1) for t in range(5)]
    heavy = [sample(5 + t, 30.0, 5.0, 1) for t in range(6)]
    scaled = [sample(11 + t, 30.0, 9.0 if t < 3 else 19.0, 4) for t in range(10)]
    after = [sample(21 + t, 2.0, 2.0, 4 if t < 8 else 1) for t in range(12)]
    found = summarise([*calm, *heavy, *scaled, *after], ideal_fps=5.0)
    assert (found["most_replicas"], found["up_s"], found["down_s"]) == (4, 6, 9)
    assert found["efficiency_by_replicas"][1] == 1.0
    assert 0.9 < found["efficiency_by_replicas"][4] < 1.0, "the moment after a change is not at rest"


def test_a_run_without_load_says_that_nothing_scaled() -> None:
    found = summarise([sample(t, 0.0, 0.0, 1) for t in range(5)], ideal_fps=5.0)
    assert (found["up_s"], found["down_s"], found["efficiency"]) == (None, None, None)


def test_lost_are_the_frames_that_failed_or_were_cut_in_that_time() -> None:
    shots = [Shot(0, 1, "delivered"), Shot(0, 1, "dropped", "superseded"), Shot(0, 1, "failed", "graph_failed")]
    shots += [Shot(0, 2, "cut"), Shot(0, 2, "cut"), Shot(1.5, 2, "cut"), Shot(0, 9, "cut"), Shot(0)]
    assert lost(shots, 1, 5) == {"graph_failed": 1, "cut": 2}


def test_a_chart_is_well_formed_and_keeps_within_its_frame() -> None:
    lines = [Line("a & b", "#123456", [(0, 0), (10, 7), (20, 3)]), Line("steps", "#654321", [(0, 1), (20, 4)], steps=True)]
    root = ElementTree.fromstring(svg("title <1>", [Panel("frames/s", lines), Panel("replicas", lines)], "s"))
    width, height = (float(v) for v in root.attrib["viewBox"].split()[2:])
    found = root.findall(".//{*}polyline")
    assert len(found) == 4
    for line in found:
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= width and 0 <= y <= height


@pytest.mark.parametrize("name", [name for name in POISONS if name not in ("hang",)])
def test_a_poison_picture_survives_jpeg(name: str) -> None:
    decoded = decode_capture(Capture((poison_picture(name),)), FrameLimits())
    assert isinstance(decoded, DecodedCapture)
    model = SyntheticModel(splats=100, poison=True)
    if name == "nan":
        (result,) = model.predict([decoded])
        assert isinstance(result, Prediction) and np.isnan(result.gaussians.means).all()
    else:
        with pytest.raises(RuntimeError if name == "raise" else MemoryError):
            model.predict([decoded])


def test_rollouts_change_what_they_say() -> None:
    before = config(2)
    changed = with_args(before)["applications"][0]["args"]["engine"]["params"]
    assert changed != before["applications"][0]["args"]["engine"]["params"]
    numbers = {entry["name"]: entry["num_replicas"] for entry in with_replicas(before)["applications"][0]["deployments"]}
    assert numbers == {"Ingress": 2, "FrameDecoder": 3, "GaussianInference": 3, "SplatPacker": 3}
    assert with_replicas(before)["applications"][0]["args"] == before["applications"][0]["args"]
