"""Depth of several views to one frame of Gaussians: each is lifted in its own camera, then moved to the first one's."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deployments.splats.camera import Camera
from deployments.splats.gaussians import Gaussians
from deployments.splats.layer_lifting import lift_layers
from deployments.splats.layers import DepthLayer, DepthView, LayeredDepth

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
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where((depth > 0) & np.isfinite(depth), np.float32(1) / depth, np.float32(0))
    views = tuple(
        DepthView(camera, (DepthLayer(w),), picture, None if i == 0 else np.asarray(pose, np.float32))
        for i, (w, picture, camera, pose) in enumerate(zip(inverse, pictures, cameras, poses, strict=True))
    )
    return lift_layers(LayeredDepth(views), kind)
