"""What an image file's headers say (type, size, orientation, lens, colour profile), and the file reduced to nothing but the
picture.

Reads JPEG, PNG and WebP from untrusted clients, byte by byte, with only the standard library; decodes no pixels. Invariant: every
length is checked against the bytes that are there, every loop has a bound, and metadata (text, colour profiles, thumbnails: where
the decompression bombs of PNG and WebP hide) is removed, so that no decoder after this module sees it. A structure that a decoder
might read differently is refused. Other types are only told apart here: the process that decodes them reads their headers.

Any function here may raise IndexError or struct.error if a file ends early: :func:`read_picture` turns them into a refusal.
"""

import re
import struct
import zlib
from dataclasses import dataclass, field
from typing import Final, Literal

from deployments.stages import isobmff
from deployments.stages.exif import NO_EXIF, read_exif
from deployments.stages.icc import HEADER_BYTES, MAX_PROFILE_BYTES, PRIMARIES, declared_bytes, matrix_profile, whole_profile
from deployments.stream.errors import ImageBroken, UnsupportedColor, UnsupportedImage

MAX_SEGMENTS: Final = 2048
"""Segments before a JPEG's pixels, or chunks of a PNG or WebP. Cameras write dozens; a million would cost half a second."""

MAX_JUNK_BYTES: Final = 4096
"""Between the segments of a JPEG's header, all together: makers' software leaves a few."""

MAX_SCANS: Final = 32
"""Scans of a progressive JPEG. Encoders write 6 to 14; each costs a pass over the picture, and thousands fit in a file."""

PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"

Kind = Literal["jpeg", "png", "webp", "heic", "avif", "gif", "bmp", "tiff"]
KINDS: tuple[Kind, ...] = ("jpeg", "png", "webp", "heic", "avif", "gif", "bmp", "tiff")
NAMES: Final[dict[str, str]] = {"jpeg": "JPEG", "webp": "WebP", **{kind: kind.upper() for kind in KINDS[3:]}, "png": "PNG"}


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file whose headers were accepted.

    Attributes:
        kind: What it is.
        width: As stored, pixels; 0 if the decoder is the first to know.
        height: As stored, pixels; likewise.
        orientation: EXIF's, 1 to 8; 1 is upright.
        data: The file with nothing but the picture in it: of a JPEG, junk between its header's segments and what follows its end,
            such as a clip or a second picture, are left out, and the profile. Of other types than JPEG, PNG and WebP: the file.
        is_whole: Its decoder holds all of it, whatever size is asked for: a JPEG that comes in several passes, an interlaced PNG,
            any WebP.
        focal_35mm: As :class:`~deployments.stages.exif.Exif` has it; 0: unknown.
        profile: ICC profile of its colours; empty: none, or none that makes sense.
    """

    kind: Kind
    width: int
    height: int
    orientation: int
    data: bytes = field(repr=False)
    is_whole: bool = False
    focal_35mm: int = 0
    profile: bytes = field(default=b"", repr=False)

    @property
    def is_confined(self) -> bool:
        """Whether it is decoded in a process of its own: see :mod:`deployments.stages.confined`."""
        return self.kind not in ("jpeg", "png", "webp")

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height once it is turned as its orientation says."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def read_picture(data: bytes, formats: tuple[Kind, ...] = KINDS) -> Picture:
    """Find out what a file holds.

    Args:
        data: An image file.
        formats: What is taken; anything else is named in the refusal.

    Raises:
        UnsupportedImage: If it is of another type, or animated.
        UnsupportedColor: If it is a JPEG with more than 8 bits a channel.
        ImageBroken: If it is truncated, or not what it declares.
    """
    kind = _kind_of(data)
    if kind is None or kind not in formats:
        raise UnsupportedImage(_looks_like(data), names_of(formats))
    try:
        if kind == "jpeg":
            return _read_jpeg(data)
        if kind == "png":
            return _read_png(data)
        if kind == "webp":
            return _read_webp(data)
    except (IndexError, struct.error):
        raise ImageBroken("it ends within its header") from None
    # A profile in the file goes before primaries by number; the decoder finds it.
    primaries = PRIMARIES.get(isobmff.primaries_of(data)) if kind in ("heic", "avif") else None
    return Picture(kind, 0, 0, 1, data, profile=matrix_profile(primaries) if primaries else b"")


def names_of(formats: tuple[Kind, ...]) -> str:
    """For people: ``JPEG, PNG or WebP``."""
    names = [NAMES[kind] for kind in KINDS if kind in formats]
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else "".join(names)


def _kind_of(data: bytes) -> Kind | None:
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(PNG_MAGIC):
        return "png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    # A BMP's own size of its header tells it from text that begins with BM.
    if data.startswith(b"BM") and data[14:18] in _BMP_HEADERS:
        return "bmp"
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "tiff"
    return isobmff.kind_of(data)


_BMP_HEADERS: Final = frozenset(struct.pack("<I", size) for size in (12, 40, 52, 56, 64, 108, 124))


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
    at, kept_from, exif, progressive = 2, 0, NO_EXIF, False
    kept: list[bytes] = []
    profile: dict[tuple[int, int], bytes] = {}
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
            exif = read_exif(data[at + 10 : at + 2 + length])
        elif marker == 0xE2 and data[at + 4 : at + 16] == b"ICC_PROFILE\0" and length > 16:
            profile.setdefault((data[at + 16], data[at + 17]), data[at + 18 : at + 2 + length])
            # Cut out: libjpeg warns of those that are numbered wrong, as if it were the picture that is broken.
            kept.append(data[kept_from:at])
            kept_from = at + 2 + length
        elif marker == 0xDA:
            if not size:
                raise ImageBroken("the JPEG does not declare its size")
            kept.append(data[kept_from : _end_of_scans(data, at)])
            file = b"".join(kept) if len(kept) > 1 else kept[0]
            return Picture("jpeg", *size, exif.orientation, file, progressive, exif.focal_35mm, _joined_profile(profile))
        elif marker not in JPEG_SEGMENTS:
            raise ImageBroken(f"the marker FF{marker:02X} is not allowed before the JPEG's pixels")
        at += 2 + length
    raise ImageBroken(f"more than {MAX_SEGMENTS} segments come before the JPEG's pixels")


def _joined_profile(parts: dict[tuple[int, int], bytes]) -> bytes:
    """The profile that several segments hold together (ICC.1:2022, annex B.4): numbered from 1, each with how many there are."""
    count = len(parts)
    if not count or set(parts) != {(index, count) for index in range(1, count + 1)}:
        return b""
    if sum(map(len, parts.values())) > MAX_PROFILE_BYTES:
        return b""
    return whole_profile(b"".join(parts[index, count] for index in range(1, count + 1)))


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
    interlaced = data[28] != 0
    kept, kinds, exif, profile, at = [PNG_MAGIC], b"", NO_EXIF, b"", 8
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
            exif = read_exif(data[at + 8 : end - 4])
        elif kind == b"iCCP" and not profile:
            profile = _inflated_profile(data[at + 8 : end - 4])
        if kind == b"IEND":
            if not PNG_ORDER.fullmatch(kinds):
                raise ImageBroken("the PNG has a chunk twice, or chunks out of order")
            return Picture("png", width, height, exif.orientation, b"".join(kept), interlaced, exif.focal_35mm, profile)
        at = end
    raise ImageBroken(f"the PNG has more than {MAX_SEGMENTS} chunks")


def _inflated_profile(chunk: bytes) -> bytes:
    """The profile of an iCCP chunk: a name, NUL, 0 for zlib, and the profile, of which no more is inflated than it says."""
    name, _, packed = chunk[:81].partition(b"\0")
    inflater = zlib.decompressobj()
    try:
        head = inflater.decompress(chunk[len(name) + 2 :], HEADER_BYTES)
        rest = declared_bytes(head) - len(head) if packed[:1] == b"\0" else 0
        return whole_profile(head + inflater.decompress(inflater.unconsumed_tail, rest)) if rest > 0 else b""
    except zlib.error:
        return b""


def is_grey_16(picture: Picture) -> bool:
    """Whether it is a PNG of one channel of 16 bits, as depth cameras' files are."""
    return picture.kind == "png" and picture.data[24:26] == b"\x10\x00"


# --- WebP: RFC 9649. RIFF, size u32, WEBP, then chunks: type 4 bytes, size u32, data, a pad byte if odd ---


def _read_webp(data: bytes) -> Picture:
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    if end > len(data):
        raise ImageBroken("the WebP is truncated")
    picture, alpha, exif, profile, at = b"", b"", NO_EXIF, b"", 12
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
            exif = read_exif(chunk[8:].removeprefix(b"Exif\0\0"))
        elif kind == b"ICCP":
            profile = whole_profile(chunk[8:])
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
    file = _webp_file(width, height, transparent, alpha + picture)
    return Picture("webp", width, height, exif.orientation, file, True, exif.focal_35mm, profile)


def _webp_file(width: int, height: int, transparent: bool, chunks: bytes) -> bytes:
    """The extended form, even if the simple one would do: libwebp then refuses a picture that is not of the size we read."""
    canvas = (max(width, 1) - 1) | (max(height, 1) - 1) << 24
    extended = b"VP8X" + struct.pack("<II", 10, 0x10 if transparent else 0) + canvas.to_bytes(6, "little")
    return b"".join((b"RIFF", struct.pack("<I", 4 + len(extended) + len(chunks)), b"WEBP", extended, chunks))


# --- Everything else, by name ---


_SIGNATURES: Final = (
    (rb"GIF8", "a GIF"),
    (rb"BM", "a BMP"),
    (rb"....ftypavi|....ftypmi.1.{4,32}avif", "an AVIF image"),
    (rb"....ftyp(hei|hev|mif|msf)", "a HEIC image (an iPhone makes JPEGs with Settings, Camera, Formats, Most Compatible)"),
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
