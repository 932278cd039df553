"""Pruning: a subset in order, every removal counted once, a thinned frame that is even, closed and calm."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.splats.camera import Camera
from deployments.splats.gaussians import Gaussians
from deployments.splats.lifting import lift_depth
from deployments.splats.pruning import MAX_GROWTH, REASONS, prune
from tests.unit.splatter import splat


def frame(count: int, grid: tuple[int, int, int] | None = None, degree_k: int = 1) -> Gaussians:
    """Gaussians whose first harmonic is their index."""
    random = np.random.default_rng(count)
    sh = np.zeros((count, degree_k, 3), np.float32)
    sh[:, 0, 0] = np.arange(count)
    quats = random.normal(size=(count, 4)).astype(np.float32)
    return Gaussians(
        means=random.uniform(1, 3, (count, 3)).astype(np.float32),
        scales=random.uniform(0.01, 0.1, (count, 3)).astype(np.float32),
        quats=quats / np.linalg.norm(quats, axis=1, keepdims=True),
        opacities=random.uniform(0.2, 1, count).astype(np.float32),
        sh=sh,
        grid=grid,
    )


def indices(gaussians: Gaussians) -> list[int]:
    return gaussians.sh[:, 0, 0].astype(int).tolist()


odd = st.sampled_from([0.0, -1.0, np.nan, np.inf, -np.inf, 1e-30, 0.05, 0.5, 1.0, 3e38])


@settings(deadline=None, max_examples=150)
@given(
    st.data(),
    st.integers(0, 40),
    st.integers(1, 60),
    st.floats(0, 1),
    st.floats(0, 0.45),
    st.floats(1, 100),
    st.booleans(),
    st.sampled_from([1, 4, 9]),
)
def test_pruning_never_adds_keeps_order_and_counts_each_removal_once(
    data, count, budget, opacity, border, percentile, on_grid, k
) -> None:
    gaussians = frame(count, (1, 1, count) if on_grid and count else None, k)
    for _ in range(data.draw(st.integers(0, 6)) if count else 0):
        field = getattr(gaussians, data.draw(st.sampled_from(["means", "scales", "quats", "opacities"])))
        field.reshape(count, -1)[data.draw(st.integers(0, count - 1)), 0] = data.draw(odd)
    wishes = {"min_opacity": opacity, "border": border, "depth_percentile": percentile, "max_splats": budget}
    before = [array.copy() for array in (gaussians.means, gaussians.scales)]
    kept, counts = prune(gaussians, Camera(64, 48, 50.0, 50.0, 32.0, 24.0), **wishes)
    assert tuple(counts) == REASONS
    assert all(n >= 0 for n in counts.values())
    assert len(kept) + sum(counts.values()) == count
    assert len(kept) <= budget
    assert indices(kept) == sorted(set(indices(kept)))
    chosen = indices(kept)
    for name in ("means", "quats", "opacities", "sh"):
        assert np.array_equal(getattr(kept, name), getattr(gaussians, name)[chosen])
    for array, copy in zip((gaussians.means, gaussians.scales), before, strict=True):
        assert np.array_equal(array, copy, equal_nan=True), "the input is not changed"
    for name in ("means", "scales", "quats", "opacities", "sh"):
        assert np.isfinite(getattr(kept, name)).all()
    assert (kept.scales > 0).all()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("means", np.nan), ("means", np.inf), ("scales", 0.0), ("scales", -0.1), ("scales", np.inf), ("scales", np.nan),
        ("quats", np.nan), ("opacities", np.nan), ("opacities", -0.5), ("sh", -np.inf),
    ],
)  # fmt: skip
def test_what_no_codec_can_store_is_invalid(field: str, value: float) -> None:
    gaussians = frame(5)
    getattr(gaussians, field).reshape(5, -1)[3, -1] = value
    kept, counts = prune(gaussians)
    assert indices(kept) == [0, 1, 2, 4]
    assert counts == {**dict.fromkeys(REASONS, 0), "invalid": 1}


def test_a_quaternion_of_length_zero_is_invalid() -> None:
    gaussians = frame(3)
    gaussians.quats[1] = 0
    assert prune(gaussians)[1]["invalid"] == 1


def test_opacity_below_the_option_goes_and_at_the_option_stays() -> None:
    gaussians = frame(4)
    gaussians.opacities[:] = [0.0, 0.09, 0.1, 1.0]
    kept, counts = prune(gaussians, min_opacity=0.1)
    assert indices(kept) == [2, 3]
    assert (counts["edge"], counts["opacity"]) == (1, 1)


def test_the_border_of_every_view_goes_by_its_place_on_the_grid() -> None:
    kept, counts = prune(frame(2 * 10 * 20, (2, 10, 20)), border=0.1)
    v, u = np.divmod(np.array(indices(kept)) % 200, 20)
    assert (u.min(), u.max(), v.min(), v.max()) == (2, 17, 1, 8)
    assert counts["border"] == 400 - 2 * 16 * 8 == 400 - len(kept)


def test_without_a_grid_the_border_goes_by_where_the_camera_sees_the_centre() -> None:
    camera = Camera(20, 10, 15.0, 15.0, 10.0, 5.0)
    gaussians = lift_depth(np.full((10, 20), 2.0, np.float32), np.zeros((10, 20, 3), np.uint8), camera)
    on_grid = prune(gaussians, border=0.1)
    loose = replace(gaussians, grid=None)
    by_camera = prune(loose, camera, border=0.1)
    assert np.array_equal(on_grid[0].means, by_camera[0].means)
    assert on_grid[1] == by_camera[1]
    assert prune(loose, border=0.1)[1]["border"] == 0


def test_the_farthest_go_by_percentile() -> None:
    gaussians = frame(100)
    gaussians.means[:, 2] = np.random.default_rng(0).permutation(100) + 1
    kept, counts = prune(gaussians, depth_percentile=90)
    assert sorted(kept.means[:, 2]) == list(range(1, 91))
    assert counts["depth"] == 10


def test_the_budget_is_met_exactly_and_evenly() -> None:
    size = 64
    gaussians = frame(size * size, (1, size, size))
    for budget in (1, 7, 400, 1500, size * size - 1):
        kept, counts = prune(gaussians, max_splats=budget)
        assert len(kept) == budget and counts["budget"] == size * size - budget
        v, u = np.divmod(np.array(indices(kept)), size)
        blocks = np.bincount(v // 16 * 4 + u // 16, minlength=16)
        assert budget < 400 or blocks.std() < 0.65 * np.sqrt(budget / 16), "more even than chance"


def test_the_same_cells_survive_when_the_scene_changes() -> None:
    gaussians = frame(64 * 64, (1, 64, 64))
    first = set(indices(prune(gaussians, max_splats=1000)[0]))
    changed = replace(gaussians, means=gaussians.means + np.float32(0.3), opacities=gaussians.opacities.copy())
    changed.opacities[100:140] = 0.0
    second = set(indices(prune(changed, max_splats=1000)[0]))
    assert len(first & second) >= 985


def test_a_thinned_frame_stays_closed() -> None:
    camera = Camera(48, 36, 42.0, 42.0, 24.0, 18.0)
    gaussians = lift_depth(np.full((36, 48), 2.0, np.float32), np.full((36, 48, 3), 200, np.uint8), camera)
    kept, _ = prune(gaussians, max_splats=600)
    _, covered = splat(kept, camera)
    inner = covered[4:-4, 4:-4]
    assert inner.min() > 0.8 and inner.mean() > 0.95
    thin = replace(kept, scales=gaussians.scales[:600])
    assert splat(thin, camera)[1][4:-4, 4:-4].min() < 0.5, "it is the growth that closes it"


def test_growth_is_bounded() -> None:
    gaussians = frame(10_000, (1, 100, 100))
    kept, _ = prune(gaussians, max_splats=1)
    assert np.allclose(kept.scales, MAX_GROWTH * gaussians.scales[indices(kept)])


def test_nothing_to_prune_gives_the_very_same_frame_with_its_grid() -> None:
    gaussians = frame(12, (1, 3, 4))
    assert prune(gaussians)[0] is gaussians


def test_an_empty_frame_and_a_frame_of_nothing_but_refuse() -> None:
    kept, counts = prune(Gaussians.empty(2))
    assert len(kept) == 0 and not any(counts.values())
    gaussians = frame(4, None, 4)
    gaussians.opacities[:] = np.nan
    kept, counts = prune(gaussians)
    assert len(kept) == 0 and kept.sh.shape == (0, 4, 3) and counts["invalid"] == 4


def test_a_huge_scale_that_grows_stays_finite() -> None:
    gaussians = frame(34, (1, 1, 34), 1)
    gaussians.scales[:] = 3e38
    kept, _ = prune(gaussians, max_splats=1)
    assert len(kept) == 1 and np.isfinite(kept.scales).all()
