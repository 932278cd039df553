"""SplatPacker: Gaussians → pruned and encoded bytes."""

import asyncio
import logging

from ray import serve

from deployments.pipeline import PredictedCapture
from deployments.stages.pack import Packer, PackSettings
from deployments.stream.errors import FrameError, GraphFailed
from deployments.stream.frames import PackedFrame
from deployments.stream.logs import frame_fields
from deployments.stream.room_news import Rendition

logger = logging.getLogger("ray.serve.splatcast")


@serve.deployment
class SplatPacker:
    """Prunes and encodes predictions."""

    def __init__(self, settings: PackSettings) -> None:
        self._packer = Packer(settings)
        self._packer.warm_up()

    async def pack(self, predicted: PredictedCapture | FrameError) -> PackedFrame | FrameError:
        """Prune and encode one prediction; an error is passed on."""
        try:
            # In a thread: the kernels release the GIL, and another frame's bytes can go out meanwhile.
            return await asyncio.to_thread(self._packer.pack, predicted)
        except Exception:
            frame_id = predicted.request.frame_id if isinstance(predicted, PredictedCapture) else ""
            logger.exception("packing failed", extra=frame_fields(frame_id))
            return GraphFailed()

    async def recode(self, packed: PackedFrame, rendition: Rendition) -> PackedFrame | FrameError:
        """Make another form of a frame, for viewers of a room who can't take it as it is."""
        try:
            return await asyncio.to_thread(self._packer.recode, packed, rendition)
        except Exception:
            logger.exception("recoding failed", extra={"codec": packed.codec, "to": rendition.codec})
            return GraphFailed()
