"""Calm: what stands still holds still, what moves is never smeared, a cut forgets, and a memory that is none harms nobody."""

import numpy as np
import pytest

from deployments.models.calm import GRID, MISSING_S, Memory, coarse_colors, hold_still, is_cut

HEIGHT, WIDTH = 288, 384


def picture(rng: np.random.Generator, shift: int = 0) -> np.ndarray:
    """Blocks of colours, with a camera's noise of ±2 levels."""
    blocks = np.random.default_rng(5).integers(20, 230, (12, 16, 3)).repeat(24, axis=0).repeat(24, axis=1)
    return np.clip(np.roll(blocks, shift, axis=1) + rng.integers(-2, 3, blocks.shape), 0, 255).astype(np.uint8)


def run(frames, strength: float = 1.0, elapsed_s: float = 0.1) -> list[np.ndarray]:
    memory, out = Memory(), []
    for inverse, rgb in frames:
        held, coarse, colors = hold_still(memory, inverse.astype(np.float32), coarse_colors(rgb), elapsed_s, strength)
        memory = Memory.from_bytes(Memory(1.0, b"", coarse, colors).to_bytes())
        out.append(held)
    return out


def flickering(count: int, rng: np.random.Generator):
    """A wall whose depth flickers by 1 % in patches of three dozen pixels."""
    for _ in range(count):
        patches = rng.normal(0, 0.01, (8, 10)).repeat(36, axis=0).repeat(39, axis=1)[:HEIGHT, :WIDTH]
        yield np.exp(patches) / 2, picture(rng)


def wander(frames: list[np.ndarray]) -> float:
    late = np.stack(frames[10:])
    return float(np.median(late.std(axis=0) / late.mean(axis=0)))


def test_a_still_scene_holds_still_by_the_strength_that_is_asked_for() -> None:
    none, half, full = (wander(run(flickering(40, np.random.default_rng(1)), strength)) for strength in (0, 0.5, 1))
    assert none > 0.008 and full < 0.005 and full < half < none


def test_it_goes_by_seconds_and_not_by_frames() -> None:
    quick, slow = (wander(run(flickering(40, np.random.default_rng(1)), 1.0, elapsed_s)) for elapsed_s in (0.05, 1.0))
    assert quick < 0.5 * slow


def test_what_moves_is_not_smeared() -> None:
    rng = np.random.default_rng(2)
    frames = []
    for index in range(12):
        inverse = np.full((HEIGHT, WIDTH), 0.4)
        rgb = picture(rng)
        left = 24 * index
        # Barely nearer than the wall: depth alone would not tell.
        inverse[72:216, left : left + 72] = 0.412
        rgb[72:216, left : left + 72] = (250, 250, 10)
        frames.append((inverse, rgb))
    for (true, _), held in zip(frames, run(frames), strict=True):
        inside = true > 0.41
        assert np.abs(held[inside] / true[inside] - 1).max() < 0.005


def test_another_scene_is_shown_as_it_is_at_once() -> None:
    rng = np.random.default_rng(3)
    frames = [(np.full((HEIGHT, WIDTH), 0.5), picture(rng))] * 5 + [(np.full((HEIGHT, WIDTH), 0.51), picture(rng, 120))]
    assert np.abs(run(frames)[-1] - 0.51).max() < 0.001


def test_another_picture_is_a_cut_and_neither_another_exposure_nor_somebody_who_moves() -> None:
    rng = np.random.default_rng(8)
    before = picture(rng)
    memory = Memory(1.0, b"", np.full(GRID, 0.5, np.float32), coarse_colors(before))
    walked = before.copy()
    walked[40:, 100:240] = 128
    assert not is_cut(Memory(), coarse_colors(before))
    assert not any(
        is_cut(memory, coarse_colors(rgb))
        for rgb in (picture(rng), np.clip(before.astype(int) - 15, 0, 255).astype(np.uint8), walked)
    )
    assert is_cut(memory, coarse_colors(picture(rng, 120)))


def test_strength_0_gives_the_frame_itself() -> None:
    inverse, rgb = np.full((HEIGHT, WIDTH), 0.5, np.float32), picture(np.random.default_rng(4))
    memory = Memory(1.0, b"", np.full(GRID, 0.51, np.float32), np.zeros((*GRID, 3), np.float32))
    assert hold_still(memory, inverse, coarse_colors(rgb), 0.1, 0.0)[0] is inverse


def test_pixels_without_depth_have_none_afterwards_and_none_is_made_up() -> None:
    rng = np.random.default_rng(6)
    inverse = np.full((HEIGHT, WIDTH), 0.5)
    inverse[:120] = 0
    frames = run([(inverse, picture(rng)) for _ in range(3)])
    assert (frames[-1][:120] == 0).all() and np.isfinite(frames[-1]).all() and (frames[-1][120:] > 0).all()


def test_the_memory_comes_back_from_its_bytes_and_is_small() -> None:
    rng = np.random.default_rng(7)
    memory = Memory(
        12.5, b"reference", rng.random(GRID).astype(np.float32), (rng.integers(0, 2041, (*GRID, 3)) / 8).astype(np.float32)
    )
    state = memory.to_bytes()
    again = Memory.from_bytes(state)
    assert len(state) < 32_000 and (again.at_s, again.reference) == (12.5, b"reference")
    np.testing.assert_array_equal(again.inverse, memory.inverse)
    np.testing.assert_array_equal(again.colors, memory.colors)


@pytest.mark.parametrize("cut", [0, 1, 11, 12, 15, 40, -1])
def test_bytes_that_are_no_memory_are_forgotten(cut: int) -> None:
    state = Memory(1.0, b"r" * 20, np.ones(GRID, np.float32), np.ones((*GRID, 3), np.float32)).to_bytes()
    found = Memory.from_bytes(state[:cut])
    assert found.inverse is None and found.colors is None
    assert Memory.from_bytes(b"zz" + state[2:]) == Memory()


def test_a_clock_that_is_unknown_stands_still_or_jumps_counts_as_a_usual_frame() -> None:
    assert Memory().elapsed_s(5.0) == MISSING_S and Memory(5.0).elapsed_s(4.0) == MISSING_S
    assert Memory(5.0).elapsed_s(5.25) == 0.25 and Memory(5.0).elapsed_s(500.0) == 2.0
