"""An adaptive binary range coder (Martin 1979; carries as in LZMA): yes-or-no decisions to bytes, without tables in the file.

- state: the range, 31 bits, and for each context a probability of 0, 16 bits, with a count of 4, starting at one half and 0
- one decision: bound = (range >> 12) · (p >> 4); 0 lies below it, 1 above; p then moves towards what came, by a half at first
  and by 1/32 of the way from the 16th decision on
- when the range is below 2²³: 8 bits more. The bytes end with the four of the encoder's ``low``, so that a decoder which read
  the right decisions has used all bytes and has code 0

The first byte of a buffer is the caller's.
"""

import numpy as np
from numpy.typing import NDArray

from deployments.splats.kernel import inline, kernel

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

EVEN = 0x7FFF
"""In place of a context: both outcomes are as likely, always."""

ROOM = 64
"""Bytes that must be left for the end."""

_SHIFT = np.array([1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5], np.int32)
_START = np.int32(1 << 19)  # one half, count 0
_TOP, _RANGE = 1 << 23, (1 << 31) - 1
# A coder is an array, so that kernels share it: low or code, range, place in the bytes; for the encoder also the byte held back
# and how many 0xFF follow it.
_LOW, _SPAN, _AT, _HELD, _RUN = 0, 1, 2, 3, 4


@inline
def new_states(contexts: int) -> I32:
    """Of ``contexts`` contexts that nothing came in. int32 [contexts]."""
    return np.full(contexts, _START, np.int32)


@inline
def new_encoder() -> I64:
    """Before the first decision. int64 [5]."""
    return np.array([0, _RANGE, 0, 0, 0], np.int64)


@inline
def bytes_used(coder: I64) -> np.int64:
    """So far, those that wait for a carry included."""
    return np.int64(coder[_AT] + coder[_RUN])


@kernel
def encode_decisions(decisions: NDArray[np.uint16], n: int, states: I32, coder: I64, out: U8) -> None:
    """Append decisions; ``out`` must have 2·n + ``ROOM`` bytes left.

    Args:
        decisions: Context · 2 + what came. uint16 [n or more].
        n: How many.
        states, coder: Changed.
        out: Filled from byte 1 on.
    """
    span, low = coder[_SPAN], coder[_LOW]
    for i in range(n):
        context, bit = decisions[i] >> 1, decisions[i] & 1
        if context == EVEN:
            # The odd unit of the range is given up, so that both halves are alike.
            bound = span >> 1
            span = 2 * bound
        else:
            state = states[context]
            p, count = state >> 4, state & 15
            bound = (span >> 12) * (p >> 4)
            p = p - (p >> _SHIFT[count]) if bit else p + ((65536 - p) >> _SHIFT[count])
            states[context] = (p << 4) | min(count + 1, 15)
        low += bound if bit else 0
        span = span - bound if bit else bound
        while span < _TOP:
            low = _shift_out(low, coder, out)
            span <<= 8
    coder[_SPAN], coder[_LOW] = span, low


@inline
def finish(coder: I64, out: U8) -> np.int64:
    """Write what is left; returns the number of bytes, the caller's first included."""
    for _ in range(5):
        coder[_LOW] = _shift_out(coder[_LOW], coder, out)
    return np.int64(coder[_AT])


@inline
def _shift_out(low: int, coder: I64, out: U8) -> int:
    """``low`` without its upper byte, which leaves; bytes of 0xFF wait until it is known whether a carry runs through them."""
    if low < 0xFF000000 or low > 0xFFFFFFFF:
        carry = low >> 32
        # What is held back first is nothing, at the place of the caller's byte.
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
    return (low << 8) & 0xFFFFFFFF


@inline
def new_decoder(data: U8) -> I64:
    """Before the first decision of ``data``, which has 5 bytes or more. int64 [5]."""
    code = 0
    for i in range(1, 5):
        code = (code << 8) | data[i]
    return np.array([code, _RANGE, 5, 0, 0], np.int64)


@inline
def is_started(coder: I64) -> bool:
    """Whether the first bytes are ones that an encoder writes; otherwise nothing may be decoded."""
    return bool(coder[_LOW] < _RANGE)


@inline
def is_finished(data: U8, coder: I64) -> bool:
    """Whether the decisions that were decoded are all that the bytes hold."""
    return bool(coder[_AT] == data.size and coder[_LOW] == 0)


@inline
def decode_bit(data: U8, coder: I64, states: I32, context: int) -> int:
    """The next decision in a context."""
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
def decode_even_bit(data: U8, coder: I64) -> int:
    """The next decision without a context."""
    coder[_SPAN] >>= 1
    bit = 1 if coder[_LOW] >= coder[_SPAN] else 0
    coder[_LOW] -= coder[_SPAN] if bit else 0
    _refill(data, coder)
    return bit


@inline
def _refill(data: U8, coder: I64) -> None:
    """Beyond the bytes there are zeros, which :func:`is_finished` tells."""
    while coder[_SPAN] < _TOP:
        coder[_SPAN] <<= 8
        coder[_LOW] = (coder[_LOW] << 8) | (data[coder[_AT]] if coder[_AT] < data.size else 0)
        coder[_AT] += 1
