"""The ``depth`` codec: every pixel within half a step, holes exact, and no bytes that bring anything but its own errors."""

import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deployments.splats.camera import Camera
from deployments.splats.codecs import BadBytes, Truncated, depth, depth_map
from deployments.splats.codecs.depth import CodedDepth, Jpeg, decode_depth, encode_depth, lift_decoded
from deployments.splats.codecs.depth_heads import HEADER, LAYER, MAX_LAYERS, VIEW
from deployments.splats.codecs.packed import PackedCodec
from deployments.splats.codecs.view_heads import MAX_PIXELS
from deployments.splats.layer_lifting import lift_and_prune
from deployments.splats.layers import DepthLayer, DepthView, LayeredDepth
from deployments.splats.lifting import resolve_edges
from tests.mutations import mutated
from tests.vectors.cases import FINER_LN_SCALES, FOLDER, LAYERED, golden, layered_frame, layered_pictures

Plane = NDArray[np.int32]


def ramp(height: int, width: int) -> Plane:
    return (1000 + 7 * np.arange(width) + 5 * np.arange(height)[:, None]).astype(np.int32)


def jumps(height: int, width: int, rng: np.random.Generator) -> Plane:
    return np.where((ramp(height, width) // 23) % 3 == 0, 40_000, ramp(height, width)).astype(np.int32)


SHAPES: dict[str, Callable[[int, int, np.random.Generator], Plane]] = {
    "constant": lambda h, w, _: np.full((h, w), 5000, np.int32),
    "ramp": lambda h, w, _: ramp(h, w),
    "jumps": jumps,
    "noise": lambda h, w, rng: rng.integers(1, 60_000, (h, w)).astype(np.int32),
    "quiet noise": lambda h, w, rng: (ramp(h, w) + rng.integers(-20, 20, (h, w))).astype(np.int32),
    "extremes": lambda h, w, rng: rng.choice([1, depth_map.MAX_UNITS], (h, w)).astype(np.int32),
}


@st.composite
def planes(draw: st.DrawFn) -> Plane:
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    plane = SHAPES[draw(st.sampled_from(sorted(SHAPES)))](height, width, rng)
    share = draw(st.sampled_from([0.0, 0.02, 0.5, 1.0]))
    holes = rng.random((height, width)) < share
    return np.where(holes, 0, plane).astype(np.int32)


def decode(data: NDArray[np.uint8], shape: tuple[int, ...], kind: depth_map.PlaneKind) -> Plane:
    return depth_map.decode_plane("depth", data, 0, len(data), shape[1], shape[0], kind)


@settings(deadline=None, max_examples=150)
@given(planes())
def test_a_depth_plane_comes_back_within_seven_units_and_its_holes_exactly(plane: Plane) -> None:
    data, foreseen = depth_map.encode_plane(plane, depth_map.DEPTH)
    decoded = decode(data, plane.shape, depth_map.DEPTH)
    np.testing.assert_array_equal(decoded, foreseen)
    np.testing.assert_array_equal(decoded == 0, plane == 0)
    assert np.abs(decoded - plane).max() <= depth_map.UNITS_PER_STEP // 2


@settings(deadline=None, max_examples=60)
@given(planes(), st.sampled_from([1, 2, 17, 255]))
def test_an_opacity_plane_comes_back_exactly(plane: Plane, highest: int) -> None:
    plane = plane % (highest + 1)
    kind = depth_map.levels(highest)
    np.testing.assert_array_equal(decode(depth_map.encode_plane(plane, kind)[0], plane.shape, kind), plane)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 300), (300, 1), (15, 17), (16, 16), (33, 65)])
@pytest.mark.parametrize("name", SHAPES)
def test_planes_of_any_shape_come_back(name: str, shape: tuple[int, int]) -> None:
    plane = SHAPES[name](*shape, np.random.default_rng(3))
    decoded = decode(depth_map.encode_plane(plane, depth_map.DEPTH)[0], shape, depth_map.DEPTH)
    assert np.abs(decoded - plane).max() <= depth_map.UNITS_PER_STEP // 2


def test_a_plane_too_large_for_the_first_guess_of_its_bytes_is_coded_all_the_same() -> None:
    plane = np.random.default_rng(0).integers(1, depth_map.MAX_UNITS, (200, 200)).astype(np.int32)
    data, _ = depth_map.encode_plane(plane, depth_map.DEPTH)
    assert len(data) > plane.size
    assert np.abs(decode(data, plane.shape, depth_map.DEPTH) - plane).max() <= 7


def test_flat_planes_take_next_to_nothing() -> None:
    assert len(depth_map.encode_plane(np.full((288, 384), 17, np.int32), depth_map.levels(17))[0]) < 60
    assert len(depth_map.encode_plane(np.zeros((288, 384), np.int32), depth_map.DEPTH)[0]) < 60


def view(inverse: NDArray[np.float32], **layer: NDArray[np.uint8]) -> DepthView:
    height, width = inverse.shape
    camera = Camera(width, height, float(width), float(width), width / 2, height / 2)
    picture = np.random.default_rng(1).integers(0, 255, (height, width, 3)).astype(np.uint8)
    return DepthView(camera, (DepthLayer(inverse, **layer),), picture)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1 / 512, 1 / 128, 1 / 64]), st.integers(0, 2**32 - 1))
def test_inverse_depth_is_within_half_a_step_of_the_median(width: int, height: int, step: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    inverse = np.exp(rng.normal(-1, 1.5, (height, width))).astype(np.float32)
    inverse[rng.random((height, width)) < 0.1] = 0
    inverse = resolve_edges(inverse, view(inverse).camera)
    whole = view(inverse)
    whole = replace(whole, layers=(replace(whole.layers[0], crisp=True),))
    coded = decode_depth(encode_depth(LayeredDepth((whole,)), step=step)).views[0].layers[0]
    known = inverse[inverse > 0]
    # The largest value has to fit into MAX_UNITS, whatever the step.
    coarsest = depth_map.UNITS_PER_STEP * float(inverse.max()) / (depth_map.MAX_UNITS - 1)
    half = max(step * (float(np.median(known)) if known.size else 1.0), coarsest) / 2
    np.testing.assert_array_equal(coded.inverse_depth == 0, inverse == 0)
    # What float32 loses of the largest value comes on top.
    assert np.abs(coded.inverse_depth.astype(float) - inverse).max() <= half * 1.0001 + inverse.max() * 2**-23


def test_what_lifting_takes_for_no_surface_comes_back_as_none() -> None:
    inverse = np.array([[1, 0, -1, np.nan, np.inf, 1e7, 1e-7, 2]], np.float32)
    coded = decode_depth(encode_depth(LayeredDepth((view(inverse),)), step=1 / 256)).views[0].layers[0].inverse_depth
    assert (coded > 0).tolist() == [[True, False, False, False, False, False, False, True]]


def test_an_edge_that_a_network_blurred_is_a_step_when_it_comes() -> None:
    inverse = np.full((30, 90), 0.2, np.float32)
    inverse[:, :40], inverse[:, 40:43] = 1, (0.8, 0.5, 0.3)
    frame = LayeredDepth((view(inverse),))
    coded = decode_depth(encode_depth(frame, step=1 / 512)).views[0].layers[0].inverse_depth
    assert (np.isclose(coded, 1, atol=1e-3) | np.isclose(coded, 0.2, atol=1e-3)).all()
    np.testing.assert_allclose(coded, resolve_edges(inverse, frame.views[0].camera), atol=1e-3)


def test_a_fingertip_on_the_lens_makes_the_step_coarser_and_nothing_worse() -> None:
    inverse = np.full((20, 20), 0.5, np.float32)
    inverse[3, 4] = 5000
    coded = decode_depth(encode_depth(LayeredDepth((view(inverse),)), step=1 / 512)).views[0].layers[0].inverse_depth
    assert abs(coded[3, 4] / 5000 - 1) < 1e-5 and np.abs(coded - inverse).max() < 0.02


def test_everything_in_a_frame_comes_back() -> None:
    frame = layered_frame()
    jpegs = [Jpeg(b"\xff\xd8 first \xff\xd9", 6), Jpeg(b"\xff\xd8 second \xff\xd9")]
    data = encode_depth(
        frame, step=1 / 256, kind="points", colour=jpegs, border=0.05, min_opacity=0.25, encode_jpeg=lambda rgb: b"\xff\xd8 wall"
    )
    coded = decode_depth(data)
    assert (coded.kind, coded.scale, coded.farthest) == ("points", 1.25, 0.0)
    assert (coded.border, coded.min_opacity) == (float(np.float32(0.05)), 0.25)
    assert [v.picture for v in coded.views] == jpegs
    assert coded.views[0].pose is None
    np.testing.assert_array_equal(coded.views[1].pose, frame.views[1].pose)
    for ours, theirs in zip(coded.views, frame.views, strict=True):
        np.testing.assert_allclose(
            [getattr(ours.camera, f) for f in ("width", "height", "fx", "fy", "cx", "cy")],
            [getattr(theirs.camera, f) for f in ("width", "height", "fx", "fy", "cx", "cy")],
            rtol=1e-7,
        )
        for a, b in zip(ours.layers, theirs.layers, strict=True):
            np.testing.assert_array_equal(a.inverse_depth == 0, b.inverse_depth == 0)
            assert a.colors == (None if b.colors is None else Jpeg(b"\xff\xd8 wall"))
            if b.opacity is None:
                assert a.opacity is None
            else:
                assert a.opacity is not None
                off = np.abs(a.opacity.astype(int) - b.opacity)
                assert off.max() <= 8 and (off[(b.opacity == 0) | (b.opacity == 255)] == 0).all()


def test_without_its_pictures_a_frame_is_the_same_for_whoever_has_them() -> None:
    layered = layered_frame()
    whole = encode_depth(layered, step=1 / 512, colour=[Jpeg(b"first", 6), *(Jpeg(b"other") for _ in layered.views[1:])])
    bare = encode_depth(layered, step=1 / 512)
    np.testing.assert_array_equal(depth.without_pictures(whole), bare)
    np.testing.assert_array_equal(depth.without_pictures(bare), bare)


def test_colours_of_a_layer_travel_as_they_are_without_an_encoder() -> None:
    frame = layered_frame()
    coded = decode_depth(encode_depth(frame, step=1 / 256))
    np.testing.assert_array_equal(coded.views[0].layers[1].colors, frame.views[0].layers[1].colors)


def test_the_same_frame_gives_the_same_fresh_bytes() -> None:
    first, second = (encode_depth(layered_frame(), step=1 / 256) for _ in range(2))
    assert first.tobytes() == second.tobytes() and not np.shares_memory(first, second)
    assert first.dtype == np.uint8 and first.ndim == 1 and first.flags.c_contiguous


@pytest.mark.parametrize("kind", ["lifted", "points"])
def test_lifting_what_came_is_lifting_the_layers_that_came(kind) -> None:
    frame = layered_frame()
    coded = decode_depth(encode_depth(frame, step=1 / 256, kind=kind, border=0.03, min_opacity=0.1))
    ours, counts = lift_decoded(coded, layered_pictures(frame))
    layers = [
        replace(
            v,
            layers=tuple(
                replace(a, inverse_depth=b.inverse_depth, opacity=b.opacity, crisp=True)
                for a, b in zip(v.layers, c.layers, strict=True)
            ),
        )
        for v, c in zip(frame.views, coded.views, strict=True)
    ]
    theirs, expected = lift_and_prune(LayeredDepth(tuple(layers), 1.25), kind, border=float(np.float32(0.03)), min_opacity=0.1)
    assert counts == expected and len(ours) > 0
    np.testing.assert_allclose(ours.means, theirs.means, rtol=1e-6)
    np.testing.assert_allclose(ours.scales, theirs.scales, rtol=1e-6)


def test_the_depth_percentile_is_decided_by_the_server() -> None:
    inverse = np.linspace(0.2, 1, 40 * 50, dtype=np.float32).reshape(40, 50)
    whole = view(inverse)
    coded = decode_depth(encode_depth(LayeredDepth((whole,)), step=1 / 1024, depth_percentile=80))
    ours, counts = lift_decoded(coded, [whole.picture])
    assert abs(len(ours) - 0.8 * 2000) < 10 and counts["depth"] == 2000 - len(ours)
    assert ours.means[:, 2].max() <= coded.max_depth


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"step": 1.0}, "step: expected"),
        ({"step": float("nan")}, "step: expected"),
        ({"border": 0.5}, "border: expected"),
        ({"min_opacity": 2.0}, "min_opacity: expected"),
        ({"depth_percentile": 0.0}, "depth_percentile: expected"),
        ({"colour": [Jpeg(b"x")]}, "colour: expected 2 JPEGs, got 1"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_depth(layered_frame(), **{"step": 1 / 256, **arguments})


def test_frames_that_no_decoder_takes_are_not_written() -> None:
    one = view(np.ones((2, 2), np.float32))
    pose = np.eye(3, 4, dtype=np.float32)
    with pytest.raises(ValueError, match="8 layers, got 9"):
        encode_depth(LayeredDepth((one, *(replace(one, pose=pose) for _ in range(MAX_LAYERS)))), step=1 / 256)
    with pytest.raises(ValueError, match="up to 1048576 pixels, got 1025×1024"):
        encode_depth(LayeredDepth((view(np.ones((1024, 1025), np.float32)),)), step=1 / 256)


@pytest.mark.parametrize("name", LAYERED)
def test_golden_files_are_what_the_encoder_writes(name: str) -> None:
    frame, arguments = LAYERED[name]
    assert encode_depth(frame, **arguments).tobytes() == golden(name).tobytes()


@pytest.mark.parametrize("name", LAYERED)
def test_golden_files_lift_to_the_golden_words(name: str) -> None:
    frame, _ = LAYERED[name]
    lifted, counts = lift_decoded(decode_depth(golden(name)), layered_pictures(frame))
    words = PackedCodec(ln_scale_range=FINER_LN_SCALES).encode(lifted)
    assert words.tobytes() == golden(name.replace(".depth", ".lifted.packed")).tobytes()
    assert counts == json.loads((FOLDER / "layered.json").read_text())[name]["pruned"]


def small() -> NDArray[np.uint8]:
    return encode_depth(layered_frame(), step=1 / 64, colour=[Jpeg(b"first"), Jpeg(b"second")], border=0.03)


def with_checksum(data: bytes | bytearray) -> bytes:
    """Whoever lies about the rest can state the checksum of the lie."""
    return bytes(data[:8]) + struct.pack("<I", zlib.crc32(bytes(data[12:]))) + bytes(data[12:])


def test_every_truncation_is_refused_as_one() -> None:
    data = small().tobytes()
    for end in range(len(data)):
        with pytest.raises(Truncated) as caught:
            decode_depth(data[:end])
        assert caught.value.offset == end


def test_a_byte_too_many_is_refused() -> None:
    data = small().tobytes()
    with pytest.raises(BadBytes, match="1 bytes more"):
        decode_depth(data + b"\0")


def test_every_bit_matters() -> None:
    data = bytearray(small().tobytes())
    for at in range(len(data)):
        data[at] ^= 1 << at % 8
        with pytest.raises(BadBytes):
            decode_depth(data)
        data[at] ^= 1 << at % 8


SECOND_VIEW = HEADER.size + VIEW.size
LAYERS_AT = HEADER.size + 2 * VIEW.size
NAN, INF, HUGE = float("nan"), float("inf"), 2**32 - 1


@pytest.mark.parametrize(
    ("at", "form", "lies"),
    [
        (4, "B", (0, 2, 255)),
        (5, "B", (2, 255)),
        (6, "B", (0, 1, 3, 9)),
        (7, "B", (0, 1, 2, 4, 9)),
        (12, "f", (0, -1, NAN, INF)),
        (16, "f", (-0.1, 0.46, NAN)),
        (20, "f", (-0.1, 1.1, NAN)),
        (24, "f", (-1, NAN, INF)),
        (HEADER.size, "H", (0, 1, 25, 65535)),
        (HEADER.size + 2, "H", (0, 1, 65535)),
        *((HEADER.size + offset, "f", (0, -1, NAN, INF)) for offset in (4, 8)),
        *((HEADER.size + offset, "f", (NAN, INF)) for offset in (12, 16)),
        (HEADER.size + 20, "f", (0.5, NAN)),
        (HEADER.size + 32, "f", (1.0,)),
        *((SECOND_VIEW + offset, "f", (5.0, NAN, INF)) for offset in (20, 24, 28, 36, 40, 44, 52, 56, 60)),
        *((SECOND_VIEW + offset, "f", (NAN, INF)) for offset in (32, 48, 64)),
        *((HEADER.size + 68, "B", (0, 1, 3, 9)), (HEADER.size + 69, "B", (0, 2)), (HEADER.size + 70, "B", (0, 9))),
        *((HEADER.size + 71, "B", (1,)), (HEADER.size + 72, "I", (0, 4, 6, HUGE))),
        *((LAYERS_AT, "H", (0, 1, 65535)), (LAYERS_AT + 4, "f", (0, -1, NAN, INF))),
        (LAYERS_AT + 8, "I", (0, 1, 4, 5, 100, HUGE)),
        *((LAYERS_AT + 12, "B", (0,)), (LAYERS_AT + 13, "B", (1, 2, 3)), (LAYERS_AT + 14, "H", (1,))),
        (LAYERS_AT + 16, "I", (0, 1, 5, HUGE)),
        (LAYERS_AT + 20, "I", (1, HUGE)),
        (LAYERS_AT + LAYER.size + 20, "I", (0, 1, HUGE)),
        (LAYERS_AT + LAYER.size, "H", (1, 11, 13, 65535)),
    ],
)
def test_a_header_that_lies_is_refused_even_with_a_good_checksum(at: int, form: str, lies: tuple) -> None:
    for lie in lies:
        data = bytearray(small().tobytes())
        struct.pack_into(f"<{form}", data, at, lie)
        with pytest.raises(BadBytes):
            decode_depth(with_checksum(data))


def test_two_lengths_that_lie_together_are_refused() -> None:
    data = bytearray(small().tobytes())
    for difference in range(-20, 21):
        changed = bytearray(data)
        depth, opacity = (struct.unpack_from("<I", data, LAYERS_AT + offset)[0] for offset in (8, 16))
        struct.pack_into("<I", changed, LAYERS_AT + 8, depth + difference)
        struct.pack_into("<I", changed, LAYERS_AT + 16, opacity - difference)
        if difference:
            with pytest.raises(BadBytes):
                decode_depth(with_checksum(changed))


def test_the_largest_claim_within_the_bounds_is_refused_without_its_bytes() -> None:
    """Sizes are added up before anything is taken: 8 layers of 2²⁰ pixels are announced, and 4 GB of sections."""
    head = HEADER.pack(b"SPLD", 1, 0, 1, 8, 0, 1.0, 0.0, 0.0, 0.0)
    side = int(MAX_PIXELS**0.5)
    head += VIEW.pack(side, side, 1.0, 1.0, 0.0, 0.0, *np.eye(3, 4).ravel(), 8, 0, 1, 0, 0)
    head += LAYER.pack(side, side, 1.0, HUGE, 0, 0, 0, 0, 0) * 8
    with pytest.raises(Truncated):
        decode_depth(with_checksum(head))


def assert_sound(coded: CodedDepth) -> None:
    for each in coded.views:
        for layer in each.layers:
            assert np.isfinite(layer.inverse_depth).all() and (layer.inverse_depth >= 0).all()


def test_ten_thousand_mutations_bring_a_refusal_and_with_a_stated_checksum_a_refusal_or_a_sound_frame() -> None:
    rng = np.random.default_rng(7)
    original = small().tobytes()
    sound = 0
    for _ in range(10_000):
        data = mutated(original, rng)
        if bytes(data) != original:
            with pytest.raises(BadBytes):
                decode_depth(data)
        try:
            assert_sound(decode_depth(with_checksum(data)))
            sound += 1
        except BadBytes as error:
            assert "expected" in str(error) and "got" in str(error)
    assert sound < 3_000, "a plane that was changed seldom ends where its bytes do"


@settings(deadline=None, max_examples=100)
@given(st.binary(min_size=5, max_size=200), st.integers(1, 60), st.integers(1, 60))
def test_any_bytes_as_a_plane_are_refused_or_within_its_bounds(data: bytes, width: int, height: int) -> None:
    plane = np.frombuffer(data, np.uint8).copy()
    plane[0] &= 1
    try:
        decoded = decode(plane, (height, width), depth_map.DEPTH)
    except BadBytes:
        return
    assert decoded.min() >= 0 and decoded.max() <= depth_map.MAX_UNITS


def test_after_warming_up_nothing_is_compiled_any_more() -> None:
    depth.warm_up()
    kernels = [depth_map._quantise, depth_map._encode, depth_map._decode]
    frame = layered_frame()
    for step in (1 / 64, 1 / 512):
        data = encode_depth(frame, step=step, depth_percentile=90)
        lift_decoded(decode_depth(memoryview(b"\0" + data.tobytes())[1:]), layered_pictures(frame))
    assert [len(kernel.signatures) for kernel in kernels] == [1] * len(kernels)  # type: ignore[attr-defined]
