"""A network sees standing cameras elsewhere in every frame; what they show stands still, and follows where they are moved."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from deployments.models.rig import Rig, steady
from tests.unit.rig import turned

F32 = NDArray[np.float32]
STANDING = np.stack([turned(0.0), turned(-14.0, 0.5, -0.1), turned(150.0, -0.45, 0.15, 4.0)])
DEPTH, FPS = 2.0, 10


def noisy(poses: NDArray[np.float64], rng: np.random.Generator, turn_deg: float = 0.5, shift: float = 0.01) -> F32:
    """The poses as a network sees them: the first one's is exact, as it is the origin."""
    out = poses.copy()
    for i in range(1, len(poses)):
        a = np.radians(rng.normal(0, turn_deg, 3))
        wobble = turned(np.degrees(a[0]), 0, 0, np.degrees(a[1]))[:, :3]
        out[i, :, :3] = wobble @ poses[i][:, :3]
        out[i, :, 3] += rng.normal(0, shift, 3)
    return out.astype(np.float32)


def run(frames: list[F32], state: bytes = b"", fps: float = FPS) -> tuple[list[F32], bytes]:
    """The poses to use; the state is carried as bytes, as the session carries it."""
    out = []
    for i, poses in enumerate(frames):
        poses, rig = steady(Rig.from_bytes(state), poses, DEPTH, 100 + i / fps)
        state = rig.to_bytes()
        out.append(poses)
    return out, state


def places(poses: list[F32], camera: int = 1) -> NDArray[np.float64]:
    """Where a point at the scene's depth in the middle of a camera's picture lies in the first one's frame. [frames, 3]."""
    return np.array([(np.array([0, 0, DEPTH]) - p[camera, :, 3]) @ p[camera, :, :3].astype(np.float64) for p in poses])


def shake(poses: list[F32], camera: int = 1) -> float:
    """From frame to frame, root mean square, lengths."""
    return float(np.sqrt((np.diff(places(poses, camera), axis=0) ** 2).sum(axis=1).mean()))


@pytest.mark.parametrize("fps", [5, 10, 30])
@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_cameras_on_tripods_shake_less_than_a_tenth_of_what_the_network_sees(fps: int, scale: float) -> None:
    rng = np.random.default_rng(1)
    seen = [noisy(STANDING, rng, 0.5 * scale, 0.01 * scale) for _ in range(20 * fps)]
    used, state = run(seen, fps=fps)
    settled = slice(4 * fps, None)
    for camera in (1, 2):
        assert shake(used[settled], camera) < (0.15 if fps == 5 else 0.1) * shake(seen[settled], camera)
        # And they stand where they are.
        off = places(used[settled], camera) - places([STANDING.astype(np.float32)], camera)
        assert np.abs(off.mean(axis=0)).max() < 0.02 * scale
    assert len(state) == 9 + 2 * 65


def test_one_odd_frame_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    frames = [noisy(STANDING, rng) for _ in range(60)]
    odd = frames[40].copy()
    odd[1] = turned(30.0, 1.0)
    used, _ = run([*frames[:40], odd, *frames[41:]])
    assert np.linalg.norm(places(used)[40] - places(used)[39]) < 1e-6
    assert shake(used[30:]) < 0.2 * shake(frames[30:])


def test_a_camera_that_was_moved_is_there_with_the_second_frame_and_settles_again() -> None:
    rng = np.random.default_rng(3)
    moved = STANDING.copy()
    moved[1] = turned(-25.0, 0.8)
    before, after = [noisy(STANDING, rng) for _ in range(50)], [noisy(moved, rng) for _ in range(80)]
    used, _ = run(before + after)
    there = places([moved.astype(np.float32)])[0]
    assert np.linalg.norm(places(used)[51] - there) < 0.1
    assert np.linalg.norm(places(used)[-20:].mean(axis=0) - there) < 0.02
    assert shake(used[90:]) < 0.2 * shake((before + after)[90:])
    # The other camera has nothing to do with it.
    assert shake(used[40:], 2) < 0.2 * shake((before + after)[40:], 2)


@pytest.mark.parametrize("deg_per_s", [2.0, 10.0, 60.0])
def test_a_camera_in_a_hand_is_followed_within_some_frames(deg_per_s: float) -> None:
    rng = np.random.default_rng(4)
    truth = []
    for i in range(60):
        poses = STANDING.copy()
        poses[1] = turned(-14.0 + deg_per_s * i / FPS, 0.5, -0.1)
        truth.append(poses)
    used, _ = run([noisy(poses, rng, 0.1, 0.002) for poses in truth])
    off = np.linalg.norm(places(used) - places([poses.astype(np.float32) for poses in truth]), axis=1)
    step = float(np.linalg.norm(np.diff(places([poses.astype(np.float32) for poses in truth[:2]]), axis=0)))
    assert np.median(off[10:]) < 4 * step + 0.02


def test_who_leaves_and_who_joins_does_not_move_the_others() -> None:
    rng = np.random.default_rng(5)
    _, state = run([noisy(STANDING, rng) for _ in range(60)])
    standing = Rig.from_bytes(state)
    # The second camera leaves: the third is now in its place, and still steady.
    (used, *_), state = run([noisy(STANDING[[0, 2]], rng)], state)
    left = Rig.from_bytes(state)
    assert len(left.stands) == 1 and left.stands[0].frames > 10
    truth = places([STANDING.astype(np.float32)], 2)[0]
    assert np.linalg.norm(places([used])[0] - truth) < 0.03
    # A camera joins behind it, and is where it is seen.
    seen = noisy(STANDING[[0, 2, 1]], rng)
    (used, *_), state = run([seen], state)
    assert Rig.from_bytes(state).stands[0].frames > 10 and Rig.from_bytes(state).stands[1].frames == 1
    np.testing.assert_allclose(used[2], seen[2], atol=1e-6)
    assert standing.stands[1].frames > 10


def test_one_camera_and_what_is_no_pose_are_left_alone() -> None:
    rig = Rig.from_bytes(run([STANDING.astype(np.float32)])[1])
    one = STANDING[:1].astype(np.float32)
    assert steady(rig, one, DEPTH, 1.0) == (one, rig)
    broken = STANDING.astype(np.float32)
    broken[1, 0, 0] = np.nan
    assert steady(rig, broken, DEPTH, 1.0)[1] is rig
    assert steady(rig, STANDING.astype(np.float32), float("nan"), 1.0)[1] is rig


@given(st.binary(max_size=160) | st.binary(min_size=65, max_size=65).map(lambda data: b"\1" + bytes(8) + data))
def test_any_bytes_are_a_rig_or_an_empty_one_and_can_be_gone_on_from(state: bytes) -> None:
    rig = Rig.from_bytes(state)
    poses, after = steady(rig, STANDING.astype(np.float32), DEPTH, 5.0)
    assert np.isfinite(poses).all() and Rig.from_bytes(after.to_bytes()).at_s == 5.0
    turns = poses[:, :, :3].astype(np.float64)
    np.testing.assert_allclose(turns @ turns.swapaxes(1, 2), np.broadcast_to(np.eye(3), (3, 3, 3)), atol=1e-5)


@given(st.floats(-180, 180), st.floats(-89, 89), st.floats(-5, 5))
def test_a_rig_survives_the_wire_at_any_angle(yaw: float, pitch: float, x: float) -> None:
    poses = np.stack([turned(0.0), turned(yaw, x, 0.0, pitch)]).astype(np.float32)
    used, rig = steady(Rig(), poses, DEPTH, 1.0)
    np.testing.assert_allclose(used, poses, atol=2e-6)
    again, _ = steady(Rig.from_bytes(rig.to_bytes()), poses, DEPTH, 1.1)
    np.testing.assert_allclose(again, poses, atol=4e-6)
