"""SplatPacker: Gaussians → pruned and encoded bytes."""

import asyncio
import logging

from ray import serve

from deployments.pipeline import PackedFrame, Prediction
from deployments.stages.pack import Packer, PackSettings
from deployments.stream.errors import FrameError, GraphFailed
from deployments.stream.logs import frame_fields

logger = logging.getLogger("ray.serve.splatcast")


@serve.deployment
class SplatPacker:
    """Prunes and encodes predictions."""

    def __init__(self, settings: PackSettings) -> None:
        self._packer = Packer(settings)
        self._packer.warm_up()

    async def pack(self, prediction: Prediction | FrameError) -> PackedFrame | FrameError:
        """Prune and encode one prediction; an error is handed on."""
        try:
            # In a thread: the kernels release the GIL, and another frame's bytes go out meanwhile.
            return await asyncio.to_thread(self._packer.pack, prediction)
        except Exception:
            logger.exception("packing failed", extra=frame_fields(getattr(prediction, "frame_id", "")))
            return GraphFailed()
