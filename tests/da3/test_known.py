"""Cameras that a client knows: the network is told of them as the package tells it, and the result stands where they stand."""

import math
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from numpy.typing import NDArray

from benchmarks.package import package_model
from deployments.models.da3.known import Known, scale_to
from deployments.models.da3.model import DepthAnything3
from deployments.pipeline import DecodedCapture, Prediction
from deployments.splats.camera import Camera
from deployments.splats.layers import LayeredDepth
from deployments.stream.frames import FrameRequest
from deployments.stream.options import FrameOptions
from tests.da3.conftest import picture
from tests.unit.rig import turned

CPU, PX = torch.device("cpu"), 140
LENS = Camera(200, 150, 190.0, 188.0, 101.0, 74.0)
"""In pixels of a picture of 200×150, which becomes 140×112."""
POSES = np.stack([turned(0.0), turned(-12.0, 0.6, -0.1), turned(9.0, -0.5, 0.2, 3.0)]).astype(np.float32)


def engine(checkpoint: Path, **params: Any) -> DepthAnything3:
    return DepthAnything3(weights=str(checkpoint), device="cpu", longest_px=PX, threads=1, **{"calm": False, **params})


def capture(views: int, poses: NDArray[np.float32] | None, state: bytes = b"", **options: Any) -> DecodedCapture:
    request = FrameRequest(FrameOptions(**options), state=state)
    return DecodedCapture(tuple(picture(seed=i) for i in range(views)), request, (LENS,) * views, poses)


def predict(model: DepthAnything3, *captures: DecodedCapture) -> list[Prediction]:
    outcomes = model.predict(captures)
    assert all(isinstance(outcome, Prediction) for outcome in outcomes), outcomes
    return [outcome for outcome in outcomes if isinstance(outcome, Prediction)]


def test_several_views_with_known_cameras_equal_the_package(networks: Any, checkpoints: Any) -> None:
    (got,) = predict(engine(checkpoints["micro-depth"]), capture(3, POSES))
    homogeneous = np.tile(np.eye(4, dtype=np.float32), (3, 1, 1))
    homogeneous[:, :3] = POSES
    k = np.tile(np.array([[LENS.fx, 0, LENS.cx], [0, LENS.fy, LENS.cy], [0, 0, 1]], np.float32), (3, 1, 1))
    model = package_model(networks["micro-depth"], CPU, exact=True)
    pictures = [picture(seed=i) for i in range(3)]
    said = model.inference(pictures, extrinsics=homogeneous, intrinsics=k, process_res=PX)
    plain = model.inference(pictures, process_res=PX)
    assert np.abs(said.depth / plain.depth - 1).max() > 1e-3, "a token that changes nothing proves nothing"
    scene = got.scene
    assert isinstance(scene, LayeredDepth)
    for i, view in enumerate(scene.views):
        np.testing.assert_allclose(1 / view.layers[0].inverse_depth, said.depth[i], rtol=2e-4)
        pose = np.eye(3, 4) if view.pose is None else view.pose
        np.testing.assert_array_equal(pose, POSES[i])
        c, theirs = view.camera, said.intrinsics[i]
        # The package scales to 140×105 and then, with its own rounding, to 140×112.
        np.testing.assert_allclose((c.fx, c.fy, c.cx, c.cy), (theirs[0, 0], theirs[1, 1], theirs[0, 2], theirs[1, 2]), rtol=1e-5)


@pytest.mark.parametrize("representation", ["splats", "points"])
def test_the_result_stands_where_the_cameras_stand_in_their_unit(checkpoints: Any, representation: str) -> None:
    model = engine(checkpoints["micro"])
    near, far = POSES[:3], POSES[:3].copy()
    far[..., 3] *= 100  # Centimetres: of three views, the unit makes no difference to what the network is told.
    a, b = predict(model, capture(3, near, representation=representation), capture(3, far, representation=representation))
    np.testing.assert_allclose(b.as_gaussians().means, a.as_gaussians().means * 100, rtol=1e-3, atol=1e-3)
    if representation == "splats":
        assert a.kind == "native"
        for index, posed in enumerate(a.views[1:], 1):
            np.testing.assert_array_equal(posed.pose, POSES[index])
        np.testing.assert_allclose(b.as_gaussians().scales, a.as_gaussians().scales * 100, rtol=1e-3)


def test_native_gaussians_lie_in_front_of_the_cameras_that_saw_them(checkpoints: Any) -> None:
    (got,) = predict(engine(checkpoints["micro"]), capture(3, POSES))
    gaussians = got.as_gaussians()
    pixels = len(gaussians) // 3
    for i, pose in enumerate(POSES):
        there = gaussians.means[i * pixels : (i + 1) * pixels] @ pose[:, :3].T + pose[:, 3]
        camera = got.views[i].camera if got.views else got.camera
        u = there[:, 0] / there[:, 2] * camera.fx + camera.cx
        columns = np.tile(np.arange(camera.width) + 0.5, camera.height)
        # The head moves a ray by some pixels at most.
        assert np.median(np.abs(u - columns)) < 2.0


def test_intrinsics_alone_replace_the_networks_guess_and_nothing_else(checkpoints: Any) -> None:
    model = engine(checkpoints["micro-depth"])
    plain, known = predict(
        model, DecodedCapture((picture(),), FrameRequest()), DecodedCapture((picture(),), FrameRequest(), (LENS,))
    )
    c = known.camera
    assert (c.fx, c.fy, c.cx, c.cy) == pytest.approx((190 * 0.7, 188 * 112 / 150, 101 * 0.7, 74 * 112 / 150))
    assert plain.camera.fx != pytest.approx(c.fx)
    np.testing.assert_array_equal(known.as_gaussians().means[:, 2], plain.as_gaussians().means[:, 2])


def test_a_network_without_cameras_of_its_own_takes_the_known_one_for_its_metres(checkpoints: Any) -> None:
    from deployments.models.da3.forward import Forward

    model = engine(checkpoints["micro-mono"])
    model._forward = Forward(model._forward._steps.main, CPU, metric=True)
    wide = DecodedCapture((picture(),), FrameRequest(), (LENS,))
    long = DecodedCapture((picture(),), FrameRequest(), (Camera(200, 150, 380.0, 376.0, 101.0, 74.0),))
    a, b = predict(model, wide, long)
    np.testing.assert_allclose(b.as_gaussians().means[:, 2], 2 * a.as_gaussians().means[:, 2], rtol=1e-5)
    assert b.camera.fx == pytest.approx(2 * a.camera.fx)


def test_a_known_camera_goes_before_the_lens_and_a_calm_session_follows_it_at_once(checkpoints: Any) -> None:
    from deployments.models.da3.forward import Forward

    model = engine(checkpoints["micro-mono"], calm=True, fov_deg=100.0)
    model._forward = Forward(model._forward._steps.main, CPU, metric=True)
    state, depths = b"", []
    for cameras, fov_deg in (((LENS,), 30.0), ((), 30.0), ((Camera(200, 150, 380.0, 376.0, 101.0, 74.0),), 0.0), ((), 0.0)):
        (outcome,) = predict(
            model, DecodedCapture((picture(),), FrameRequest(state=state), cameras, None, (), (), fov_deg, "given")
        )
        across = cameras[0].fx / 200 if cameras else 0.5 / math.tan(math.radians(fov_deg or 100.0) / 2)
        assert outcome.camera.fx / outcome.camera.width == pytest.approx(across, rel=1e-5)
        assert outcome.intrinsics == "given"
        state = outcome.state
        depths.append(outcome.as_gaussians().means[:, 2] / (outcome.camera.fx + outcome.camera.fy))
    for other in depths[1:]:
        np.testing.assert_allclose(other, depths[0], rtol=1e-4)


def test_a_network_that_finds_its_own_camera_says_so_unless_it_is_told(checkpoints: Any) -> None:
    plain, known = predict(
        engine(checkpoints["micro"]),
        DecodedCapture((picture(),)),
        DecodedCapture((picture(),), FrameRequest(), (LENS,), intrinsics="given"),
    )
    assert (plain.intrinsics, known.intrinsics) == ("predicted", "given")


def test_views_of_different_shapes_are_cut_and_their_centres_move_along(checkpoints: Any) -> None:
    views = (picture(200, 150), picture(150, 200))
    cameras = (LENS, Camera(150, 200, 190.0, 188.0, 75.0, 100.0))
    (got,) = predict(engine(checkpoints["micro-depth"]), DecodedCapture(views, FrameRequest(), cameras, POSES[:2]))
    assert isinstance(got.scene, LayeredDepth)
    first, second = (view.camera for view in got.scene.views)
    assert (first.width, first.height) == (second.width, second.height) == (112, 112)
    # 140×112 and 112×140: the first one loses 14 columns on each side, the second as many rows.
    assert (first.cx, first.cy) == pytest.approx((101 * 0.7 - 14, 74 * 112 / 150))
    assert (second.cx, second.cy) == pytest.approx((75 * 112 / 150, 100 * 0.7 - 14))


def test_captures_that_know_and_such_that_do_not_share_a_call_and_no_batch(checkpoints: Any) -> None:
    model = engine(checkpoints["micro-depth"])
    plain = DecodedCapture(capture(2, None).views, FrameRequest())
    asked = (plain, capture(2, None), capture(2, POSES[:2]), plain)
    together = predict(model, *asked)
    for one, other in zip(together, (predict(model, each)[0] for each in asked), strict=True):
        np.testing.assert_allclose(one.as_gaussians().means, other.as_gaussians().means, rtol=1e-4, atol=1e-5)
    assert not np.allclose(together[1].as_gaussians().means, together[2].as_gaussians().means, rtol=1e-3)


def test_a_session_keeps_still_at_the_scale_of_its_known_cameras(checkpoints: Any) -> None:
    model = engine(checkpoints["micro-depth"], calm=True)
    (first,) = predict(model, capture(3, POSES))
    (again,) = predict(model, capture(3, POSES, state=first.state))
    assert first.state and isinstance(first.scene, LayeredDepth) and isinstance(again.scene, LayeredDepth)
    assert again.scene.scale == pytest.approx(first.scene.scale, rel=1e-4)
    # Somebody steps on the tripod: poses are 10 % apart from before, the world stays as large as it was.
    nudged = POSES.copy()
    nudged[1:, :, 3] *= 1.1
    (moved,) = predict(model, capture(3, nudged, state=again.state))
    assert isinstance(moved.scene, LayeredDepth)
    assert moved.scene.scale == pytest.approx(first.scene.scale, rel=0.01)


def test_cameras_in_one_place_turn_the_world_and_do_not_scale_it(checkpoints: Any) -> None:
    one_place = np.stack([turned(0.0), turned(40.0)]).astype(np.float32)
    (got,) = predict(engine(checkpoints["micro-depth"]), capture(2, one_place))
    assert isinstance(got.scene, LayeredDepth) and got.scene.scale == 1.0
    np.testing.assert_array_equal(got.scene.views[1].pose, one_place[1])


@given(st.floats(0.01, 100.0), st.integers(2, 6), st.integers(0, 99))
def test_the_scale_between_two_rigs_is_found_whatever_way_they_are_turned(scale: float, views: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    poses = np.stack([turned(*rng.uniform(-60, 60, 1), *rng.uniform(-2, 2, 2), *rng.uniform(-20, 20, 1)) for _ in range(views)])
    smaller = poses.copy()
    smaller[..., 3] *= scale
    found = scale_to(smaller.astype(np.float32), poses.astype(np.float32))
    assert found is not None and found * scale == pytest.approx(1.0, rel=1e-3)
    assert scale_to(np.tile(np.eye(3, 4, dtype=np.float32), (views, 1, 1)), poses.astype(np.float32)) is None
    assert scale_to(poses.astype(np.float32), np.tile(np.eye(3, 4, dtype=np.float32), (views, 1, 1))) is None


@pytest.mark.parametrize("views", [2, 3, 4])
def test_the_token_is_the_packages(networks: Any, views: int) -> None:
    from depth_anything_3.model.utils.transform import extri_intri_to_pose_encoding

    poses = np.concatenate([POSES, turned(170.0, 1.5, 0.3, -8.0)[None].astype(np.float32)])[:views]
    lens = np.array([[133.0, 140.0, 70.0, 56.0]] * views, np.float32)
    told = Known(lens, poses).numbers(140, 112)
    homogeneous = np.tile(np.eye(4, dtype=np.float32), (views, 1, 1))
    homogeneous[:, :3] = poses
    k = np.tile(np.eye(3, dtype=np.float32), (views, 1, 1))
    k[:, 0, 0], k[:, 1, 1], k[:, 0, 2], k[:, 1, 2] = lens[0]
    model = package_model(networks["micro-depth"], CPU, exact=True)
    normal = model._normalize_extrinsics(torch.from_numpy(homogeneous)[None])
    expected = extri_intri_to_pose_encoding(torch.linalg.inv(normal), torch.from_numpy(k)[None], (112, 140))[0].numpy()
    np.testing.assert_array_equal(told[:, :4], lens)
    np.testing.assert_allclose(told[:, 4:], expected, atol=2e-5)
