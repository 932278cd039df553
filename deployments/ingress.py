"""Ingress: the browser's side of the graph, and the handles to the rest of it."""

import asyncio
import logging
import os

from ray import serve
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from deployments.config import GraphArgs
from deployments.http.access import token_from
from deployments.http.app import create_app
from deployments.http.status import DeploymentState, GraphState
from deployments.ops.metrics import RaySink
from deployments.ops.proxy import missing_environment
from deployments.pipeline import Overloaded
from deployments.stream.errors import FrameError, GraphFailed
from deployments.stream.frames import Capture, PackedFrame
from deployments.stream.logs import Seldom, frame_fields
from deployments.stream.messages import Engine

logger = logging.getLogger("ray.serve.splatcast")


_LOST_REPORT_PERIOD_S = 5.0


def _is_no_backpressure_line(record: logging.LogRecord) -> bool:
    # Serve's router warns of every single frame that full queues refuse; a session counts them and reports every 5 s.
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
        response = self._pack.remote(self._predict.remote(self._decode.remote(capture)))
        try:
            outcome: PackedFrame | FrameError = await asyncio.wait_for(response, self._frame_timeout_s)
        except BackPressureError:
            raise Overloaded from None
        except asyncio.CancelledError:
            response.cancel()  # The client left: its frame's place in the queues is free for others.
            raise
        except Exception as error:
            # Which class a lost replica shows as depends on where in the chain it was: RayServeException, ActorDiedError,
            # RayTaskError. To the client they are one thing, and to the log they are told apart.
            response.cancel()
            self._count_lost(error, capture.request.frame_id)
            return GraphFailed()
        return outcome

    def _count_lost(self, error: Exception, frame_id: str) -> None:
        """A log line every few seconds, whatever number of frames is lost."""
        if count := self._lost.count():
            text = "%d frames lost in the graph, the last one to %s: %.300s"
            logger.warning(text, count, type(error).__name__, error, extra=frame_fields(frame_id))

    async def describe(self) -> Engine:
        """What the model is, asked of a replica that has loaded it."""
        info: Engine = await self._describe.remote()
        return info


async def graph_state() -> GraphState:
    """How the deployments of this replica's application are."""
    # In a thread: Serve's function waits for the controller.
    status = await asyncio.to_thread(serve.status)
    application = status.applications[serve.get_replica_context().app_name]
    deployments = [
        DeploymentState(name, deployment.status.value, dict(deployment.replica_states))
        for name, deployment in application.deployments.items()
    ]
    return GraphState(application.status.value, deployments)


def _replica_name() -> str:
    try:
        name: str = serve.get_replica_context().replica_id.unique_id
    except RayServeException:
        return ""  # Serve's local testing mode has no replicas.
    return name


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
        return create_app(self._pipeline, self._args, sink=RaySink(), token=self._token, graph=graph_state, replica=_replica_name())

    async def splat(self, capture: Capture) -> PackedFrame | FrameError:
        """One capture through the graph, for programs in the same cluster: ``handle.splat.remote(Capture((jpeg,)))``."""
        return await self._pipeline(capture)
