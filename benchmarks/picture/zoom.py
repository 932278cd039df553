"""A frame from the camera's place, larger and smaller: how sharp it is, and how much of the black shows between its splats.

The truth is the picture that was sent, scaled: in a larger one nothing finer is to be seen, and nothing of the grid.
"""

from typing import Any

import cv2
import numpy as np

from benchmarks.fidelity import psnr
from benchmarks.picture.shots import Shot, sent
from benchmarks.picture.still import enlarged
from benchmarks.splatter import draw_and_light, with_flat_tops
from deployments.splats.layer_lifting import to_view
from deployments.stream.options import FrameOptions

TIMES = (0.5, 1.0, 2.0, 3.0)
"""Pixels of the screen for one of the grid."""


def measure(shot: Shot) -> dict[str, Any]:
    """``plain`` and ``flat``, as the viewer draws pixels of surfaces → for each of ``TIMES``, PSNR and the share of black, %."""
    gaussians, _, _ = sent(shot, FrameOptions())
    place = next(place for place in shot.places() if place.name == "0°")
    if place.truth is None:
        raise ValueError(f"{shot.name}: expected a shot whose picture is its truth")
    report: dict[str, Any] = {"plain": [], "flat": []}
    for times in TIMES:
        camera = enlarged(place.camera, times * shot.layered.views[0].camera.width / place.camera.width)
        size = camera.width, camera.height
        truth = cv2.resize(
            place.truth, size, interpolation=cv2.INTER_AREA if camera.width < place.camera.width else cv2.INTER_CUBIC
        )
        seen = cv2.resize(place.seen.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        for name, drawn in (("plain", gaussians), ("flat", with_flat_tops(gaussians))):
            picture, light = draw_and_light(to_view(drawn, place.pose), camera)
            report[name].append(
                {"times": times, "psnr": psnr(truth[seen], picture[seen]), "black": 100 * float(light[seen].mean())}
            )
    return report
