"""Any photo in: every type, colour profile, orientation, opacity and lens comes out as what the picture shows."""

import io
import json
import math
import struct
import subprocess
import sys
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, features

from deployments.models.relief.model import ReliefModel
from deployments.models.synthetic import SyntheticModel
from deployments.pipeline import DecodedCapture, Prediction
from deployments.splats.activations import SH_C0
from deployments.splats.camera import Camera
from deployments.splats.codecs import CODECS
from deployments.splats.files import FileOptions
from deployments.splats.gaussians import Gaussians
from deployments.stages import confined, icc
from deployments.stages.confined import PROGRAM, Bounds, decode_confined
from deployments.stages.decode import FrameLimits, PhotoLimits, View, decode_capture, decode_view
from deployments.stages.exif import Exif, read_exif
from deployments.stages.image_files import KINDS, PNG_MAGIC, read_picture
from deployments.stages.local import LocalPipeline
from deployments.stages.transparency import fill_transparent, make_transparent
from deployments.stream.errors import FrameError, ImageBroken
from deployments.stream.frames import Capture, FrameRequest, PackedFrame
from deployments.stream.options import FrameOptions
from deployments.stream.photo_options import GUESSED, METRES
from tests.memory import memory_below
from tests.mutations import mutated
from tests.pictures import patched, png_chunk, saved, webp_chunk, webp_file
from tests.unit.test_frames import GOOD, STORED_AS, difference, scene

pillow_heif = pytest.importorskip("pillow_heif", reason="pip install 'splatcast[heic]'")

LIMITS = PhotoLimits()
P3 = icc.matrix_profile(icc.PRIMARIES[12])
P3_RED = (234, 51, 35)
"""sRGB's red, as Display P3 has it."""
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSLESS = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}, "JPEG": {"quality": 98, "subsampling": 0}}


def heic(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    pillow_heif.from_pillow(image).save(out, quality=-1, chroma=444, **options)
    return out.getvalue()


def stored(image: Image.Image, kind: str, **options: object) -> bytes:
    """As little changed as the type allows."""
    return heic(image, **options) if kind == "HEIC" else saved(image, kind, **{**LOSSLESS.get(kind, {}), **options})


def exif_of(orientation: int = 1, focal_35mm: int = 0) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    if focal_35mm:
        exif.get_ifd(0x8769)[0xA405] = focal_35mm
    return exif.tobytes()


def patch(color: tuple[int, ...], mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (64, 48), color)


def middle(view: View) -> list[int]:
    return [int(value) for value in view.rgb[24, 32]]


def refusal(data: bytes, limits: FrameLimits = LIMITS) -> FrameError:
    with pytest.raises(FrameError) as caught:
        decode_view(data, limits)
    return caught.value


# --- Types ---


@pytest.mark.parametrize(("kind", "tolerance"), [("HEIC", 1.5), ("AVIF", 1.5), ("GIF", 8), ("BMP", 0), ("TIFF", 0)])
def test_a_photo_of_any_type_comes_out_as_it_went_in(kind: str, tolerance: float) -> None:
    view = decode_view(stored(scene(), kind), LIMITS)
    assert difference(view.rgb, scene()) <= tolerance
    assert view.alpha is None and view.rgb.flags.c_contiguous


@pytest.mark.parametrize("kind", ["HEIC", "AVIF", "GIF", "BMP", "TIFF"])
def test_a_large_photo_of_any_type_is_made_smaller(kind: str) -> None:
    large = scene(960, 640)
    view = decode_view(stored(large, kind), LIMITS, 480)
    assert difference(view.rgb, large.resize((480, 320), Image.Resampling.BOX)) <= 5


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("L", {}),
        ("1", {}),
        ("P", {}),
        ("CMYK", {}),
        ("I;16", {}),
        ("RGB", {"compression": "tiff_lzw"}),
        ("RGB", {"compression": "tiff_adobe_deflate"}),
        ("RGB", {"compression": "jpeg", "quality": 95}),
        ("RGB", {"compression": "packbits"}),
        ("1", {"compression": "group4"}),
    ],
)
def test_a_tiff_of_any_layout_and_compression(mode: str, options: dict[str, object]) -> None:
    image = scene().convert("I;16" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(scene().convert("L"), np.uint16) * 257)
    shown = scene().convert("L") if mode == "I;16" else image
    assert difference(decode_view(saved(image, "TIFF", **options), LIMITS).rgb, shown.convert("RGB")) <= 3


def test_of_several_pictures_in_a_file_the_first_counts() -> None:
    other = scene().rotate(180)
    for kind in ("GIF", "TIFF", "AVIF"):
        data = saved(scene(), kind, save_all=True, append_images=[other])
        assert difference(decode_view(data, LIMITS).rgb, scene()) <= 8
    out, both = io.BytesIO(), pillow_heif.HeifFile()
    for image in (scene(), other):
        both.add_from_pillow(image)
    both.save(out, quality=95)
    assert difference(decode_view(out.getvalue(), LIMITS).rgb, scene()) <= 8


@pytest.mark.parametrize("kind", ["HEIC", "AVIF", "GIF", "BMP", "TIFF"])
def test_a_stream_takes_none_of_them_and_names_what_it_does_take(kind: str) -> None:
    error = refusal(stored(scene(), kind), FrameLimits())
    assert error.code == "unsupported_image"
    assert kind in str(error) and str(error).endswith("expected a JPEG, PNG or WebP image.")


def test_an_operator_can_turn_a_type_off() -> None:
    error = refusal(heic(scene()), replace(LIMITS, formats=("jpeg", "png")))
    assert "a HEIC image" in str(error) and str(error).endswith("expected a JPEG or PNG image.")


def test_without_the_library_the_refusal_says_what_to_type(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    broken = PROGRAM.read_text().replace("from pillow_heif import", "from pillow_heif_that_is_missing import")
    program = tmp_path / "confined_decoder.py"  # type: ignore[operator]
    program.write_text(broken)
    monkeypatch.setattr(confined, "PROGRAM", program)
    error = refusal(heic(scene()))
    assert error.code == "unsupported_image" and "pip install 'splatcast[heic]'" in str(error) and "Most Compatible" in str(error)


@pytest.mark.parametrize("kind", ["HEIC", "AVIF", "GIF", "BMP", "TIFF"])
def test_sizes_are_checked_before_pixels_are_decoded(kind: str) -> None:
    data = stored(scene(), kind)
    for limits in (replace(LIMITS, max_width=95), replace(LIMITS, max_confined_pixels=96 * 64 - 1), replace(LIMITS, min_px=65)):
        error = refusal(data, limits)
        assert error.code == "image_size" and str(error).startswith("The picture is 96×64 pixels: expected ")


def bmp_bomb() -> bytes:
    """A run-length coded BMP of a few bytes that says it is 30,000 pixels wide and high."""
    return patched(saved(scene().convert("P"), "BMP"), b"BM", 18, struct.pack("<ii", 30_000, 30_000))


def tiff_bomb() -> bytes:
    data = saved(scene(), "TIFF")
    return data.replace(struct.pack("<HHII", 256, 4, 1, 96), struct.pack("<HHII", 256, 4, 1, 1_000_000))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (patched(saved(scene(), "GIF"), b"GIF", 6, b"\xff\xff\xff\xff"), "image_size"),
        (bmp_bomb(), "image_size"),
        (tiff_bomb(), "image_size"),
        (saved(Image.new("L", (20_000, 3_000)), "TIFF", compression="tiff_adobe_deflate"), "image_size"),
    ],
    ids=["gif", "bmp", "tiff", "a tiff of 60 megapixels"],
)
def test_a_bomb_costs_this_process_nothing(data: bytes, code: str) -> None:
    with memory_below(traced=4 * len(data) + 2_000_000, resident=16_000_000):
        assert refusal(data).code == code


def test_a_decoder_that_takes_too_much_memory_or_time_is_ended() -> None:
    data = saved(Image.new("RGB", (6000, 5000)), "TIFF", compression="tiff_adobe_deflate")
    bounds = Bounds(16, 30_000, 30_000, 50_000_000, 64 * 1024 * 1024, 20)
    with pytest.raises(ImageBroken, match="more memory"):
        decode_confined("tiff", data, 1024, bounds)
    slow = heic(scene(2400, 1800))
    with pytest.raises(ImageBroken, match=r"takes more than|gave up"):
        decode_confined("heic", slow, 1024, replace(bounds, memory_bytes=1 << 30, time_s=0))


def test_the_decoder_knows_nothing_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLATCAST_TOKEN", "0123456789abcdef")
    assert set(confined._environment()) <= {"MALLOC_ARENA_MAX", "LD_LIBRARY_PATH", "SPLATCAST_PATH"}
    assert "import deployments" not in PROGRAM.read_text() and "from deployments" not in PROGRAM.read_text()


@pytest.mark.parametrize("kind", ["heic", "avif", "gif", "bmp", "tiff"])
def test_a_truncated_file_is_refused(kind: str) -> None:
    data = stored(scene(), kind.upper())
    for end in (20, len(data) // 3, len(data) // 2, len(data) - 40):
        assert refusal(data[:end]).code in ("image_broken", "unsupported_image")


@pytest.mark.parametrize("kind", ["heic", "avif", "gif", "bmp", "tiff"])
def test_a_mutated_file_decodes_or_is_refused(kind: str) -> None:
    rng = np.random.default_rng(KINDS.index(kind))  # type: ignore[arg-type]
    original = stored(scene(), kind.upper(), **({"exif": exif_of(focal_35mm=26)} if kind != "bmp" and kind != "gif" else {}))
    for _ in range(8):
        try:
            view = decode_view(bytes(mutated(original, rng)), LIMITS, 48)
        except FrameError as error:
            assert str(error)
        else:
            assert view.rgb.dtype == np.uint8 and view.rgb.shape[2] == 3


def test_what_the_decoder_answers_is_counted() -> None:
    for head in ({"ok": True, "size": [4, 4], "mode": "RGB", "alpha": True, "orientation": 1, "focal_35mm": 0},):
        with pytest.raises(ImageBroken):
            confined._decoded(head, bytes(4 * 4 * 3 + 15))


def test_the_program_says_what_it_did_in_one_line() -> None:
    command = [sys.executable, "-I", str(PROGRAM), "bmp", "0", "16", "4096", "4096", "1000000", str(1 << 30), "20"]
    done = subprocess.run(command, input=saved(scene(), "BMP"), capture_output=True, check=True)
    line, _, rest = done.stdout.partition(b"\n")
    assert json.loads(line)["size"] == [96, 64] and len(rest) == 96 * 64 * 3


@pytest.mark.parametrize("tags", [{254: 1}, {50706: b"\1\4\0\0"}], ids=["NEF", "DNG"])
def test_a_raw_file_is_not_taken_for_its_small_copy(tags: dict[int, object]) -> None:
    error = refusal(saved(scene(), "TIFF", tiffinfo=tags))
    assert error.code == "unsupported_image" and "raw image: develop it" in str(error)


# --- Which way is up ---


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["HEIC", "AVIF", "TIFF", "TIFF LZW"])
def test_every_orientation_is_applied_once(kind: str, orientation: int) -> None:
    exif = exif_of(orientation=orientation)
    image = scene().transpose(STORED_AS[orientation]) if orientation in STORED_AS else scene()
    options = {"compression": "tiff_lzw"} if kind == "TIFF LZW" else {}
    view = decode_view(stored(image, kind.removesuffix(" LZW"), exif=exif, **options), LIMITS)
    assert difference(view.rgb, scene()) <= 2


# --- Colours ---


TYPES = ["JPEG", "PNG", "WEBP", "HEIC", "AVIF", "TIFF"]


@pytest.mark.parametrize("kind", TYPES)
def test_a_display_p3_red_is_srgb_red(kind: str) -> None:
    view = decode_view(stored(patch(P3_RED), kind, icc_profile=P3), LIMITS)
    assert np.abs(np.subtract(middle(view), (255, 0, 0))).max() <= 2, middle(view)
    assert not view.is_as_stored


@pytest.mark.parametrize("kind", TYPES)
def test_colours_without_a_profile_or_with_srgbs_are_left_alone(kind: str) -> None:
    for options in ({}, {"icc_profile": SRGB}):
        view = decode_view(stored(patch(P3_RED), kind, **options), LIMITS)
        assert np.abs(np.subtract(middle(view), P3_RED)).max() <= 2 and view.is_as_stored


def test_every_version_of_srgb_is_found_out_and_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from deployments.stages import color

    ours = icc.matrix_profile(((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)))
    for profile in (SRGB, ours):
        assert not color.needs_conversion(profile, "RGB")
    monkeypatch.setattr(ImageCms, "applyTransform", None)  # What is found out is not tried again.
    decode_view(stored(scene(), "JPEG", icc_profile=ours), LIMITS)


def test_a_camera_profile_of_many_segments() -> None:
    padded = P3 + bytes(150_000)
    whole = struct.pack(">I", len(padded)) + padded[4:]
    data = stored(patch(P3_RED), "JPEG", icc_profile=whole)
    assert data.count(b"ICC_PROFILE\0") == 3
    assert np.abs(np.subtract(middle(decode_view(data, LIMITS)), (255, 0, 0))).max() <= 2
    # One of them missing: as if there were none.
    at = data.rindex(b"ICC_PROFILE\0") - 4
    (length,) = struct.unpack_from(">H", data, at + 2)
    assert np.abs(np.subtract(middle(decode_view(data[:at] + data[at + 2 + length :], LIMITS)), P3_RED)).max() <= 2


@pytest.mark.parametrize("kind", ["HEIC", "AVIF"])
def test_primaries_named_by_number_count_too(kind: str) -> None:
    data = stored(patch(P3_RED), kind)
    nclx = struct.pack(">I4s4sHH", 19, b"colr", b"nclx", 12, 13)
    at = data.index(b"nclx")
    assert np.abs(np.subtract(middle(decode_view(data[: at + 4] + nclx[12:] + data[at + 8 :], LIMITS)), (255, 0, 0))).max() <= 3


def grey_profile(gamma: float) -> bytes:
    """A display's of one channel."""
    curve = b"curv" + struct.pack(">IIHxx", 0, 1, round(gamma * 256))
    tags = [
        (b"wtpt", b"XYZ \0\0\0\0" + icc._fixed(*icc._D50)),
        (b"kTRC", curve),
        (b"desc", icc._text("g")),
        (b"cprt", icc._text("0")),
    ]
    at, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags:
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = bytearray(P3[:128])
    head[0:4], head[16:20] = struct.pack(">I", at + len(body)), b"GRAY"
    return bytes(head) + table + body


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_greys_of_another_gamma(kind: str) -> None:
    view = decode_view(stored(Image.new("L", (64, 48), 128), kind, icc_profile=grey_profile(1.0)), LIMITS)
    linear = 128 / 255
    expected = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(np.subtract(middle(view), expected)).max() <= 2


def test_a_profile_of_other_pixels_is_as_if_it_were_not_there() -> None:
    for profile in (grey_profile(1.0), P3[:16] + b"CMYK" + P3[20:]):
        view = decode_view(stored(patch(P3_RED), "PNG", icc_profile=profile), LIMITS)
        # A grey profile for coloured pixels: the decoder of greys must not get hold of them.
        assert middle(view) == list(P3_RED) and view.is_as_stored


def cmyk_profile() -> bytes:
    """A press of two corners a channel: no ink is white, any full ink black."""
    lab = [(0 if any(corner) else 255, 128, 128) for corner in np.ndindex(2, 2, 2, 2)]
    identity = bytes((0, 255))
    lut = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + icc._fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    ramp = bytes(range(256))
    assert identity
    lut += ramp * 4 + bytes(sum(lab, ())) + ramp * 3
    tags = [
        (b"wtpt", b"XYZ \0\0\0\0" + icc._fixed(*icc._D50)),
        (b"A2B0", lut),
        (b"desc", icc._text("c")),
        (b"cprt", icc._text("0")),
    ]
    at, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags:
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = bytearray(P3[:128])
    head[0:4], head[12:24] = struct.pack(">I", at + len(body)), b"prtrCMYKLab "
    return bytes(head) + table + body


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_go_by_their_profile(kind: str) -> None:
    options = {"quality": 98} if kind == "JPEG" else {}
    paper, ink = patch((0, 0, 0, 0), "CMYK"), patch((255, 0, 0, 0), "CMYK")
    assert middle(decode_view(saved(paper, kind, icc_profile=cmyk_profile(), **options), LIMITS)) == [255] * 3
    assert max(middle(decode_view(saved(ink, kind, icc_profile=cmyk_profile(), **options), LIMITS))) <= 3
    # Without one it is cyan.
    assert np.abs(np.subtract(middle(decode_view(saved(ink, kind, **options), LIMITS)), (0, 255, 255))).max() <= 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(P3) - 1), st.integers(0, 255)), min_size=1, max_size=12), st.integers(0, len(P3)))
def test_a_broken_profile_does_no_harm(edits: list[tuple[int, int]], end: int) -> None:
    profile = bytearray(P3)
    for at, value in edits:
        profile[at] = value
    for data in (bytes(profile), bytes(profile[:end])):
        assert decode_view(saved(patch(P3_RED), "PNG", icc_profile=data), LIMITS).rgb.shape == (48, 64, 3)
        assert decode_view(saved(patch((9, 9, 9, 9), "CMYK"), "JPEG", icc_profile=data), LIMITS).rgb.shape == (48, 64, 3)


def test_a_profile_that_unfolds_without_end_is_not_unfolded() -> None:
    head = struct.pack(">I", 4 * 1024 * 1024) + P3[4:128]
    bomb = zlib.compress(head + bytes(64 * 1024 * 1024), 9)
    data = saved(scene(), "PNG")
    at = data.index(b"IDAT") - 4
    data = data[:at] + png_chunk((b"iCCP", b"p\0\0" + bomb)) + data[at:]
    with memory_below(traced=16_000_000, resident=32_000_000):
        assert decode_view(data, LIMITS).is_as_stored


def test_a_stream_with_a_profile_gets_its_pictures_coded_anew() -> None:
    for profile, sent in ((P3, 0), (SRGB, 1), (b"", 1)):
        capture = Capture((saved(patch(P3_RED), "JPEG", icc_profile=profile),), FrameRequest(FrameOptions(), ("depth",)))
        assert isinstance(decode_capture(capture), DecodedCapture)
        assert len(capture.request.pictures) == sent


# --- Opacity ---


def cut_out(size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Opaque red in the middle, half so in a band beside it, and nothing elsewhere."""
    width, height = size
    image = Image.new("RGBA", size, (0, 0, 0, 0))
    image.paste((200, 40, 40, 255), (width // 3, 0, 2 * width // 3, height))
    image.paste((200, 40, 40, 128), (2 * width // 3, 0, 5 * width // 6, height))
    return image


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF", "HEIC", "TIFF"])
def test_opacity_comes_with_the_picture(kind: str) -> None:
    view = decode_view(stored(cut_out(), kind, **({"exact": True} if kind == "WEBP" else {})), LIMITS)
    assert view.alpha is not None
    row = view.alpha[32].astype(int)
    assert row[:30].max() <= 3 and row[34:62].min() >= 252 and np.abs(row[66:78] - 128).max() <= 3 and row[84:].max() <= 3
    assert np.abs(view.rgb[32, 34:78].astype(int) - (200, 40, 40)).max() <= 6
    assert view.rgb[..., 0].min() > 100, "a model sees no black"


def test_a_gif_with_holes() -> None:
    image = cut_out().convert("RGB").quantize(8)
    data = saved(image, "GIF", transparency=image.getpixel((2, 2)))
    view = decode_view(data, LIMITS)
    assert view.alpha is not None and view.alpha[32, 2] == 0 and view.alpha[32, 48] == 255
    assert view.rgb[32, 2, 0] > 100


@pytest.mark.parametrize("orientation", [1, 6])
def test_opacity_is_turned_with_the_picture(orientation: int) -> None:
    image = cut_out().transpose(STORED_AS[6]) if orientation == 6 else cut_out()
    view = decode_view(saved(image, "PNG", exif=exif_of(orientation=orientation)), LIMITS)
    assert view.alpha is not None and view.alpha.shape == (64, 96)
    assert view.alpha[32, 4] == 0 and view.alpha[32, 48] == 255


def test_holes_have_the_colours_around_them() -> None:
    rgb = np.zeros((40, 60, 3), np.uint8)
    rgb[:, :20], rgb[:, 40:] = (250, 0, 0), (0, 0, 250)
    alpha = np.full((40, 60), 255, np.uint8)
    alpha[:, 20:40] = 0
    filled = fill_transparent(rgb, alpha)
    assert (filled[:, :20] == rgb[:, :20]).all() and (filled[:, 40:] == rgb[:, 40:]).all()
    assert filled[20, 21, 0] > 150 > filled[20, 38, 0] and filled[20, 38, 2] > 150


@pytest.mark.parametrize("engine", ["relief", "depth", "lifted", "native"])
def test_a_transparent_pixel_becomes_no_splat_and_a_faint_one_a_faint_splat(engine: str) -> None:
    models = {
        "relief": ReliefModel,
        "depth": lambda: SyntheticModel(depth=True, splats=4800),
        "lifted": lambda: SyntheticModel(splats=4800),
        "native": lambda: SyntheticModel(native=True, splats=4800),
    }
    options = FrameOptions(border=0.0, min_opacity=0.0, codec="packed", representation="splats", behind_deg=0.0)
    opaque, clear = (run(models[engine](), saved(image, "PNG"), options) for image in (cut_out().convert("RGB"), cut_out()))
    everything, splats = CODECS["packed"].decode(opaque.data), CODECS["packed"].decode(clear.data)
    assert 0.4 < len(splats) / len(everything) < 0.6, "a half of it is transparent"
    assert clear.pruned["transparent"] > 0.4 * len(everything)
    # Nothing is counted twice.
    assert sum(clear.pruned.values()) + len(splats) == sum(opaque.pruned.values()) + len(everything)
    x = clear.camera.cx + clear.camera.fx * splats.means[:, 0] / splats.means[:, 2]
    across = x / clear.camera.width
    inside = (across > 0.38) & (across < 0.62)
    beside = (across > 0.70) & (across < 0.80)
    assert not ((across < 0.30) | (across > 0.87)).any()
    assert 0.4 < splats.opacities[beside].mean() / splats.opacities[inside].mean() < 0.6
    assert (0.5 + SH_C0 * splats.sh[:, 0, 0]).mean() > 0.6, "no splat is dark"


def test_the_depth_codec_carries_opacity() -> None:
    from deployments.splats.codecs.depth import decode_depth

    packed = run(SyntheticModel(depth=True, splats=4800), saved(cut_out(), "PNG"), FrameOptions(codec="depth"), ("depth",))
    (view,) = decode_depth(packed.data).views
    layer = view.layers[0]
    width = layer.inverse_depth.shape[1]
    assert layer.opacity is not None
    assert (layer.inverse_depth[:, : width // 4] == 0).all() and (layer.inverse_depth[:, width * 2 // 5 : width * 3 // 5] > 0).all()
    assert np.abs(layer.opacity[:, width * 7 // 10 : width * 8 // 10].astype(int) - 128).max() <= 9, "half a step of its levels"
    assert packed.pruned["transparent"] > 0 and packed.count < layer.inverse_depth.size


def test_gaussians_off_the_grid_are_as_opaque_as_where_they_are_seen() -> None:
    camera = Camera(8, 4, 8.0, 8.0, 4.0, 2.0)
    u = np.array([0.5, 3.5, 7.5], np.float32)
    means = np.stack([(u - 4) / 8, np.zeros(3), np.ones(3)], -1).astype(np.float32)
    one = np.ones((3, 3), np.float32)
    scene_ = Gaussians(
        means, one, np.tile(np.float32([1, 0, 0, 0]), (3, 1)), np.full(3, 0.8, np.float32), np.zeros((3, 1, 3), np.float32)
    )
    alpha = np.zeros((4, 8), np.uint8)
    alpha[:, 3], alpha[:, 7] = 255, 51
    faded = make_transparent(Prediction(scene_, "native", camera), (alpha,))
    assert isinstance(faded.scene, Gaussians)
    assert np.allclose(faded.scene.opacities, [0, 0.8, 0.16], atol=1e-6) and faded.pruned == {"transparent": 1}


def test_an_opaque_picture_costs_a_prediction_nothing() -> None:
    empty = (np.zeros((0, n), np.float32) for n in (3, 3, 4))
    nothing = Gaussians(*empty, np.zeros(0, np.float32), np.zeros((0, 1, 3), np.float32))
    prediction = Prediction(nothing, "native", Camera(1, 1, 1, 1, 1, 1))
    assert make_transparent(prediction, ()) is prediction and make_transparent(prediction, (None,)) is prediction


# --- Lenses ---


def run(
    model: object, data: bytes, options: FrameOptions, codecs: tuple[str, ...] = (), file: FileOptions | None = None
) -> PackedFrame:
    outcome = LocalPipeline(model).run(Capture((data,), FrameRequest(options, codecs, file=file)))  # type: ignore[arg-type]
    assert isinstance(outcome, PackedFrame), outcome
    return outcome


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(("focal_35mm", "over_width"), [(13, 0.361), (26, 0.722), (77, 2.139)])
def test_a_lens_in_exif_is_the_cameras(kind: str, focal_35mm: int, over_width: float) -> None:
    data = stored(scene(), kind, exif=exif_of(focal_35mm=focal_35mm))
    packed = run(ReliefModel(), data, FrameOptions(), file=FileOptions())
    assert packed.camera.fx / packed.camera.width == pytest.approx(over_width, rel=0.01)
    assert packed.intrinsics == "exif"


def test_on_a_portrait_the_longer_side_is_the_upright_one() -> None:
    data = stored(scene(), "JPEG", exif=exif_of(orientation=6, focal_35mm=26))
    packed = run(ReliefModel(), data, FrameOptions(), file=FileOptions())
    longer = max(packed.camera.width, packed.camera.height)
    assert packed.camera.height == longer
    assert packed.camera.fx / longer == packed.camera.fy / longer == pytest.approx(0.722, rel=0.01)


def test_the_clients_field_of_view_wins_and_without_either_it_is_a_guess() -> None:
    with_lens, without = stored(scene(), "JPEG", exif=exif_of(focal_35mm=26)), stored(scene(), "JPEG")
    for data, fov_deg, expected, known in (
        (with_lens, 90.0, 0.5, "given"),
        (without, 90.0, 0.5, "given"),
        (with_lens, 0.0, 26 / 36, "exif"),
        (without, 0.0, 0.5 / math.tan(math.radians(30)), "guessed"),
    ):
        packed = run(ReliefModel(), data, FrameOptions(fov_deg=fov_deg))
        assert packed.camera.fx / packed.camera.width == pytest.approx(expected, rel=1e-3) and packed.intrinsics == known


def test_a_file_says_metres_only_where_the_lens_is_known() -> None:
    wish = FileOptions(comments=(METRES, "engine: x"))
    guessed = run(SyntheticModel(), stored(scene(), "JPEG"), FrameOptions(), file=wish)
    known = run(SyntheticModel(), stored(scene(), "JPEG", exif=exif_of(focal_35mm=26)), FrameOptions(), file=wish)
    assert GUESSED.encode() in bytes(guessed.data) and b"unit: metres" not in bytes(guessed.data)
    assert METRES.encode() in bytes(known.data)
    assert wish.comments == (METRES, "engine: x")


@pytest.mark.parametrize("value", [1, 3, 2001, 65535])
def test_a_lens_that_there_is_not_is_unknown(value: int) -> None:
    assert decode_view(stored(scene(), "JPEG", exif=exif_of(focal_35mm=value)), LIMITS).focal_35mm == 0


@given(st.binary(max_size=60), st.sampled_from([b"II*\0", b"MM\0*"]), st.integers(0, 70))
def test_any_exif_is_read_or_ignored(noise: bytes, order: bytes, at: int) -> None:
    sign = "<" if order[:1] == b"I" else ">"
    found = read_exif(order + struct.pack(sign + "I", at) + noise)
    assert isinstance(found, Exif) and 1 <= found.orientation <= 8 and 0 <= found.focal_35mm <= 2000


def test_a_directory_that_points_to_itself_ends() -> None:
    tiff = b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x8769, 4, 1, 8) + bytes(4)
    assert read_exif(tiff) == Exif()


# --- PNGs of any size ---


def banded(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Noise, so that every filter occurs."""
    rng = np.random.default_rng(width)
    channels = len(mode)
    soft = np.cumsum(rng.integers(-3, 4, (height, width, channels)), axis=1) + 128
    array = np.clip(soft, 0, 255).astype(np.uint8)
    return Image.fromarray(array[..., 0] if channels == 1 else array)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "PA"])
@pytest.mark.parametrize("factor", [1, 2, 3, 7])
def test_rows_come_out_as_pillow_decodes_them(mode: str, factor: int) -> None:
    from deployments.stages.png_rows import decode_rows

    image = banded(317, 203, "RGBA") if mode in ("RGBA", "LA", "PA") else banded(317, 203)
    if mode == "PA":
        image = image.convert("RGB").quantize(40)
        data = saved(image, "PNG", transparency=bytes(range(0, 240, 6)))
    else:
        data = saved(image.convert(mode), "PNG")
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"), np.float64)
    pad = [(0, -expected.shape[0] % factor), (0, -expected.shape[1] % factor)]
    weight = np.pad(np.ones(expected.shape[:2]), pad)
    colours = np.pad(expected[..., :3] * expected[..., 3:], [*pad, (0, 0)])
    opacity = np.pad(expected[..., 3], pad)

    def cells(values: NDArray[np.float64]) -> NDArray[np.float64]:
        height, width = values.shape[0] // factor, values.shape[1] // factor
        return values.reshape(height, factor, width, factor, -1).sum((1, 3))

    rgb, alpha = decode_rows(read_picture(data).data, factor)
    seen = cells(opacity)[..., 0] > 0
    assert np.abs(rgb - cells(colours) / np.maximum(cells(opacity), 1))[seen].max() <= 0.5001
    if alpha is not None:
        assert np.abs(alpha - (cells(opacity) / cells(weight))[..., 0]).max() <= 0.5001
    assert (alpha is not None) == (mode in ("RGBA", "LA", "PA"))


@pytest.mark.parametrize(("bits", "color"), [(1, 0), (2, 0), (4, 0), (16, 0), (8, 2), (16, 2), (1, 3), (2, 3), (4, 3)])
def test_a_transparent_key_and_every_depth(bits: int, color: int) -> None:
    """Columns of rising samples; the second one is transparent."""
    width, channels = 16, 3 if color == 2 else 1
    levels = np.arange(width) % min(2**bits, width)
    if bits <= 8:
        wide = np.repeat(levels, channels)
        row = np.packbits(((wide[:, None] >> np.arange(bits)[::-1]) & 1).astype(np.uint8).ravel()).tobytes()
    else:
        row = (np.repeat(levels, channels) * 257).astype(">u2").tobytes()
    key = 1 * 257 if bits == 16 else 1
    hidden = bytes((255, 0)) if color == 3 else struct.pack(f">{channels}H", *[key] * channels)
    palette = bytes(value for level in range(16) for value in (level, 2 * level, 3 * level))
    header = struct.pack(">IIBBBBB", width, 16, bits, color, 0, 0, 0)
    chunks = [(b"IHDR", header), *([(b"PLTE", palette)] if color == 3 else []), (b"tRNS", hidden)]
    data = PNG_MAGIC + b"".join(map(png_chunk, [*chunks, (b"IDAT", zlib.compress((b"\0" + row) * 16)), (b"IEND", b"")]))
    view = decode_view(data, LIMITS)
    assert view.alpha is not None
    assert ((view.alpha == 0) == (levels == 1)).all()
    shown = levels if bits in (8, 16) or color == 3 else levels * 255 // (2**bits - 1)
    assert (view.rgb[:, levels != 1, 0] == shown[levels != 1]).all()


def test_a_png_of_a_hundred_megapixels_takes_the_memory_of_a_small_one() -> None:
    row = b"\2" + bytes(3 * 10_000)
    data = png_of(10_000, 10_000, zlib.compress(row * 10_000))
    decode_view(saved(scene(), "PNG"), LIMITS)  # Kernels are compiled.
    with memory_below(traced=60_000_000, resident=80_000_000):
        assert decode_view(data, LIMITS, 1024).rgb.shape == (1112, 1112, 3)


def png_of(width: int, height: int, pixels: bytes) -> bytes:
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return PNG_MAGIC + b"".join(map(png_chunk, [header, (b"IDAT", pixels), (b"IEND", b"")]))


def test_a_picture_that_must_be_held_whole_is_refused_with_its_own_numbers() -> None:
    progressive = saved(Image.new("L", (6000, 5000)), "JPEG", progressive=True)
    error = refusal(progressive)
    assert (
        error.code == "image_size" and "6000×5000" in str(error) and "25 megapixels" in str(error) and "ordinary JPEG" in str(error)
    )


def test_any_unknown_filter_is_corrupt() -> None:
    with pytest.raises(ImageBroken, match="corrupt"):
        decode_view(png_of(32, 16, zlib.compress(b"".join(bytes((filter_,)) + bytes(96) for filter_ in [0] * 15 + [5]))), LIMITS)


def test_every_type_is_tried_here() -> None:
    assert set(KINDS) == {"jpeg", "png", "webp", *(kind.lower() for kind in ("HEIC", "AVIF", "GIF", "BMP", "TIFF"))}
    assert features.check("avif") and len(GOOD) > 10
    assert webp_file(webp_chunk(b"ICCP", P3))[8:12] == b"WEBP"
