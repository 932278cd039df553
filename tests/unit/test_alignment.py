"""The scale of a session stays where it is: scripted networks whose scale flickers, scenes that change, people who move."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.models.alignment import REFERENCE_SHAPE, Reference, align

FPS = 10


def scene(seed: int = 0) -> NDArray[np.float32]:
    """Log depth of a room: float32 REFERENCE_SHAPE."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: REFERENCE_SHAPE[0], : REFERENCE_SHAPE[1]]
    room = np.log(2.0 + np.sin(rng.uniform(0, 6) + x / rng.uniform(2, 6)) + 0.1 * (11 - y) * rng.uniform(0, 2))
    return (room + rng.normal(0, 0.3, REFERENCE_SHAPE)).astype(np.float32)


def run(frames: list[NDArray[np.float32]], state: bytes = b"") -> list[float]:
    """The factor of each frame, its state carried as bytes, as the session carries it."""
    factors = []
    for log_depth in frames:
        factor, reference = align(Reference.from_bytes(state), log_depth)
        state = reference.to_bytes() if reference else b""
        factors.append(factor)
    return factors


def test_a_scale_that_flickers_by_15_percent_comes_out_within_2() -> None:
    rng = np.random.default_rng(1)
    flicker = rng.uniform(0.85, 1.15, 100)
    frames = [scene() + np.float32(math.log(f)) + rng.normal(0, 0.03, REFERENCE_SHAPE).astype(np.float32) for f in flicker]
    steps = np.array(run(frames)) * flicker
    assert np.ptp(flicker) > 0.28
    assert np.abs(steps / np.median(steps) - 1).max() <= 0.02
    assert np.abs(np.diff(steps) / steps[1:]).max() <= 0.02


def test_someone_who_moves_in_a_third_of_the_picture_does_not_move_the_room() -> None:
    frames = []
    for i in range(60):
        log_depth = scene()
        log_depth[3:, 5:11] = math.log(1.2 + 0.5 * math.sin(i / 5))
        frames.append(log_depth)
    assert np.abs(np.array(run(frames)) - 1).max() <= 0.02


def test_someone_who_walks_through_and_away_leaves_no_drift_behind() -> None:
    rng = np.random.default_rng(1)
    frames = []
    for i in range(50):
        log_depth = scene() + rng.normal(0, 0.01, REFERENCE_SHAPE).astype(np.float32)
        left = i // 2 - 8
        log_depth[2:, max(left, 0) : max(left + 7, 0)] = math.log(0.8)
        frames.append(log_depth)
    assert np.abs(np.array(run(frames)) - 1).max() <= 0.005


def test_another_scene_locks_again_within_a_second() -> None:
    before, after = [scene(1)] * 30, [scene(2) + np.float32(0.7)] * FPS
    factors = run([f + np.float32(0.1 * (-1) ** i) for i, f in enumerate(before)] + after)
    assert factors[32:] == pytest.approx([1.0] * 8, abs=1e-6), "the new scene is at the network's own scale, and still"


def test_a_hand_before_the_camera_for_one_frame_changes_nothing() -> None:
    hand = np.full(REFERENCE_SHAPE, math.log(0.2), np.float32)
    calm = run([scene()] * 10 + [hand] + [scene()] * 10)
    assert np.abs(np.array(calm) - 1).max() < 1e-3


def test_the_networks_own_scale_wins_in_the_long_run() -> None:
    factors = run([scene() + np.float32(0.15)] + [scene()] * 400)
    assert factors[1] == pytest.approx(math.exp(0.15), rel=0.01) and factors[-1] == pytest.approx(1.0, abs=0.01)


def test_the_state_is_small_and_anything_else_is_no_state() -> None:
    _, reference = align(None, scene())
    assert reference is not None
    state = reference.to_bytes()
    assert len(state) < 1000
    again = Reference.from_bytes(state)
    assert again is not None
    np.testing.assert_array_equal(again.log_depth, reference.log_depth)
    for other in (b"", b"x", state[:-1], state + b"x", b"zz" + state[2:]):
        assert Reference.from_bytes(other) is None


def test_a_frame_without_a_depth_keeps_the_last_scale() -> None:
    nothing = np.full(REFERENCE_SHAPE, np.nan, np.float32)
    assert run([nothing]) == [1.0]
    factors = run([scene(), scene() + np.float32(0.1), nothing])
    assert factors[2] == pytest.approx(factors[1], rel=1e-6)
