"""Pictures from strangers: good ones come out right, bad ones are refused by name, nothing costs more than it may."""

import pickle
import re
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from deployments.pipeline import DecodedCapture
from deployments.stages import decode
from deployments.stages.decode import FrameLimits, decode_capture, decode_frame, decode_view
from deployments.stages.image_files import MAX_JUNK_BYTES, MAX_SCANS, MAX_SEGMENTS, PNG_MAGIC, Picture
from deployments.stream.errors import FrameError
from deployments.stream.frames import Capture, FrameRequest
from deployments.stream.options import FrameOptions
from tests.memory import memory_below
from tests.pictures import jpeg_441, patched, png_chunk, saved, vp8l, webp_chunk, webp_file

LIMITS = FrameLimits()
WIDTH, HEIGHT = 96, 64
SWAPPED = {
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
STORED_AS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    **SWAPPED,
}
"""How a camera stores an upright scene under each EXIF orientation."""


def scene(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """Asymmetric in every way: four different corners, so that no flip or turn goes unseen."""
    y, x = np.mgrid[0:height, 0:width] / (max(width, height) - 1)
    pixels = np.stack([x * 200, y * 200, np.where((x < 0.3) & (y < 0.2), 220, 30)], -1)
    return Image.fromarray(pixels.astype(np.uint8))


def oriented(kind: str, orientation: int, **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = scene().transpose(STORED_AS[orientation]) if orientation in STORED_AS else scene()
    return saved(stored, kind, exif=exif.tobytes(), **options)


def png(width: int, height: int, bits: int, color: int, *chunks: tuple[bytes, bytes], pixels: bytes | None = None) -> bytes:
    data = pixels if pixels is not None else zlib.compress(bytes((width * 3 + 1) * height))
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    return PNG_MAGIC + b"".join(map(png_chunk, [header, *chunks, (b"IDAT", data), (b"IEND", b"")]))


def refusal(data: bytes, limits: FrameLimits = LIMITS) -> FrameError:
    with pytest.raises(FrameError) as caught:
        decode_frame(data, limits)
    return caught.value


def difference(pixels: np.ndarray, expected: Image.Image) -> float:
    assert pixels.shape == (expected.height, expected.width, 3)
    return float(np.abs(pixels.astype(int) - np.asarray(expected.convert("RGB"), int)).mean())


JPEG = saved(scene(), "JPEG", quality=90)
PNG = saved(scene(), "PNG")
WEBP = saved(scene(), "WEBP", quality=90)
WEBP_LOSSLESS = saved(scene(), "WEBP", lossless=True)

RESTARTS = saved(scene(), "JPEG", quality=90, restart_marker_rows=1)
CLIP = b"\0\0\0\x18ftypmp42" + b"\xff\xda\0\x08" * 100 + bytes(range(256)) * 20
"""What a phone puts behind a motion photo, as far as a reader of JPEGs may stumble over it."""
DEEP = np.asarray(scene().convert("L"), np.uint16) * 257


def png_of_16_bits(color: int, channels: int) -> bytes:
    rows = np.repeat(DEEP[..., None], channels, -1).astype(">u2")
    rows[..., 3 if channels == 4 else channels :] = 0xFFFF
    if channels in (2, 4):
        rows[..., -1] = 0xFFFF
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    return png(WIDTH, HEIGHT, 16, color, pixels=zlib.compress(raw))


GOOD = {
    "jpeg": (JPEG, 3),
    "jpeg 4:4:4": (saved(scene(), "JPEG", quality=90, subsampling=0), 3),
    "jpeg progressive": (saved(scene(), "JPEG", quality=90, progressive=True), 3),
    "jpeg with restarts": (RESTARTS, 3),
    "jpeg with padding before its restarts": (re.sub(rb"(\xff[\xd0-\xd7])", rb"\0\0\0\1", RESTARTS), 3),
    "jpeg with padding before its end": (JPEG[:-2] + bytes(6) + JPEG[-2:], 3),
    "jpeg with anything before its end": (JPEG[:-2] + b"padding" + JPEG[-2:], 3),
    "motion photo": (JPEG + CLIP, 3),
    "jpeg of several pictures": (JPEG + saved(scene().rotate(180), "JPEG"), 3),
    "jpeg with a doubled start": (JPEG[:2] + JPEG, 3),
    "jpeg with junk between its segments": (JPEG.replace(b"\xff\xdb", b"junk\0\xff\0\xff\xdb"), 3),
    "cmyk": (saved(scene().convert("CMYK"), "JPEG", quality=95), 4),
    "jpeg with a profile and a comment": (saved(scene(), "JPEG", quality=90, icc_profile=bytes(70_000), comment=b"hello"), 3),
    "jpeg with bytes after its end": (JPEG + bytes(1000), 3),
    "png": (PNG, 0),
    "png interlaced palette": (saved(scene().quantize(64), "PNG"), 8),
    "png palette with transparency": (saved(scene().quantize(64), "PNG", transparency=bytes([255]) * 64), 8),
    "png of 16 bits": (png_of_16_bits(2, 3), None),
    "png rgba": (saved(scene().convert("RGBA"), "PNG"), 0),
    "png with metadata": (png(32, 32, 8, 2, (b"tEXt", b"a\0b"), (b"gAMA", bytes(4))), None),
    "webp": (WEBP, 4),
    "webp lossless": (WEBP_LOSSLESS, 0),
    "webp rgba": (saved(scene().convert("RGBA"), "WEBP", lossless=True), 0),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_picture_comes_out_as_it_went_in(name: str) -> None:
    data, tolerance = GOOD[name]
    pixels = decode_frame(data, LIMITS)
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous and pixels.flags.writeable
    if tolerance is not None:
        assert difference(pixels, scene()) <= tolerance


@pytest.mark.parametrize(("color", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_a_channel_become_eight(color: int, channels: int) -> None:
    assert difference(decode_frame(png_of_16_bits(color, channels), LIMITS), scene().convert("L")) == 0


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_picture_that_is_decoded_whole_is_scaled_afterwards(kind: str) -> None:
    large = scene(960, 640)
    data = saved(large, kind, **({"lossless": True} if kind == "WEBP" else {}))
    for wanted_px, size in ((0, (960, 640)), (481, (960, 640)), (480, (480, 320)), (100, (107, 72)), (4, (24, 16))):
        pixels = decode_frame(data, LIMITS, wanted_px)
        assert difference(pixels, large.resize(size, Image.Resampling.BOX)) <= 1.5, size


@pytest.mark.parametrize(("width", "height"), [(4000, 17), (17, 4000)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_narrow_picture_keeps_its_shorter_side(kind: str, width: int, height: int) -> None:
    pixels = decode_frame(saved(scene(width, height), kind), LIMITS, 100)
    assert pixels.shape == (height, width, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_every_exif_orientation_comes_out_upright(kind: str, orientation: int) -> None:
    data = oriented(kind, orientation, **({} if kind == "PNG" else {"quality": 95}))
    assert difference(decode_frame(data, LIMITS), scene()) <= 4


@pytest.mark.parametrize("order", ["little", "big"])
def test_exif_is_read_in_both_byte_orders_and_ignored_when_it_is_nonsense(order: str) -> None:
    sign = "<" if order == "little" else ">"
    magic = b"II*\0" if order == "little" else b"MM\0*"
    for value, expected in ((3, STORED_AS[3]), (0, None), (99, None)):
        tiff = magic + struct.pack(sign + "IHHHIHH", 8, 1, 0x0112, 3, 1, value, 0)
        stored = scene().transpose(expected) if expected is not None else scene()
        assert difference(decode_frame(saved(stored, "JPEG", quality=95, exif=b"Exif\0\0" + tiff), LIMITS), scene()) <= 3
    for tiff in (magic, magic + b"\xff" * 8, magic + struct.pack(sign + "IH", 8, 65535)):
        assert difference(decode_frame(saved(scene(), "JPEG", quality=95, exif=b"Exif\0\0" + tiff), LIMITS), scene()) <= 3


@pytest.mark.parametrize(("kind", "sign"), [(1, "B"), (3, "H"), (4, "I"), (6, "b"), (8, "h"), (9, "i")])
@pytest.mark.parametrize("order", ["<", ">"])
def test_an_orientation_of_any_integer_type_is_read(kind: int, sign: str, order: str) -> None:
    magic = b"II*\0" if order == "<" else b"MM\0*"
    tiff = magic + struct.pack(order + "IHHHI", 8, 1, 0x0112, kind, 1) + struct.pack(order + sign, 3).ljust(4, b"\0")
    data = saved(scene().transpose(STORED_AS[3]), "JPEG", quality=95, exif=b"Exif\0\0" + tiff)
    assert difference(decode_frame(data, LIMITS), scene()) <= 3


def test_a_jpeg_of_441_subsampling_comes_out_whole_and_in_full_size() -> None:
    data, shown = jpeg_441()
    for wanted_px in (0, 16):
        pixels = decode_frame(data, LIMITS, wanted_px)
        assert pixels.flags.c_contiguous and pixels.flags.writeable
        assert difference(pixels, shown) <= 1


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_grey_pictures_become_rgb(mode: str, kind: str) -> None:
    if (mode, kind) == ("LA", "JPEG"):
        kind = "WEBP"
    image = scene().convert(mode)
    pixels = decode_frame(saved(image, kind, **({"lossless": True} if kind == "WEBP" else {})), LIMITS)
    assert difference(pixels, image.convert("RGB")) <= (4 if kind == "JPEG" else 0)
    assert (pixels[..., 0] == pixels[..., 2]).all()


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("WEBP", {"quality": 95, "exact": True})]
)
def test_what_is_transparent_has_the_colours_around_it(kind: str, options: dict[str, object]) -> None:
    image = Image.new("RGBA", (32, 32), (200, 100, 50, 255))
    image.paste((255, 255, 255, 0), (0, 0, 16, 32))
    view = decode_view(saved(image, kind, **options), LIMITS)
    assert view.alpha is not None and view.alpha[:, :12].max() == 0 and view.alpha[:, 20:].min() == 255
    assert np.abs(view.rgb[:, 20:].astype(int) - [200, 100, 50]).max() <= 6
    assert np.abs(view.rgb[:, :12].astype(int) - [200, 100, 50]).max() <= 40, "neither the white that is stored there nor black"


def test_a_transparent_palette_entry_shows_nothing() -> None:
    image = Image.new("P", (32, 32), 1)
    image.putpalette([255, 255, 255, 10, 20, 30])
    image.paste(0, (0, 0, 16, 32))
    view = decode_view(saved(image, "PNG", transparency=0), LIMITS)
    assert view.alpha is not None and view.alpha[0].tolist() == [0] * 16 + [255] * 16
    assert view.rgb[0, 0].tolist() == view.rgb[0, 31].tolist() == [10, 20, 30]


def test_a_picture_of_nothing_is_grey() -> None:
    view = decode_view(saved(Image.new("RGBA", (32, 20), (255, 0, 0, 0)), "PNG"), LIMITS)
    assert view.alpha is not None and not view.alpha.any() and (view.rgb == 128).all()


def test_an_opaque_picture_has_no_opacity() -> None:
    assert decode_view(saved(scene().convert("RGBA"), "PNG"), LIMITS).alpha is None


BAD = {
    "empty": (b"", "frame_empty", "is empty: expected"),
    "too many bytes": (JPEG + bytes(LIMITS.max_frame_bytes), "frame_too_large", f"the limit is {LIMITS.max_frame_bytes}"),
    "text": (b"hello, frame", "unsupported_image", "is text: expected a JPEG"),
    "long text": (b"lorem ipsum " * 50, "unsupported_image", "is text: expected"),
    "data URL": (b"data:image/jpeg;base64,/9j/", "unsupported_image", "a data URL"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported_image", "SVG"),
    "gif": (saved(scene(), "GIF"), "unsupported_image", "a GIF: expected"),
    "bmp": (saved(scene(), "BMP"), "unsupported_image", "a BMP"),
    "tiff": (saved(scene(), "TIFF"), "unsupported_image", "a TIFF"),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(40), "unsupported_image", "Most Compatible"),
    "avif": (b"\0\0\0\x20ftypavif" + bytes(40), "unsupported_image", "an AVIF image"),
    "jpeg xl": (b"\xff\x0a" + bytes(40), "unsupported_image", "a JPEG XL image"),
    "webm": (b"\x1a\x45\xdf\xa3" + bytes(40), "unsupported_image", "a WebM"),
    "wav": (b"RIFF\x24\0\0\0WAVEfmt ", "unsupported_image", "a RIFF file that is not a WebP"),
    "noise": (b"\x13\x37\x00\xff", "unsupported_image", "unknown type (it begins with 13 37 00 ff)"),
    "jpeg magic only": (JPEG[:3], "image_broken", "ends within its header"),
    "jpeg without a picture": (b"\xff\xd8\xff\xd9\0\0\0\0", "image_broken", "no picture"),
    "jpeg cut in the middle": (JPEG[: len(JPEG) // 2], "image_broken", "one complete image file"),
    "jpeg without its last byte": (JPEG[:-1], "image_broken", "Premature end"),
    "jpeg 1×1": (saved(scene(2, 2).resize((1, 1)), "JPEG"), "image_size", "is 1×1 pixels: expected 16×16 to 4096×4096"),
    "jpeg of no height": (patched(JPEG, b"\xff\xc0", 5, b"\0\0"), "image_size", "is 96×0 pixels"),
    "jpeg of 65500": (patched(JPEG, b"\xff\xc0", 5, b"\xff\xdc\xff\xdc"), "image_size", "65500×65500 pixels: expected"),
    "jpeg that declares more rows": (patched(JPEG, b"\xff\xc0", 5, struct.pack(">H", 512)), "image_broken", "premature end"),
    "jpeg that declares fewer rows": (patched(JPEG, b"\xff\xc0", 5, struct.pack(">H", 32)), "image_broken", "extraneous bytes"),
    "jpeg of 12 bits": (patched(JPEG, b"\xff\xc0", 4, b"\x0c"), "unsupported_color", "12 bits a channel: expected RGB"),
    "jpeg arithmetic": (patched(JPEG, b"\xff\xc0", 1, b"\xc9"), "unsupported_image", "arithmetic-coded JPEG (SOF9)"),
    "jpeg lossless": (patched(JPEG, b"\xff\xc0", 1, b"\xc3"), "unsupported_image", "(SOF3)"),
    "jpeg of an unknown subsampling": (patched(JPEG, b"\xff\xc0", 11, b"\x13"), "image_broken", "subsampling"),
    "jpeg without a size": (b"\xff\xd8" + JPEG[JPEG.index(b"\xff\xda") :], "image_broken", "not declare its size"),
    "jpeg of two sizes": (JPEG[:2] + JPEG[JPEG.index(b"\xff\xc0") :][:19] + JPEG[2:], "image_broken", "its size twice"),
    "jpeg with much before its end": (JPEG[:-2] + bytes(range(1, 200)) + JPEG[-2:], "image_broken", "extraneous bytes"),
    "jpeg with too much junk": (
        JPEG.replace(b"\xff\xdb", bytes(MAX_JUNK_BYTES + 1) + b"\xff\xdb", 1),
        "image_broken",
        "a JPEG marker was expected at byte 20",
    ),
    "jpeg of two channels": (patched(JPEG, b"\xff\xc0", 9, b"\x02"), "unsupported_color", "2 channels"),
    "jpeg with corrupt pixels": (
        patched(JPEG, b"\xff\xda", 40, b"\xff\x00" * 40),
        "image_broken",
        "can't be decoded (Corrupt JPEG data",
    ),
    "png cut": (PNG[:-20], "image_broken", "the PNG is truncated"),
    "png without its end": (PNG[:-12], "image_broken", "ends within its header"),
    "png without a header": (PNG_MAGIC + png_chunk((b"IDAT", b"")) + bytes(30), "image_broken", "begin with its header"),
    "png of 3 bits": (png(32, 32, 3, 2), "image_broken", "header makes no sense"),
    "png of 20000": (png(20_000, 20_000, 8, 2, pixels=b""), "image_size", "20000×20000"),
    "png too small": (png(16, 15, 8, 2), "image_size", "is 16×15 pixels: expected 16×16"),
    "png above 12 megapixels": (png(4000, 3001, 8, 2, pixels=b""), "image_size", "at most 12 megapixels"),
    "png with a flipped bit": (
        patched(PNG, b"IDAT", 30, bytes([PNG[PNG.index(b"IDAT") + 30] ^ 1])),
        "image_broken",
        "checksum",
    ),
    "png with pixels missing": (
        png(64, 64, 8, 2, pixels=zlib.compress(bytes(193 * 30))),
        "image_broken",
        "fewer pixels than its header",
    ),
    "png with pixels to spare": (png(64, 64, 8, 2, pixels=zlib.compress(bytes(193 * 64 + 1))), "image_broken", "more pixels"),
    "png without pixels": (png(64, 64, 8, 2, pixels=b""), "image_broken", "can't be decoded"),
    "png that is no zlib": (png(64, 64, 8, 2, pixels=b"no zlib at all"), "image_broken", "can't be decoded"),
    "png of an unknown colour type": (png(64, 64, 8, 5), "image_broken", "can't be decoded"),
    "png with a second palette": (
        png(32, 32, 8, 3, *[(b"PLTE", bytes(768))] * 2),
        "image_broken",
        "chunk twice, or chunks out of order",
    ),
    "png with a palette after its pixels": (
        PNG[:-12] + b"".join(map(png_chunk, [(b"PLTE", bytes(768)), (b"IEND", b"")])),
        "image_broken",
        "chunk twice, or chunks out of order",
    ),
    "png with too long a header": (patched(PNG, b"IHDR", -4, b"\0\0\0\x0e"), "image_broken", "begin with its header"),
    "apng": (saved(scene(), "PNG", save_all=True, append_images=[scene().rotate(180)]), "unsupported_image", "an animated PNG"),
    "animated webp": (
        saved(scene(), "WEBP", save_all=True, append_images=[scene().rotate(180)]),
        "unsupported_image",
        "an animated WebP",
    ),
    "webp of two pictures": (webp_file(WEBP[12:] + WEBP_LOSSLESS[12:]), "image_broken", "two pictures"),
    "webp with alpha after its picture": (webp_file(WEBP[12:] + b"ALPH\2\0\0\0\0\0"), "image_broken", "out of order"),
    "webp cut": (WEBP[:-1], "image_broken", "the WebP is truncated"),
    "webp without a picture": (b"RIFF\x04\0\0\0WEBP", "image_broken", "no picture in the WebP"),
    "webp whose chunk is longer than the file": (patched(WEBP, b"VP8 ", 4, b"\xff\xff\xff\x7f"), "image_broken", "truncated"),
    "webp of 16383": (patched(WEBP, b"\x9d\x01\x2a", 3, b"\xff\x3f\xff\x3f"), "image_size", "16383×16383"),
    "webp lossless of 16384": (patched(WEBP_LOSSLESS, b"VP8L", 9, b"\xff\xff\xff\x0f"), "image_size", "16384×16384"),
    "webp of garbage": (patched(WEBP, b"VP8 ", 18, b"\xff" * 40), "image_broken", "can't be decoded"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_picture_is_refused_with_its_code_and_what_was_expected(name: str) -> None:
    data, code, sentence = BAD[name]
    error = refusal(data)
    assert error.code == code, error
    assert (sentence in str(error) and "expected" in str(error)) or code == "frame_too_large"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
    "data",
    [JPEG, saved(scene(), "JPEG", progressive=True), PNG, WEBP, WEBP_LOSSLESS, saved(scene().convert("RGBA"), "WEBP")],
    ids=["jpeg", "progressive", "png", "webp", "webp lossless", "webp rgba"],
)
def test_truncation_at_every_offset_is_refused(data: bytes) -> None:
    codes = {refusal(data[:end]).code for end in range(len(data))}
    assert codes <= {"frame_empty", "unsupported_image", "image_broken"}


def test_a_truncated_picture_is_never_scaled_into_half_a_picture() -> None:
    data = saved(scene(960, 640), "JPEG")
    with pytest.raises(FrameError):
        decode_frame(data[: len(data) * 2 // 3], LIMITS, 200)


def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded() -> None:
    data = saved(scene(), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    assert data.count(b"\xff\xda") <= MAX_SCANS // 2
    error = refusal(data[:-2] + last * 3000 + data[-2:])
    assert error.code == "image_broken" and f"at most {MAX_SCANS}" in str(error)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff\xfe\0\2" * (MAX_SEGMENTS + 1) + JPEG[2:],
        b"\xff\xd8" + b"\xff" * (MAX_SEGMENTS + 1) + JPEG[2:],
        png(32, 32, 8, 2, *[(b"tEXt", b"")] * MAX_SEGMENTS),
        b"RIFF" + struct.pack("<I", 4 + 8 * (MAX_SEGMENTS + 1)) + b"WEBP" + (b"JUNK" + bytes(4)) * (MAX_SEGMENTS + 1),
    ],
    ids=["jpeg comments", "jpeg fill bytes", "png", "webp"],
)
def test_a_file_of_countless_segments_is_refused(data: bytes) -> None:
    error = refusal(data)
    assert error.code == "image_broken" and str(MAX_SEGMENTS) in str(error)


BOMB = zlib.compress(bytes(64 * 1024 * 1024), 9)


@pytest.mark.parametrize(
    "data",
    [
        png(20_000, 20_000, 8, 2, pixels=BOMB),
        png(32, 32, 8, 2, pixels=BOMB),
        png(32, 32, 8, 2, (b"iCCP", b"p\0\0" + BOMB)),
        png(32, 32, 8, 2, *[(b"zTXt", b"k\0\0" + BOMB)] * 20),
        png(32, 32, 8, 2, (b"iTXt", b"k\0\1\0\0\0" + BOMB)),
        patched(JPEG, b"\xff\xc0", 5, b"\xff\xdc\xff\xdc"),
        patched(WEBP, b"\x9d\x01\x2a", 3, b"\xff\x3f\xff\x3f"),
    ],
    ids=["png size", "png pixels", "iCCP", "zTXt", "iTXt", "jpeg size", "webp size"],
)
def test_a_bomb_does_not_go_off(data: bytes) -> None:
    with memory_below(traced=4 * len(data) + 2_000_000, resident=16_000_000), suppress(FrameError):
        decode_frame(data, LIMITS)


@pytest.mark.parametrize("place", ["picture", "alpha"])
def test_a_webp_of_as_many_codes_as_there_can_be_takes_no_more_than_the_limits_say(place: str) -> None:
    side = struct.pack("<I", 1023)[:3]
    data = webp_file(webp_chunk(b"VP8L", b"\x2f" + struct.pack("<I", 1023 | 1023 << 14) + vp8l()))
    if place == "alpha":
        picture = saved(Image.new("RGB", (1024, 1024)), "WEBP")[12:]
        data = webp_file(webp_chunk(b"VP8X", struct.pack("<I", 0x10) + side * 2) + webp_chunk(b"ALPH", b"\1" + vp8l()) + picture)
    with memory_below(traced=40_000_000, resident=450_000_000):
        assert decode_frame(data, LIMITS).shape == (1024, 1024, 3)


def test_a_webp_that_pillow_will_not_open_is_refused_as_too_large() -> None:
    limits = FrameLimits(max_width=16_383, max_height=16_383, max_pixels=300_000_000)
    error = refusal(patched(WEBP, b"\x9d\x01\x2a", 3, b"\xff\x3f\xff\x3f"), limits)
    assert error.code == "image_size" and "16383×16383" in str(error)


mutations = st.lists(
    st.tuples(st.integers(0, 2**16), st.binary(min_size=0, max_size=6), st.integers(0, 12)), min_size=1, max_size=6
)


@settings(max_examples=400, deadline=None)
@given(source=st.sampled_from([data for data, _ in GOOD.values()]), edits=mutations)
def test_mutated_pictures_decode_or_are_refused_and_nothing_else(source: bytes, edits: list[tuple[int, bytes, int]]) -> None:
    for at, new, removed in edits:
        at %= len(source)
        source = source[:at] + new + source[at + removed :]
    try:
        pixels = decode_frame(source, LIMITS, 48)
    except FrameError as error:
        assert str(error)
    else:
        assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3


@settings(max_examples=200, deadline=None)
@given(
    edits=st.lists(st.tuples(st.integers(0, 2**16), st.integers(1, 255)), max_size=4),
    width=st.integers(0, 2**32 - 1) | st.integers(0, 64),
    bits=st.sampled_from([0, 1, 2, 4, 8, 16, 255]),
    color=st.integers(0, 7),
    pixels=st.binary(max_size=200),
)
def test_png_chunks_with_right_sums_and_wrong_contents_are_refused(
    edits: list[tuple[int, int]], width: int, bits: int, color: int, pixels: bytes
) -> None:
    packed = bytearray(zlib.compress(pixels * 40))
    for at, flip in edits:
        packed[at % len(packed)] ^= flip
    try:
        decode_frame(png(width, 20, bits, color, (b"PLTE", pixels), (b"tRNS", pixels[:7]), pixels=bytes(packed)), LIMITS)
    except FrameError as error:
        assert str(error)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([b"", b"\xff\xd8\xff", PNG_MAGIC, b"RIFF\x40\0\0\0WEBP", b"RIFF\x40\0\0\0WEBPVP8X"]), st.binary(max_size=80))
def test_noise_is_refused(magic: bytes, noise: bytes) -> None:
    refusal(magic + noise)


@pytest.mark.parametrize(
    ("size", "wanted_px", "expected"),
    [
        ((960, 640), 0, (960, 640)),
        ((960, 640), 2000, (960, 640)),
        ((960, 640), 481, (960, 640)),
        ((960, 640), 480, (480, 320)),
        ((960, 640), 200, (240, 160)),
        ((640, 960), 200, (160, 240)),
        ((960, 640), 1, (120, 80)),
        ((963, 643), 482, (482, 322)),
    ],
)
def test_a_jpeg_is_scaled_while_it_is_decoded_but_never_below_what_is_wanted(
    size: tuple[int, int], wanted_px: int, expected: tuple[int, int]
) -> None:
    pixels = decode_frame(saved(scene(*size), "JPEG", quality=95), LIMITS, wanted_px)
    assert difference(pixels, scene(*size).resize(expected, Image.Resampling.BOX)) <= 3


def test_a_capture_is_decoded_view_by_view_and_timed() -> None:
    capture = Capture((JPEG, PNG), FrameRequest(FrameOptions(inference_px=24), state=b"state"))
    decoded = decode_capture(capture, replace(LIMITS, decode_px=96))
    assert isinstance(decoded, DecodedCapture)
    assert [view.shape for view in decoded.views] == [(16, 24, 3), (16, 24, 3)]
    request = decoded.request
    assert request.options == FrameOptions(inference_px=24) and request.state == b"state"
    assert set(request.timings) == {"decode"} and request.timings["decode"] > 0


def test_views_that_are_each_fine_are_refused_together_before_one_is_decoded() -> None:
    limits = replace(LIMITS, max_pixels=2 * WIDTH * HEIGHT)
    assert isinstance(decode_capture(Capture((JPEG, PNG)), limits), DecodedCapture)
    # The last one is cut short: were it decoded, the refusal would be of that.
    error = decode_capture(Capture((JPEG, PNG, JPEG[:-200])), limits)
    assert isinstance(error, FrameError) and error.code == "image_size" and "together" in str(error)


def test_the_model_size_is_used_where_the_client_leaves_it_open() -> None:
    decoded = decode_capture(Capture((JPEG,)), replace(LIMITS, decode_px=48))
    assert isinstance(decoded, DecodedCapture) and decoded.views[0].shape == (32, 48, 3)


@pytest.mark.parametrize(
    ("views", "code"),
    [
        ((), "frame_empty"),
        ((JPEG, b""), "frame_empty"),
        ((JPEG + bytes(3_000_000),) * 2, "frame_too_large"),
        ((JPEG, PNG[:-30]), "image_broken"),
    ],
)
def test_a_capture_with_a_bad_view_is_an_error_as_a_value(views: tuple[bytes, ...], code: str) -> None:
    error = decode_capture(Capture(views), LIMITS)
    assert isinstance(error, FrameError) and error.code == code
    assert error.__traceback__ is None


def test_many_threads_decode_at_once() -> None:
    sources = [data for data, _ in GOOD.values()] * 4
    expected = [decode_frame(data, LIMITS) for data in sources]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda data: decode_frame(data, LIMITS), sources))
    assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))


def test_pictures_that_take_much_memory_go_two_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    data, inside, most, lock, two = saved(scene(96, 64), "WEBP"), 0, 0, threading.Lock(), threading.Barrier(2, timeout=30)
    check = decode._check_announced

    def counted(picture: Picture, size: tuple[int, int], layout: str) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        two.wait()  # There are always two in here, or this would time out.
        with lock:
            inside -= 1
        check(picture, size, layout)

    monkeypatch.setattr(decode, "_check_announced", counted)
    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(lambda _: decode_frame(data, LIMITS), range(8)))) == 8
    assert most == 2
