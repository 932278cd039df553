"""The pack stage: prune a prediction to what the client asked for, and encode it."""

import math
import time
from dataclasses import dataclass
from typing import Any, Literal

from deployments.pipeline import PredictedCapture
from deployments.splats import pruning
from deployments.splats.codecs import CODECS, Codec, original
from deployments.splats.codecs.packed import PackedCodec
from deployments.splats.layer_lifting import lift_and_prune
from deployments.splats.layers import LayeredDepth
from deployments.stream.errors import FrameError
from deployments.stream.frames import PackedFrame


@dataclass(frozen=True, slots=True)
class PackSettings:
    """How splats are coded.

    Attributes:
        scale_min, scale_max: Range of standard deviations that ``packed`` codes, model units; others are clamped. A byte divides it
            into 254 steps: of 4 % in the default range, of 8.6 % in Spark's own (e⁻¹² to e⁹).
    """

    scale_min: float = 1e-4
    scale_max: float = 4.0

    def __post_init__(self) -> None:
        try:
            self.packed_codec()
        except ValueError:  # From the codec, or from a logarithm.
            raise ValueError(
                f"scale_min, scale_max: expected 1.8e-35 ≤ min, max at least e times min, max ≤ 5.5e+34, "
                f"got {self.scale_min} and {self.scale_max}"
            ) from None

    def packed_codec(self) -> PackedCodec:
        """The codec ``packed`` with this range."""
        return PackedCodec(ln_scale_range=(math.log(self.scale_min), math.log(self.scale_max)))


class Packer:
    """The pack stage: prunes a prediction to what the client asked for, and encodes it."""

    def __init__(self, settings: PackSettings) -> None:
        packed = settings.packed_codec()
        self._codecs: dict[str, Codec] = {**CODECS, packed.name: packed}
        self._encode = {name: codec.encode for name, codec in self._codecs.items()}
        self._encode |= {original.PLY: original.encode_ply, original.POINTS: original.encode_points}

    def warm_up(self) -> None:
        """Compile or load every kernel, so that no user's first frame waits for it."""
        pruning.warm_up()
        for codec in self._codecs.values():
            codec.warm_up()

    def pack(self, predicted: PredictedCapture | FrameError) -> PackedFrame | FrameError:
        """Prune and encode.

        Args:
            predicted: What the predict stage returned; an error is passed on.

        Returns:
            The frame for the client, with the time that this took noted as ``pack``.
        """
        if isinstance(predicted, FrameError):
            return predicted
        began_s = time.perf_counter()
        prediction, request = predicted.prediction, predicted.request
        options, done = request.options, prediction.pruned
        wishes: dict[str, Any] = {
            "min_opacity": 0.0 if "opacity" in done else options.min_opacity,
            "border": 0.0 if "border" in done else options.border,
            "depth_percentile": options.depth_percentile,
            "max_splats": options.max_splats,
        }
        if isinstance(prediction.scene, LayeredDepth):
            kind: Literal["lifted", "points"] = "points" if prediction.kind == "points" else "lifted"
            gaussians, pruned = lift_and_prune(prediction.scene, kind, **wishes)
        else:
            gaussians, pruned = pruning.prune(prediction.scene, prediction.camera, **wishes)
        name = options.codec
        if name == "auto":
            name = "points" if prediction.kind == "points" else "packed"
        data = self._encode[name](gaussians)
        request.timings["pack"] = (time.perf_counter() - began_s) * 1e3
        total = {reason: count + done.get(reason, 0) for reason, count in pruned.items()}
        return PackedFrame(name, prediction.kind, len(gaussians), data, prediction.camera, total, request)
