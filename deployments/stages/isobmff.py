"""HEIC and AVIF files (ISO/IEC 23008-12 in boxes of ISO/IEC 14496-12), as far as their kind and colours go.

The boxes are walked with only the standard library, every length checked against the bytes that are there; nothing is decoded. What
can't be read is as if it were not there: the decoder has the last word on the file.
"""

import struct
from collections.abc import Iterator
from typing import Final, Literal

_AVIF: Final = frozenset((b"avif", b"avis"))
_HEIC: Final = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"))
_MOST_BOXES: Final = 512
_MOST_BRANDS: Final = 64


def kind_of(data: bytes) -> Literal["heic", "avif"] | None:
    """What a file that begins with ``ftyp`` holds, by its brands; None: something else, such as a video."""
    if data[4:8] != b"ftyp":
        return None
    (length,) = struct.unpack_from(">I", data)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, min(length, len(data), 4 * _MOST_BRANDS), 4))]
    if brands[0] not in _AVIF | _HEIC:
        return None
    # An AVIF may have the brand of its structure, mif1, first.
    return "avif" if _AVIF & set(brands) and brands[0] not in _HEIC - {b"mif1", b"msf1"} else "heic"


def primaries_of(data: bytes) -> int:
    """The number of the colour primaries (ITU-T H.273) that are named first, with sRGB's curve; 0: none, or another curve."""
    try:
        meta = next(body for kind, body in _boxes(data, 0, len(data)) if kind == b"meta")
        for path in (b"iprp", b"ipco"):
            # ``meta`` has a version before its boxes.
            start = meta[0] + (4 if path == b"iprp" else 0)
            meta = next(body for kind, body in _boxes(data, start, meta[1]) if kind == path)
        for kind, (start, end) in _boxes(data, *meta):
            if kind == b"colr" and data[start : start + 4] == b"nclx" and start + 8 <= end:
                primaries, transfer = struct.unpack_from(">HH", data, start + 4)
                return primaries if transfer in (2, 13) else 0
    except (StopIteration, struct.error):
        pass
    return 0


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Kind and place of the content of each box, one after the other."""
    for _ in range(_MOST_BOXES):
        if at + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,), head = struct.unpack_from(">Q", data, at + 8), 16
        stop = end if size == 0 else at + size
        if (size and size < head) or stop > end:
            return
        yield kind, (at + head, stop)
        at = stop
