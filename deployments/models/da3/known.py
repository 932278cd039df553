"""Cameras that a client knows: what the network is told of them, and what its depth is measured by then. No torch here.

As in the package's ``inference(extrinsics=…, intrinsics=…)``: the poses go in as a token for each view, in a unit of their own; the
depth that comes out has the network's unit, and the ratio of the network's camera places to the known ones leads back from it.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployments.splats.layer_lifting import rotation_quat

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

LENS, TOKEN = 4, 9
"""Numbers of a view: fx, fy, cx, cy; and the camera's place, its turn as xyzw, its fields of view down and across, radians."""

_NEAREST = 0.1
"""Least unit that the package gives to places."""
_LARGEST_FACTOR = 1e4
"""A ratio of scales beyond this comes of places that are all but one."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a capture's cameras.

    Attributes:
        lens: fx, fy, cx, cy of each view, pixels of the network's picture. float32 [V, 4].
        poses: First camera to each, any unit; None: unknown, or there is only one. float32 [V, 3, 4].
    """

    lens: F32
    poses: F32 | None = None

    def numbers(self, width: int, height: int) -> F32:
        """What the network is told: the lens and, with poses, the token. float32 [V, 4 or 13].

        Args:
            width, height: Of the network's picture, pixels.
        """
        if self.poses is None:
            return self.lens
        places = _places(self.poses)
        # The package's, down to the lower median: with two views, the first camera's own 0 is it.
        distances = np.sort(np.linalg.norm(places, axis=1))
        unit = max(float(distances[(len(distances) - 1) // 2]), _NEAREST)
        turns = np.stack([rotation_quat(pose) for pose in self.poses])
        turns *= np.where(turns[:, :1] < 0, -1.0, 1.0)
        fx, fy = self.lens[:, 0].astype(np.float64), self.lens[:, 1].astype(np.float64)
        fields = np.stack([2 * np.arctan(height / 2 / fy), 2 * np.arctan(width / 2 / fx)], axis=1)
        token = np.concatenate([places / unit, turns[:, 1:], turns[:, :1], fields], axis=1)
        return np.concatenate([self.lens, token.astype(np.float32)], axis=1)


def scale_to(predicted: F32, known: F32) -> float | None:
    """The factor from the unit of predicted poses to that of known ones (Umeyama 1991), by where their cameras stand.

    Args:
        predicted, known: First camera to each. float32 [V, 3, 4].

    Returns:
        None if one of them has all cameras in one place, so that nothing can be measured.
    """
    found, wanted = (places - places.mean(axis=0) for places in (_places(predicted), _places(known)))
    # found ≈ scale · R · wanted, for any R.
    u, sizes, vt = np.linalg.svd(found.T @ wanted)
    if np.linalg.det(u) * np.linalg.det(vt) < 0:
        sizes[2] *= -1
    spread = float((wanted**2).sum())
    scale = float(sizes.sum()) / spread if spread > 1e-12 else 0.0
    return 1 / scale if 1 / _LARGEST_FACTOR < scale < _LARGEST_FACTOR and math.isfinite(scale) else None


def _places(poses: F32) -> F64:
    """Where cameras stand in the first one's frame. [V, 3]."""
    wide = poses.astype(np.float64)
    return np.asarray(-np.einsum("vji,vj->vi", wide[:, :, :3], wide[:, :, 3]))
