"""Shrinking on the device is OpenCV's, bit for bit; what is not in its range goes to OpenCV itself."""

import numpy as np
import pytest
import torch

from deployments.models.da3.picture import prepare
from deployments.models.da3.resize import device_steps, shrink, taps_of

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("size", "longest_px"),
    [
        ((640, 480), 504), ((640, 480), 392), ((640, 480), 280), ((480, 640), 504), ((1280, 720), 504), ((720, 1280), 280),
        ((637, 481), 504), ((800, 600), 504), ((1920, 1080), 504), ((504, 378), 504), ((511, 400), 504), ((640, 20), 504),
    ],
)  # fmt: skip
def test_it_is_opencvs_to_the_bit(size: tuple[int, int], longest_px: int) -> None:
    width, height = size
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    sizes = device_steps(width, height, longest_px)
    assert sizes is not None
    shown = torch.from_numpy(picture).float()
    for across, down in taps_of(((width, height), *sizes), CPU):
        shown = shrink(shown, across, down)
    np.testing.assert_array_equal(shown.numpy(), prepare(picture, longest_px))


@pytest.mark.parametrize(("width", "height", "longest_px"), [(320, 240, 504), (1008, 756, 504), (504, 375, 504), (2560, 1440, 504)])
def test_what_grows_or_shrinks_by_a_whole_number_or_is_huge_is_left_to_opencv(width: int, height: int, longest_px: int) -> None:
    assert device_steps(width, height, longest_px) is None
