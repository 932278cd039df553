"""The recording behind the viewer's invitation: small, a loop, and what a session would have sent."""

import io
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from deployments.models import load_model
from deployments.ops import sample
from deployments.scene.clip import PERIOD_S
from deployments.stages.local import LocalPipeline
from deployments.stream.errors import FrameError, InferenceFailed
from deployments.stream.frames import Capture, PackedFrame
from deployments.stream.recording import RecordingReader, wants_picture


def test_the_recording_is_one_period_of_the_scene_with_its_colours_in_less_than_400_kb() -> None:
    data = sample.record_sample(LocalPipeline(load_model("relief")), "1.2.3")
    reader = RecordingReader(io.BytesIO(data))
    frames = list(reader.frames())
    assert (reader.damaged, reader.cut, len(data) < 400_000) == (0, "", True)
    assert reader.welcome is not None and (reader.welcome.version, reader.welcome.engine.engine) == ("1.2.3", "relief")
    assert len(frames) == PERIOD_S * sample.FIRST_VISIT.fps
    assert {round(after.ms - before.ms) for before, after in pairwise(frames)} == {round(1000 / sample.FIRST_VISIT.fps)}
    assert all(frame.reply.codec == "depth" and wants_picture(frame.reply) and frame.picture for frame in frames)
    # The last frame leads to the first: the scene has gone round once before, and the engine with it.
    first, second, last = frames[0].reply.count, frames[1].reply.count, frames[-1].reply.count
    assert abs(last - first) <= 3 * abs(second - first) + 0.02 * first


def test_a_pipeline_that_refuses_is_not_recorded() -> None:
    class Refuses:
        describe: Callable[[], Awaitable[object]]

        def __init__(self) -> None:
            self.describe = LocalPipeline(load_model("synthetic")).describe

        async def __call__(self, capture: Capture) -> PackedFrame | FrameError:
            return InferenceFailed("no")

    with pytest.raises(RuntimeError, match="refused the sample"):
        sample.record_sample(Refuses(), "0")  # type: ignore[arg-type]
