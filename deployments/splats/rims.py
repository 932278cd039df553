"""The rim of a front layer: what of it belongs to which side of an edge, before a layer that goes on behind.

A pixel beside an edge whose colour is that of the other side joins that side; one whose colour lies between the two is sheer on the
near side, as hair is. On the far side the two pixels next to the edge have no depth, and show what is behind: cameras and JPEGs
leave something of the nearer colour there, which would hang on the wall as an outline. Gullies of a few pixels within a surface, as
between a cheek and hair, are filled, and crumbs left out.
"""

import math

import numpy as np
from numpy.typing import NDArray

from deployments.splats.kernel import kernel

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]

STEP = 2
"""Pixels of the front for one of the layer behind, on each side."""

EDGE = 0.06
"""Relative step of inverse depth that hides something: twice what lifting takes for an edge of one pixel, as cells have two."""

_RIM_PX = 3
"""On either side of an edge, in which colours decide: cameras, JPEGs and networks blur it over as many."""
_CLEAR = 24.0
"""Levels by which the two sides' colours must differ before a rim's colour says anything."""
_ALIKE = 0.06
"""A colour is that of a side if its squared distance is below this share of the two sides'."""
_ROUND_OFF = 0.08
"""By which fraction inverse depth may fall over the last three pixels before an outline, and as much over the three before them:
what falls more is a splinter between two surfaces."""
_SIDES, _GULLY = 0.8, 0.6
"""The places on either side of a gully belong to one surface: the farther's inverse depth is more than this share of the nearer's.
What lies between them is a gully if its own is more than this share of theirs, and else what is behind the surface."""
_GULLY_PX = 5
"""A gully is this wide at most."""
_CRUMB = 3
"""So many pixels of one depth among three by three, itself included, are a crumb."""

_OFFSETS = np.array(
    sorted(
        ((v, u) for v in range(-_RIM_PX, _RIM_PX + 1) for u in range(-_RIM_PX, _RIM_PX + 1) if 0 < v * v + u * u <= _RIM_PX**2),
        key=lambda at: at[0] ** 2 + at[1] ** 2,
    ),
    np.int32,
)
"""Places around a pixel, the nearest first. int32 [N, 2]."""


def mend_rim(inverse: F32, picture: U8, behind: F32, colors: U8, opacity: U8) -> int:
    """Put pixels beside an edge on the side whose colour they have, take their depth, or make them sheer.

    Args:
        inverse: 1/z of the front, crisp; changed in place. float32 [H, W].
        picture: Its colours. uint8 [H, W, 3].
        behind: 1/z of the layer behind, 0 where it has no surface. float32 [H / STEP, W / STEP].
        colors: Its colours. uint8 [H / STEP, W / STEP, 3].
        opacity: Of the front; changed in place. uint8 [H, W].

    Returns:
        How many pixels were made sheer.
    """
    return int(_mend_rim(inverse, picture, behind, colors, _OFFSETS, opacity))


@kernel
def _mend_rim(w: F32, picture: U8, behind: F32, colors: U8, offsets: I32, opacity: U8) -> int:
    zero, least, clear, like = np.float32(0.0), np.float32(1.0 - EDGE), np.float32(_CLEAR), np.float32(_ALIKE)
    height, width = w.shape
    rows, columns = behind.shape
    marked = np.zeros((height, width), np.uint8)
    for v in range(height):
        below = min(v + 1, height - 1)
        for u in range(width):
            here, right, down = w[v, u], w[v, min(u + 1, width - 1)], w[below, u]
            if (max(here, right) * least > min(here, right)) | (max(here, down) * least > min(here, down)):
                marked[max(v - _RIM_PX + 1, 0) : v + _RIM_PX + 1, max(u - _RIM_PX + 1, 0) : u + _RIM_PX + 1] = 1
    _close_gullies(w, marked)
    before = w.copy()
    faded = 0
    for v in range(height):
        for u in range(width):
            if marked[v, u] == 0:
                continue
            i, j = min(v // STEP, rows - 1), min(u // STEP, columns - 1)
            back = behind[i, j]
            if back == zero:
                continue
            is_near = before[v, u] * least > back
            # The other side's nearest pixel.
            for k in range(len(offsets)):
                y, x = v + offsets[k, 0], u + offsets[k, 1]
                if 0 <= y < height and 0 <= x < width and (before[y, x] * least > back) != is_near:
                    break
            else:
                continue
            dy, dx, other = np.float32(y - v), np.float32(x - u), before[y, x]
            length = math.sqrt(dy * dy + dx * dx)
            # The nearer surface inside of its edge: its colour where it is first found, and the least depth that its rim has.
            py, px, surface = -1, -1, zero
            for m in range(1, 3):
                inwards = np.float32(-m * _RIM_PX) if is_near else np.float32(length + m * _RIM_PX)
                y, x = round(v + dy / length * inwards), round(u + dx / length * inwards)
                if 0 <= y < height and 0 <= x < width and before[y, x] * least > back:
                    surface = max(surface, before[y, x] * (np.float32(1.0) - np.float32(m) * np.float32(_ROUND_OFF)))
                    if px < 0:
                        py, px = y, x
            if px < 0:
                if not is_near and length < np.float32(1.5):
                    w[v, u] = zero
                continue
            if is_near:
                w[v, u] = max(before[v, u], surface)
            # Squared distances of the pixel's colour from either side's, and of those from each other.
            from_near = from_far = apart = zero
            for c in range(3):
                here, inner, outer = np.float32(picture[v, u, c]), np.float32(picture[py, px, c]), np.float32(colors[i, j, c])
                from_near += (here - inner) ** 2
                from_far += (here - outer) ** 2
                apart += (inner - outer) ** 2
            if apart < clear * clear:
                continue
            # On the line between the two colours, and not near its ends, it is a mixture.
            share = np.float32(0.5) + np.float32(0.5) * (from_far - from_near) / apart
            is_mixed = from_far - share * share * apart < like * apart and min(from_near, from_far) > like * apart
            if is_near and from_far < like * apart:
                w[v, u] = other if other > zero else back
            elif not is_near and (from_near < like * apart or before[v, u] == zero):
                w[v, u] = max(other, surface)
            elif is_near and is_mixed and np.float32(0.0) < share < np.float32(1.0):
                # One level: more cost bytes that nobody sees.
                opacity[v, u] //= 2
                faded += 1
            elif not is_near and (is_mixed or length < np.float32(2.5)):
                w[v, u] = zero
    _smooth_rim(w, behind, marked)
    return faded


@kernel
def _close_gullies(w: F32, marked: U8) -> None:
    """Lift what lies between two places of one surface to the farther of them: from the side, gullies tear it to crumbs."""
    zero, least, same, deepest = np.float32(0.0), np.float32(1.0 - EDGE), np.float32(_SIDES), np.float32(_GULLY)
    height, width = w.shape
    for v in range(height):
        for u in range(width):
            if marked[v, u] == 0:
                continue
            for dv in range(2):
                du = 1 - dv
                one = w[v - dv, u - du] if v >= dv and u >= du else zero
                if w[v, u] >= least * one:
                    continue
                # The nearest place ahead is the other side.
                other, wide = zero, 0
                for k in range(1, _GULLY_PX + 1):
                    y, x = v + k * dv, u + k * du
                    if y < height and x < width and w[y, x] > other:
                        other, wide = w[y, x], k
                if (other <= same * one) | (one <= same * other):
                    continue
                low = min(one, other)
                for k in range(wide):
                    here = w[v + k * dv, u + k * du]
                    if (here < least * low) & ((here == zero) | (here > deepest * low)):
                        w[v + k * dv, u + k * du] = low


@kernel
def _smooth_rim(w: F32, behind: F32, marked: U8) -> None:
    """The nearer side of a rim as the mean of its neighbours, no crumbs: from the side, splinters of an edge fly apart."""
    zero, least = np.float32(0.0), np.float32(1.0 - EDGE)
    height, width = w.shape
    rows, columns = behind.shape
    for v in range(1, height - 1):
        for u in range(1, width - 1):
            if marked[v, u] == 0:
                continue
            here, back = w[v, u], behind[min(v // STEP, rows - 1), min(u // STEP, columns - 1)]
            if back == zero or here * least <= back:
                continue
            total, count = zero, zero
            for y in range(v - 1, v + 2):
                for x in range(u - 1, u + 2):
                    if abs(w[y, x] - here) < np.float32(0.15) * here:
                        total += w[y, x]
                        count += np.float32(1.0)
            w[v, u] = total / count if count > np.float32(_CRUMB) else zero
