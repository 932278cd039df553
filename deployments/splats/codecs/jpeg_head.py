"""What a JPEG inside a frame says of itself, read before any decoder sees it (ITU-T T.81, annex B).

A picture of ours is a plain baseline one: FF D8, then tables (DQT, DHT, DRI) and a JFIF segment in any order with one SOF0, then
one scan of all components, and FF D9 at the end. Anything else that a JPEG may be (progressive, several scans, other colours,
comments) is refused: whoever decodes is then bound to one pass over as many pixels as the frame's own header states.
"""

import numpy as np
from numpy.typing import NDArray

from deployments.splats.errors import BadBytes

_SOF0, _SOS = 0xC0, 0xDA
_TABLES = frozenset((0xDB, 0xC4, 0xDD, 0xE0))
_MAX_SEGMENTS = 16
"""Encoders write seven to eleven before the scan."""


def check_jpeg(codec: str, section: NDArray[np.uint8], offset: int, width: int, height: int, channels: int) -> None:
    """Refuse a file that is not a baseline JPEG of this size.

    Args:
        codec: Name for errors.
        section: The file. uint8 [size].
        offset: Where it begins in the frame, for errors.
        width, height: Expected, pixels.
        channels: Expected: 1, grey, or 3.

    Raises:
        BadBytes: Naming the first byte that is another.
    """
    data = section.tobytes()
    if data[:2] != b"\xff\xd8" or data[-2:] != b"\xff\xd9" or len(data) < 4:
        raise BadBytes(codec, offset, "a whole JPEG", f"{len(data)} bytes that begin with {data[:2].hex()} or end otherwise")
    at, found = 2, False
    for _ in range(_MAX_SEGMENTS):
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if at + 2 + max(length, 2) > len(data) - 2 or data[at] != 0xFF or length < 2:
            raise BadBytes(codec, offset + at, "a segment of the JPEG", f"{data[at : at + 4].hex()}")
        marker, body = data[at + 1], data[at + 4 : at + 2 + length]
        if marker == _SOF0 and not found:
            found = True
            _check_frame(codec, body, offset + at, width, height, channels)
        elif marker == _SOS and found:
            if not body or body[0] != channels:
                raise BadBytes(codec, offset + at, f"one scan of {channels} components", f"{body[:1].hex() or 'none'}")
            return
        elif marker not in _TABLES:
            raise BadBytes(codec, offset + at, "tables, one baseline frame and its scan", f"the marker FF{marker:02X}")
        at += 2 + length
    raise BadBytes(codec, offset + at, f"the scan after at most {_MAX_SEGMENTS} segments", "another one")


def _check_frame(codec: str, body: bytes, offset: int, width: int, height: int, channels: int) -> None:
    stated = (int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big"))
    if len(body) != 6 + 3 * channels or body[0] != 8 or body[5] != channels or stated != (width, height):
        raise BadBytes(codec, offset, f"{width}×{height} pixels of {channels} × 8 bits", f"{stated[0]}×{stated[1]}: {body.hex()}")
    if any(not (1 <= body[7 + 3 * i] >> 4 <= 2 and 1 <= body[7 + 3 * i] & 15 <= 2) for i in range(channels)):
        raise BadBytes(codec, offset, "components sampled once or twice a step", body.hex())
