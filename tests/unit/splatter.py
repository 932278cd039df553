"""A reference splatter in NumPy: slow, plain, and independent of the code under test. EWA projection, sorted alpha blending."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployments.splats.camera import Camera
from deployments.splats.gaussians import Gaussians

Array = NDArray[Any]


def rotations(quats: Array) -> Array:
    """Rotation matrices of wxyz quaternions. [N, 3, 3]."""
    w, x, y, z = quats.astype(np.float64).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.array([[np.broadcast_to(cell, w.shape) for cell in row] for row in rows]).transpose(2, 0, 1)


def project(gaussians: Gaussians, camera: Camera) -> tuple[Array, Array]:
    """Centres, pixels [N, 2], and covariances, pixels² [N, 2, 2], as the camera sees them."""
    x, y, z = gaussians.means.astype(np.float64).T
    centres = np.stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy], axis=1)
    zero = np.zeros_like(z)
    jacobian = np.array([[camera.fx / z, zero, -camera.fx * x / z**2], [zero, camera.fy / z, -camera.fy * y / z**2]])
    spread = jacobian.transpose(2, 0, 1) @ rotations(gaussians.quats) * gaussians.scales[:, None, :].astype(np.float64)
    return centres, spread @ spread.transpose(0, 2, 1)


def splat(gaussians: Gaussians, camera: Camera) -> tuple[Array, Array]:
    """The picture before black, 0..1 [H, W, 3], and how much of each pixel is covered [H, W]."""
    shown = gaussians.take((gaussians.opacities > 1 / 255) & (gaussians.means[:, 2] > 0.01))
    centres, covariances = project(shown, camera)
    colours = 0.5 + 0.28209479177387814 * shown.sh[:, 0].astype(np.float64)
    picture, light = np.zeros((camera.height, camera.width, 3)), np.ones((camera.height, camera.width))
    inverses = np.linalg.inv(covariances)
    reach = np.ceil(3 * np.sqrt(np.maximum(covariances[:, 0, 0], covariances[:, 1, 1]))).astype(int) + 1
    for i in np.argsort(shown.means[:, 2], kind="stable"):
        u, v = centres[i]
        left, right = max(int(u) - reach[i], 0), min(int(u) + reach[i] + 1, camera.width)
        top, bottom = max(int(v) - reach[i], 0), min(int(v) + reach[i] + 1, camera.height)
        if left >= right or top >= bottom:
            continue
        dx, dy = np.arange(left, right) + 0.5 - u, (np.arange(top, bottom) + 0.5 - v)[:, None]
        (a, b), (_, c) = inverses[i]
        alpha = shown.opacities[i] * np.exp(-0.5 * (a * dx * dx + 2 * b * dx * dy + c * dy * dy))
        window = light[top:bottom, left:right]
        picture[top:bottom, left:right] += (window * alpha)[..., None] * colours[i]
        window *= 1 - alpha
    return np.clip(picture, 0, 1), 1 - light


def psnr(a: Array, b: Array, where: Array | None = None) -> float:
    """Peak signal to noise of two pictures in 0..1, over all or the marked pixels, dB."""
    square = (a - b) ** 2
    return float(-10 * np.log10(max(square.mean() if where is None else square[where].mean(), 1e-12)))
