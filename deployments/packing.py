"""The packer's pure stage: prune a prediction to what the client asked for and encode it."""

import math
import time
from dataclasses import dataclass

from deployments.pipeline import PackedFrame, Prediction
from deployments.splats.codec import CODECS
from deployments.splats.pruning import prune
from deployments.stream.errors import FrameError


@dataclass(frozen=True, slots=True)
class PackSettings:
    """How splats are coded.

    Attributes:
        scale_min, scale_max: Range of standard deviations that ``packed`` codes, model units. A byte holds 254 steps of it: the
            default range has steps of 4 %, Spark's own (e⁻¹² to e⁹) of 8.6 %. What lies outside is clamped.
    """

    scale_min: float = 1e-4
    scale_max: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.scale_min < self.scale_max:
            raise ValueError(f"scale_min, scale_max: expected 0 < min < max, got {self.scale_min}, {self.scale_max}")


def pack_prediction(prediction: Prediction | FrameError, settings: PackSettings) -> PackedFrame | FrameError:
    """Prune and encode.

    Args:
        prediction: What the model returned; an error is handed on.
        settings: How to code.

    Returns:
        The frame for the client, with the time it took as ``pack``.
    """
    if isinstance(prediction, FrameError):
        return prediction
    began_s = time.perf_counter()
    gaussians, pruned = prune(prediction.gaussians, prediction.options)
    name = prediction.options.codec
    if name == "auto":
        name = "points" if prediction.kind == "points" else "packed"
    if name == "packed":
        data = CODECS[name].encode(gaussians, ln_scale_range=(math.log(settings.scale_min), math.log(settings.scale_max)))
    else:
        data = CODECS[name].encode(gaussians)
    pack_ms = (time.perf_counter() - began_s) * 1e3
    return PackedFrame(
        codec=name,
        kind=prediction.kind,
        count=len(gaussians),
        data=data,
        camera=prediction.camera,
        pruned=pruned,
        state=prediction.state,
        timings={**prediction.timings, "pack": pack_ms},
    )
