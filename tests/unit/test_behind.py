"""The layer behind the front's edges: where it is, what colour it has, and that nobody who looks past an edge sees a hole."""

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.splatter import draw_and_light
from deployments.scene.clip import Eye
from deployments.splats.behind import continue_behind, pivot_depth
from deployments.splats.camera import Camera
from deployments.splats.codecs.depth import decode_depth, encode_depth
from deployments.splats.layer_lifting import lift_and_prune, to_view
from deployments.splats.layers import DepthLayer, DepthView, LayeredDepth
from deployments.splats.rims import STEP

WIDTH, HEIGHT = 192, 144
CAMERA = Camera(WIDTH, HEIGHT, 166.0, 166.0, WIDTH / 2, HEIGHT / 2)
NEAR, FAR = 1.0, 3.0
RED, BLUE = (220, 40, 30), (30, 60, 200)
SQUARE = (slice(32, 112), slice(56, 136))


def frame(rim: int = 0) -> LayeredDepth:
    """A red square before a blue wall; ``rim``: pixels outside the square's edge that are half red."""
    inverse = np.full((HEIGHT, WIDTH), 1 / FAR, np.float32)
    inverse[SQUARE] = 1 / NEAR
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    picture[:] = BLUE
    if rim:
        wider = tuple(slice(side.start - rim, side.stop + rim) for side in SQUARE)
        picture[wider] = np.add(RED, BLUE) // 2
    picture[SQUARE] = RED
    return LayeredDepth((DepthView(CAMERA, (DepthLayer(inverse),), picture),))


def layers(layered: LayeredDepth) -> tuple[DepthLayer, DepthLayer]:
    # A step within what is hidden has a third layer.
    front, behind = layered.views[0].layers[:2]
    return front, behind


def test_the_wall_goes_on_as_far_as_the_turn_uncovers_it_and_no_further() -> None:
    _, behind = layers(continue_behind(frame(), 15))
    assert behind.inverse_depth.shape == (HEIGHT // STEP, WIDTH // STEP)
    row = behind.inverse_depth[HEIGHT // STEP // 2]
    columns = np.flatnonzero(row > 0)
    left = columns[columns < WIDTH // STEP // 2]
    inside = (left.max() + 1) * STEP - SQUARE[1].start
    uncovered = CAMERA.fx * math.tan(math.radians(15)) * NEAR * (1 / NEAR - 1 / FAR)
    assert uncovered <= inside <= uncovered + 4 * STEP
    outside = SQUARE[1].start - left.min() * STEP
    assert 0 < outside <= 4 * STEP


def test_a_wider_turn_uncovers_more() -> None:
    counts = [np.count_nonzero(layers(continue_behind(frame(), angle))[1].inverse_depth) for angle in (5, 10, 15)]
    assert counts[0] < counts[1] < counts[2]


def test_it_lies_behind_the_front_everywhere_and_at_the_walls_depth() -> None:
    front, behind = layers(continue_behind(frame(), 15))
    shown = behind.inverse_depth > 0
    surface = np.where(front.inverse_depth > 0, front.inverse_depth, np.inf)
    nearest = surface.reshape(HEIGHT // STEP, STEP, WIDTH // STEP, STEP).min(axis=(1, 3))
    assert (behind.inverse_depth[shown] < nearest[shown]).all()
    np.testing.assert_allclose(behind.inverse_depth[shown], 1 / FAR, rtol=0.01)


@pytest.mark.parametrize("rim", [0, 1, 2])
def test_it_has_the_walls_colour_and_nothing_of_the_squares(rim: int) -> None:
    _, behind = layers(continue_behind(frame(rim), 15))
    assert behind.colors is not None
    assert np.abs(behind.colors[behind.inverse_depth > 0].astype(int) - BLUE).max() <= 2


@pytest.mark.parametrize("share", [0.15, 0.5])
def test_nothing_of_the_squares_colour_hangs_on_the_wall(share: float) -> None:
    view = frame(rim=2).views[0]
    rim = (view.picture == np.add(RED, BLUE) // 2).all(axis=-1)
    picture = view.picture.copy()
    picture[rim] = np.rint(share * np.array(RED) + (1 - share) * np.array(BLUE))
    front, behind = layers(continue_behind(LayeredDepth((DepthView(CAMERA, view.layers, picture),)), 15))
    # What shows what is behind has no depth, and needs no opacity; the four corners are farther away than two pixels.
    assert np.count_nonzero(front.inverse_depth[rim]) <= 4
    assert (front.inverse_depth[SQUARE] > 0).all() and (front.opacity is None or (front.opacity[SQUARE][4:-4, 4:-4] == 255).all())
    assert (behind.inverse_depth.repeat(STEP, axis=0).repeat(STEP, axis=1)[rim] > 0).all()


def with_depth(*places: tuple[tuple[slice, slice], float]) -> tuple[DepthLayer, DepthLayer]:
    """The two layers of the square with other depths here and there."""
    view = frame().views[0]
    inverse = view.layers[0].inverse_depth.copy()
    for place, value in places:
        inverse[place] = value
    return layers(continue_behind(LayeredDepth((DepthView(CAMERA, (DepthLayer(inverse),), view.picture),)), 15))


def test_what_goes_on_is_the_wall_and_not_a_step_within_the_square() -> None:
    inner = (slice(48, 96), slice(64, 96))
    _, behind = with_depth((inner, 1.15 / NEAR))
    row = behind.inverse_depth[HEIGHT // STEP // 2, SQUARE[1].start // STEP : SQUARE[1].start // STEP + 10]
    np.testing.assert_allclose(row, 1 / FAR, rtol=0.01)


def test_the_wall_goes_on_through_a_slit_in_which_it_is_barely_seen() -> None:
    # Too narrow for a colour of its own; the two sides of the square lie within reach of either edge.
    slit = (slice(32, 112), slice(64, 66))
    _, behind = with_depth((slit, 1 / FAR))
    row = behind.inverse_depth[HEIGHT // STEP // 2, SQUARE[1].start // STEP : SQUARE[1].start // STEP + 12]
    assert (row > 0).all()


def test_a_gully_near_the_rim_is_filled_and_a_crumb_beside_it_left_out() -> None:
    gully, crumb = (slice(48, 96), slice(60, 63)), (slice(70, 71), slice(54, 55))
    front, _ = with_depth((gully, 0.85 / NEAR), (crumb, 0.6 / NEAR))
    assert (front.inverse_depth[gully][3:-3] > 0.95 / NEAR).all()
    assert not ((front.inverse_depth > 1.1 / FAR) & (front.inverse_depth < 0.8 / NEAR)).any()


def test_a_pixel_of_the_square_that_depth_puts_on_the_wall_joins_the_square() -> None:
    view = frame().views[0]
    inverse = view.layers[0].inverse_depth.copy()
    # Depth is a pixel behind the picture, as after a blur.
    inverse[32:112, 56] = 1 / FAR
    front, _ = layers(continue_behind(LayeredDepth((DepthView(CAMERA, (DepthLayer(inverse),), view.picture),)), 15))
    assert (front.inverse_depth[40:104, 56] > 0.8 / NEAR).all()


@pytest.mark.parametrize("yaw", [-15, -10, 10, 15])
def test_who_looks_past_the_edge_sees_no_hole(yaw: int) -> None:
    pose = Eye(yaw, 0, NEAR).pose()
    holes = []
    for angle in (0, 15):
        gaussians, _ = lift_and_prune(continue_behind(frame(), angle))
        _, light = draw_and_light(to_view(gaussians, pose), CAMERA)
        # Where the wall is seen from all these places.
        holes.append(float(np.mean(light[36:108, 42:150] > 0.5)))
    assert holes[0] > 0.1 and holes[1] < 0.003


def test_nothing_to_do_leaves_the_frame_as_it_is() -> None:
    layered = frame()
    assert continue_behind(layered, 0) is layered
    two = continue_behind(layered, 15)
    assert continue_behind(two, 15).views[0] is two.views[0], "several layers are the model's own"
    plain = LayeredDepth((DepthView(CAMERA, (DepthLayer(np.ones((HEIGHT, WIDTH), np.float32)),), layered.views[0].picture),))
    assert continue_behind(plain, 15).views[0] is plain.views[0]
    nothing = LayeredDepth((DepthView(CAMERA, (DepthLayer(np.zeros((HEIGHT, WIDTH), np.float32)),), layered.views[0].picture),))
    assert continue_behind(nothing, 15).views[0] is nothing.views[0] and pivot_depth(nothing.views[0]) == 1
    tiny = LayeredDepth(
        (DepthView(Camera(2, 1, 2, 2, 1, 0.5), (DepthLayer(np.ones((1, 2), np.float32)),), np.zeros((1, 2, 3), np.uint8)),)
    )
    assert continue_behind(tiny, 15).views[0] is tiny.views[0]


@pytest.mark.parametrize("step", [1 / 768, 1 / 64, 1 / 16])
def test_however_coarsely_it_is_coded_it_never_comes_before_the_front(step: float) -> None:
    rng = np.random.default_rng(0)
    view = frame().views[0]
    rough = view.layers[0].inverse_depth * rng.uniform(0.99, 1.01, (HEIGHT, WIDTH)).astype(np.float32)
    layered = continue_behind(LayeredDepth((DepthView(CAMERA, (DepthLayer(rough),), view.picture),)), 15)
    front, behind = (layer.inverse_depth for layer in decode_depth(encode_depth(layered, step=step)).views[0].layers)
    surface = np.where(front > 0, front, np.inf).reshape(HEIGHT // STEP, STEP, WIDTH // STEP, STEP).min(axis=(1, 3))
    assert np.count_nonzero(behind) == np.count_nonzero(layered.views[0].layers[1].inverse_depth)
    assert (behind[behind > 0] < surface[behind > 0]).all()


@pytest.mark.parametrize(("views", "layers"), [(1, 3), (3, 6), (4, 8), (7, 8)])
def test_a_frame_of_several_cameras_stays_within_the_layers_that_a_codec_holds(views: int, layers: int) -> None:
    view = frame().views[0]
    inverse = view.layers[0].inverse_depth.copy()
    inverse[48:96, 100:150] = 1 / 1.6  # Partly behind the square's other side: two surfaces are hidden.
    inverse[SQUARE] = 1 / NEAR
    each = DepthView(CAMERA, (DepthLayer(inverse),), view.picture)
    posed = [each, *(replace(each, pose=np.eye(3, 4, dtype=np.float32)) for _ in range(views - 1))]
    done = continue_behind(LayeredDepth(tuple(posed)), 15)
    assert done.layer_count == layers
    assert all(len(view.layers) <= 2 for view in done.views) or views == 1


@pytest.mark.parametrize("angle", [-1, 46, math.nan])
def test_an_angle_out_of_range_is_refused(angle: float) -> None:
    with pytest.raises(ValueError, match="angle_deg"):
        continue_behind(frame(), angle)


def test_wild_depth_costs_no_more_than_calm_depth_and_stays_in_range() -> None:
    rng = np.random.default_rng(0)
    inverse = rng.choice(np.array([0, 1e-5, 0.1, 1, 1e5, np.nan, np.inf], np.float32), (HEIGHT, WIDTH))
    picture = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    done = continue_behind(LayeredDepth((DepthView(CAMERA, (DepthLayer(inverse),), picture),)), 15)
    for layer in done.views[0].layers[1:]:
        assert np.isfinite(layer.inverse_depth).all() and (layer.inverse_depth >= 0).all()
