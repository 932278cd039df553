"""The synthetic engine: constant, checkable, late and faulty exactly as asked."""

import cv2
import numpy as np
import pytest

from deployments.models import ENGINES, load_model, synthetic
from deployments.models.synthetic import SyntheticModel
from deployments.pipeline import DecodedCapture, Prediction
from deployments.stream.errors import InferenceFailed
from deployments.stream.frames import FrameRequest
from deployments.stream.options import FrameOptions
from tests.unit.splatter import psnr, splat


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the engine would have slept, milliseconds; the clock stands still."""
    waits: list[float] = []
    monkeypatch.setattr(synthetic.time, "sleep", lambda seconds: waits.append(seconds * 1e3))
    monkeypatch.setattr(synthetic.time, "perf_counter", lambda: 0.0)
    return waits


def capture(width: int = 64, height: int = 48, state: bytes = b"", **options) -> DecodedCapture:
    picture = np.random.default_rng(1).integers(0, 255, (6, 8, 3), np.uint8)
    rgb = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    return DecodedCapture((rgb,), FrameRequest(FrameOptions(**options), state=state))


def test_the_count_is_the_same_for_every_picture() -> None:
    model = SyntheticModel(splats=1200)
    results = model.predict([capture(64, 48), capture(640, 480), capture(16, 400)])
    assert [len(result.as_gaussians()) for result in results] == [1200, 1200, 1200]
    assert len(model.predict([capture(max_splats=300)])[0].as_gaussians()) == 300


def test_the_splats_show_the_picture_they_were_made_from() -> None:
    shot = capture()
    (result,) = SyntheticModel(splats=1200).predict([shot])
    assert (result.camera.width, result.camera.height) == (40, 30)
    truth = cv2.resize(shot.views[0], (40, 30), interpolation=cv2.INTER_AREA) / 255
    picture, covered = splat(result.as_gaussians(), result.camera)
    assert psnr(picture, truth, covered > 0.9) > 25
    assert psnr(picture[:, ::-1], truth, covered > 0.9) < 15


def test_the_same_picture_gives_the_same_splats() -> None:
    one, two = (SyntheticModel(splats=500).predict([capture()])[0].as_gaussians() for _ in range(2))
    assert np.array_equal(one.means, two.means) and np.array_equal(one.sh, two.sh)


def test_a_batch_sleeps_its_base_and_its_items(slept: list[float]) -> None:
    model = SyntheticModel(splats=12, latency_ms=40, per_item_ms=5)
    model.predict([capture()])
    model.predict([capture()] * 4)
    assert slept == pytest.approx([45, 60])


def test_jitter_is_bounded_and_follows_the_seed(slept: list[float]) -> None:
    for seed in (3, 3, 4):
        model = SyntheticModel(splats=12, latency_ms=10, jitter_ms=20, seed=seed)
        for _ in range(5):
            model.predict([capture()])
    assert slept[:5] == slept[5:10] != slept[10:]
    assert all(10 <= ms <= 30 for ms in slept) and max(slept) - min(slept) > 5


def test_it_fails_and_spoils_exactly_as_often_as_asked() -> None:
    model = SyntheticModel(splats=12, fail_every=3, nan_every=4)
    results = [*model.predict([capture()] * 5), *model.predict([capture()] * 7)]
    failed = [i for i, result in enumerate(results, 1) if isinstance(result, InferenceFailed)]
    spoiled = [i for i, r in enumerate(results, 1) if isinstance(r, Prediction) and np.isnan(r.as_gaussians().means).any()]
    assert failed == [3, 6, 9, 12]
    assert spoiled == [4, 8]
    assert "on purpose" in str(results[2])


def test_it_keeps_the_state_and_gives_the_kind_that_was_asked_for() -> None:
    (result,) = SyntheticModel(splats=12).predict([capture(state=b"mine", representation="points")])
    assert (result.state, result.kind) == (b"mine", "points")


def test_it_says_what_it_is() -> None:
    info = SyntheticModel().info
    assert info.label == "Synthetic splats (load test)"
    assert info.kinds == ["lifted", "points"] and not info.metric


@pytest.mark.parametrize("params", [{"splats": 0}, {"latency_ms": -1}, {"jitter_ms": float("nan")}, {"fail_every": -2}])
def test_numbers_out_of_range_are_refused_by_name(params: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(params))):
        SyntheticModel(**params)


def test_an_unknown_engine_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"'releif'.*relief.*synthetic"):
        load_model("releif")


def test_an_unknown_parameter_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"'latency'.*latency_ms"):
        load_model("synthetic", latency=3)


def test_an_engine_is_loaded_by_name_with_its_parameters() -> None:
    model = load_model("synthetic", splats=12)
    assert "synthetic" in ENGINES and len(model.predict([capture()])[0].as_gaussians()) == 12


def test_native_gaussians_lie_beside_their_pixels_on_the_grid_and_some_are_hidden() -> None:
    shot = capture()
    (result,) = SyntheticModel(splats=1200, native=True).predict([shot])
    (lifted,) = SyntheticModel(splats=1200).predict([shot])
    ours, plain = result.as_gaussians(), lifted.as_gaussians()
    assert (result.kind, ours.grid) == ("native", (1, 30, 40))
    offset = np.abs(ours.means - plain.means)[:, 0] / ours.means[:, 2] * result.camera.fx
    assert 0.05 < offset.mean() < offset.max() < 0.26
    np.testing.assert_allclose(np.linalg.norm(ours.quats, axis=1), 1, atol=1e-6)
    assert np.count_nonzero(ours.opacities == 0) == 13 and np.unique(ours.scales).size > 1000


def test_depth_and_native_gaussians_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match="depth and native"):
        SyntheticModel(depth=True, native=True)
