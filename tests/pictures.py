"""Small pictures for tests."""

import io
import struct
import zlib

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


def patched(data: bytes, marker: bytes, offset: int, new: bytes) -> bytes:
    """The file with other bytes at an offset from the first place where the marker stands."""
    at = data.index(marker) + offset
    return data[:at] + new + data[at + len(new) :]


def jpeg(width: int = 64, height: int = 48) -> bytes:
    """A grey gradient as a JPEG."""
    return saved(Image.linear_gradient("L").resize((width, height)).convert("RGB"), "JPEG")
