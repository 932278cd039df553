"""The ``planes`` codec: Gaussians that a network predicted for a picture's pixels, coded like pictures. Every frame stands alone.

Little-endian. A header of 12 bytes:

======  =======  ==============================================================================================
offset  type     meaning
======  =======  ==============================================================================================
0       4 bytes  ``SPLP``
4       u8       version, 1
5       u8       views, 1..8
6       u16      0
8       u32      CRC-32 (zlib's) of all bytes after it
======  =======  ==============================================================================================

then 108 bytes for each view:

======  =======  ==============================================================================================
0       u16 × 2  width, height of its planes, pixels, 1..4096; 2²⁰ pixels at most in all views
4       f32 × 4  fx, fy, cx, cy, pixels of that grid; fx and fy above 0
20      f32      pose, row by row: first camera to this one, [3, 4]; the first view's is the identity
68      f32      unit: inverse depth is a whole number of units, at most 2²² − 1; above 0
72      f32 × 2  low, high: ln of the smallest and of the largest scale, −20..20
80      f32      bound of offsets, pixels, 0..10⁴; 0: there are none
84      u32 × 6  bytes of depth, colour, front, side, opacity, offset; the last is 0 without offsets, no other is
======  =======  ==============================================================================================

then, view after view, these six sections. The depth plane is that of :mod:`deployments.splats.codecs.depth_map`; its pixels without
a surface have no Gaussian. The others are baseline JPEGs (:mod:`deployments.splats.codecs.jpeg_head`) of the same size, in three
channels r, g, b or, of opacity, one; with s the size of a pixel, (0.5/fx + 0.5/fy)·z:

========  =============================================================================================================
plane     of the Gaussian of pixel u, v, in the view's camera frame
========  =============================================================================================================
depth     1/z of the centre, in units
offset    centre (u + ½ + x, v + ½ + y) on the grid: x = (r − 128)/127 · bound, y by g; b is not used
colour    r/255, g/255, b/255
front     Lxx by r, Lyy by g, Lxy by b
side      Lxz by r, Lyz by g, Lzz by b
opacity   r/255, at least 1/255
========  =============================================================================================================

L is the ellipsoid's logarithm, R · diag(ln(scale / s)) · Rᵀ with R its rotation: a symmetric matrix whose eigenvalues, within
low..high, and eigenvectors give scales and axes back. Its diagonal is low + byte/255 · (high − low), what is beside the diagonal
(byte − 128)/127 · (high − low)/2.

The encoder decides what is shown: a pixel whose Gaussian was pruned has none. The grid is the part of the picture in which any is
left, and if there are more than the budget it is a coarser one, whose cells take the Gaussian in their middle, larger. What is
behind the edges of the first view's Gaussians is one more view, from the same place and of fewer pixels.

Error: inverse depth is off by at most half a step (15 units). What JPEG does to the rest is the encoder's choice, between the rungs
of :mod:`deployments.splats.codecs.planes_ladder`. Harmonics beyond DC are dropped, and colours are clamped to 0..1.
"""

import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployments.splats.activations import SH_C0, rgb_to_dc
from deployments.splats.camera import Camera, PosedCamera
from deployments.splats.codecs import depth_map
from deployments.splats.codecs.depth import median_inverse
from deployments.splats.codecs.jpeg_head import check_jpeg
from deployments.splats.codecs.planes_heads import (
    CRC_FROM,
    HEADER,
    MAGIC,
    MAX_OFFSET,
    MAX_SIDE,
    MAX_VIEWS,
    NAME,
    REST,
    VERSION,
    VIEW,
    ViewHead,
    read_heads,
)
from deployments.splats.codecs.planes_ladder import Rung, rung_at
from deployments.splats.codecs.planes_values import MIDDLE, fill_holes, from_planes, measure_offsets, to_planes
from deployments.splats.codecs.view_heads import MAX_PIXELS, pack_lens
from deployments.splats.errors import BadBytes, Buffer, as_bytes, check_size
from deployments.splats.gaussians import Gaussians
from deployments.splats.kernel import for_kernel
from deployments.splats.layer_lifting import join, to_view
from deployments.splats.lifting import fit_grid, scale_camera
from deployments.splats.pruning import thinned_growth

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

EncodeJpeg = Callable[[U8, int, bool], bytes]
"""A picture, uint8 [H, W, 1 or 3], the quality, and whether colours are halved both ways → a baseline JPEG."""
ReadJpeg = Callable[[bytes, int], U8]
"""A JPEG and its channels → uint8 [H, W, channels]; raises ValueError if it is broken."""

_LN_SCALE = (-2.5, 1.3)
"""Thinner than a twelfth of a pixel is thin enough; few are larger than four pixels."""
_OFFSET_PX = 1.5
_NO_OFFSET_PX = 1 / 128
_BEYOND = 0.001
"""Share of Gaussians that may lie outside a range: there it is wider only for more."""
_SAMPLE = 41
"""Every so many Gaussians are measured; a prime, so that they are no columns of the picture."""


@dataclass(frozen=True, slots=True)
class Behind:
    """A layer behind the first view's Gaussians.

    Attributes:
        gaussians: On the grid of ``view``, in the first camera's frame.
        kept: Indices of those to show.
        view: The camera that they are pixels of.
        rung: How finely they are coded.
    """

    gaussians: Gaussians
    kept: NDArray[np.intp]
    view: PosedCamera
    rung: Rung


def can_encode(gaussians: Gaussians, views: Sequence[PosedCamera]) -> bool:
    """Whether these Gaussians lie on the grids of these cameras, and are few enough."""
    grid = gaussians.grid
    if grid is None or grid[0] != len(views) or not 1 <= grid[0] <= MAX_VIEWS or not 1 <= len(gaussians) <= MAX_PIXELS:
        return False
    return max(grid[1:]) <= MAX_SIDE and all((view.camera.height, view.camera.width) == grid[1:] for view in views)


def encode_planes(
    gaussians: Gaussians,
    kept: NDArray[np.intp],
    views: Sequence[PosedCamera],
    *,
    rung: Rung,
    encode_jpeg: EncodeJpeg,
    max_splats: int = MAX_PIXELS,
    pool: Executor | None = None,
    behind: Behind | None = None,
) -> tuple[U8, int]:
    """A frame as bytes.

    Args:
        gaussians: On a grid, in the first camera's frame; see :func:`can_encode`.
        kept: Indices of those to show; any that its own camera does not see (z ≤ 0) is left out.
        views: The cameras that they are pixels of.
        rung: How finely.
        encode_jpeg: The JPEG encoder; called from the pool's threads, if there is one.
        max_splats: Budget.
        pool: Where JPEGs are coded while the depth is.
        behind: What is behind the first view's Gaussians; it becomes a view of its own, after the others.

    Returns:
        Fresh, contiguous, uint8 [size]; and how many Gaussians are in it.

    Raises:
        ValueError: If the Gaussians are not on these cameras' grids, or too many.
    """
    if not can_encode(gaussians, views) or gaussians.grid is None:
        raise ValueError(
            f"planes: expected up to {MAX_PIXELS} Gaussians on the grids of {len(views)} cameras, "
            f"got {len(gaussians)} on {gaussians.grid}"
        )
    pixels = gaussians.grid[1] * gaussians.grid[2]
    shown = _shown(len(gaussians), kept)
    todo = []
    for index, view in enumerate(views):
        of_view = slice(index * pixels, (index + 1) * pixels)
        todo.append((_slice(gaussians, of_view) if len(views) > 1 else gaussians, shown[of_view], view, rung))
    total = len(kept)
    if behind is not None and len(behind.kept):
        todo.append((behind.gaussians, _shown(len(behind.gaussians), behind.kept), behind.view, behind.rung))
        total += len(behind.kept)
    heads, sections, count = [], [], 0
    for own, own_shown, view, own_rung in todo:
        share = max_splats * int(np.count_nonzero(own_shown)) // max(total, 1)
        budget = max(1, share) if len(todo) > 1 else max_splats
        head, parts, found = _encode_view(to_view(own, view.pose), own_shown, view, own_rung, encode_jpeg, budget, pool)
        heads.append(head)
        sections += parts
        count += found
    body = b"".join([*heads, *sections])
    start = HEADER.pack(MAGIC, VERSION, len(todo), 0, zlib.crc32(body))
    return np.frombuffer(bytearray(start + body), np.uint8), count


def decode_planes(buffer: Buffer, read_jpeg: ReadJpeg) -> Gaussians:
    """The Gaussians in ``buffer``, in the first camera's frame, view after view and row by row.

    Args:
        buffer: A frame.
        read_jpeg: The JPEG decoder. It gets only baseline files whose own header states the planes' size.

    Raises:
        BadBytes: Another magic or version, a number out of its range, a checksum or a plane that does not fit, trailing bytes.
        Truncated: Fewer bytes than the headers announce.
    """
    data = as_bytes(NAME, buffer)
    heads = read_heads(data)
    at = HEADER.size + VIEW.size * len(heads)
    total = sum(sum(head.sizes) for head in heads)
    check_size(NAME, data, at + total, f"the headers and sections of {total}")
    crc, stated = zlib.crc32(data[CRC_FROM:].data), int.from_bytes(data[8:12].tobytes(), "little")
    if crc != stated:
        raise BadBytes(NAME, 8, f"the checksum {crc:08x}", f"{stated:08x}")
    parts = []
    for index, head in enumerate(heads):
        parts.append(_decode_view(data, at, head, head.pose if index else head.pose[:0], read_jpeg))
        at += sum(head.sizes)
    return join(parts, None)


def warm_up(encode_jpeg: EncodeJpeg, read_jpeg: ReadJpeg) -> None:
    """Compile the kernels, or load them from the cache."""
    n, ones = 4, np.ones((4, 3), np.float32)
    quats = np.tile(np.array([1, 0, 0, 0], np.float32), (n, 1))
    for k in (1, 4, 9):
        frame = Gaussians(ones, ones, quats, np.ones(n, np.float32), np.zeros((n, k, 3), np.float32), (1, 2, 2))
        view = PosedCamera(Camera(2, 2, 2.0, 2.0, 1.0, 1.0))
        data, _ = encode_planes(frame, np.array([0, 1, 3]), [view], rung=rung_at(1 / 512), encode_jpeg=encode_jpeg)
        decode_planes(data, read_jpeg)


def _shown(size: int, kept: NDArray[np.intp]) -> NDArray[np.bool_]:
    shown = np.zeros(size, np.bool_)
    shown[kept] = True
    return shown


def _slice(gaussians: Gaussians, part: slice) -> Gaussians:
    return Gaussians(
        gaussians.means[part], gaussians.scales[part], gaussians.quats[part], gaussians.opacities[part], gaussians.sh[part]
    )


def _encode_view(
    gaussians: Gaussians,
    shown: NDArray[np.bool_],
    view: PosedCamera,
    rung: Rung,
    encode_jpeg: EncodeJpeg,
    budget: int,
    pool: Executor | None,
) -> tuple[bytes, list[bytes], int]:
    """Head, sections and number of Gaussians of one view."""
    rows, columns, camera, growth = _grid(shown.reshape(view.camera.height, view.camera.width), view.camera, budget)
    some = np.ascontiguousarray(np.flatnonzero(shown)[::_SAMPLE])
    low, high, bound = _ranges(gaussians, some, view.camera)
    if growth > 1 and not bound:
        bound = _OFFSET_PX  # The middle of a coarser cell is seldom that of one of its pixels.
    shape = (len(rows), len(columns))
    inverse, opacity = np.empty(shape, np.float32), np.empty((*shape, 1), np.uint8)
    colour, front, side, offset = (np.empty((*shape, 3), np.uint8) for _ in range(4))
    lens = np.array([camera.fx, camera.fy, camera.cx, camera.cy], np.float32)
    numbers = np.array([low, high, growth, bound or _OFFSET_PX, SH_C0], np.float32)
    to_planes(
        for_kernel(gaussians.means),
        for_kernel(gaussians.scales),
        for_kernel(gaussians.quats),
        for_kernel(gaussians.opacities),
        for_kernel(gaussians.sh),
        for_kernel(shown),
        rows,
        columns,
        view.camera.width,
        lens,
        numbers,
        inverse,
        colour,
        front,
        side,
        opacity,
        offset,
    )
    unit = float(np.float32(max(rung.step * median_inverse(inverse) / depth_map.UNITS_PER_STEP, float(np.finfo(np.float32).tiny))))
    units = depth_map.quantise(inverse, unit)
    count = int(np.count_nonzero(units))
    pictures = [(colour, rung.colour, True), (front, rung.front, False), (side, rung.side, False), (opacity, rung.opacity, False)]
    if bound:
        pictures.append((offset, rung.offset, False))

    def encode(plane: U8, quality: int, halved: bool) -> bytes:
        if count < units.size:
            fill_holes(units, plane)
        return encode_jpeg(plane, quality, halved)

    if pool is None:
        depth = depth_map.encode_plane(units, depth_map.DEPTH)[0].tobytes()
        coded = [encode(*picture) for picture in pictures]
    else:
        waiting = [pool.submit(encode, *picture) for picture in pictures]
        depth = depth_map.encode_plane(units, depth_map.DEPTH)[0].tobytes()
        coded = [each.result() for each in waiting]
    sections = [depth, *coded, *([] if bound else [b""])]
    head = pack_lens(camera, view.pose) + REST.pack(unit, low, high, bound, *map(len, sections))
    return head, sections, count


def _grid(shown: NDArray[np.bool_], camera: Camera, budget: int) -> tuple[NDArray[np.int32], NDArray[np.int32], Camera, float]:
    """Rows and columns of the picture's grid that are stored, the camera of theirs, and how much larger the splats are.

    All between the first and the last that anything is shown of; or, above the budget, every so many of them.
    """
    across, down = np.flatnonzero(shown.any(axis=0)), np.flatnonzero(shown.any(axis=1))
    if not len(across):
        return np.zeros(1, np.int32), np.zeros(1, np.int32), Camera(1, 1, camera.fx, camera.fy, camera.cx, camera.cy), 1.0
    left, top = int(across[0]), int(down[0])
    rows = np.arange(top, down[-1] + 1, dtype=np.int32)
    columns = np.arange(left, across[-1] + 1, dtype=np.int32)
    cut = Camera(len(columns), len(rows), camera.fx, camera.fy, camera.cx - left, camera.cy - top)
    cells, left_over = len(rows) * len(columns), int(np.count_nonzero(shown))
    thin_rows, thin_columns = rows, columns
    while left_over > budget and cells > 1:
        # Where holes lie is not even, so that the first guess may be a few too many.
        cells = max(1, min(cells - 1, int(cells * budget / left_over)))
        width, height = fit_grid(len(columns), len(rows), cells)
        thin_rows, thin_columns = _middles(rows, height), _middles(columns, width)
        left_over = int(np.count_nonzero(shown[np.ix_(thin_rows, thin_columns)]))
    if thin_rows is rows:
        return rows, columns, cut, 1.0
    growth = thinned_growth(len(rows) * len(columns), len(thin_rows) * len(thin_columns))
    return thin_rows, thin_columns, scale_camera(cut, len(thin_columns), len(thin_rows)), growth


def _middles(of: NDArray[np.int32], cells: int) -> NDArray[np.int32]:
    return of[(2 * np.arange(cells) + 1) * len(of) // (2 * cells)]


def _ranges(gaussians: Gaussians, some: NDArray[np.intp], camera: Camera) -> tuple[float, float, float]:
    """Lowest and highest ln of scales, and the bound of offsets, as float32 has them."""
    offsets, ln = np.empty(len(some), np.float32), np.empty(len(some), np.float32)
    lens = np.array([camera.fx, camera.fy, camera.cx, camera.cy], np.float32)
    measure_offsets(for_kernel(gaussians.means), for_kernel(gaussians.scales), some, camera.width, lens, offsets, ln)
    offsets, ln = offsets[offsets < MAX_OFFSET], ln[np.abs(ln) < 15]
    low, high, bound = _LN_SCALE[0], _LN_SCALE[1], 0.0
    if ln.size:
        high = max(high, float(np.quantile(ln, 1 - _BEYOND)))
    if offsets.size and offsets.max() > _NO_OFFSET_PX:
        bound = max(_OFFSET_PX, float(np.quantile(offsets, 1 - _BEYOND)))
    return low, float(np.float32(high)), float(np.float32(bound))


def _decode_view(data: U8, at: int, head: ViewHead, pose: F32, read_jpeg: ReadJpeg) -> Gaussians:
    width, height = head.camera.width, head.camera.height
    starts = [at + sum(head.sizes[:i]) for i in range(6)]
    # Every file's header before any file's pixels.
    for i, start in enumerate(starts[1:], start=1):
        if head.sizes[i]:
            check_jpeg(NAME, data[start : start + head.sizes[i]], start, width, height, 1 if i == 4 else 3)
    units = depth_map.decode_plane(NAME, data, at, head.sizes[0], width, height, depth_map.DEPTH)

    def picture(i: int) -> U8:
        if not head.sizes[i]:
            return np.full((1, 1, 3), MIDDLE, np.uint8)
        start, channels = starts[i], 1 if i == 4 else 3
        try:
            pixels = read_jpeg(data[start : start + head.sizes[i]].tobytes(), channels)
        except ValueError as error:
            raise BadBytes(NAME, start, "a JPEG", str(error)) from None
        if pixels.shape != (height, width, channels):
            raise BadBytes(NAME, start, f"a JPEG of {width}×{height}", f"{pixels.shape}")
        return pixels

    n = int(np.count_nonzero(units))
    means, scales, quats = (np.empty((n, k), np.float32) for k in (3, 3, 4))
    opacities, sh = np.empty(n, np.float32), np.empty((n, 1, 3), np.float32)
    dc_of = rgb_to_dc(np.linspace(0, 1, 256).astype(np.float32))
    lens = np.array([head.camera.fx, head.camera.fy, head.camera.cx, head.camera.cy], np.float32)
    numbers = np.array([head.unit, head.offset, *head.ln_scale], np.float32)
    colour, front, side, opacity, offset = (for_kernel(picture(i)) for i in range(1, 6))
    from_planes(
        units,
        colour,
        front,
        side,
        opacity,
        offset,
        lens,
        numbers,
        pose.astype(np.float64),
        dc_of,
        means,
        scales,
        quats,
        opacities,
        sh,
    )
    return Gaussians(means, scales, quats, opacities, sh)
