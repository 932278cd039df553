"""Ingress: the browser's end of the graph, with handles to the rest of it."""

import asyncio
import logging
import os
import time
from typing import Any

from ray import serve
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle, DeploymentResponse
from starlette.types import ASGIApp

from deployments.config import GraphArgs
from deployments.http.access import token_from
from deployments.http.app import create_app
from deployments.ops.graph_state import graph_state, replica_name
from deployments.ops.metrics import PrometheusExport, RaySink
from deployments.ops.proxy import missing_environment
from deployments.pipeline import DecodedCapture, Overloaded
from deployments.stream.admission import Admission
from deployments.stream.counts import Counts
from deployments.stream.errors import FrameError, GraphFailed
from deployments.stream.frames import Capture, PackedFrame
from deployments.stream.logs import Seldom, frame_fields
from deployments.stream.messages import Engine

logger = logging.getLogger("ray.serve.splatcast")


_LOST_REPORT_PERIOD_S = 5.0


def _is_no_backpressure_line(record: logging.LogRecord) -> bool:
    # Serve's router warns about every frame that full queues refuse; a session counts them and reports every 5 s.
    return not str(record.msg).startswith("Request dropped due to backpressure")


class GraphPipeline:
    """The :class:`~deployments.pipeline.Pipeline` over three Serve handles."""

    def __init__(
        self, decoder: DeploymentHandle, inference: DeploymentHandle, packer: DeploymentHandle, frame_timeout_s: float
    ) -> None:
        self._decode, self._predict, self._pack = decoder.decode, inference.predict, packer.pack
        self._describe = inference.describe
        self._frame_timeout_s = frame_timeout_s
        self._lost = Seldom(_LOST_REPORT_PERIOD_S)

    async def __call__(self, capture: Capture) -> PackedFrame | FrameError:
        """Run one capture through the graph; see :class:`~deployments.pipeline.Pipeline`."""
        # Chained without awaiting: arrays go from stage to stage through the object store, never through here.
        decoded = self._decode.remote(capture)
        predicted = self._predict.remote(decoded)
        packed = self._pack.remote(predicted)
        outcome: PackedFrame | FrameError = await self._outcome(capture, packed, predicted, decoded)
        return outcome

    async def decode(self, capture: Capture) -> DecodedCapture | FrameError:
        """Run one capture through the first stage."""
        outcome: DecodedCapture | FrameError = await self._outcome(capture, self._decode.remote(capture))
        return outcome

    async def _outcome(self, capture: Capture, last: DeploymentResponse, *before: DeploymentResponse) -> Any:
        """What the last stage returns, or that the frame is lost."""
        try:
            return await asyncio.wait_for(last, self._frame_timeout_s)
        except BaseException as error:
            # Nobody waits for it any more. Cancelling only one stage would leave the ones before it running, in others' places.
            for response in (last, *before):
                response.cancel()
            if isinstance(error, BackPressureError):
                raise Overloaded from None
            if not isinstance(error, Exception):
                raise  # The client left.
            # What a lost replica raises depends on its place in the chain: RayServeException, ActorDiedError or RayTaskError.
            # The client sees one error for all; the log tells them apart.
            self._count_lost(error, capture.request.frame_id)
            return GraphFailed()

    def _count_lost(self, error: Exception, frame_id: str) -> None:
        """Log one line every few seconds, however many frames are lost."""
        if count := self._lost.count():
            text = "%d frames lost in the graph, the last one to %s: %.300s"
            logger.warning(text, count, type(error).__name__, error, extra=frame_fields(frame_id))

    async def describe(self) -> Engine:
        """What the model is, according to a replica that has loaded it."""
        info: Engine = await self._describe.remote()
        return info


@serve.deployment
@serve.ingress()
class Ingress:
    """Serves the viewer, the HTTP API and the sessions."""

    def __init__(self, decoder: DeploymentHandle, inference: DeploymentHandle, packer: DeploymentHandle, args: GraphArgs) -> None:
        self._args = args
        self._token = token_from(os.environ)
        self._pipeline = GraphPipeline(decoder, inference, packer, args.frame_timeout_s)
        logging.getLogger("ray.serve").addFilter(_is_no_backpressure_line)
        if warning := missing_environment():
            logger.warning(warning)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Called by Serve after ``__init__``, when the handles exist."""
        counts, admission = Counts(time.monotonic), Admission(self._args.admission)
        PrometheusExport(RaySink(), counts, admission, self._args.max_sessions)
        return create_app(
            self._pipeline,
            self._args,
            counts=counts,
            admission=admission,
            token=self._token,
            graph=graph_state,
            replica=replica_name(),
        )

    async def splat(self, capture: Capture) -> PackedFrame | FrameError:
        """Run one capture through the graph, for programs in the same cluster: ``handle.splat.remote(Capture((jpeg,)))``."""
        return await self._pipeline(capture)
