"""A stand-in for load tests: splats of a fixed number, the picture's colours, and a chosen latency. No network, no weights.

The cost is constant, the content is checkable (the splats show the picture they were made from, on a slanted plane), and the
same picture gives the same bytes. It can fail on purpose, by count, so that tests can tell what the stream makes of it.
"""

import math
import time
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from deployments.pipeline import DecodedCapture, Prediction
from deployments.splats import lifting
from deployments.splats.camera import Camera
from deployments.splats.gaussians import Gaussians
from deployments.splats.layers import DepthLayer, DepthView, LayeredDepth
from deployments.stream.errors import FrameError, InferenceFailed
from deployments.stream.messages import Engine

_NEAR_M, _FAR_M = 1.5, 3.0
POISONS = {"hang": (0, 0, 0), "raise": (255, 0, 0), "memory": (0, 255, 0), "nan": (0, 0, 255)}
"""What the engine can be made to do → RGB of the plain picture that does it: hang for a minute, raise, ask for more memory than
there is, return nothing but NaN."""
_HIDDEN = 97
"""Every so many native Gaussians one is hidden, as the sky is."""
_NOISE = 16
"""What JPEG may make of a plain colour."""
_HANG_S = 60.0
"""For ever, to a stream; but a test that forgot it ends."""


class SyntheticModel:
    """A slanted plane with the picture on it: its left edge at 1.5, its right edge at 3 units.

    Args:
        splats: Gaussians of every frame whatever the picture's size, rounded down to a 4:3 grid. The
            client's ``max_splats`` lowers it.
        latency_ms: Time a batch takes, whatever its size.
        per_item_ms: Time every capture of a batch adds.
        jitter_ms: Up to this much is added to a batch, evenly spread and the same for the same ``seed``.
        fail_every: Every so many captures one fails with ``inference_failed``; 0: none.
        nan_every: Every so many captures one comes with every fourth centre NaN; 0: none.
        poison: Whether pictures of one plain colour make it fail, each of :data:`POISONS` in its way. By the picture and not by
            count, so that it does so again when it is tried again.
        depth: Whether it predicts depth, as most networks do, and not Gaussians.
        native: Whether its Gaussians are native ones: beside their pixels' centres, of many sizes, rotations and opacities, all of
            them following the picture, and some hidden.
        seed: Of the jitter.

    Raises:
        ValueError: If a number is out of its range.
    """

    def __init__(
        self,
        *,
        splats: int = 100_000,
        latency_ms: float = 0.0,
        per_item_ms: float = 0.0,
        jitter_ms: float = 0.0,
        fail_every: int = 0,
        nan_every: int = 0,
        poison: bool = False,
        depth: bool = False,
        native: bool = False,
        seed: int = 0,
    ) -> None:
        limits = {"splats": splats - 1, "latency_ms": latency_ms, "per_item_ms": per_item_ms, "jitter_ms": jitter_ms}
        for name, value in {**limits, "fail_every": fail_every, "nan_every": nan_every}.items():
            if not 0 <= value < math.inf:
                raise ValueError(f"synthetic: {name} is out of range: expected {1 if name == 'splats' else 0} or more")
        self._splats = splats
        self._latency_ms, self._per_item_ms, self._jitter_ms = latency_ms, per_item_ms, jitter_ms
        self._fail_every, self._nan_every, self._poison, self._depth = fail_every, nan_every, poison, depth
        if depth and native:
            raise ValueError("synthetic: depth and native: expected one of them at most")
        self._native = native
        self._random = np.random.default_rng(seed)
        self._seen = 0

    @property
    def info(self) -> Engine:
        """What it is."""
        return Engine(
            engine="synthetic",
            name="synthetic",
            label="Synthetic splats (load test)",
            licence="Apache-2.0",
            kinds=["native", "points"] if self._native else ["lifted", "points"],
        )

    def warm_up(self) -> None:
        """Compile the lifting."""
        lifting.warm_up()

    def predict(self, captures: Sequence[DecodedCapture]) -> list[Prediction | FrameError]:
        """The picture of each capture's first view on the plane, after the latency that was asked for."""
        began_s = time.perf_counter()
        results = [self._predict_one(capture) for capture in captures]
        wait_ms = self._latency_ms + self._per_item_ms * len(captures) + self._jitter_ms * float(self._random.random())
        time.sleep(max(0.0, wait_ms / 1e3 - (time.perf_counter() - began_s)))
        return results

    def _predict_one(self, capture: DecodedCapture) -> Prediction | FrameError:
        self._seen += 1
        if self._fail_every and self._seen % self._fail_every == 0:
            return InferenceFailed(f"failing on purpose, as every {self._fail_every} captures")
        rgb = capture.views[0]
        poison = self._poison and next(
            (name for name, colour in POISONS.items() if np.abs(rgb - np.array(colour)).max() < _NOISE), None
        )
        if poison == "raise":
            raise RuntimeError("failing on purpose, as the picture is red")
        if poison == "memory":
            np.empty(2**60, np.uint8)
        if poison == "hang":
            time.sleep(_HANG_S)
        # Not the picture's own size: the count is what a load test asks for, and wider than high as a webcam's picture is.
        budget = min(self._splats, capture.request.options.max_splats)
        width = min(budget, math.ceil(math.sqrt(budget * 4 / 3)))
        height = budget // width
        small = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
        # The grid is always wider than high, whatever the picture.
        focal = width / 2 / math.tan(math.radians(capture.fov_deg) / 2) if capture.fov_deg else width * 0.87
        camera = Camera(width, height, focal, focal, width / 2, height / 2)
        x = (np.arange(width, dtype=np.float32) + 0.5) / width
        # Inverse depth is linear in pixels on a plane.
        row = 1.0 / _NEAR_M + x * (1.0 / _FAR_M - 1.0 / _NEAR_M)
        inverse = np.ascontiguousarray(np.broadcast_to(row, (height, width)), np.float32)
        request, lens = capture.request, capture.intrinsics
        kind: Literal["lifted", "points"] = "points" if request.options.representation == "points" else "lifted"
        is_native = self._native and kind == "lifted"
        if self._depth:
            if (self._nan_every and self._seen % self._nan_every == 0) or poison == "nan":
                inverse[:: 4 if poison != "nan" else 1] = np.nan
            return Prediction(
                LayeredDepth((DepthView(camera, (DepthLayer(inverse),), small),)), kind, camera, request.state, intrinsics=lens
            )
        gaussians = lifting.lift_inverse_depth(inverse, small, camera, kind)
        if is_native:
            _disturb(gaussians, small, camera)
        if self._nan_every and self._seen % self._nan_every == 0:
            gaussians.means[::4] = np.nan
        if poison == "nan":
            for values in (gaussians.means, gaussians.scales, gaussians.quats, gaussians.opacities, gaussians.sh):
                values[...] = np.nan
        return Prediction(gaussians, "native" if is_native else kind, camera, request.state, intrinsics=lens)


def _disturb(gaussians: Gaussians, picture: NDArray[np.uint8], camera: Camera) -> None:
    """Make lifted Gaussians like a head's: colours move them by up to a quarter of a pixel, stretch, turn and fade them."""
    swing = picture.reshape(-1, 3) / np.float32(127.5) - np.float32(1)
    pixel = gaussians.means[:, 2:] / np.array([camera.fx, camera.fy], np.float32)
    gaussians.means[:, :2] += np.asarray(swing[:, :2] * pixel / 4, np.float32)
    gaussians.scales[...] *= np.exp(np.float32(0.3) * swing)
    # A small turn, of which w stays what it is to first order.
    gaussians.quats[:, 1:] += np.float32(0.2) * swing
    gaussians.quats[...] /= np.linalg.norm(gaussians.quats, axis=1, keepdims=True)
    gaussians.opacities[...] *= np.float32(0.75) + np.float32(0.25) * swing[:, 1]
    gaussians.opacities[::_HIDDEN] = 0
