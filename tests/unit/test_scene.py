"""The procedural scene: deterministic, periodic, asymmetric, and its depth is true."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from deployments.scene.clip import PERIOD_S, encode_clip, main, render_scene, write_fake_camera
from deployments.scene.room import WALL_M


def test_the_same_moment_gives_the_same_bits_and_a_period_later_the_same_picture() -> None:
    one, two, later = (render_scene(t, 96, 72) for t in (0.7, 0.7, 0.7 + PERIOD_S))
    assert np.array_equal(one.rgb, two.rgb) and np.array_equal(one.depth, two.depth)
    assert np.abs(one.rgb.astype(int) - later.rgb).max() <= 1
    assert one.rgb.shape == (72, 96, 3) and one.depth.dtype == np.float32


def test_a_picture_handed_out_may_be_written_to() -> None:
    render_scene(0.7, 96, 72).rgb[:] = 0
    assert render_scene(0.7, 96, 72).rgb.mean() > 50


def test_the_person_moves() -> None:
    a, b = render_scene(0.0, 96, 72), render_scene(1.0, 96, 72)
    assert (np.abs(a.depth - b.depth) > 0.01).mean() > 0.02


def test_a_person_sits_before_the_wall_and_reaches_the_lower_edge() -> None:
    depth = render_scene(0.0, 160, 120).depth
    person = depth < 1.2
    assert 0.15 < person.mean() < 0.6
    assert person[-1].mean() > 0.3 and not person[0].any()
    assert depth.min() > 0.6 and depth.max() == np.float32(WALL_M)
    assert not ((depth > 1.2) & (depth < 1.5)).any(), "nothing hangs between the person and the room"


def test_depth_does_not_depend_on_the_resolution() -> None:
    # Every third pixel centre of the large picture is a pixel centre of the small one.
    small, large = render_scene(1.3, 80, 60), render_scene(1.3, 240, 180)
    again = large.depth[1::3, 1::3]
    same = np.abs(small.depth - again) < 0.002
    assert same.mean() > 0.995
    assert large.camera.fx == pytest.approx(3 * small.camera.fx)


def test_depth_is_along_the_axis_not_along_the_ray() -> None:
    assert (render_scene(0.0, 160, 120).depth == np.float32(WALL_M)).mean() > 0.2, "the back wall has one depth"


@pytest.mark.parametrize(
    "change", [lambda p: p[:, ::-1], lambda p: p[::-1], lambda p: p[..., ::-1], lambda p: p[..., [1, 2, 0]]],
    ids=["mirrored", "upside down", "blue for red", "rotated channels"],
)  # fmt: skip
def test_a_wrong_orientation_is_clearly_another_picture(change) -> None:
    picture = render_scene(0.0, 160, 120).rgb.astype(np.float32)
    assert np.abs(picture - change(picture)).mean() > 12


def test_a_clip_is_jpegs_of_the_scene() -> None:
    clip = encode_clip(seconds=0.3, fps=10, width=64, height=48)
    assert len(clip) == 3
    for i, data in enumerate(clip):
        rgb = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert np.abs(rgb.astype(float) - render_scene(i / 10, 64, 48).rgb).mean() < 8


def test_an_mjpeg_fake_camera_is_jpegs_end_to_end(tmp_path: Path) -> None:
    path = tmp_path / "clip.mjpeg"
    write_fake_camera(path, seconds=0.2, fps=10, width=64, height=48)
    data = path.read_bytes()
    assert data.startswith(b"\xff\xd8\xff") and data.endswith(b"\xff\xd9") and data.count(b"\xff\xd8\xff") == 2


def test_a_y4m_fake_camera_has_its_header_and_whole_frames(tmp_path: Path) -> None:
    path = tmp_path / "clip.y4m"
    write_fake_camera(path, seconds=0.2, fps=10, width=64, height=48)
    header, _, rest = path.read_bytes().partition(b"\n")
    assert header.split()[:4] == [b"YUV4MPEG2", b"W64", b"H48", b"F10:1"]
    size = 6 + 64 * 48 * 3 // 2
    assert len(rest) == 2 * size and rest[:6] == rest[size : size + 6] == b"FRAME\n"
    yuv = np.frombuffer(rest[6:size], np.uint8).reshape(72, 64)
    back = cv2.cvtColor(yuv, cv2.COLOR_YUV2RGB_I420).astype(float)
    assert np.abs(back - render_scene(0.0, 64, 48).rgb).mean() < 6


def test_files_of_another_kind_and_odd_sides_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"clip\.avi"):
        write_fake_camera(tmp_path / "clip.avi")
    with pytest.raises(ValueError, match="65×48"):
        write_fake_camera(tmp_path / "clip.y4m", width=65, height=48)


def test_the_command_line_writes_one_picture(tmp_path: Path) -> None:
    path = tmp_path / "scene.png"
    main([str(path), "--seconds", "1", "--width", "64", "--height", "48"])
    assert np.array_equal(cv2.imread(str(path))[..., ::-1], render_scene(1.0, 64, 48).rgb)
