"""Frames to measure codecs with, the same on every run: layered depth, two as a depth network gives it and one of the relief; and
native Gaussians of the same two scenes (:mod:`benchmarks.native`).

No network runs: *network-like* depth is true depth with what a dense prediction transformer makes of it, which is half the
resolution, ramps of two or three pixels at the edges, and smooth errors of a percent. What it leaves out: gross mistakes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import msgpack
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from benchmarks.command import BenchmarkError
from benchmarks.native import LEVELS, native_like
from deployments.models.relief.model import ReliefModel
from deployments.pipeline import DecodedCapture, Prediction
from deployments.scene.clip import render_scene, sample_clip, scene_camera
from deployments.splats.camera import Camera
from deployments.splats.codecs.depth import Jpeg
from deployments.splats.gaussians import Gaussians
from deployments.splats.layers import DepthLayer, DepthView, LayeredDepth
from deployments.stream.frames import FrameRequest
from deployments.stream.options import FrameOptions

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

CAMERA_SIZE, CAMERA_QUALITY = (640, 480), 85
"""What the camera sends: a JPEG of this size and quality, 4:2:0."""
_ERRORS = ((20.0, 0.010), (6.0, 0.003), (2.5, 0.001))
"""Of ln depth: how far they reach, pixels, and their standard deviation."""
_FOCAL_PX, _BASELINE_M, _OFFSET_PX = 994.978, 0.193, 31.086
"""Of Middlebury's Motorcycle (Scharstein et al. 2014) at a quarter of its size, as scikit-image ships it."""
_SETTLED = 10
"""Frames of the clip after which the relief has found its person."""
_RELIEF_PX = 384
"""Its grid: finer is slower, and figures stay comparable with those of earlier reports."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One frame.

    Attributes:
        name: What it is called.
        layered: What a model predicted of ``jpeg``.
        jpeg: The picture as the camera sent it.
        native: What a model with a Gaussian head predicted of it, on the layer's grid; None: it has none.
    """

    name: str
    layered: LayeredDepth
    jpeg: Jpeg
    native: Gaussians | None = None

    def picture(self, jpeg: Jpeg) -> U8:
        """A camera's JPEG on the grid of the front layer. uint8 [H, W, 3]."""
        camera = self.layered.views[0].camera
        return _shrink(simplejpeg.decode_jpeg(jpeg.data, "RGB"), (camera.width, camera.height))


def network_like(depth: F32, seed: int = 0) -> F32:
    """True depth as a network would predict it, model units. float32 [H, W]."""
    height, width = depth.shape
    half = cv2.resize(np.log(depth), (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    ln = cv2.resize(half, (width, height), interpolation=cv2.INTER_LINEAR)
    rng = np.random.default_rng(seed)
    for sigma_px, amplitude in _ERRORS:
        noise = cv2.GaussianBlur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), sigma_px)
        ln += np.float32(amplitude) * noise / noise.std()
    return np.asarray(np.exp(ln), np.float32)


def scene(px: int) -> Subject:
    """The procedural scene with network-like depth, ``px`` wide."""
    size = (px, px * 3 // 4)
    jpeg = _camera_jpeg(render_scene(0.0, *CAMERA_SIZE).rgb)
    return _subject("scene", jpeg, network_like(render_scene(0.0, *size).depth, seed=1), scene_camera(*size))


def motorcycle(px: int) -> Subject:
    """A cluttered photograph with depth from its measured disparity, network-like, ``px`` wide.

    Raises:
        BenchmarkError: scikit-image has not got it, and cannot fetch it.
    """
    from skimage.data import stereo_motorcycle

    try:
        photo, _, disparity = stereo_motorcycle()
    except (OSError, ModuleNotFoundError) as error:
        raise BenchmarkError(f"motorcycle: scikit-image has no picture here ({error}); leave it out with --subjects") from None
    height, full = disparity.shape
    width = height * 4 // 3
    middle = slice((full - width) // 2, (full - width) // 2 + width)
    size = (px, px * 3 // 4)
    # Nearest keeps the edges, and the median takes the specks that nearest leaves.
    filled = cv2.resize(_fill_holes(disparity[:, middle]), size, interpolation=cv2.INTER_NEAREST)
    depth = np.float32(_FOCAL_PX * _BASELINE_M) / (cv2.medianBlur(filled, 3) + np.float32(_OFFSET_PX))
    focal_px = _FOCAL_PX * px / width
    camera = Camera(*size, focal_px, focal_px, size[0] / 2, size[1] / 2)
    jpeg = _camera_jpeg(_shrink(np.ascontiguousarray(photo[:, middle]), CAMERA_SIZE))
    return _subject("motorcycle", jpeg, network_like(depth, seed=2), camera)


def relief(px: int) -> Subject:
    """A frame of the sample clip through the relief engine: two layers, the front one fades at the person's outline.

    Raises:
        BenchmarkError: It failed.
    """
    model, state = ReliefModel(), b""
    jpegs: Sequence[bytes] = msgpack.unpackb(sample_clip())["frames"][: _SETTLED + 1]
    options = FrameOptions(inference_px=min(px, _RELIEF_PX))
    for jpeg in jpegs:
        capture = DecodedCapture((simplejpeg.decode_jpeg(jpeg, "RGB"),), FrameRequest(options, state=state))
        (found,) = model.predict([capture])
        if not isinstance(found, Prediction) or not isinstance(found.scene, LayeredDepth):
            raise BenchmarkError(f"relief: the model answered {found}")
        layered, state = found.scene, found.state
    return Subject("relief", layered, Jpeg(jpegs[-1]))


def native(of: Callable[[int], Subject], level: str) -> Callable[[int], Subject]:
    """The maker of a subject with native Gaussians.

    Args:
        of: The maker of the subject whose depth and picture they follow.
        level: How wild they are.
    """

    def make(px: int) -> Subject:
        subject = of(px)
        return replace(subject, name=f"{subject.name}-{level}", native=native_like(subject.layered, level))

    return make


SUBJECTS: dict[str, Callable[[int], Subject]] = {
    "scene": scene,
    "motorcycle": motorcycle,
    "relief": relief,
    **{f"{of.__name__}-{level}": native(of, level) for of in (scene, motorcycle) for level in LEVELS},
}
"""Name → maker; its argument is the width of the grid, pixels, which the relief takes up to its own default."""

USUAL = ("scene", "motorcycle", "relief", "scene-middle", "motorcycle-middle")
"""Those that are measured if none is named."""


def _subject(name: str, jpeg: Jpeg, depth: F32, camera: Camera) -> Subject:
    picture = _shrink(simplejpeg.decode_jpeg(jpeg.data, "RGB"), (camera.width, camera.height))
    view = DepthView(camera, (DepthLayer(np.float32(1) / depth),), picture)
    return Subject(name, LayeredDepth((view,)), jpeg)


def _camera_jpeg(picture: U8) -> Jpeg:
    return Jpeg(simplejpeg.encode_jpeg(np.ascontiguousarray(picture), CAMERA_QUALITY, "RGB", "420"))


def _shrink(picture: U8, size: tuple[int, int]) -> U8:
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _fill_holes(disparity: F32) -> F32:
    """Each hole as far away as the farther of its two neighbours in the row, as what is hidden from one eye is."""
    known = np.isfinite(disparity) & (disparity > 0)
    columns = np.arange(disparity.shape[1])
    left = np.maximum.accumulate(np.where(known, columns, -1), axis=1)
    right = np.minimum.accumulate(np.where(known, columns, len(columns))[:, ::-1], axis=1)[:, ::-1]
    padded = np.pad(disparity.astype(np.float32), ((0, 0), (1, 1)), constant_values=math.inf)
    rows = np.arange(len(disparity))[:, None]
    filled = np.minimum(padded[rows, left + 1], padded[rows, right + 1])
    return np.where(np.isfinite(filled), filled, np.float32(np.median(disparity[known])))
