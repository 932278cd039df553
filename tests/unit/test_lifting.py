"""Lifting: the capture viewpoint sees its picture again, and splats lie on the surface."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.scene.clip import render_scene
from deployments.splats import lifting
from deployments.splats.camera import Camera
from deployments.splats.lifting import fit_grid, lift_depth, scale_camera
from tests.unit.splatter import project, psnr, rotations, splat

CAMERA = Camera(24, 18, 22.0, 22.0, 12.0, 9.0)


def plane(camera: Camera, normal: tuple[float, float, float], distance: float = 2.0) -> np.ndarray:
    """z-depth of the plane normal · p = distance · normal_z."""
    x = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    y = (np.arange(camera.height) + 0.5 - camera.cy)[:, None] / camera.fy
    return (distance * normal[2] / (normal[0] * x + normal[1] * y + normal[2])).astype(np.float32)


def grey(camera: Camera) -> np.ndarray:
    return np.full((camera.height, camera.width, 3), 128, np.uint8)


@pytest.mark.parametrize("kind", ["lifted", "points"])
def test_the_capture_viewpoint_sees_its_own_picture(kind) -> None:
    scene = render_scene(1.3, 120, 90)
    picture, covered = splat(lift_depth(scene.depth, scene.rgb, scene.camera, kind), scene.camera)
    truth = scene.rgb / 255
    right = psnr(picture, truth, covered > 0.5)
    assert (covered > 0.9).mean() > 0.99
    # At the grid's own size, where the splats are at their softest.
    assert right > 25
    for wrong in (truth[:, ::-1], truth[::-1], truth[..., ::-1], np.roll(truth, 2, axis=1), np.roll(truth, 2, axis=0)):
        assert psnr(picture, wrong) < right - 5


def test_gaussian_i_lies_on_the_ray_of_pixel_i() -> None:
    camera = Camera(5, 4, 7.0, 9.0, 2.0, 2.5)
    depth = np.random.default_rng(0).uniform(1, 3, (4, 5)).astype(np.float32)
    gaussians = lift_depth(depth, grey(camera), camera)
    assert gaussians.grid == (1, 4, 5)
    v, u = np.divmod(np.arange(20), 5)
    x, y, z = gaussians.means.T
    # No pixel lies between two others here: random depth has steps, but seldom stairs; those stay, the others were snapped.
    assert np.allclose(camera.fx * x / z + camera.cx, u + 0.5, atol=1e-4)
    assert np.allclose(camera.fy * y / z + camera.cy, v + 0.5, atol=1e-4)


slopes = st.floats(-0.7, 0.7)


@settings(deadline=None, max_examples=60)
@given(slopes, slopes)
def test_on_a_plane_the_third_axis_is_its_normal_and_the_spot_is_round(a: float, b: float) -> None:
    normal = np.array([a, b, 1.0]) / math.sqrt(a * a + b * b + 1)
    gaussians = lift_depth(plane(CAMERA, tuple(normal)), grey(CAMERA), CAMERA)
    assert (gaussians.opacities > 0.9).all()
    assert np.allclose(np.linalg.norm(gaussians.quats, axis=1), 1, atol=1e-5)
    axes = rotations(gaussians.quats)
    assert np.abs(axes[:, :, 2] @ normal).min() > 0.9998
    assert (gaussians.scales[:, 2] < gaussians.scales[:, :2].min(axis=1)).all()
    _, covariances = project(gaussians, CAMERA)
    # The spot in the picture is round: SIGMA_PX in every direction, however the surface is slanted.
    # What remains is the splat's thickness seen from the side.
    expected = np.eye(2) * lifting.SIGMA_PX**2
    assert np.abs(covariances - expected).max() < 0.05 * lifting.SIGMA_PX**2 + lifting.THICKNESS**2


def test_a_steep_surface_stretches_its_splats_no_more_than_the_bound() -> None:
    depth = plane(CAMERA, (0.995, 0.0, 0.1), 2.0)
    depth[depth <= 0] = 0
    gaussians = lift_depth(depth, grey(CAMERA), CAMERA)
    shown = gaussians.opacities > 0
    pixel = gaussians.means[shown, 2] / CAMERA.fx * lifting.SIGMA_PX
    stretch = gaussians.scales[shown, :2].max(axis=1) / pixel
    assert stretch.max() <= 1.05 * math.sqrt(1 + lifting.MAX_SLOPE**2) + 1e-3
    assert np.isfinite(gaussians.quats).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9), st.floats(0.3, 4.0))
def test_wild_depth_gives_finite_unit_gaussians(seed: int, width: int, height: int, focal: float) -> None:
    random = np.random.default_rng(seed)
    depth = random.choice([0.0, -1.0, np.nan, np.inf, 1e-9, 0.5, 1.0, 1.01, 1.5, 30.0, 1e5], (height, width)).astype(np.float32)
    camera = Camera(width, height, focal * width, focal * width, width / 2, height / 2)
    gaussians = lift_depth(depth, np.zeros((height, width, 3), np.uint8), camera)
    for field in (gaussians.means, gaussians.scales, gaussians.quats, gaussians.opacities, gaussians.sh):
        assert np.isfinite(field).all()
    assert (gaussians.scales > 0).all()
    assert np.allclose(np.linalg.norm(gaussians.quats, axis=1), 1, atol=1e-4)
    bad = ~((depth > 1e-6) & (depth < 1e6)).ravel()
    assert (gaussians.opacities[bad] == 0).all()


def test_a_blurred_depth_edge_becomes_a_step_and_leaves_no_rubber_sheet() -> None:
    camera = Camera(40, 12, 36.0, 36.0, 20.0, 6.0)
    depth = np.full((12, 40), 3.0, np.float32)
    depth[:, :15] = 1.0
    for i, share in enumerate((0.2, 0.5, 0.8)):
        depth[:, 15 + i] = 1 / (1 + share * (1 / 3 - 1))
    gaussians = lift_depth(depth, grey(camera), camera)
    z = gaussians.means[:, 2].reshape(12, 40)
    assert (z[:, :16] == 1).all() and (z[:, 17:] == 3).all(), "each pixel joins the surface it is nearer to"
    assert np.isin(z[:, 16], (1, 3)).all()
    assert (gaussians.opacities > 0).all(), "an edge of three pixels is mended without a hole"


def test_a_ramp_too_wide_to_mend_is_cut() -> None:
    camera = Camera(60, 6, 50.0, 50.0, 30.0, 3.0)
    depth = np.repeat(np.concatenate([np.full(20, 1.0), np.geomspace(1, 12, 22)[1:-1], np.full(20, 12.0)])[None], 6, axis=0)
    gaussians = lift_depth(depth.astype(np.float32), grey(camera), camera)
    cut = (gaussians.opacities == 0).reshape(6, 60)
    assert cut[:, 25:35].all()
    assert not cut[:, :19].any() and not cut[:, 42:].any()


def test_an_exact_step_is_kept_whole_and_flat_on_both_sides() -> None:
    camera = Camera(20, 10, 18.0, 18.0, 10.0, 5.0)
    depth = np.where(np.arange(20) < 10, 1.0, 2.0).astype(np.float32)[None].repeat(10, axis=0)
    gaussians = lift_depth(depth, grey(camera), camera)
    assert (gaussians.opacities > 0).all()
    assert np.abs(rotations(gaussians.quats)[:, 2, 2]).min() > 0.9999


def test_points_are_round_and_not_rotated() -> None:
    gaussians = lift_depth(plane(CAMERA, (0.5, 0.0, 0.8)), grey(CAMERA), CAMERA, "points")
    assert (gaussians.quats == [1, 0, 0, 0]).all()
    assert (gaussians.scales == gaussians.scales[:, :1]).all()
    assert np.allclose(gaussians.scales[:, 0], lifting.SIGMA_PX * gaussians.means[:, 2] / CAMERA.fx, rtol=1e-5)


def test_colours_come_back_from_the_harmonics() -> None:
    rgb = np.arange(24 * 18 * 3, dtype=np.int64).reshape(18, 24, 3).astype(np.uint8)
    gaussians = lift_depth(np.ones((18, 24), np.float32), rgb, CAMERA)
    back = np.rint((0.5 + 0.28209479177387814 * gaussians.sh[:, 0]) * 255)
    assert (back == rgb.reshape(-1, 3)).all()


def test_sizes_that_differ_are_refused_with_both_named() -> None:
    with pytest.raises(ValueError, match=r"24×17.*24×18"):
        lift_depth(np.ones((17, 24), np.float32), grey(CAMERA), CAMERA)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 300_000), st.integers(0, 1500))
def test_the_grid_keeps_budget_size_and_shape(width: int, height: int, budget: int, longest: int) -> None:
    w, h = fit_grid(width, height, budget, longest)
    assert 1 <= w <= width and 1 <= h <= height and w * h <= budget
    assert longest == 0 or max(w, h) <= max(longest, 1)
    if min(w, h) >= 20:
        assert abs(math.log((w / h) / (width / height))) < 0.06
        limit = min(width * height, budget)
        if longest == 0:
            assert w * h > 0.85 * limit, "the largest such grid"


def test_a_picture_within_the_budget_is_not_resized() -> None:
    assert fit_grid(640, 480, 400_000) == (640, 480)
    assert fit_grid(640, 480, 200_000, 384) == (384, 288)


def test_scaling_a_camera_keeps_its_rays() -> None:
    small = scale_camera(Camera(640, 480, 500.0, 510.0, 310.0, 250.0), 320, 120)
    assert small == Camera(320, 120, 250.0, 127.5, 155.0, 62.5)
