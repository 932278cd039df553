"""Encoded image bytes → upright sRGB pixels with their opacity, or the reason why not.

Takes JPEG, PNG and WebP from untrusted clients, and of a photo HEIC, AVIF, GIF, BMP and TIFF too. Invariant: no pixel is decoded
before :mod:`deployments.stages.image_files` has accepted the type, the colour layout and the size in the file's own header, and the
decoder has announced the same (or, for 4:4:1 JPEGs, has been given no room for more); the other types are decoded in a process of
their own, which does the same. A picture comes out whole or not at all: a truncated file is refused, never shown half grey.

Choices a caller may want to know:
    Pictures at least twice as large as is useful are scaled down, JPEGs and PNGs while they are decoded.
    Colours of an embedded ICC profile become sRGB's. CMYK without one becomes RGB as browsers do it, 16 bits a channel become 8.
    A JPEG that libjpeg reads with no worse a warning than of bytes too many before a restart or end marker is taken; some webcams
    write them.
    EXIF orientation is applied, and that of a HEIC's or an AVIF's own boxes, once; the focal length is told; other EXIF data is
    ignored. Animations (APNG, animated WebP) are refused: a frame is one moment. Of a GIF, and of a TIFF or HEIC with several
    pictures, the first counts.
    Where nothing is opaque, a pixel has the colours around it: a model sees no black hole, and no splat shows it.
    Depth that comes with the views is a 16-bit grey PNG. It keeps its own size, and its own EXIF orientation is applied.

Any number of threads may decode JPEGs and PNGs at once: libjpeg, zlib and numba release the GIL. WebP and interlaced PNG take up to
620 MB each, where a JPEG or a PNG takes 10 (80 if it is progressive), and are decoded two at a time in a process.
"""

import io
import math
import re
import struct
import time
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, WebPImagePlugin

from deployments.pipeline import DecodedCapture
from deployments.splats.camera import Camera
from deployments.splats.codecs.depth import Jpeg
from deployments.splats.codecs.depth_heads import NAME
from deployments.splats.layers import upright
from deployments.splats.lifting import scale_camera
from deployments.stages import png_rows
from deployments.stages.color import needs_conversion, to_srgb
from deployments.stages.confined import FEW_AT_A_TIME, Bounds, decode_confined
from deployments.stages.image_files import KINDS, NAMES, Kind, Picture, is_grey_16, names_of, read_picture
from deployments.stages.jpeg_metadata import strip_metadata
from deployments.stages.transparency import fill_transparent
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
    UnsupportedImage,
)
from deployments.stream.frames import Capture, Intrinsics
from deployments.stream.options import FrameOptions

U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class FrameLimits:
    """What the decoder accepts.

    Attributes:
        max_frame_bytes: Encoded bytes of all views of a frame together.
        min_px: Smallest width and height.
        max_width: Largest width, pixels.
        max_height: Largest height, pixels.
        max_pixels: Most pixels of all views of a frame together.
        max_whole_pixels: Most pixels of a picture that has to be held whole while it is decoded: WebP, progressive JPEG, interlaced
            PNG. 24 megapixels take 80 MB as progressive JPEG, 210 to 310 as interlaced PNG, 430 as WebP, and up to 1 s; any other
            JPEG or PNG takes 10 MB, even of 100. A hostile WebP takes up to 3 s and 620 MB, and still 510 MB at one megapixel: its
            lossless pixels, or its alpha plane, may carry 65,536 groups of prefix codes, one for each 16 pixels.
        decode_px: Longest useful side, pixels, if the client's ``inference_px`` leaves it open; pictures at least twice as
            large are scaled down, JPEGs and PNGs while they are decoded.
        formats: What is taken, of :data:`~deployments.stages.image_files.KINDS`. All but JPEG, PNG and WebP are decoded in a
            process of their own, and are too slow for a stream.
        max_confined_pixels: Most pixels of a picture that is decoded in such a process.
        confined_bytes: Memory of such a process.
        confined_s: How long it may take, whole seconds.
    """

    max_frame_bytes: int = 4 * 1024 * 1024
    min_px: int = 16
    max_width: int = 4096
    max_height: int = 4096
    max_pixels: int = 12_000_000
    max_whole_pixels: int = 12_000_000
    decode_px: int = 1024
    formats: tuple[Kind, ...] = ("jpeg", "png", "webp")
    max_confined_pixels: int = 12_000_000
    confined_bytes: int = 1536 * 1024 * 1024
    confined_s: int = 20


@dataclass(frozen=True, slots=True)
class PhotoLimits(FrameLimits):
    """Of a picture that somebody uploads: what phones and cameras make."""

    max_frame_bytes: int = 64 * 1024 * 1024
    max_width: int = 32_767
    max_height: int = 32_767
    max_pixels: int = 100_000_000
    max_whole_pixels: int = 25_000_000
    formats: tuple[Kind, ...] = KINDS
    max_confined_pixels: int = 50_000_000


@dataclass(frozen=True, slots=True)
class View:
    """One picture, upright.

    Attributes:
        rgb: sRGB. uint8 [H, W, 3], C-contiguous.
        alpha: Opacity; None: all of it is opaque. uint8 [H, W].
        focal_35mm: As :class:`~deployments.stages.exif.Exif` has it; 0: unknown.
        is_as_stored: The file's own colours are these, for whoever reads it without its profile.
    """

    rgb: U8
    alpha: U8 | None = None
    focal_35mm: int = 0
    is_as_stored: bool = True


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
        options = capture.request.options
        wanted_px = options.inference_px or limits.decode_px
        views = [_decode(picture, wanted_px, limits) for picture in pictures]
        depths = tuple(_decode_depth(depth_map, i, capture.depth_unit_m) for i, depth_map in enumerate(depth_maps))
        if NAME in capture.request.codecs and options.colors == "jpeg" and all(view.is_as_stored for view in views):
            coded = (Jpeg(strip_metadata(p.data), p.orientation) for p in pictures if p.kind == "jpeg")
            capture.request.pictures = tuple(coded)
    except FrameError as error:
        return error.with_traceback(None)  # It is passed on as a value, without our stack frames and the pixels they hold.
    capture.request.timings["decode"] = (time.perf_counter() - start) * 1e3
    rgb, alphas = tuple(view.rgb for view in views), tuple(view.alpha for view in views)
    scaled = tuple(scale_camera(camera, view.shape[1], view.shape[0]) for camera, view in zip(cameras, rgb, strict=bool(cameras)))
    fov_deg, intrinsics = _lens(scaled, options, views[0].focal_35mm)
    return DecodedCapture(
        rgb,
        capture.request,
        scaled,
        known_cameras.relative_poses(capture.cameras),
        depths,
        alphas if any(alpha is not None for alpha in alphas) else (),
        fov_deg,
        intrinsics,
    )


FILM_MM: Final = 36.0
"""Longer side of 35-mm film, which a focal length in EXIF is told for. Makers go by the diagonal where their pictures are of
another shape than film's 3:2: for 4:3, a field that is 4 % wider than theirs."""


def _lens(cameras: tuple[Camera, ...], options: FrameOptions, focal_35mm: int) -> tuple[float, Intrinsics]:
    """Field of view of the first view across its longer side, degrees, and how it is known: a camera that came with the frame goes
    before the option, and that before EXIF."""
    if cameras:
        longer_px, focal_px = max((cameras[0].width, cameras[0].fx), (cameras[0].height, cameras[0].fy))
        return math.degrees(2 * math.atan(longer_px / 2 / focal_px)), "given"
    if options.fov_deg:
        return options.fov_deg, "given"
    if focal_35mm:
        return math.degrees(2 * math.atan(FILM_MM / 2 / focal_35mm)), "exif"
    return 0.0, "guessed"


def warm_up() -> None:
    """Compile or load the kernels, so that no user's first picture waits for it."""
    png_rows.warm_up()


def decode_frame(data: bytes, limits: FrameLimits, wanted_px: int = 0) -> U8:
    """The colours of :func:`decode_view`. uint8 [H, W, 3]."""
    return decode_view(data, limits, wanted_px).rgb


def decode_view(data: bytes, limits: FrameLimits, wanted_px: int = 0) -> View:
    """Decode one encoded image.

    Args:
        data: An image file.
        limits: What is accepted.
        wanted_px: Longest useful side, pixels; 0: full size. A JPEG at least twice as large is scaled to 1/8 … 4/8 while
            it is decoded, other pictures by a whole number; never below this, nor with its shorter side below
            ``limits.min_px``. CMYK and 4:4:1 JPEGs come in full size.

    Raises:
        FrameError: One of its subclasses, saying what was expected and what came.
    """
    return _decode(_read_header(data, limits), wanted_px, limits)


def _read_header(data: bytes, limits: FrameLimits) -> Picture:
    if not data:
        raise FrameEmpty(names_of(limits.formats))
    if len(data) > limits.max_frame_bytes:
        raise FrameTooLarge(len(data), limits.max_frame_bytes)
    picture = read_picture(data, limits.formats)
    if not picture.is_confined:
        _check_size(picture, limits)
    return picture


def _decode(picture: Picture, wanted_px: int, limits: FrameLimits) -> View:
    orientation, focal_35mm, profile, alpha, mode = picture.orientation, picture.focal_35mm, picture.profile, None, "RGB"
    if picture.kind == "jpeg":
        pixels, mode = _decode_jpeg(picture, wanted_px, limits)
    elif picture.kind == "png" and not picture.is_whole:
        _check_announced(picture, struct.unpack_from(">II", picture.data, 16), "RGB")
        pixels, alpha = png_rows.decode_rows(picture.data, _factor(picture, wanted_px, limits))
    elif picture.kind == "png":
        png_rows.check_pixels(picture.data)
        pixels, alpha = _decode_with_pillow(PngImagePlugin.PngImageFile, picture, wanted_px, limits)
    elif picture.kind == "webp":
        pixels, alpha = _decode_with_pillow(WebPImagePlugin.WebPImageFile, picture, wanted_px, limits)
    else:
        most = min(limits.max_pixels, limits.max_confined_pixels)
        bounds = Bounds(limits.min_px, limits.max_width, limits.max_height, most, limits.confined_bytes, limits.confined_s)
        found = decode_confined(picture.kind, picture.data, wanted_px, bounds)
        pixels, mode, alpha, orientation = found.pixels, found.mode, found.alpha, found.orientation
        focal_35mm, profile = found.focal_35mm, found.profile or profile
    rgb, as_stored = _srgb(pixels, mode, profile)
    if alpha is not None:
        alpha = None if alpha.min() == 255 else upright(alpha, orientation)
    rgb = upright(rgb, orientation)
    return View(rgb if alpha is None else fill_transparent(rgb, alpha), alpha, focal_35mm, as_stored)


def _srgb(pixels: U8, mode: str, profile: bytes) -> tuple[U8, bool]:
    """RGB of the pixels, and whether that is what whoever ignores the profile sees."""
    if mode == "RGB" and profile[16:20] == b"GRAY" and (pixels == pixels[..., :1]).all():
        # Grey pixels that came as RGB.
        pixels, mode = np.ascontiguousarray(pixels[..., 0]), "L"
    if profile and needs_conversion(profile, mode):
        return to_srgb(pixels, profile, mode), False
    if mode == "L":
        return np.repeat(pixels[..., None], 3, axis=-1), True
    return (_rgb_of_cmyk(pixels) if mode == "CMYK" else pixels), True


def _decode_jpeg(picture: Picture, wanted_px: int, limits: FrameLimits) -> tuple[U8, str]:
    """RGB, or CMYK with 0 for no ink, and which it is."""
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
            return pixels, "RGB"
        _check_announced(picture, (width, height), layout)
        if layout in ("CMYK", "YCCK"):
            # Stored inverted, as Adobe's programs and everyone after them store it.
            return 255 - _decode_whole_jpeg(picture.data, "CMYK", **scaling), "CMYK"
        return _decode_whole_jpeg(picture.data, "RGB", **scaling), "RGB"
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


def _rgb_of_cmyk(cmyk: U8) -> U8:
    """Without a profile, as browsers do; 0 is no ink."""
    light = 255 - cmyk.astype(np.uint16)
    return ((light[..., :3] * light[..., 3:] + 127) // 255).astype(np.uint8)


def _factor(picture: Picture, wanted_px: int, limits: FrameLimits) -> int:
    longer, shorter = max(picture.width, picture.height), min(picture.width, picture.height)
    return max(1, min(longer // wanted_px, shorter // limits.min_px)) if wanted_px else 1


def _decode_with_pillow(
    decoder: type[PngImagePlugin.PngImageFile | WebPImagePlugin.WebPImageFile],
    picture: Picture,
    wanted_px: int,
    limits: FrameLimits,
) -> tuple[U8, U8 | None]:
    """RGB and opacity. Calling one decoder directly avoids Pillow's registry and, except for WebP, its process-wide limit."""
    factor = _factor(picture, wanted_px, limits)
    try:
        with FEW_AT_A_TIME, decoder(io.BytesIO(picture.data)) as image:
            _check_announced(picture, image.size, image.mode)
            if image.mode == "I;16":  # The upper eight bits, as Pillow takes them of 16-bit colours.
                return np.array(Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB").reduce(factor)), None
            # A palette with transparency must go straight to RGBA: on the way through RGB, Pillow warns.
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                rgba = np.array(image.convert("RGBA").reduce(factor))
                return np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3])
            return np.array(image.convert("RGB").reduce(factor)), None
    except Image.DecompressionBombError:  # Raised before any pixels, and only if max_pixels allows more than Pillow does.
        raise ImageSizeRefused(picture.width, picture.height, "at most 179 megapixels in a WebP") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        # Pillow raises OSError and SyntaxError for broken files.
        raise ImageBroken(str(error)[:120] or type(error).__name__) from None


def _read_depth_header(data: bytes, index: int, view: Picture, limits: FrameLimits) -> Picture:
    try:
        depth_map = _read_header(data, limits)
    except (UnsupportedImage, UnsupportedColor) as error:
        raise DepthRefused(f"depth {index}: {_EXPECTED_DEPTH}, got {error.got}") from None
    except FrameError as error:
        raise DepthRefused(f"depth {index}: {str(error).rstrip('.')}") from None
    if not is_grey_16(depth_map):
        is_png = depth_map.kind == "png"
        got = (
            f"a PNG of {data[24]} bits a channel ({_PNG_COLORS.get(data[25], 'unknown')})"
            if is_png
            else f"a {NAMES[depth_map.kind]} image"
        )
        raise DepthRefused(f"depth {index}: {_EXPECTED_DEPTH}, got {got}")
    (width, height), (view_width, view_height) = depth_map.upright_size, view.upright_size
    if abs(math.log(width * view_height / (height * view_width))) > _SAME_SHAPE:
        raise DepthRefused(
            f"depth {index}: expected the shape of its view, which is {view_width}×{view_height} pixels upright, "
            f"got {width}×{height}: align it to the picture, and turn it as the picture is turned"
        )
    return depth_map


_PNG_COLORS: Final = {0: "grey", 2: "RGB", 3: "palette", 4: "grey and alpha", 6: "RGBA"}
_EXPECTED_DEPTH: Final = "expected a 16-bit grey PNG"
_SAME_SHAPE: Final = 0.03
"""What ratios of width to height may differ by: sizes are rounded, 848×480 is called 16:9."""


def _decode_depth(depth_map: Picture, index: int, unit_m: float) -> NDArray[np.float32]:
    """Upright z-depth, metres, 0 where it is unknown. float32 [H, W]."""
    try:
        png_rows.check_pixels(depth_map.data)
        with FEW_AT_A_TIME, PngImagePlugin.PngImageFile(io.BytesIO(depth_map.data)) as image:
            _check_announced(depth_map, image.size, image.mode)
            steps = np.asarray(image)
    except ImageBroken as error:
        raise DepthRefused(f"depth {index}: {error.reason}") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise DepthRefused(f"depth {index}: {str(error)[:120] or type(error).__name__}") from None
    return upright(np.asarray(steps * np.float32(unit_m), np.float32), depth_map.orientation)


LAYOUTS: Final = frozenset(("Gray", "YCbCr", "CMYK", "YCCK", "1", "L", "LA", "P", "I;16", "RGB", "RGBA"))
"""The accepted colour layouts, as simplejpeg and Pillow name them: at most four bytes a pixel."""


def _check_announced(picture: Picture, size: tuple[int, ...], layout: str) -> None:
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
    if picture.is_whole:
        _check_whole(picture, limits)


def _check_whole(picture: Picture, limits: FrameLimits) -> None:
    if picture.width * picture.height > limits.max_whole_pixels:
        most = f"{limits.max_whole_pixels / 1e6:g} megapixels in a WebP, an interlaced PNG or a progressive JPEG"
        raise ImageSizeRefused(picture.width, picture.height, f"at most {most}; save it as an ordinary JPEG")
