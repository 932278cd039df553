"""A simulated Gaussian head's view of one picture: what comes apart when it is looked at from the side.

No network runs. The form is that of Depth Anything 3's adapter (:mod:`deployments.models.da3.adapter`): a Gaussian a pixel on a
ray beside the pixel's centre, scales in pixels of the depth, six at most (30 · 0.1 · (1/fx + 1/fy)), a rotation in the camera's
frame. What the head says is made up from true depth, and from what is told of single views of such networks (issue 216 of the
package: "consistently poor"; splats far larger than their pixels, sheets between near and far):

- depth is network-like (:func:`benchmarks.subjects.network_like`): at edges it is a ramp of two or three pixels, and every pixel
  of it has its Gaussian, between the two surfaces;
- a Gaussian covers its pixel's piece of that depth, however steep: it is stretched along ramps and slants, up to the adapter's six
  pixels, which from the side are sheets from the nearer surface to the farther one;
- scales, offsets, rotations and opacities swing with the picture and with a little noise, as in :mod:`benchmarks.native`;
- opacities fall at edges, by ``doubt``; a few Gaussians, ``outliers``, are large and beside their surface.

How often and how much a trained head does each of these nobody here has measured. So options are chosen by what holds for all of
:data:`HEADS`, from one that is nearly right to one that is far off.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.native import content_like, product
from deployments.splats.activations import rgb_to_dc
from deployments.splats.camera import Camera
from deployments.splats.gaussians import Gaussians

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

LARGEST_PX = 6.0
"""What the adapter's formula allows: 30 · 0.1 · (1/fx + 1/fy) · depth."""
_SIGMA_PX, _THICK_PX = 0.68, 0.2
_OPAQUE = 2.8
"""Logit of what the head is sure of."""
_NEAR_PX = 1.5
"""How far doubt reaches from an edge."""


@dataclass(frozen=True, slots=True)
class Head:
    """How wild a head is.

    Attributes:
        swing: Of its channels; 1 as in :mod:`benchmarks.native`.
        doubt: By how much the logit of opacity falls at edges.
        growth: How much larger Gaussians are there.
        outliers: Share of Gaussians that are large and beside their surface.
    """

    swing: float
    doubt: float
    growth: float
    outliers: float


HEADS = {"calm": Head(0.35, 3.0, 0.0, 0.0005), "middle": Head(1.0, 1.5, 0.5, 0.002), "wild": Head(1.5, 0.0, 1.0, 0.005)}
"""Name → how wild. ``middle`` is what is measured by default."""


def simulate_head(depth: F32, picture: U8, camera: Camera, head: Head, seed: int = 0) -> Gaussians:
    """Gaussians of one view, on its grid, of degree 0.

    Args:
        depth: Network-like z-depth. float32 [H, W].
        picture: uint8 [H, W, 3].
        camera: Of the grid.
        head: How wild it is.
        seed: Of the noise and the outliers.
    """
    height, width = depth.shape
    rng = np.random.default_rng(2000 + seed)
    channels = iter(content_like(picture, 11))

    def swing(amount: float) -> F32:
        noise = cv2.GaussianBlur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), 0.7)
        return np.asarray(amount * head.swing * (0.97 * next(channels) + 0.25 * noise / noise.std()), np.float32)

    u, v = np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32)[:, None] + 0.5
    points = _points(depth, np.broadcast_to(u, depth.shape), np.broadcast_to(v, depth.shape), camera)
    pixel = (0.5 / camera.fx + 0.5 / camera.fy) * depth
    quats, along, down = _footprints(points)
    edge = _edges(depth)
    grown = 1 + np.float32(head.growth) * edge
    sizes = [
        np.log(_SIGMA_PX * along / pixel * grown) + swing(0.18),
        np.log(_SIGMA_PX * down / pixel * grown) + swing(0.18),
        np.log(_THICK_PX * np.ones_like(depth)) + swing(0.3),
    ]
    scales = np.minimum(np.exp(np.stack(sizes, axis=-1)), LARGEST_PX)
    distance = depth * (1 + swing(0.002))
    # Drawn before it is known how many are chosen, so that every head's lie in the same places.
    lots, off, large = rng.random(depth.shape), rng.normal(0, 0.06, depth.shape), rng.uniform(2.5, LARGEST_PX, (*depth.shape, 2))
    chosen = lots < head.outliers
    distance[chosen] *= np.float32(1) + off[chosen].astype(np.float32)
    scales[chosen, :2] = large[chosen]
    means = _points(distance, u + swing(0.25), v + swing(0.25), camera)
    turn = np.stack([np.ones_like(depth), swing(0.06), swing(0.06), swing(0.12)], axis=-1).reshape(-1, 4)
    turned = product(quats.reshape(-1, 4), turn)
    logits = _OPAQUE + swing(0.7) - np.float32(head.doubt) * edge
    return Gaussians(
        np.asarray(means.reshape(-1, 3), np.float32),
        np.asarray((scales * pixel[..., None]).reshape(-1, 3), np.float32),
        np.asarray(turned / np.linalg.norm(turned, axis=1, keepdims=True), np.float32),
        np.asarray(1 / (1 + np.exp(-logits.ravel())), np.float32),
        rgb_to_dc((picture.reshape(-1, 1, 3) / np.float32(255)).astype(np.float32)),
        (1, height, width),
    )


def _points(depth: F32, u: F32, v: F32, camera: Camera) -> F32:
    """Where pixels' rays are that far away. float32 [H, W, 3]."""
    return np.stack([(u - camera.cx) / camera.fx * depth, (v - camera.cy) / camera.fy * depth, depth], axis=-1)


def _footprints(points: F32) -> tuple[F32, F32, F32]:
    """A pixel's piece of the surface: rotations, wxyz, [H, W, 4]; and lengths along the first and the second axis, [H, W]."""
    right, down = np.gradient(points, axis=1), np.gradient(points, axis=0)
    along = np.linalg.norm(right, axis=-1)
    a = right / along[..., None]
    b = down - (down * a).sum(-1, keepdims=True) * a
    across = np.linalg.norm(b, axis=-1)
    b /= across[..., None]
    n = np.cross(a, b)
    # The surface faces the camera, so that w is never 0.
    w = np.maximum(1 + a[..., 0] + b[..., 1] + n[..., 2], 0.01)
    quats = np.stack([w, b[..., 2] - n[..., 1], n[..., 0] - a[..., 2], a[..., 1] - b[..., 0]], axis=-1)
    return np.asarray(quats / np.linalg.norm(quats, axis=-1, keepdims=True), np.float32), along, across


def _edges(depth: F32) -> F32:
    """How near a pixel is to a jump of depth, 0..1. float32 [H, W]."""
    ln = np.log(depth)
    kernel = np.ones((3, 3), np.uint8)
    jump = cv2.dilate(ln, kernel) - cv2.erode(ln, kernel)
    near = cv2.GaussianBlur((jump > 0.08).astype(np.float32), (0, 0), _NEAR_PX)
    return np.asarray(np.clip(near, 0, 1), np.float32)
