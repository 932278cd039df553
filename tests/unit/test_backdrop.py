"""The coarse third layer: where surfaces at several depths are hidden, behind all of them, in the farthest one's colour."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.splatter import draw_and_light
from deployments.scene.clip import Eye
from deployments.splats.backdrop import make_backdrop
from deployments.splats.behind import continue_behind
from deployments.splats.camera import Camera
from deployments.splats.layer_lifting import lift_and_prune, to_view
from deployments.splats.layers import DepthLayer, DepthView, LayeredDepth

WIDTH, HEIGHT = 192, 144
CAMERA = Camera(WIDTH, HEIGHT, 166.0, 166.0, WIDTH / 2, HEIGHT / 2)
NEAR, MIDDLE, FAR = 1.0, 1.6, 5.0
RED, GREEN, BLUE = (220, 40, 30), (30, 160, 60), (30, 60, 200)


def bars() -> LayeredDepth:
    """Red bars before a green board that has a window, through which a blue wall is seen."""
    inverse = np.full((HEIGHT, WIDTH), 1 / FAR, np.float32)
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    picture[:] = BLUE
    board = np.zeros((HEIGHT, WIDTH), bool)
    board[16:128, 24:168] = True
    board[48:96, 72:120] = False
    inverse[board], picture[board] = 1 / MIDDLE, GREEN
    for left in (40, 66, 92, 118, 144):
        inverse[24:120, left : left + 12], picture[24:120, left : left + 12] = 1 / NEAR, RED
    return LayeredDepth((DepthView(CAMERA, (DepthLayer(inverse),), picture),))


def test_who_looks_past_several_things_sees_fewer_holes_with_it() -> None:
    done = continue_behind(bars(), 15)
    (view,) = done.views
    assert len(view.layers) == 3
    without = LayeredDepth((replace(view, layers=view.layers[:2]),))
    holes = []
    for layered in (without, done):
        gaussians, _ = lift_and_prune(layered)
        lights = [draw_and_light(to_view(gaussians, Eye(yaw, 0, NEAR).pose()), CAMERA)[1] for yaw in (-15, 15)]
        holes.append(float(np.mean([light[36:108, 60:132] > 0.5 for light in lights])))
    assert holes[0] > 0.002 and holes[1] < holes[0] / 3


def test_it_lies_behind_all_that_is_around_and_has_the_farthest_ones_colour() -> None:
    (view,) = continue_behind(bars(), 15).views
    front, behind, backdrop = view.layers
    assert backdrop.inverse_depth.shape == (HEIGHT // 8, WIDTH // 8)
    assert backdrop.colors is not None
    shown = backdrop.inverse_depth > 0
    for layer in (front, behind):
        per = layer.inverse_depth.shape[0] // backdrop.inverse_depth.shape[0]
        cells = np.where(layer.inverse_depth > 0, layer.inverse_depth, np.inf)
        farthest = cells.reshape(HEIGHT // 8, per, WIDTH // 8, per).min(axis=(1, 3))
        assert (backdrop.inverse_depth[shown] < farthest[shown]).all()
    assert np.abs(backdrop.colors[shown].astype(int) - BLUE).max() <= 40


def test_one_surface_behind_another_needs_none() -> None:
    far = np.full((72, 96), 1 / FAR, np.float32)
    behind = np.zeros_like(far)
    behind[20:50, 30:40] = 1 / FAR
    colors = np.zeros((72, 96, 3), np.uint8)
    assert make_backdrop(far, colors.astype(np.float32), behind, colors) is None


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (8, 61)])
def test_grids_that_it_does_not_divide_are_covered_to_the_last_cell(shape: tuple[int, int]) -> None:
    far = np.full(shape, 1 / FAR, np.float32)
    behind = np.full(shape, 1 / FAR, np.float32)
    behind[-1, -1] = 1 / MIDDLE
    colors = np.full((*shape, 3), 90, np.uint8)
    found = make_backdrop(far, colors.astype(np.float32), behind, colors)
    if shape == (1, 1):
        assert found is None
        return
    assert found is not None
    inverse, filled = found
    assert inverse.shape == (max(shape[0] // 4, 1), max(shape[1] // 4, 1)) and inverse[-1, -1] == pytest.approx(1 / FAR / 1.01)
    assert (filled == 90).all()
