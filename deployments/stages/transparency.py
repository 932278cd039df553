"""Transparent pictures: what a model sees where there is nothing, and splats that are as transparent as their pixels.

A model is shown the colours around a hole, not the black or white that happens to be stored there: it would take that for a wall.
What it predicts there is then left out, and half-opaque pixels, as at the edge of hair, become splats as faint.
"""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deployments.pipeline import Prediction
from deployments.splats.camera import Camera
from deployments.splats.gaussians import Gaussians
from deployments.splats.layers import DepthLayer, DepthView, LayeredDepth
from deployments.splats.pull_push import fill

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

REASON = "transparent"
"""Why a Gaussian is missing: its pixel shows nothing."""
_FILLED_PX = 512
"""Longest side of the picture that holes are filled in: what is in a hole is smooth."""
_GREY = 128
"""Of a picture with nothing in it."""


def fill_transparent(rgb: U8, alpha: U8) -> U8:
    """The picture with the colours around them where its pixels show nothing, the smoother the farther from what there is.

    Args:
        rgb: uint8 [H, W, 3].
        alpha: Opacity. uint8 [H, W].
    """
    if alpha.all():
        return rgb
    if not alpha.any():
        return np.full_like(rgb, _GREY)
    # Pillow's reduce weighs colours by opacity.
    small = np.asarray(Image.fromarray(np.dstack([rgb, alpha])).reduce(-(-max(alpha.shape) // _FILLED_PX)), np.float32)
    weight = small[..., 3] / np.float32(255)
    filled = fill(np.dstack([small[..., :3], weight]))
    height, width = alpha.shape
    behind = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.where(alpha[..., None] == 0, behind, rgb)


def make_transparent(prediction: Prediction, alphas: tuple[U8 | None, ...]) -> Prediction:
    """A prediction that is as opaque as the pixels it was made from.

    Args:
        prediction: From any model.
        alphas: Opacity of each view's picture, None: opaque; of any size. Views without one are opaque.

    Returns:
        Where a pixel shows nothing there is no surface, or a Gaussian of opacity 0; counted in ``pruned`` as ``transparent``.
    """
    if all(alpha is None for alpha in alphas):
        return prediction
    scene = prediction.scene
    if isinstance(scene, LayeredDepth):
        pairs = [_cut(view, alphas[i] if i < len(alphas) else None) for i, view in enumerate(scene.views)]
        scene, gone = replace(scene, views=tuple(view for view, _ in pairs)), sum(count for _, count in pairs)
    else:
        scene, gone = _faded(scene, prediction.camera, alphas)
    return replace(prediction, scene=scene, pruned={**prediction.pruned, REASON: gone})


def _cut(view: DepthView, alpha: U8 | None) -> tuple[DepthView, int]:
    if alpha is None:
        return view, 0
    layers = tuple(_cut_layer(layer, _resized(alpha, layer.width, layer.height)) for layer in view.layers)
    # Of the front layer: what is missing from those behind it is no hole in the picture.
    before, after = (np.count_nonzero(each[0].inverse_depth > 0) for each in (view.layers, layers))
    return replace(view, layers=layers), int(before - after)


def _cut_layer(layer: DepthLayer, alpha: U8) -> DepthLayer:
    inverse = np.where(alpha > 0, layer.inverse_depth, np.float32(0))
    opacity = alpha if layer.opacity is None else np.rint(layer.opacity * (alpha / np.float32(255))).astype(np.uint8)
    return replace(layer, inverse_depth=inverse, opacity=opacity)


def _faded(scene: Gaussians, camera: Camera, alphas: tuple[U8 | None, ...]) -> tuple[Gaussians, int]:
    if scene.grid is not None:
        views, height, width = scene.grid
        planes = [_resized(a, width, height) if a is not None else np.full((height, width), 255, np.uint8) for a in alphas[:views]]
        planes += [np.full((height, width), 255, np.uint8)] * (views - len(planes))
        shown = np.stack(planes).ravel()
    else:
        # The device has left some out already, which it does of single views only: each lies where the camera sees it.
        alpha = alphas[0] if alphas[0] is not None else np.full((1, 1), 255, np.uint8)
        plane = _resized(alpha, camera.width, camera.height)
        z = np.maximum(scene.means[:, 2], np.float32(1e-6))
        u = np.clip(camera.cx + camera.fx * scene.means[:, 0] / z, 0, camera.width - 1).astype(np.intp)
        v = np.clip(camera.cy + camera.fy * scene.means[:, 1] / z, 0, camera.height - 1).astype(np.intp)
        shown = plane[v, u]
    gone = int(np.count_nonzero((shown == 0) & (scene.opacities > 0)))
    return replace(scene, opacities=np.asarray(scene.opacities * (shown / np.float32(255)), np.float32)), gone


def _resized(alpha: U8, width: int, height: int) -> U8:
    if alpha.shape == (height, width):
        return alpha
    resized: U8 = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_AREA).reshape(height, width)
    return resized
