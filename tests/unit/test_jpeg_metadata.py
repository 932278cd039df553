"""A JPEG on its way to other viewers says nothing of the person who took it, and shows the same picture."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from deployments.scene.clip import render_scene
from deployments.stages.jpeg_metadata import strip_metadata
from deployments.stream.errors import ImageBroken

SECRET = b"48.137 N 11.575 E, Jane Doe"


def segment(marker: int, payload: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


def photo(**options: object) -> bytes:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = SECRET.decode(), 6
    picture = Image.fromarray(render_scene(0.0, 96, 72).rgb)
    if options.pop("grey", False):
        picture = picture.convert("L")
    picture.save(out, "JPEG", exif=exif, comment=SECRET, icc_profile=SECRET * 40, **options)
    return out.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"grey": True}, {"subsampling": 0, "quality": 100}, {"restart_marker_blocks": 2}]
)
def test_the_pixels_are_the_same_and_the_words_are_gone(options: dict) -> None:
    data = photo(**options)
    assert SECRET in data
    stripped = strip_metadata(data)
    np.testing.assert_array_equal(pixels(stripped), pixels(data))
    assert SECRET not in stripped and b"Exif" not in stripped and len(stripped) < len(data) - 1000
    opened = Image.open(io.BytesIO(stripped))
    assert not opened.getexif() and "comment" not in opened.info and "icc_profile" not in opened.info


def test_every_makers_segment_goes_wherever_it_stands() -> None:
    data = photo(progressive=True)
    noted = bytearray(data[:2])
    for marker in (*range(0xE1, 0xF0), 0xFE):
        noted += segment(marker, SECRET)
    noted += data[2:]
    # Between two scans, too, and after the end, where phones put a second picture.
    second = noted.index(b"\xff\xda", noted.index(b"\xff\xda") + 2)
    noted[second:second] = segment(0xFE, SECRET) + segment(0xE1, SECRET)
    noted += photo()
    stripped = strip_metadata(bytes(noted))
    assert stripped == strip_metadata(data)


def test_a_thumbnail_in_the_first_segment_goes() -> None:
    data = photo()
    (length,) = np.frombuffer(data[4:6], ">u2")
    assert data[6:10] == b"JFIF"
    with_thumbnail = data[:2] + segment(0xE0, data[6:18] + b"\x03\x03" + SECRET) + data[4 + length :]
    np.testing.assert_array_equal(pixels(with_thumbnail), pixels(data))
    assert strip_metadata(with_thumbnail) == strip_metadata(data)


def test_how_adobe_turned_the_colours_is_kept() -> None:
    out = io.BytesIO()
    Image.fromarray(render_scene(0.0, 48, 36).rgb).save(out, "JPEG", keep_rgb=True)
    data = out.getvalue()
    assert b"Adobe" in data
    np.testing.assert_array_equal(pixels(strip_metadata(data)), pixels(data))


def test_stripping_twice_changes_nothing() -> None:
    once = strip_metadata(photo())
    assert strip_metadata(once) == once


def test_every_truncation_is_refused() -> None:
    data = strip_metadata(photo())
    for end in range(len(data)):
        with pytest.raises(ImageBroken):
            strip_metadata(data[:end])


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_bytes_of_no_picture_are_refused_or_shortened(data: bytes) -> None:
    try:
        assert len(strip_metadata(b"\xff\xd8" + data)) <= len(data) + 2 + 18 * 100
    except ImageBroken as error:
        assert str(error)
