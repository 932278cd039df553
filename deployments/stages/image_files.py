"""What an image file's headers say (type, size, orientation), and the file reduced to nothing but the picture.

Reads JPEG, PNG and WebP from untrusted clients, byte by byte, with only the standard library; decodes no pixels. Invariant: every
length is checked against the bytes that are there, every loop has a bound, and metadata (text, colour profiles, thumbnails: where
the decompression bombs of PNG and WebP hide) is removed, so that no decoder after this module sees it. A structure that a decoder
might read differently is refused.

Any function here may raise IndexError or struct.error if a file ends early: :func:`read_picture` turns them into a refusal.
"""

import re
import struct
import zlib
from dataclasses import dataclass
from typing import Final, Literal

from deployments.stream.errors import ImageBroken, UnsupportedColor, UnsupportedImage

MAX_SEGMENTS: Final = 2048
"""Segments before a JPEG's pixels, or chunks of a PNG or WebP. Cameras write dozens; a million would cost half a second."""

MAX_JUNK_BYTES: Final = 4096
"""Between the segments of a JPEG's header, all together: makers' software leaves a few."""

MAX_SCANS: Final = 32
"""Scans of a progressive JPEG. Encoders write 6 to 14; each costs a pass over the picture, and thousands fit in a file."""

PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file whose headers were accepted.

    Attributes:
        kind: ``jpeg``, ``png`` or ``webp``.
        width: As stored, pixels.
        height: As stored, pixels.
        orientation: EXIF's, 1 to 8; 1 is upright.
        data: The file with nothing but the picture in it: of a JPEG, junk between its header's segments and what follows its end,
            such as a clip or a second picture, are left out.
        is_progressive: A JPEG that comes in several passes: its decoder holds all of it, whatever size is asked for.
    """

    kind: Literal["jpeg", "png", "webp"]
    width: int
    height: int
    orientation: int
    data: bytes
    is_progressive: bool = False

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height once it is turned as its orientation says."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def read_picture(data: bytes) -> Picture:
    """Find out what a file holds.

    Args:
        data: A JPEG, PNG or WebP file; anything else is named in the refusal.

    Raises:
        UnsupportedImage: If it is of another type, or animated.
        UnsupportedColor: If it is a JPEG with more than 8 bits a channel.
        ImageBroken: If it is truncated, or not what it declares.
    """
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return _read_jpeg(data)
        if data.startswith(PNG_MAGIC):
            return _read_png(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _read_webp(data)
    except (IndexError, struct.error):
        raise ImageBroken("it ends within its header") from None
    raise UnsupportedImage(_looks_like(data))


# --- JPEG: ITU-T T.81, annex B; EXIF in APP1 ---


JPEG_SEGMENTS: Final = frozenset((0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)))
"""DHT, DQT, DRI, COM and APPn: besides SOF and SOS, the markers allowed before the pixels. Each has a length. Some others (TEM,
RST) have none: a reader that skips one as if it had a length sees a different file than libjpeg from there on."""


MARKER: Final = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
"""Within coded pixels FF is followed by 00 or a restart marker; fill bytes may come before a marker."""
_ANY_MARKER: Final = re.compile(rb"\xff+[^\x00\xff]")
"""What libjpeg takes for one outside of coded pixels."""


def _read_jpeg(data: bytes) -> Picture:
    if data.startswith(b"\xff\xd8\xff\xd8"):  # Written twice by some cameras; libjpeg takes one.
        data = data[2:]
    size: tuple[int, int] | None = None
    at, kept_from, orientation, progressive = 2, 0, 1, False
    kept: list[bytes] = []
    junk = 0
    for _ in range(MAX_SEGMENTS):
        if data[at] != 0xFF or data[at + 1] == 0:
            # As libjpeg looks for the next marker, but what it skips is cut out, so that there is nothing it could take for one.
            kept.append(data[kept_from:at])
            found = _ANY_MARKER.search(data, at, at + MAX_JUNK_BYTES + 2)
            junk += found.start() - at if found else MAX_JUNK_BYTES + 1
            if found is None or junk > MAX_JUNK_BYTES:
                raise ImageBroken(f"a JPEG marker was expected at byte {at}")
            at = kept_from = found.start()
        marker = data[at + 1]
        if marker == 0xFF:  # A fill byte.
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker == 0xD9 or length < 2:
            raise ImageBroken("there is no picture in the JPEG file")
        if marker in (0xC0, 0xC1, 0xC2):
            if size:
                raise ImageBroken("the JPEG declares its size twice")
            bits, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
            size, progressive = (width, height), marker == 0xC2
            if bits != 8:
                raise UnsupportedColor(f"a JPEG with {bits} bits a channel")
            if components not in (1, 3, 4):
                raise UnsupportedColor(f"a JPEG with {components} channels")
        elif 0xC3 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            raise UnsupportedImage(f"a lossless, hierarchical or arithmetic-coded JPEG (SOF{marker - 0xC0})")
        elif marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            orientation = _exif_orientation(data[at + 10 : at + 2 + length])
        elif marker == 0xDA:
            if not size:
                raise ImageBroken("the JPEG does not declare its size")
            kept.append(data[kept_from : _end_of_scans(data, at)])
            return Picture("jpeg", *size, orientation, b"".join(kept) if len(kept) > 1 else kept[0], progressive)
        elif marker not in JPEG_SEGMENTS:
            raise ImageBroken(f"the marker FF{marker:02X} is not allowed before the JPEG's pixels")
        at += 2 + length
    raise ImageBroken(f"more than {MAX_SEGMENTS} segments come before the JPEG's pixels")


def _end_of_scans(data: bytes, at: int) -> int:
    """Where the picture ends whose first scan begins at ``at``: behind its end marker, or at the file's end if it has none.

    What follows, such as a motion photo's clip or the second picture of a stereo camera, is not this picture's.

    Raises:
        ImageBroken: If it has too many scans.
    """
    scans = 0
    for _ in range(MAX_SEGMENTS):
        (length,) = struct.unpack_from(">H", data, at + 2)
        scans += data[at + 1] == 0xDA
        if scans > MAX_SCANS:
            raise ImageBroken(f"the JPEG has {scans} scans or more; at most {MAX_SCANS} are accepted")
        found = MARKER.search(data, at + 2 + length)
        if found is None:
            return len(data)  # The decoder will say what is missing.
        if found[1] == b"\xd9":
            return found.end()
        at = found.end() - 2
    raise ImageBroken(f"the JPEG has more than {MAX_SEGMENTS} segments between its pixels")


# --- PNG: W3C, third edition. Signature, then chunks: length u32, type 4 bytes, data, CRC-32 of type and data ---


PNG_ORDER: Final = re.compile(rb"IHDR(PLTE)?(tRNS)?(IDAT)*IEND")
"""The chunks that make up the picture. Given two headers or palettes, decoders take the first, the last, or neither."""


def _read_png(data: bytes) -> Picture:
    length, kind, width, height = struct.unpack_from(">I4sII", data, 8)
    if (length, kind) != (13, b"IHDR"):
        raise ImageBroken("the PNG does not begin with its header")
    kept, kinds, orientation, at = [PNG_MAGIC], b"", 1, 8
    for _ in range(MAX_SEGMENTS):
        (length,) = struct.unpack_from(">I", data, at)
        kind, end = data[at + 4 : at + 8], at + 12 + length
        if end > len(data):
            raise ImageBroken("the PNG is truncated")
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            if zlib.crc32(data[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
                raise ImageBroken(f"the checksum of the PNG's {kind.decode()} chunk is wrong")
            kept.append(data[at:end])
            kinds += kind
        elif kind == b"acTL":
            raise UnsupportedImage("an animated PNG")
        elif kind == b"eXIf":
            orientation = _exif_orientation(data[at + 8 : end - 4])
        if kind == b"IEND":
            if not PNG_ORDER.fullmatch(kinds):
                raise ImageBroken("the PNG has a chunk twice, or chunks out of order")
            return Picture("png", width, height, orientation, b"".join(kept))
        at = end
    raise ImageBroken(f"the PNG has more than {MAX_SEGMENTS} chunks")


def check_png_pixels(picture: Picture) -> None:
    """Inflate a PNG's pixels once and keep nothing: are there exactly as many bytes as its header declares?

    If the pixels end early, Pillow silently shows black rows; and this bounds what an IDAT bomb may unfold to.

    Args:
        picture: Of kind ``png``; the caller has checked its size.

    Raises:
        ImageBroken: If there are fewer or more pixels than declared, or they are corrupt.
    """
    # One byte more than allowed: by then the stream must have ended and its checksum been compared.
    left, at, inflater = _png_pixel_bytes(picture) + 1, 8, zlib.decompressobj()
    try:
        while at < len(picture.data) and left > 0:
            (length,) = struct.unpack_from(">I", picture.data, at)
            if picture.data[at + 4 : at + 8] == b"IDAT":
                packed = picture.data[at + 8 : at + 8 + length]
                while packed and left > 0:
                    left -= len(inflater.decompress(packed, min(left, _INFLATED_AT_ONCE)))
                    packed = inflater.unconsumed_tail
            at += 12 + length
        while left > 0 and not inflater.eof and (more := inflater.decompress(b"", min(left, _INFLATED_AT_ONCE))):
            left -= len(more)
    except zlib.error:
        raise ImageBroken("the pixels of the PNG are corrupt") from None
    if left != 1 or not inflater.eof:
        more_or_fewer = "fewer" if left > 1 else "more"
        raise ImageBroken(f"the PNG holds {more_or_fewer} pixels than its header declares, or is truncated")


_INFLATED_AT_ONCE: Final = 1 << 20


def is_grey_16(picture: Picture) -> bool:
    """Whether it is a PNG of one channel of 16 bits, as depth cameras' files are."""
    return picture.kind == "png" and picture.data[24:26] == b"\x10\x00"


ADAM7: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""The passes of an interlaced PNG: first column, first row, step across, step down."""


def _png_pixel_bytes(picture: Picture) -> int:
    """Bytes of the inflated pixels: rows of packed pixels, each after one filter byte."""
    bits, color, _, _, interlaced = struct.unpack_from(">BBBBB", picture.data, 24)
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(color)
    if channels is None or bits not in (1, 2, 4, 8, 16) or interlaced > 1:
        raise ImageBroken("the PNG's header makes no sense")
    total = 0
    for left, top, across, down in ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = len(range(left, picture.width, across)), len(range(top, picture.height, down))
        total += rows * (1 + (columns * channels * bits + 7) // 8) if columns else 0
    return total


# --- WebP: RFC 9649. RIFF, size u32, WEBP, then chunks: type 4 bytes, size u32, data, a pad byte if odd ---


def _read_webp(data: bytes) -> Picture:
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    if end > len(data):
        raise ImageBroken("the WebP is truncated")
    picture, alpha, orientation, at = b"", b"", 1, 12
    for _ in range(MAX_SEGMENTS):
        if at >= end:
            break
        kind, (length,) = data[at : at + 4], struct.unpack_from("<I", data, at + 4)
        if at + 8 + length > end:
            raise ImageBroken("the WebP is truncated")
        chunk = data[at : at + 8 + length] + b"\0" * (length & 1)
        if kind in (b"ANIM", b"ANMF"):
            raise UnsupportedImage("an animated WebP")
        if kind in (b"VP8 ", b"VP8L"):
            if picture:
                raise ImageBroken("the WebP holds two pictures")
            picture = chunk
        elif kind == b"ALPH":
            if alpha or picture:
                raise ImageBroken("the WebP has two alpha planes, or one out of order")
            alpha = chunk
        elif kind == b"EXIF":
            orientation = _exif_orientation(chunk[8:].removeprefix(b"Exif\0\0"))
        at += len(chunk)
    else:
        raise ImageBroken(f"the WebP has more than {MAX_SEGMENTS} chunks")
    if not picture:
        raise ImageBroken("there is no picture in the WebP file")
    if picture.startswith(b"VP8L"):
        (packed,) = struct.unpack_from("<I", picture, 9)
        width, height, transparent = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1, bool(packed >> 28 & 1)
        alpha = b""  # VP8L has its own.
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", picture, 14))
        transparent = bool(alpha)
    return Picture("webp", width, height, orientation, _webp_file(width, height, transparent, alpha + picture))


def _webp_file(width: int, height: int, transparent: bool, chunks: bytes) -> bytes:
    """The extended form, even if the simple one would do: libwebp then refuses a picture that is not of the size we read."""
    canvas = (max(width, 1) - 1) | (max(height, 1) - 1) << 24
    extended = b"VP8X" + struct.pack("<II", 10, 0x10 if transparent else 0) + canvas.to_bytes(6, "little")
    return b"".join((b"RIFF", struct.pack("<I", 4 + len(extended) + len(chunks)), b"WEBP", extended, chunks))


# --- Shared by all three ---


_TIFF_INTEGERS: Final = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
"""TIFF's type → struct's. Orientation should be an unsigned 16-bit number; some software writes others."""


def _exif_orientation(tiff: bytes) -> int:
    """The orientation tag of the first image directory, 1 to 8; 1 (upright) if it is missing or makes no sense."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, at)
        for entry in range(min(entries, 256)):
            tag, kind, count = struct.unpack_from(order + "HHI", tiff, at + 2 + 12 * entry)
            if tag == 0x0112 and kind in _TIFF_INTEGERS and count == 1:
                (value,) = struct.unpack_from(order + _TIFF_INTEGERS[kind], tiff, at + 10 + 12 * entry)
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


_SIGNATURES: Final = (
    (rb"GIF8", "a GIF"),
    (rb"BM", "a BMP"),
    (rb"....ftyp(hei|hev|mif|msf)", "a HEIC image (an iPhone makes JPEGs with Settings, Camera, Formats, Most Compatible)"),
    (rb"....ftypavi", "an AVIF image"),
    (rb"....ftyp", "an MP4 or QuickTime video"),
    (rb"II\*\0|MM\0\*", "a TIFF or raw image"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL image"),
    (rb"\x1a\x45\xdf\xa3", "a WebM or Matroska video"),
    (rb"RIFF", "a RIFF file that is not a WebP"),
    (rb"data:", "a data URL (text)"),
    (rb"\s*<(\?xml|svg|!DOCTYPE|html)", "SVG or HTML text"),
    (rb"[\t\n\r\x20-\x7e]{1,64}\Z", "text"),
)


def _looks_like(data: bytes) -> str:
    for pattern, name in _SIGNATURES:
        if re.match(pattern, data[:64], re.DOTALL):
            return name
    return f"of an unknown type (it begins with {data[:8].hex(' ')})"
