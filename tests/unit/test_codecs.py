"""The contract of every codec: one set of tests, run on each."""

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deployments.splats.codecs import CODECS, BadBytes, BadGaussians, Codec, CodecError, Truncated
from deployments.splats.codecs.packed import PackedCodec
from deployments.splats.codecs.ply import PlyCodec
from deployments.splats.gaussians import Gaussians
from tests.vectors import reference
from tests.vectors.cases import FINER_LN_SCALES, FOLDER, GOLDEN, MADE_BY_SPARK, golden, harmonics

FIELDS = ("means", "scales", "quats", "opacities", "sh")
VALUES = json.loads((FOLDER / "values.json").read_text())


@dataclass(frozen=True)
class Tolerance:
    """How far a decoded field may be from the encoded one; None: the codec does not keep the field."""

    mean_relative: float
    mean_absolute: float
    ln_scale: float | None
    degrees: float | None
    opacity: float | None
    colour: float
    keeps_harmonics: bool = False


EXACT = Tolerance(0, 0, 1e-5, 1e-4, 1e-6, 0, keeps_harmonics=True)
WORDS = Tolerance(2**-11, 2**-25, 21 / 508 + 1e-5, 2.1, 0.5 / 255 + 1e-6, 0.5 / 255 + 1e-6)
KINDS: dict[str, tuple[Codec, Tolerance]] = {
    "ply": (CODECS["ply"], EXACT),
    "ply with normals, opengl": (PlyCodec(normals=True, frame="opengl"), EXACT),
    "packed": (CODECS["packed"], WORDS),
    "packed, finer scales": (PackedCodec(ln_scale_range=FINER_LN_SCALES), replace(WORDS, ln_scale=11 / 508 + 1e-5)),
    "points": (CODECS["points"], Tolerance(0, 0, None, None, None, 0.5 / 255 + 1e-6)),
}
every_codec = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="session", autouse=True)
def _compiled() -> None:
    for codec, _ in KINDS.values():
        codec.warm_up()


def frame(count: int, seed: int = 0, degree: int = 0) -> Gaussians:
    rng = np.random.default_rng(seed)
    quats = rng.normal(size=(count, 4))
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    k = (degree + 1) ** 2
    arrays = (
        rng.normal(0, 3, (count, 3)),
        np.exp(rng.uniform(-8.9, 1.9, (count, 3))),
        quats,
        rng.uniform(0, 1, count),
        rng.normal(0, 0.5, (count, k, 3)),
    )
    return Gaussians(*(array.astype(np.float32) for array in arrays))


def with_value(g: Gaussians, field: str, row: int, value: float | list[float]) -> Gaussians:
    array = getattr(g, field).copy()
    array[row] = value
    return replace(g, **{field: array})


def assert_close(got: Gaussians, put: Gaussians, tolerance: Tolerance) -> None:
    off = np.abs(got.means.astype(float) - put.means)
    assert (off <= np.maximum(np.abs(put.means) * tolerance.mean_relative, tolerance.mean_absolute)).all()
    if tolerance.ln_scale is not None:
        assert np.abs(np.log(got.scales.astype(float)) - np.log(put.scales.astype(float))).max(initial=0) <= tolerance.ln_scale
    if tolerance.degrees is not None:
        # From the distance between unit quaternions: arccos of their product would turn one float32 step into 0.04°.
        a, b = (q / np.linalg.norm(q, axis=1, keepdims=True) for q in (got.quats.astype(float), put.quats.astype(float)))
        distance = np.minimum(np.linalg.norm(a - b, axis=1), np.linalg.norm(a + b, axis=1))
        assert np.degrees(4 * np.arcsin(distance / 2)).max(initial=0) <= tolerance.degrees
    if tolerance.opacity is not None:
        assert np.abs(got.opacities - put.opacities).max(initial=0) <= tolerance.opacity
    sh = put.sh if tolerance.keeps_harmonics else put.sh[:, :1]
    colour = np.clip(0.5 + 0.28209479 * sh, 0, 1) if tolerance.colour else sh
    decoded = 0.5 + 0.28209479 * got.sh if tolerance.colour else got.sh
    assert np.abs(decoded - colour).max(initial=0) <= tolerance.colour


@pytest.mark.parametrize("name", [name for name in GOLDEN if name != MADE_BY_SPARK])
def test_encoding_gives_the_golden_bytes(name: str) -> None:
    codec, gaussians = GOLDEN[name]
    assert codec.encode(gaussians).tobytes() == golden(name).tobytes()


@pytest.mark.parametrize("name", GOLDEN)
def test_decoding_the_golden_bytes_gives_the_stated_values(name: str) -> None:
    decoded = GOLDEN[name][0].decode(golden(name))
    assert (len(decoded), decoded.sh_degree) == (VALUES[name]["count"], VALUES[name]["sh_degree"])
    for field in FIELDS:
        got, stated = getattr(decoded, field).ravel().astype(float), np.array(VALUES[name][field])
        if field == "quats":
            got = got.reshape(-1, 4) * np.where((got * stated).reshape(-1, 4).sum(axis=1, keepdims=True) < 0, -1, 1)
        np.testing.assert_allclose(got.ravel(), stated, rtol=1e-6, atol=0 if field == "scales" else 1e-6, err_msg=field)


@pytest.mark.parametrize("name", GOLDEN)
def test_the_stated_values_are_those_of_the_independent_decoder(name: str) -> None:
    for field, array in reference.read(name, golden(name).tobytes()).items():
        np.testing.assert_array_equal(np.float32(array).ravel(), np.float32(VALUES[name][field]), err_msg=field)


@every_codec
def test_what_goes_in_comes_out(kind: str) -> None:
    codec, tolerance = KINDS[kind]
    for degree in (0, 1, 2):
        g = frame(3000, seed=degree, degree=degree)
        decoded = codec.decode(codec.encode(g))
        assert decoded.sh_degree == (degree if tolerance.keeps_harmonics else 0)
        assert_close(decoded, g, tolerance)


@every_codec
@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 511, 512, 513])
def test_any_number_of_gaussians_even_none(kind: str, count: int) -> None:
    codec, tolerance = KINDS[kind]
    g = frame(count, seed=count)
    data = codec.encode(g)
    assert len(codec.decode(data)) == count
    assert_close(codec.decode(data), g, tolerance)
    if count == 0:
        assert codec.encode(Gaussians.empty()).tobytes() == data.tobytes()


@every_codec
@pytest.mark.parametrize("degree", [0, 2])
def test_every_truncation_is_refused_as_one(kind: str, degree: int) -> None:
    codec, _ = KINDS[kind]
    data = codec.encode(frame(3, degree=degree)).tobytes()
    for end in range(len(data)):
        with pytest.raises(Truncated) as caught:
            codec.decode(data[:end])
        assert caught.value.offset == end
        assert str(end) in str(caught.value)


@pytest.mark.parametrize("kind", ["packed", "points"])
def test_a_byte_too_many_is_refused(kind: str) -> None:
    codec, _ = KINDS[kind]
    data = codec.encode(frame(2)).tobytes()
    with pytest.raises(BadBytes, match="1 bytes more") as caught:
        codec.decode(data + b"\0")
    assert not isinstance(caught.value, Truncated)
    assert caught.value.offset == len(data)


@pytest.mark.parametrize("kind", ["packed", "points"])
def test_every_byte_of_the_header_matters(kind: str) -> None:
    codec, _ = KINDS[kind]
    data = codec.encode(frame(2)).tobytes()
    size = len(data) - len(frame(2)) * {"packed": 16, "points": 15}[kind]
    for offset in (*range(8), 8, *range(size - 4, size)):
        broken = bytearray(data)
        broken[offset] ^= 0x40
        with pytest.raises(BadBytes) as caught:
            codec.decode(broken)
        assert caught.value.codec == codec.name


@pytest.mark.parametrize(
    ("offset", "value"), [(12, np.nan), (16, np.inf), (12, 2.0), (20, np.nan), (24, -12.5), (24, 1e9), (20, -81)]
)
def test_packed_ranges_that_are_none_are_refused(offset: int, value: float) -> None:
    data = bytearray(CODECS["packed"].encode(frame(2)).tobytes())
    data[offset : offset + 4] = np.float32(value).tobytes()
    with pytest.raises(BadBytes, match=r"rgb_min|ln_scale_min"):
        CODECS["packed"].decode(data)


@every_codec
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", FIELDS)
def test_a_number_that_is_not_finite_is_refused_by_row_and_field(kind: str, field: str, value: float) -> None:
    codec, _ = KINDS[kind]
    g = with_value(frame(1000), field, 613, value)
    if kind == "points" and field not in ("means", "sh"):
        assert codec.encode(g).tobytes() == codec.encode(frame(1000)).tobytes()
        return
    with pytest.raises(BadGaussians, match=f"Gaussian 613, {field}: expected finite numbers, got") as caught:
        codec.encode(g)
    assert (caught.value.row, caught.value.field) == (613, field)


@pytest.mark.parametrize("kind", ["ply", "packed"])
@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [("scales", [1, -1e-30, 1], "0 or more"), ("quats", [0, 0, 0, 0], "unit length"), ("quats", [1e30, 0, 0, 0], "unit length")],
)
def test_gaussians_no_file_can_hold_are_refused(kind: str, field: str, value: list[float], expected: str) -> None:
    g = with_value(with_value(frame(5), field, 4, value), field, 3, value)
    with pytest.raises(BadGaussians, match=rf"Gaussian 3, {field}: .*{expected}"):
        KINDS[kind][0].encode(g)


@pytest.mark.parametrize("kind", ["ply", "packed"])
def test_the_ends_of_the_ranges_come_back_exactly(kind: str) -> None:
    codec, _ = KINDS[kind]
    g = frame(4)
    g = with_value(with_value(with_value(g, "opacities", 0, 0.0), "opacities", 1, 1.0), "opacities", 2, -0.5)
    g = with_value(with_value(with_value(g, "opacities", 3, 1.5), "scales", 0, [0, 0.5, 1]), "scales", 1, [-0.0, 1, 1])
    decoded = codec.decode(codec.encode(g))
    assert decoded.opacities.tolist() == [0, 1, 0, 1]
    assert decoded.scales[0, 0] == 0 and decoded.scales[1, 0] == 0
    assert (decoded.scales[2:] > 0).all()


def test_packed_clamps_what_is_beyond_its_ranges() -> None:
    g = with_value(with_value(frame(2), "means", 0, [1e6, -1e30, 65530]), "scales", 0, [1e-20, 1e20, 1])
    decoded = CODECS["packed"].decode(CODECS["packed"].encode(with_value(g, "sh", 0, [[-50, 50, 0]])))
    assert decoded.means[0].tolist() == [65504, -65504, 65504]
    np.testing.assert_allclose(np.log(decoded.scales[0, :2]), [-12, 9], rtol=1e-6)
    np.testing.assert_allclose(decoded.sh[0, 0], [-1.7724539, 1.7724539, 0.00695], atol=1e-4)


@every_codec
def test_the_flags_and_the_order_of_the_arrays_do_not_matter(kind: str) -> None:
    codec, _ = KINDS[kind]
    g = frame(40, degree=1)

    def read_only(array: NDArray[np.float32]) -> NDArray[np.float32]:
        copy = array.copy()
        copy.flags.writeable = False
        return copy

    ways: list[Callable[[NDArray[np.float32]], NDArray[np.float32]]] = [
        read_only,
        np.asfortranarray,
        lambda a: np.repeat(a, 2, axis=0)[::2],
        lambda a: np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(np.float32).reshape(a.shape),
    ]
    for way in ways:
        changed = Gaussians(*(way(getattr(g, field)) for field in FIELDS))
        assert codec.encode(changed).tobytes() == codec.encode(g).tobytes()


@every_codec
def test_any_kind_of_buffer_decodes_alike(kind: str) -> None:
    codec, _ = KINDS[kind]
    data = codec.encode(frame(20, degree=1)).tobytes()
    expected = codec.decode(data)
    unaligned = memoryview(b"\0" + data)[1:]
    for buffer in (bytearray(data), memoryview(data), unaligned, np.frombuffer(data, np.uint8)):
        decoded = codec.decode(buffer)
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(decoded, field), getattr(expected, field))


@every_codec
def test_encoded_arrays_are_fresh_contiguous_bytes(kind: str) -> None:
    codec, _ = KINDS[kind]
    first, second = codec.encode(frame(3)), codec.encode(frame(3))
    assert first.dtype == np.uint8 and first.ndim == 1 and first.flags.c_contiguous
    assert not np.shares_memory(first, second)


def test_after_warming_up_nothing_is_compiled_any_more() -> None:
    from deployments.splats.codecs import packed_words, ply, points

    kernels = [packed_words.encode_words, packed_words.decode_words, ply._encode, ply._decode, points._encode, points._decode]
    for codec, _ in KINDS.values():
        for degree in (0, 1, 2):
            g = frame(5, degree=degree)
            read_only = Gaussians(
                *(np.frombuffer(getattr(g, f).tobytes(), np.float32).reshape(getattr(g, f).shape) for f in FIELDS)
            )
            codec.decode(memoryview(b"\0" + codec.encode(read_only).tobytes())[1:])
    assert [len(kernel.signatures) for kernel in kernels] == [1] * len(kernels)  # type: ignore[attr-defined]


def test_the_table_of_codecs_is_keyed_by_name() -> None:
    assert set(CODECS) == {"packed", "points", "ply"}
    for name, codec in CODECS.items():
        assert codec.name == name and codec.suffix.startswith(".") and "/" in codec.media_type


def test_an_error_survives_the_way_between_processes() -> None:
    import pickle

    for error in (BadGaussians("means", 3, "finite numbers", "nan"), Truncated("ply", 7, "more", "7")):
        again = pickle.loads(pickle.dumps(error))
        assert isinstance(again, CodecError) and isinstance(again, ValueError)
        assert str(again) == str(error) and type(again) is type(error)


def floats(low: float, high: float, *shape: int) -> st.SearchStrategy[NDArray[np.float32]]:
    return hnp.arrays(np.float32, shape, elements=st.floats(np.float32(low), np.float32(high), width=32))


@st.composite
def any_gaussians(draw: st.DrawFn) -> Gaussians:
    n, k = draw(st.integers(0, 6)), draw(st.sampled_from([1, 4, 9]))
    quats = draw(floats(-1, 1, n, 4))
    short = np.linalg.norm(quats, axis=1) < 1e-3
    quats[short] = [1, 0, 0, 0]
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    scales = np.exp(draw(floats(-8.9, 1.9, n, 3)))
    return Gaussians(draw(floats(-6e4, 6e4, n, 3)), scales, quats, draw(floats(0, 1, n)), draw(floats(-30, 30, n, k, 3)))


@every_codec
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(g=any_gaussians())
def test_round_trips_stay_within_the_stated_tolerance(kind: str, g: Gaussians) -> None:
    codec, tolerance = KINDS[kind]
    assert_close(codec.decode(codec.encode(g)), g, tolerance)


@every_codec
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_damaged_bytes_give_an_error_or_gaussians_never_garbage(kind: str, data: st.DataObject) -> None:
    codec, _ = KINDS[kind]
    buffer = bytearray(codec.encode(frame(3, degree=1)).tobytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(buffer) - 1))
        buffer[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=8))
    try:
        decoded = codec.decode(buffer)
    except CodecError as error:
        assert "expected" in str(error) and "got" in str(error)
        return
    for field in FIELDS:
        assert np.isfinite(getattr(decoded, field)).all()
    assert (decoded.scales >= 0).all() and (decoded.opacities >= 0).all() and (decoded.opacities <= 1).all()
    np.testing.assert_allclose(np.linalg.norm(decoded.quats, axis=1), 1, atol=1e-5)


@settings(deadline=None)
@given(data=st.binary(max_size=300))
def test_bytes_of_no_codec_are_refused_by_all(data: bytes) -> None:
    for codec in CODECS.values():
        with pytest.raises(BadBytes):
            codec.decode(data)


def test_codecs_keep_every_field_the_contract_has() -> None:
    assert {f.name for f in fields(Gaussians)} == {*FIELDS, "grid"}
    assert harmonics().sh_degree == 2
