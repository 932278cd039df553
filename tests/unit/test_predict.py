"""One bad capture costs itself only; a model that is broken says so."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from deployments.models.synthetic import POISONS, SyntheticModel
from deployments.pipeline import DecodedCapture, PredictedCapture, Prediction
from deployments.stages.pack import Packer, PackSettings
from deployments.stages.predict import ModelRunner
from deployments.stream.errors import FrameError, InferenceFailed
from deployments.stream.frames import FrameRequest, PackedFrame
from deployments.stream.options import FrameOptions


def shot(colour: tuple[int, int, int]) -> DecodedCapture:
    return DecodedCapture((np.full((48, 64, 3), colour, np.uint8),), FrameRequest(FrameOptions(border=0.0)))


GREY = shot((128, 128, 128))
POISON = {name: shot(colour) for name, colour in POISONS.items()}
BLACK = POISON["hang"]
SOON_S = 0.05
LATE_S = 60.0
"""No test waits for it."""


class Stuck(SyntheticModel):
    """Hangs on black pictures until it is let go."""

    def __init__(self) -> None:
        super().__init__(splats=100)
        self.let_go = threading.Event()

    def predict(self, captures: Sequence[DecodedCapture]) -> list[Prediction | FrameError]:
        if any(not capture.views[0].any() for capture in captures):
            self.let_go.wait(LATE_S)
        return super().predict(captures)


class Broken(SyntheticModel):
    """Raises whatever it is given."""

    def predict(self, captures: Sequence[DecodedCapture]) -> list[Prediction | FrameError]:
        raise RuntimeError("device lost")

    def warm_up(self) -> None:
        self.predict([])


@pytest.mark.parametrize(("poison", "sentence"), [("raise", "synthetic failed"), ("memory", "ran out of memory")])
@pytest.mark.parametrize("company", [0, 1, 3])
async def test_a_capture_that_raises_or_takes_all_memory_fails_alone(poison: str, sentence: str, company: int) -> None:
    runner = ModelRunner(SyntheticModel(splats=100, poison=True), LATE_S)
    batch = [GREY] * company
    batch.insert(company // 2, POISON[poison])
    results = await runner.predict(batch)
    refused = results.pop(company // 2)
    assert isinstance(refused, InferenceFailed) and sentence in str(refused)
    assert len(results) == company and all(
        isinstance(result, PredictedCapture) and result.request.batch_size == 1 for result in results
    )
    await runner.check_health()


async def test_a_capture_of_nothing_but_nan_becomes_a_frame_without_splats() -> None:
    results = await ModelRunner(SyntheticModel(splats=100, poison=True), LATE_S).predict([POISON["nan"], GREY])
    packer = Packer(PackSettings())
    empty, whole = (packer.pack(result) for result in results)
    assert isinstance(empty, PackedFrame) and empty.count == 0
    assert isinstance(whole, PackedFrame) and whole.count > 50


async def test_a_capture_that_hangs_fails_alone_and_the_next_ones_are_served() -> None:
    model = Stuck()
    runner = ModelRunner(model, SOON_S)
    try:
        before, refused, after = await runner.predict([GREY, BLACK, GREY])
        assert isinstance(before, PredictedCapture) and isinstance(after, PredictedCapture)
        assert isinstance(refused, InferenceFailed) and "longer than 0.05 s" in str(refused)
        (following,) = await runner.predict([GREY])
        assert isinstance(following, PredictedCapture)
        await runner.check_health()
    finally:
        model.let_go.set()


async def test_calls_that_keep_hanging_make_the_replica_unhealthy_until_they_come_back() -> None:
    model = Stuck()
    runner = ModelRunner(model, SOON_S)
    try:
        for _ in range(3):
            await runner.predict([BLACK])
        with pytest.raises(RuntimeError, match="3 calls of model synthetic hang"):
            await runner.check_health()
    finally:
        model.let_go.set()
    while runner.hung:
        await asyncio.wait(runner.hung)
    await runner.check_health()


async def test_failures_that_are_the_pictures_leave_the_replica_healthy() -> None:
    runner = ModelRunner(SyntheticModel(splats=100, poison=True), LATE_S)
    for _ in range(5):
        await runner.predict([POISON["raise"]])
    await runner.check_health()


async def test_failures_that_are_the_models_make_the_replica_unhealthy() -> None:
    runner = ModelRunner(Broken(splats=100), LATE_S)
    for _ in range(2):
        assert [str(result) for result in await runner.predict([GREY])] == [
            "The model could not process this frame: synthetic failed; the server's log says why."
        ]
    await runner.check_health()
    await runner.predict([GREY])
    with pytest.raises(RuntimeError, match="device lost"):
        await runner.check_health()


async def test_a_model_that_returns_too_few_results_fails_the_frames_and_loses_none() -> None:
    class Short(SyntheticModel):
        def predict(self, captures: Sequence[DecodedCapture]) -> list[Prediction | FrameError]:
            return super().predict(captures)[1:]

    results = await ModelRunner(Short(splats=100), LATE_S).predict([GREY, GREY])
    assert [type(result) for result in results] == [InferenceFailed, InferenceFailed]


async def test_each_request_gets_its_own_state_and_the_time_and_size_of_the_batch() -> None:
    class Counting(SyntheticModel):
        def predict(self, captures: Sequence[DecodedCapture]) -> list[Prediction | FrameError]:
            results = super().predict(captures)
            return [replace(r, state=bytes([i])) for i, r in enumerate(results) if isinstance(r, Prediction)]

    shots = [shot((128, 128, 128)), shot((128, 128, 128))]
    await ModelRunner(Counting(splats=100), LATE_S).predict(shots)
    first, second = (each.request for each in shots)
    assert (first.state, second.state) == (b"\0", b"\1")
    assert first.timings == second.timings and first.timings["infer"] > 0
    assert first.batch_size == second.batch_size == 2


async def test_a_call_that_comes_back_too_late_changes_no_request() -> None:
    model, black = Stuck(), shot((0, 0, 0))
    runner = ModelRunner(model, SOON_S)
    (refused,) = await runner.predict([black])
    assert isinstance(refused, InferenceFailed)
    model.let_go.set()
    while runner.hung:
        await asyncio.wait(runner.hung)
    assert black.request == FrameRequest(FrameOptions(border=0.0))


async def test_a_batch_that_goes_well_says_how_large_it_was() -> None:
    results = await ModelRunner(SyntheticModel(splats=100), LATE_S).predict([GREY, GREY])
    assert [result.request.batch_size for result in results if isinstance(result, PredictedCapture)] == [2, 2]
