"""On a GPU with real weights: the only place where the picture itself can be seen. ``test_cuda.py`` needs none.

    SPLATCAST_WEIGHTS=/models/giant .venv/bin/python -m pytest tests/gpu -v

The folder is a checkpoint as on the hub (``config.json``, ``model.safetensors``), for all of the tests one with the Gaussian head.
"""

import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deployments.pipeline import DecodedCapture, Prediction
from deployments.scene.clip import encode_clip
from deployments.stream.frames import Capture, FrameRequest
from deployments.stream.options import FrameOptions

WEIGHTS = os.environ.get("SPLATCAST_WEIGHTS", "")


def _why_not() -> str:
    if not WEIGHTS:
        return "SPLATCAST_WEIGHTS names no folder with weights"
    import torch

    return "" if torch.cuda.is_available() else "torch sees no GPU"


pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(_why_not()), reason=_why_not() or "-")]


@pytest.fixture(scope="module")
def make() -> Callable[..., Any]:
    from deployments.models.da3.model import DepthAnything3

    return lambda **params: DepthAnything3(weights=WEIGHTS, device="cuda", **params)


@pytest.fixture(scope="module")
def captures() -> list[DecodedCapture]:
    from deployments.stages.decode import FrameLimits, decode_capture

    decoded = [decode_capture(Capture((jpeg,)), FrameLimits()) for jpeg in encode_clip(2.0, 2, 640, 480)]
    return [capture for capture in decoded if isinstance(capture, DecodedCapture)]


def predict(model: Any, captures: list[DecodedCapture]) -> list[Prediction]:
    outcomes = model.predict(captures)
    assert all(isinstance(outcome, Prediction) for outcome in outcomes), outcomes
    return list(outcomes)


def test_the_weights_load_and_every_frame_is_finite(make: Callable[..., Any], captures: list[DecodedCapture]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = make()
    for prediction in predict(model, captures):
        assert np.isfinite(prediction.as_gaussians().means).all()
        assert 0.3 < prediction.camera.fx / prediction.camera.width < 5, "a camera as people have them"


def test_bfloat16_stays_near_float32(make: Callable[..., Any], captures: list[DecodedCapture]) -> None:
    points = DecodedCapture(captures[0].views, FrameRequest(FrameOptions(representation="points")))
    (exact,), (quick,) = predict(make(backbone="float32"), [points]), predict(make(), [points])
    relative = np.abs(quick.as_gaussians().means[:, 2] / exact.as_gaussians().means[:, 2] - 1)
    assert np.median(relative) < 0.01 and np.percentile(relative, 99) < 0.05


def test_memory_on_the_device_stays_where_it_is(make: Callable[..., Any], captures: list[DecodedCapture]) -> None:
    import torch

    model = make()
    predict(model, captures[:1])
    before = torch.cuda.memory_allocated()
    for _ in range(30):
        predict(model, captures[:1])
    assert torch.cuda.memory_allocated() - before < 1e6


def test_the_capture_viewpoint_sees_its_own_picture(make: Callable[..., Any], captures: list[DecodedCapture]) -> None:
    """Centres projected back and coloured by degree 0: the picture, up to what a pixel's blur and view-dependence leave."""
    import cv2

    from deployments.models.da3.picture import prepare
    from deployments.splats.activations import SH_C0

    model = make()
    if model.info.kinds[0] != "native":
        pytest.skip("this model has no Gaussian head")
    (prediction,) = predict(model, captures[:1])
    g, camera = prediction.as_gaussians(), prediction.camera
    colour = np.clip(0.5 + SH_C0 * g.sh[:, 0], 0, 1)
    u = np.clip((g.means[:, 0] / g.means[:, 2] * camera.fx + camera.cx).astype(int), 0, camera.width - 1)
    v = np.clip((g.means[:, 1] / g.means[:, 2] * camera.fy + camera.cy).astype(int), 0, camera.height - 1)
    shown = np.full((camera.height, camera.width, 3), np.nan, np.float32)
    visible = g.opacities > 0.5
    shown[v[visible], u[visible]] = colour[visible]
    picture = prepare(captures[0].views[0], 504).astype(np.float32) / 255
    blurred = cv2.GaussianBlur(picture, (5, 5), 0)
    assert np.isfinite(shown[..., 0]).mean() > 0.5
    error = np.nanmedian(np.abs(shown - blurred))
    mirrored = np.nanmedian(np.abs(shown - blurred[:, ::-1]))
    assert error < 0.1 and error < mirrored / 2, (error, mirrored)
