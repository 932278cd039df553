"""The pack stage: prune a prediction to what the client asked for, and encode it."""

import functools
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from deployments.pipeline import PredictedCapture, Prediction
from deployments.splats import pruning
from deployments.splats.camera import PosedCamera
from deployments.splats.codecs import CODECS, Codec, depth, depth_heads, original, planes, planes_heads
from deployments.splats.codecs.packed import PackedCodec
from deployments.splats.codecs.planes_ladder import rung_at
from deployments.splats.files import FileOptions, encode_file
from deployments.splats.gaussians import Gaussians
from deployments.splats.layer_lifting import lift_and_prune
from deployments.splats.layers import LayeredDepth, resize_layers
from deployments.splats.lifting import fit_grid
from deployments.stages.transparency import REASON as TRANSPARENT
from deployments.stream.errors import FrameError, NoDepth, NoNativeGaussians
from deployments.stream.frames import FrameRequest, Intrinsics, PackedFrame

JPEG_QUALITY = 88
"""Of pictures that are coded here. A pixel of theirs is a splat, so colours are not subsampled."""
FAR_MORE = 6.0
"""Pixels of the camera's picture for one of the grid, above which it is coded anew: 640×480 shown on 304×228 is just below."""
METRES = "unit: metres"
GUESSED = "unit: the model's own, as the focal length was guessed"
"""What a file says of the unit of a model that measures in metres."""


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
        # Two are as many as keep up with the depth plane.
        self._jpegs = ThreadPoolExecutor(2, "jpeg")
        self._encode |= {original.PLY: original.encode_ply, original.POINTS: original.encode_points}

    def warm_up(self) -> None:
        """Compile or load every kernel, so that no user's first frame waits for it."""
        pruning.warm_up()
        depth.warm_up()
        planes.warm_up(encode_plane, _decode_plane)
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
        packed = self._pack(prediction, request)
        if isinstance(packed, FrameError):
            return packed
        request.timings["pack"] = (time.perf_counter() - began_s) * 1e3
        request.pictures = ()
        return packed

    def _pack(self, prediction: Prediction, request: FrameRequest) -> PackedFrame | FrameError:
        if request.file:
            return self._pack_gaussians(request.file.format, prediction, request)
        name = request.codec_for(prediction.kind, isinstance(prediction.scene, LayeredDepth))
        if name == depth_heads.NAME:
            layered = prediction.scene
            return _pack_depth(layered, prediction, request) if isinstance(layered, LayeredDepth) else NoDepth()
        if name == planes_heads.NAME:
            if _fits_planes(prediction):
                return self._pack_planes(prediction, request)
            if request.options.codec != "auto":
                return NoNativeGaussians()
            name = "packed"
        return self._pack_gaussians(name, prediction, request)

    def _pack_planes(self, prediction: Prediction, request: FrameRequest) -> PackedFrame:
        options, camera = request.options, prediction.camera
        gaussians = prediction.as_gaussians()
        kept, _, pruned = pruning.select(
            gaussians, camera, min_opacity=options.min_opacity, border=options.border, depth_percentile=options.depth_percentile
        )
        data, count = planes.encode_planes(
            gaussians,
            kept,
            prediction.views or (PosedCamera(camera),),
            rung=rung_at(options.depth_step),
            encode_jpeg=encode_plane,
            max_splats=options.max_splats,
            pool=self._jpegs,
        )
        pruned["budget" if len(kept) > options.max_splats else "invalid"] += len(kept) - count
        _tell_transparent(pruned, prediction)
        return PackedFrame(planes_heads.NAME, prediction.kind, count, data, camera, pruned, request, prediction.intrinsics)

    def _pack_gaussians(self, name: str, prediction: Prediction, request: FrameRequest) -> PackedFrame:
        options, done = request.options, prediction.pruned
        wishes: dict[str, Any] = {
            "min_opacity": 0.0 if "opacity" in done else options.min_opacity,
            "border": 0.0 if "border" in done else options.border,
            "depth_percentile": options.depth_percentile,
            "max_splats": options.max_splats,
        }
        if isinstance(prediction.scene, LayeredDepth):
            gaussians, pruned = lift_and_prune(prediction.scene, _lifted_kind(prediction), **wishes)
        else:
            gaussians, pruned = pruning.prune(prediction.scene, prediction.camera, **wishes)
        total = {reason: count + done.get(reason, 0) for reason, count in pruned.items()}
        _tell_transparent(total, prediction)
        file = _honest(request.file, prediction.intrinsics)
        data = encode_file(gaussians, file, self._encode) if file else self._encode[name](gaussians)
        return PackedFrame(name, prediction.kind, len(gaussians), data, prediction.camera, total, request, prediction.intrinsics)


def _pack_depth(layered: LayeredDepth, prediction: Prediction, request: FrameRequest) -> PackedFrame:
    options, camera, before = request.options, prediction.camera, layered.pixels
    if before > options.max_splats:
        # A smaller grid, not a thinned one: its splats stay closed, and it is what costs fewer bytes.
        share = options.max_splats / before
        layered = resize_layers(layered, *fit_grid(camera.width, camera.height, int(camera.width * camera.height * share)))
    data = depth.encode_depth(
        layered,
        step=options.depth_step,
        kind=_lifted_kind(prediction),
        colour=None if options.colors == "own" else _jpegs(layered, request.pictures),
        border=options.border,
        min_opacity=options.min_opacity,
        depth_percentile=options.depth_percentile,
        encode_jpeg=functools.partial(_jpeg, subsampling="420"),  # Layers behind are smooth.
    )
    surfaces = sum(int(np.count_nonzero(layer.inverse_depth > 0)) for view in layered.views for layer in view.layers)
    pruned = {**dict.fromkeys(pruning.REASONS, 0), "budget": before - layered.pixels}
    if gone := prediction.pruned.get(TRANSPARENT):
        pruned[TRANSPARENT] = gone
    camera = layered.views[0].camera
    return PackedFrame(depth_heads.NAME, prediction.kind, surfaces, data, camera, pruned, request, prediction.intrinsics)


def _tell_transparent(pruned: dict[str, int], prediction: Prediction) -> None:
    """Count what a transparent pixel left out as such: pruning has found nothing there, and called it an edge."""
    if gone := prediction.pruned.get(TRANSPARENT):
        pruned["edge"] = max(0, pruned["edge"] - gone)
        pruned[TRANSPARENT] = gone


def _honest(file: FileOptions | None, intrinsics: Intrinsics) -> FileOptions | None:
    """What the file says of itself, without metres if nobody knows the focal length that they go by."""
    if file is None or intrinsics != "guessed":
        return file
    return replace(file, comments=tuple(GUESSED if line == METRES else line for line in file.comments))


def _fits_planes(prediction: Prediction) -> bool:
    """Whether it is Gaussians that a model predicted, all of them, and not too many."""
    scene = prediction.scene
    views = prediction.views or (PosedCamera(prediction.camera),)
    return isinstance(scene, Gaussians) and prediction.kind == "native" and planes.can_encode(scene, views)


def encode_plane(picture: NDArray[np.uint8], quality: int, halved: bool) -> bytes:
    """A plane as :func:`~deployments.splats.codecs.planes.encode_planes` wants it coded: uint8 [H, W, 1 or 3] to a JPEG."""
    colours, subsampling = ("GRAY", "Gray") if picture.shape[2] == 1 else ("RGB", "420" if halved else "444")
    return simplejpeg.encode_jpeg(picture, quality, colours, subsampling)  # type: ignore[no-any-return]


def _decode_plane(data: bytes, channels: int) -> NDArray[np.uint8]:
    return simplejpeg.decode_jpeg(data, "GRAY" if channels == 1 else "RGB")  # type: ignore[no-any-return]


def _lifted_kind(prediction: Prediction) -> Literal["lifted", "points"]:
    return "points" if prediction.kind == "points" else "lifted"


def _jpegs(layered: LayeredDepth, coded: Sequence[depth.Jpeg]) -> list[depth.Jpeg]:
    """Each view's picture as the camera coded it, or coded anew where that has far more pixels than the grid shows, or is none."""
    if len(coded) != len(layered.views):
        return [depth.Jpeg(_jpeg(view.picture)) for view in layered.views]
    chosen = []
    for view, jpeg in zip(layered.views, coded, strict=True):
        height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg.data)
        shown = view.camera.width * view.camera.height
        chosen.append(jpeg if width * height <= FAR_MORE * shown else depth.Jpeg(_jpeg(view.picture)))
    return chosen


def _jpeg(picture: NDArray[np.uint8], subsampling: str = "444") -> bytes:
    return simplejpeg.encode_jpeg(np.ascontiguousarray(picture), JPEG_QUALITY, "RGB", subsampling)  # type: ignore[no-any-return]
