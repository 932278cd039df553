"""The capture camera, and cameras beside it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Camera:
    """Pinhole intrinsics of the capture camera, in pixels of the picture the model worked on.

    Attributes:
        width: Width of that picture, pixels.
        height: Its height, pixels.
        fx: Horizontal focal length, pixels.
        fy: Vertical focal length, pixels.
        cx: Principal point from the left edge, pixels; pixel centres lie at +0.5.
        cy: Principal point from the top edge, pixels.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float


@dataclass(frozen=True, slots=True)
class PosedCamera:
    """One of several cameras that see a scene.

    Attributes:
        camera: Its intrinsics.
        pose: Rotation and translation from the first camera's frame to this one's; None: they are the same. float32 [3, 4].
    """

    camera: Camera
    pose: NDArray[np.float32] | None = None
