"""A camera's JPEG without what it says of people and places: the coded picture is copied, nothing is decoded.

Invariant: what is left is the picture's own segments (tables, frame, scans) in their order, so that a decoder gives the same
pixels. EXIF (position, name, time, thumbnail), XMP, colour profiles, comments, other makers' segments and whatever follows the
end of the picture are gone. The orientation, which EXIF holds, must be told beside it: ``read_picture`` knows it.
"""

import struct
from typing import Final

from deployments.stages.image_files import MARKER, MAX_SEGMENTS
from deployments.stream.errors import ImageBroken

_SOI, _EOI, _COM, _APP0, _APP14 = 0xD8, 0xD9, 0xFE, 0xE0, 0xEE

_JFIF: Final = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
"""Says that the colours are YCbCr, which a decoder otherwise guesses from the components' names; no size, no thumbnail."""

_ADOBE_BYTES: Final = 14
"""Of a segment that says how the colours are turned, its length included; a longer one says more."""


def strip_metadata(data: bytes) -> bytes:
    """The file with nothing but the picture in it.

    Args:
        data: A JPEG file that ``read_picture`` took.

    Raises:
        ImageBroken: It is none, or ends before its picture does.
    """
    if not data.startswith(b"\xff\xd8"):
        raise ImageBroken("it does not begin as a JPEG does")
    kept, at = [b"\xff\xd8"], 2
    for _ in range(MAX_SEGMENTS):
        found = MARKER.search(data, at)
        if found is None:
            raise ImageBroken("the JPEG ends before its picture does")
        marker, start = found[1][0], found.end()
        # What came before the marker: nothing, or a scan's coded pixels.
        kept.append(data[at : found.start()])
        if marker == _EOI:
            return b"".join([*kept, b"\xff\xd9"])
        if start + 2 > len(data):
            raise ImageBroken("the JPEG ends within a segment")
        (length,) = struct.unpack_from(">H", data, start)
        at = start + length
        if length < 2 or at > len(data) or marker == _SOI:
            raise ImageBroken(f"a JPEG segment of {length} bytes does not fit at byte {start}")
        if marker == _APP0 and data.startswith(b"JFIF\0", start + 2):
            kept.append(_JFIF)
        elif not (_APP0 <= marker <= 0xEF or marker == _COM) or (
            marker == _APP14 and length == _ADOBE_BYTES and data.startswith(b"Adobe", start + 2)
        ):
            kept.append(b"\xff" + data[start - 1 : at])
    raise ImageBroken(f"the JPEG has more than {MAX_SEGMENTS} segments")
