"""Depth that a camera has measured (RealSense, Kinect, a phone's LiDAR) → layered depth, without a model.

It is lifted exactly as a model's is: where nothing was measured there is no surface, and the pixels between two surfaces, which
such cameras leave hanging in the air, join the nearer one or go. Units are metres.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from deployments.pipeline import DecodedCapture, Prediction
from deployments.splats.camera import Camera
from deployments.splats.codecs.view_heads import MAX_PIXELS
from deployments.splats.layers import DepthLayer, DepthView, LayeredDepth, resize_layers
from deployments.splats.lifting import scale_camera
from deployments.stream.frames import SplatKind

LABEL = "Depth from the camera"
"""Of every reply that is made from it, whatever the engine."""


def layers_of_depth(capture: DecodedCapture) -> Prediction:
    """What a model would return for a capture, if it knew.

    Args:
        capture: With ``depths``, and so with ``cameras``, and with ``poses`` if it has several views.

    Returns:
        One layer a view, on the depth's own grid or a smaller one: within the client's ``max_splats`` for all views together and
        its ``inference_px``. The state is the request's, so that a model goes on where it was once there is no depth any more.
    """
    options, poses = capture.request.options, capture.poses
    views = tuple(
        _view(picture, depth, camera, None if index == 0 or poses is None else poses[index])
        for index, (picture, depth, camera) in enumerate(zip(capture.views, capture.depths, capture.cameras, strict=True))
    )
    layered = LayeredDepth(views)
    front = views[0].camera
    largest = max(depth.size for depth in capture.depths)
    longest = max(max(depth.shape) for depth in capture.depths)
    share = min(1.0, math.sqrt(options.max_splats / layered.pixels), math.sqrt(MAX_PIXELS / largest))
    if options.inference_px:
        share = min(share, options.inference_px / longest)
    layered = resize_layers(layered, max(1, int(front.width * share)), max(1, int(front.height * share)))
    kind: SplatKind = "points" if options.representation == "points" else "lifted"
    camera = layered.views[0].camera
    return Prediction(layered, kind, camera, capture.request.state, label=LABEL, measured=True, intrinsics="given")


def _view(picture: NDArray[np.uint8], depth: NDArray[np.float32], camera: Camera, pose: NDArray[np.float32] | None) -> DepthView:
    height, width = depth.shape
    if picture.shape[:2] != depth.shape:
        smaller = width <= picture.shape[1] and height <= picture.shape[0]
        resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
        picture = np.asarray(resized, np.uint8)
    inverse = np.zeros(depth.shape, np.float32)
    np.divide(np.float32(1), depth, out=inverse, where=depth > 0)
    return DepthView(scale_camera(camera, width, height), (DepthLayer(inverse),), picture, pose)
