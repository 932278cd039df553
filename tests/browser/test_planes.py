"""Native Gaussians as planes: the browser's JPEG decoder gives the viewer what the server meant, number by number."""

import base64
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser

from deployments.client import read_jpeg
from deployments.splats.codecs import planes
from deployments.splats.codecs.planes_ladder import rung_at
from deployments.stages.pack import PackSettings, encode_plane
from tests.browser.conftest import Worker
from tests.browser.test_depth import OpenViewer, Serve, at_rest, on_black, psnr_db
from tests.server import ROOT
from tests.vectors.native import native_frame
from tests.vectors.reference import packed_numbers

pytestmark = pytest.mark.browser

U8 = NDArray[np.uint8]
ANGLE, AXIS = 12, (7, 8)
"""Columns of the packed numbers."""


@pytest.fixture(scope="module")
def worker(browser: Browser) -> Iterator[Worker]:
    page = browser.new_page()
    yield Worker(page, ROOT / "web" / "tests" / "depth.worker.ts")
    page.close()


def decoded_by_the_page(worker: Worker, data: U8) -> U8:
    """Packed words behind a header, as the server's own codec writes them."""
    answer = worker.ask(ask="decode", codec="planes", data=base64.b64encode(data.tobytes()).decode(), own=None, times=1)
    return np.concatenate([np.zeros(32, np.uint8), np.frombuffer(base64.b64decode(answer["bytes"]), np.uint8)])


@pytest.mark.parametrize("depth_step", [1 / 512, 1 / 64])
@pytest.mark.parametrize("views", [1, 2])
def test_the_page_makes_the_words_that_the_server_would_have_packed(worker: Worker, depth_step: float, views: int) -> None:
    gaussians, cameras = native_frame(96, 72, views=views, seed=5)
    kept = np.flatnonzero(gaussians.opacities > 0)
    data, count = planes.encode_planes(gaussians, kept, cameras, rung=rung_at(depth_step), encode_jpeg=encode_plane)
    found = packed_numbers(decoded_by_the_page(worker, data))
    expected = packed_numbers(PackSettings().packed_codec().encode(planes.decode_planes(data, read_jpeg)))
    assert len(found) == len(expected) == count
    apart = np.abs(found - expected)
    # Without a rotation there is no axis.
    apart[np.ix_(expected[:, ANGLE] == 0, AXIS)] = 0
    assert apart.max() <= 1, f"{np.argwhere(apart > 1)[:5]}"
    assert (apart > 0).mean() < 0.02


def test_a_native_stream_shows_what_packed_splats_show(open_viewer: OpenViewer, serve: Serve) -> None:
    pictures = {}
    for codec in ("auto", "packed"):
        server = serve("--native", "--still", "--codec", codec)
        viewer = open_viewer(f"{server.url}/?width=256&fps=2&adapt=0", size=(512, 384))
        viewer.page.click("text=Play the sample")
        viewer.wait_shown(2)
        viewer.page.click("#start")
        viewer.wait("splatcast.renderer.activeSplats === splatcast.state.shown.count")
        # Without the panels the picture has the whole window, whatever they say.
        viewer.page.keyboard.press("h")
        viewer.page.wait_for_timeout(300)
        picture = at_rest(viewer)
        assert viewer.get("stats.badReplies") == 0
        shown = viewer.get("state.shown")
        assert (shown["codec"], shown["kind"]) == ("planes" if codec == "auto" else "packed", "native")
        pictures[codec] = shown["count"], picture
    (count, ours), (packed_count, reference) = pictures["auto"], pictures["packed"]
    assert count == packed_count
    drawn = (ours[..., 3] > 0) | (reference[..., 3] > 0)
    assert drawn.mean() > 0.5
    like = psnr_db(on_black(ours)[drawn], on_black(reference)[drawn])
    print(f"{count} splats, {like:.1f} dB")
    assert like >= 28


def test_a_broken_planes_reply_is_refused_and_the_next_one_is_shown(open_viewer: OpenViewer, serve: Serve) -> None:
    server = serve("--native", "--corrupt")
    viewer = open_viewer(f"{server.url}/?max_splats=2000&width=160&fps=5")
    viewer.page.click("text=Play the sample")
    viewer.wait("splatcast.stats.badReplies >= 3 && splatcast.stats.shown >= 3")
    assert viewer.get("state.shown.codec") == "planes"


def test_a_jpeg_that_is_none_behind_a_good_header_is_refused(worker: Worker) -> None:
    gaussians, cameras = native_frame(32, 24)

    def hollow(picture: U8, quality: int, halved: bool) -> bytes:
        whole = encode_plane(picture, quality, halved)
        tables = whole.index(b"\xff\xc4")
        # The first table's counts say that there are more codes than can be.
        return whole[: tables + 5] + b"\xff" * 16 + whole[tables + 21 :]

    data, _ = planes.encode_planes(gaussians, np.arange(len(gaussians)), cameras, rung=rung_at(1 / 128), encode_jpeg=hollow)
    with pytest.raises(AssertionError, match="planes: expected a JPEG"):
        decoded_by_the_page(worker, data)
