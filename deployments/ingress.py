"""Ingress: the browser's side of the graph, and the handles to the rest of it."""

import asyncio
import logging

from ray import serve
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle
from starlette.applications import Starlette

from deployments.asgi import create_app
from deployments.config import GraphArgs
from deployments.pipeline import Capture, Overloaded, PackedFrame
from deployments.proxy import missing_environment
from deployments.stream.errors import FrameError, GraphFailed
from deployments.stream.messages import Engine

logger = logging.getLogger("ray.serve.splatcast")


class GraphPipeline:
    """The :class:`~deployments.pipeline.Pipeline` over three Serve handles."""

    def __init__(
        self, decoder: DeploymentHandle, inference: DeploymentHandle, packer: DeploymentHandle, frame_timeout_s: float
    ) -> None:
        self._decode, self._predict, self._pack = decoder.decode, inference.predict, packer.pack
        self._describe = inference.describe
        self._frame_timeout_s = frame_timeout_s

    async def __call__(self, capture: Capture) -> PackedFrame | FrameError:
        """Run one capture through the graph; see :class:`~deployments.pipeline.Pipeline`."""
        # Chained without awaiting: arrays go from stage to stage through the object store, never through here.
        response = self._pack.remote(self._predict.remote(self._decode.remote(capture)))
        try:
            outcome: PackedFrame | FrameError = await asyncio.wait_for(response, self._frame_timeout_s)
        except BackPressureError:
            raise Overloaded from None
        except Exception as error:
            # Which class a lost replica shows as depends on where in the chain it was: RayServeException, ActorDiedError,
            # RayTaskError. To the client they are one thing, and to the log they are told apart.
            logger.warning("frame lost in the graph: %s: %.300s", type(error).__name__, error)
            return GraphFailed()
        return outcome

    async def describe(self) -> Engine:
        """What the model is, asked of a replica that has loaded it."""
        info: Engine = await self._describe.remote()
        return info


@serve.deployment
@serve.ingress()
class Ingress:
    """Serves the viewer, the HTTP API and the sessions."""

    def __init__(self, decoder: DeploymentHandle, inference: DeploymentHandle, packer: DeploymentHandle, args: GraphArgs) -> None:
        self._args = args
        self._pipeline = GraphPipeline(decoder, inference, packer, args.frame_timeout_s)
        if warning := missing_environment():
            logger.warning(warning)

    def __serve_build_asgi_app__(self) -> Starlette:
        """Called by Serve after ``__init__``, when the handles exist."""
        return create_app(self._pipeline, self._args)

    async def splat(self, capture: Capture) -> PackedFrame | FrameError:
        """One capture through the graph, for programs in the same cluster: ``handle.splat.remote(Capture((jpeg,)))``."""
        return await self._pipeline(capture)
