"""The graph's handles, as what the ingress calls."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle, DeploymentResponse

from deployments.pipeline import DecodedCapture, Overloaded
from deployments.stream.errors import FrameError, GraphFailed
from deployments.stream.frames import Capture, FrameRequest, PackedFrame
from deployments.stream.logs import Seldom, frame_fields
from deployments.stream.messages import Engine
from deployments.stream.room_news import Attendance, Rendition, RoomFrame, RoomNews
from deployments.stream.synchroniser import View

logger = logging.getLogger("ray.serve.splatcast")

_LOST_REPORT_PERIOD_S = 5.0


class GraphPipeline:
    """The :class:`~deployments.pipeline.Pipeline` over three Serve handles."""

    def __init__(
        self, decoder: DeploymentHandle, inference: DeploymentHandle, packer: DeploymentHandle, frame_timeout_s: float
    ) -> None:
        self._decode, self._predict, self._pack = decoder.decode, inference.predict, packer.pack
        self._recode, self._describe = packer.recode, inference.describe
        self._frame_timeout_s = frame_timeout_s
        self._lost = Seldom(_LOST_REPORT_PERIOD_S)

    async def __call__(self, capture: Capture) -> PackedFrame | FrameError:
        """Run one capture through the graph; see :class:`~deployments.pipeline.Pipeline`."""
        # Chained without awaiting: arrays go from stage to stage through the object store, never through here.
        decoded = self._decode.remote(capture)
        predicted = self._predict.remote(decoded)
        packed = self._pack.remote(predicted)
        outcome: PackedFrame | FrameError = await self._outcome(capture.request, packed, predicted, decoded)
        return outcome

    async def decode(self, capture: Capture) -> DecodedCapture | FrameError:
        """Run one capture through the first stage."""
        outcome: DecodedCapture | FrameError = await self._outcome(capture.request, self._decode.remote(capture))
        return outcome

    async def recode(self, packed: PackedFrame, rendition: Rendition) -> PackedFrame | FrameError:
        """Make another form of a frame; see :class:`~deployments.pipeline.Pipeline`."""
        outcome: PackedFrame | FrameError = await self._outcome(packed.request, self._recode.remote(packed, rendition))
        return outcome

    async def _outcome(self, request: FrameRequest, last: DeploymentResponse, *before: DeploymentResponse) -> Any:
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
            self._count_lost(error, request.frame_id)
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


class RelayHandle:
    """The :class:`~deployments.http.room_links.RelayClient` over a Serve handle: every call of a room goes to the same replica."""

    def __init__(self, relay: DeploymentHandle) -> None:
        self._relay = relay

    def subscribe(self, room: str, replica: str, attendance: Attendance) -> AsyncIterator[RoomNews]:
        """See :meth:`deployments.relay.Relay.subscribe`."""
        handle = self._relay.options(stream=True, session_id=room)
        news: AsyncIterator[RoomNews] = handle.subscribe.remote(room, replica, attendance)
        return news

    async def end(self, subscription: AsyncIterator[RoomNews]) -> None:
        """Cancel the call behind a subscription."""
        subscription.cancel()  # type: ignore[attr-defined]

    async def announce(self, room: str, replica: str, attendance: Attendance) -> bool:
        """See :meth:`deployments.relay.Relay.announce`."""
        known: bool = await self._relay.options(session_id=room).announce.remote(room, replica, attendance)
        return known

    async def publish(self, room: str, replica: str, frame: RoomFrame) -> bool:
        """See :meth:`deployments.relay.Relay.publish`."""
        known: bool = await self._relay.options(session_id=room).publish.remote(room, replica, frame)
        return known

    async def film(self, room: str, replica: str, to: str, view: View) -> bool:
        """See :meth:`deployments.relay.Relay.film`."""
        known: bool = await self._relay.options(session_id=room).film.remote(room, replica, to, view)
        return known

    async def close(self, room: str, replica: str) -> None:
        """See :meth:`deployments.relay.Relay.close`."""
        await self._relay.options(session_id=room).close.remote(room, replica)
