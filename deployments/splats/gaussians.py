"""One frame of 3D Gaussians, in the one convention that every module of this project uses.

Frame: the capture camera's OpenCV frame (x right, y down, z forward). Units: the model's own (metres if it is metric).
Scales are linear standard deviations and opacities are probabilities: only codecs apply the logs and logits that files store, with
:mod:`deployments.splats.activations`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SH_COEFFICIENTS = {0: 1, 1: 4, 2: 9}
"""Spherical-harmonics degree → coefficients per colour channel."""

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Gaussians:
    """N Gaussians.

    Attributes:
        means: Centres in the capture camera's OpenCV frame, model units. float32 [N, 3].
        scales: Standard deviations along the Gaussian's own axes, model units, linear. float32 [N, 3].
        quats: Rotation of the Gaussian's axes into the camera frame, wxyz, unit length. float32 [N, 4].
        opacities: Peak alpha, 0..1. float32 [N].
        sh: Raw spherical-harmonics coefficients, RGB last; colour = 0.5 + SH_C0 · DC. float32 [N, K, 3], K in {1, 4, 9}.
        grid: ``(views, H, W)`` when Gaussian ``i`` belongs to pixel ``i`` in row-major order, else None.

    Raises:
        ValueError: If a shape or dtype differs from the above.
    """

    means: FloatArray
    scales: FloatArray
    quats: FloatArray
    opacities: FloatArray
    sh: FloatArray
    grid: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        n = len(self.means)
        expected = {"means": (n, 3), "scales": (n, 3), "quats": (n, 4), "opacities": (n,)}
        for name, shape in expected.items():
            _check(name, getattr(self, name), shape)
        if self.sh.ndim != 3 or self.sh.shape[1] not in SH_COEFFICIENTS.values():
            raise ValueError(f"sh: expected shape ({n}, 1 | 4 | 9, 3), got {self.sh.shape}")
        _check("sh", self.sh, (n, self.sh.shape[1], 3))
        if self.grid is not None and np.prod(self.grid) != n:
            raise ValueError(f"grid: expected a product of {n}, got {self.grid}")

    def __len__(self) -> int:
        return len(self.means)

    @property
    def sh_degree(self) -> int:
        """Degree of the spherical harmonics: 0, 1 or 2."""
        return {1: 0, 4: 1, 9: 2}[self.sh.shape[1]]

    def take(self, index: NDArray[Any]) -> "Gaussians":
        """The Gaussians at ``index`` (integers, or a boolean mask of length N), in that order; no longer on a grid."""
        return Gaussians(self.means[index], self.scales[index], self.quats[index], self.opacities[index], self.sh[index])

    @staticmethod
    def empty(sh_degree: int = 0) -> "Gaussians":
        """A frame of no Gaussians."""
        shape = (0, SH_COEFFICIENTS[sh_degree], 3)
        z = np.zeros
        return Gaussians(
            z((0, 3), np.float32), z((0, 3), np.float32), z((0, 4), np.float32), z(0, np.float32), z(shape, np.float32)
        )


def _check(name: str, array: FloatArray, shape: tuple[int, ...]) -> None:
    if array.shape != shape or array.dtype != np.float32:
        raise ValueError(f"{name}: expected float32 {shape}, got {array.dtype} {array.shape}")
