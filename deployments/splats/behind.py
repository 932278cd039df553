"""A layer behind the front's edges: what a viewer sees who looks past them from the side.

A model that predicts depth says nothing of what the nearer surface hides. Here the farther surface goes on under the nearer one's
rim, as far as a turn by an angle uncovers it: f · tan(angle) · pivot · (1/z near − 1/z far) pixels, as the viewer orbits about the
pivot. Depth of a hidden cell comes from the nearest place where the farther surface is seen, smoothed over the hidden part; colour
from a band of that surface beside the edge, by pull-push. Where several could go on, the farthest within reach does: a wrong
colour in a slit is seen less than a hole in the wall. What lies behind that as well is coarse (:mod:`deployments.splats.backdrop`).

The front layer's rim is put right on the way (:mod:`deployments.splats.rims`).

Invariant: the front layer keeps its size, the layer behind has half of it and lies behind the front's surface everywhere
but at splinters of a blurred edge, which it may cover; a third one lies behind both.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deployments.splats.backdrop import make_backdrop
from deployments.splats.codecs.depth_heads import MAX_LAYERS
from deployments.splats.kernel import for_kernel, kernel
from deployments.splats.layers import DepthLayer, DepthView, LayeredDepth
from deployments.splats.lifting import resolve_edges
from deployments.splats.pull_push import fill
from deployments.splats.rims import EDGE, STEP, mend_rim

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]

_SMALLEST_PX = 16
"""A side below this has no rim worth the name."""
_ROUNDS = 6
"""Of smoothing what is hidden."""
_SAME = 0.3
"""Hidden surfaces whose inverse depths differ by more than this fraction stay two. Where floor and wall meet unseen, a slope shows
no gap."""
_BACK = 1.004
"""The layer behind lies this much behind the front where they overlap: it never hides the front's own pixels."""


def continue_behind(layered: LayeredDepth, angle_deg: float, most_layers: int = MAX_LAYERS) -> LayeredDepth:
    """The frame with a layer behind every view that has one layer only.

    Args:
        layered: A frame.
        angle_deg: How far to the side it is to be looked at, 0..45; 0: the frame itself.
        most_layers: Of the whole frame; as many as its codec holds.

    Returns:
        The frame; of a single view with a third layer where surfaces at several depths are hidden. Views without an edge, with
        several layers or of fewer than 16 pixels a side are as they were, and so are the last ones where the frame is full.

    Raises:
        ValueError: If the angle is out of its range.
    """
    if not 0 <= angle_deg <= 45:
        raise ValueError(f"angle_deg: expected 0 to 45, got {angle_deg}")
    if angle_deg == 0:
        return layered
    reach = math.tan(math.radians(angle_deg)) * pivot_depth(layered.views[0])
    room, views = most_layers - layered.layer_count, []
    for view in layered.views:
        # What one of several views hides as well, another one is likely to see.
        continued = _continue_view(view, reach, min(room, 2 if len(layered.views) == 1 else 1))
        room -= len(continued.layers) - len(view.layers)
        views.append(continued)
    return replace(layered, views=tuple(views))


def pivot_depth(view: DepthView) -> float:
    """The depth about which a viewer orbits: of the nearer quarter of the picture's middle half. Model units; 1 without depth."""
    inverse = view.layers[0].inverse_depth
    quarter = view.camera.width // 4
    some = inverse[::4, quarter : view.camera.width - quarter : 4]
    some = some[some > 0]
    return 1 / float(np.partition(some, (3 * some.size) // 4)[(3 * some.size) // 4]) if some.size else 1.0


def _continue_view(view: DepthView, reach: float, most: int) -> DepthView:
    """The view with so many more layers at most."""
    front, camera = view.layers[0], view.camera
    if most < 1 or len(view.layers) > 1 or min(camera.width, camera.height) < _SMALLEST_PX:
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
    colors = fill(level)
    deepest = make_backdrop(far, means, inverse, colors) if most > 1 else None
    opacity = np.full(crisp.shape, 255, np.uint8) if front.opacity is None else front.opacity.copy()
    is_soft = mend_rim(crisp, picture, inverse, colors, opacity) > 0 or front.opacity is not None
    layers: tuple[DepthLayer, ...] = (
        DepthLayer(crisp, front.colors, opacity if is_soft else None, crisp=True),
        DepthLayer(inverse, colors, crisp=True),
    )
    if deepest is not None:
        layers += (DepthLayer(*deepest, crisp=True),)
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

    Cells with nothing of their surface around them that touches no edge are splinters of a blurred edge, and no sources: ``far``
    is then the nearer surface's, so that what is behind goes on through them.
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
            if edges[i, j] and _clean_colour(near, far, means, touched, i, j, clean[i, j]):
                sources[i, j] = 1
                found += 1
    for i in range(height):
        for j in range(width):
            if edges[i, j] and not sources[i, j]:
                for y in range(max(i - 1, 0), min(i + 2, height)):
                    for x in range(max(j - 1, 0), min(j + 2, width)):
                        far[i, j] = max(far[i, j], near[y, x])
    return found


@kernel
def _spread(far: F32, span: np.float32, sources: U8, seeds: I32) -> None:
    """Hand on each source, as row · 2¹⁶ + column, from neighbour to neighbour to the cells that hide its surface within reach.

    A cell's surface shows when one looks past the edge by distance over difference of inverse depth, and only what shows within
    reach goes on. Of those the farthest, unless another is much closer by: distance over the difference's third power is least.
    """
    zero, least, span2 = np.float32(0.0), np.float32(1.0 - EDGE / 2), span * span
    height, width = far.shape
    size = height * width
    least_rank = np.full((height, width), np.float32(np.inf), np.float32)
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
                    distance = max(np.sqrt(np.float32(y * y + x * x)) - np.float32(2.0), np.float32(0.5))
                    apart = here - w if here > zero else np.float32(0.02)
                    distance2, apart2 = distance * distance, apart * apart
                    if distance2 > span2 * apart2:
                        continue
                    rank = distance2 / (apart2 * apart2 * apart2)
                    if rank >= least_rank[i, j]:
                        continue
                    least_rank[i, j], seeds[i, j] = rank, seed
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
