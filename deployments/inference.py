"""GaussianInference: RGB → Gaussians, batched across sessions."""

import time
from collections.abc import Sequence

from ray import serve

from deployments.config import BatchArgs, EngineArgs
from deployments.models import load_model
from deployments.ops.autoscaling import WorkTotals
from deployments.ops.metrics import RaySink
from deployments.pipeline import DecodedCapture, PredictedCapture
from deployments.stages.predict import ModelRunner
from deployments.stream.errors import FrameError
from deployments.stream.messages import Engine


@serve.deployment
class GaussianInference:
    """Holds one model on one device."""

    def __init__(self, engine: EngineArgs, batch: BatchArgs) -> None:
        model = load_model(engine.name, **engine.params)
        model.warm_up()
        self._runner = ModelRunner(model, engine.timeout_s)
        self._totals = WorkTotals()
        self._metrics = RaySink()
        self._max_batch = batch.max_size
        self._predict_batch.set_max_batch_size(batch.max_size)
        self._predict_batch.set_batch_wait_timeout_s(batch.wait_s)

    async def predict(self, decoded: DecodedCapture | FrameError) -> PredictedCapture | FrameError:
        """Gaussians of one capture; an error is passed on."""
        if isinstance(decoded, FrameError):
            return decoded
        result: PredictedCapture | FrameError = await self._predict_batch(decoded)
        return result

    async def describe(self) -> Engine:
        """What the model is."""
        return self._runner.model.info

    async def check_health(self) -> None:
        """Raise if the model no longer works; Serve replaces the replica after the third time."""
        await self._runner.check_health()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """What :class:`~deployments.ops.autoscaling.FramesWanted` scales by; Serve asks every second."""
        return self._totals.report(time.monotonic())

    @serve.batch  # type: ignore[untyped-decorator]
    async def _predict_batch(self, captures: list[DecodedCapture]) -> Sequence[PredictedCapture | FrameError]:
        self._totals.begin(time.monotonic())
        results = await self._runner.predict(captures)
        self._totals.end([capture.request.pressure for capture in captures], self._max_batch, time.monotonic())
        self._metrics.observe("splatcast_batch_size", len(captures), {})
        return results
