"""Inverse depth of one view or several as layered depth: each in its own camera, with its pose to the first one's."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deployments.splats.camera import Camera
from deployments.splats.layers import DepthLayer, DepthView, LayeredDepth

F32 = NDArray[np.float32]


def layered_depth(
    inverse: F32, pictures: NDArray[np.uint8], cameras: Sequence[Camera], poses: F32, scale: float = 1.0
) -> LayeredDepth:
    """One layer a view.

    Args:
        inverse: Of the z-depth in each view's own camera; exactly 0 where there is no surface. float32 [V, H, W].
        pictures: sRGB of the same pixels. uint8 [V, H, W, 3].
        cameras: Intrinsics of each view.
        poses: First camera to each camera, rotation and translation in the depth's unit. float32 [V, 3, 4].
        scale: What the model's own depth was multiplied by.
    """
    views = tuple(
        DepthView(camera, (DepthLayer(w),), picture, None if i == 0 else np.asarray(pose, np.float32))
        for i, (w, picture, camera, pose) in enumerate(zip(inverse, pictures, cameras, poses, strict=True))
    )
    return LayeredDepth(views, scale)
