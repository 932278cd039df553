"""Batches: sessions share a forward and nothing else; what is odd or bad costs nobody but itself; memory stays where it is."""

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from deployments.models.da3.forward import Result
from deployments.models.da3.model import DepthAnything3
from deployments.pipeline import DecodedCapture, PredictedCapture, Prediction
from deployments.stream.errors import FrameError, InferenceFailed, WrongViewCount
from deployments.stream.frames import FrameRequest
from deployments.stream.options import FrameOptions
from tests.da3.conftest import picture


class Spy:
    """Stands before a forward: counts its batches, and fails for the picture it is told to fail for."""

    def __init__(self, inner: Any, poison: NDArray[np.uint8] | None = None) -> None:
        self.inner, self.poison = inner, poison
        self.shapes: list[tuple[int, ...]] = []

    @property
    def predicts_camera(self) -> bool:
        return self.inner.predicts_camera

    @property
    def follows_lens(self) -> bool:
        return self.inner.follows_lens

    def run(self, pictures: Sequence[NDArray[np.uint8]], *rest: Any) -> list[Result]:
        self.shapes.append((len(pictures), *pictures[0].shape[:3]))
        if self.poison is not None and any(np.array_equal(one[0], self.poison) for one in pictures):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        results: list[Result] = self.inner.run(pictures, *rest)
        return results


def engine(checkpoint: Path, **params: Any) -> tuple[DepthAnything3, Spy]:
    model = DepthAnything3(weights=str(checkpoint), device="cpu", longest_px=140, threads=1, **{"calm": False, **params})
    spy = Spy(model._forward)
    model._forward = spy  # type: ignore[assignment]
    return model, spy


def capture(*seeds: int, size: tuple[int, int] = (200, 150), **options: Any) -> DecodedCapture:
    return DecodedCapture(tuple(picture(*size, seed=seed) for seed in seeds), FrameRequest(FrameOptions(**options)))


def predictions(outcomes: Sequence[Prediction | FrameError]) -> list[Prediction]:
    assert all(isinstance(outcome, Prediction) for outcome in outcomes), outcomes
    return [outcome for outcome in outcomes if isinstance(outcome, Prediction)]


def same(a: Prediction, b: Prediction, relative: float = 1e-5) -> None:
    for name in ("means", "scales", "quats", "opacities", "sh"):
        x, y = getattr(a.as_gaussians(), name), getattr(b.as_gaussians(), name)
        np.testing.assert_allclose(x, y, rtol=0, atol=relative * max(float(np.abs(y).max()), 1e-12))
    assert a.camera == pytest.approx(b.camera) or abs(a.camera.fx - b.camera.fx) < 1e-3


@pytest.mark.parametrize("name", ["micro", "micro-nested", "micro-mono"])
@pytest.mark.parametrize("representation", ["auto", "points"])
def test_a_session_gets_the_same_from_a_batch_as_alone(checkpoints: Any, name: str, representation: str) -> None:
    model, spy = engine(checkpoints[name])
    captures = [capture(i, representation=representation) for i in range(4)]
    together = predictions(model.predict(captures))
    assert [shape[0] for shape in spy.shapes] == [4]
    for one, batched in zip(captures, together, strict=True):
        (alone,) = predictions(model.predict([one]))
        # The tolerance is for float32 sums in another order; nested divides two of them.
        same(batched, alone, 1e-4)


def test_a_batch_of_several_views_each_keeps_the_worlds_apart(checkpoints: Any) -> None:
    model, spy = engine(checkpoints["micro"])
    captures = [capture(0, 1), capture(2, 3)]
    together = predictions(model.predict(captures))
    assert [shape[:2] for shape in spy.shapes] == [(2, 2)]
    for one, batched in zip(captures, together, strict=True):
        same(batched, predictions(model.predict([one]))[0], 1e-4)


def test_odd_shapes_views_and_wishes_go_in_batches_of_their_own(checkpoints: Any) -> None:
    model, spy = engine(checkpoints["micro"])
    captures = [
        capture(0), capture(1, size=(100, 200)), capture(2, 3), capture(4), capture(5, representation="points"),
        capture(6, sh_degree=2), capture(7, inference_px=70),
    ]  # fmt: skip
    outcomes = predictions(model.predict(captures))
    assert sorted(shape[0] for shape in spy.shapes) == [1, 1, 1, 1, 1, 2]
    assert [len(outcome.as_gaussians()) for outcome in outcomes] == [
        140 * 112, 70 * 140, 2 * 140 * 112, 140 * 112, 140 * 112, 140 * 112, 70 * 56
    ]  # fmt: skip
    assert [outcome.kind for outcome in outcomes].count("points") == 1 and outcomes[5].as_gaussians().sh_degree == 2


def test_a_capture_that_breaks_the_batch_fails_alone(checkpoints: Any) -> None:
    from deployments.models.da3.picture import prepare

    model, spy = engine(checkpoints["micro"])
    captures = [capture(i) for i in range(4)]
    spy.poison = prepare(captures[2].views[0], 140)
    outcomes = model.predict(captures)
    assert [type(outcome) for outcome in outcomes] == [Prediction, Prediction, InferenceFailed, Prediction]
    same(predictions([outcomes[3]])[0], predictions(model.predict([captures[3]]))[0], 1e-4)


def test_a_picture_without_pixels_fails_alone(checkpoints: Any) -> None:
    model, _ = engine(checkpoints["micro"])
    empty = DecodedCapture((np.zeros((0, 0, 3), np.uint8),))
    outcomes = model.predict([empty, capture(1)])
    assert isinstance(outcomes[0], InferenceFailed) and isinstance(outcomes[1], Prediction)


def test_a_sliver_of_a_picture_is_served_where_the_package_fails(checkpoints: Any) -> None:
    model, _ = engine(checkpoints["micro"])
    (outcome,) = predictions(model.predict([capture(0, size=(400, 8))]))
    assert outcome.camera.height == 14


def test_views_of_different_shapes_are_cut_to_what_they_share(checkpoints: Any) -> None:
    model, _ = engine(checkpoints["micro"])
    (outcome,) = predictions(model.predict([DecodedCapture((picture(200, 150), picture(200, 100)))]))
    assert outcome.as_gaussians().grid == (2, 70, 140)


def test_more_views_than_the_packages_heads_take_at_once_never_share_a_batch(checkpoints: Any) -> None:
    model, spy = engine(checkpoints["micro"])
    many = [capture(*range(9), inference_px=56), capture(*range(9), inference_px=56)]
    assert len(predictions(model.predict(many))[1].as_gaussians()) == 9 * 56 * 42
    assert [shape[:2] for shape in spy.shapes] == [(1, 9), (1, 9)]


def test_a_model_of_one_view_says_so(checkpoints: Any) -> None:
    model, _ = engine(checkpoints["micro-mono"])
    outcomes = model.predict([capture(0, 1), capture(2)])
    assert isinstance(outcomes[0], WrongViewCount) and "2 views" in str(outcomes[0]) and isinstance(outcomes[1], Prediction)


def test_a_broken_device_shows_at_the_health_check_and_a_working_one_is_left_alone(checkpoints: Any) -> None:
    model, spy = engine(checkpoints["micro"])
    model.check_health()
    assert len(spy.shapes) == 1, "a real forward"
    model.check_health()
    assert len(spy.shapes) == 1, "it was proven a moment ago"
    spy.inner = None
    (outcome,) = model.predict([capture(0)])
    assert isinstance(outcome, InferenceFailed)
    with pytest.raises(AttributeError):
        model.check_health()


def faded(checkpoint: Path, **params: Any) -> DepthAnything3:
    """An engine whose opacities are all over the range, and some of them 0."""
    model, _ = engine(checkpoint, **params)
    last = model._forward.inner._steps.main.gs_head.scratch.output_conv2[-1]  # type: ignore[attr-defined]
    said: list[Any] = []
    hook = last.register_forward_hook(lambda module, inputs, output: said.append(output[:, -1]))
    model.predict([capture(0)])
    hook.remove()
    # Logits from −150 to 150: a sigmoid of float32 is 0 below −104.
    stretch = 150 / (said[0] - said[0].median()).abs().max()
    last.bias[-1] = stretch * (last.bias[-1] - said[0].median())
    last.weight[-1] *= stretch
    return model


@pytest.mark.parametrize(
    "options", [{}, {"border": 0.0}, {"min_opacity": 0.0}, {"max_splats": 3000}, {"depth_percentile": 80.0}, {"border": 0.2}]
)
def test_pruning_before_the_copy_gives_the_packers_own_frame(checkpoints: Any, options: dict[str, Any]) -> None:
    from deployments.stages.pack import Packer, PackSettings

    packer = Packer(PackSettings())
    captures = [capture(0, behind_deg=0.0, **options), capture(1, behind_deg=0.0)]
    early = predictions(faded(checkpoints["micro"], prune_on_device=True).predict(captures))
    late = predictions(faded(checkpoints["micro"], prune_on_device=False).predict(captures))
    for asked, a, b in zip(captures, early, late, strict=True):
        x, y = (packer.pack(PredictedCapture(prediction, asked.request)) for prediction in (a, b))
        assert not isinstance(x, FrameError) and not isinstance(y, FrameError)
        assert x.pruned == y.pruned and x.count == y.count
        np.testing.assert_array_equal(x.data, y.data)
    assert len(early[1].as_gaussians()) < len(late[1].as_gaussians()), "nothing was pruned: the test proves nothing"
    assert early[1].pruned["opacity"] > 0 and early[1].pruned["border"] > 0


@pytest.mark.parametrize("codec", ["auto", "planes"])
def test_a_session_whose_codec_needs_the_grid_gets_it_and_its_neighbour_is_pruned(checkpoints: Any, codec: str) -> None:
    from deployments.client import read_jpeg
    from deployments.splats.codecs.planes import decode_planes
    from deployments.stages.pack import Packer, PackSettings

    asked = DecodedCapture(capture(0).views, FrameRequest(FrameOptions(codec=codec), ("planes", "packed", "points")))
    aside, plain = capture(1), capture(1, behind_deg=0.0)
    planar, whole, pruned = predictions(faded(checkpoints["micro"], prune_on_device=True).predict([asked, aside, plain]))
    assert planar.as_gaussians().grid is not None and not planar.pruned
    assert whole.as_gaussians().grid is not None and not whole.pruned, "who looks past edges needs them, too"
    assert pruned.as_gaussians().grid is None and pruned.pruned
    packer = Packer(PackSettings())
    frame, packed = (
        packer.pack(PredictedCapture(planar, FrameRequest(FrameOptions(codec=name), ("planes", "packed", "points"))))
        for name in (codec, "packed")
    )
    assert not isinstance(frame, FrameError) and not isinstance(packed, FrameError)
    assert (frame.codec, frame.kind, frame.count, frame.pruned) == ("planes", "native", packed.count, packed.pruned)
    assert len(decode_planes(frame.data, read_jpeg)) == frame.count


def test_several_views_lie_on_the_grids_of_their_own_cameras(checkpoints: Any) -> None:
    from deployments.client import read_jpeg
    from deployments.splats.codecs.planes import decode_planes
    from deployments.stages.pack import Packer, PackSettings

    views = (*capture(0).views, *capture(1).views)
    asked = DecodedCapture(views, FrameRequest(FrameOptions(border=0.0, min_opacity=0.0), ("planes", "packed", "points")))
    model, _ = engine(checkpoints["micro"])
    (prediction,) = predictions(model.predict([asked]))
    assert len(prediction.views) == 2 and prediction.views[1].pose is not None
    frame = Packer(PackSettings()).pack(PredictedCapture(prediction, asked.request))
    assert not isinstance(frame, FrameError) and frame.codec == "planes"
    found, sent = decode_planes(frame.data, read_jpeg), prediction.as_gaussians()
    assert len(found) == len(sent)
    assert np.median(np.linalg.norm(found.means - sent.means, axis=1) / np.linalg.norm(sent.means, axis=1)) < 0.02


def test_each_session_is_calmed_by_its_own_state(checkpoints: Any) -> None:
    model, _ = engine(checkpoints["micro"], calm=True)
    (first,) = predictions(model.predict([capture(0)]))
    from deployments.models.alignment import Reference
    from deployments.models.calm import Memory

    reference = Reference.from_bytes(Memory.from_bytes(first.state).reference)
    assert reference is not None
    far = Memory(0.0, Reference(reference.log_depth + np.float32(0.2)).to_bytes()).to_bytes()
    mine = DecodedCapture(capture(0).views, FrameRequest(FrameOptions(), state=far))
    held, fresh = predictions(model.predict([mine, capture(0)]))
    factor = np.exp(0.2 * np.exp(-0.1 / 2.5))
    np.testing.assert_allclose(held.as_gaussians().means, fresh.as_gaussians().means * np.float32(factor), rtol=2e-3)
    np.testing.assert_allclose(held.as_gaussians().scales, fresh.as_gaussians().scales * np.float32(factor), rtol=2e-3)
    same(fresh, first)


def test_memory_stays_where_it_is(checkpoints: Any) -> None:
    model, _ = engine(checkpoints["micro"])
    process = psutil.Process()

    def resident_after(frames: int) -> int:
        for i in range(frames):
            model.predict([capture(i % 3), capture(i % 3 + 1)])
        gc.collect()
        return process.memory_info().rss

    before = resident_after(10)
    # A frame's Gaussians are 0.9 MB, its features several: one kept of each frame would be 50 MB and more.
    assert resident_after(40) - before < 20 * 2**20
