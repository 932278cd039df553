"""A room's frame in another form: what a viewer gets who can't take it as it is."""

import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray

from deployments.client import read_jpeg
from deployments.splats.camera import Camera
from deployments.splats.codecs import CODECS, original
from deployments.splats.codecs.depth import Jpeg, decode_depth, encode_depth
from deployments.splats.layers import DepthLayer, DepthView, LayeredDepth
from deployments.splats.reading import read_frame
from deployments.stages.pack import Packer, PackSettings
from deployments.stream.frames import FrameRequest, PackedFrame
from deployments.stream.options import FrameOptions
from deployments.stream.quality import Setting
from deployments.stream.room_news import Rendition
from deployments.stream.seat import needs_less

WIDTH, HEIGHT = 160, 120


@pytest.fixture(scope="module")
def packer() -> Packer:
    return Packer(PackSettings())


@pytest.fixture(scope="module")
def frame() -> PackedFrame:
    """A ball before a wall, with the camera's picture."""
    v, u = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    inverse = np.where((u - 80) ** 2 + (v - 60) ** 2 < 900, 0.9, 0.4 + v / 1000).astype(np.float32)
    picture = np.stack([u, 2 * v, 255 - u], axis=-1).astype(np.uint8)
    camera = Camera(WIDTH, HEIGHT, 140.0, 140.0, 80.0, 60.0)
    layered = LayeredDepth((DepthView(camera, (DepthLayer(inverse),), picture),))
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), 90, "RGB", "444")
    data = encode_depth(layered, step=1 / 768, colour=[Jpeg(jpeg)], border=0.03, min_opacity=0.1)
    return PackedFrame("depth", "lifted", WIDTH * HEIGHT, data, camera, {}, FrameRequest())


@pytest.mark.parametrize("codec", ["packed", "points", "ply"])
def test_any_codec_of_splats_can_be_made_of_depth(packer: Packer, frame: PackedFrame, codec: str) -> None:
    made = packer.recode(frame, Rendition(codec))
    expected = read_frame("depth", frame.data, read_jpeg)
    assert made.codec == codec and made.count == len(expected)
    found = CODECS[codec].decode(made.data)
    np.testing.assert_allclose(found.means, expected.means, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(found.sh[:, 0], expected.sh[:, 0], atol=0.02)


def test_the_original_protocols_points_have_y_up(packer: Packer, frame: PackedFrame) -> None:
    up = CODECS["points"].decode(packer.recode(frame, Rendition(original.POINTS)).data)
    down = CODECS["points"].decode(packer.recode(frame, Rendition("points")).data)
    np.testing.assert_array_equal(up.means, down.means * np.array([1, -1, 1], np.float32))


def test_the_coarse_rendition_takes_less_than_half_and_shows_the_same(packer: Packer, frame: PackedFrame) -> None:
    coarse = packer.recode(frame, Rendition("depth", is_coarse=True))
    assert coarse.codec == "depth" and len(coarse.data) < 0.5 * len(frame.data)
    whole, less = decode_depth(frame.data), decode_depth(coarse.data)
    assert (less.views[0].camera.width, less.views[0].camera.height) == (96, 72)
    assert (less.border, less.min_opacity, less.farthest, less.kind) == (
        whole.border,
        whole.min_opacity,
        whole.farthest,
        whole.kind,
    )

    def middle(data: NDArray[np.uint8]) -> NDArray[np.float32]:
        gaussians = read_frame("depth", data, read_jpeg)
        at = np.hypot(gaussians.means[:, 0], gaussians.means[:, 1]) < 0.05 * gaussians.means[:, 2]
        return np.append(gaussians.means[at].mean(axis=0), gaussians.sh[at, 0].mean(axis=0))

    np.testing.assert_allclose(middle(coarse.data), middle(frame.data), atol=0.04)


def test_what_a_model_predicted_can_not_be_made_of_splats(packer: Packer, frame: PackedFrame) -> None:
    splats = packer.recode(frame, Rendition("packed"))
    with pytest.raises(ValueError, match="packed can't become planes"):
        packer.recode(splats, Rendition("planes"))


@pytest.mark.parametrize(
    ("load", "full_splats", "expected"), [(20_000, 100_000, True), (60_000, 100_000, False), (20_000, 0, False)]
)
def test_less_than_half_of_a_frames_bytes_asks_for_the_coarse_one(load: int, full_splats: int, expected: bool) -> None:
    options = FrameOptions()
    assert needs_less(Setting(options, options, full_splats, 0, load, 0, "network")) is expected
