"""Layered depth: its shapes, its lifting and its resizing."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.splatter import draw_and_light, with_flat_tops
from deployments.scene.clip import render_scene
from deployments.splats.camera import Camera
from deployments.splats.layer_lifting import HIDDEN_GROWTH, lift_and_prune, lift_layers
from deployments.splats.layers import DepthLayer, DepthView, LayeredDepth, resize_layers, resize_picture, settle_behind
from deployments.splats.lifting import SIGMA_PX, lift_depth, resolve_edges
from deployments.splats.pruning import prune
from tests.unit.splatter import psnr, splat

CAMERA = Camera(24, 18, 22.0, 22.0, 12.0, 9.0)


def grey(height: int = 18, width: int = 24, value: int = 128) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def flat(inverse: float = 0.5, height: int = 18, width: int = 24) -> np.ndarray:
    return np.full((height, width), inverse, np.float32)


def front(**layer: np.ndarray) -> DepthView:
    return DepthView(CAMERA, (DepthLayer(flat(), **layer),), grey())


def turned(angle: float, x: float = 0.0) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0, s, x], [0, 1, 0, 0], [-s, 0, c, 0]], np.float32)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DepthLayer(np.zeros((0, 3), np.float32)), "inverse_depth"),
        (lambda: DepthLayer(np.zeros((2, 3))), "inverse_depth: expected float32"),
        (lambda: DepthLayer(flat(), colors=grey(9, 12)), "colors: expected uint8"),
        (lambda: DepthLayer(flat(), opacity=np.ones((18, 24), np.float32)), "opacity: expected uint8"),
        (lambda: DepthView(CAMERA, (), grey()), "layers: expected one or more"),
        (lambda: DepthView(replace(CAMERA, width=25), (DepthLayer(flat()),), grey()), "camera: expected the front layer's 24×18"),
        (lambda: DepthView(CAMERA, (DepthLayer(flat()),), grey(9, 12)), "picture"),
        (lambda: replace(front(), pose=np.eye(4, dtype=np.float32)), "pose"),
        (lambda: LayeredDepth(()), "views: expected one or more"),
        (lambda: LayeredDepth((replace(front(), pose=turned(0)),)), "no pose for the first"),
        (lambda: LayeredDepth((front(),), scale=math.nan), "scale"),
    ],
)
def test_layers_that_do_not_fit_are_refused_by_name(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("kind", ["lifted", "points"])
def test_a_single_front_layer_is_lifted_as_its_depth_is(kind) -> None:
    scene = render_scene(0.5, 60, 45)
    inverse = (1 / scene.depth).astype(np.float32)
    ours = lift_layers(LayeredDepth((DepthView(scene.camera, (DepthLayer(inverse),), scene.rgb),)), kind)
    theirs = lift_depth(scene.depth, scene.rgb, scene.camera, kind)
    assert ours.grid == theirs.grid == (1, 45, 60)
    for field in ("means", "scales", "quats", "opacities", "sh"):
        np.testing.assert_array_equal(getattr(ours, field), getattr(theirs, field))


def test_resolved_edges_lift_to_what_the_edges_lift_to() -> None:
    scene = render_scene(0.5, 60, 45)
    inverse = (1 / scene.depth).astype(np.float32)
    blurred = ((inverse + np.roll(inverse, 1, axis=1) + np.roll(inverse, 1, axis=0)) / 3).astype(np.float32)
    crisp = resolve_edges(blurred, scene.camera)
    assert (crisp != blurred).sum() > 50
    ours, theirs = (
        prune(lift_layers(LayeredDepth((DepthView(scene.camera, (layer,), scene.rgb),))))[0]
        for layer in (DepthLayer(crisp, crisp=True), DepthLayer(blurred))
    )
    np.testing.assert_array_equal(ours.means, theirs.means)
    assert (np.abs(ours.scales - theirs.scales).max(axis=1) > 1e-6).mean() < 0.03


def test_no_surface_and_no_opacity_are_pruned_as_edge() -> None:
    inverse, opacity = flat(), np.full((18, 24), 255, np.uint8)
    inverse[3, 4:9], opacity[10, 2:5] = 0, 0
    kept, counts = lift_and_prune(LayeredDepth((DepthView(CAMERA, (DepthLayer(inverse, None, opacity),), grey()),)))
    assert counts["edge"] == 8 and len(kept) == 18 * 24 - 8


def test_opacity_of_a_layer_multiplies() -> None:
    opacity = np.full((18, 24), 51, np.uint8)
    assert np.allclose(lift_layers(LayeredDepth((front(opacity=opacity),))).opacities, 0.98 * 0.2)


def with_wall() -> DepthView:
    inverse = np.zeros((9, 12), np.float32)
    inverse[2:7, 3:9] = 0.25
    wall = DepthLayer(inverse, grey(9, 12, 40))
    return DepthView(CAMERA, (DepthLayer(flat()), wall), grey())


def test_a_layer_behind_has_its_own_colours_grid_and_larger_splats() -> None:
    lifted = lift_layers(LayeredDepth((with_wall(),)))
    assert lifted.grid is None and len(lifted) == 18 * 24 + 30
    hidden = lifted.take(np.arange(18 * 24, len(lifted)))
    assert np.allclose(hidden.means[:, 2], 4) and (hidden.opacities > 0.9).all()
    assert np.allclose((0.5 + 0.28209479 * hidden.sh) * 255, 40, atol=0.01)
    pixel = 4 / 11 * SIGMA_PX
    assert np.allclose(hidden.scales[:, :2], pixel * HIDDEN_GROWTH, rtol=0.02)
    x = 22 / 2 * hidden.means[:, 0] / hidden.means[:, 2] + 6
    assert np.allclose(x.reshape(5, 6), np.arange(3, 9) + 0.5, atol=1e-4)


def test_holes_of_a_layer_behind_are_not_counted_and_its_border_is_its_own() -> None:
    kept, counts = lift_and_prune(LayeredDepth((with_wall(),)), border=0.2)
    assert counts["edge"] == 0
    # 24×18 keeps 14×10 or so of its cells; of the wall's 12×9, those from 2.4 to 9.6 and from 1.8 to 7.2.
    inside = ((np.arange(12) + 0.5 >= 2.4) & (np.arange(12) + 0.5 <= 9.6))[3:9].sum() * 5
    assert (kept.means[:, 2] > 3).sum() == inside
    assert counts["border"] == 18 * 24 + 30 - len(kept)


def test_the_second_view_is_moved_to_the_first_camera() -> None:
    pose = turned(0.4, 0.3)
    frame = LayeredDepth((front(), replace(front(), pose=pose)))
    lifted = lift_layers(frame)
    assert lifted.grid == (2, 18, 24)
    first, second = lifted.means[:432], lifted.means[432:]
    back = second @ pose[:, :3].T + pose[:, 3]
    np.testing.assert_allclose(back, first, atol=1e-5)


def test_pruning_views_of_one_size_cuts_each_ones_own_border() -> None:
    frame = LayeredDepth((front(), replace(front(), pose=turned(0.4, 0.3))))
    ours, counts = lift_and_prune(frame, border=0.1)
    theirs, expected = prune(lift_layers(frame), CAMERA, border=0.1)
    assert counts == expected and 0 < len(ours) < 864
    np.testing.assert_array_equal(ours.means, theirs.means)


def test_what_is_too_far_goes_and_is_counted_as_depth() -> None:
    kept, counts = lift_and_prune(LayeredDepth((with_wall(),)), max_depth=3.0)
    assert counts["depth"] == 30 and (kept.means[:, 2] <= 3).all()


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_resizing_never_makes_a_depth_between_two_surfaces(width: int, height: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    inverse = rng.choice([0, 0.2, 1.0], (height, width)).astype(np.float32)
    camera = Camera(width, height, 30.0, 30.0, width / 2, height / 2)
    frame = LayeredDepth((DepthView(camera, (DepthLayer(inverse),), grey(height, width)),), 1.5)
    new_w, new_h = data.draw(st.integers(1, width)), data.draw(st.integers(1, height))
    small = resize_layers(frame, new_w, new_h)
    layer = small.views[0].layers[0]
    assert (layer.width, layer.height) == (new_w, new_h) and small.scale == 1.5
    assert np.isclose(layer.inverse_depth[..., None], [0, 0.2, 1.0], rtol=1e-6).any(axis=-1).all()
    assert (small.views[0].picture == 128).all()


def test_a_resized_frame_shows_the_same_picture() -> None:
    scene = render_scene(1.0, 120, 90)
    frame = LayeredDepth((DepthView(scene.camera, (DepthLayer((1 / scene.depth).astype(np.float32)),), scene.rgb),))
    small = resize_layers(frame, 80, 60)
    picture, covered = splat(lift_layers(small), small.views[0].camera)
    truth = render_scene(1.0, 80, 60).rgb / 255
    right = psnr(picture, truth, covered > 0.5)
    assert right > 23 and psnr(picture, np.roll(truth, 1, axis=1), covered > 0.5) < right - 2


def test_resizing_shrinks_every_layer_and_keeps_opacity_and_slopes() -> None:
    u = np.arange(24, dtype=np.float32)[None].repeat(18, axis=0)
    opacity = np.where(u < 12, 255, 51).astype(np.uint8)
    view = with_wall()
    tilted = DepthView(CAMERA, (DepthLayer(0.5 + u / 1000, None, opacity), view.layers[1]), grey())
    small = resize_layers(LayeredDepth((tilted,)), 12, 9).views[0]
    assert [(layer.width, layer.height) for layer in small.layers] == [(12, 9), (6, 4)]
    np.testing.assert_allclose(np.diff(small.layers[0].inverse_depth, axis=1), 2 / 1000, rtol=1e-3)
    assert (small.layers[0].opacity[:, :6] == 255).all() and (small.layers[0].opacity[:, 6:] == 51).all()
    assert small.camera.fx == 11


def test_pictures_are_resized_by_area() -> None:
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[:, 0] = 240
    np.testing.assert_array_equal(resize_picture(picture, 2, 1)[..., 0], [[160, 0]])
    np.testing.assert_array_equal(resize_picture(picture, 3, 2), picture)


@pytest.mark.parametrize("size", [(0, 5), (25, 18), (24, 19)])
def test_growing_a_frame_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="expected 1×1 to 24×18"):
        resize_layers(LayeredDepth((front(),)), *size)


@pytest.mark.parametrize("border", [0.0, 0.03, 0.2])
def test_splats_behind_the_front_do_not_hang_out_from_behind_its_edge(border: float) -> None:
    camera = Camera(96, 72, 80.0, 80.0, 48.0, 36.0)
    picture = np.zeros((72, 96, 3), np.uint8)
    behind = [DepthLayer(np.ones((72 // n, 96 // n), np.float32), np.full((72 // n, 96 // n, 3), 255, np.uint8)) for n in (2, 8)]
    layered = LayeredDepth((DepthView(camera, (DepthLayer(np.full((72, 96), 2, np.float32)), *behind), picture),))
    gaussians, _ = lift_and_prune(settle_behind(layered, border), border=border)
    larger = Camera(192, 144, 80.0, 80.0, 96.0, 72.0)
    seen, _ = draw_and_light(with_flat_tops(gaussians), larger)
    top, left = 36 + round(border * 72), 48 + round(border * 96)
    seen[top:-top, left:-left] = 0
    assert seen.max() < 0.35


@pytest.mark.parametrize("cells", [(2, 8), (8, 32)])
def test_splats_behind_the_front_lie_behind_all_that_they_could_cover(cells: tuple[int, int]) -> None:
    width, height = 128, 96
    camera = Camera(width, height, 110.0, 110.0, width / 2, height / 2)
    ones = [
        DepthLayer(np.ones((height // n, width // n), np.float32), np.zeros((height // n, width // n, 3), np.uint8)) for n in cells
    ]
    wall = DepthView(camera, (DepthLayer(np.ones((height, width), np.float32)), *ones), np.zeros((height, width, 3), np.uint8))
    for layer, size in zip(settle_behind(LayeredDepth((wall,)), 0.0).views[0].layers[1:], cells, strict=True):
        v, u = np.nonzero(layer.inverse_depth)
        x, y = (u + 0.5) * size - width / 2, (v + 0.5) * size - height / 2
        # Of the wall what lies farthest from the camera within the splat's reach: a step outwards along the ray.
        outwards = 1 + 1.5 * size / np.maximum(np.hypot(x, y), 1)
        farthest = np.sqrt(1 + (np.hypot(x, y) * outwards / 110) ** 2)
        assert (np.sqrt(1 + (np.hypot(x, y) / 110) ** 2) / layer.inverse_depth[v, u] >= 0.995 * farthest).all()
