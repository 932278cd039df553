"""What a client says of its cameras, checked, and brought into the first camera's frame. Pure.

Nothing is trusted: numbers are finite and within bounds, rotations are rotations, and after :func:`relative_poses` they are so to
float32's last digits, however roughly a client has rounded them.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deployments.splats.camera import Camera
from deployments.stream.errors import CamerasRefused, DepthRefused, FrameError
from deployments.stream.frames import Capture
from deployments.stream.messages import KnownCamera

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

FARTHEST = 1e6
"""Of a camera's place, in the world's unit: in metres, no two cameras of one scene are farther apart."""
_ROUNDING = 1e-3
"""What R·Rᵀ may differ from the identity by: three digits are as few as anyone writes down."""
_SHORTEST, _LONGEST = 0.05, 1000.0
"""Focal lengths over the picture's longer side: 169° and 0.06° of view."""
FINEST_M, COARSEST_M = 1e-6, 1.0
"""A step of depth, metres."""


def why_not(capture: Capture) -> FrameError | None:
    """What is wrong with a capture's cameras and depths, as far as can be told without decoding anything; None: nothing."""
    views, cameras, depths, unit_m = len(capture.views), capture.cameras, capture.depths, capture.depth_unit_m
    if cameras and len(cameras) != views:
        return CamerasRefused(f"expected one for each of the {views} views, got {len(cameras)}")
    for index, camera in enumerate(cameras):
        if reason := _why_not(camera):
            return CamerasRefused(f"camera {index}: {reason}")
    poses = sum(camera.pose is not None for camera in cameras)
    if poses not in (0, len(cameras)):
        return CamerasRefused(f"expected a pose of every camera or of none, got {poses} of {len(cameras)}")
    if not depths:
        return None
    if len(depths) != views:
        return DepthRefused(f"expected one for each of the {views} views, got {len(depths)}")
    if not all(depths):
        return DepthRefused(f"depth {depths.index(b'')} is empty: expected a 16-bit grey PNG for each view")
    if not cameras:
        return DepthRefused("expected 'cameras' along with 'depths', as depth without a focal length has no shape")
    if views > 1 and not poses:
        return DepthRefused(f"expected a pose of each of the {views} cameras, as nothing else relates their depths")
    if not FINEST_M <= unit_m <= COARSEST_M:  # NaN fails, too.
        return DepthRefused(f"'depth_unit_m': expected {FINEST_M:g} to {COARSEST_M:g}, got {unit_m:g}")
    return None


def _why_not(camera: KnownCamera) -> str | None:
    for name, value in (("fx", camera.fx), ("fy", camera.fy), ("cx", camera.cx), ("cy", camera.cy)):
        if not (math.isfinite(value) and (name in ("cx", "cy") or value > 0)):
            return f"{name!r}: expected a number of pixels{'' if name[0] == 'c' else ' above 0'}, got {value:g}"
    if camera.pose is None:
        return None
    if len(camera.pose) != 12:  # From a program; a message has been checked.
        return f"'pose': expected 12 numbers, got {len(camera.pose)}"
    pose = _matrix(camera)
    if not (np.abs(pose) <= FARTHEST).all():
        return f"'pose': expected numbers of at most {FARTHEST:g}, got {camera.pose}"
    turn = pose[:, :3]
    if np.abs(turn @ turn.T - np.eye(3)).max() > _ROUNDING or np.linalg.det(turn) < 0:
        return f"'pose': expected a rotation in its first three columns (world to camera, row by row), got {turn.tolist()}"
    return None


def camera_of_view(known: KnownCamera, index: int, width: int, height: int) -> Camera:
    """The intrinsics of a view, now that its size is known.

    Args:
        known: What the client says.
        index: Which view it is of, for the refusal.
        width, height: Of the view as it was sent, upright, pixels.

    Raises:
        CamerasRefused: If they are no intrinsics of such a picture.
    """
    longest = max(width, height)
    for name, value in (("fx", known.fx), ("fy", known.fy)):
        if not _SHORTEST * longest <= value <= _LONGEST * longest:
            low, high = _SHORTEST * longest, _LONGEST * longest
            raise CamerasRefused(
                f"camera {index}: {name!r}: expected {low:g} to {high:g} pixels for a picture of {width}×{height}, got {value:g}"
            )
    for name, value, side in (("cx", known.cx, width), ("cy", known.cy, height)):
        # A part cut out of a picture may not hold its own centre.
        if not -side <= value <= 2 * side:
            raise CamerasRefused(
                f"camera {index}: {name!r}: expected {-side} to {2 * side} pixels for a picture of {width}×{height}, got {value:g}"
            )
    return Camera(width, height, known.fx, known.fy, known.cx, known.cy)


def relative_poses(cameras: Sequence[KnownCamera]) -> F32 | None:
    """First camera to each camera; None if there are no poses.

    Args:
        cameras: What :func:`why_not` has let pass.

    Returns:
        Exactly the identity for the first one. float32 [V, 3, 4].
    """
    if not cameras or any(camera.pose is None for camera in cameras):
        return None
    poses = [_matrix(camera) for camera in cameras]
    turns = [_rotation(pose[:, :3]) for pose in poses]
    relative = np.tile(np.eye(3, 4), (len(poses), 1, 1))
    for index in range(1, len(poses)):
        turn = turns[index] @ turns[0].T
        relative[index] = np.column_stack((turn, poses[index][:, 3] - turn @ poses[0][:, 3]))
    return np.asarray(relative, np.float32)


def _matrix(camera: KnownCamera) -> F64:
    return np.array(camera.pose, np.float64).reshape(3, 4)


def _rotation(turn: F64) -> F64:
    """The rotation nearest to a matrix that is nearly one (Schönemann 1966). [3, 3]."""
    u, _, vt = np.linalg.svd(turn)
    nearest: F64 = u @ vt
    return nearest
