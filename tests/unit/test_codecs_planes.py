"""The ``planes`` codec: what was kept comes back, as near as JPEG lets it, and no bytes bring anything but its own errors."""

import math
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deployments.client import read_jpeg
from deployments.splats.camera import Camera, PosedCamera
from deployments.splats.codecs import BadBytes, Truncated, planes, planes_values
from deployments.splats.codecs.packed import PackedCodec
from deployments.splats.codecs.planes import decode_planes, encode_planes
from deployments.splats.codecs.planes_heads import HEADER, VIEW, read_heads
from deployments.splats.codecs.planes_ladder import LADDER, Rung, rung_at
from deployments.splats.gaussians import Gaussians
from deployments.stages.pack import encode_plane
from tests.mutations import mutated
from tests.vectors.cases import FINER_LN_SCALES, NATIVE, golden
from tests.vectors.native import native_frame

U8 = NDArray[np.uint8]
FINEST = Rung(1 / 4096, 100, 100, 100, 100, 100)


def encode(gaussians: Gaussians, cameras: list[PosedCamera], rung: Rung = FINEST, **more) -> tuple[U8, int]:
    kept = more.pop("kept", np.flatnonzero(gaussians.opacities > 0))
    return encode_planes(gaussians, kept, cameras, rung=rung, encode_jpeg=encode_plane, **more)


def covariances(gaussians: Gaussians) -> NDArray[np.float64]:
    """[N, 3, 3]."""
    w, x, y, z = gaussians.quats.astype(float).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    r = np.moveaxis(np.array(rows), 2, 0)
    return np.einsum("nij,nj,nkj->nik", r, gaussians.scales.astype(float) ** 2, r)


@pytest.mark.parametrize("views", [1, 2, 3])
def test_every_gaussian_that_was_kept_comes_back_in_its_place(views: int) -> None:
    gaussians, cameras = native_frame(48, 36, views=views)
    data, count = encode(gaussians, cameras)
    sent = gaussians.take(np.flatnonzero(gaussians.opacities > 0))
    found = decode_planes(data, read_jpeg)
    assert len(found) == len(sent) == count < len(gaussians)
    pixel = 2.0 * (0.5 / cameras[0].camera.fx + 0.5 / cameras[0].camera.fy)
    assert np.abs(found.means - sent.means).max() < 0.1 * pixel
    assert np.abs(found.opacities - sent.opacities).max() < 3 / 255
    # Colours are halved both ways, which no quality makes good for noise; and clamped.
    assert np.abs(found.sh[:, 0].mean(0) - np.clip(sent.sh[:, 0], -1.7725, 1.7725).mean(0)).max() < 0.05
    one, other = covariances(sent), covariances(found)
    apart = np.abs(one - other).max(axis=(1, 2)) / np.abs(one).max(axis=(1, 2))
    assert np.median(apart) < 0.05 and apart.max() < 0.3
    np.testing.assert_allclose(np.linalg.norm(found.quats, axis=1), 1, atol=1e-6)


def test_smooth_colours_come_back_within_a_hundredth() -> None:
    gaussians, cameras = native_frame(48, 36, hidden=0)
    u, v = np.meshgrid(np.arange(48), np.arange(36))
    dc = np.stack([u / 40 - 0.6, v / 30 - 0.5, (u + v) / 70 - 0.5], axis=-1).reshape(-1, 1, 3).astype(np.float32)
    data, _ = encode(replace(gaussians, sh=dc), cameras)
    assert np.abs(decode_planes(data, read_jpeg).sh - dc).max() < 0.06


def test_one_ellipsoid_has_one_code_whatever_its_axes_are_called() -> None:
    gaussians, cameras = native_frame(32, 24, hidden=0)
    w, x, y, z = gaussians.quats.T
    half_turn = np.stack([-x, w, z, -y], axis=1)
    r = np.float32(math.sqrt(0.5))
    # A quarter turn about z: what was x is −y, what was y is x.
    quarter = np.stack([w - z, x + y, y - x, z + w], axis=1) * r
    same = [
        replace(gaussians, quats=-gaussians.quats),
        replace(gaussians, quats=np.ascontiguousarray(half_turn)),
        replace(gaussians, quats=quarter, scales=np.ascontiguousarray(gaussians.scales[:, [1, 0, 2]])),
    ]
    expected = decode_planes(encode(gaussians, cameras)[0], read_jpeg)
    for other in same:
        np.testing.assert_allclose(covariances(other), covariances(gaussians), rtol=1e-3, atol=1e-6)
        found = decode_planes(encode(other, cameras)[0], read_jpeg)
        assert np.abs(np.log(found.scales / expected.scales)).max() < 0.1


@settings(deadline=None, max_examples=200)
@given(st.lists(st.floats(-2, 2), min_size=3, max_size=3), st.lists(st.floats(-1, 1), min_size=3, max_size=3))
def test_axes_and_eigenvalues_make_the_matrix_again(diagonal: list[float], beside: list[float]) -> None:
    (xx, yy, zz), (xy, xz, yz) = diagonal, beside
    m = np.zeros((10, 1))
    m[:6, 0] = xx, yy, zz, xy, xz, yz
    planes_values.diagonalise(m, 1)
    values, (w, x, y, z) = m[:3, 0], m[6:, 0] / np.linalg.norm(m[6:, 0])
    assert abs(np.linalg.norm(m[6:, 0]) - 1) < 1e-4
    unit = np.ones((1, 3), np.float32)
    r = [
        covariances(Gaussians(unit * 0 + np.eye(3, dtype=np.float32)[i], unit * np.eye(3, dtype=np.float32)[i],
                              np.array([[w, x, y, z]], np.float32), unit[0, :1], np.zeros((1, 1, 3), np.float32)))[0]
        for i in range(3)
    ]  # fmt: skip
    matrix = sum(value * projection for value, projection in zip(values, r, strict=True))
    np.testing.assert_allclose(matrix, [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]], atol=0.013)


def test_the_first_error_is_jpegs_and_not_the_depths() -> None:
    gaussians, cameras = native_frame(64, 48, hidden=0)
    coarse = replace(FINEST, step=1 / 64)
    found = decode_planes(encode(gaussians, cameras, coarse)[0], read_jpeg)
    inverse = 1 / gaussians.means[:, 2]
    assert np.abs(1 / found.means[:, 2] - inverse).max() <= np.median(inverse) / 64 / 2 * 1.01


def test_what_is_not_kept_is_not_there_and_the_grid_is_what_is_left() -> None:
    gaussians, cameras = native_frame(40, 30, hidden=0)
    u, v = np.arange(1200) % 40, np.arange(1200) // 40
    kept = np.flatnonzero((u >= 4) & (u < 37) & (v >= 3) & (v < 25) & ((u + v) % 3 > 0))
    data, count = encode(gaussians, cameras, kept=kept)
    (head,) = read_heads(data)
    assert (head.camera.width, head.camera.height) == (33, 22)
    assert (head.camera.cx, head.camera.cy) == (cameras[0].camera.cx - 4, cameras[0].camera.cy - 3)
    found = decode_planes(data, read_jpeg)
    assert count == len(kept) == len(found)
    assert np.abs(found.means - gaussians.means[kept]).max() < 0.01


def test_nothing_kept_is_a_frame_of_nothing() -> None:
    gaussians, cameras = native_frame(40, 30)
    data, count = encode(gaussians, cameras, kept=np.zeros(0, np.intp))
    assert count == 0 and len(decode_planes(data, read_jpeg)) == 0 and len(data) < 5000


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 2), (2, 1), (1, 300), (300, 1), (17, 15)])
def test_grids_of_any_shape_come_back(width: int, height: int) -> None:
    gaussians, cameras = native_frame(width, height, hidden=0)
    found = decode_planes(encode(gaussians, cameras)[0], read_jpeg)
    assert len(found) == width * height
    assert np.abs(found.means[:, 2] - gaussians.means[:, 2]).max() < 0.01


@pytest.mark.parametrize("budget", [1, 7, 100, 500, 900])
@pytest.mark.parametrize("views", [1, 2])
def test_above_the_budget_the_grid_is_coarser_and_its_splats_larger(budget: int, views: int) -> None:
    gaussians, cameras = native_frame(40, 30, views=views)
    data, count = encode(gaussians, cameras, max_splats=budget)
    found = decode_planes(data, read_jpeg)
    assert len(found) == count <= max(budget, views)
    assert count > 0.7 * budget or budget < 10
    shown = int(np.count_nonzero(gaussians.opacities > 0))
    growth = np.median(found.scales) / np.median(gaussians.scales)
    expected = min(1.1 * math.sqrt(shown / budget), 16)
    assert 0.7 * expected < growth < 1.4 * expected or budget < 100


def test_gaussians_at_their_pixels_centres_need_no_offsets() -> None:
    gaussians, cameras = native_frame(40, 30, hidden=0)
    camera = cameras[0].camera
    z = gaussians.means[:, 2]
    u, v = np.arange(1200) % 40 + 0.5, np.arange(1200) // 40 + 0.5
    means = np.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z], axis=1).astype(np.float32)
    data, _ = encode(replace(gaussians, means=means), cameras)
    (head,) = read_heads(data)
    assert head.offset == 0 and head.sizes[5] == 0
    assert np.abs(decode_planes(data, read_jpeg).means - means).max() < 0.002
    # On a coarser grid they do: each is where it was.
    found = decode_planes(encode(replace(gaussians, means=means), cameras, max_splats=300)[0], read_jpeg).means
    apart = np.linalg.norm(found[:, None] - means[None], axis=2).min(axis=1)
    assert 200 < len(found) <= 300 and apart.max() < 0.003


def test_one_far_beside_its_pixel_is_cut_and_harms_no_other() -> None:
    gaussians, cameras = native_frame(80, 60, hidden=0)
    means = gaussians.means.copy()
    means[777, 0] += 100
    found = decode_planes(encode(replace(gaussians, means=means), cameras)[0], read_jpeg)
    others = np.arange(len(means)) != 777
    # JPEG's blocks around it see it.
    assert np.median(np.abs(found.means - means)[others]) < 0.002 and np.abs(found.means - means)[others].max() < 0.1


def test_one_that_its_own_camera_does_not_see_is_left_out() -> None:
    gaussians, cameras = native_frame(40, 30, hidden=0)
    means = gaussians.means.copy()
    means[[5, 600]] *= -1
    data, count = encode(replace(gaussians, means=means), cameras)
    assert count == 1198 == len(decode_planes(data, read_jpeg))


def test_one_on_the_lens_is_cut_and_harms_no_other() -> None:
    gaussians, cameras = native_frame(40, 30, hidden=0)
    means = gaussians.means.copy()
    means[600] *= 1e-5
    found = decode_planes(encode(replace(gaussians, means=means), cameras, rung_at(1 / 512))[0], read_jpeg)
    others = np.arange(1200) != 600
    assert np.abs(found.means[others, 2] / means[others, 2] - 1).max() < 0.005


def test_the_rungs_go_down_in_bytes_and_between_two_lies_a_third() -> None:
    gaussians, cameras = native_frame(120, 90)
    sizes = [len(encode(gaussians, cameras, rung_at(step))[0]) for step in (1 / 1024, 1 / 768, 1 / 400, 1 / 256, 1 / 128, 1 / 64)]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 2 * sizes[-1]
    assert all(rung_at(at) == pytest.approx(rung) or rung_at(at).step == pytest.approx(rung.step) for at, rung in LADDER.items())
    assert rung_at(1 / 4096).colour == LADDER[1 / 1024].colour and rung_at(1 / 16).colour == LADDER[1 / 64].colour


def test_a_pool_changes_when_and_not_what() -> None:
    gaussians, cameras = native_frame(48, 36)
    with ThreadPoolExecutor(2) as pool:
        beside, _ = encode(gaussians, cameras, rung_at(1 / 512), pool=pool)
    assert beside.tobytes() == encode(gaussians, cameras, rung_at(1 / 512))[0].tobytes()


def test_the_same_frame_gives_the_same_fresh_bytes() -> None:
    gaussians, cameras = native_frame(24, 18)
    first, second = (encode(gaussians, cameras)[0] for _ in range(2))
    assert first.tobytes() == second.tobytes() and not np.shares_memory(first, second)
    assert first.dtype == np.uint8 and first.ndim == 1 and first.flags.c_contiguous


@pytest.mark.parametrize("sh", [1, 4, 9])
def test_harmonics_beyond_the_colour_are_dropped(sh: int) -> None:
    gaussians, cameras = native_frame(24, 18, sh=sh)
    assert decode_planes(encode(gaussians, cameras)[0], read_jpeg).sh.shape[1:] == (1, 3)


def test_gaussians_that_lie_on_no_grid_are_refused() -> None:
    gaussians, cameras = native_frame(24, 18)
    for other, views in (
        (replace(gaussians, grid=None), cameras),
        (gaussians, cameras * 2),
        (gaussians, [PosedCamera(Camera(18, 24, 20.0, 20.0, 9.0, 12.0))]),
    ):
        with pytest.raises(ValueError, match="planes: expected up to 1048576 Gaussians on the grids"):
            encode(other, views)


@pytest.mark.parametrize("name", NATIVE)
def test_golden_files_decode_to_the_golden_words(name: str) -> None:
    words = PackedCodec(ln_scale_range=FINER_LN_SCALES).encode(decode_planes(golden(name), read_jpeg))
    assert words.tobytes() == golden(f"{name}.packed").tobytes()


@pytest.mark.parametrize("name", NATIVE)
def test_the_encoder_writes_what_is_no_jpeg_of_the_golden_files(name: str) -> None:
    """How a JPEG is coded is libjpeg-turbo's business."""
    gaussians, cameras, step = NATIVE[name]
    data, count = encode(gaussians, cameras, rung_at(step))
    ours, theirs = read_heads(data), read_heads(golden(name))
    start = HEADER.size + VIEW.size * len(ours)
    assert data[start : start + ours[0].sizes[0]].tobytes() == golden(name)[start : start + theirs[0].sizes[0]].tobytes()
    for a, b in zip(ours, theirs, strict=True):
        assert a.camera == b.camera and (a.pose == b.pose).all()
        assert (a.unit, a.ln_scale, a.offset) == (b.unit, b.ln_scale, b.offset)
    assert count == len(golden(f"{name}.packed")) // 16 - 2


def small() -> U8:
    gaussians, cameras = native_frame(12, 9, views=2)
    return encode(gaussians, cameras, rung_at(1 / 64))[0]


def with_checksum(data: bytes | bytearray) -> bytes:
    """Whoever lies about the rest can state the checksum of the lie."""
    return bytes(data[:8]) + struct.pack("<I", zlib.crc32(bytes(data[12:]))) + bytes(data[12:])


def test_every_truncation_is_refused_as_one() -> None:
    data = small().tobytes()
    for end in range(len(data)):
        with pytest.raises(Truncated) as caught:
            decode_planes(data[:end], read_jpeg)
        assert caught.value.offset == end


def test_a_byte_too_many_is_refused() -> None:
    with pytest.raises(BadBytes, match="1 bytes more"):
        decode_planes(small().tobytes() + b"\0", read_jpeg)


def test_every_bit_matters() -> None:
    data = bytearray(small().tobytes())
    for at in range(len(data)):
        data[at] ^= 1 << at % 8
        with pytest.raises(BadBytes):
            decode_planes(data, read_jpeg)
        data[at] ^= 1 << at % 8


FIRST, SECOND = HEADER.size, HEADER.size + VIEW.size
NAN, INF, HUGE = float("nan"), float("inf"), 2**32 - 1


@pytest.mark.parametrize(
    ("at", "form", "lies"),
    [
        (4, "B", (0, 2, 255)),
        (5, "B", (0, 1, 3, 9)),
        (6, "H", (1, 65535)),
        (FIRST, "H", (0, 1, 13, 4097, 65535)),
        (FIRST + 2, "H", (0, 1, 10, 4097, 65535)),
        *((FIRST + offset, "f", (0, -1, NAN, INF)) for offset in (4, 8)),
        *((FIRST + offset, "f", (NAN, INF)) for offset in (12, 16)),
        (FIRST + 20, "f", (0.5, NAN)),
        (FIRST + 32, "f", (1.0,)),
        *((SECOND + offset, "f", (5.0, NAN, INF)) for offset in (20, 24, 28, 36, 40, 44, 52, 56, 60)),
        *((SECOND + offset, "f", (NAN, INF)) for offset in (32, 48, 64)),
        (FIRST + 68, "f", (0, -1, NAN, INF)),
        (FIRST + 72, "f", (-21, 2, 21, NAN)),
        (FIRST + 76, "f", (-3, 21, NAN, INF)),
        (FIRST + 80, "f", (0, -1, 1e5, NAN)),
        *((FIRST + offset, "I", (0, 1, 4, 5, 100, HUGE)) for offset in (84, 88, 92, 96, 100, 104)),
        *((SECOND + offset, "I", (0, 1, 4, 5, 100, HUGE)) for offset in (84, 88, 92, 96, 100, 104)),
    ],
)
def test_a_header_that_lies_is_refused_even_with_a_good_checksum(at: int, form: str, lies: tuple) -> None:
    for lie in lies:
        data = bytearray(small().tobytes())
        struct.pack_into(f"<{form}", data, at, lie)
        with pytest.raises(BadBytes):
            decode_planes(with_checksum(data), read_jpeg)


@pytest.mark.parametrize("first", range(5))
def test_two_lengths_that_lie_together_are_refused(first: int) -> None:
    data = small().tobytes()
    place = FIRST + 84 + 4 * first
    one, other = struct.unpack_from("<2I", data, place)
    for difference in (*range(-20, 0), *range(1, 21)):
        changed = bytearray(data)
        struct.pack_into("<2I", changed, place, one + difference, other - difference)
        with pytest.raises(BadBytes):
            decode_planes(with_checksum(changed), read_jpeg)


def test_the_largest_claims_within_the_bounds_are_refused_without_their_bytes() -> None:
    """Sizes are added up before anything is taken: 2²⁰ pixels are announced, and 200 GB of sections."""
    head = struct.pack("<2H4f12f4f6I", 512, 256, 1, 1, 0, 0, *np.eye(3, 4).ravel(), 1, -2, 1, 1, *[HUGE] * 6)
    with pytest.raises(Truncated):
        decode_planes(with_checksum(HEADER.pack(b"SPLP", 1, 8, 0, 0) + head * 8), read_jpeg)
    larger = struct.pack("<2H", 1024, 1024) + head[4:]
    with pytest.raises(BadBytes, match="at most 1048576 pixels in all views"):
        decode_planes(with_checksum(HEADER.pack(b"SPLP", 1, 2, 0, 0) + larger + larger), read_jpeg)


def never(jpeg: bytes, channels: int) -> U8:
    raise AssertionError("no pixel may be decoded")


def other_jpegs() -> dict[str, bytes]:
    """What stands in a frame of 12×9 in place of its colours."""
    picture = np.random.default_rng(0).integers(0, 255, (9, 12, 3)).astype(np.uint8)
    good = encode_plane(picture, 80, False)
    frame = good.index(b"\xff\xc0")
    scan = good.index(b"\xff\xda")
    return {
        "larger": encode_plane(np.zeros((4000, 4000, 3), np.uint8), 10, False),
        "grey": encode_plane(picture[..., :1].copy(), 80, False),
        "header says larger": good[: frame + 5] + b"\x40\x00\x40\x00" + good[frame + 9 :],
        "12 bits": good[: frame + 4] + b"\x0c" + good[frame + 5 :],
        "progressive": good[: frame + 1] + b"\xc2" + good[frame + 2 :],
        "arithmetic": good[: frame + 1] + b"\xc9" + good[frame + 2 :],
        "two frames": good[:scan] + good[frame:scan] + good[scan:],
        "no frame": good[:frame] + good[scan:],
        "one component a scan": good[: scan + 4] + b"\x01" + good[scan + 5 :],
        "sampled four times": good[: frame + 11] + b"\x44" + good[frame + 12 :],
        "a comment": good[:frame] + b"\xff\xfe\x00\x04hi" + good[frame:],
        "Adobe's": good[:frame] + b"\xff\xee\x00\x0eAdobe" + bytes(7) + good[frame:],
        "a thousand tables": good[:frame] + b"\xff\xdd\x00\x04\x00\x00" * 1000 + good[frame:],
        "fill bytes": good[:frame] + b"\xff\xff" + good[frame:],
        "a segment of no length": good[:frame] + b"\xff\xdb\x00\x00" + good[frame:],
        "a segment beyond the end": good[:frame] + b"\xff\xdb\xff\xff" + good[frame:],
        "no end": good[:-2],
        "no JPEG": b"\x89PNG" + good[4:],
        "two bytes": b"\xff\xd8",
        "four bytes": b"\xff\xd8\xff\xd9",
    }


def replaced(section: int, jpeg: bytes) -> bytes:
    """The small frame with another section, every number and the checksum right."""
    data = small().tobytes()
    sizes = list(struct.unpack_from("<6I", data, FIRST + 84))
    start = HEADER.size + 2 * VIEW.size + sum(sizes[:section])
    changed = bytearray(data[:start] + jpeg + data[start + sizes[section] :])
    struct.pack_into("<I", changed, FIRST + 84 + 4 * section, len(jpeg))
    return with_checksum(changed)


@pytest.mark.parametrize("name", other_jpegs())
def test_a_jpeg_of_another_kind_is_refused_before_a_pixel_is_decoded(name: str) -> None:
    with pytest.raises(BadBytes):
        decode_planes(replaced(1, other_jpegs()[name]), never)


def test_colours_in_the_place_of_opacity_are_refused() -> None:
    picture = encode_plane(np.zeros((9, 12, 3), np.uint8), 80, False)
    with pytest.raises(BadBytes, match="1 × 8 bits"):
        decode_planes(replaced(4, picture), never)


def assert_sound(found: Gaussians) -> None:
    for field in ("means", "scales", "quats", "opacities", "sh"):
        assert np.isfinite(getattr(found, field)).all()
    assert (found.scales > 0).all() and (found.opacities > 0).all() and (found.opacities <= 1).all()


def test_ten_thousand_mutations_bring_a_refusal_and_with_a_stated_checksum_a_refusal_or_sound_gaussians() -> None:
    rng = np.random.default_rng(7)
    original = small().tobytes()
    sound = 0
    for _ in range(10_000):
        data = mutated(original, rng)
        if bytes(data) != original:
            with pytest.raises(BadBytes):
                decode_planes(data, read_jpeg)
        try:
            assert_sound(decode_planes(with_checksum(data), read_jpeg))
            sound += 1
        except BadBytes as error:
            assert "expected" in str(error) and "got" in str(error)
    assert sound > 100, "tables of a JPEG may be others"


def test_after_warming_up_nothing_is_compiled_any_more() -> None:
    planes.warm_up(encode_plane, read_jpeg)
    kernels = [planes_values.to_planes, planes_values.from_planes, planes_values.fill_holes, planes_values.measure_offsets]
    before = [len(kernel.signatures) for kernel in kernels]  # type: ignore[attr-defined]
    for views in (1, 2):
        gaussians, cameras = native_frame(24, 18, views=views)
        data, _ = encode(gaussians, cameras, rung_at(1 / 128), max_splats=100)
        decode_planes(memoryview(b"\0" + data.tobytes())[1:], read_jpeg)
    assert [len(kernel.signatures) for kernel in kernels] == before == [1] * len(kernels)  # type: ignore[attr-defined]
