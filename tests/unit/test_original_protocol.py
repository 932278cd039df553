"""What the two pages of the original protocol show: upright, not mirrored, before their camera."""

import io

import msgpack
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from plyfile import PlyData

from deployments.models.synthetic import SyntheticModel
from deployments.splats.activations import SH_C0
from deployments.splats.camera import Camera
from deployments.splats.codecs import CODECS, original
from deployments.stages.local import LocalPipeline
from deployments.stream import legacy
from deployments.stream.frames import Capture, FrameRequest, PackedFrame
from deployments.stream.options import FrameOptions

CORNERS = {"top left": (200, 30, 30), "top right": (30, 200, 30), "bottom left": (30, 30, 200), "bottom right": (200, 200, 30)}
SIZE = (64, 48)


def picture() -> bytes:
    """One colour a corner: any turn or mirroring shows."""
    rgb = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
    for name, colour in CORNERS.items():
        rows = slice(0, SIZE[1] // 2) if "top" in name else slice(SIZE[1] // 2, None)
        columns = slice(0, SIZE[0] // 2) if "left" in name else slice(SIZE[0] // 2, None)
        rgb[rows, columns] = colour
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    return file.getvalue()


def pack(codec: str, representation: str) -> PackedFrame:
    options = FrameOptions(codec=codec, representation=representation)  # type: ignore[arg-type]
    packed = LocalPipeline(SyntheticModel(splats=1200)).run(Capture((picture(),), FrameRequest(options)))
    assert isinstance(packed, PackedFrame), str(packed)
    return packed


def assert_seen_as_taken(x: NDArray, y: NDArray, depth: NDArray, rgb: NDArray, camera: Camera) -> None:
    """x right, y up, all in front, and each colour in its corner of the capture's picture."""
    assert (depth > 0).all()
    u, v = camera.cx + camera.fx * x / depth, camera.cy - camera.fy * y / depth
    assert 0 < u.min() < camera.width * 0.1 and camera.width * 0.9 < u.max() < camera.width
    for name, colour in CORNERS.items():
        mine = np.abs(rgb - np.array(colour)).max(axis=1) < 30
        assert mine.sum() > 100
        assert np.mean((u[mine] < camera.cx) == ("left" in name)) > 0.95
        assert np.mean((v[mine] < camera.cy) == ("top" in name)) > 0.95


def test_the_page_for_ply_sees_the_picture_from_where_it_was_taken() -> None:
    packed = pack(original.PLY, "splats")
    reply = msgpack.unpackb(legacy.reply(packed))
    assert set(reply) == {"type", "timestamp", "ply_data"} and reply["type"] == "gaussian_ply"
    vertex = PlyData.read(io.BytesIO(reply["ply_data"]))["vertex"]
    rgb = 255 * (0.5 + SH_C0 * np.stack([vertex[f"f_dc_{i}"] for i in range(3)], axis=1))
    # three.js: the page's camera is at (0, 0, 3) and looks along −z.
    assert_seen_as_taken(vertex["x"], vertex["y"], 3 - vertex["z"], rgb, packed.camera)


def test_the_page_for_points_sees_the_picture_upright() -> None:
    packed = pack(original.POINTS, "points")
    reply = msgpack.unpackb(legacy.reply(packed))
    assert reply["type"] == "pointcloud"
    points = np.frombuffer(reply["points"], "<f4").reshape(-1, 3)
    rgb = np.frombuffer(reply["colors"], np.uint8).reshape(-1, 3).astype(float)
    assert len(points) == len(rgb) == reply["num_points"] == packed.count
    # The page itself negates z.
    assert_seen_as_taken(*points.T, rgb, packed.camera)


@pytest.mark.parametrize(("codec", "representation"), [("ply", "splats"), ("points", "points")])
def test_everybody_else_gets_the_opencv_frame(codec: str, representation: str) -> None:
    packed = pack(codec, representation)
    splats = CODECS[codec].decode(packed.data)
    rgb = 255 * (0.5 + SH_C0 * splats.sh[:, 0])
    assert_seen_as_taken(splats.means[:, 0], -splats.means[:, 1], splats.means[:, 2], rgb, packed.camera)
