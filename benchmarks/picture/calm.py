"""Depth over time: a still scene with a camera's noise, somebody who walks through, and a cut and back.

A network's flicker is made up: each frame has another scale (2 %), smooth errors of 1 % that reach 20 pixels and of 0.3 % that
reach 6, and true depth is what they are added to. The camera adds ±2 levels to every pixel.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.splatter import draw
from deployments.models.calm import Calmed
from deployments.models.relief.model import ReliefModel
from deployments.pipeline import DecodedCapture, Prediction
from deployments.scene.clip import Cast, Person, SceneFrame, render_scene
from deployments.splats.layer_lifting import lift_and_prune
from deployments.splats.layers import DepthLayer, DepthView, LayeredDepth
from deployments.stream.frames import FrameRequest
from deployments.stream.options import FrameOptions

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

FPS = 10.0
PX = 256
_STILL, _SETTLED = 24, 10
_ERRORS = ((20.0, 0.010), (6.0, 0.003))
_SCALE = 0.02
_CRITICAL = 0.02
"""A cut is over when the scale is within this of the network's own."""

Frame = tuple[F32, U8]
Engine = Callable[[Frame, bytes, int], tuple[F32, bytes]]
"""Depth and picture, the session's state, the frame's number → inverse depth as it is shown, and the new state."""


def measure(calm: float) -> dict[str, Any]:
    """Figures of a depth engine and of the relief with this strength; see ``HEADS``."""
    rng = np.random.default_rng(1)
    still = render_scene(0.5, PX, PX * 3 // 4)
    shown = run(depth_engine(calm), [_frame(still, rng) for _ in range(_STILL)])[_SETTLED:]
    relief = run(relief_engine(calm), [_frame(still, rng) for _ in range(_STILL)])[_SETTLED:]
    return {
        "calm": calm,
        "still": _deviation(shown),
        "flicker": _flicker(shown, still),
        **_walk(calm),
        "cut": _frames_until_locked(calm),
        "relief still": _deviation(relief),
        "relief person": _deviation(relief, still.depth < 2),
        "relief flicker": _flicker(relief, still),
        **_relief_walk(calm),
    }


HEADS = {
    "calm": "calm",
    "still": "depth deviation % (median)",
    "flicker": "picture flicker, levels",
    "wall": "walk: wall off by at most %",
    "person": "walk: person off by %",
    "cut": "cut: frames to lock",
    "relief still": "relief: depth deviation %",
    "relief person": "of the person",
    "relief flicker": "flicker, levels",
    "relief wall": "relief, walk: wall off by at most %",
    "relief cut": "relief, cut: frames to lock",
}
"""Key of ``measure`` → what it is."""


def run(engine: Engine, frames: list[Frame]) -> list[F32]:
    """Inverse depth of each frame of a stream."""
    state, out = b"", []
    for index, frame in enumerate(frames):
        inverse, state = engine(frame, state, index)
        out.append(inverse)
    return out


def depth_engine(calm: float) -> Engine:
    """What an engine that predicts depth does with its network's."""

    def predict(frame: Frame, state: bytes, index: int) -> tuple[F32, bytes]:
        depth, picture = frame
        calmed = Calmed(FrameRequest(FrameOptions(calm=calm), state=state, arrived_s=1 + index / FPS), picture, calm=True)
        factor = calmed.align(cv2.resize(np.log(depth), (16, 12), interpolation=cv2.INTER_AREA))
        inverse = calmed.hold_still((1 / (depth * np.float32(factor)))[None])[0]
        return inverse, calmed.state

    return predict


def relief_engine(calm: float) -> Engine:
    """The relief, which takes the picture alone."""
    model = ReliefModel()

    def predict(frame: Frame, state: bytes, index: int) -> tuple[F32, bytes]:
        request = FrameRequest(FrameOptions(inference_px=PX, calm=calm), state=state, arrived_s=1 + index / FPS)
        (found,) = model.predict([DecodedCapture((frame[1],), request)])
        assert isinstance(found, Prediction) and isinstance(found.scene, LayeredDepth), str(found)
        return found.scene.views[0].layers[0].inverse_depth, found.state

    return predict


def _frame(scene: SceneFrame, rng: np.random.Generator) -> Frame:
    """A frame as the camera and a flickering network see it."""
    ln = np.log(scene.depth) + np.float32(rng.normal(0, _SCALE))
    for sigma_px, amplitude in _ERRORS:
        noise = cv2.GaussianBlur(rng.standard_normal(ln.shape).astype(np.float32), (0, 0), sigma_px)
        ln += np.float32(amplitude) * noise / noise.std()
    noisy = scene.rgb.astype(np.int16) + rng.integers(-2, 3, scene.rgb.shape)
    return np.exp(ln).astype(np.float32), np.clip(noisy, 0, 255).astype(np.uint8)


def _deviation(shown: list[F32], where: NDArray[np.bool_] | None = None) -> float:
    """Median over the pixels, or some of them, of depth's standard deviation over time, %."""
    stack = np.stack(shown)
    surface = (stack > 0).all(axis=0)
    if where is not None:
        surface &= where
    return 100 * float(np.median((stack.std(axis=0) / np.maximum(stack.mean(axis=0), 1e-6))[surface]))


def _flicker(shown: list[F32], still: SceneFrame) -> float:
    """Mean change of the drawn picture from frame to frame, levels, seen from the camera; colours stand still."""
    drawn = []
    for inverse in shown[-4:]:
        view = DepthView(still.camera, (DepthLayer(inverse),), still.rgb)
        drawn.append(draw(lift_and_prune(LayeredDepth((view,)))[0], still.camera))
    return 255 * float(np.mean([np.abs(a - b).mean() for a, b in pairwise(drawn)]))


def _walk(calm: float) -> dict[str, float]:
    """Somebody crosses the room: how far the wall's median depth is off at most, and the person's at the median, %."""
    rng = np.random.default_rng(2)
    scenes = list(_walking())
    shown = run(depth_engine(calm), [_frame(scene, rng) for scene in scenes])
    walls = np.array([np.median((inverse * scene.depth)[scene.depth > 2]) for scene, inverse in zip(scenes, shown, strict=True)])
    usual = np.median(walls)
    people = []
    for scene, inverse in zip(scenes, shown, strict=True):
        person = scene.depth < 2
        if person.mean() > 0.02:
            people.append(float(np.median(np.abs((inverse * scene.depth)[person] / usual - 1))))
    return {"wall": 100 * float(np.abs(walls / usual - 1).max()), "person": 100 * float(np.median(people))}


def _walking() -> Iterator[SceneFrame]:
    for index in range(24):
        yield render_scene(0.5, PX, PX * 3 // 4, Cast((Person(-1.4 + 0.12 * index, 0.0, 0.45),)))


def _frames_until_locked(calm: float) -> int:
    """After a cut, and after the cut back, the most frames until the scale is the network's own."""
    rng = np.random.default_rng(3)
    here = render_scene(0.5, PX, PX * 3 // 4)
    there = _turned(render_scene(0.5, PX, PX * 3 // 4, Cast((), crowded=True)))
    frames = [_frame(scene, rng) for scene in [here] * 10 + [there] * 10 + [here] * 10]
    shown = run(depth_engine(calm), frames)
    off = [abs(float(np.median(inverse * depth)) - 1) for inverse, (depth, _) in zip(shown, frames, strict=True)]
    allowed = _CRITICAL + 2 * _SCALE
    waits = [next((n for n in range(10) if off[cut + n] < allowed), 10) for cut in (10, 20)]
    return max(waits) + 1


def _turned(scene: SceneFrame) -> SceneFrame:
    """Another room: turned round and half as large again."""
    return SceneFrame(scene.rgb[::-1, ::-1].copy(), scene.depth[::-1, ::-1].copy() * np.float32(1.5), scene.camera)


def _relief_walk(calm: float) -> dict[str, float]:
    """Somebody crosses the room behind a person who stays: how far the relief's wall is off at most, %; and a cut, as above."""
    rng = np.random.default_rng(4)
    stays = Person(0.0, 0.0, 0.0)
    empty = _turned(render_scene(0.5, PX, PX * 3 // 4, Cast((), crowded=True)))
    casts = [Cast((stays, Person(-1.4 + 0.12 * index, 0.0, 0.9, 1.3))) for index in range(24)]
    frames = [_frame(render_scene(0.5, PX, PX * 3 // 4, cast), rng) for cast in casts]
    corner = np.s_[: PX // 8, : PX // 8]
    walls = np.array([np.median(inverse[corner]) for inverse in run(relief_engine(calm), frames)])
    frames = frames[:10] + [_frame(empty, rng) for _ in range(10)] + frames[:10]
    shown = run(relief_engine(calm), frames)
    # What the relief makes of the same picture at the start of a stream, which nothing came before.
    alone = {start: run(relief_engine(calm), [frames[start]])[0] for start in (10, 20)}
    waits = []
    for start, true in alone.items():
        off = [abs(float(np.median(shown[start + n] / np.maximum(true, 1e-6))) - 1) for n in range(10)]
        waits.append(next((n for n in range(10) if off[n] < _CRITICAL), 10))
    return {"relief wall": 100 * float(np.abs(walls / np.median(walls) - 1).max()), "relief cut": max(waits) + 1}
