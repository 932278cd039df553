"""One plane of integers to bytes and back: depth, or opacity. Exact integers on both sides, so that every decoder agrees to the bit.

A plane is visited from coarse to fine: a grid of every 16th pixel, then, level by level, the pixels half-way between those that
are known, along the rows first, then along the columns. Each is predicted from its two neighbours at that distance, a and b (and
the next two, c and d, where all four lie on one surface):

- |a − b| ≤ 16 steps: (9·(a + b) − c − d + 8) >> 4, or (a + b + 1) >> 1
- more, which is an edge: one bit says whether it is a or b, so that a silhouette stays crisp
- no b, at the plane's border: a

What is missing is rounded to a multiple of the level's step and added, within the closed loop: the encoder predicts from what the
decoder will have, so the error is at most half the step at every pixel, and coarse levels have finer steps (3, 3, 5, 7, 15 units)
because everything is predicted from them. An opacity plane has steps of one unit: it is exact.

Decisions are coded by an adaptive binary range coder (Martin 1979; carries as in LZMA), which needs no tables in the file:

- state: range, 31 bits; a probability of 16 bits and a count of 4 for each of ``CONTEXTS``, all starting at one half
- one decision: bound = (range >> 12) · (p >> 4); 0 below it, 1 above it; p moves to what came by 1/2, 1/4, …, 1/32 of the way
- range below 2²³: 8 bits more. The bytes end with the four of the encoder's ``low``, so a decoder ends with code 0

A residual is: zero? · negative? · up to 14 decisions "more" · the rest in Elias gamma. The contexts are the difference of a and b,
the residuals before it and above it in the same pass, and the pass. Pixels without a surface are coded first, one decision each,
if there are any (the first byte says so); nothing else is coded for them, and they come back as exactly 0.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployments.splats.errors import BadBytes, Truncated
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
_MASK = _GAMMA + 24  # [16]
CONTEXTS = _MASK + 16
_EVEN = CONTEXTS  # a decision without a context: both are as likely

_SHIFT = np.array([1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5], np.int32)
_START = np.int32(1 << 19)  # one half, count 0
_TOP, _RANGE = 1 << 23, (1 << 31) - 1
# Coder's state, an array so that kernels share it: low or code, range, place in the bytes; for the encoder also the byte held
# back and how many 0xFF follow it.
_LOW, _SPAN, _AT, _HELD, _RUN = 0, 1, 2, 3, 4
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
            x = np.float64(inverse[v, u]) * per_unit + 0.5
            x = min(max(x, 1.0), float(MAX_UNITS))
            out[v, u] = np.int32(x) if inverse[v, u] > smallest and inverse[v, u] < largest else np.int32(0)


@inline
def _class(difference: int, unit: int) -> int:
    """0..7: how far apart the two neighbours are."""
    if difference < unit:
        return 0 if difference * 4 < unit else 1 if difference * 2 < unit else 2
    if difference < 4 * unit:
        return 3 if difference < 2 * unit else 4
    return 5 if difference < 8 * unit else 6 if difference < 16 * unit else 7


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
def _mask_context(values: I32, v: int, u: int) -> int:
    """Of the four neighbours that are known; 0 beyond the plane."""
    width = values.shape[1]
    context = 1 if u > 0 and values[v, u - 1] == 0 else 0
    if v > 0:
        context += 2 if values[v - 1, u] == 0 else 0
        context += 4 if u > 0 and values[v - 1, u - 1] == 0 else 0
        context += 8 if u + 1 < width and values[v - 1, u + 1] == 0 else 0
    return context


@inline
def _predict_coarse(r: I32, v: int, u: int, stride: int) -> int:
    """On the coarsest grid: the median edge detector of LOCO-I."""
    a = r[v, u - stride] if u > 0 else (r[v - stride, u] if v > 0 else np.int32(0))
    b = r[v - stride, u] if v > 0 else a
    c = r[v - stride, u - stride] if u > 0 and v > 0 else b
    high, low = max(a, b), min(a, b)
    return low if c >= high else high if c <= low else a + b - c


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
        decisions[n] = 2 * _EVEN + ((rest >> i) & 1)
        n += 1
    return n


@inline
def _shift_out(coder: NDArray[np.int64], out: U8) -> None:
    """The upper byte of ``low`` leaves; bytes of 0xFF wait until it is known whether a carry runs through them."""
    low = coder[_LOW]
    if low < 0xFF000000 or low > 0xFFFFFFFF:
        carry = low >> 32
        # The first byte held back is none.
        if coder[_AT] > 0:
            out[coder[_AT]] = np.uint8(coder[_HELD] + carry)
        coder[_AT] += 1
        while coder[_RUN] > 0:
            out[coder[_AT]] = np.uint8(0xFF + carry)
            coder[_AT] += 1
            coder[_RUN] -= 1
        coder[_HELD] = (low >> 24) & 0xFF
    else:
        coder[_RUN] += 1
    coder[_LOW] = (low << 8) & 0xFFFFFFFF


@kernel
def _code(decisions: NDArray[np.uint16], n: int, states: I32, coder: NDArray[np.int64], out: U8) -> None:
    """``n`` decisions (context · 2 + what came) through the range coder."""
    span = coder[_SPAN]
    for i in range(n):
        context, bit = decisions[i] >> 1, decisions[i] & 1
        if context == _EVEN:
            # The odd unit of the range is given up, so that both halves are alike.
            bound = span >> 1
            span = 2 * bound
        else:
            state = states[context]
            p, count = state >> 4, state & 15
            bound = (span >> 12) * (p >> 4)
            p = p - (p >> _SHIFT[count]) if bit else p + ((65536 - p) >> _SHIFT[count])
            states[context] = (p << 4) | min(count + 1, 15)
        if bit:
            coder[_LOW] += bound
            span -= bound
        else:
            span = bound
        while span < _TOP:
            _shift_out(coder, out)
            span <<= 8
    coder[_SPAN] = span


@kernel
def _encode(x: I32, masked: bool, steps: I32, lowest: int, highest: int, r: I32, out: U8) -> int:
    """Fill ``out`` and ``r``, what a decoder makes of it; returns the bytes, or −1 if ``out`` is too short."""
    height, width = x.shape
    states = np.full(CONTEXTS, _START, np.int32)
    coder = np.array([0, _RANGE, 0, 0, 0], np.int64)
    decisions = np.empty(_PER_PIXEL * width + 64, np.uint16)
    above = np.zeros(width, np.int32)
    unit = int(steps[4])
    jump = 16 * unit
    # The byte held back first is the flag's place: the coder writes its own first byte after it.
    out[0] = np.uint8(1 if masked else 0)
    if masked:
        for v in range(height):
            for u in range(width):
                decisions[u] = 2 * (_MASK + _mask_context(x, v, u)) + (1 if x[v, u] == 0 else 0)
            if out.size - coder[_AT] - coder[_RUN] < width + 64:
                return -1
            _code(decisions, width, states, coder, out)
    stride = 16
    for v in range(0, height, stride):
        n = 0
        for u in range(0, width, stride):
            p = _predict_coarse(r, v, u, stride)
            k = 0
            if not (masked and x[v, u] == 0):
                e = x[v, u] - p
                k = (abs(e) + (steps[0] >> 1)) // steps[0]
                k = k if e >= 0 else -k
                n = _put_residual(k, _MORE - 1, _MORE + 9 * _ACTIVITIES * _LADDER, _SIGN, decisions, n)
            r[v, u] = min(max(p + k * steps[0], lowest), highest)
        if out.size - coder[_AT] - coder[_RUN] < 2 * n + 64:
            return -1
        _code(decisions, n, states, coder, out)
    for level in range(1, 5):
        h, step = stride >> 1, int(steps[level])
        for axis in range(2):
            dv, du, first, across = (0, h, 0, stride) if axis == 0 else (h, 0, h, h)
            zero_base, side_base = _ZERO + ((level - 1) * 2 + axis) * 9 * _ACTIVITIES, _SIDE + 3 * axis
            above[:] = 0
            for v in range(first, height, stride):
                before, n = 0, 0
                for u in range(du, width, across):
                    hidden = masked and x[v, u] == 0
                    a = r[v - dv, u - du]
                    p, group = a, 0
                    if v + dv < height and u + du < width:
                        b = r[v + dv, u + du]
                        if abs(a - b) > jump:
                            group = 8
                            if not hidden:
                                other = abs(x[v, u] - b) < abs(x[v, u] - a)
                                beside = 0
                                if axis == 0 and v >= stride:
                                    beside = 1 if abs(r[v - stride, u] - a) < abs(r[v - stride, u] - b) else 2
                                elif axis == 1 and u >= h:
                                    beside = 1 if abs(r[v, u - h] - a) < abs(r[v, u - h] - b) else 2
                                decisions[n] = 2 * (side_base + beside) + (1 if other else 0)
                                n += 1
                                p = b if other else a
                        else:
                            group = _class(abs(a - b), unit)
                            p = (a + b + 1) >> 1
                            if v >= 3 * dv and u >= 3 * du and v + 3 * dv < height and u + 3 * du < width:
                                c, d = r[v - 3 * dv, u - 3 * du], r[v + 3 * dv, u + 3 * du]
                                if abs(a - c) <= jump and abs(b - d) <= jump:
                                    p = (9 * (a + b) - c - d + 8) >> 4
                    k = 0
                    if not hidden:
                        e = x[v, u] - p
                        k = (abs(e) + (step >> 1)) // step
                        k = k if e >= 0 else -k
                        place = group * _ACTIVITIES + _activity(before, above[u])
                        sign = _sign_context(before, above[u])
                        n = _put_residual(k, zero_base + place, _MORE + place * _LADDER, sign, decisions, n)
                    r[v, u] = min(max(p + k * step, lowest), highest)
                    above[u] = k
                    before = k
                if out.size - coder[_AT] - coder[_RUN] < 2 * n + 64:
                    return -1
                _code(decisions, n, states, coder, out)
        stride = h
    for _ in range(5):
        _shift_out(coder, out)
    if masked:
        for v in range(height):
            for u in range(width):
                if x[v, u] == 0:
                    r[v, u] = 0
    return coder[_AT]


@inline
def _bit(data: U8, coder: NDArray[np.int64], states: I32, context: int) -> int:
    """The next decision; beyond the bytes there are zeros, which the end of the plane tells."""
    state = states[context]
    p, count = state >> 4, state & 15
    bound = (coder[_SPAN] >> 12) * (p >> 4)
    bit = 1 if coder[_LOW] >= bound else 0
    if bit:
        coder[_LOW] -= bound
        coder[_SPAN] -= bound
        p -= p >> _SHIFT[count]
    else:
        coder[_SPAN] = bound
        p += (65536 - p) >> _SHIFT[count]
    states[context] = (p << 4) | min(count + 1, 15)
    _refill(data, coder)
    return bit


@inline
def _refill(data: U8, coder: NDArray[np.int64]) -> None:
    while coder[_SPAN] < _TOP:
        coder[_SPAN] <<= 8
        coder[_LOW] = (coder[_LOW] << 8) | (data[coder[_AT]] if coder[_AT] < data.size else 0)
        coder[_AT] += 1


@inline
def _get_residual(data: U8, coder: NDArray[np.int64], states: I32, zero: int, more: int, sign: int) -> int:
    if not _bit(data, coder, states, zero):
        return 0
    negative = _bit(data, coder, states, sign)
    size = 1
    while size <= _LADDER and _bit(data, coder, states, more + size - 1):
        size += 1
    if size > _LADDER:
        bits, rest = 0, 1
        while bits < 23 and _bit(data, coder, states, _GAMMA + bits):
            bits += 1
        for _ in range(bits):
            coder[_SPAN] >>= 1
            bit = 1 if coder[_LOW] >= coder[_SPAN] else 0
            coder[_LOW] -= coder[_SPAN] if bit else 0
            rest = 2 * rest + bit
            _refill(data, coder)
        size = _LADDER + rest
    return -size if negative else size


@kernel
def _decode(data: U8, steps: I32, lowest: int, highest: int, r: I32) -> bool:
    """Fill ``r``; False if the bytes don't end where the plane does."""
    height, width = r.shape
    states = np.full(CONTEXTS, _START, np.int32)
    masked = data[0] == 1
    coder = np.array([0, _RANGE, 5, 0, 0], np.int64)
    for i in range(1, 5):
        coder[_LOW] = (coder[_LOW] << 8) | data[i]
    if coder[_LOW] >= _RANGE:
        return False
    # 1 where there is a surface, as `_mask_context` wants it.
    mask = np.ones((height, width) if masked else (1, 1), np.int32)
    if masked:
        for v in range(height):
            for u in range(width):
                mask[v, u] = 1 - _bit(data, coder, states, _MASK + _mask_context(mask, v, u))
    above = np.zeros(width, np.int32)
    unit = int(steps[4])
    jump = 16 * unit
    stride = 16
    for v in range(0, height, stride):
        for u in range(0, width, stride):
            p, k = _predict_coarse(r, v, u, stride), 0
            if not masked or mask[v, u]:
                k = _get_residual(data, coder, states, _MORE - 1, _MORE + 9 * _ACTIVITIES * _LADDER, _SIGN)
            r[v, u] = min(max(p + k * steps[0], lowest), highest)
    for level in range(1, 5):
        h, step = stride >> 1, int(steps[level])
        for axis in range(2):
            dv, du, first, across = (0, h, 0, stride) if axis == 0 else (h, 0, h, h)
            zero_base, side_base = _ZERO + ((level - 1) * 2 + axis) * 9 * _ACTIVITIES, _SIDE + 3 * axis
            above[:] = 0
            for v in range(first, height, stride):
                before = 0
                for u in range(du, width, across):
                    hidden = masked and mask[v, u] == 0
                    a = r[v - dv, u - du]
                    p, group = a, 0
                    if v + dv < height and u + du < width:
                        b = r[v + dv, u + du]
                        if abs(a - b) > jump:
                            group = 8
                            if not hidden:
                                beside = 0
                                if axis == 0 and v >= stride:
                                    beside = 1 if abs(r[v - stride, u] - a) < abs(r[v - stride, u] - b) else 2
                                elif axis == 1 and u >= h:
                                    beside = 1 if abs(r[v, u - h] - a) < abs(r[v, u - h] - b) else 2
                                p = b if _bit(data, coder, states, side_base + beside) else a
                        else:
                            group = _class(abs(a - b), unit)
                            p = (a + b + 1) >> 1
                            if v >= 3 * dv and u >= 3 * du and v + 3 * dv < height and u + 3 * du < width:
                                c, d = r[v - 3 * dv, u - 3 * du], r[v + 3 * dv, u + 3 * du]
                                if abs(a - c) <= jump and abs(b - d) <= jump:
                                    p = (9 * (a + b) - c - d + 8) >> 4
                    k = 0
                    if not hidden:
                        place = group * _ACTIVITIES + _activity(before, above[u])
                        sign = _sign_context(before, above[u])
                        k = _get_residual(data, coder, states, zero_base + place, _MORE + place * _LADDER, sign)
                    r[v, u] = min(max(p + k * step, lowest), highest)
                    above[u] = k
                    before = k
        stride = h
    if masked:
        for v in range(height):
            for u in range(width):
                r[v, u] = r[v, u] if mask[v, u] else 0
    return coder[_AT] == data.size and coder[_LOW] == 0
