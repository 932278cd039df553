"""Stored ↔ physical values and frames, on which all codecs rest."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from deployments.splats import activations, kernel
from deployments.splats.activations import LN_SCALE_ZERO, LOGIT_LIMIT, MAX_RELATIVE_ERROR, SH_C0
from deployments.splats.codecs.ply import _encode
from deployments.splats.coordinates import half_turn_x, to_frame
from tests.unit.test_codecs import frame

F32 = np.float32


def relative_error(got: np.ndarray, true: np.ndarray) -> float:
    return float(np.max(np.abs(got - true) / np.where(true == 0, 1, np.abs(true))))


def test_logs_and_exponentials_are_as_accurate_as_stated() -> None:
    rng = np.random.default_rng(0)
    x = np.exp(np.concatenate([rng.uniform(-87.3, 88.7, 300_000), rng.normal(0, 1e-3, 100_000)])).astype(F32)
    assert relative_error(activations.log(x), np.log(x.astype(float))) < MAX_RELATIVE_ERROR
    v = rng.uniform(-87.3, 88.7, 300_000).astype(F32)
    assert relative_error(activations.exp(v), np.exp(v.astype(float))) < MAX_RELATIVE_ERROR


def test_logits_and_sigmoids_are_as_accurate_as_stated() -> None:
    rng = np.random.default_rng(0)
    o = np.concatenate([rng.uniform(0, 1, 200_000), 0.5 + rng.normal(0, 1e-5, 50_000), 10 ** rng.uniform(-7, 0, 50_000)])
    o = o.astype(F32)
    o = o[(o > 2**-24) & (o < 1)]
    true = np.log(o.astype(float) / (1 - o.astype(float)))
    assert relative_error(activations.logit(o), true) < MAX_RELATIVE_ERROR
    v = rng.uniform(-16.6, 16.6, 200_000).astype(F32)
    assert relative_error(activations.sigmoid(v), 1 / (1 + np.exp(-v.astype(float)))) < MAX_RELATIVE_ERROR


def test_the_ends_are_finite_when_stored_and_come_back() -> None:
    opacities = np.array([0, 1, -1, 2, 2.0**-24, 1e-9], F32)
    assert activations.logit(opacities).tolist() == [
        -LOGIT_LIMIT,
        LOGIT_LIMIT,
        -LOGIT_LIMIT,
        LOGIT_LIMIT,
        -LOGIT_LIMIT,
        -LOGIT_LIMIT,
    ]
    assert activations.sigmoid(activations.logit(opacities)).tolist() == [0, 1, 0, 1, 0, 0]
    scales = np.array([0, -0.0, 1e-40], F32)
    assert activations.log(scales).tolist() == [LN_SCALE_ZERO] * 3
    assert activations.exp(activations.log(scales)).tolist() == [0, 0, 0]
    with np.errstate(under="ignore"):
        assert np.exp(LN_SCALE_ZERO) == 0, "other readers' float32 exp must underflow too"


def test_colours_and_coefficients_are_inverse() -> None:
    rgb = np.linspace(-1, 2, 100, dtype=F32)
    np.testing.assert_allclose(activations.dc_to_rgb(activations.rgb_to_dc(rgb)), rgb, atol=3e-7)
    assert abs(SH_C0 - 0.5 / np.sqrt(np.pi)) < 1e-16


def rotation(q: np.ndarray) -> np.ndarray:
    w, x, y, z = np.asarray(q, float).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def harmonics(d: np.ndarray) -> np.ndarray:
    """3DGS's real harmonics up to degree 2 at unit directions [N, 3]. [N, 9]."""
    x, y, z = d.T
    c1, c2 = (
        0.4886025119029199,
        (1.0925484305920792, -1.0925484305920792, 0.31539156525252005, -1.0925484305920792, 0.5462742152960396),
    )
    one = np.full_like(x, SH_C0)
    first = [one, -c1 * y, c1 * z, -c1 * x]
    second = [c2[0] * x * y, c2[1] * y * z, c2[2] * (2 * z * z - x * x - y * y), c2[3] * x * z, c2[4] * (x * x - y * y)]
    return np.stack(first + second, axis=1)


def test_half_a_turn_moves_centres_axes_and_colours_together() -> None:
    g = frame(200, degree=2)
    t = half_turn_x(g)
    turn = np.diag([1.0, -1.0, -1.0])
    np.testing.assert_array_equal(t.means, (g.means @ turn.T).astype(F32))
    np.testing.assert_allclose(rotation(t.quats), turn @ rotation(g.quats), atol=1e-6)
    d = np.random.default_rng(3).normal(size=(200, 3))
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    before = np.einsum("nk,nkc->nc", harmonics(d), g.sh)
    after = np.einsum("nk,nkc->nc", harmonics(d @ turn.T), t.sh)
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_two_half_turns_are_none_and_frames_are_named() -> None:
    g = frame(20, degree=1)
    back = half_turn_x(half_turn_x(g))
    np.testing.assert_array_equal(back.means, g.means)
    np.testing.assert_array_equal(back.sh, g.sh)
    np.testing.assert_allclose(rotation(back.quats), rotation(g.quats), atol=1e-6)
    assert to_frame(g, "opencv") is g
    with pytest.raises(ValueError, match="got 'left-handed'"):
        to_frame(g, "left-handed")  # type: ignore[arg-type]


def test_cached_machine_code_is_tied_to_every_source_of_the_package() -> None:
    """Numba alone would keep a kernel whose inlined helper, in another file, has changed."""
    stamp = _encode._cache._cache_file._source_stamp  # type: ignore[attr-defined]
    assert stamp == kernel._SOURCES + hashlib.sha256(Path(_encode.py_func.__code__.co_filename).read_bytes()).hexdigest()  # type: ignore[attr-defined]
    assert len(kernel._SOURCES) == 64
