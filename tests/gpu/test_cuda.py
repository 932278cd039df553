"""What any GPU can show without weights: it gives what the CPU gives, captured or not, and nobody waits for it on the way.

.venv/bin/python -m pytest tests/gpu -v
"""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("torch sees no GPU", allow_module_level=True)

from deployments.models.da3.model import DepthAnything3  # noqa: E402
from deployments.pipeline import DecodedCapture, Prediction  # noqa: E402
from deployments.stream.frames import FrameRequest  # noqa: E402
from deployments.stream.options import FrameOptions  # noqa: E402
from tests.da3 import micro  # noqa: E402
from tests.da3.conftest import LAYOUTS, picture  # noqa: E402

# torch's warnings differ by its version and by the card.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    """Convolutions in float32 proper: what is compared is the way, not the rounding."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False):
        yield


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {name: micro.save(micro.make_network(layout, turn=2.0), root / name, name, layout) for name, layout in LAYOUTS.items()}


def engine(checkpoint: Path, device: str, **params: Any) -> DepthAnything3:
    exact = {"backbone": "float32", "longest_px": 140, "compile": "none", **params}
    return DepthAnything3(weights=str(checkpoint), device=device, **exact)


def capture(*seeds: int, size: tuple[int, int] = (200, 150), **options: Any) -> DecodedCapture:
    return DecodedCapture(tuple(picture(*size, seed=seed) for seed in seeds), FrameRequest(FrameOptions(**options)))


def predict(model: DepthAnything3, captures: Sequence[DecodedCapture]) -> list[Prediction]:
    outcomes = model.predict(captures)
    assert all(isinstance(outcome, Prediction) for outcome in outcomes), outcomes
    return [outcome for outcome in outcomes if isinstance(outcome, Prediction)]


def same(a: Prediction, b: Prediction) -> None:
    x, y = a.as_gaussians(), b.as_gaussians()
    assert a.kind == b.kind and a.pruned == b.pruned and x.grid == y.grid
    for name in ("means", "scales", "quats", "opacities", "sh"):
        u, v = getattr(x, name), getattr(y, name)
        np.testing.assert_allclose(u, v, rtol=0, atol=1e-3 * max(float(np.abs(v).max()), 1e-12), err_msg=name)


@pytest.mark.parametrize("name", list(LAYOUTS))
@pytest.mark.parametrize("options", [{}, {"representation": "points"}, {"sh_degree": 2, "border": 0.1, "behind_deg": 0.0}])
def test_it_gives_what_the_cpu_gives_before_and_after_it_is_captured(
    checkpoints: dict[str, Path], name: str, options: dict[str, Any]
) -> None:
    there = engine(checkpoints[name], "cuda")
    here = engine(checkpoints[name], "cpu", prune_on_device=True)
    for turn in range(4):
        captures = [capture(10 * turn + i, **options) for i in range(2)]
        for a, b in zip(predict(there, captures), predict(here, captures), strict=True):
            same(a, b)


@pytest.mark.parametrize("name", ["micro", "micro-nested"])
def test_several_views_too(checkpoints: dict[str, Path], name: str) -> None:
    there, here = engine(checkpoints[name], "cuda"), engine(checkpoints[name], "cpu")
    for turn in range(3):
        captures = [capture(turn, turn + 1, turn + 2)]
        same(predict(there, captures)[0], predict(here, captures)[0])


def test_sizes_in_any_order_do_not_write_over_each_other(checkpoints: dict[str, Path]) -> None:
    """Graphs share the memory between their steps, and frames the pinned memory that they come in."""
    there, here = engine(checkpoints["micro"], "cuda"), engine(checkpoints["micro"], "cpu", prune_on_device=True)
    sizes = [(200, 150), (150, 200), (200, 100)]
    asked = [[capture(i + j, size=sizes[i % 3]) for j in range(1 + i % 2)] for i in range(24)]
    kept = [predict(there, captures) for captures in asked]
    for captures, predictions in zip(asked, kept, strict=True):
        for a, b in zip(predictions, predict(here, captures), strict=True):
            same(a, b)


def test_the_latest_shapes_are_kept_and_no_more(checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.models.da3.forward.MOST_CAPTURED", 2)
    model = engine(checkpoints["micro"], "cuda")
    for px in (70, 84, 98, 70, 70, 70):
        predict(model, [capture(0, size=(640, 480), inference_px=px)])
    assert [len(batch._graphs) for batch in model._forward._batches.values()] == [0, 3]


def test_nobody_waits_for_the_device_but_for_what_it_copies(checkpoints: dict[str, Path]) -> None:
    model = engine(checkpoints["micro"], "cuda")
    for asked in (capture(0), capture(1), capture(2)):
        predict(model, [capture(5)])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                predict(model, [asked])
            finally:
                torch.cuda.set_sync_debug_mode("default")
        waited = [str(w.message) for w in caught if "called a synchronizing" in str(w.message)]
        assert not waited, waited


def test_memory_on_the_device_stays_where_it_is(checkpoints: dict[str, Path]) -> None:
    model = engine(checkpoints["micro"], "cuda")
    for _ in range(3):
        predict(model, [capture(0)])
    before = torch.cuda.memory_allocated()
    for i in range(30):
        predict(model, [capture(i)])
    assert torch.cuda.memory_allocated() - before < 1e5


def test_what_can_not_be_captured_is_served_all_the_same(checkpoints: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    model = engine(checkpoints["micro"], "cuda")
    steps = model._forward._steps
    inner = steps.depth

    def reads_back(pictures: Any, taps: Any, want_features: bool) -> Any:
        float(pictures.float().sum())  # A graph can't hold a value that the host reads.
        return inner(pictures, taps, want_features)

    steps.depth = reads_back  # type: ignore[method-assign]
    here = engine(checkpoints["micro"], "cpu", prune_on_device=True)
    for turn in range(3):
        same(predict(model, [capture(turn)])[0], predict(here, [capture(turn)])[0])
    assert caplog.text.count("can't be captured") == 1


def test_a_compiled_network_stays_near(checkpoints: dict[str, Path]) -> None:
    there, here = (
        engine(checkpoints["micro"], "cuda", compile="blocks"),
        engine(checkpoints["micro"], "cpu", prune_on_device=True),
    )
    for turn in range(3):
        same(predict(there, [capture(turn)])[0], predict(here, [capture(turn)])[0])
