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
from deployments.splats import behind, behind_native, pruning
from deployments.splats.behind import continue_behind
from deployments.splats.behind_native import HiddenLayer, continue_native, select_both
from deployments.splats.camera import PosedCamera
from deployments.splats.codecs import CODECS, Codec, depth, depth_heads, original, planes, planes_heads
from deployments.splats.codecs.packed import PackedCodec
from deployments.splats.codecs.planes_ladder import rung_at
from deployments.splats.codecs.view_heads import MAX_PIXELS
from deployments.splats.files import encode_file
from deployments.splats.gaussians import Gaussians
from deployments.splats.layer_lifting import join, lift_and_prune
from deployments.splats.layers import LayeredDepth, count_surfaces, resize_layers, settle_behind
from deployments.splats.lifting import fit_grid
from deployments.splats.reading import read_frame, read_layers
from deployments.stages.transparency import REASON as TRANSPARENT
from deployments.stream.errors import FrameError, NoDepth, NoNativeGaussians, WrongViewCount
from deployments.stream.frames import FrameRequest, PackedFrame
from deployments.stream.photo_options import honest_comments
from deployments.stream.room_news import Rendition

JPEG_QUALITY, JPEG_COARSE_QUALITY = 88, 75
"""Of pictures that are coded here. A pixel of theirs is a splat, so colours are not subsampled, but in the coarse rendition."""
COARSE_SIDE, COARSE_STEP = 0.6, 1 / 128
"""Of the coarse rendition of a ``depth`` frame: its grid's sides, and the step: about a third of the bytes."""
BEHIND_QUALITY = 65
"""Of the colours of layers behind, which are smooth."""
FAR_MORE = 6.0
"""Pixels of the camera's picture for one of the grid, above which it is coded anew: 640×480 shown on 304×228 is just below."""


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
        behind.warm_up()
        behind_native.warm_up()
        depth.warm_up()
        planes.warm_up(encode_plane, _decode_jpeg)
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
        packed = self._pack(_continued(prediction, request), request)
        if isinstance(packed, FrameError):
            return packed
        request.timings["pack"] = (time.perf_counter() - began_s) * 1e3
        request.pictures = ()
        return packed

    def recode(self, packed: PackedFrame, rendition: Rendition) -> PackedFrame:
        """A packed frame in another form, for a viewer who can't take it as it is.

        Args:
            packed: With its pictures, where its codec has any.
            rendition: What it is to be. Only ``depth`` has a coarse one.

        Raises:
            CodecError: The frame is not what its codec writes.
            ValueError: It has no pictures, or can't become that.
        """
        codec = rendition.codec
        if codec == packed.codec == depth_heads.NAME and rendition.is_coarse:
            return replace(packed, data=_coarser(packed.data))
        if codec not in self._encode:
            raise ValueError(f"recode: a frame of {packed.codec} can't become {codec}")
        gaussians = read_frame(packed.codec, packed.data, _decode_jpeg)
        return replace(packed, codec=codec, count=len(gaussians), data=self._encode[codec](gaussians))

    def _pack(self, prediction: Prediction, request: FrameRequest) -> PackedFrame | FrameError:
        if request.file:
            return self._pack_gaussians(request.file.format, prediction, request)
        layered = prediction.scene
        fits = isinstance(layered, LayeredDepth) and layered.layer_count <= depth_heads.MAX_LAYERS
        name = request.codec_for(prediction.kind, fits)
        if name == depth_heads.NAME:
            if isinstance(layered, LayeredDepth) and not fits:
                return WrongViewCount(len(layered.views), depth_heads.MAX_LAYERS)
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
        wishes = {"min_opacity": options.min_opacity, "border": options.border, "depth_percentile": options.depth_percentile}
        gaussians, hidden = _past_edges(prediction, request)
        layer: planes.Behind | None = None
        if hidden is None:
            kept, _, pruned = pruning.select(gaussians, camera, **wishes)
            total = len(kept)
        else:
            kept, kept_behind, pruned = select_both(gaussians, hidden, camera, **wishes)
            coarser = rung_at(depth.BEHIND_STEP * options.depth_step)
            layer = planes.Behind(hidden.gaussians, kept_behind, PosedCamera(hidden.camera), coarser)
            total = len(kept) + len(kept_behind)
        data, count = planes.encode_planes(
            gaussians,
            kept,
            prediction.views or (PosedCamera(camera),),
            rung=rung_at(options.depth_step),
            encode_jpeg=encode_plane,
            max_splats=options.max_splats,
            pool=self._jpegs,
            behind=layer,
        )
        pruned["budget" if total > options.max_splats else "invalid"] += total - count
        _tell_transparent(pruned, prediction)
        return PackedFrame(planes_heads.NAME, prediction.kind, count, data, camera, pruned, request, prediction.intrinsics)

    def _pack_gaussians(self, name: str, prediction: Prediction, request: FrameRequest) -> PackedFrame:
        options, done = request.options, prediction.pruned
        wishes: dict[str, Any] = {
            "min_opacity": 0.0 if "opacity" in done else options.min_opacity,
            "border": 0.0 if "border" in done else options.border,
            "depth_percentile": options.depth_percentile,
        }
        budget = options.max_splats
        if isinstance(prediction.scene, LayeredDepth):
            layered = settle_behind(prediction.scene, options.border)
            gaussians, pruned = lift_and_prune(layered, _lifted_kind(prediction), max_splats=budget, **wishes)
        else:
            gaussians, hidden = _past_edges(prediction, request)
            if hidden is None:
                gaussians, pruned = pruning.prune(gaussians, prediction.camera, max_splats=budget, **wishes)
            else:
                kept, kept_behind, pruned = select_both(gaussians, hidden, prediction.camera, **wishes)
                both = join([gaussians.take(kept), hidden.gaussians.take(kept_behind)], None)
                gaussians, over = pruning.prune(both, prediction.camera, max_splats=budget)
                pruned["budget"] = over["budget"]
        total = {reason: count + done.get(reason, 0) for reason, count in pruned.items()}
        _tell_transparent(total, prediction)
        if file := request.file:
            said = (f"label: {request.label}",) if request.label else ()
            comments = (*honest_comments(file.comments, prediction.intrinsics), *said)
            data = encode_file(gaussians, replace(file, comments=comments), self._encode)
        else:
            data = self._encode[name](gaussians)
        return PackedFrame(name, prediction.kind, len(gaussians), data, prediction.camera, total, request, prediction.intrinsics)


def _continued(prediction: Prediction, request: FrameRequest) -> Prediction:
    """Layered depth with what its front hides, as far as the client wants it; points and what a sensor measured stay as seen."""
    scene = prediction.scene
    if not isinstance(scene, LayeredDepth) or prediction.kind == "points" or prediction.measured:
        return prediction
    return replace(prediction, scene=continue_behind(scene, request.options.behind_deg))


def _past_edges(prediction: Prediction, request: FrameRequest) -> tuple[Gaussians, HiddenLayer | None]:
    """Predicted Gaussians of one view with what they hide, as far as the client wants it; all others are as they are.

    What one of several views hides another one sees.
    """
    gaussians, camera, options = prediction.as_gaussians(), prediction.camera, request.options
    whole = gaussians.grid == (1, camera.height, camera.width) and len(gaussians) * 5 // 4 <= MAX_PIXELS
    if prediction.kind != "native" or not whole:
        return gaussians, None
    return continue_native(gaussians, camera, options.behind_deg, options.min_opacity)


def _pack_depth(layered: LayeredDepth, prediction: Prediction, request: FrameRequest) -> PackedFrame:
    options, camera = request.options, prediction.camera
    predicted, layered = layered, settle_behind(layered, options.border)
    before = count_surfaces(layered, options.border)
    if before > options.max_splats:
        # A smaller grid, not a thinned one: its splats stay closed, and it is what costs fewer bytes.
        share = options.max_splats / before
        smaller = resize_layers(predicted, *fit_grid(camera.width, camera.height, int(camera.width * camera.height * share)))
        layered = settle_behind(smaller, options.border)
    data = depth.encode_depth(
        layered,
        step=options.depth_step,
        kind=_lifted_kind(prediction),
        colour=None if options.colors == "own" else _jpegs(layered, request.pictures),
        border=options.border,
        min_opacity=options.min_opacity,
        depth_percentile=options.depth_percentile,
        encode_jpeg=_encode_behind,
    )
    surfaces = count_surfaces(layered)
    pruned = {**dict.fromkeys(pruning.REASONS, 0), "budget": before - count_surfaces(layered, options.border)}
    if gone := prediction.pruned.get(TRANSPARENT):
        pruned[TRANSPARENT] = gone
    camera = layered.views[0].camera
    return PackedFrame(depth_heads.NAME, prediction.kind, surfaces, data, camera, pruned, request, prediction.intrinsics)


def _tell_transparent(pruned: dict[str, int], prediction: Prediction) -> None:
    """Count what a transparent pixel left out as such: pruning has found nothing there, and called it an edge."""
    if gone := prediction.pruned.get(TRANSPARENT):
        pruned["edge"] = max(0, pruned["edge"] - gone)
        pruned[TRANSPARENT] = gone


def _fits_planes(prediction: Prediction) -> bool:
    """Whether it is Gaussians that a model predicted, all of them, and not too many."""
    scene = prediction.scene
    views = prediction.views or (PosedCamera(prediction.camera),)
    return isinstance(scene, Gaussians) and prediction.kind == "native" and planes.can_encode(scene, views)


def encode_plane(picture: NDArray[np.uint8], quality: int, halved: bool) -> bytes:
    """A plane as :func:`~deployments.splats.codecs.planes.encode_planes` wants it coded: uint8 [H, W, 1 or 3] to a JPEG."""
    colours, subsampling = ("GRAY", "Gray") if picture.shape[2] == 1 else ("RGB", "420" if halved else "444")
    return simplejpeg.encode_jpeg(picture, quality, colours, subsampling)  # type: ignore[no-any-return]


def _decode_jpeg(data: bytes, channels: int) -> NDArray[np.uint8]:
    return simplejpeg.decode_jpeg(data, "GRAY" if channels == 1 else "RGB")  # type: ignore[no-any-return]


def _coarser(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A ``depth`` frame with about a third of its bytes."""
    coded, layered = read_layers(data, _decode_jpeg)
    camera = layered.views[0].camera
    layered = resize_layers(layered, *(max(1, round(COARSE_SIDE * side)) for side in (camera.width, camera.height)))
    layered = settle_behind(layered, coded.border)
    coarse = functools.partial(_jpeg, subsampling="420", quality=JPEG_COARSE_QUALITY)
    return depth.encode_depth(
        layered,
        step=COARSE_STEP,
        kind=coded.kind,
        colour=[depth.Jpeg(coarse(view.picture)) for view in layered.views],
        border=coded.border,
        min_opacity=coded.min_opacity,
        farthest=coded.farthest,
        encode_jpeg=coarse,
    )


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


def _jpeg(picture: NDArray[np.uint8], subsampling: str = "444", quality: int = JPEG_QUALITY) -> bytes:
    return simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality, "RGB", subsampling)  # type: ignore[no-any-return]


def _encode_behind(picture: NDArray[np.uint8]) -> bytes:
    return _jpeg(picture, "420", BEHIND_QUALITY)
