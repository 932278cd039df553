"""What headers of several codecs have in common: numbers within bounds, and a view's size, lens and pose.

A view's begin, 68 bytes, little-endian: width and height, u16 × 2; fx, fy, cx, cy, pixels, f32 × 4, fx and fy above 0; pose, row by
row, first camera to this one, f32 [3, 4], of which the first view's is the identity.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from deployments.splats.camera import Camera
from deployments.splats.errors import BadBytes

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

LENS = struct.Struct("<2H4f12f")
MAX_PIXELS = 1 << 20
"""Of one plane."""

TINY, HUGE = float(np.finfo(np.float32).tiny), 1e12
"""Bounds of float32 fields: what is smaller has lost digits, what is larger is no length of this world."""


def pack_lens(camera: Camera, pose: F32 | None) -> bytes:
    """The 68 bytes; a pose of None is the identity."""
    place = np.eye(3, 4, dtype=np.float32) if pose is None else pose
    return LENS.pack(camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy, *place.ravel().tolist())


def read_lens(codec: str, data: U8, at: int, is_first: bool) -> tuple[Camera, F32]:
    """What the 68 bytes from ``at`` on say of a view: its camera, and its pose, float32 [3, 4].

    Raises:
        BadBytes: A number out of its range.
    """
    width, height, fx, fy, cx, cy, *numbers = LENS.unpack(data[at : at + LENS.size].tobytes())
    check_pixels(codec, at, width, height)
    for i, (name, value, low) in enumerate((("fx", fx, TINY), ("fy", fy, TINY), ("cx", cx, -HUGE), ("cy", cy, -HUGE))):
        check_range(codec, at + 4 + 4 * i, name, value, low, HUGE)
    pose = np.array(numbers, np.float32).reshape(3, 4)
    # A rotation to within float32's rounding of a product of two.
    turned = pose[:, :3].astype(np.float64)
    good = bool((np.abs(pose) <= HUGE).all()) and bool((np.abs(turned @ turned.T - np.eye(3)) < 1e-3).all())
    if not good or np.linalg.det(turned) < 0 or (is_first and (pose != np.eye(3, 4)).any()):
        raise BadBytes(codec, at + 20, "a rotation and a translation, none for the first view", str(pose.tolist()))
    return Camera(width, height, fx, fy, cx, cy), pose


def check_range(codec: str, at: int, name: str, value: float, low: float, high: float) -> None:
    """Refuse the number at byte ``at`` unless it is in its range; NaN never is.

    Raises:
        BadBytes: Naming it.
    """
    if not low <= value <= high:
        raise BadBytes(codec, at, f"a {name} of {low:g} to {high:g}", f"{value}")


def check_pixels(codec: str, at: int, width: int, height: int) -> None:
    """Refuse a plane of no pixels or of more than ``MAX_PIXELS``.

    Raises:
        BadBytes: Naming the size.
    """
    if not 1 <= width * height <= MAX_PIXELS:
        raise BadBytes(codec, at, f"1 to {MAX_PIXELS} pixels", f"{width}×{height}")
