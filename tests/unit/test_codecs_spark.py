"""``packed`` against SparkJS itself, run in Node: within one step, also where rounding is hardest."""

import json
import shutil

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.splats.codecs import CODECS
from deployments.splats.codecs.packed import HEADER, SPARK_LN_SCALE_RANGE
from deployments.splats.gaussians import Gaussians
from tests.vectors.make import SPARK, spark_words
from tests.vectors.reference import PACKED_NUMBERS, packed_numbers

F32 = np.float32
needs_spark = pytest.mark.skipif(
    not (SPARK.exists() and shutil.which("node")), reason="needs Node and the viewer's dependencies (make web)"
)
N = 20_000


def with_arrays(rng: np.random.Generator, **arrays: NDArray[np.floating]) -> Gaussians:
    quats = rng.normal(size=(N, 4))
    usual = {
        "means": rng.normal(0, 3, (N, 3)),
        "scales": np.exp(rng.normal(-5, 2, (N, 3))),
        "quats": quats / np.linalg.norm(quats, axis=1, keepdims=True),
        "opacities": rng.uniform(0, 1, N),
        "sh": rng.normal(0, 1, (N, 1, 3)),
    }
    return Gaussians(**{name: np.asarray(array, F32) for name, array in (usual | arrays).items()})


def neighbours(rng: np.random.Generator, values: NDArray[np.floating], count: int) -> NDArray[np.float32]:
    """Up to 4 float32 numbers away from some of ``values``, all of them positive and not tiny."""
    return np.int32(rng.choice(values.astype(F32), count).view(np.int32) + rng.integers(-4, 5, count)).view(F32)


def usual(rng: np.random.Generator) -> Gaussians:
    return with_arrays(rng)


def scales_and_opacities_beside_every_step(rng: np.random.Generator) -> Gaussians:
    low, high = SPARK_LN_SCALE_RANGE
    scales = neighbours(rng, np.exp(low + (np.arange(254) + 0.5) / 254 * (high - low)), 3 * N)
    opacities = neighbours(rng, (np.arange(255) + 0.5) / 255, N)
    return with_arrays(rng, scales=scales.reshape(N, 3), opacities=opacities)


def scales_and_opacities_of_every_size(rng: np.random.Generator) -> Gaussians:
    scales = np.exp(rng.uniform(-100, 88, (N, 3)))
    scales[::5, 0] = 0
    tiny = 10 ** rng.uniform(-9, 0, N)
    return with_arrays(rng, scales=scales, opacities=np.where(rng.random(N) < 0.5, tiny, 1 - tiny))


def axes_on_the_edge_between_two_bytes(rng: np.random.Generator) -> Gaussians:
    p = np.stack([(rng.integers(0, 255, N) + 0.5) / 127.5 - 1, rng.uniform(-1, 1, N)], axis=1)
    p = np.where(rng.random((N, 1)) < 0.5, p, p[:, ::-1])
    z = 1 - np.abs(p).sum(axis=1, keepdims=True)
    p = np.where(z < 0, (1 - np.abs(p[:, ::-1])) * np.where(p >= 0, 1, -1), p)
    axis = np.concatenate([p, z], axis=1)
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    half = rng.uniform(0, np.pi / 2, (N, 1))
    quats = np.concatenate([np.cos(half), axis * np.sin(half)], axis=1)
    return with_arrays(rng, quats=quats * np.exp(rng.normal(0, 1, (N, 1))) * rng.choice([-1, 1], (N, 1)))


def angles_beside_every_step(rng: np.random.Generator) -> Gaussians:
    w = neighbours(rng, np.cos((np.arange(255) + 0.5) / 255 * np.pi / 2), N).astype(float)
    rest = np.sqrt(1 - w**2)
    return with_arrays(rng, quats=np.stack([w, 0.6 * rest, -0.8 * rest, 0 * w], axis=1))


def small_and_special_rotations(rng: np.random.Generator) -> Gaussians:
    special = rng.choice([0, -0.0, 1, -1, 0.5, -0.5, 1e-7, -1e-7, 1e-20, 2], (N, 4))
    angle = 10 ** rng.uniform(-5, -1, (N, 1))
    axis = rng.normal(size=(N, 3))
    small = np.concatenate([np.cos(angle), np.sin(angle) * axis / np.linalg.norm(axis, axis=1, keepdims=True)], axis=1)
    usable = np.square(special).sum(axis=1, keepdims=True) > 1e-11
    return with_arrays(rng, quats=np.where(usable & (rng.random((N, 1)) < 0.5), special, small))


def centres_and_colours_on_ties(rng: np.random.Generator) -> Gaussians:
    ties = np.ldexp(rng.integers(0, 4096, (N, 3)) + 0.5, rng.integers(-30, 4, (N, 3)))
    colours = ((rng.integers(-5, 262, (N, 1, 3)) + 0.5) / 255 - 0.5) / 0.28209479177387814
    nudged = np.nextafter(colours.astype(F32), F32(0) + rng.choice([-9, 9], (N, 1, 3)).astype(F32))
    return with_arrays(rng, means=ties * rng.choice([-1, 1], (N, 3)), sh=np.where(rng.random((N, 1, 3)) < 0.5, colours, nudged))


def numbers_of(words: NDArray[np.uint32]) -> NDArray[np.float64]:
    return packed_numbers(np.concatenate([np.zeros(HEADER.size, np.uint8), words.view(np.uint8).ravel()]))


FRAMES = [
    usual,
    scales_and_opacities_beside_every_step,
    scales_and_opacities_of_every_size,
    axes_on_the_edge_between_two_bytes,
    angles_beside_every_step,
    small_and_special_rotations,
    centres_and_colours_on_ties,
]


@needs_spark
def test_the_words_are_those_of_the_version_of_spark_that_is_pinned() -> None:
    package = json.loads((SPARK.parents[1] / "package.json").read_text())
    assert package["version"] == "2.2.0"


@needs_spark
def test_every_number_is_within_one_step_of_what_spark_makes_of_our_ply() -> None:
    rng = np.random.default_rng(7)
    frames = [make(rng) for make in FRAMES]
    for make, g, words in zip(FRAMES, frames, spark_words([CODECS["ply"].encode(g).tobytes() for g in frames]), strict=True):
        apart = packed_numbers(CODECS["packed"].encode(g)) - numbers_of(words)
        for name, steps in zip(PACKED_NUMBERS, apart.T, strict=True):
            assert np.abs(steps).max() <= 1, (make.__name__, name)


@needs_spark
def test_of_ordinary_numbers_nearly_all_are_sparks_and_the_rest_lean_to_no_side() -> None:
    g = usual(np.random.default_rng(8))
    apart = packed_numbers(CODECS["packed"].encode(g)) - numbers_of(*spark_words([CODECS["ply"].encode(g).tobytes()]))
    # Both round to the nearest of steps that agree to 0.011, so about one number in a hundred may fall to the other side.
    assert (apart != 0).mean(axis=0).max() < 0.012
    assert np.abs(apart.mean(axis=0)).max() < 0.005
