"""Small frames of Gaussians on grids, as a network with a Gaussian head gives them. Shared by the tests of ``planes``."""

import numpy as np

from deployments.splats.camera import Camera, PosedCamera
from deployments.splats.gaussians import Gaussians


def native_frame(
    width: int, height: int, *, views: int = 1, seed: int = 0, hidden: float = 0.05, sh: int = 1
) -> tuple[Gaussians, list[PosedCamera]]:
    """Waves before a wall: centres up to a pixel beside their own, scales a third to three times a pixel, any rotation.

    Args:
        width, height: Of a view's grid.
        views: How many, each turned and moved a little from the one before it.
        seed: Of everything random.
        hidden: Share of Gaussians with opacity 0.
        sh: Coefficients.
    """
    rng = np.random.default_rng(seed)
    parts, cameras = [], []
    for index in range(views):
        camera = Camera(width, height, 0.9 * width, 0.95 * width, width / 2 - 0.5, height / 2 + 0.25)
        # 3-4-5 triangles: the pose is exact.
        pose = np.array([[0.8, 0, 0.6, 0.2], [0, 1, 0, -0.1 * index], [-0.6, 0, 0.8, 0.05]], np.float32) if index else None
        cameras.append(PosedCamera(camera, pose))
        u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        z = 2 + 0.3 * np.sin(u / 5) * np.cos(v / 7) + np.where(u > 0.6 * width, 1.5, 0)
        x, y = u + rng.uniform(-1, 1, u.shape), v + rng.uniform(-1, 1, u.shape)
        means = np.stack([(x - camera.cx) / camera.fx * z, (y - camera.cy) / camera.fy * z, z], axis=-1).reshape(-1, 3)
        if pose is not None:
            means = (means - pose[:, 3]) @ pose[:, :3]
        pixel = z.reshape(-1, 1) * (0.5 / camera.fx + 0.5 / camera.fy)
        quats = rng.normal(size=(width * height, 4)) + np.array([2.0, 0, 0, 0])
        parts.append(
            (
                means,
                pixel * np.exp(rng.uniform(-1, 1, (width * height, 3))),
                quats / np.linalg.norm(quats, axis=1, keepdims=True),
                np.where(rng.random(width * height) < hidden, 0, rng.uniform(0.2, 1, width * height)),
                rng.normal(0, 0.7, (width * height, sh, 3)),
            )
        )
    fields = (np.concatenate(each).astype(np.float32) for each in zip(*parts, strict=True))
    return Gaussians(*fields, grid=(views, height, width)), cameras
