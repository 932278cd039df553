"""Files that mean one thing to our header reader and another to the decoder behind it: refused, before they cost anything."""

import re
import struct
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from deployments.stages import decode
from deployments.stages.decode import FrameLimits, decode_frame
from deployments.stages.image_files import PNG_MAGIC, Picture
from deployments.stream.errors import FrameError
from tests.memory import memory_below
from tests.pictures import jpeg_441, patched, png_chunk, saved, webp_file

LIMITS = FrameLimits(max_width=128, max_height=128, max_pixels=128 * 128)
SMALL, LARGE = Image.linear_gradient("L").resize((96, 64)), Image.new("L", (3000, 3000), 90)


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    """Loading a kernel takes memory once, and no picture's."""
    decode.warm_up()


def affordable(data: bytes) -> AbstractContextManager[None]:
    """What a picture within the limits may take: copies of its file and a little. A large one takes 27 MB and more."""
    return memory_below(traced=4 * len(data) + 1_000_000, resident=4 * len(data) + 6_000_000)


# --- Files, taken apart ---

Parts = dict[str, bytes]


def jpeg_segments(data: bytes) -> Parts:
    """Name → segment, in their order; a scan has its pixels with it."""
    segments, at = {"SOI": data[:2]}, 2
    while data[at + 1] != 0xD9:
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        if data[at + 1] == 0xDA:
            end = next(match.start() for match in re.compile(rb"\xff[^\x00\xd0-\xd7]").finditer(data, end))
        segments[f"{len(segments)} FF{data[at + 1]:02X}"] = data[at:end]
        at = end
    return {**segments, "EOI": data[at:]}


def jpeg_lie(marker: int, app: int, decoy: bytes) -> bytes:
    """A marker without a length and a comment. Read as a length, the comment's own marker leads to the decoy in its end."""
    hidden = b"".join(part for name, part in jpeg_segments(decoy).items() if name[-4:-1] == "FFC" and part[1] != 0xC4)
    scan = decoy[decoy.index(b"\xff\xda") :]
    hidden += scan[: 2 + struct.unpack_from(">H", scan, 2)[0]]
    comment = bytes((0xFF, app, 0xFF, 0xFF)).ljust(0xFF00 + app, b"\0") + hidden
    assert len(comment) <= 0xFFFF + 2
    return bytes((0xFF, marker)) + comment.ljust(0xFFFF + 2, b"\0")


def png_chunks(data: bytes) -> Parts:
    chunks, at = {}, 8
    while at < len(data):
        end = at + 12 + struct.unpack_from(">I", data, at)[0]
        chunks[f"{len(chunks)} {data[at + 4 : at + 8].decode()}"] = data[at:end]
        at = end
    return chunks


def png_header(width: int, height: int, bits: int, color: int) -> bytes:
    return png_chunk((b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)))


def webp_chunks(data: bytes) -> Parts:
    chunks, at = {}, 12
    while at < len(data):
        length = struct.unpack_from("<I", data, at + 4)[0]
        end = at + 8 + length + length % 2
        chunks[f"{len(chunks)} {data[at : at + 4].decode()}"] = data[at:end]
        at = end
    return chunks


# --- The two that were found ---


@pytest.mark.parametrize("marker", [0x01, *range(0xD0, 0xD8)], ids="{:02X}".format)
def test_a_jpeg_marker_without_a_length_does_not_lead_to_a_decoy(marker: int) -> None:
    large = saved(LARGE.convert("RGB"), "JPEG")
    lie = jpeg_lie(marker, 0xE0, saved(SMALL.convert("RGB"), "JPEG"))
    data = large[:2] + lie + large[2:]
    with affordable(data), pytest.raises(FrameError, match=f"FF{marker:02X} is not allowed"):
        decode_frame(data, LIMITS)


@pytest.mark.parametrize(("channels", "color"), [(3, 2), (4, 6), (2, 4), (1, 0)])
def test_a_second_png_header_does_not_make_the_picture_wider(channels: int, color: int) -> None:
    # As many bytes a row: one bit a pixel makes many pixels of them.
    first, second = png_header(120, 64, 8, color), png_header(120 * 8 * channels, 64, 1, 0)
    rows = zlib.compress(bytes(64 * (1 + 120 * channels)))
    with pytest.raises(FrameError, match="chunk twice, or chunks out of order"):
        decode_frame(PNG_MAGIC + first + second + png_chunk((b"IDAT", rows)) + png_chunk((b"IEND", b"")), LIMITS)


# --- Whatever our own reading says ---


def jpeg_lied_about(**options: object) -> bytes:
    return saved(LARGE.convert("RGB"), "JPEG", **options)


def png_lied_about() -> bytes:
    """Its pixels are as many as we take it for: only the decoder sees what its header says."""
    rows = zlib.compress(bytes(64 * 97))
    return PNG_MAGIC + png_header(4000, 3000, 8, 0) + b"".join(map(png_chunk, [(b"IDAT", rows), (b"IEND", b"")]))


def webp_lied_about(**options: object) -> bytes:
    """A canvas of the size we take it for, and in it a picture of another."""
    canvas = b"VP8X" + struct.pack("<II", 10, 0) + (95).to_bytes(3, "little") + (63).to_bytes(3, "little")
    return webp_file(canvas + b"".join(webp_chunks(saved(LARGE, "WEBP", **options)).values()))


@pytest.mark.parametrize(
    ("kind", "data", "sentence"),
    [
        ("jpeg", jpeg_lied_about(), "reads as 96×64 pixels and as 3000×3000"),
        ("jpeg", jpeg_lied_about(progressive=True), "reads as 96×64 pixels and as 3000×3000"),
        ("jpeg", patched(jpeg_lied_about(), b"\xff\xc0", 11, b"\x14"), "too small to decode (3000, 3000, 3)"),
        ("jpeg", jpeg_441()[0], "reads as 96×64 pixels and as 32×32"),
        ("png", png_lied_about(), "reads as 96×64 pixels and as 4000×3000"),
        ("webp", webp_lied_about(quality=50), "could not create decoder object"),
        ("webp", webp_lied_about(lossless=True), "could not create decoder object"),
    ],
    ids=["jpeg", "jpeg progressive", "jpeg 4:4:1", "jpeg 4:4:1 and smaller", "png", "webp", "webp lossless"],
)
def test_a_size_that_the_decoder_does_not_confirm_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, kind: Literal["jpeg", "png", "webp"], data: bytes, sentence: str
) -> None:
    monkeypatch.setattr(decode, "read_picture", lambda data, formats: Picture(kind, 96, 64, 1, data))
    with affordable(data), pytest.raises(FrameError, match=re.escape(sentence)):
        decode_frame(data, LIMITS)


def test_a_colour_layout_that_the_decoder_does_not_confirm_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(SMALL.convert("RGB"), "WEBP")
    monkeypatch.setattr(decode, "read_picture", lambda data, formats: Picture("webp", 96, 64, 1, data))
    monkeypatch.setattr(decode, "LAYOUTS", decode.LAYOUTS - {"RGB"})
    with pytest.raises(FrameError, match="the colour layout RGB"):
        decode_frame(data, LIMITS)


# --- Any two files, spliced ---


def sources(kind: str, take_apart: Callable[[bytes], Parts], *ways: tuple[str, dict[str, object]]) -> dict[str, Parts]:
    """Both pictures, saved in every way: name → parts."""
    found = {}
    for image in (SMALL, LARGE):
        clear = image.copy()
        clear.putalpha(100)
        for mode, options in ways:
            file = saved((clear if mode.endswith("A") else image).convert(mode), kind, **options)
            found[f"{image.width} {mode} {options}"] = take_apart(file)
    return found


JPEGS = sources(
    "JPEG",
    jpeg_segments,
    *(("RGB", {}), ("L", {}), ("CMYK", {}), ("RGB", {"progressive": True}), ("RGB", {"restart_marker_rows": 1})),
)
JPEGS |= {
    f"{image.width} 4:4:1": jpeg_segments(patched(saved(image.convert("RGB"), "JPEG"), b"\xff\xc0", 11, b"\x14"))
    for image in (SMALL, LARGE)
}
PNGS = sources("PNG", png_chunks, ("RGB", {}), ("1", {}), ("P", {}), ("RGBA", {}), ("L", {"transparency": 5}))
WEBPS = sources(
    "WEBP",
    webp_chunks,
    *(("RGB", {"quality": 50}), ("RGB", {"lossless": True}), ("RGBA", {"lossless": True}), ("LA", {"quality": 50})),
)
DECOY = saved(SMALL, "JPEG")
EXTRAS: dict[str, Parts] = {
    "jpeg": {
        **{f"FF{marker:02X}": bytes((0xFF, marker)) for marker in (0x00, 0x01, 0xD0, 0xD7, 0xD8, 0xD9, 0xFF)},
        **{f"lie {marker:02X} {app:02X}": jpeg_lie(marker, app, DECOY) for marker in (0x01, 0xD0) for app in (0xE0, 0xE1, 0xE8)},
        "DNL": b"\xff\xdc\0\4\x0b\xb8",
        "padding": bytes(7),
    },
    "png": {
        **{f"IHDR {w} {b} {c}": png_header(w, 64, b, c) for w in (96, 3072, 2**31) for b, c in ((1, 0), (8, 2), (8, 3), (16, 2))},
        "acTL": png_chunk((b"acTL", struct.pack(">II", 2, 0))),
        "fcTL": png_chunk((b"fcTL", struct.pack(">IIIIIHHBB", 0, 3000, 3000, 0, 0, 1, 1, 0, 0))),
        "fdAT": png_chunk((b"fdAT", bytes(4) + zlib.compress(bytes(3001 * 3000)))),
        "IDAT": png_chunk((b"IDAT", zlib.compress(bytes(3001 * 3000)))),
        "PLTE": png_chunk((b"PLTE", bytes(3 * 300))),
        "tRNS": png_chunk((b"tRNS", bytes(300))),
        "iCCP": png_chunk((b"iCCP", b"p\0\0" + zlib.compress(bytes(9_000_000)))),
    },
    "webp": {
        **{
            f"VP8X {side} {flags}": b"VP8X" + struct.pack("<II", 10, flags) + (side - 1).to_bytes(3, "little") * 2
            for side in (96, 3000)
            for flags in (0, 0x10, 0x02)
        },
        "ALPH": b"ALPH\2\0\0\0\0\0",
        "ANIM": b"ANIM\6\0\0\0" + bytes(6),
        "EXIF": b"EXIF\4\0\0\0II*\0",
    },
}
FILES = {"jpeg": JPEGS, "png": PNGS, "webp": WEBPS}
WHOLE = {"jpeg": b"".join, "png": lambda parts: PNG_MAGIC + b"".join(parts), "webp": lambda parts: webp_file(b"".join(parts))}


@st.composite
def spliced(draw: st.DrawFn, kind: str) -> list[tuple[str, str]]:
    """The parts of one file, by name, with parts of others put between them or in the place of some."""
    file = st.sampled_from(sorted(FILES[kind]))
    base = draw(file)
    parts = [(base, part) for part in FILES[kind][base]]
    for _ in range(draw(st.integers(0, 4))):
        extra = draw(st.booleans())
        other = "extras" if extra else draw(file)
        part = draw(st.sampled_from(sorted(EXTRAS[kind] if extra else FILES[kind][other])))
        at, removed, times = draw(st.integers(0, len(parts))), draw(st.integers(0, 2)), draw(st.integers(0, 2))
        parts[at : at + removed] = [(other, part)] * times
    return parts


def stays_within_the_limits(kind: str, names: list[tuple[str, str]], wanted_px: int) -> None:
    pool = {**FILES[kind], "extras": EXTRAS[kind]}
    file = WHOLE[kind]([pool[source][part] for source, part in names])
    with affordable(file):
        try:
            height, width, channels = decode_frame(file, LIMITS, wanted_px).shape
        except FrameError as error:
            assert str(error)
        else:
            assert max(height, width) <= 128 and channels == 3


@settings(max_examples=400)
@given(spliced("jpeg"), st.sampled_from([0, 24]))
def test_spliced_jpegs_are_refused_or_stay_within_the_limits(names: list[tuple[str, str]], wanted_px: int) -> None:
    stays_within_the_limits("jpeg", names, wanted_px)


@settings(max_examples=400)
@given(spliced("png"))
def test_spliced_pngs_are_refused_or_stay_within_the_limits(names: list[tuple[str, str]]) -> None:
    stays_within_the_limits("png", names, 0)


@settings(max_examples=400)
@given(spliced("webp"))
def test_spliced_webps_are_refused_or_stay_within_the_limits(names: list[tuple[str, str]]) -> None:
    stays_within_the_limits("webp", names, 0)
