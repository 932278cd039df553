"""The arithmetic of the fault and autoscaling benchmarks."""

import asyncio
import math
from collections.abc import AsyncIterator
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.autoscale import Sample, summarise
from benchmarks.chart import Line, Panel, svg
from benchmarks.faults.inject import config, poison_picture, with_args, with_replicas
from benchmarks.faults.watch import lost
from benchmarks.load.session import Client, FrameRecord
from benchmarks.viewers import Viewer, delivered, offered, outcomes, watching
from deployments.client import ClientError
from deployments.models.synthetic import POISONS, SyntheticModel
from deployments.pipeline import DecodedCapture, Prediction
from deployments.stages.decode import FrameLimits, decode_capture
from deployments.stream.frames import Capture
from deployments.stream.messages import Error
from tests.pictures import jpeg
from tests.stub_server import StubPipeline, stub_server


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
    def frame(due_s: float, ended_s: float | None, outcome: str, reason: str = "") -> FrameRecord:
        return FrameRecord(due_s, due_s, due_s, ended_s, outcome, reason)

    frames = [frame(0, 1, "delivered"), frame(0, 1, "dropped", "superseded"), frame(0, 1, "errored", "graph_failed")]
    frames += [frame(0, 2, "cut"), frame(0, 2, "cut"), frame(1.5, 2, "cut"), frame(0, 9, "cut"), frame(0, None, "unanswered")]
    assert lost(frames, 1, 5) == {"graph_failed": 1, "cut": 2}


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
        assert isinstance(result, Prediction) and np.isnan(result.as_gaussians().means).all()
    else:
        with pytest.raises(RuntimeError if name == "raise" else MemoryError):
            model.predict([decoded])


def test_rollouts_change_what_they_say() -> None:
    before = config(2)
    changed = with_args(before)["applications"][0]["args"]["engine"]["params"]
    assert changed != before["applications"][0]["args"]["engine"]["params"]
    numbers = {entry["name"]: entry["num_replicas"] for entry in with_replicas(before)["applications"][0]["deployments"]}
    assert numbers == {"Ingress": 2, "Relay": 3, "FrameDecoder": 3, "GaussianInference": 3, "SplatPacker": 3}
    assert with_replicas(before)["applications"][0]["args"] == before["applications"][0]["args"]


class Breaking:
    """A stream that refuses the first frame, and breaks when it has the second."""

    def __init__(self) -> None:
        self.bytes_sent, self._frames = 0, asyncio.Queue[bytes]()

    async def send_frame(self, views: bytes, captured_ms: float) -> None:
        self._frames.put_nowait(views)

    async def __aiter__(self) -> AsyncIterator[Error]:
        await self._frames.get()
        yield Error("image_broken", "", 0)
        await self._frames.get()
        raise ClientError("closed", "The connection broke")


async def test_a_viewer_reconnects_and_what_its_broken_session_had_on_the_way_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    async def streams(url: str, **settings: object) -> AsyncIterator[Breaking]:
        yield Breaking()
        yield Breaking()

    monkeypatch.setattr("benchmarks.viewers.reconnecting", streams)
    viewer = Viewer(Client("", [b"jpeg"]), 100.0)
    viewer.start()
    while len(viewer.broke_s) < 2:
        await asyncio.sleep(0.001)
    await viewer.stop()
    found = [[(frame.outcome, frame.reason) for frame in session.frames] for session in viewer.sessions]
    assert found == [[("errored", "image_broken"), ("cut", "")]] * 2
    assert outcomes([viewer], 0.0, math.inf) == {"cut": 2, "errored image_broken": 2}
    assert offered([viewer], 0.0, 4e9) == 1e-9 and delivered([viewer], 0.0, 4e9) == 0.0


async def test_a_viewer_that_leaves_takes_its_frames_along() -> None:
    pipeline = StubPipeline()
    pipeline.gate.clear()
    async with stub_server(pipeline) as url, watching(Client(url, [jpeg()]), 1, 20.0) as (viewer,):
        while not pipeline.captures:
            await asyncio.sleep(0.001)
    assert viewer.broke_s == [] and {frame.outcome for frame in viewer.frames} <= {"unanswered", "dropped"}
