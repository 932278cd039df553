"""A session of several views stays still while pictures are noisy and cameras come and go."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployments.models.alignment import REFERENCE_SHAPE
from deployments.models.calm import Memory
from deployments.models.da3.model import DepthAnything3
from deployments.models.da3.settled import Settled
from deployments.pipeline import DecodedCapture, Prediction
from deployments.splats.layers import LayeredDepth
from deployments.stream.frames import FrameRequest
from tests.da3.conftest import picture
from tests.unit.rig import turned

WALL = np.full((48, 64, 3), 128, np.uint8)
STANDING = np.stack([turned(0.0), turned(-14.0, 0.5, -0.1), turned(11.0, -0.45, 0.15, 4.0)]).astype(np.float32)


def engine(checkpoint: Path, calm: bool) -> DepthAnything3:
    return DepthAnything3(weights=str(checkpoint), device="cpu", longest_px=140, threads=1, calm=calm)


def run(model: DepthAnything3, frames: list[list[int]], noise: float = 12.0) -> list[Prediction]:
    """Ten frames a second; each says which cameras are there. Their pictures are grainy, as at night."""
    rng, state, out = np.random.default_rng(0), b"", []
    for i, cameras in enumerate(frames):
        clean = [picture(seed=camera) for camera in cameras]
        views = tuple(np.clip(view + rng.normal(0, noise, view.shape), 0, 255).astype(np.uint8) for view in clean)
        (outcome,) = model.predict([DecodedCapture(views, FrameRequest(state=state, arrived_s=100 + i / 10))])
        assert isinstance(outcome, Prediction)
        state = outcome.state
        out.append(outcome)
    return out


def poses(predictions: list[Prediction], view: int = 1) -> NDArray[np.float64]:
    found = []
    for prediction in predictions:
        assert isinstance(prediction.scene, LayeredDepth)
        found.append(prediction.scene.views[view].pose)
    return np.array(found, np.float64)


def shake(predictions: list[Prediction]) -> float:
    """Of the second camera's pose, from frame to frame."""
    return float(np.sqrt((np.diff(poses(predictions), axis=0) ** 2).sum(axis=(1, 2)).mean()))


def test_noise_in_the_pictures_does_not_shake_the_cameras(checkpoints: Any) -> None:
    frames = [[0, 1]] * 30
    raw, held = (run(engine(checkpoints["micro-depth"], calm), frames) for calm in (False, True))
    assert shake(raw[10:]) > 1e-5, "a network that does not shake proves nothing"
    assert shake(held[10:]) < shake(raw[10:]) / 4
    np.testing.assert_allclose(poses(held)[-1, :, :3], poses(raw)[10:, :, :3].mean(axis=0), atol=0.02)


def test_cameras_that_go_and_come_back_leave_the_scale_where_it_is() -> None:
    # A network that sees the same room 30 % larger with each camera that it has, and its cameras as much farther apart.
    room = np.random.default_rng(0).normal(0.7, 0.4, REFERENCE_SHAPE).astype(np.float32)
    state, sizes, baselines = b"", [], []
    for i, views in enumerate([3] * 10 + [2] * 10 + [1] * 5 + [3] * 10):
        larger = 1.3**views
        seen = STANDING[:views].copy()
        seen[..., 3] *= larger
        settled = Settled(FrameRequest(state=state, arrived_s=100 + i / 10), WALL, None, calm=True)
        factor, stands = settled.settle(room + np.float32(np.log(larger)), seen)
        state = settled.state
        sizes.append(factor * larger)
        if views > 1:
            baselines.append(float(np.linalg.norm(stands[1, :, 3])))
    assert np.abs(np.diff(np.log(sizes))).max() < 0.03, "let go of slowly: by 4 % of the correction a frame"
    assert np.abs(np.diff(np.log(baselines))).max() < 0.1
    assert len(baselines) == 30


def test_the_state_of_a_session_stays_small(checkpoints: Any) -> None:
    (one, *_), (*_, four) = (
        run(engine(checkpoints["micro-depth"], True), [[0]]),
        run(engine(checkpoints["micro-depth"], True), [[0, 1, 2, 3]] * 2),
    )
    assert len(one.state) < 40_000 and len(four.state) < 40_000
    one_memory, four_memory = (Memory.from_bytes(each.state) for each in (one, four))
    assert len(one_memory.reference) == len(four_memory.reference) == 775
    assert one_memory.rig == b"" and len(four_memory.rig) == 9 + 3 * 65


def test_native_gaussians_of_several_views_use_the_steadied_poses(checkpoints: Any) -> None:
    model = engine(checkpoints["micro"], True)
    for prediction in run(model, [[0, 1]] * 4):
        gaussians, pose = prediction.as_gaussians(), prediction.views[1].pose
        assert prediction.kind == "native" and pose is not None
        pixels = len(gaussians) // 2
        there = gaussians.means[pixels:] @ pose[:, :3].T + pose[:, 3]
        camera = prediction.views[1].camera
        u = there[:, 0] / there[:, 2] * camera.fx + camera.cx
        assert np.median(np.abs(u - np.tile(np.arange(camera.width) + 0.5, camera.height))) < 2.0
