"""The predict stage: runs a model's batches so that a capture that fails, hangs or uses up the memory costs only itself. No Ray.

When a batch fails, nothing says which capture was the cause, so its captures are retried one by one. A call that does not return
can't be stopped: its thread is left behind, and the next batch gets a new one. An engine that can't be entered twice holds a lock,
and so hangs again, which shows that it is broken.

A capture that brings its own depth needs no model; it shares the batch's place in the queue all the same.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from deployments.models.base import SplatModel
from deployments.pipeline import DecodedCapture, PredictedCapture, Prediction
from deployments.stages.measured_depth import layers_of_depth
from deployments.stages.transparency import make_transparent
from deployments.stream.errors import FrameError, InferenceFailed
from deployments.stream.logs import frame_fields

logger = logging.getLogger("ray.serve.splatcast")

_FAILURES_UNTIL_DOUBT = 3
"""Failures in a row that may still be the pictures' fault; after these the model must show that it works."""
_HUNG_UNTIL_BROKEN = 3
"""A batch that hangs, and then the one capture in it that hangs again, are two: the picture's fault. More at a time are the fault
of the model or its device, and each keeps a thread."""


def predict_batch(model: SplatModel, captures: Sequence[DecodedCapture]) -> list[PredictedCapture | FrameError]:
    """Run a model, and note in each request its new state, the time it took as ``infer`` and the batch's size.

    Raises:
        ValueError: If the model returned a different number of results.
        Exception: Whatever the model raises.
    """
    return _note(captures, *_run(model, captures))


def _run(model: SplatModel, captures: Sequence[DecodedCapture]) -> tuple[list[Prediction | FrameError], float]:
    """The model's results and the milliseconds they took. Does not touch the requests: this call may return too late."""
    began_s = time.perf_counter()
    unknown = [capture for capture in captures if not capture.depths]
    predicted = model.predict(unknown) if unknown else []
    if len(predicted) != len(unknown):
        raise ValueError(f"expected {len(unknown)} results, got {len(predicted)}")
    following = iter(predicted)
    results = [layers_of_depth(capture) if capture.depths else next(following) for capture in captures]
    results = [
        result if isinstance(result, FrameError) else make_transparent(result, capture.alphas)
        for capture, result in zip(captures, results, strict=True)
    ]
    return results, (time.perf_counter() - began_s) * 1e3


def _note(
    captures: Sequence[DecodedCapture], results: Sequence[Prediction | FrameError], infer_ms: float
) -> list[PredictedCapture | FrameError]:
    predicted: list[PredictedCapture | FrameError] = []
    for capture, result in zip(captures, results, strict=True):
        if isinstance(result, FrameError):
            predicted.append(result)
            continue
        request = capture.request
        request.state, request.batch_size, request.timings["infer"] = result.state, len(captures), infer_ms
        request.label = result.label
        predicted.append(PredictedCapture(result, request))
    return predicted


class _HungError(Exception):
    """The model did not return in time."""


class ModelRunner:
    """Runs a model's batches, one at a time, in their own thread.

    Attributes:
        model: The model.
        hung: Calls that timed out and have not returned.
    """

    def __init__(self, model: SplatModel, timeout_s: float) -> None:
        """Take a model that has warmed up.

        Args:
            model: Any engine.
            timeout_s: A batch is given up after this long.
        """
        self.model = model
        self.hung: set[asyncio.Future[Any]] = set()
        self._timeout_s = timeout_s
        self._failures = 0
        self._thread = ThreadPoolExecutor(1, "model")

    async def predict(self, captures: Sequence[DecodedCapture]) -> list[PredictedCapture | FrameError]:
        """Gaussians of each capture, or why it has none; never raises, whatever the model does."""
        try:
            return await self._call(captures)
        except Exception as error:
            if len(captures) == 1:
                return [self._refusal(error, captures[0])]
            return [await self._alone(capture) for capture in captures]

    async def check_health(self) -> None:
        """Whether Serve may keep this replica.

        Raises:
            RuntimeError: If calls hang.
            Exception: Whatever the model raises in its own check or, after several failures in a row, in its warm-up.
        """
        if len(self.hung) >= _HUNG_UNTIL_BROKEN:
            raise RuntimeError(f"{len(self.hung)} calls of model {self.model.info.name} hang")
        # In a thread, as it may take a forward pass: frames go on meanwhile.
        if self._failures >= _FAILURES_UNTIL_DOUBT:
            await asyncio.to_thread(self.model.warm_up)
            self._failures = 0
        if (check := getattr(self.model, "check_health", None)) is not None:
            await asyncio.to_thread(check)

    async def _alone(self, capture: DecodedCapture) -> PredictedCapture | FrameError:
        try:
            (result,) = await self._call([capture])
        except Exception as error:
            return self._refusal(error, capture)
        return result

    async def _call(self, captures: Sequence[DecodedCapture]) -> list[PredictedCapture | FrameError]:
        call = asyncio.wrap_future(self._thread.submit(_run, self.model, captures))
        done, _ = await asyncio.wait({call}, timeout=self._timeout_s)
        if not done:
            self.hung.add(call)
            call.add_done_callback(self._came_back)
            self._thread.shutdown(wait=False)
            self._thread = ThreadPoolExecutor(1, "model")
            raise _HungError
        self._failures += 1  # Reset below if the call succeeds.
        results, infer_ms = call.result()
        self._failures = 0
        return _note(captures, results, infer_ms)

    def _came_back(self, call: "asyncio.Future[Any]") -> None:
        self.hung.discard(call)
        with contextlib.suppress(BaseException):
            call.result()  # Too late to use; retrieved so that asyncio does not warn that nobody did.

    def _refusal(self, error: Exception, capture: DecodedCapture) -> FrameError:
        name, about = self.model.info.name, frame_fields(capture.request.frame_id)
        if isinstance(error, _HungError):
            logger.error("model %s did not return within %g s", name, self._timeout_s, extra=about)
            return InferenceFailed(f"{name} took longer than {self._timeout_s:g} s")
        logger.error("model %s failed", name, exc_info=error, extra=about)
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, which only models/ import
            return InferenceFailed(f"{name} ran out of memory")
        return InferenceFailed(f"{name} failed; the server's log says why")
