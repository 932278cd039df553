"""The graph's stages, called one after the other in this process: the same product without Ray.

For tests, for benchmarks that measure what the graph costs, and for anyone who embeds a model in a program of their own.
"""

import asyncio

from deployments.models.base import SplatModel
from deployments.pipeline import DecodedCapture
from deployments.stages import decode
from deployments.stages.decode import FrameLimits, PhotoLimits, decode_capture
from deployments.stages.pack import Packer, PackSettings
from deployments.stages.predict import predict_batch
from deployments.stream.errors import FrameError
from deployments.stream.frames import Capture, PackedFrame
from deployments.stream.messages import Engine
from deployments.stream.room_news import Rendition


class LocalPipeline:
    """A :class:`~deployments.pipeline.Pipeline` over one model in this process."""

    def __init__(
        self,
        model: SplatModel,
        frames: FrameLimits | None = None,
        pack: PackSettings | None = None,
        photos: FrameLimits | None = None,
    ) -> None:
        self._model = model
        self._frame_limits, self._photo_limits = frames or FrameLimits(), photos or PhotoLimits()
        self._packer = Packer(pack or PackSettings())

    def warm_up(self) -> None:
        """Compile or load every kernel and run the model once."""
        decode.warm_up()
        self._model.warm_up()
        self._packer.warm_up()

    def run(self, capture: Capture) -> PackedFrame | FrameError:
        """Decode, predict and pack one capture, in the caller's thread."""
        decoded = decode_capture(capture, self._frame_limits, self._photo_limits)
        if isinstance(decoded, FrameError):
            return decoded
        (predicted,) = predict_batch(self._model, [decoded])
        return self._packer.pack(predicted)

    async def __call__(self, capture: Capture) -> PackedFrame | FrameError:
        """The same in a thread, so that the event loop goes on."""
        return await asyncio.to_thread(self.run, capture)

    async def recode(self, packed: PackedFrame, rendition: Rendition) -> PackedFrame | FrameError:
        """A packed frame in another form; in a thread."""
        return await asyncio.to_thread(self._packer.recode, packed, rendition)

    async def decode(self, capture: Capture) -> DecodedCapture | FrameError:
        """The first stage alone; in a thread."""
        return await asyncio.to_thread(decode_capture, capture, self._frame_limits, self._photo_limits)

    async def describe(self) -> Engine:
        """What the model is."""
        return self._model.info
