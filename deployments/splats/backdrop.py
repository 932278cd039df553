"""The farthest of what is hidden, coarse: what shows where something lies behind something that lies behind something.

The layer behind the front has one surface a cell. Where surfaces at several depths meet in it, as between the spokes of a wheel,
another gap opens between them. There, and nowhere else, a third layer of few large cells has the farthest surface around.

Invariant: a cell lies behind everything around it, so that it is seen only through a gap.
"""

import numpy as np
from numpy.typing import NDArray

from deployments.splats.kernel import for_kernel, kernel
from deployments.splats.pull_push import fill

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

_STEP = 4
"""Cells of the layer behind for one of the backdrop, on each side."""
_AROUND = 2
"""Cells on every side in which surfaces at several depths open a gap, and before all of which a cell must not come."""
_APART = 0.3
"""Fraction by which the inverse depths of the layer behind differ there: less is a slope."""
_LIKE_FARTHEST = 0.15
"""What is nearer than the farthest around by a larger fraction has no say in its colour."""
_BACK = 1.01
_FEWEST = 0.01
"""Share of the cells below which a backdrop is not worth its bytes."""


def make_backdrop(front: F32, means: F32, behind: F32, colors: U8) -> tuple[F32, U8] | None:
    """The backdrop of a view.

    Args:
        front: 1/z of the farthest surface that is seen in each cell, splinters of a blurred edge aside; 0 where there is none.
            float32 [h, w].
        means: Its colours, levels. float32 [h, w, 3].
        behind: 1/z of the layer behind; 0 where it has no surface. float32 [h, w].
        colors: Its colours. uint8 [h, w, 3].

    Returns:
        1/z, 0 where it has no surface, float32 [h / 4, w / 4], and colours, uint8 [h / 4, w / 4, 3]; None where one layer behind is
        enough.
    """
    shape = (max(front.shape[0] // _STEP, 1), max(front.shape[1] // _STEP, 1))
    inverse, level = np.zeros(shape, np.float32), np.zeros((*shape, 4), np.float32)
    count = _find(for_kernel(front), for_kernel(means), for_kernel(behind), for_kernel(colors), inverse, level)
    return (inverse, fill(level)) if count > _FEWEST * inverse.size else None


@kernel
def _find(front: F32, means: F32, behind: F32, colors: U8, inverse: F32, level: F32) -> int:
    """Inverse depth and colours, with weight 1 in ``level`` where they are known; and how many cells have a surface."""
    zero, one, none = np.float32(0.0), np.float32(1.0), np.float32(np.inf)
    apart, like, back = np.float32(1.0 + _APART), np.float32(1.0 + _LIKE_FARTHEST), np.float32(1.0 / _BACK)
    height, width = front.shape
    rows, columns = inverse.shape
    # Of the layer behind in each cell the smallest and the largest, and of both the smallest.
    low, high = np.full((rows, columns), none, np.float32), np.zeros((rows, columns), np.float32)
    least = np.full((rows, columns), none, np.float32)
    for i in range(rows):
        for y in range(i * height // rows, (i + 1) * height // rows):
            for j in range(columns):
                for x in range(j * width // columns, (j + 1) * width // columns):
                    here, seen = behind[y, x], front[y, x]
                    if here > zero:
                        low[i, j], high[i, j] = min(low[i, j], here), max(high[i, j], here)
                        least[i, j] = min(least[i, j], here)
                    if seen > zero:
                        least[i, j] = min(least[i, j], seen)
    count = 0
    for i in range(rows):
        for j in range(columns):
            smallest, largest, farthest, beside = none, zero, none, zero
            for y in range(max(i - _AROUND, 0), min(i + _AROUND + 1, rows)):
                for x in range(max(j - _AROUND, 0), min(j + _AROUND + 1, columns)):
                    smallest, largest = min(smallest, low[y, x]), max(largest, high[y, x])
                    farthest = min(farthest, least[y, x])
                    if abs(y - i) <= 1 and abs(x - j) <= 1:
                        beside = max(beside, high[y, x])
            if beside == zero or largest <= smallest * apart:
                continue
            inverse[i, j] = farthest * back
            count += 1
            r, g, b, parts = zero, zero, zero, zero
            for y in range(max(i - 1, 0) * height // rows, min(i + 2, rows) * height // rows):
                for x in range(max(j - 1, 0) * width // columns, min(j + 2, columns) * width // columns):
                    if zero < front[y, x] <= farthest * like:
                        r += means[y, x, 0]
                        g += means[y, x, 1]
                        b += means[y, x, 2]
                        parts += one
                    elif zero < behind[y, x] <= farthest * like:
                        r += np.float32(colors[y, x, 0])
                        g += np.float32(colors[y, x, 1])
                        b += np.float32(colors[y, x, 2])
                        parts += one
            if parts > zero:
                level[i, j, 0], level[i, j, 1], level[i, j, 2], level[i, j, 3] = r / parts, g / parts, b / parts, one
    return count
