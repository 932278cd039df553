"""Small pictures for tests."""

import io
import struct
import zlib

import numpy as np
import simplejpeg
from PIL import Image


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png_chunk(chunk: tuple[bytes, bytes]) -> bytes:
    kind, data = chunk
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def webp_file(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def webp_chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) & 1)


def vp8l(codes: int = 65_536) -> bytes:
    """The pixels of a lossless WebP of 1024×1024 (RFC 9649, without its 5 bytes of header): one colour, as dear as can be.

    There are 65,536 blocks of 4×4 pixels, and as many groups of five prefix codes can be told apart. A group takes 36 bits
    here and 5.7 kB in the decoder, which makes five tables of it.

    Args:
        codes: Groups of prefix codes; the blocks take turns with them.
    """
    one = "1000"  # A prefix code of one symbol, 0: it takes no bits to read one.
    flat = "0" + "0001" + "000" * 11 + "100" + "1" + "110" + "01111111"  # A prefix code of 256 symbols, 8 bits each.
    blocks = (f"{block % codes & 255:08b}{block % codes >> 8:08b}" for block in range(256 * 256))
    # No transform, no cache; groups, for blocks of 4×4: a picture without a cache, its green and red are a group's number.
    bits = "".join(("0", "0", "1", "000", "0", flat, flat, one * 3, *blocks, one * 5 * codes))
    return int(bits[::-1], 2).to_bytes((len(bits) + 7) // 8, "little")


def patched(data: bytes, marker: bytes, offset: int, new: bytes) -> bytes:
    """The file with other bytes at an offset from the first place where the marker stands."""
    at = data.index(marker) + offset
    return data[:at] + new + data[at + len(new) :]


def jpeg(width: int = 64, height: int = 48) -> bytes:
    """A grey gradient as a JPEG."""
    return saved(Image.linear_gradient("L").resize((width, height)).convert("RGB"), "JPEG")


def jpeg_441() -> tuple[bytes, Image.Image]:
    """A JPEG of 4:4:1 subsampling, which no encoder at hand writes, and what it shows: a grey gradient of 32×32.

    A 4:1:1 JPEG has the same blocks in another order: four side by side share their colour there, four on top of each other here.
    """
    y, x = np.mgrid[0:32, 0:32]
    shown = (y * 5 + x * 2).astype(np.uint8)
    stored = shown.reshape(4, 8, 4, 8).swapaxes(0, 2).reshape(32, 32)
    data = simplejpeg.encode_jpeg(np.stack([stored] * 3, -1), quality=95, colorsubsampling="411")
    return patched(data, b"\xff\xc0", 11, b"\x14"), Image.fromarray(shown)
