"""Making pictures smaller on the device, bit for bit as ``cv2.resize`` does with ``INTER_AREA``.

A pixel of the result is the mean of the pixels that it covers, those at its borders in part. OpenCV adds up rows, then columns, in
float32, one product after the other, and rounds to even: so does this. On a host with many cores, OpenCV's own threads take longer
to start than a GPU takes for all of it.
"""

import functools
import itertools
import math
import operator
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deployments.models.da3.picture import fit

_MOST_PIXELS = 1920 * 1080


def device_steps(width: int, height: int, longest_px: int) -> tuple[tuple[int, int], ...] | None:
    """The sizes (width, height) that :func:`shrink` is to go through for the picture that ``picture.prepare`` makes.

    Returns:
        None if that is not this module's: something grows, or shrinks by whole numbers, for which OpenCV has other formulas, or the
        picture is so large that copying it takes longer.
    """
    steps = []
    before = width, height
    if width * height > _MOST_PIXELS:
        return None
    for size in fit(width, height, longest_px):
        if size == before:
            continue
        if size[0] > before[0] or size[1] > before[1] or not any(a % b for a, b in zip(before, size, strict=True)):
            return None
        steps.append(size)
        before = size
    return tuple(steps)


Taps = list[tuple[Tensor, Tensor]]
"""Index and weight of the first pixel that goes into each of a row, of the second, and so on. int64 and float32 [size] each."""


def taps_of(sizes: Sequence[tuple[int, int]], device: torch.device) -> list[tuple[Taps, Taps]]:
    """What :func:`shrink` needs from one size (width, height) to the next, across and down."""
    return [(_taps(before[0], after[0], device), _taps(before[1], after[1], device)) for before, after in itertools.pairwise(sizes)]


def _taps(before: int, after: int, device: torch.device) -> Taps:
    index, weight = area_taps(before, after)
    return [(torch.from_numpy(i).to(device), torch.from_numpy(w).to(device)) for i, w in zip(index, weight, strict=True)]


def shrink(pictures: Tensor, across: Taps, down: Taps) -> Tensor:
    """Smaller pictures.

    Args:
        pictures: Whole numbers from 0 to 255. float32 [..., H, W, 3].
        across, down: From :func:`taps_of`.

    Returns:
        Whole numbers again. float32 [..., H', W', 3].
    """
    for axis, taps in ((-2, across), (-3, down)):
        parts = (pictures.index_select(axis, i) * w.view(-1, *[1] * (-1 - axis)) for i, w in taps)
        pictures = functools.reduce(operator.add, parts)
    return pictures.round()


def area_taps(before: int, after: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Which pixels of a row make up each pixel of a shorter row, and their weights, in the order in which they are added.

    Args:
        before, after: Pixels in the rows.

    Returns:
        Indices int64 [taps, after], and weights float32 [taps, after], 0 where there are fewer taps.
    """
    scale = before / after
    rows: list[list[tuple[int, float]]] = []
    for x in range(after):
        left, right = x * scale, x * scale + scale
        width = min(scale, before - left)
        first, last = math.ceil(left), min(math.floor(right), before - 1)
        first = min(first, last)
        row = [(i, 1.0 / width) for i in range(first, last)]
        # OpenCV leaves out slivers of less than a thousandth.
        if first - left > 1e-3:
            row.insert(0, (first - 1, (first - left) / width))
        if right - last > 1e-3:
            row.append((last, min(min(right - last, 1.0), width) / width))
        rows.append(row)
    taps = max(map(len, rows))
    index, weight = np.zeros((taps, after), np.int64), np.zeros((taps, after), np.float32)
    for x, row in enumerate(rows):
        for tap, (i, w) in enumerate(row):
            index[tap, x], weight[tap, x] = i, w
    return index, weight
