"""Colour profiles (ICC.1:2022) as bytes: is it one, and the ones that are written here.

A profile is a header of 128 bytes and a table of tags. Nothing is converted here: :mod:`deployments.stages.color` does that.
"""

import struct
from typing import Final

import numpy as np

MAX_PROFILE_BYTES: Final = 4 * 1024 * 1024
"""Presses' profiles, with their tables from CMYK, have up to 3 MB; those of screens and phones half a kilobyte."""
HEADER_BYTES: Final = 128

SPACES: Final = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
"""Colour space of a profile → Pillow's mode of the pixels it is for."""

_DISPLAY_P3: Final = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
_BT_2020: Final = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
_D65: Final = (0.3127, 0.3290)
PRIMARIES: Final = {9: _BT_2020, 12: _DISPLAY_P3}
"""Number of colour primaries in ITU-T H.273 → chromaticities of red, green and blue; 1, sRGB's own, needs no profile."""


def declared_bytes(head: bytes) -> int:
    """How long a profile says it is; 0 if its first 128 bytes are no profile's, or it is longer than any that is taken."""
    if len(head) < HEADER_BYTES or head[36:40] != b"acsp" or head[16:20] not in SPACES:
        return 0
    (size,) = struct.unpack_from(">I", head)
    return size if HEADER_BYTES < size <= MAX_PROFILE_BYTES else 0


def whole_profile(data: bytes) -> bytes:
    """The profile that ``data`` begins with, or nothing if it is none or ends early."""
    size = declared_bytes(data)
    return data[:size] if 0 < size <= len(data) else b""


def matrix_profile(primaries: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]) -> bytes:
    """A display profile of version 4 with sRGB's curve and white, and these primaries: for files that name them by number.

    Args:
        primaries: x, y of red, green and blue.
    """
    white = _xyz(_D65)
    columns = np.stack([_xyz(place) for place in primaries], axis=1)
    columns = _ADAPT @ columns * np.linalg.solve(columns, white)
    # s15Fixed16 numbers; g, a, b, c, d of sRGB's curve.
    curve = b"para" + struct.pack(">IHH", 0, 3, 0) + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    tags = {
        b"desc": _text("RGB"),
        b"cprt": _text("CC0"),
        b"wtpt": b"XYZ \0\0\0\0" + _fixed(*_D50),
        **{name: b"XYZ \0\0\0\0" + _fixed(*column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns.T, strict=True)},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    at, table, body = HEADER_BYTES + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s12x4s4x", at + len(body), bytes(4), 0x04300000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    head = head.ljust(68, b"\0") + _fixed(*_D50)
    return head.ljust(HEADER_BYTES, b"\0") + table + body


_D50: Final = (0.9642, 1.0, 0.8249)
_ADAPT: Final = np.array([[1.0479, 0.0229, -0.0502], [0.0296, 0.9904, -0.0171], [-0.0092, 0.0151, 0.7519]])
"""From D65 to the profile's D50 (Bradford), as ICC.1:2022, annex E, and every sRGB profile have it."""


def _xyz(place: tuple[float, float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    x, y = place
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def _text(text: str) -> bytes:
    coded = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">III2s2sII", 0, 1, 12, b"en", b"US", len(coded), 28) + coded
