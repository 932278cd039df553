"""SplatPacker: Gaussians → pruned and encoded bytes."""

from ray import serve

from deployments.packing import PackSettings, pack_prediction
from deployments.pipeline import PackedFrame, Prediction
from deployments.splats.codec import warm_up
from deployments.stream.errors import FrameError


@serve.deployment
class SplatPacker:
    """Prunes and encodes predictions."""

    def __init__(self, settings: PackSettings) -> None:
        self._settings = settings
        warm_up()

    async def pack(self, prediction: Prediction | FrameError) -> PackedFrame | FrameError:
        """Prune and encode one prediction; an error is handed on."""
        return pack_prediction(prediction, self._settings)
