"""Colours continued over places that have none: pull-push (Gortler et al. 1996, "The Lumigraph")."""

import math

import numpy as np
from numpy.typing import NDArray

from deployments.splats.kernel import kernel

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]


def fill(level: F32) -> U8:
    """Every cell's colour; a JPEG of it is small.

    Args:
        level: Red, green, blue, levels, and weight, 1 where they are known and 0 elsewhere; filled in place. float32 [h, w, 4].

    Returns:
        uint8 [h, w, 3].
    """
    levels = [level]
    while max(levels[-1].shape[:2]) > 1:
        h, w = levels[-1].shape[:2]
        coarse = np.empty(((h + 1) // 2, (w + 1) // 2, 4), np.float32)
        _pull(levels[-1], coarse)
        levels.append(coarse)
    while len(levels) > 1:
        coarse = levels.pop()
        _push(coarse, levels[-1])
    out = np.empty((*level.shape[:2], 3), np.uint8)
    _round(level, out)
    return out


@kernel
def _pull(fine: F32, coarse: F32) -> None:
    """Means over two by two cells, by weight; a cell with any known one counts as known."""
    height, width = fine.shape[0], fine.shape[1]
    for i in range(coarse.shape[0]):
        for j in range(coarse.shape[1]):
            r = g = b = weight = np.float32(0.0)
            for v in range(2 * i, min(2 * i + 2, height)):
                for u in range(2 * j, min(2 * j + 2, width)):
                    k = fine[v, u, 3]
                    r += k * fine[v, u, 0]
                    g += k * fine[v, u, 1]
                    b += k * fine[v, u, 2]
                    weight += k
            per = np.float32(1.0) / max(weight, np.float32(1e-6))
            coarse[i, j, 0], coarse[i, j, 1], coarse[i, j, 2] = r * per, g * per, b * per
            coarse[i, j, 3] = min(weight, np.float32(1.0))


@kernel
def _push(coarse: F32, fine: F32) -> None:
    """Fill what is unknown from the coarser level, linearly between its cells."""
    height, width = fine.shape[0], fine.shape[1]
    h, w = coarse.shape[0], coarse.shape[1]
    for i in range(height):
        y = (np.float32(i) + np.float32(0.5)) * np.float32(0.5) - np.float32(0.5)
        i0 = max(math.floor(y), 0)
        i1 = min(math.floor(y) + 1, h - 1)
        fy = min(max(y - np.float32(i0), np.float32(0.0)), np.float32(1.0))
        for j in range(width):
            known = fine[i, j, 3]
            if known >= np.float32(1.0):
                continue
            x = (np.float32(j) + np.float32(0.5)) * np.float32(0.5) - np.float32(0.5)
            j0 = max(math.floor(x), 0)
            j1 = min(math.floor(x) + 1, w - 1)
            fx = min(max(x - np.float32(j0), np.float32(0.0)), np.float32(1.0))
            for c in range(3):
                top = coarse[i0, j0, c] + fx * (coarse[i0, j1, c] - coarse[i0, j0, c])
                low = coarse[i1, j0, c] + fx * (coarse[i1, j1, c] - coarse[i1, j0, c])
                filled = top + fy * (low - top)
                fine[i, j, c] = filled + known * (fine[i, j, c] - filled)
            fine[i, j, 3] = np.float32(1.0)


@kernel
def _round(level: F32, out: U8) -> None:
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for c in range(3):
                out[i, j, c] = np.uint8(min(max(level[i, j, c] + np.float32(0.5), np.float32(0.0)), np.float32(255.0)))
