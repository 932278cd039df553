"""What the fidelity benchmark rests on: its splatter agrees with an independent one, its subjects are what they claim to be."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import fidelity, subjects
from benchmarks.native import LEVELS, native_like
from benchmarks.splatter import NARROWED, OPAQUE, STACKED, draw, draw_and_light, turn, with_flat_tops
from deployments.scene.clip import scene_camera
from deployments.splats.camera import Camera
from deployments.splats.layer_lifting import lift_and_prune
from deployments.splats.layers import LayeredDepth
from deployments.splats.lifting import lift_depth
from tests.server import ROOT
from tests.unit import splatter

PX = 64


@pytest.fixture(scope="module")
def scene() -> subjects.Subject:
    return subjects.scene(PX)


def test_the_splatter_agrees_with_an_independent_one_seen_from_the_side(scene: subjects.Subject) -> None:
    camera = scene.layered.views[0].camera
    kept, _ = lift_and_prune(scene.layered, min_opacity=0.1)
    for yaw in (0, 20):
        seen = turn(kept, yaw, 1.5)
        expected, _ = splatter.splat(seen, camera)
        assert splatter.psnr(draw(seen, camera, blur=0.0), expected) > 35


def test_flat_tops_are_drawn_with_the_viewers_figures() -> None:
    source = (ROOT / "web" / "src" / "view" / "flat_tops.ts").read_text(encoding="utf-8")
    figures = dict(re.findall(r"^const ([A-Z]+) = ([\d.]+);$", source, re.M))
    assert {name: float(figure) for name, figure in figures.items()} == {
        "NARROWED": NARROWED,
        "STACKED": STACKED,
        "OPAQUE": OPAQUE,
    }


def test_a_flat_top_is_as_many_splats_on_top_of_each_other_as_it_says() -> None:
    camera = Camera(64, 48, 400.0, 400.0, 32.0, 24.0)
    one = lift_depth(np.ones((1, 1), np.float32), np.full((1, 1, 3), 255, np.uint8), Camera(1, 1, 40.0, 40.0, 0.5, 0.5))
    flat = with_flat_tops(one)
    narrow = replace(one, scales=one.scales * np.float32(NARROWED), opacities=np.ones(1, np.float32))
    _, light = draw_and_light(flat, camera, blur=0.0)
    _, alone = draw_and_light(narrow, camera, blur=0.0)
    seen = alone < 0.95
    assert seen.sum() > 100
    np.testing.assert_allclose(light[seen], alone[seen] ** STACKED, atol=0.01)


def test_splats_that_let_through_are_left_as_they_are() -> None:
    faint = lift_depth(np.ones((4, 4), np.float32), np.zeros((4, 4, 3), np.uint8), Camera(4, 4, 4.0, 4.0, 2.0, 2.0))
    faint.opacities[:] = 0.5
    drawn = with_flat_tops(faint)
    np.testing.assert_array_equal(drawn.opacities, faint.opacities)
    np.testing.assert_array_equal(drawn.scales, faint.scales)


def test_turning_moves_centres_and_axes_alike_and_leaves_the_pivot(scene: subjects.Subject) -> None:
    kept, _ = lift_and_prune(scene.layered, min_opacity=0.1)
    seen = turn(kept, 30, 2.0)
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    around = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    np.testing.assert_allclose(splatter.rotations(seen.quats), around @ splatter.rotations(kept.quats), atol=1e-5)
    pivot = np.array([0, 0, 2])
    np.testing.assert_allclose(seen.means, (kept.means - pivot) @ around.T + pivot, atol=1e-5)


def test_two_equal_pictures_are_capped_and_a_known_error_has_its_known_figure() -> None:
    picture = np.full((16, 16, 3), 0.5, np.float32)
    assert fidelity.psnr(picture, picture) == fidelity.BEST_DB
    assert fidelity.psnr(picture, picture + np.float32(0.1)) == pytest.approx(20, abs=1e-3)
    assert fidelity.ssim(picture, picture) == pytest.approx(1)
    found = fidelity.compare([picture] * 5, [picture, picture + np.float32(0.1), picture + np.float32(0.01), picture, picture])
    assert found["psnr"] == [100, pytest.approx(30, abs=0.01), 100]


def test_network_like_depth_is_true_to_a_few_percent_away_from_edges_and_the_same_every_time() -> None:
    depth = np.fromfunction(lambda v, u: 1.0 + 0.01 * u + 0.0 * v, (48, 64), dtype=np.float32).astype(np.float32)
    found = subjects.network_like(depth, seed=3)
    np.testing.assert_array_equal(found, subjects.network_like(depth, seed=3))
    error = np.abs(np.log(found / depth))
    assert 0.002 < error.std() < 0.02 and error.max() < 0.06


def test_holes_of_a_disparity_are_as_far_as_the_farther_side() -> None:
    hole = np.inf
    disparity = np.array([[5, hole, hole, 3], [hole, 7, 2, hole], [hole, hole, hole, hole]], np.float32)
    filled = subjects._fill_holes(disparity)
    np.testing.assert_array_equal(filled, [[5, 3, 3, 3], [7, 7, 2, 2], [4, 4, 4, 4]])


@pytest.mark.parametrize("name", [*subjects.SUBJECTS])
def test_a_subject_shows_the_picture_that_its_camera_sent(name: str) -> None:
    subject = subjects.SUBJECTS[name](PX)
    (view,) = subject.layered.views
    np.testing.assert_array_equal(subject.picture(subject.jpeg), view.picture)
    front = view.layers[0].inverse_depth
    assert front.shape == (PX * 3 // 4, PX) and np.isfinite(front).all() and (front >= 0).all() and front.max() > 0
    if name == "scene":
        assert view.camera == scene_camera(PX, PX * 3 // 4)


def test_every_row_has_bytes_times_and_a_picture_that_is_better_the_finer_the_step(scene: subjects.Subject, tmp_path: Path) -> None:
    found = fidelity.measure(scene, tmp_path, 1)
    rows = {row["name"]: row for row in found["rows"]}
    assert rows["packed"]["bytes"] == 32 + 16 * found["splats"] and rows["packed"]["encode_per_packed"] == 1
    assert all(row["encode_ms"] > 0 and row["decode_ms"] > 0 for row in rows.values())
    assert rows["ply"]["psnr"] == rows["points"]["psnr"] == [fidelity.BEST_DB] * 3
    own = [rows[f"depth, own picture, 1/{step}"] for step in fidelity.STEPS]
    assert [row["bytes"] for row in own] == sorted((row["bytes"] for row in own), reverse=True)
    means = [np.mean(row["psnr"]) for row in own]
    assert means == sorted(means, reverse=True) and means[0] > 40 and 0.99 < own[0]["ssim"][0] <= 1
    for step, row in zip(fidelity.STEPS, own, strict=True):
        sent = rows[f"depth, camera's JPEG, 1/{step}"]
        assert sent["bytes"] == row["bytes"] + found["jpeg_bytes"] and sent["psnr"] == row["psnr"]
    assert all(name in fidelity.describe(found) for name in rows)


def test_depth_is_measured_with_every_layer(tmp_path: Path) -> None:
    subject = subjects.relief(PX)
    assert subject.layered.layer_count == 2
    found = fidelity.measure(subject, tmp_path, 1)
    finest = next(row for row in found["rows"] if row["name"] == "depth, own picture, 1/768")
    assert min(finest["psnr"]) > 35
    front = LayeredDepth(tuple(type(v)(v.camera, v.layers[:1], v.picture, v.pose) for v in subject.layered.views))
    assert found["splats"] > len(lift_and_prune(front, border=0.03, min_opacity=0.1)[0])


def test_native_gaussians_are_planes_that_are_better_the_finer_they_are(tmp_path: Path) -> None:
    found = fidelity.measure(subjects.SUBJECTS["scene-middle"](PX), tmp_path, 1)
    rows = {row["name"]: row for row in found["rows"]}
    assert set(rows) >= {"packed", "ply"} and not any("depth" in name for name in rows)
    ladder = [rows[f"planes, 1/{step}"] for step in fidelity.STEPS]
    assert [row["bytes"] for row in ladder] == sorted((row["bytes"] for row in ladder), reverse=True)
    means = [np.mean(row["psnr"]) for row in ladder]
    assert means == sorted(means, reverse=True) and means[0] > 30
    assert "native Gaussians" in fidelity.describe(found)
    assert "planes" in fidelity.chart([found])


def test_wilder_gaussians_are_farther_from_what_depth_would_be_lifted_to(scene: subjects.Subject) -> None:
    lifted = lift_and_prune(scene.layered)[0]
    apart = []
    for level in LEVELS:
        gaussians = native_like(scene.layered, level)
        assert gaussians.grid == (1, PX * 3 // 4, PX) and np.isfinite(gaussians.means).all()
        np.testing.assert_array_equal(gaussians.means, native_like(scene.layered, level).means)
        apart.append(float(np.abs(np.log(gaussians.scales)).std()))
    assert apart == sorted(apart) and len(lifted) > 0


def test_the_chart_has_every_codec_within_its_frame_and_comes_out_the_same(scene: subjects.Subject, tmp_path: Path) -> None:
    first, second = (fidelity.chart([fidelity.measure(scene, tmp_path, 1)]) for _ in range(2))
    assert first == second
    root = ElementTree.fromstring(first)
    width, height = (float(value) for value in root.attrib["viewBox"].split()[2:])
    dots = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in root.findall(".//{*}circle")]
    assert len(dots) == 5 + 2 * len(fidelity.STEPS)
    assert all(0 <= x <= width and 0 <= y <= height for x, y in dots)
    text = " ".join(element.text or "" for element in root.findall(".//{*}text"))
    assert all(
        name in text for name in ("packed", "gzip of packed", "SPZ", "ply", "points", "own picture", "camera's JPEG", "10 kB")
    )
