"""A decoded photo as a picture that any browser shows: a JPEG, or a PNG if some of it is transparent."""

import io

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

U8 = NDArray[np.uint8]

QUALITY = 92


def encode_picture(rgb: U8, alpha: U8 | None, longest_px: int) -> tuple[bytes, str]:
    """The file and its media type.

    Args:
        rgb: sRGB. uint8 [H, W, 3].
        alpha: Opacity; None: opaque. uint8 [H, W].
        longest_px: The longer side is made no longer than this.
    """
    height, width = rgb.shape[:2]
    scale = min(1.0, longest_px / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size != (width, height):
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        alpha = None if alpha is None else cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    if alpha is None:
        return simplejpeg.encode_jpeg(np.ascontiguousarray(rgb), QUALITY, "RGB", "444"), "image/jpeg"
    out = io.BytesIO()
    Image.fromarray(np.dstack([rgb, alpha])).save(out, "PNG", compress_level=1)
    return out.getvalue(), "image/png"
