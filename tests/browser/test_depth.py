"""Frames as depth: the colours are those of the picture that was sent, and the viewer shows what the server would have lifted."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser

from benchmarks.subjects import scene
from deployments.models.da3.picture import prepare
from deployments.scene.clip import encode_clip
from deployments.splats.codecs.depth import encode_depth
from deployments.stages.decode import FrameLimits, decode_frame
from deployments.stages.jpeg_metadata import strip_metadata
from tests.browser.conftest import AppServer, Viewer, Worker
from tests.browser.depth_frame import lift_frame, read_source
from tests.browser.test_viewer import SET_BUDGET, WATCH_FOR_BLANKS, picture_of
from tests.pictures import saved
from tests.server import ROOT

pytestmark = pytest.mark.browser

OpenViewer = Callable[..., Viewer]
Serve = Callable[..., AppServer]
U8 = NDArray[np.uint8]

COUNT_BAD_REPLIES = """() => {
    window.badReplies = 0;
    const count = (records) => {
        for (const { addedNodes } of records) for (const card of addedNodes) badReplies += card.dataset.code === 'bad_reply';
    };
    new MutationObserver(count).observe(document.getElementById('problems'), { childList: true });
}"""


def psnr_db(a: NDArray[Any], b: NDArray[Any]) -> float:
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def pattern(width: int, height: int) -> U8:
    """Fine stripes, checks and noise in colour, different in every corner: whatever is scaled in another way looks another way."""
    v, u = np.mgrid[0:height, 0:width].astype(np.float64)
    rgb = np.stack([128 + 100 * np.sin(u / 3.1 + v / 17), 128 + 100 * np.sin(v / 2.3), 128 + 100 * np.sin((u + v) / 5)], axis=-1)
    rgb[(u // 9 + v // 7) % 2 == 0] *= 0.4
    rgb[..., 0] *= 0.5 + 0.5 * u / width
    rgb[..., 1] *= 0.5 + 0.5 * v / height
    return np.clip(rgb + np.random.default_rng(0).normal(0, 12, rgb.shape), 0, 255).astype(np.uint8)


def jpeg_of(width: int, height: int, orientation: int = 1, quality: int = 80) -> bytes:
    exif = Image.Exif()
    exif[0x112] = orientation
    return saved(Image.fromarray(pattern(width, height)), "JPEG", quality=quality, exif=exif)


def by_area(width: int, height: int, decode_px: int = 1024) -> Callable[[bytes], U8]:
    """What the relief has of a picture, and ``max_splats`` of any."""
    return lambda data: cv2.resize(  # type: ignore[return-value]
        decode_frame(data, FrameLimits(), decode_px), (width, height), interpolation=cv2.INTER_AREA
    )


def by_da3(longest_px: int) -> Callable[[bytes], U8]:
    return lambda data: prepare(decode_frame(data, FrameLimits(), 1024), longest_px)


@pytest.fixture(scope="module")
def worker(browser: Browser) -> Iterator[Worker]:
    page = browser.new_page()
    yield Worker(page, ROOT / "web" / "tests" / "depth.worker.ts")
    page.close()


def painted(worker: Worker, picture: bytes, width: int, height: int, orientation: int | None = None) -> U8:
    """RGB on the grid, as the viewer paints it. uint8 [height, width, 3]."""
    coded = base64.b64encode(picture).decode()
    answer = worker.ask(ask="paint", picture=coded, width=width, height=height, orientation=orientation)
    return np.frombuffer(base64.b64decode(answer["bytes"]), np.uint8).reshape(height, width, 4)[..., :3]


@pytest.mark.parametrize(
    ("picture", "server"),
    [
        pytest.param(jpeg_of(640, 480), by_area(384, 288), id="relief"),
        pytest.param(jpeg_of(640, 480), by_da3(504), id="a network's grid"),
        pytest.param(jpeg_of(320, 240), by_da3(504), id="a grid larger than the picture"),
        pytest.param(jpeg_of(480, 640), by_area(288, 384), id="portrait"),
        pytest.param(jpeg_of(641, 479), by_area(385, 287), id="odd sizes"),
        pytest.param(jpeg_of(640, 480), by_area(640, 480), id="the picture's own size"),
        pytest.param(jpeg_of(640, 480), by_area(101, 75), id="a coarse grid"),
        pytest.param(jpeg_of(1920, 1080), by_area(384, 216, 0), id="full HD"),
        pytest.param(jpeg_of(2560, 1920), by_area(384, 288), id="scaled on the server while it is decoded"),
        pytest.param(jpeg_of(4000, 3000, quality=50), by_area(384, 288, 504), id="twelve megapixels"),
        pytest.param(jpeg_of(640, 480, orientation=6), by_area(288, 384), id="turned by its EXIF data"),
        pytest.param(saved(Image.fromarray(pattern(640, 480)).convert("L"), "JPEG"), by_area(384, 288), id="grey"),
        pytest.param(saved(Image.fromarray(pattern(640, 480)), "PNG"), by_area(384, 288), id="PNG"),
    ],
)
def test_the_viewers_own_picture_lies_on_the_grid_as_the_servers_does(
    worker: Worker, picture: bytes, server: Callable[[bytes], U8]
):
    want = server(picture)
    height, width = want.shape[:2]
    got = painted(worker, picture, width, height)
    right = psnr_db(got, want)
    print(f"{right:.1f} dB")
    assert right >= 38
    inner = (slice(1, -1), slice(1, -1))
    for axis in (0, 1):
        for by in (-1, 1):
            assert psnr_db(np.roll(got, by, axis)[inner], want[inner]) < right - 3, "shifted by a pixel it is as like"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_without_its_metadata_is_turned_as_it_is_told(worker: Worker, orientation: int):
    picture = jpeg_of(640, 480, orientation)
    width, height = (288, 384) if orientation >= 5 else (384, 288)
    got = painted(worker, strip_metadata(picture), width, height, orientation)
    assert psnr_db(got, by_area(width, height)(picture)) >= 38


def test_a_picture_painted_while_it_was_sent_colours_its_reply_as_one_painted_after(worker: Worker):
    picture = jpeg_of(640, 480)

    def words(px: int, ahead: bool) -> str:
        data = encode_depth(scene(px).layered, step=1 / 768).tobytes()
        question = {"data": base64.b64encode(data).decode(), "own": base64.b64encode(picture).decode()}
        return str(worker.ask(ask="decode", codec="depth", times=2, ahead=ahead, **question)["bytes"])

    after = [words(px, ahead=False) for px in (96, 64)]
    # The first is painted on the last reply's grid, which is another.
    assert [words(px, ahead=True) for px in (96, 64)] == after
    assert after[0] != after[1]


@pytest.fixture(scope="module")
def still() -> Iterator[dict[str, AppServer]]:
    """Servers that make the same frame of every picture and send it in different ways."""
    always = ("--engine", "relief", "--still")
    servers = {
        "depth": AppServer(*always),
        "jpeg": AppServer(*always, "--colors", "jpeg"),
        "packed": AppServer(*always, "--codec", "packed"),
    }
    yield servers
    for server in servers.values():
        server.kill()


def shown_by(open_viewer: OpenViewer, server: AppServer, picture: Path, query: str) -> tuple[dict[str, Any], U8, bytes]:
    """What the viewer shows of a file: about the frame, the picture from the capture viewpoint, and what was sent."""
    viewer = open_viewer(f"{server.url}/?max_splats=16000&width=256&fps=2&adapt=0&{query}", size=(512, 384))
    viewer.page.set_input_files("#file", picture)
    viewer.wait("splatcast.stats.shown > 0")
    viewer.page.click("#start")
    viewer.wait("splatcast.renderer.activeSplats === splatcast.state.shown.count")
    rgba = at_rest(viewer)
    sent = base64.b64decode(viewer.get("lastCapture().then(capture => capture.jpeg)").split(",")[1])
    assert viewer.get("stats.badReplies") == 0
    return viewer.get("state.shown"), rgba, sent


def at_rest(viewer: Viewer) -> U8:
    """The picture from the capture viewpoint, once panels that come and go have left it its place."""
    before = None
    while True:
        now = np.asarray(picture_of(viewer.get("captureScreenshot()")).convert("RGBA"))
        if before is not None and now.shape == before.shape:
            return now
        before = now
        viewer.page.wait_for_timeout(500)


def on_black(rgba: U8) -> NDArray[np.float64]:
    return rgba[..., :3] * (rgba[..., 3:] / 255)


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("", id="splats"),
        # Between two levels of the codec's, so that rounding to them takes none across.
        pytest.param("min_opacity=0.7206", id="without the fainter ones"),
        pytest.param("representation=points", id="points"),
    ],
)
def test_depth_shows_what_splats_lifted_by_the_server_show(
    open_viewer: OpenViewer, still: dict[str, AppServer], tmp_path: Path, query: str
):
    (tmp_path / "person.jpg").write_bytes(encode_clip(seconds=0.2, fps=5, width=640, height=480)[0])
    picture = tmp_path / "person.jpg"
    lifted, reference, sent = shown_by(open_viewer, still["packed"], picture, query)
    pictures = {}
    for way in ("worker", "gpu"):
        own, ours, sent_too = shown_by(open_viewer, still["depth"], picture, f"{query}&lift={way}")
        assert sent == sent_too
        assert (own["codec"], own["onGpu"], lifted["codec"]) == ("depth", way == "gpu", "packed")
        assert own["kind"] == lifted["kind"]
        assert own["count"] == lifted["count"]
        drawn = (ours[..., 3] > 0) | (reference[..., 3] > 0)
        assert drawn.mean() > 0.5
        like = psnr_db(on_black(ours)[drawn], on_black(reference)[drawn])
        print(f"{way}: {own['count']} splats, {like:.1f} dB")
        assert like >= 45
        pictures[way] = ours
    jpeg, theirs, _ = shown_by(open_viewer, still["jpeg"], picture, f"{query}&lift=worker")
    assert (jpeg["codec"], jpeg["count"]) == ("depth", lifted["count"])
    assert np.array_equal(theirs, pictures["worker"]), "the JPEG that the server sends back is the picture that was sent"


@pytest.mark.parametrize("representation", ["splats", "points"])
@pytest.mark.parametrize("server", ["depth", "packed"])
def test_nothing_shows_between_the_splats_of_a_surface_however_near(
    open_viewer: OpenViewer, still: dict[str, AppServer], tmp_path: Path, server: str, representation: str
):
    Image.new("RGB", (640, 480), (120, 90, 60)).save(tmp_path / "wall.jpg")
    query = f"max_splats=1200&width=256&fps=2&adapt=0&representation={representation}"
    viewer = open_viewer(f"{still[server].url}/?{query}", size=(512, 384))
    viewer.page.set_input_files("#file", tmp_path / "wall.jpg")
    viewer.wait("splatcast.stats.shown > 0")
    viewer.page.click("#start")
    covered = at_rest(viewer)[..., 3]
    height, width = covered.shape
    middle = covered[height // 4 : -height // 4, width // 4 : -width // 4]
    # Splats ten pixels apart: plain ones let 3 % through, which is 8 of 255.
    assert middle.min() >= 250


@pytest.mark.parametrize("exact", [1, 0], ids=["exact order", "low latency"])
def test_on_the_gpu_frames_replace_each_other_in_place(open_viewer: OpenViewer, relief: AppServer, exact: int):
    query = f"source=sample&autostart=1&width=160&fps=30&adapt=0&max_splats=6000&lift=gpu&exact={exact}"
    viewer = open_viewer(f"{relief.url}/?{query}", size=(160, 120))
    viewer.wait("splatcast.state.shown?.onGpu")
    viewer.page.evaluate(WATCH_FOR_BLANKS)
    textures = {}
    for splats, room in (("6000", "> 4096"), ("2000", "<= 4096"), ("6000", "> 4096")):
        viewer.page.evaluate(SET_BUDGET, splats)
        viewer.wait(f"splatcast.renderer.capacity {room}")
        viewer.wait("splatcast.renderer.activeSplats === splatcast.state.shown.count")
        viewer.wait_shown(10)
        textures.setdefault(room, viewer.get("renderer.textures"))
        assert viewer.get("renderer.textures") == textures[room]
    watched = viewer.page.evaluate("watched")
    assert watched["pictures"] > 20 and watched["blank"] == 0
    assert viewer.get("state.shown.onGpu")


def test_software_rendering_lifts_in_a_worker_unless_told_otherwise(open_viewer: OpenViewer, relief: AppServer):
    viewer = open_viewer(f"{relief.url}/?source=sample&autostart=1&width=160&fps=5&max_splats=2000")
    viewer.wait_shown(2)
    assert viewer.get("state.lift.where") == "worker"
    assert "SwiftShader" in viewer.get("state.lift.why")
    assert viewer.get("state.shown.codec") == "depth" and not viewer.get("state.shown.onGpu")


# What a driver may do to a shader: this one cuts the bits off that a half has no room for, and thinks nothing of it.
CARELESS_DRIVER = """
    const { shaderSource } = WebGL2RenderingContext.prototype;
    WebGL2RenderingContext.prototype.shaderSource = function (shader, text) {
        shaderSource.call(this, shader, text.replace('& 0x7fffffffu', '& 0x7fff0000u'));
    };
"""


def test_a_gpu_that_lifts_otherwise_is_found_out_and_the_worker_lifts(browser: Browser, relief: AppServer):
    page = browser.new_page()
    page.add_init_script(CARELESS_DRIVER)
    viewer = Viewer(page, f"{relief.url}/?source=sample&autostart=1&width=160&fps=5&max_splats=2000&lift=gpu")
    viewer.wait("splatcast.state.lift")
    assert viewer.get("state.lift.where") == "worker"
    assert "more than a step apart" in viewer.get("state.lift.why")
    viewer.wait_shown(2)
    assert viewer.get("state.shown.codec") == "depth" and not viewer.get("state.shown.onGpu")
    page.close()
    assert viewer.complaints == []


def test_a_broken_depth_reply_is_a_card_and_an_ack_and_the_next_one_is_shown(open_viewer: OpenViewer, serve: Serve, tmp_path: Path):
    server = serve("--engine", "relief", "--corrupt", "--acks", str(tmp_path / "acks"))
    viewer = open_viewer(f"{server.url}/?max_splats=2000&width=160&fps=5")
    viewer.page.evaluate(COUNT_BAD_REPLIES)
    viewer.page.click("text=Play the sample")
    viewer.wait("splatcast.stats.badReplies >= 3 && splatcast.stats.shown >= 3")
    assert viewer.get("state.shown.codec") == "depth"
    assert viewer.page.evaluate("badReplies") >= 3
    # Acks leave in batches: the last ones may still be on their way.
    deadline_s = time.monotonic() + 20.0
    bad: list[dict[str, float]] = []
    while len(bad) < 3 and time.monotonic() < deadline_s:
        viewer.page.wait_for_timeout(100)
        whole_lines = (tmp_path / "acks").read_text().rpartition("\n")[0]
        acks = [json.loads(line) for line in whole_lines.splitlines()]
        bad = [ack for ack in acks if not ack["decoded_ms"]]
    assert len(bad) >= 3 and all(ack["received_ms"] > 0 and ack["shown_ms"] == 0 for ack in bad)
    assert [ack["seq"] for ack in acks] == sorted({ack["seq"] for ack in acks})


def test_depth_goes_on_after_a_restart_of_the_server(open_viewer: OpenViewer, serve: Serve):
    server = serve("--engine", "relief")
    viewer = open_viewer(f"{server.url}/?max_splats=2000&width=160&fps=10", expected="WebSocket")
    viewer.page.click("text=Play the sample")
    viewer.wait_shown(3)
    server.kill()
    viewer.problem("server_gone")
    server.start()
    viewer.wait("splatcast.state.connection === 'open'")
    viewer.wait_shown(5)
    assert viewer.get("state.shown.codec") == "depth"
    assert viewer.get("stats.badReplies") == 0


def test_the_frame_of_the_browser_check_is_one_of_the_codec_and_lifts_as_it_says():
    frame, words = read_source()
    assert 0 < len(words) // 16 < 6 * 4
    assert lift_frame(frame) == words, "after a change of the codec's bytes run: python -m tests.browser.depth_frame"
