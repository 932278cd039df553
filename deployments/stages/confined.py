"""Pictures that are decoded in a process of their own: HEIC, AVIF, GIF, BMP, TIFF.

Their decoders are C libraries that have to read more than a JPEG's, and a file can be made to crash them, to fill the memory or to
take for ever. In :mod:`deployments.stages.confined_decoder` that costs the file: the process has bounds on memory and time, and
what comes back is pixels, whose number is checked. It costs a tenth of a second a picture, too much for a stream and little for a
photo.
"""

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deployments.stages.exif import known_focal
from deployments.stages.icc import whole_profile
from deployments.stream.errors import ImageBroken, ImageSizeRefused, UnsupportedColor, UnsupportedImage

U8 = NDArray[np.uint8]

PROGRAM: Final = Path(__file__).with_name("confined_decoder.py")
_CHANNELS: Final = {"L": 1, "RGB": 3, "CMYK": 4}
_MOST_ANSWERED: Final = 4096
"""Bytes of the answer's first line."""
FEW_AT_A_TIME: Final = threading.BoundedSemaphore(2)
"""Pictures of a process that are held whole while they are decoded."""
_MISSING: Final = {
    "heic": "a HEIC image, which this server does not read: to have it read them, type pip install 'splatcast[heic]' there; or "
    "save it as JPEG (an iPhone makes JPEGs with Settings, Camera, Formats, Most Compatible)",
    "avif": "an AVIF image, which this server's Pillow was built without: save it as JPEG",
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What decoding may take.

    Attributes:
        min_px: Smallest width and height.
        max_width, max_height, max_pixels: Largest, pixels.
        memory_bytes: Of the process.
        time_s: Of the process, on the clock and of processors.
    """

    min_px: int
    max_width: int
    max_height: int
    max_pixels: int
    memory_bytes: int
    time_s: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture as it came out.

    Attributes:
        pixels: Grey [H, W], RGB [H, W, 3] or CMYK with 0 for no ink [H, W, 4]. uint8.
        mode: ``L``, ``RGB`` or ``CMYK``.
        alpha: Opacity, None: all of it is opaque. uint8 [H, W].
        profile: ICC profile of the colours; empty: none.
        orientation: What is still to be undone, as EXIF's: 1 to 8.
        focal_35mm: As in EXIF; 0: unknown.
    """

    pixels: U8
    mode: str
    alpha: U8 | None
    profile: bytes
    orientation: int
    focal_35mm: int


def decode_confined(kind: str, data: bytes, wanted_px: int, bounds: Bounds) -> Decoded:
    """Decode a picture in a process of its own; two at a time in this one.

    Args:
        kind: ``heic``, ``avif``, ``gif``, ``bmp`` or ``tiff``.
        data: The file. Of one with several pictures the first is taken.
        wanted_px: Longest useful side: a larger picture is made smaller by a whole number, never below this; 0: full size.
        bounds: What it may take.

    Raises:
        UnsupportedImage: If the library for it is not installed.
        UnsupportedColor: If its layout means no colours.
        ImageSizeRefused: If its header says a size that is not accepted.
        ImageBroken: If it is broken, or takes more than it may.
    """
    numbers = (wanted_px, bounds.min_px, bounds.max_width, bounds.max_height, bounds.max_pixels, bounds.memory_bytes, bounds.time_s)
    command = [sys.executable, "-I", str(PROGRAM), kind, *map(str, numbers)]
    try:
        with FEW_AT_A_TIME:
            done = subprocess.run(  # Of the environment only where libraries are: it holds tokens.
                command,
                input=data,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=bounds.time_s,
                env=_environment(),
                cwd="/",
                check=False,
            )
    except subprocess.TimeoutExpired:
        raise ImageBroken(f"it takes more than {bounds.time_s} s to decode") from None
    except OSError:
        raise ImageBroken("its decoder can't be started") from None
    line, _, content = done.stdout.partition(b"\n")
    if done.returncode or not line or len(line) > _MOST_ANSWERED:
        raise ImageBroken("its decoder gave up")
    head = json.loads(line)
    if not head["ok"]:
        raise _refusal(kind, head, bounds)
    return _decoded(head, content)


def _environment() -> dict[str, str]:
    paths = os.pathsep.join(place for place in sys.path if os.path.isabs(place))
    return {
        "MALLOC_ARENA_MAX": "2",
        "SPLATCAST_PATH": paths,
        **{name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
    }


def _refusal(kind: str, head: dict[str, Any], bounds: Bounds) -> Exception:
    if head["why"] == "missing":
        return UnsupportedImage(_MISSING.get(kind, f"a {kind.upper()}, which this server can't read: save it as JPEG"))
    if head["why"] == "raw":
        return UnsupportedImage("a camera's raw image: develop it, and save it as JPEG")
    if head["why"] == "color":
        return UnsupportedColor(f"in the colour layout {head['layout']}")
    if head["why"] == "size":
        least, most = f"{bounds.min_px}×{bounds.min_px}", f"{bounds.max_width}×{bounds.max_height}"
        limit = f"{least} to {most}, and at most {bounds.max_pixels / 1e6:g} megapixels in a {kind.upper()}"
        return ImageSizeRefused(head["width"], head["height"], f"{limit}; save it as an ordinary JPEG")
    # Some libraries name their objects, by address, which is nobody's business.
    return ImageBroken("its data make no sense" if "<" in head["reason"] else head["reason"])


def _decoded(head: dict[str, Any], content: bytes) -> Decoded:
    (width, height), mode = head["size"], head["mode"]
    channels = _CHANNELS[mode]
    pixels = width * height
    values = np.frombuffer(content, np.uint8)
    end = pixels * channels
    alpha_end = end + (pixels if head["alpha"] else 0)
    if len(values) < alpha_end:
        raise ImageBroken("its decoder gave up")
    alpha = values[end:alpha_end].reshape(height, width) if head["alpha"] else None
    shape = (height, width) if channels == 1 else (height, width, channels)
    orientation = head["orientation"] if 1 <= head["orientation"] <= 8 else 1
    profile = whole_profile(content[alpha_end:])
    return Decoded(values[:end].reshape(shape), mode, alpha, profile, orientation, known_focal(head["focal_35mm"]))
