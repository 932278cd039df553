"""FrameDecoder: encoded bytes → upright RGB, decoded safely or refused."""

import asyncio
import logging

from ray import serve

from deployments.pipeline import DecodedCapture
from deployments.stages.decode import FrameLimits, decode_capture, warm_up
from deployments.stream.errors import FrameError, GraphFailed
from deployments.stream.frames import Capture
from deployments.stream.logs import frame_fields

logger = logging.getLogger("ray.serve.splatcast")


@serve.deployment
class FrameDecoder:
    """Decodes the views of a capture."""

    def __init__(self, frames: FrameLimits, photos: FrameLimits) -> None:
        self._frames, self._photos = frames, photos
        warm_up()

    async def decode(self, capture: Capture) -> DecodedCapture | FrameError:
        """Decode all views, or say which rule one of them breaks."""
        try:
            # In a thread: a large picture takes most of a second, and the decoders release the GIL.
            return await asyncio.to_thread(decode_capture, capture, self._frames, self._photos)
        except Exception:
            logger.exception("decoding failed", extra=frame_fields(capture.request.frame_id))
            return GraphFailed()
