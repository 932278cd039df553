"""Predicted Gaussians past their edges: nothing hangs between two surfaces, something is behind, and all else is as predicted."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.picture.native import HEADS, LARGEST_PX, simulate_head
from benchmarks.splatter import draw_and_light
from benchmarks.subjects import network_like
from deployments.client import read_jpeg
from deployments.pipeline import PredictedCapture, Prediction
from deployments.scene.clip import Cast, Eye, render_scene
from deployments.splats.behind_native import HiddenLayer, continue_native, select_both
from deployments.splats.camera import Camera, PosedCamera
from deployments.splats.codecs.planes import decode_planes
from deployments.splats.codecs.planes_heads import read_heads
from deployments.splats.files import FileOptions
from deployments.splats.gaussians import Gaussians
from deployments.splats.layer_lifting import join, to_view
from deployments.splats.lifting import lift_inverse_depth
from deployments.splats.pruning import prune
from deployments.stages.pack import Packer, PackSettings
from deployments.stream.frames import FrameRequest, PackedFrame
from deployments.stream.options import FrameOptions
from tests.unit.splatter import psnr

WIDTH, HEIGHT = 192, 144
CAMERA = Camera(WIDTH, HEIGHT, 166.0, 166.0, WIDTH / 2, HEIGHT / 2)
NEAR, FAR = 1.0, 3.0
RED, BLUE = (220, 40, 30), (30, 60, 200)
SQUARE = (slice(32, 112), slice(56, 136))
PREDICTED = ("means", "scales", "quats", "opacities", "sh")


def frame(ramp: int = 2, k: int = 1) -> Gaussians:
    """A red square before a blue wall, ``ramp`` pixels from the one to the other, each with its Gaussian."""
    inverse = np.full((HEIGHT, WIDTH), 1 / FAR, np.float32)
    for step in range(ramp, -1, -1):
        wider = tuple(slice(side.start - step, side.stop + step) for side in SQUARE)
        share = step / (ramp + 1)
        inverse[wider] = (1 - share) / NEAR + share / FAR
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    picture[:] = BLUE
    picture[SQUARE] = RED
    lifted = lift_inverse_depth(inverse, picture, CAMERA, crisp=True)
    sh = np.zeros((len(lifted), k, 3), np.float32)
    sh[:, :1] = lifted.sh
    return replace(lifted, sh=sh)


def seen_from(yaw_deg: float, gaussians: Gaussians, hidden: HiddenLayer | None) -> np.ndarray:
    """How much of the black shows, on the square's surroundings that the camera saw."""
    parts = [gaussians] if hidden is None else [gaussians.take(np.arange(len(gaussians))), hidden.gaussians]
    both = prune(join(parts, None))[0]
    _, light = draw_and_light(to_view(both, Eye(yaw_deg, 0, NEAR).pose()), CAMERA)
    return light[30:114, 50:142]


def test_nothing_hangs_between_two_surfaces_any_more() -> None:
    before = frame()
    between = (before.means[:, 2] > 1.1 * NEAR) & (before.means[:, 2] < 0.9 * FAR)
    after, hidden = continue_native(before, CAMERA, 15)
    assert hidden is not None
    shown = after.opacities > 0
    assert between.sum() > 500, "there was nothing to put right: the test proves nothing"
    hanging = shown & (after.means[:, 2] > 1.1 * NEAR) & (after.means[:, 2] < 0.9 * FAR)
    assert hanging.sum() <= 12, "of a corner's pixels no neighbour says on which side they are"
    behind = (hidden.gaussians.opacities > 0).reshape(hidden.camera.height, hidden.camera.width)
    behind = behind.repeat(HEIGHT // len(behind), 0).repeat(WIDTH // behind.shape[1], 1).ravel()
    assert (shown | behind)[between].all(), "what is left out has the wall behind it"


def test_what_is_beside_no_edge_is_as_it_was_predicted_bit_for_bit() -> None:
    before = frame()
    kept = [getattr(before, name).copy() for name in PREDICTED]
    after, _ = continue_native(before, CAMERA, 15)
    rows, columns = np.divmod(np.arange(len(before)), WIDTH)
    inner = (abs(rows - 72) < 30) & (abs(columns - 96) < 30)
    outer = (rows < 20) | (rows > 124) | (columns < 44) | (columns > 148)
    for name, copy in zip(PREDICTED, kept, strict=True):
        assert np.array_equal(getattr(after, name)[inner | outer], copy[inner | outer])
        assert np.array_equal(getattr(before, name), copy), "the input is not changed"
    assert after.grid == before.grid


def test_who_looks_past_the_edge_sees_the_wall_and_no_hole() -> None:
    before = frame()
    for yaw in (-12, 12):
        holes = [float((seen_from(yaw, *pair) > 0.5).mean()) for pair in ((before, None), continue_native(before, CAMERA, 15))]
        assert holes[0] > 0.04 and holes[1] < 0.002


def test_one_that_is_large_and_alone_before_its_surface_joins_it() -> None:
    before = frame()
    alone = np.flatnonzero(before.means[:, 2] > 2.9)[::997]
    alone = alone[(alone % WIDTH > 1) & (alone % WIDTH < WIDTH - 2) & (alone > 2 * WIDTH) & (alone < (HEIGHT - 2) * WIDTH)]
    before.means[alone] *= np.float32(0.9)
    before.scales[alone] *= np.float32(8)
    after, hidden = continue_native(before, CAMERA, 15)
    plain = continue_native(frame(), CAMERA, 15)[1]
    shown = alone[after.opacities[alone] > 0]
    assert len(shown) >= len(alone) - 1, "beside the edge what is behind shows"
    np.testing.assert_allclose(after.means[shown, 2], FAR, rtol=1e-5)
    assert (after.scales[shown, 0] < 1.1 * frame().scales[shown, 0]).all()
    assert hidden is not None and plain is not None
    there = [np.count_nonzero(layer.gaussians.opacities) for layer in (hidden, plain)]
    assert there[0] == there[1], "nothing is put behind it"


def test_depth_that_is_a_little_rough_has_the_same_edges() -> None:
    before, smooth = frame(), continue_native(frame(), CAMERA, 15)[1]
    before.means[...] *= np.random.default_rng(0).normal(1, 0.01, (len(before), 1)).astype(np.float32)
    rough = continue_native(before, CAMERA, 15)[1]
    assert rough is not None and smooth is not None
    there = [np.count_nonzero(layer.gaussians.opacities) for layer in (rough, smooth)]
    assert 0.8 < there[0] / there[1] < 1.5


def test_without_an_angle_or_an_edge_it_is_the_very_same_frame() -> None:
    before = frame()
    assert continue_native(before, CAMERA, 0) == (before, None)
    flat = lift_inverse_depth(np.full((HEIGHT, WIDTH), 0.5, np.float32), np.zeros((HEIGHT, WIDTH, 3), np.uint8), CAMERA)
    same, hidden = continue_native(flat, CAMERA, 15)
    assert same is flat and hidden is None


def test_what_the_network_hides_stays_hidden_and_has_no_edge() -> None:
    before = frame(ramp=0)
    before.opacities[(before.means[:, 2] < 2)] = 0.05
    same, hidden = continue_native(before, CAMERA, 15, faintest=0.1)
    assert same is before and hidden is None
    assert continue_native(before, CAMERA, 15, faintest=0.01)[1] is not None


@pytest.mark.parametrize("k", [1, 4, 9])
def test_the_layer_has_as_many_harmonics_as_the_frame(k: int) -> None:
    after, hidden = continue_native(frame(k=k), CAMERA, 15)
    assert hidden is not None and hidden.gaussians.sh.shape[1] == after.sh.shape[1] == k
    assert not hidden.gaussians.sh[:, 1:].any()
    assert hidden.gaussians.grid == (1, hidden.camera.height, hidden.camera.width)


def test_gaussians_of_another_grid_are_refused() -> None:
    with pytest.raises(ValueError, match=r"grid: expected \(1, 144, 192\), got None"):
        continue_native(replace(frame(), grid=None), CAMERA, 15)


odd = st.sampled_from([0.0, -1.0, np.nan, np.inf, -np.inf, 1e-30, 0.5, 3e38])


@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(16, 40), st.integers(16, 40), st.floats(0.1, 30), st.floats(0, 1))
def test_whatever_comes_nothing_gets_more_opaque_and_each_is_kept_or_counted(data, width, height, angle, faintest) -> None:
    camera = Camera(width, height, float(width), float(width), width / 2, height / 2)
    random = np.random.default_rng(width * height)
    inverse = np.where(random.random((height, width)) < 0.3, 1.0, 0.4).astype(np.float32)
    inverse[: height // 2] = 0.5
    picture = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    before = lift_inverse_depth(inverse, picture, camera, crisp=True)
    for _ in range(data.draw(st.integers(0, 12))):
        field = getattr(before, data.draw(st.sampled_from(PREDICTED)))
        field.reshape(len(before), -1)[data.draw(st.integers(0, len(before) - 1)), -1] = data.draw(odd)
    after, hidden = continue_native(before, camera, angle, faintest)
    with np.errstate(invalid="ignore"):
        assert not (after.opacities > before.opacities).any()
    assert after.grid == before.grid and np.array_equal(after.sh, before.sh, equal_nan=True)
    usable = np.isfinite(before.means).all(axis=1) & np.isfinite(before.scales).all(axis=1)
    assert np.isfinite(after.means[usable]).all() and np.isfinite(after.scales[usable]).all()
    if hidden is not None:
        kept, kept_behind, counts = select_both(after, hidden, camera, min_opacity=0.1, border=0.1, depth_percentile=90)
        assert len(kept) <= len(after) and len(kept_behind) <= len(hidden.gaussians)
        assert all(count >= 0 for count in counts.values())
        there = int(np.count_nonzero(hidden.gaussians.opacities))
        assert len(kept) + len(kept_behind) + sum(counts.values()) == len(after) + there


@pytest.fixture(scope="module")
def packer() -> Packer:
    return Packer(PackSettings())


def packed(packer: Packer, gaussians: Gaussians, camera: Camera = CAMERA, **options) -> PackedFrame:
    request = FrameRequest(FrameOptions(**options), ("planes", "packed"))
    found = packer.pack(PredictedCapture(Prediction(gaussians, "native", camera), request))
    assert isinstance(found, PackedFrame)
    return found


@pytest.mark.parametrize(
    "options", [{}, {"behind_deg": 0.0}, {"border": 0.2}, {"depth_percentile": 50.0}, {"min_opacity": 0.0}, {"behind_deg": 30.0}]
)
def test_planes_and_packed_show_as_many_and_leave_out_the_same(packer: Packer, options: dict) -> None:
    ours, theirs = (packed(packer, frame(), codec=codec, **options) for codec in ("planes", "packed"))
    assert ours.count == theirs.count and ours.pruned == theirs.pruned
    assert len(decode_planes(ours.data, read_jpeg)) == ours.count


def test_what_is_behind_is_one_more_view_from_the_same_place(packer: Packer) -> None:
    front, behind = read_heads(packed(packer, frame()).data.view(np.uint8))
    assert np.array_equal(behind.pose, np.eye(3, 4)) and behind.camera.fx == front.camera.fx / 2
    assert sum(behind.sizes) < 2500, "next to nothing but the JPEGs' own headers"
    assert len(read_heads(packed(packer, frame(), behind_deg=0.0).data)) == 1


@pytest.mark.parametrize("codec", ["planes", "packed"])
def test_the_budget_counts_what_is_behind(packer: Packer, codec: str) -> None:
    whole = packed(packer, frame(), codec=codec)
    less = packed(packer, frame(), codec=codec, max_splats=5000)
    assert 3500 < less.count <= 5000
    assert less.pruned == whole.pruned | {"budget": whole.count - less.count}


def test_a_file_of_degree_2_holds_both(packer: Packer) -> None:
    request = FrameRequest(FrameOptions(), ("planes",), file=FileOptions())
    found = packer.pack(PredictedCapture(Prediction(frame(k=9), "native", CAMERA), request))
    assert isinstance(found, PackedFrame) and found.count > WIDTH * HEIGHT * 0.94**2


def test_several_views_and_what_has_lost_its_grid_are_left_as_they_are(packer: Packer) -> None:
    twice = join([frame(), frame()], (2, HEIGHT, WIDTH))
    views = (PosedCamera(CAMERA), PosedCamera(CAMERA, np.eye(3, 4, dtype=np.float32)))
    request = FrameRequest(FrameOptions(border=0.0), ("planes", "packed"))
    found = packer.pack(PredictedCapture(Prediction(twice, "native", CAMERA, views=views), request))
    assert isinstance(found, PackedFrame) and found.count == len(twice) and len(read_heads(found.data)) == 2
    loose = packed(packer, frame().take(np.arange(5000)), border=0.0)
    assert loose.codec == "packed" and loose.count == 5000


@pytest.fixture(scope="module")
def room() -> dict[str, Gaussians]:
    """The procedural scene as each simulated head sees it."""
    true = render_scene(0.5, WIDTH, HEIGHT, Cast())
    depth = network_like(true.depth, seed=1)
    return {name: simulate_head(depth, true.rgb, true.camera, head) for name, head in HEADS.items()}


def test_a_simulated_head_keeps_to_the_form_of_the_adapter(room: dict[str, Gaussians]) -> None:
    true = render_scene(0.5, WIDTH, HEIGHT, Cast())
    pixel = (0.5 / true.camera.fx + 0.5 / true.camera.fy) * true.depth.ravel()
    for gaussians in room.values():
        assert gaussians.grid == (1, HEIGHT, WIDTH) and np.isfinite(gaussians.means).all()
        assert gaussians.opacities.min() > 0 and gaussians.opacities.max() < 1
        np.testing.assert_allclose(np.linalg.norm(gaussians.quats, axis=1), 1, atol=1e-5)
        assert (gaussians.scales.max(axis=1) / pixel).max() < 2.5 * LARGEST_PX, "at most six pixels of the depth that it predicts"
    spread = [float(np.std(np.log(gaussians.scales))) for gaussians in room.values()]
    assert spread == sorted(spread), "from calm to wild"


@pytest.mark.parametrize("head", HEADS)
def test_a_simulated_heads_frame_comes_nearer_to_the_truth_from_every_side(room: dict[str, Gaussians], head: str) -> None:
    camera = render_scene(0.5, WIDTH, HEIGHT, Cast()).camera
    before, (after, hidden) = room[head], continue_native(room[head], camera, 15, 0.1)
    assert hidden is not None
    for yaw, gained_db in ((0, 0.2), (10, 2.0), (-10, 2.0)):
        eye = Eye(yaw, 0, 1.2)
        truth = render_scene(0.5, WIDTH, HEIGHT, Cast(), eye).rgb / np.float32(255)
        inner = (slice(20, -20), slice(40, -40))
        shown = [
            draw_and_light(to_view(prune(parts, min_opacity=0.1)[0], eye.pose()), camera)[0][inner]
            for parts in (before, join([after, hidden.gaussians], None))
        ]
        assert psnr(shown[1], truth[inner]) > psnr(shown[0], truth[inner]) + gained_db
