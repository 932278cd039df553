"""What is looked at: frames whose true views are known, as they come out of the stream's packer, and the places to look from.

Depth is *network-like* (:func:`benchmarks.subjects.network_like`): true depth at half the resolution, with ramps at its edges and
smooth errors of a percent. Places are on an orbit about the subject's depth, as the viewer chooses it.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import cv2
import msgpack
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from skimage.data import stereo_motorcycle

from benchmarks import subjects
from benchmarks.picture.native import HEADS, simulate_head
from benchmarks.subjects import CAMERA_QUALITY, CAMERA_SIZE, network_like
from deployments.models.relief.model import ReliefModel
from deployments.pipeline import DecodedCapture, PredictedCapture, Prediction
from deployments.scene.clip import Cast, Eye, Person, render_scene, sample_clip
from deployments.splats import lifting
from deployments.splats.camera import Camera
from deployments.splats.codecs.depth import Jpeg, decode_depth, lift_decoded
from deployments.splats.gaussians import Gaussians
from deployments.splats.layers import DepthLayer, DepthView, LayeredDepth
from deployments.splats.reading import read_frame
from deployments.stages.pack import Packer, PackSettings
from deployments.stream.frames import FrameRequest, PackedFrame
from deployments.stream.options import FrameOptions

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]

YAWS_DEG = (0, 5, -5, 10, -10, 15, -15, 20, -20)
PITCHES_DEG = (8, -8)
CASTS = {
    "one": Cast(),
    "three": Cast((Person(), Person(0.55, 0.10, 0.55, 1.3), Person(-0.6, 0.12, 0.9, 2.6))),
    "table": Cast((), crowded=True),
    "across": Cast((Person(0.35, 0.0, 0.75),), crowded=True),
}
"""Name → who is in the room."""
_SETTLED = 10
"""Frames of the clip after which the relief has found its person."""
_ROUNDS = 7


@dataclass(frozen=True, slots=True)
class Place:
    """Where a frame is looked at from.

    Attributes:
        name: For people.
        pose: First camera to this one. float32 [3, 4].
        camera: Its intrinsics.
        truth: What is to be seen, 0..1; None: nobody knows. float32 [H, W, 3].
        seen: The pixels that the capture camera's picture shows or hides, and not those outside of it. [H, W].
    """

    name: str
    pose: F32
    camera: Camera
    truth: F32 | None
    seen: Mask


@dataclass(frozen=True, slots=True)
class Shot:
    """A frame, and where it is looked at from.

    Attributes:
        name: What it is called.
        layered: As a model returns it.
        jpeg: The picture as the camera sent it.
        places: Made when asked for: what a frame is drawn on may be of any size.
        native: What a model with a Gaussian head returns in its place, on the grid of ``layered``; None: it has none.
    """

    name: str
    layered: LayeredDepth
    jpeg: Jpeg
    places: Callable[[], list[Place]]
    native: Gaussians | None = None


def sent(shot: Shot, options: FrameOptions) -> tuple[Gaussians, PackedFrame, float]:
    """What a viewer that asked for ``options`` makes of the frame that the packer sends; that; and what it took, ms of CPU."""
    camera = shot.layered.views[0].camera
    if shot.native is not None:
        packed, ms = _pack(Prediction(shot.native, "native", camera), lambda: FrameRequest(options, ("planes",)))
        return read_frame(packed.codec, packed.data, _decode), packed, ms
    prediction = Prediction(shot.layered, "lifted", camera)
    packed, ms = _pack(prediction, lambda: FrameRequest(options, ("depth",), pictures=(shot.jpeg,)))
    coded = decode_depth(packed.data)
    size = (coded.views[0].camera.width, coded.views[0].camera.height)
    picture = _shrink(simplejpeg.decode_jpeg(shot.jpeg.data, "RGB"), size)
    return lift_decoded(coded, [picture], lambda data: np.asarray(simplejpeg.decode_jpeg(data, "RGB")))[0], packed, ms


def _pack(prediction: Prediction, request: Callable[[], FrameRequest]) -> tuple[PackedFrame, float]:
    """The frame, and the least CPU time of some rounds, of all threads, ms; the first one loads the kernels."""
    packer, least_s = Packer(PackSettings()), math.inf
    for _ in range(_ROUNDS):
        began_s = time.process_time()
        packed = packer.pack(PredictedCapture(prediction, request()))
        least_s = min(least_s, time.process_time() - began_s)
    assert isinstance(packed, PackedFrame), str(packed)
    return packed, least_s * 1e3


def pivot_of(layered: LayeredDepth) -> float:
    """The depth that the viewer orbits about: that of the nearer quarter of the picture's middle half, model units."""
    inverse = layered.views[0].layers[0].inverse_depth
    quarter = inverse.shape[1] // 4
    middle = inverse[:, quarter : inverse.shape[1] - quarter]
    return 1 / float(np.percentile(middle[middle > 0], 75))


def scene(name: str, px: int, t_s: float = 0.5) -> Shot:
    """The procedural scene with network-like depth, ``px`` wide."""
    cast, size = CASTS[name], (px, px * 3 // 4)
    true = render_scene(t_s, *size, cast)
    jpeg = Jpeg(_encode(render_scene(t_s, *CAMERA_SIZE, cast).rgb))
    layered = _layered(jpeg, np.float32(1) / network_like(true.depth, seed=1), true.camera)
    pivot = pivot_of(layered)

    @cache
    def places() -> list[Place]:
        found = []
        for yaw, pitch in orbit():
            eye = Eye(yaw, pitch, pivot)
            view = render_scene(t_s, *CAMERA_SIZE, cast, eye)
            seen = _inside(view.depth, eye, view.camera)
            found.append(Place(_name(yaw, pitch), eye.pose(), view.camera, view.rgb / np.float32(255), seen))
        return found

    return Shot(name, layered, jpeg, places)


def native(name: str, head: str) -> Callable[[int], Shot]:
    """The maker of the procedural scene as a simulated Gaussian head sees it (:mod:`benchmarks.picture.native`)."""

    def make(px: int) -> Shot:
        shot = scene(name, px)
        view = shot.layered.views[0]
        depth = np.asarray(1 / view.layers[0].inverse_depth, np.float32)
        gaussians = simulate_head(depth, view.picture, view.camera, HEADS[head])
        return replace(shot, name=f"{name}-native-{head}", native=gaussians)

    return make


def motorcycle(px: int) -> Shot:
    """A cluttered photograph with network-like depth of its measured disparity; its stereo pair's other picture is a true view."""
    subject = subjects.motorcycle(px)
    camera = lifting.scale_camera(subject.layered.views[0].camera, *CAMERA_SIZE)
    other, shift = _other_eye(camera)
    pivot = pivot_of(subject.layered)

    def places() -> list[Place]:
        found = []
        for yaw, pitch in orbit():
            pose = Eye(yaw, pitch, pivot).pose()
            truth = simplejpeg.decode_jpeg(subject.jpeg.data, "RGB") / np.float32(255) if yaw == pitch == 0 else None
            found.append(Place(_name(yaw, pitch), pose, camera, truth, _outline(subject.layered, pose, camera)))
        pose = np.hstack([np.eye(3), [[-subjects._BASELINE_M], [0], [0]]]).astype(np.float32)
        moved = Camera(camera.width, camera.height, camera.fx, camera.fy, camera.cx + shift, camera.cy)
        found.append(Place("other eye", pose, moved, other, _outline(subject.layered, pose, moved)))
        return found

    return Shot("motorcycle", subject.layered, subject.jpeg, places)


def relief(px: int) -> Shot:
    """The sample clip through the relief engine. Its shapes are guesses: only the camera's own view has a truth."""
    return _of_relief("relief", list(msgpack.unpackb(sample_clip())["frames"][: _SETTLED + 1]), px)


def relief_photo(name: str) -> Callable[[int], Shot]:
    """The maker of a photograph of scikit-image's through the relief engine."""

    def make(px: int) -> Shot:
        from skimage import data

        picture = getattr(data, name)()
        height, width = picture.shape[:2]
        longest = min(640 / width, 640 / height)
        small = _shrink(np.ascontiguousarray(picture), (round(width * longest), round(height * longest)))
        return _of_relief(f"relief-{name}", [_encode(small)] * 3, px)

    return make


def _of_relief(name: str, jpegs: list[bytes], px: int) -> Shot:
    model, state = ReliefModel(), b""
    for jpeg in jpegs:
        capture = DecodedCapture((simplejpeg.decode_jpeg(jpeg, "RGB"),), FrameRequest(FrameOptions(inference_px=px), state=state))
        (found,) = model.predict([capture])
        assert isinstance(found, Prediction) and isinstance(found.scene, LayeredDepth), str(found)
        layered, state = found.scene, found.state
    view, pivot = layered.views[0], pivot_of(layered)
    whole = simplejpeg.decode_jpeg(jpegs[-1], "RGB")
    camera = lifting.scale_camera(view.camera, whole.shape[1], whole.shape[0])

    def places() -> list[Place]:
        found = []
        for yaw, pitch in orbit():
            pose = Eye(yaw, pitch, pivot).pose()
            truth = whole / np.float32(255) if yaw == pitch == 0 else None
            found.append(Place(_name(yaw, pitch), pose, camera, truth, _outline(layered, pose, camera)))
        return found

    return Shot(name, layered, Jpeg(jpegs[-1]), places)


SHOTS: dict[str, Callable[[int], Shot]] = {
    **{name: (lambda px, name=name: scene(name, px)) for name in CASTS},
    "motorcycle": motorcycle,
    "relief": relief,
    **{f"{name}-native-{head}": native(name, head) for name in CASTS for head in HEADS},
    **{f"relief-{name}": relief_photo(name) for name in ("coffee", "astronaut", "chelsea")},
}
"""Name → maker; its argument is the width of the grid, pixels."""


def orbit() -> list[tuple[int, int]]:
    """Yaw and pitch of every place, degrees."""
    return [(yaw, 0) for yaw in YAWS_DEG] + [(0, pitch) for pitch in PITCHES_DEG]


def _name(yaw: int, pitch: int) -> str:
    return f"pitch {pitch:+d}°" if pitch else f"{yaw:+d}°" if yaw else "0°"


def _inside(depth: F32, eye: Eye, camera: Camera) -> Mask:
    """The pixels of a true view whose surface lies in the capture camera's field, less the border that is cut."""
    pose = eye.pose()
    v, u = np.mgrid[: camera.height, : camera.width].astype(np.float32) + 0.5
    points = np.stack([(u - camera.cx) / camera.fx * depth, (v - camera.cy) / camera.fy * depth, depth], axis=-1)
    x, y, z = np.moveaxis((points - pose[:, 3]) @ pose[:, :3], -1, 0)
    border = FrameOptions().border + 0.01
    across, down = camera.fx * x / z / camera.width + 0.5, camera.fy * y / z / camera.height + 0.5
    return np.asarray((np.minimum(across, down) > border) & (np.maximum(across, down) < 1 - border) & (z > 0))


def _outline(layered: LayeredDepth, pose: F32, camera: Camera) -> Mask:
    """The pixels within the outline of the frame's own surface, less the border that is cut, seen from elsewhere."""
    source, inverse = layered.views[0].camera, layered.views[0].layers[-1].inverse_depth
    front = layered.views[0].layers[0].inverse_depth
    if inverse.shape != front.shape:
        inverse = front
    height, width = inverse.shape
    border = FrameOptions().border + 0.01
    left, top = round(border * width), round(border * height)
    right, bottom = width - 1 - left, height - 1 - top
    loop = [(x, top) for x in range(left, right)] + [(right, y) for y in range(top, bottom)]
    loop += [(x, bottom) for x in range(right, left, -1)] + [(left, y) for y in range(bottom, top, -1)]
    at = np.array([(x, y) for x, y in loop if inverse[y, x] > 0])
    z = 1 / inverse[at[:, 1], at[:, 0]]
    points = np.stack([(at[:, 0] + 0.5 - source.cx) / source.fx * z, (at[:, 1] + 0.5 - source.cy) / source.fy * z, z], axis=-1)
    x, y, z = (points @ pose[:, :3].T + pose[:, 3]).T
    corners = np.stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy], axis=-1)
    mask = np.zeros((camera.height, camera.width), np.uint8)
    cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 1)
    return mask > 0


def _other_eye(camera: Camera) -> tuple[F32, float]:
    """The stereo pair's right picture on the camera's grid, and how far its principal point lies to the right, pixels."""
    _, photo, disparity = stereo_motorcycle()
    height, full = disparity.shape
    width = height * 4 // 3
    left = (full - width) // 2
    picture = _shrink(np.ascontiguousarray(photo[:, left : left + width]), (camera.width, camera.height))
    return picture / np.float32(255), subjects._OFFSET_PX * camera.width / width


def _layered(jpeg: Jpeg, inverse: F32, camera: Camera) -> LayeredDepth:
    picture = _shrink(simplejpeg.decode_jpeg(jpeg.data, "RGB"), (camera.width, camera.height))
    return LayeredDepth((DepthView(camera, (DepthLayer(np.asarray(inverse, np.float32)),), picture),))


def _decode(data: bytes, channels: int) -> U8:
    return np.asarray(simplejpeg.decode_jpeg(data, "GRAY" if channels == 1 else "RGB"))


def _encode(picture: U8) -> bytes:
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(picture), CAMERA_QUALITY, "RGB", "420"))


def _shrink(picture: U8, size: tuple[int, int]) -> U8:
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
