"""Ingress: the browser's end of the graph, with handles to the rest of it."""

import logging
import os
import time

from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from deployments.config import GraphArgs
from deployments.http.access import token_from
from deployments.http.app import create_app
from deployments.ops.graph_state import graph_state, replica_name
from deployments.ops.handles import GraphPipeline, RelayHandle
from deployments.ops.metrics import PrometheusExport, RaySink
from deployments.ops.proxy import missing_environment
from deployments.stream.admission import Admission
from deployments.stream.counts import Counts
from deployments.stream.errors import FrameError
from deployments.stream.frames import Capture, PackedFrame

logger = logging.getLogger("ray.serve.splatcast")


def _is_no_backpressure_line(record: logging.LogRecord) -> bool:
    # Serve's router warns about every frame that full queues refuse; a session counts them and reports every 5 s.
    return not str(record.msg).startswith("Request dropped due to backpressure")


@serve.deployment
@serve.ingress()
class Ingress:
    """Serves the viewer, the HTTP API and the sessions."""

    def __init__(
        self,
        decoder: DeploymentHandle,
        inference: DeploymentHandle,
        packer: DeploymentHandle,
        relay: DeploymentHandle,
        args: GraphArgs,
    ) -> None:
        self._args = args
        self._relay = RelayHandle(relay)
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
            relay=self._relay,
        )

    async def splat(self, capture: Capture) -> PackedFrame | FrameError:
        """Run one capture through the graph, for programs in the same cluster: ``handle.splat.remote(Capture((jpeg,)))``."""
        return await self._pipeline(capture)
