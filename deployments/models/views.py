"""Depth of several views to one frame of Gaussians: each is lifted in its own camera, then moved to the first one's."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deployments.splats import lifting
from deployments.splats.camera import Camera
from deployments.splats.gaussians import Gaussians

F32 = NDArray[np.float32]


def lift_views(
    depth: F32, pictures: NDArray[np.uint8], cameras: Sequence[Camera], poses: F32, kind: Literal["lifted", "points"]
) -> Gaussians:
    """One Gaussian a pixel of every view.

    Args:
        depth: z-depth in each view's own camera. float32 [V, H, W].
        pictures: sRGB of the same pixels. uint8 [V, H, W, 3].
        cameras: Intrinsics of each view.
        poses: First camera to each camera, rotation and translation in the depth's unit. float32 [V, 3, 4].
        kind: What ``lift_depth`` makes of it.

    Returns:
        V·H·W Gaussians in the first camera's OpenCV frame, ``grid=(V, H, W)``.
    """
    views = [lifting.lift_depth(d, picture, camera, kind) for d, picture, camera in zip(depth, pictures, cameras, strict=True)]
    if len(views) == 1:
        return views[0]
    moved = [views[0], *(_to_first(view, pose) for view, pose in zip(views[1:], poses[1:], strict=True))]
    return Gaussians(
        means=np.concatenate([view.means for view in moved]),
        scales=np.concatenate([view.scales for view in moved]),
        quats=np.concatenate([view.quats for view in moved]),
        opacities=np.concatenate([view.opacities for view in moved]),
        sh=np.concatenate([view.sh for view in moved]),
        grid=(len(views), depth.shape[1], depth.shape[2]),
    )


def _to_first(view: Gaussians, pose: F32) -> Gaussians:
    """The Gaussians moved by the inverse of ``pose``; colours of degree 0 have no direction to turn."""
    rotation, translation = pose[:, :3], pose[:, 3]
    quats = _turn(_quat(rotation.T.astype(np.float64)), view.quats)
    means = np.asarray((view.means - translation) @ rotation, np.float32)
    return Gaussians(means, view.scales, quats, view.opacities, view.sh, view.grid)


def _turn(a: NDArray[np.float64], b: F32) -> F32:
    """Hamilton product a·b of wxyz quaternions. [4], [N, 4] → [N, 4]."""
    w, x, y, z = a
    left = np.array([[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]])
    return np.ascontiguousarray(b @ left.T.astype(np.float32))


def _quat(m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit wxyz quaternion of a rotation matrix: the eigenvector of Bar-Itzhack's matrix (2000), stable at every angle."""
    (a, b, c), (d, e, f), (g, h, i) = m
    k = np.array(
        [
            [a + e + i, h - f, c - g, d - b],
            [h - f, a - e - i, d + b, c + g],
            [c - g, d + b, e - a - i, h + f],
            [d - b, c + g, h + f, i - a - e],
        ]
    )
    vector: NDArray[np.float64] = np.linalg.eigh(k)[1][:, -1]
    return vector
