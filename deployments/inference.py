"""GaussianInference: RGB → Gaussians, batched across sessions."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from ray import serve

from deployments.config import BatchArgs, EngineArgs
from deployments.models import load_model
from deployments.pipeline import DecodedCapture, Prediction
from deployments.stream.errors import FrameError, InferenceFailed
from deployments.stream.messages import Engine

logger = logging.getLogger("ray.serve.splatcast")

_FAILED_BATCHES_UNTIL_UNHEALTHY = 3
"""One batch may fail for its input; three in a row mean the model or its device is broken, and Serve replaces the replica."""


@serve.deployment
class GaussianInference:
    """Holds one model on one device."""

    def __init__(self, engine: EngineArgs, batch: BatchArgs) -> None:
        self._model = load_model(engine.name, **engine.params)
        self._model.warm_up()
        self._failed_batches = 0
        self._predict_batch.set_max_batch_size(batch.max_size)
        self._predict_batch.set_batch_wait_timeout_s(batch.wait_s)

    async def predict(self, decoded: DecodedCapture | FrameError) -> Prediction | FrameError:
        """Gaussians of one capture; an error is handed on."""
        if isinstance(decoded, FrameError):
            return decoded
        result: Prediction | FrameError = await self._predict_batch(decoded)
        return result

    async def describe(self) -> Engine:
        """What the model is."""
        return self._model.info

    async def check_health(self) -> None:
        """Raise when the model has failed too often in a row, or says itself that it no longer works."""
        if self._failed_batches >= _FAILED_BATCHES_UNTIL_UNHEALTHY:
            raise RuntimeError(f"{self._failed_batches} batches in a row failed in model {self._model.info.name}")
        if (check := getattr(self._model, "check_health", None)) is not None:
            # In a thread, as it may be a forward: frames go on meanwhile.
            await asyncio.to_thread(check)

    @serve.batch  # type: ignore[untyped-decorator]
    async def _predict_batch(self, captures: list[DecodedCapture]) -> Sequence[Prediction | FrameError]:
        try:
            # In a thread: the next batch forms meanwhile and health checks are answered.
            predictions = await asyncio.to_thread(self._model.predict, captures)
        except Exception as error:
            self._failed_batches += 1
            logger.exception("batch failed")
            return [InferenceFailed(f"{type(error).__name__} in {self._model.info.name}")] * len(captures)
        self._failed_batches = 0
        return [p if isinstance(p, FrameError) else replace(p, batch_size=len(captures)) for p in predictions]
