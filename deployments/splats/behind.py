"""A layer behind the front's edges: what a viewer sees who looks past them from the side.

A model that predicts depth says nothing of what the nearer surface hides. Here the farther surface goes on under the nearer one's
rim, as far as a turn by an angle uncovers it: f · tan(angle) · pivot · (1/z near − 1/z far) pixels, as the viewer orbits about the
pivot. Depth of a hidden cell comes from the nearest place where the farther surface is seen, smoothed over the hidden part; colour
from a band of that surface beside the edge, by pull-push (Gortler et al. 1996, "The Lumigraph").

The front layer's rim is put right on the way. A pixel beside an edge whose colour is that of the other side joins that side; one
whose colour lies between the two has none on the far side, where it would hang on the wall as an outline, and is as opaque as its
colour says on the near side, as hair is.

Invariant: the front layer keeps its size, the layer behind has half of it and lies behind the front's surface everywhere.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deployments.splats.kernel import for_kernel, kernel
from deployments.splats.layers import DepthLayer, DepthView, LayeredDepth
from deployments.splats.lifting import resolve_edges

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]

STEP = 2
"""Pixels of the front for one of the layer behind, on each side."""

EDGE = 0.06
"""Relative step of inverse depth that hides something: twice what lifting takes for an edge of one pixel, as cells have two."""

_SMALLEST_PX = 16
"""A side below this has no rim worth the name."""
_ROUNDS = 6
"""Of smoothing what is hidden."""
_SAME = 0.3
"""Hidden surfaces whose inverse depths differ by more than this fraction stay two."""
_BACK = 1.004
"""The layer behind lies this much behind the front where they overlap: it never hides the front's own pixels."""
_RIM_PX = 3
"""On either side of an edge, in which colours decide: cameras, JPEGs and networks blur it over as many."""
_CLEAR = 24.0
"""Levels by which the two sides' colours must differ before a rim's colour says anything."""
_ALIKE = 0.06
"""A colour is that of a side if its squared distance is below this share of the two sides'."""
_ROUND_OFF = 0.08
"""By which fraction inverse depth may fall over the last three pixels before an outline, and as much over the three before them:
what falls more is a splinter between two surfaces."""


def continue_behind(layered: LayeredDepth, angle_deg: float) -> LayeredDepth:
    """The frame with a layer behind every view that has one layer only.

    Args:
        layered: A frame.
        angle_deg: How far to the side it is to be looked at, 0..45; 0: the frame itself.

    Returns:
        The frame; views without an edge, with several layers or of fewer than 16 pixels a side are as they were.

    Raises:
        ValueError: If the angle is out of its range.
    """
    if not 0 <= angle_deg <= 45:
        raise ValueError(f"angle_deg: expected 0 to 45, got {angle_deg}")
    if angle_deg == 0:
        return layered
    reach = math.tan(math.radians(angle_deg)) * pivot_depth(layered.views[0])
    return replace(layered, views=tuple(_continue_view(view, reach) for view in layered.views))


def pivot_depth(view: DepthView) -> float:
    """The depth about which a viewer orbits: of the nearer quarter of the picture's middle half. Model units; 1 without depth."""
    inverse = view.layers[0].inverse_depth
    quarter = view.camera.width // 4
    some = inverse[::4, quarter : view.camera.width - quarter : 4]
    some = some[some > 0]
    return 1 / float(np.partition(some, (3 * some.size) // 4)[(3 * some.size) // 4]) if some.size else 1.0


def _continue_view(view: DepthView, reach: float) -> DepthView:
    front, camera = view.layers[0], view.camera
    if len(view.layers) > 1 or min(camera.width, camera.height) < _SMALLEST_PX:
        return view
    crisp = front.inverse_depth.copy() if front.crisp else resolve_edges(front.inverse_depth, camera)
    height, width = camera.height // STEP, camera.width // STEP
    picture = for_kernel(view.picture)
    near, far, means = (np.empty((height, width, *more), np.float32) for more in ((), (), (3,)))
    _reduce(crisp, picture, near, far, means)
    sources, seeds = np.zeros((height, width), np.uint8), np.full((height, width), -1, np.int32)
    clean = np.empty((height, width, 3), np.float32)
    if not _find_sources(near, far, means, sources, clean):
        return view
    # Cells for each unit of inverse depth between the two surfaces.
    _spread(far, np.float32(reach * max(camera.fx, camera.fy) / STEP), sources, seeds)
    inverse, level = np.zeros((height, width), np.float32), np.zeros((height, width, 4), np.float32)
    _continue(far, clean, sources, seeds, inverse, level)
    colors = _fill(level)
    opacity = np.full(crisp.shape, 255, np.uint8) if front.opacity is None else front.opacity.copy()
    is_soft = _mend_rim(crisp, picture, inverse, colors, _OFFSETS, opacity) > 0 or front.opacity is not None
    layers = (
        DepthLayer(crisp, front.colors, opacity if is_soft else None, crisp=True),
        DepthLayer(inverse, colors, crisp=True),
    )
    return DepthView(camera, layers, view.picture, view.pose)


def warm_up() -> None:
    """Compile the kernels, or load them from the cache."""
    from deployments.splats.camera import Camera

    inverse = np.ones((32, 32), np.float32)
    inverse[8:24, 8:24] = 2
    view = DepthView(Camera(32, 32, 32.0, 32.0, 16.0, 16.0), (DepthLayer(inverse),), np.zeros((32, 32, 3), np.uint8))
    continue_behind(LayeredDepth((view,)), 15)


@kernel
def _reduce(w: F32, picture: U8, near: F32, far: F32, means: F32) -> None:
    """Largest and smallest inverse depth of each cell's pixels with a surface, 0 where none has one; and the mean colour."""
    zero, per = np.float32(0.0), np.float32(1.0 / (STEP * STEP))
    height, width = near.shape
    for i in range(height):
        for j in range(width):
            high, low, r, g, b = zero, zero, zero, zero, zero
            for v in range(i * STEP, (i + 1) * STEP):
                for u in range(j * STEP, (j + 1) * STEP):
                    here = w[v, u]
                    r += np.float32(picture[v, u, 0])
                    g += np.float32(picture[v, u, 1])
                    b += np.float32(picture[v, u, 2])
                    if here > zero:
                        high = max(high, here)
                        low = here if low == zero else min(low, here)
            near[i, j], far[i, j] = high, low
            means[i, j, 0], means[i, j, 1], means[i, j, 2] = r * per, g * per, b * per


@kernel
def _clean_colour(near: F32, far: F32, means: F32, touched: U8, i: int, j: int, out: F32) -> bool:
    """Mean colour of the cells around (i, j) that are of its surface and beside no edge; False if there are none."""
    zero, edge, w = np.float32(0.0), np.float32(EDGE), far[i, j]
    height, width = near.shape
    for radius in range(3, 6):
        r, g, b, count = zero, zero, zero, zero
        for y in range(max(i - radius, 0), min(i + radius + 1, height)):
            for x in range(max(j - radius, 0), min(j + radius + 1, width)):
                if touched[y, x] == 0 and abs(far[y, x] - w) < edge * w and near[y, x] - far[y, x] < edge * w:
                    r += means[y, x, 0]
                    g += means[y, x, 1]
                    b += means[y, x, 2]
                    count += np.float32(1.0)
        if count >= np.float32(3.0):
            out[0], out[1], out[2] = r / count, g / count, b / count
            return True
    return False


@kernel
def _find_sources(near: F32, far: F32, means: F32, sources: U8, clean: F32) -> int:
    """Mark the cells of a farther surface beside a nearer one, note that surface's colour, and count them.

    Cells with nothing of their surface around them that touches no edge are splinters of a blurred edge, and no sources.
    """
    zero, least = np.float32(0.0), np.float32(1.0 - EDGE)
    height, width = near.shape
    edges, touched = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    for i in range(height):
        above, below = max(i - 1, 0), min(i + 1, height - 1)
        for j in range(width):
            left, right = max(j - 1, 0), min(j + 1, width - 1)
            most = max(max(near[above, j], near[below, j]), max(max(near[i, left], near[i, right]), near[i, j]))
            most = max(most, max(max(near[above, left], near[above, right]), max(near[below, left], near[below, right])))
            if (far[i, j] > zero) & (most * least > far[i, j]):
                edges[i, j] = 1
                # Cameras and JPEGs blur an edge over more than a cell.
                touched[above : below + 1, left : right + 1] = 1
    found = 0
    for i in range(height):
        for j in range(width):
            if edges[i, j]:
                if _clean_colour(near, far, means, touched, i, j, clean[i, j]):
                    sources[i, j] = 1
                    found += 1
                else:
                    edges[i, j] = 2
    for i in range(height):
        for j in range(width):
            if edges[i, j] == 2:
                most = near[i, j]
                for y in range(max(i - 1, 0), min(i + 2, height)):
                    for x in range(max(j - 1, 0), min(j + 2, width)):
                        most = max(most, near[y, x])
                far[i, j] = most
    return found


@kernel
def _spread(far: F32, span: np.float32, sources: U8, seeds: I32) -> None:
    """Hand on each source, as row · 2¹⁶ + column, from neighbour to neighbour to the cells that hide its surface within reach.

    The one stays whose surface shows first there when one looks past the edge: distance over difference of inverse depth.
    """
    zero, least, span2 = np.float32(0.0), np.float32(1.0 - EDGE / 2), span * span
    height, width = far.shape
    size = height * width
    late = np.full((height, width), np.float32(np.inf), np.float32)
    # A ring of the cells that have something to hand on, each once at a time: it never holds more than all.
    ring, waits = np.empty(size, np.int32), np.zeros((height, width), np.uint8)
    first, count = 0, 0
    for i in range(height):
        for j in range(width):
            if sources[i, j]:
                ring[count] = i << 16 | j
                waits[i, j] = 1
                count += 1
    while count:
        at = ring[first]
        first = first + 1 if first + 1 < size else 0
        count -= 1
        ci, cj = at >> 16, at & 0xFFFF
        waits[ci, cj] = 0
        for own in range(2):
            seed = (at if sources[ci, cj] else -1) if own else seeds[ci, cj]
            if seed < 0:
                continue
            w = far[seed >> 16, seed & 0xFFFF]
            for i in range(max(ci - 1, 0), min(ci + 2, height)):
                for j in range(max(cj - 1, 0), min(cj + 2, width)):
                    here = far[i, j]
                    if here > zero and here * least <= w:
                        continue
                    y, x = (seed >> 16) - i, (seed & 0xFFFF) - j
                    # Two cells nearer than it is: splats are wider than their cells. Where depth is missing little is hidden.
                    distance = max(np.sqrt(np.float32(y * y + x * x)) - np.float32(2.0), np.float32(0.01))
                    apart = here - w if here > zero else np.float32(0.02)
                    then = distance * distance / (apart * apart)
                    if then > span2:
                        continue
                    key = distance * distance / (apart * apart * apart * apart * apart * apart)
                    if key >= late[i, j]:
                        continue
                    late[i, j], seeds[i, j] = key, seed
                    if waits[i, j] == 0:
                        waits[i, j] = 1
                        ring[(first + count) % size] = i << 16 | j
                        count += 1


@kernel
def _continue(far: F32, clean: F32, sources: U8, seeds: I32, out: F32, level: F32) -> None:
    """Inverse depth of the layer behind, 0 where it has no surface, and in ``level`` its colours, with weight 1 there."""
    zero, one = np.float32(0.0), np.float32(1.0)
    height, width = far.shape
    edge = np.float32(EDGE)
    cells = np.empty((height * width, 2), np.int32)
    count = 0
    for i in range(height):
        for j in range(width):
            s = seeds[i, j]
            if sources[i, j] and s < 0:
                # A cell's width outwards, so that no gap shows between what is seen and what goes on.
                for y in range(max(i - 1, 0), min(i + 2, height)):
                    for x in range(max(j - 1, 0), min(j + 2, width)):
                        if seeds[y, x] < 0 and sources[y, x] == 0 and abs(far[y, x] - far[i, j]) < edge * far[i, j]:
                            out[y, x] = far[y, x]
                            level[y, x, :3] = clean[i, j]
                            level[y, x, 3] = one
                out[i, j] = far[i, j]
                level[i, j, :3] = clean[i, j]
                level[i, j, 3] = one
            elif s >= 0:
                out[i, j] = far[s >> 16, s & 0xFFFF]
                level[i, j, :3] = clean[s >> 16, s & 0xFFFF]
                level[i, j, 3] = one
                cells[count, 0], cells[count, 1] = i, j
                count += 1
    for sweep in range(_ROUNDS):
        for a in range(count):
            i, j = cells[a if sweep % 2 == 0 else count - 1 - a]
            here = out[i, j]
            total, parts = here, one
            r, g, b = level[i, j, 0], level[i, j, 1], level[i, j, 2]
            for k in range(4):
                y, x = i + (k == 0) - (k == 1), j + (k == 2) - (k == 3)
                if 0 <= y < height and 0 <= x < width:
                    there = out[y, x]
                    if there > zero and abs(there - here) < np.float32(_SAME) * here:
                        total += there
                        r += level[y, x, 0]
                        g += level[y, x, 1]
                        b += level[y, x, 2]
                        parts += one
            per = one / parts
            out[i, j] = total * per
            level[i, j, 0], level[i, j, 1], level[i, j, 2] = r * per, g * per, b * per
    for i in range(height):
        for j in range(width):
            if out[i, j] > zero:
                out[i, j] = (min(out[i, j], far[i, j]) if far[i, j] > zero else out[i, j]) / np.float32(_BACK)


def _fill(level: F32) -> U8:
    """Colours continued over the whole layer, so that its JPEG is small: pull-push. uint8 [h, w, 3]."""
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


_OFFSETS = np.array(
    sorted(
        ((v, u) for v in range(-_RIM_PX, _RIM_PX + 1) for u in range(-_RIM_PX, _RIM_PX + 1) if 0 < v * v + u * u <= _RIM_PX**2),
        key=lambda at: at[0] ** 2 + at[1] ** 2,
    ),
    np.int32,
)
"""Places around a pixel, the nearest first. int32 [N, 2]."""


@kernel
def _mend_rim(w: F32, picture: U8, behind: F32, colors: U8, offsets: I32, opacity: U8) -> int:
    """Put pixels beside an edge on the side whose colour they have, hide them, or make them sheer; how many of the latter."""
    zero, least, clear, like = np.float32(0.0), np.float32(1.0 - EDGE), np.float32(_CLEAR), np.float32(_ALIKE)
    height, width = w.shape
    rows, columns = behind.shape
    before = w.copy()
    marked = np.zeros((height, width), np.uint8)
    for v in range(height):
        below = min(v + 1, height - 1)
        for u in range(width):
            here, right, down = before[v, u], before[v, min(u + 1, width - 1)], before[below, u]
            if (max(here, right) * least > min(here, right)) | (max(here, down) * least > min(here, down)):
                marked[max(v - _RIM_PX + 1, 0) : v + _RIM_PX + 1, max(u - _RIM_PX + 1, 0) : u + _RIM_PX + 1] = 1
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
def _smooth_rim(w: F32, behind: F32, marked: U8) -> None:
    """The nearer side of a rim as the mean of its neighbours: splinters of a blurred edge fly apart when seen from the side."""
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
            w[v, u] = total / count
