"""Coordinate frames: from the OpenCV camera frame, which everything here uses, to the OpenGL one and back.

============  =======  =====  ========  =========================================================
frame         x        y      z         used by
============  =======  =====  ========  =========================================================
``opencv``    right    down   forward   COLMAP, 3DGS training and its PLY files, this project
``opengl``    right    up     back      three.js, Blender's camera, glTF viewers
============  =======  =====  ========  =========================================================

The two differ by half a turn about x, (x, y, z) → (x, −y, −z), which is its own inverse and keeps handedness: one function
goes both ways. It multiplies a rotation from the left by the quaternion (0, 1, 0, 0), keeps scales and opacities, and keeps every
spherical harmonic's magnitude, with the sign of its polynomial in (x, −y, −z).
"""

from typing import Literal

import numpy as np

from deployments.splats.gaussians import FloatArray, Gaussians

Frame = Literal["opencv", "opengl"]
FRAMES: tuple[Frame, ...] = ("opencv", "opengl")

# Signs of x, y, z; of the harmonics in 3DGS's order: 1 | y z x | xy yz 3z²−1 xz x²−y².
_AXES = np.array([1, -1, -1], np.float32)
_HARMONICS = np.array([1, -1, -1, 1, -1, 1, 1, -1, 1], np.float32)


def half_turn_x(gaussians: Gaussians) -> Gaussians:
    """The same Gaussians in the other frame: OpenCV → OpenGL, or OpenGL → OpenCV."""
    k = gaussians.sh.shape[1]
    return Gaussians(
        means=gaussians.means * _AXES,
        scales=gaussians.scales,
        quats=_turn_quats(gaussians.quats),
        opacities=gaussians.opacities,
        sh=gaussians.sh * _HARMONICS[:k, None],
        grid=gaussians.grid,
    )


def to_frame(gaussians: Gaussians, frame: Frame) -> Gaussians:
    """The Gaussians, which are in the OpenCV frame, in ``frame``.

    Raises:
        ValueError: If the frame is unknown.
    """
    if frame not in FRAMES:
        raise ValueError(f"frame: expected one of {', '.join(FRAMES)}, got {frame!r}")
    return gaussians if frame == "opencv" else half_turn_x(gaussians)


def _turn_quats(quats: FloatArray) -> FloatArray:
    """(0, 1, 0, 0) · q for wxyz quaternions: i·(w + xi + yj + zk) = −x + wi − zj + yk. float32 [N, 4]."""
    w, x, y, z = quats.T
    return np.ascontiguousarray(np.stack([-x, w, -z, y], axis=1))
