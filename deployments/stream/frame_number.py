"""The number of a frame that is refused unread, or that can't be read, so that it has its answer all the same.

Read from the first bytes, where clients write it: ``type`` and ``seq`` among keys whose values are small. Else, where the message
is short enough to be parsed, from wherever it is in the map. Either way it is a frame's and in the range that is allowed, or none.
"""

from typing import Annotated, Literal

import msgspec

MAX_SEQ = 2**53 - 1
"""The largest integer that a float64, and so JavaScript, counts up to exactly."""
_HEAD_BYTES = 256
"""Far more than all keys of a frame and its numbers take."""
# What a value of a fixed size takes behind its first byte: nil, false, true, floats, unsigned and signed integers.
_SIZES = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_UNSIGNED, _SIGNED = range(0xCC, 0xD0), range(0xD0, 0xD4)


class _Numbered(msgspec.Struct):
    type: Literal["frame"]
    seq: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ)]


_NUMBERED = msgspec.msgpack.Decoder(_Numbered)


def frame_number(data: bytes, longest: int) -> int | None:
    """The ``seq`` of a ``frame`` that follows the protocol that far; None if it is not one, or does not say.

    Args:
        data: A message.
        longest: Bytes of a message that may be parsed; of a longer one only the head is looked at.
    """
    found = _in_head(data[:_HEAD_BYTES])
    if found is None and len(data) <= longest:
        try:
            found = _NUMBERED.decode(data).seq
        except (ValueError, RecursionError):
            return None
    return found


def _in_head(head: bytes) -> int | None:
    fields: dict[bytes, bytes | int] = {}
    at = 1 if head[:1] < b"\xde" else 3 if head[:1] == b"\xde" else 5  # Behind the header of a map.
    while at < len(head) and not {b"type", b"seq"} <= fields.keys():
        key, at = _small(head, at)
        value, at = _small(head, at)
        if not isinstance(key, bytes) or value is None:
            break
        fields[key] = value
    seq = fields.get(b"seq")
    return seq if fields.get(b"type") == b"frame" and isinstance(seq, int) and 0 <= seq <= MAX_SEQ else None


def _small(head: bytes, at: int) -> tuple[bytes | int | None, int]:
    """A short text as its bytes, an integer, or -1 for another value of a fixed size; None for any other. And where it ends."""
    kind = head[at] if at < len(head) else 0xC1
    if kind < 0x80:
        return kind, at + 1
    if 0xA0 <= kind < 0xC0:
        end = at + 1 + kind - 0xA0
        return (head[at + 1 : end] if end <= len(head) else None), end
    if kind in _SIZES:
        end = at + 1 + _SIZES[kind]
        if end > len(head):
            return None, end
        is_number = kind in _UNSIGNED or kind in _SIGNED
        return (int.from_bytes(head[at + 1 : end], "big", signed=kind in _SIGNED) if is_number else -1), end
    return (-1, at + 1) if kind >= 0xE0 else (None, at)
