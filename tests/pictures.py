"""Small pictures for tests."""

import io

from PIL import Image


def jpeg(width: int = 64, height: int = 48) -> bytes:
    """A grey gradient as a JPEG."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()
