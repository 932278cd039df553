"""The contents of the original protocol's two replies: the standard PLY, and coloured points, in the frames that its pages expect.

Neither page turns what it gets. The one for PLY puts it into three.js's world (x right, y up, z towards the viewer), in front of a
camera at (0, 0, 3) that looks along −z: with the capture camera moved there, the picture is seen from where it was taken. The one
for points negates z itself, so y points up and z forward, which is a left-handed frame.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deployments.splats.codecs.ply import PlyCodec
from deployments.splats.codecs.points import PointsCodec
from deployments.splats.gaussians import Gaussians

PLY = "original_ply"
POINTS = "original_points"

_CAMERA = np.array([0, 0, 3], np.float32)
_Y_UP = np.array([1, -1, 1], np.float32)
_PLY, _POINTS = PlyCodec(frame="opengl"), PointsCodec()


def encode_ply(gaussians: Gaussians) -> NDArray[np.uint8]:
    """A PLY for a camera at (0, 0, 3) in three.js's world. Raises what :meth:`PlyCodec.encode` does."""
    return _PLY.encode(replace(gaussians, means=gaussians.means - _CAMERA))


def encode_points(gaussians: Gaussians) -> NDArray[np.uint8]:
    """Points with x right, y up, z forward, coded as ``points``. Raises what :meth:`PointsCodec.encode` does."""
    return _POINTS.encode(replace(gaussians, means=gaussians.means * _Y_UP))
