"""One plane of integers, depth or opacity, to bytes and back. Exact integers on both sides: every decoder agrees to the bit.

A plane is visited from coarse to fine: a grid of every 16th pixel, then, level by level, the pixels half-way between those that
are known, along the rows first, then along the columns. Each is predicted from its two neighbours at that distance, a and b (and
the next two, c and d, where all four lie on one surface):

- |a − b| ≤ 16 steps: (9·(a + b) − c − d + 8) >> 4, or (a + b + 1) >> 1
- more, which is an edge: one decision says whether it is a or b, so that a silhouette stays crisp
- no b, at the plane's border: a

What is missing is rounded to a multiple of the level's step and added, within the closed loop: the encoder predicts from what the
decoder will have, so the error is at most half the step at every pixel, and coarse levels have finer steps (3, 3, 5, 7, 15 units)
because everything is predicted from them. An opacity plane has steps of one unit: it is exact.

Decisions are coded by the adaptive coder of :mod:`deployments.splats.codecs.range_coder`. A residual is: zero? · negative? · up to
14 decisions "more" · the rest in Elias gamma. The contexts are the difference of a and b, the residuals before it and above it in
the same pass, and the pass. Pixels without a surface are coded first, if there are any (the first byte says so): for each block of
16×16, has it holes? · is it all holes? · then, if only some are, one decision a pixel. Nothing else is coded for them, and they
come back as exactly 0.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployments.splats.codecs.range_coder import (
    EVEN,
    ROOM,
    bytes_used,
    decode_bit,
    decode_even_bit,
    encode_decisions,
    finish,
    is_finished,
    is_started,
    new_decoder,
    new_encoder,
    new_states,
)
from deployments.splats.errors import BadBytes
from deployments.splats.kernel import for_kernel, inline, kernel
from deployments.splats.lifting import LARGEST, SMALLEST

I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

MAX_UNITS = (1 << 22) - 1
"""Largest depth, units: nine times the sum of two stays within 32 bits."""

UNITS_PER_STEP = 15
"""Odd, so that rounding to a multiple of a step is symmetric: with the half unit that rounding to units costs, the error is at
most (7 + ½)/15 = half a step."""

MIN_BYTES = 5
"""The first byte and the range coder's four."""

# Contexts: where each kind of decision starts. Classes 0..7 of |a − b|, 8 at an edge, 9 on the coarsest grid.
_ACTIVITIES, _LADDER = 5, 14
_ZERO = 0  # [4 levels, 2 axes, 9 classes, 5 activities], then one for the coarsest grid
_MORE = _ZERO + 4 * 2 * 9 * _ACTIVITIES + 1  # [9 · 5 + 1, 14]
_SIGN = _MORE + (9 * _ACTIVITIES + 1) * _LADDER  # [3 signs before, 3 above]
_SIDE = _SIGN + 9  # [2 axes, 3: what the pixel beside it is nearer to]
_GAMMA = _SIDE + 6  # [24]
_MASK = _GAMMA + 24  # [16 of a pixel's neighbours, 3 of a block's: does it have holes, then one: is it all holes]
CONTEXTS = _MASK + 16 + 3 + 1

# Decisions of one pixel at most: side, zero, sign, the ladder, 23 + 22 of the gamma code.
_PER_PIXEL = 3 + _LADDER + 45


@dataclass(frozen=True, slots=True)
class PlaneKind:
    """What a plane's integers are.

    Attributes:
        steps: Of the five levels, units; odd.
        low, high: Bounds of every value but a missing one; the decoder clamps to them.
    """

    steps: tuple[int, int, int, int, int]
    low: int
    high: int


DEPTH = PlaneKind((3, 3, 5, 7, UNITS_PER_STEP), 1, MAX_UNITS)


def levels(highest: int) -> PlaneKind:
    """Of a plane of 0..``highest`` that comes back exactly."""
    return PlaneKind((1, 1, 1, 1, 1), 0, highest)


def encode_plane(values: I32, kind: PlaneKind) -> tuple[U8, I32]:
    """A plane as bytes.

    Args:
        values: 0 where there is no surface if ``kind.low`` is 1; else ``kind.low`` to ``kind.high``. int32 [H, W].
        kind: What they are.

    Returns:
        The bytes, uint8 [size], and what decoding them gives, int32 [H, W].
    """
    values = for_kernel(values)
    height, width = values.shape
    masked = kind.low > 0 and bool((values == 0).any())
    decoded, steps = np.empty((height, width), np.int32), np.array(kind.steps, np.int32)
    room = width * height + _PER_PIXEL * width + 4096
    while True:
        out = np.empty(room, np.uint8)
        size = _encode(values, masked, steps, kind.low, kind.high, decoded, out)
        if size >= 0:
            return out[:size].copy(), decoded
        room *= 2


def decode_plane(codec: str, data: U8, offset: int, size: int, width: int, height: int, kind: PlaneKind) -> I32:
    """The plane in ``data[offset : offset + size]``. int32 [H, W].

    Args:
        codec: Name for errors.
        data: uint8.
        offset, size: Where the plane is.
        width, height: Of the plane; the caller bounds them.
        kind: What it holds.

    Raises:
        BadBytes: If no plane of this size has these bytes.
    """
    if size < MIN_BYTES:
        raise BadBytes(codec, offset, f"a plane of {MIN_BYTES} bytes or more", f"{size}")
    if data[offset] > (1 if kind.low > 0 else 0):
        raise BadBytes(codec, offset, "0, or 1 with a mask before a depth plane", f"{data[offset]}")
    decoded = np.empty((height, width), np.int32)
    steps = np.array(kind.steps, np.int32)
    if not _decode(for_kernel(data[offset : offset + size]), steps, kind.low, kind.high, decoded):
        raise BadBytes(
            codec, offset, f"a plane of {width}×{height} in {size} bytes", "another number of bytes, or bytes of no plane"
        )
    return decoded


def quantise(inverse: NDArray[np.float32], unit: float) -> I32:
    """Inverse depth in whole units: 0 where lifting sees no surface, else 1 to ``MAX_UNITS``. int32 [H, W]."""
    out = np.empty(inverse.shape, np.int32)
    _quantise(for_kernel(inverse), 1.0 / unit, SMALLEST, LARGEST, out)
    return out


def warm_up() -> None:
    """Compile the kernels, or load them from the cache."""
    plane = quantise(np.array([[0.0, 1.0], [2.0, 0.5]], np.float32), 0.01)
    for kind in (DEPTH, levels(255)):
        data, _ = encode_plane(plane, kind)
        decode_plane("depth", data, 0, len(data), 2, 2, kind)


@kernel
def _quantise(inverse: NDArray[np.float32], per_unit: float, smallest: np.float32, largest: np.float32, out: I32) -> None:
    for v in range(inverse.shape[0]):
        for u in range(inverse.shape[1]):
            here = inverse[v, u]
            units = min(max(np.float64(here) * per_unit + 0.5, 1.0), float(MAX_UNITS))
            out[v, u] = np.int32(units) if here > smallest and here < largest else np.int32(0)


@inline
def _class(difference: int, unit: int) -> int:
    """0..7: how far apart the two neighbours are."""
    fine = (difference * 4 >= unit) + (difference * 2 >= unit) + (difference >= unit)
    return fine + (difference >= 2 * unit) + (difference >= 4 * unit) + (difference >= 8 * unit) + (difference >= 16 * unit)


@inline
def _predict_row(
    r: I32, v: int, first: int, across: int, dv: int, du: int, unit: int, guesses: I32, others: I32, groups: I32
) -> None:
    """Predict the pixels of a row in one pass, from what earlier passes left.

    Args:
        r: What is known so far.
        v: The row.
        first, across: Its first pixel of this pass, and the distance to the next.
        dv, du: Distance to the two neighbours; one of them is 0.
        unit: The finest level's step.
        guesses: Filled by column: the prediction; at an edge, a.
        others: b.
        groups: Class of the difference of a and b; 8 at an edge.
    """
    height, width = r.shape
    near, far = v + dv < height, v >= 3 * dv and v + 3 * dv < height
    row_a, row_b = r[v - dv], r[v + dv if near else v - dv]
    row_c, row_d = r[v - 3 * dv if far else v - dv], r[v + 3 * dv if far else v - dv]
    # Columns with all four neighbours, in whole steps of the pass; the few on both sides of them are predicted one by one.
    start = first if 3 * du <= first else first + across
    end = max(start, width - 3 * du) if far else start
    for u in range(first, start, across):
        a = row_a[u - du]
        _predict(a, row_b[u + du] if near and u + du < width else a, a, a, False, unit, u, guesses, others, groups)
    if far:
        n = (end - start + across - 1) // across
        a_s, b_s, c_s, d_s = row_a[start - du :], row_b[start + du :], row_c[start - 3 * du :], row_d[start + 3 * du :]
        out_g, out_o, out_c = guesses[start:], others[start:], groups[start:]
        if across == 1:
            for i in range(n):
                _predict(a_s[i], b_s[i], c_s[i], d_s[i], True, unit, i, out_g, out_o, out_c)
        else:
            for i in range(0, n * across, across):
                _predict(a_s[i], b_s[i], c_s[i], d_s[i], True, unit, i, out_g, out_o, out_c)
        start += n * across
    for u in range(start, width, across):
        a = row_a[u - du]
        _predict(a, row_b[u + du] if near and u + du < width else a, a, a, False, unit, u, guesses, others, groups)


@inline
def _predict(a: int, b: int, c: int, d: int, has_all: bool, unit: int, u: int, guesses: I32, others: I32, groups: I32) -> None:
    """One pixel, without a branch, so that many are predicted at once."""
    jump = 16 * unit
    gap = abs(a - b)
    smooth = has_all and abs(a - c) <= jump and abs(b - d) <= jump
    between = (9 * (a + b) - c - d + 8) >> 4 if smooth else (a + b + 1) >> 1
    guesses[u] = a if gap > jump else between
    others[u] = b
    groups[u] = 8 if gap > jump else _class(gap, unit)


@inline
def _rows(width: int) -> tuple[I32, I32, I32, I32]:
    """The residuals above, and what ``_predict_row`` fills."""
    empty = np.zeros((4, width), np.int32)
    return empty[0], empty[1], empty[2], empty[3]


@inline
def _side_context(r: I32, v: int, u: int, axis: int, stride: int, a: int, b: int) -> int:
    """At an edge: whether the pixel beside this one, along the edge as it were, is nearer to a or to b."""
    if (v if axis == 0 else u) < (stride if axis == 0 else stride >> 1):
        return _SIDE + 3 * axis
    beside = r[v - stride, u] if axis == 0 else r[v, u - (stride >> 1)]
    return _SIDE + 3 * axis + (1 if abs(beside - a) < abs(beside - b) else 2)


@inline
def _activity(before: int, above: int) -> int:
    """0..4: how large the residuals beside this one are."""
    total = 2 * abs(before) + abs(above)
    return total if total < 2 else 2 if total < 4 else 3 if total < 7 else 4


@inline
def _sign_context(before: int, above: int) -> int:
    first = 1 if before > 0 else 2 if before < 0 else 0
    second = 3 if above > 0 else 6 if above < 0 else 0
    return _SIGN + first + second


@inline
def _mask_context(holes: U8, v: int, u: int) -> int:
    """Of the four neighbours that are known, or so far without a hole; none beyond the plane."""
    context = holes[v, u - 1] if u > 0 else 0
    if v > 0:
        context += 2 * holes[v - 1, u]
        context += 4 * holes[v - 1, u - 1] if u > 0 else 0
        context += 8 * holes[v - 1, u + 1] if u + 1 < holes.shape[1] else 0
    return context


@inline
def _put_mask(x: I32, top: int, holes: U8, above: I32, decisions: NDArray[np.uint16]) -> int:
    """Decisions of a row of blocks, from the first on; fills ``holes``, and ``above`` for the next row. Returns their number."""
    height, width = x.shape
    n, before = 0, 0
    for left in range(0, width, 16):
        bottom, right = min(top + 16, height), min(left + 16, width)
        total = 0
        for v in range(top, bottom):
            for u in range(left, right):
                total += 1 if x[v, u] == 0 else 0
        block = left >> 4
        decisions[n] = 2 * (_MASK + 16 + before + above[block]) + (1 if total else 0)
        n += 1
        before = 1 if total else 0
        above[block] = before
        if not total:
            continue
        whole = total == (bottom - top) * (right - left)
        decisions[n] = 2 * (_MASK + 19) + (1 if whole else 0)
        n += 1
        for v in range(top, bottom):
            for u in range(left, right):
                hole = 1 if x[v, u] == 0 else 0
                if not whole:
                    decisions[n] = 2 * (_MASK + _mask_context(holes, v, u)) + hole
                    n += 1
                holes[v, u] = hole
    return n


@inline
def _get_mask(data: U8, coder: NDArray[np.int64], states: I32, top: int, holes: U8, above: I32) -> None:
    """Fill a row of blocks of ``holes``, and ``above`` for the next row."""
    height, width = holes.shape
    before = 0
    for left in range(0, width, 16):
        block = left >> 4
        before = decode_bit(data, coder, states, _MASK + 16 + before + above[block])
        above[block] = before
        if not before:
            continue
        whole = decode_bit(data, coder, states, _MASK + 19)
        for v in range(top, min(top + 16, height)):
            for u in range(left, min(left + 16, width)):
                holes[v, u] = 1 if whole else decode_bit(data, coder, states, _MASK + _mask_context(holes, v, u))


@inline
def _predict_coarse(r: I32, v: int, u: int, stride: int) -> int:
    """On the coarsest grid: the median edge detector of LOCO-I."""
    a = r[v, u - stride] if u > 0 else (r[v - stride, u] if v > 0 else np.int32(0))
    b = r[v - stride, u] if v > 0 else a
    c = r[v - stride, u - stride] if u > 0 and v > 0 else b
    high, low = max(a, b), min(a, b)
    return int(low if c >= high else high if c <= low else a + b - c)


@inline
def _steps_of(error: int, step: int) -> int:
    """The nearest number of steps."""
    size = abs(error) + (step >> 1)
    if size < step:  # mostly, and a division is slow
        return 0
    k = size // step
    return k if error >= 0 else -k


@inline
def _put_residual(k: int, zero: int, more: int, sign: int, decisions: NDArray[np.uint16], n: int) -> int:
    """Decisions of a residual of ``k`` steps, appended at ``n``; returns the new ``n``."""
    decisions[n] = 2 * zero + (1 if k else 0)
    n += 1
    if not k:
        return n
    decisions[n] = 2 * sign + (1 if k < 0 else 0)
    n += 1
    rest = abs(k) - 1
    for i in range(_LADDER):
        decisions[n] = 2 * (more + i) + (1 if rest > i else 0)
        n += 1
        if rest <= i:
            return n
    rest -= _LADDER - 1
    bits = 0
    while rest >> (bits + 1):
        decisions[n] = 2 * (_GAMMA + bits) + 1
        n += 1
        bits += 1
    decisions[n] = 2 * (_GAMMA + bits)
    n += 1
    for i in range(bits - 1, -1, -1):
        decisions[n] = 2 * EVEN + ((rest >> i) & 1)
        n += 1
    return n


@kernel
def _encode(x: I32, masked: bool, steps: I32, lowest: int, highest: int, r: I32, out: U8) -> int:
    """Fill ``out`` and ``r``, what a decoder makes of it; returns the bytes, or −1 if ``out`` is too short."""
    height, width = x.shape
    states, coder = new_states(CONTEXTS), new_encoder()
    decisions = np.empty(_PER_PIXEL * width + 64, np.uint16)
    above, guesses, others, groups = _rows(width)
    unit = int(steps[4])
    out[0] = np.uint8(1 if masked else 0)
    if masked:
        holes = np.zeros((height, width), np.uint8)
        for top in range(0, height, 16):
            n = _put_mask(x, top, holes, above, decisions)
            if out.size - bytes_used(coder) < 2 * n + ROOM:
                return -1
            encode_decisions(decisions, n, states, coder, out)
    stride = 16
    for v in range(0, height, stride):
        n = 0
        for u in range(0, width, stride):
            p = _predict_coarse(r, v, u, stride)
            k = 0
            if not (masked and x[v, u] == 0):
                k = _steps_of(x[v, u] - p, int(steps[0]))
                n = _put_residual(k, _MORE - 1, _MORE + 9 * _ACTIVITIES * _LADDER, _SIGN, decisions, n)
            r[v, u] = min(max(p + k * steps[0], lowest), highest)
        if out.size - bytes_used(coder) < 2 * n + ROOM:
            return -1
        encode_decisions(decisions, n, states, coder, out)
    for level in range(1, 5):
        h, step = stride >> 1, int(steps[level])
        for axis in range(2):
            dv, du, first, across = (0, h, 0, stride) if axis == 0 else (h, 0, h, h)
            zero_base = _ZERO + ((level - 1) * 2 + axis) * 9 * _ACTIVITIES
            above[:] = 0
            for v in range(first, height, stride):
                before, n = 0, 0
                _predict_row(r, v, du, across, dv, du, unit, guesses, others, groups)
                for u in range(du, width, across):
                    p, k = guesses[u], 0
                    if not (masked and x[v, u] == 0):
                        if groups[u] == 8:
                            other = abs(x[v, u] - others[u]) < abs(x[v, u] - p)
                            decisions[n] = 2 * _side_context(r, v, u, axis, stride, p, others[u]) + (1 if other else 0)
                            n += 1
                            p = others[u] if other else p
                        k = _steps_of(x[v, u] - p, step)
                        place = groups[u] * _ACTIVITIES + _activity(before, above[u])
                        sign = _sign_context(before, above[u])
                        n = _put_residual(k, zero_base + place, _MORE + place * _LADDER, sign, decisions, n)
                    r[v, u] = min(max(p + k * step, lowest), highest)
                    above[u] = k
                    before = k
                if out.size - bytes_used(coder) < 2 * n + ROOM:
                    return -1
                encode_decisions(decisions, n, states, coder, out)
        stride = h
    if masked:
        for v in range(height):
            for u in range(width):
                if x[v, u] == 0:
                    r[v, u] = 0
    return int(finish(coder, out))


@inline
def _get_residual(data: U8, coder: NDArray[np.int64], states: I32, zero: int, more: int, sign: int) -> int:
    if not decode_bit(data, coder, states, zero):
        return 0
    negative = decode_bit(data, coder, states, sign)
    size = 1
    while size <= _LADDER and decode_bit(data, coder, states, more + size - 1):
        size += 1
    if size > _LADDER:
        bits, rest = 0, 1
        while bits < 23 and decode_bit(data, coder, states, _GAMMA + bits):
            bits += 1
        for _ in range(bits):
            rest = 2 * rest + decode_even_bit(data, coder)
        size = _LADDER + rest
    return -size if negative else size


@kernel
def _decode(data: U8, steps: I32, lowest: int, highest: int, r: I32) -> bool:
    """Fill ``r``; False if the bytes don't end where the plane does."""
    height, width = r.shape
    masked = data[0] == 1
    states, coder = new_states(CONTEXTS), new_decoder(data)
    if not is_started(coder):
        return False
    above, guesses, others, groups = _rows(width)
    holes = np.zeros((height, width) if masked else (1, 1), np.uint8)
    if masked:
        for top in range(0, height, 16):
            _get_mask(data, coder, states, top, holes, above)
    unit = int(steps[4])
    stride = 16
    for v in range(0, height, stride):
        for u in range(0, width, stride):
            p, k = _predict_coarse(r, v, u, stride), 0
            if not masked or not holes[v, u]:
                k = _get_residual(data, coder, states, _MORE - 1, _MORE + 9 * _ACTIVITIES * _LADDER, _SIGN)
            r[v, u] = min(max(p + k * steps[0], lowest), highest)
    for level in range(1, 5):
        h, step = stride >> 1, int(steps[level])
        for axis in range(2):
            dv, du, first, across = (0, h, 0, stride) if axis == 0 else (h, 0, h, h)
            zero_base = _ZERO + ((level - 1) * 2 + axis) * 9 * _ACTIVITIES
            above[:] = 0
            for v in range(first, height, stride):
                before = 0
                _predict_row(r, v, du, across, dv, du, unit, guesses, others, groups)
                for u in range(du, width, across):
                    p, k = guesses[u], 0
                    if not (masked and holes[v, u]):
                        if groups[u] == 8 and decode_bit(data, coder, states, _side_context(r, v, u, axis, stride, p, others[u])):
                            p = others[u]
                        place = groups[u] * _ACTIVITIES + _activity(before, above[u])
                        sign = _sign_context(before, above[u])
                        k = _get_residual(data, coder, states, zero_base + place, _MORE + place * _LADDER, sign)
                    r[v, u] = min(max(p + k * step, lowest), highest)
                    above[u] = k
                    before = k
        stride = h
    if masked:
        for v in range(height):
            for u in range(width):
                r[v, u] = 0 if holes[v, u] else r[v, u]
    return is_finished(data, coder)
