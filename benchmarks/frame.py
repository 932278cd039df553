"""A deterministic frame to measure with: pixel-aligned Gaussians like those Depth Anything 3 predicts for a photograph."""

import math

import numpy as np

from deployments.splats.activations import rgb_to_dc, sigmoid
from deployments.splats.gaussians import Gaussians

WIDTH, HEIGHT = 504, 378
"""Pixels of a 4:3 picture at DA3's processing resolution: 190,512 Gaussians."""


def pixel_aligned_frame(count: int = WIDTH * HEIGHT, seed: int = 0) -> Gaussians:
    """``count`` Gaussians, one a pixel of a 4:3 picture (its last row may be incomplete).

    A floor, a wall with waves and a bump in front, 0.7 to 4 units away; scales of about a pixel's footprint, flattened along
    the viewing ray, and rotations that face the camera, both with noise; opacities mostly high; smooth colours with grain.
    """
    rng = np.random.default_rng(seed)
    width = max(1, round(math.sqrt(count * WIDTH / HEIGHT)))
    pixel = np.arange(count)
    u = (pixel % width + 0.5) / width - 0.5
    v = (pixel // width + 0.5) / width - 0.5 * HEIGHT / WIDTH
    wall = 3 + 0.3 * np.sin(9 * u) * np.cos(7 * v)
    floor = 0.6 / np.maximum(v + 0.05, 0.15)
    bump = 1.6 - 0.9 * np.exp(-(u**2 + v**2) / 0.03)
    depth = np.minimum(np.minimum(wall, floor), np.where(u**2 + v**2 < 0.06, bump, 9)) * (1 + 0.004 * rng.standard_normal(count))
    means = np.stack([u * depth, v * depth, depth], axis=1) / 0.8
    footprint = depth / width
    scales = footprint[:, None] * np.exp(rng.normal([0, 0, -1.2], [0.25, 0.25, 0.5], (count, 3)))
    quats = np.array([1.0, 0, 0, 0]) + rng.normal(0, 0.35, (count, 4))
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    rgb = 0.5 + 0.4 * np.stack([np.sin(5 * u + 1), np.sin(6 * v), np.cos(4 * (u + v))], axis=1)
    rgb += rng.normal(0, 0.03, (count, 3))
    return Gaussians(
        means=means.astype(np.float32),
        scales=scales.astype(np.float32),
        quats=quats.astype(np.float32),
        opacities=sigmoid(rng.normal(2.0, 2.0, count).astype(np.float32)),
        sh=rgb_to_dc(rgb.astype(np.float32))[:, None, :],
    )
