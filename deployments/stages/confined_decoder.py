"""A program: decodes one picture from its standard input, and can do nothing else. Started by :mod:`deployments.stages.confined`.

It decodes what has no decoder in Python that is bounded by design: HEIC, AVIF, GIF, BMP and TIFF, by C libraries that are much
younger, or read much more, than a JPEG's. Whatever a file makes of them happens here: in a process without the server's memory, its
environment or its sockets, which may take so much memory and time, open no other file and write none.

    python -I confined_decoder.py KIND WANTED_PX MIN_PX MAX_WIDTH MAX_HEIGHT MAX_PIXELS MEMORY_BYTES TIME_S < file > result

The result is a line of JSON, then the pixels, their opacity if there is any, and the colour profile to the end. Imports nothing of
this package: a process is started for each picture, and has to start quickly.
"""

import io
import json
import os
import resource
import sys
from typing import Any

_SUBFILE, _DNG_VERSION = 254, 50706
"""TIFF's tag of a first picture that is only the small copy of another; DNG's own. Both are cameras' raw files."""


def main() -> None:
    """Decode what comes in."""
    # The server may have its libraries elsewhere; -I keeps Python from looking there by itself.
    sys.path += [place for place in os.environ.get("SPLATCAST_PATH", "").split(os.pathsep) if place and place not in sys.path]
    kind, *numbers = sys.argv[1:]
    wanted_px, min_px, max_width, max_height, max_pixels, memory_bytes, time_s = map(int, numbers)
    data = sys.stdin.buffer.read()
    try:
        opened = _DECODERS[kind]()
    except ImportError:
        return _refuse("missing")
    _confine(memory_bytes, time_s)
    try:
        image = opened(io.BytesIO(data))
        width, height = image.size
        too_small = min(width, height) < min_px
        if too_small or width > max_width or height > max_height or width * height > max_pixels:
            return _refuse("size", width=width, height=height)
        if kind == "tiff" and (image.tag_v2.get(_SUBFILE, 0) or _DNG_VERSION in image.tag_v2 or data[8:10] == b"CR"):
            return _refuse("raw")
        image.load()
        if image.size not in ((width, height), (height, width)):
            return _refuse("broken", reason="its header says another size than its pixels have")
        factor = max(1, min(max(image.size) // wanted_px, min(image.size) // min_px)) if wanted_px else 1
        return _answer(kind, image, (width, height), factor)
    except MemoryError:
        return _refuse("broken", reason="it takes more memory to decode than a picture of its size may")
    except Exception as error:  # Whatever the library makes of a broken file: it ends here.
        return _refuse("broken", reason=f"{error}"[:120] or type(error).__name__)


def _answer(kind: str, image: Any, size: tuple[int, int], factor: int) -> None:
    exif = image.getexif()
    focal = exif.get_ifd(0x8769).get(0xA405, 0)
    # What is still to be done: libheif has turned a HEIC, and Pillow a TIFF; of an AVIF Pillow tells what its boxes say.
    orientation = 1 if kind == "heic" else exif.get(0x0112, 1)
    profile = image.info.get("icc_profile") or b""
    layout = image.mode
    image = _flat(image)
    if image is None:
        return _refuse("color", layout=layout)
    image = image.reduce(factor)  # RGBA by opacity.
    alpha = image.getchannel("A").tobytes() if image.mode == "RGBA" else b""
    image = image.convert("RGB") if image.mode == "RGBA" else image
    head = {
        "ok": True,
        "full_size": size,
        "size": image.size,
        "mode": image.mode,
        "alpha": bool(alpha),
        "orientation": orientation if isinstance(orientation, int) else 1,
        "focal_35mm": focal if isinstance(focal, int) else 0,
    }
    _write(head, image.tobytes(), alpha, profile)


def _flat(image: Any) -> Any:
    """The picture as L, RGB, RGBA or CMYK; None for layouts that say no colours."""
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode in ("L", "RGB", "CMYK"):
        return image
    if image.mode.startswith("I;16") or image.mode == "I":
        # The upper eight bits of sixteen.
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if image.mode in ("1", "P", "RGBX", "YCbCr"):
        return image.convert("L" if image.mode == "1" else "RGB")
    return None


def _heic() -> Any:
    from pillow_heif import as_plugin, options

    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    options.DECODE_THREADS = 2
    return as_plugin.HeifImageFile


def _avif() -> Any:
    from PIL import AvifImagePlugin

    if not AvifImagePlugin.SUPPORTED:
        raise ImportError
    return AvifImagePlugin.AvifImageFile


def _gif() -> Any:
    from PIL import GifImagePlugin

    return GifImagePlugin.GifImageFile


def _bmp() -> Any:
    from PIL import BmpImagePlugin

    return BmpImagePlugin.BmpImageFile


def _tiff() -> Any:
    from PIL import TiffImagePlugin

    return TiffImagePlugin.TiffImageFile


_DECODERS = {"heic": _heic, "avif": _avif, "gif": _gif, "bmp": _bmp, "tiff": _tiff}


def _confine(memory_bytes: int, time_s: int) -> None:
    """No more memory, time, files or processes than this; libraries are loaded by now."""
    limits = {
        resource.RLIMIT_DATA: memory_bytes,
        resource.RLIMIT_CPU: time_s,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))


def _refuse(why: str, **more: Any) -> None:
    _write({"ok": False, "why": why, **more})


def _write(head: dict[str, Any], *parts: bytes) -> None:
    out = sys.stdout.buffer
    out.write(json.dumps(head).encode() + b"\n")
    for part in parts:
        out.write(part)
    out.flush()


if __name__ == "__main__":
    main()
