"""``packed`` rounds every number to its nearest step, at any range, and favours no side."""

from dataclasses import replace

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deployments.splats import activations
from deployments.splats.codecs import CODECS, BadBytes, Codec
from deployments.splats.codecs.packed import HEADER, SPARK_LN_SCALE_RANGE, PackedCodec, far_offset
from deployments.splats.gaussians import Gaussians
from tests.unit.test_codecs import frame
from tests.vectors.cases import edges, golden
from tests.vectors.reference import PACKED_NUMBERS, exact_packed_numbers, packed_numbers

F32 = np.float32
N = 200_000
MOVED = 0.012
"""Steps by which the encoder's arithmetic may move a number before it is rounded; the angle's polynomial has 0.011."""
BIAS = 0.005
"""Steps. Rounding to the nearest errs evenly over ±½ step, so the mean of N errors has a standard error of 1/√(12·N) = 0.00065;
five of those, and 0.0018 for the arithmetic, whose own error has either sign. Cutting off instead of rounding would show as 0.5."""


def within_the_ranges(count: int) -> Gaussians:
    """Random Gaussians none of whose numbers is clamped."""
    rng = np.random.default_rng(11)
    arrays = (
        rng.normal(0, 3, (count, 3)),
        np.exp(rng.uniform(*SPARK_LN_SCALE_RANGE, (count, 3))),
        rng.normal(size=(count, 4)),
        rng.uniform(0, 1, count),
        activations.rgb_to_dc(rng.uniform(0, 1, (count, 1, 3)).astype(F32)),
    )
    return Gaussians(*(array.astype(F32) for array in arrays))


def test_every_number_is_rounded_to_the_nearest_step_and_the_mean_error_is_none() -> None:
    g = within_the_ranges(N)
    off = packed_numbers(CODECS["packed"].encode(g)) - exact_packed_numbers(g, SPARK_LN_SCALE_RANGE)
    for name, errors in zip(PACKED_NUMBERS, off.T, strict=True):
        assert np.abs(errors).max() <= 0.5 + MOVED, name
        assert abs(errors.mean()) <= BIAS, name


def test_the_golden_frame_is_within_one_step_of_what_spark_made_of_it() -> None:
    ours, spark = CODECS["packed"].encode(edges()), golden("edges.packed")
    assert ours[: HEADER.size].tobytes() == spark[: HEADER.size].tobytes()
    assert np.abs(packed_numbers(ours) - packed_numbers(spark)).max() <= 1


@settings(deadline=None)
@given(st.floats(-80, 79, width=32), st.floats(1, 160, width=32))
def test_every_scale_byte_is_the_nearest_at_any_range(low: float, width: float) -> None:
    high = min(low + width, 80.0)
    if high < low + 1:
        return
    codec = PackedCodec(ln_scale_range=(low, high))
    wanted = np.linspace(low, high, 255)
    g = frame(255)
    scales = np.exp(np.stack([wanted, wanted + 0.49 * (high - low) / 254, wanted - 0.49 * (high - low) / 254], axis=1))
    g = type(g)(g.means, scales.astype(F32), g.quats, g.opacities, g.sh)
    data = codec.encode(g)[32:].reshape(-1, 16)
    assert (data[:, 12:15] == np.arange(1, 256)[:, None]).all()


@pytest.mark.parametrize("range_", [(0.0, 0.5), (2.0, 1.0), (float("nan"), 1.0), (-81.0, 0.0), (0.0, 81.0)])
def test_scale_ranges_that_are_none_are_refused(range_: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="ln_scale_range: expected"):
        PackedCodec(ln_scale_range=range_)


@pytest.mark.parametrize("range_", [(0.0, 0.0), (1.0, 0.0), (0.0, float("inf"))])
def test_colour_ranges_that_are_none_are_refused(range_: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="rgb_range: expected"):
        PackedCodec(rgb_range=range_)


def test_a_wider_colour_range_keeps_brighter_colours() -> None:
    codec = PackedCodec(rgb_range=(-1.0, 2.0))
    g = frame(500)
    rgb = np.clip(activations.dc_to_rgb(g.sh), -1, 2)
    assert np.abs(activations.dc_to_rgb(codec.decode(codec.encode(g)).sh) - rgb).max() <= 1.5 / 255 + 1e-6


def wall(z: float, tilt_deg: float) -> tuple[Gaussians, NDArray[np.float64]]:
    """Gaussians on a tilted wall of 10 by 7 m, and the wall's normal."""
    g, tilt = frame(20_000), np.radians(tilt_deg)
    rng = np.random.default_rng(4)
    along, up = rng.uniform(-5, 5, len(g)), rng.uniform(-3.5, 3.5, len(g))
    means = np.stack([along * np.cos(tilt), up, z + along * np.sin(tilt)], axis=1).astype(F32)
    return replace(g, means=means), np.array([-np.sin(tilt), 0, np.cos(tilt)])


@pytest.mark.parametrize("tilt_deg", [10, 30, 60])
def test_a_far_wall_stays_a_plane(tilt_deg: float) -> None:
    g, normal = wall(40, tilt_deg)

    def worst_mm(codec: Codec) -> float:
        means = codec.decode(codec.encode(g)).means.astype(float)
        return float(np.abs((means - [0, 0, 40]) @ normal).max() * 1e3)

    assert worst_mm(CODECS["ply"]) < 0.01
    assert worst_mm(CODECS["packed"]) < 2
    halves = g.means.astype(np.float16).astype(float)
    assert np.abs((halves - [0, 0, 40]) @ normal).max() * 1e3 > 8, "what halves alone would make of it"


def test_a_scene_with_something_near_is_stored_as_ever() -> None:
    g, _ = wall(40, 30)
    assert far_offset(g.means) == 40
    for z in (0.5, -3.0, np.nan):
        near = g.means.copy()
        near[777, 2] = z
        assert far_offset(near) == 0
    assert far_offset(wall(5, 30)[0].means) == 0 and far_offset(g.means[:0]) == 0
    assert CODECS["packed"].encode(edges())[28:32].tobytes() == bytes(4)


@settings(deadline=None)
@given(hnp.arrays(np.float32, st.integers(1, 200), elements=st.floats(-10, 60000, width=32)))
def test_no_splat_is_rounded_more_coarsely_than_a_half_would(depths: NDArray[np.float32]) -> None:
    g = frame(len(depths))
    means = g.means.copy()
    means[:, 2] = depths
    offset = far_offset(means)
    if not offset:
        return
    decoded = CODECS["packed"].decode(CODECS["packed"].encode(replace(g, means=means)))
    # Half a step of a half; and a float32's own, of taking off and adding.
    assert (np.abs(decoded.means[:, 2].astype(float) - depths) <= np.maximum(depths * (2**-11 + 2**-22), 2**-25)).all()


def test_an_offset_that_no_encoder_writes_is_refused() -> None:
    data = CODECS["packed"].encode(edges())
    for value in (1.0, -40.0, np.nan, np.inf, 2.0**21):
        data[28:32] = np.frombuffer(F32(value).tobytes(), np.uint8)
        with pytest.raises(BadBytes, match="0, or an offset of 8 to 1048576"):
            CODECS["packed"].decode(data)
