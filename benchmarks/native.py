"""Frames of Gaussians as a network with a Gaussian head gives them, to measure codecs with where no network runs.

The formulas are those of Depth Anything 3's adapter (:mod:`deployments.models.da3.adapter`): a ray beside the pixel's centre,
scales in pixels, a rotation in the camera's frame. What the head would say is made up: *content-like* channels, two random
convolutional layers of the picture, with a quarter of noise of about a pixel, as much of each as the level says. What is left out:
whatever a trained head does with edges, and its gross mistakes.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from deployments.splats.activations import rgb_to_dc
from deployments.splats.gaussians import Gaussians
from deployments.splats.layers import LayeredDepth
from deployments.splats.lifting import lift_inverse_depth

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

LEVELS = {"calm": 0.35, "middle": 1.0, "wild": 2.0}
"""Name → how far the channels swing."""
_NOISE = 0.25
_WIDE, _KERNEL_PX, _BLUR_PX = 12, 5, 0.8


def native_like(layered: LayeredDepth, level: str, seed: int = 0) -> Gaussians:
    """Gaussians on the grid of a frame's first layer, of degree 0.

    Args:
        layered: Its depth and picture.
        level: A name of ``LEVELS``.
        seed: Of the noise.
    """
    view, swing = layered.views[0], LEVELS[level]
    camera, inverse = view.camera, view.layers[0].inverse_depth
    height, width = inverse.shape
    rng = np.random.default_rng(1000 + seed)
    channels = iter(content_like(view.picture, 13))

    def channel(amount: float) -> F32:
        noise = cv2.GaussianBlur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), 0.7)
        mixed = math.sqrt(1 - _NOISE**2) * next(channels) + _NOISE * noise / noise.std()
        return np.asarray(amount * swing * mixed, np.float32)

    surface = lift_inverse_depth(inverse, view.picture, camera)
    u, v = np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32)[:, None] + 0.5
    x, y = u + channel(0.25), v + channel(0.25)
    z = (1 + channel(0.002)) / np.maximum(inverse, 1e-6)
    means = np.stack([(x - camera.cx) / camera.fx * z, (y - camera.cy) / camera.fy * z, z], axis=-1)
    pixel = (0.5 / camera.fx + 0.5 / camera.fy) * z
    ln = [np.minimum(math.log(size) + channel(amount), math.log(3)) for size, amount in ((0.62, 0.18), (0.62, 0.18), (0.25, 0.3))]
    turn = np.stack([np.ones((height, width), np.float32), channel(0.12), channel(0.12), channel(0.25)], axis=-1)
    quats = product(surface.quats, turn.reshape(-1, 4))
    # Of what lies between two surfaces the network is not sure.
    edges = cv2.GaussianBlur((surface.opacities == 0).astype(np.float32).reshape(height, width), (0, 0), 1)
    logits = 2.8 + channel(1.0) - 4 * edges
    rgb = view.picture / np.float32(255) + np.stack([channel(0.02) for _ in range(3)], axis=-1)
    return Gaussians(
        np.asarray(means.reshape(-1, 3), np.float32),
        np.asarray((np.exp(np.stack(ln, axis=-1)) * pixel[..., None]).reshape(-1, 3), np.float32),
        quats / np.linalg.norm(quats, axis=1, keepdims=True),
        np.asarray(1 / (1 + np.exp(-logits.ravel())), np.float32),
        rgb_to_dc(np.clip(rgb, -0.1, 1.1).astype(np.float32).reshape(-1, 1, 3)),
        (1, height, width),
    )


def content_like(picture: U8, count: int) -> list[F32]:
    """Channels of mean 0 and deviation 1 that follow the picture, as a convolutional head's do. float32 [H, W] each."""
    rng = np.random.default_rng(7)
    found = list(np.moveaxis(np.asarray((picture / 255.0 - 0.5) * 3, np.float32), -1, 0))
    for wide in (_WIDE, count):
        layer = []
        for _ in range(wide):
            total = np.zeros(picture.shape[:2], np.float32)
            for channel in found:
                kernel = rng.standard_normal((_KERNEL_PX, _KERNEL_PX)).astype(np.float32)
                kernel = cv2.GaussianBlur(kernel, (0, 0), _BLUR_PX)
                total += cv2.filter2D(channel, -1, kernel, borderType=cv2.BORDER_REFLECT)
            layer.append(np.tanh((total - total.mean()) / (total.std() + 1e-6)))
        found = layer
    return [np.asarray((channel - channel.mean()) / channel.std(), np.float32) for channel in found]


def product(a: F32, b: F32) -> F32:
    """Hamilton products of wxyz quaternions. [N, 4]."""
    (w, x, y, z), (p, q, r, s) = a.T, b.T
    rows = (
        w * p - x * q - y * r - z * s,
        w * q + x * p + y * s - z * r,
        w * r - x * s + y * p + z * q,
        w * s + x * r - y * q + z * p,
    )
    return np.asarray(np.stack(rows, axis=1), np.float32)
