"""The picture as the network wants it: a size of whole patches, resized bit for bit as in the package. No torch here.

The package resizes in two steps (longest side to the resolution, then each side to a multiple of 14) and rounds to 8 bits in
between; so do we, because a picture that differs in one bit gives different Gaussians.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

PATCH_PX = 14
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's pixels, RGB, 0..1: the backbone was trained with them."""


def fit(width: int, height: int, longest_px: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The sizes after both steps, each as width and height.

    A side below half a patch becomes one patch; the package makes it one pixel, on which the network fails.
    """
    scale = longest_px / max(width, height)
    first = (max(1, round(width * scale)), max(1, round(height * scale)))
    return first, (_whole_patches(first[0]), _whole_patches(first[1]))


def prepare(rgb: NDArray[np.uint8], longest_px: int) -> NDArray[np.uint8]:
    """The picture at the network's size.

    Args:
        rgb: uint8 [H, W, 3].
        longest_px: Longest side of the result, rounded to whole patches.

    Returns:
        uint8 [H', W', 3], both sides multiples of 14.
    """
    height, width = rgb.shape[:2]
    for size in fit(width, height, longest_px):
        before = rgb.shape[1], rgb.shape[0]
        if size != before:
            larger = size[0] > before[0] or size[1] > before[1]
            rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC if larger else cv2.INTER_AREA)
    return rgb


def _whole_patches(px: int) -> int:
    """The nearest multiple of a patch; of two equally near, the larger."""
    return max(PATCH_PX, (px + PATCH_PX // 2) // PATCH_PX * PATCH_PX)
