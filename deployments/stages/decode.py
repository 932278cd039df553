"""Encoded image bytes → RGB pixels, or the reason why not.

Takes JPEG, PNG and WebP from untrusted clients. Invariant: no pixel is decoded before :mod:`deployments.stages.image_files` has
accepted the type, the colour layout and the size in the file's own header, and the decoder has announced the same (or, for 4:4:1
JPEGs, has been given no room for more). A picture comes out whole or not at all: a truncated file is refused, never shown half
grey.

Choices a caller may want to know:
    Pictures at least twice as large as is useful are scaled down, JPEGs while they are decoded.
    CMYK becomes RGB without a colour profile, 16 bits a channel become 8.
    A JPEG that libjpeg reads with no worse a warning than of bytes too many before a restart or end marker is taken; some webcams
    write them.
    Transparency is composited on black, as a browser does when it makes a JPEG from a canvas.
    EXIF orientation is applied for all three types; other EXIF data is ignored. So are colour profiles: sRGB is assumed.
    Animations (APNG, animated WebP) are refused: a frame is one moment.
    Depth that comes with the views is a 16-bit grey PNG. It keeps its own size, and its own EXIF orientation is applied.

Any number of threads may decode JPEGs at once; simplejpeg and Pillow release the GIL. PNG and WebP take up to 620 MB each, where a
JPEG takes 10 (80 if it is progressive), and are decoded two at a time in a process.
"""

import io
import math
import re
import struct
import threading
import time
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, WebPImagePlugin

from deployments.pipeline import DecodedCapture
from deployments.splats.codecs.depth import Jpeg
from deployments.splats.codecs.depth_heads import NAME
from deployments.splats.layers import upright
from deployments.splats.lifting import scale_camera
from deployments.stages.image_files import Picture, check_png_pixels, is_grey_16, read_picture
from deployments.stages.jpeg_metadata import strip_metadata
from deployments.stream import known_cameras
from deployments.stream.errors import (
    DepthRefused,
    FrameEmpty,
    FrameError,
    FrameTooLarge,
    ImageBroken,
    ImageSizeRefused,
    TooManyPixels,
    UnsupportedColor,
)
from deployments.stream.frames import Capture


@dataclass(frozen=True, slots=True)
class FrameLimits:
    """What the decoder accepts.

    Attributes:
        max_frame_bytes: Encoded bytes of all views of a frame together.
        min_px: Smallest width and height.
        max_width: Largest width, pixels.
        max_height: Largest height, pixels.
        max_pixels: Most pixels of all views of a frame together.
        max_whole_pixels: Most pixels of a picture that has to be held whole while it is decoded: PNG, WebP, progressive JPEG. 24
            megapixels take 80 MB as progressive JPEG, 210 to 310 as PNG, 430 as WebP, and up to 1 s; any other JPEG takes 10 MB,
            even of 100. A hostile WebP takes up to 3 s and 620 MB, and still 510 MB at one megapixel: its lossless pixels, or its
            alpha plane, may carry 65,536 groups of prefix codes, one for each 16 pixels.
        decode_px: Longest useful side, pixels, if the client's ``inference_px`` leaves it open; pictures at least twice as
            large are scaled down, JPEGs while they are decoded.
    """

    max_frame_bytes: int = 4 * 1024 * 1024
    min_px: int = 16
    max_width: int = 4096
    max_height: int = 4096
    max_pixels: int = 12_000_000
    max_whole_pixels: int = 12_000_000
    decode_px: int = 1024


@dataclass(frozen=True, slots=True)
class PhotoLimits(FrameLimits):
    """Of a picture that somebody uploads: what phones and cameras make."""

    max_frame_bytes: int = 64 * 1024 * 1024
    max_width: int = 32_767
    max_height: int = 32_767
    max_pixels: int = 100_000_000
    max_whole_pixels: int = 25_000_000


def decode_capture(
    capture: Capture,
    frames: FrameLimits = FrameLimits(),  # frozen
    photos: FrameLimits = PhotoLimits(),  # frozen
) -> DecodedCapture | FrameError:
    """Decode all views of a capture: the decode stage of the graph.

    Args:
        capture: Encoded views; the session limits their number.
        frames: What is accepted of a stream.
        photos: What is accepted of a photo.

    Returns:
        The pixels, with the time that this took noted as ``decode``; or, returned and not raised, why this frame is refused.
    """
    start = time.perf_counter()
    limits = photos if capture.request.file else frames
    try:
        if not capture.views:
            raise FrameEmpty
        total = capture.encoded_bytes
        if total > limits.max_frame_bytes:
            raise FrameTooLarge(total, limits.max_frame_bytes)
        if refusal := known_cameras.why_not(capture):
            raise refusal
        # All headers before any pixels: a bomb may be spread over the views.
        pictures = [_read_header(view, limits) for view in capture.views]
        depth_maps = [_read_depth_header(data, i, pictures[i], limits) for i, data in enumerate(capture.depths)]
        pixels = sum(picture.width * picture.height for picture in (*pictures, *depth_maps))
        if pixels > limits.max_pixels:
            raise TooManyPixels(pixels, limits.max_pixels)
        cameras = [known_cameras.camera_of_view(c, i, *pictures[i].upright_size) for i, c in enumerate(capture.cameras)]
        wanted_px = capture.request.options.inference_px or limits.decode_px
        views = tuple(_decode(picture, wanted_px, limits) for picture in pictures)
        depths = tuple(_decode_depth(depth_map, i, capture.depth_unit_m) for i, depth_map in enumerate(depth_maps))
        if NAME in capture.request.codecs and capture.request.options.colors == "jpeg":
            coded = (Jpeg(strip_metadata(p.data), p.orientation) for p in pictures if p.kind == "jpeg")
            capture.request.pictures = tuple(coded)
    except FrameError as error:
        return error.with_traceback(None)  # It is passed on as a value, without our stack frames and the pixels they hold.
    capture.request.timings["decode"] = (time.perf_counter() - start) * 1e3
    scaled = tuple(scale_camera(camera, views[i].shape[1], views[i].shape[0]) for i, camera in enumerate(cameras))
    return DecodedCapture(views, capture.request, scaled, known_cameras.relative_poses(capture.cameras), depths)


def decode_frame(data: bytes, limits: FrameLimits, wanted_px: int = 0) -> NDArray[np.uint8]:
    """Decode one encoded image.

    Args:
        data: A JPEG, PNG or WebP file.
        limits: What is accepted.
        wanted_px: Longest useful side, pixels; 0: full size. A JPEG at least twice as large is scaled to 1/8 … 4/8 while
            it is decoded, other pictures by a whole number afterwards; never below this, nor with its shorter side below
            ``limits.min_px``. CMYK and 4:4:1 JPEGs come in full size.

    Returns:
        RGB, upright. uint8 [H, W, 3], C-contiguous.

    Raises:
        FrameError: One of its subclasses, saying what was expected and what came.
    """
    return _decode(_read_header(data, limits), wanted_px, limits)


def _read_header(data: bytes, limits: FrameLimits) -> Picture:
    if not data:
        raise FrameEmpty
    if len(data) > limits.max_frame_bytes:
        raise FrameTooLarge(len(data), limits.max_frame_bytes)
    picture = read_picture(data)
    _check_size(picture, limits)
    return picture


def _decode(picture: Picture, wanted_px: int, limits: FrameLimits) -> NDArray[np.uint8]:
    if picture.kind == "jpeg":
        pixels = _decode_jpeg(picture, wanted_px, limits)
    elif picture.kind == "png":
        check_png_pixels(picture)
        pixels = _decode_with_pillow(PngImagePlugin.PngImageFile, picture, wanted_px, limits)
    else:
        pixels = _decode_with_pillow(WebPImagePlugin.WebPImageFile, picture, wanted_px, limits)
    return upright(pixels, picture.orientation)


def _decode_jpeg(picture: Picture, wanted_px: int, limits: FrameLimits) -> NDArray[np.uint8]:
    # To eighths, 4/8 at most (min_factor 2), as more is no faster; simplejpeg takes the fewest that do not go below min_*.
    longer, shorter = ("width", "height") if picture.width >= picture.height else ("height", "width")
    scaling = {f"min_{longer}": wanted_px, f"min_{shorter}": limits.min_px, "min_factor": 2} if wanted_px else {}
    try:
        try:
            height, width, layout, _ = simplejpeg.decode_jpeg_header(picture.data)
        except KeyError:  # It has no name for 4:4:1. A buffer of the size we read keeps it from decoding anything larger.
            _check_whole(picture, limits)
            pixels = _decode_whole_jpeg(picture.data, "RGB", buffer=np.empty(picture.width * picture.height * 3, np.uint8))
            height, width, _ = pixels.shape
            _check_announced(picture, (width, height), "RGB")
            return pixels
        _check_announced(picture, (width, height), layout)
        if layout in ("CMYK", "YCCK"):
            return _rgb_of_cmyk(_decode_whole_jpeg(picture.data, "CMYK", **scaling))
        return _decode_whole_jpeg(picture.data, "RGB", **scaling)
    except ValueError as error:
        raise ImageBroken(str(error)[:120]) from None


def _decode_whole_jpeg(data: bytes, layout: str, **how: Any) -> NDArray[np.uint8]:
    """All of a JPEG's pixels: one that ends early or is corrupt is no picture, but bytes too many do no harm.

    Raises:
        ValueError: What libjpeg says.
    """
    try:
        # strict makes an error of libjpeg's first warning. Without it, what is missing is grey.
        return simplejpeg.decode_jpeg(data, layout, strict=True, **how)  # type: ignore[no-any-return]
    except ValueError as error:
        too_many = _TOO_MANY_BYTES.search(str(error))
        if too_many is None or int(too_many[1]) > MAX_EXTRA_BYTES:
            raise
        if too_many[2] == "d9":  # After the last pixel, and before it there was nothing to warn of.
            return simplejpeg.decode_jpeg(data, layout, strict=False, **how)  # type: ignore[no-any-return]
        unpadded = _PADDING.sub(b"", data)
        if unpadded == data:
            raise
        return _decode_whole_jpeg(unpadded, layout, **how)


MAX_EXTRA_BYTES: Final = 64
"""Before a marker. More are pixels that the header does not speak of."""
_TOO_MANY_BYTES: Final = re.compile(r"(\d+) extraneous bytes before marker 0x(d[0-79])")
_PADDING: Final = re.compile(rb"(?<!\xff)\0+(?=\xff[\xd0-\xd7\xd9])")
"""Zeros before a restart or end marker. Codes end with ones, so that few pictures have them there by right."""


def _rgb_of_cmyk(cmyk: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Without a profile, as browsers do; ink is stored inverted, as Adobe's programs and everyone after them store it."""
    ink = cmyk.astype(np.uint16)
    return ((ink[..., :3] * ink[..., 3:] + 127) // 255).astype(np.uint8)


def _decode_with_pillow(
    decoder: type[PngImagePlugin.PngImageFile | WebPImagePlugin.WebPImageFile],
    picture: Picture,
    wanted_px: int,
    limits: FrameLimits,
) -> NDArray[np.uint8]:
    """RGB on black. Calling one decoder directly avoids Pillow's registry and, except for WebP, its process-wide limit."""
    longer, shorter = max(picture.width, picture.height), min(picture.width, picture.height)
    factor = max(1, min(longer // wanted_px, shorter // limits.min_px)) if wanted_px else 1
    try:
        with _FEW_AT_A_TIME, decoder(io.BytesIO(picture.data)) as image:
            _check_announced(picture, image.size, image.mode)
            if image.mode == "I;16":  # The upper eight bits, as Pillow takes them of 16-bit colours.
                return np.array(Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB").reduce(factor))
            # A palette with transparency must go straight to RGBA: on the way through RGB, Pillow warns.
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                rgba = image.convert("RGBA").reduce(factor)
                return np.array(Image.composite(rgba, Image.new("RGBA", rgba.size), rgba.getchannel("A")))[..., :3]
            return np.array(image.convert("RGB").reduce(factor))
    except Image.DecompressionBombError:  # Raised before any pixels, and only if max_pixels allows more than Pillow does.
        raise ImageSizeRefused(picture.width, picture.height, "at most 179 megapixels in a WebP") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        # Pillow raises OSError and SyntaxError for broken files.
        raise ImageBroken(str(error)[:120] or type(error).__name__) from None


def _read_depth_header(data: bytes, index: int, view: Picture, limits: FrameLimits) -> Picture:
    try:
        depth_map = _read_header(data, limits)
    except FrameError as error:
        raise DepthRefused(f"depth {index}: {str(error).rstrip('.')}") from None
    if not is_grey_16(depth_map):
        raise DepthRefused(f"depth {index}: expected a PNG of one channel of 16 bits, got another kind of image")
    (width, height), (view_width, view_height) = depth_map.upright_size, view.upright_size
    if abs(math.log(width * view_height / (height * view_width))) > _SAME_SHAPE:
        raise DepthRefused(
            f"depth {index}: expected the shape of its view, which is {view_width}×{view_height} pixels upright, "
            f"got {width}×{height}: align it to the picture, and turn it as the picture is turned"
        )
    return depth_map


_SAME_SHAPE: Final = 0.03
"""What ratios of width to height may differ by: sizes are rounded, 848×480 is called 16:9."""


def _decode_depth(depth_map: Picture, index: int, unit_m: float) -> NDArray[np.float32]:
    """Upright z-depth, metres, 0 where it is unknown. float32 [H, W]."""
    try:
        check_png_pixels(depth_map)
        with _FEW_AT_A_TIME, PngImagePlugin.PngImageFile(io.BytesIO(depth_map.data)) as image:
            _check_announced(depth_map, image.size, image.mode)
            steps = np.asarray(image)
    except ImageBroken as error:
        raise DepthRefused(f"depth {index}: {error.reason}") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise DepthRefused(f"depth {index}: {str(error)[:120] or type(error).__name__}") from None
    return upright(np.asarray(steps * np.float32(unit_m), np.float32), depth_map.orientation)


_FEW_AT_A_TIME = threading.BoundedSemaphore(2)

LAYOUTS: Final = frozenset(("Gray", "YCbCr", "CMYK", "YCCK", "1", "L", "LA", "P", "I;16", "RGB", "RGBA"))
"""The accepted colour layouts, as simplejpeg and Pillow name them: at most four bytes a pixel."""


def _check_announced(picture: Picture, size: tuple[int, int], layout: str) -> None:
    """Check that the decoder reads the same size and layout in the file as we did; if not, the file deceives one of us."""
    if size != (picture.width, picture.height):
        width, height = size
        raise ImageBroken(f"its header reads as {picture.width}×{picture.height} pixels and as {width}×{height}")
    if layout not in LAYOUTS:
        raise UnsupportedColor(f"in the colour layout {layout}")


def _check_size(picture: Picture, limits: FrameLimits) -> None:
    width, height = picture.width, picture.height
    small = min(width, height) < limits.min_px
    if small or width > limits.max_width or height > limits.max_height or width * height > limits.max_pixels:
        least, most = f"{limits.min_px}×{limits.min_px}", f"{limits.max_width}×{limits.max_height}"
        raise ImageSizeRefused(width, height, f"{least} to {most}, and at most {limits.max_pixels / 1e6:g} megapixels")
    if picture.kind != "jpeg" or picture.is_progressive:
        _check_whole(picture, limits)


def _check_whole(picture: Picture, limits: FrameLimits) -> None:
    if picture.width * picture.height > limits.max_whole_pixels:
        most = f"{limits.max_whole_pixels / 1e6:g} megapixels in a PNG, a WebP or a progressive JPEG"
        raise ImageSizeRefused(picture.width, picture.height, f"at most {most}; save it as an ordinary JPEG")
