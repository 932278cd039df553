"""What EXIF says of a picture: which way is up, and how long the lens was. CIPA DC-008 (Exif 3.0), a TIFF structure.

Reads bytes from untrusted clients with only the standard library. What is missing, broken or makes no sense is as if it were not
there: nobody's photo is refused for it.
"""

import struct
from dataclasses import dataclass
from typing import Final

_ORIENTATION, _EXIF_DIRECTORY, _FOCAL_35MM = 0x0112, 0x8769, 0xA405
_INTEGERS: Final = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
"""TIFF's type → struct's. These tags should be unsigned 16-bit numbers; some software writes others."""
_MOST_ENTRIES: Final = 256
FOCAL_35MM: Final = (4, 2000)
"""Lenses that there are, mm on 35-mm film. 0 is EXIF's own word for unknown."""


@dataclass(frozen=True, slots=True)
class Exif:
    """The tags that change what is made of a picture.

    Attributes:
        orientation: 1 to 8; 1 is upright.
        focal_35mm: Focal length of a lens on 35-mm film (36 mm on the longer side) that sees as much; 0: unknown.
    """

    orientation: int = 1
    focal_35mm: int = 0


NO_EXIF: Final = Exif()


def read_exif(tiff: bytes) -> Exif:
    """The tags of the first image directory and of the EXIF directory it points to.

    Args:
        tiff: From the byte order mark on.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return NO_EXIF
    try:
        first = _directory(tiff, order, struct.unpack_from(order + "I", tiff, 4)[0])
        orientation = first.get(_ORIENTATION, 1)
        focal = first.get(_FOCAL_35MM, 0)
        if _EXIF_DIRECTORY in first:
            focal = _directory(tiff, order, first[_EXIF_DIRECTORY]).get(_FOCAL_35MM, focal)
    except struct.error:
        return NO_EXIF
    return Exif(orientation if 1 <= orientation <= 8 else 1, known_focal(focal))


def known_focal(focal_35mm: int) -> int:
    """The number if there is such a lens, else 0."""
    return focal_35mm if FOCAL_35MM[0] <= focal_35mm <= FOCAL_35MM[1] else 0


def _directory(tiff: bytes, order: str, at: int) -> dict[int, int]:
    """Tag → value of a directory's single integers, up to where the file ends. The first of equal tags counts."""
    found: dict[int, int] = {}
    if not 0 <= at < len(tiff):
        return found
    (entries,) = struct.unpack_from(order + "H", tiff, at)
    for entry in range(min(entries, _MOST_ENTRIES)):
        place = at + 2 + 12 * entry
        if place + 12 > len(tiff):
            break
        tag, kind, count = struct.unpack_from(order + "HHI", tiff, place)
        if kind in _INTEGERS and count == 1:
            found.setdefault(tag, struct.unpack_from(order + _INTEGERS[kind], tiff, place + 8)[0])
    return found
