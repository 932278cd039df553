"""What a person sees: the camera's own picture in 3D, from a camera, a clip or a file, without leaks."""

import base64
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deployments.scene.clip import encode_clip
from tests.browser.conftest import AppServer, Viewer
from tests.server import Server

pytestmark = pytest.mark.browser

OpenViewer = Callable[..., Viewer]

# Every picture that is drawn, before the browser takes it: each begins with a clear of the canvas, and is whole at the task's end.
WATCH_FOR_BLANKS = """() => {
    window.watched = { pictures: 0, blank: 0 };
    const canvas = document.getElementById('view');
    const context = new OffscreenCanvas(16, 12).getContext('2d', { willReadFrequently: true });
    const look = () => {
        context.clearRect(0, 0, 16, 12);
        context.drawImage(canvas, 0, 0, 16, 12);
        watched.pictures++;
        if (context.getImageData(0, 0, 16, 12).data.every((value) => value === 0)) watched.blank++;
    };
    const { clear } = WebGL2RenderingContext.prototype;
    WebGL2RenderingContext.prototype.clear = function (bits) {
        clear.call(this, bits);
        if (this.getParameter(this.FRAMEBUFFER_BINDING) === null) queueMicrotask(look);
    };
}"""
SET_BUDGET = """splats => {
    const input = document.getElementById('set-splats');
    input.value = splats;
    input.dispatchEvent(new Event('input'));
}"""


def picture_of(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))


def psnr_db(a: NDArray[np.float64], b: NDArray[np.float64], where: NDArray[np.bool_]) -> float:
    return float(10 * np.log10(255**2 / np.mean((a[where] - b[where]) ** 2)))


@pytest.mark.parametrize("lift", ["worker", "gpu"])
def test_the_picture_from_the_capture_viewpoint_is_the_cameras_picture(open_viewer: OpenViewer, relief: AppServer, lift: str):
    assert_the_viewer_shows_the_camera(open_viewer, relief.url, lift)


@pytest.mark.cluster
def test_the_same_through_the_whole_ray_serve_graph(open_viewer: OpenViewer):
    with Server() as server:
        assert_the_viewer_shows_the_camera(open_viewer, server.url)


def assert_the_viewer_shows_the_camera(open_viewer: OpenViewer, url: str, lift: str = "auto") -> None:
    viewer = open_viewer(f"{url}/?source=camera&autostart=1&max_splats=8000&width=320&fps=1&lift={lift}", size=(640, 480))
    viewer.wait_shown(3)
    # Stopped, and the last frame sent is the one on the screen: what was captured and what is drawn are the same moment.
    viewer.page.click("#start")
    viewer.wait("splatcast.lastCapture().then(capture => capture.seq === splatcast.state.shown.seq)")

    sent = picture_of(viewer.get("lastCapture().then(capture => capture.jpeg)"))
    assert sent.size == (320, 240)
    drawn = picture_of(viewer.get("captureScreenshot()")).resize((320, 240), Image.Resampling.BOX)
    rgba = np.asarray(drawn, np.float64)
    splats, covered = rgba[..., :3], rgba[..., 3] > 230
    camera = np.asarray(sent.convert("RGB"), np.float64)
    assert covered.mean() > 0.5

    right = psnr_db(splats, camera, covered)
    wrong = {
        "mirrored": psnr_db(splats[:, ::-1], camera, covered[:, ::-1]),
        "upside down": psnr_db(splats[::-1], camera, covered[::-1]),
        "with red and blue exchanged": psnr_db(splats[..., ::-1], camera, covered),
    }
    print(f"PSNR {right:.1f} dB; {wrong}")
    assert right >= 20
    for how, other in wrong.items():
        assert right > other + 3, f"{how} it is as like ({other:.1f} dB) as upright ({right:.1f} dB)"


def test_every_splat_that_was_sent_is_drawn(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?source=camera&autostart=1&max_splats=3000&width=160&fps=2&min_opacity=0")
    viewer.wait_shown(2)
    viewer.page.click("#start")
    count = viewer.get("state.shown.count")
    assert 1000 < count <= 3000
    viewer.wait("splatcast.renderer.activeSplats === splatcast.state.shown.count")


def test_three_hundred_frames_leave_textures_and_heap_as_they_were(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?source=camera&autostart=1&max_splats=400&width=64&fps=60", size=(160, 120))
    devtools = viewer.page.context.new_cdp_session(viewer.page)

    def heap_bytes() -> float:
        devtools.send("HeapProfiler.collectGarbage")
        return float(devtools.send("Runtime.getHeapUsage")["usedSize"])

    # Shaders, textures and windows of figures fill up first.
    viewer.wait_shown(60)
    before, textures = heap_bytes(), viewer.get("renderer.textures")
    viewer.wait_shown(300, timeout_s=240)
    assert viewer.get("renderer.textures") == textures
    grown = heap_bytes() - before
    print(f"heap {grown / 1e3:+.0f} KB over 300 frames")
    assert grown < 2e6


def test_points_and_splats_can_be_exchanged_live(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?source=camera&autostart=1&max_splats=1000&width=160&fps=5")
    viewer.wait("splatcast.state.shown?.codec === 'packed'")
    viewer.page.click("#representation >> text=Points")
    viewer.wait("splatcast.state.shown.kind === 'points'")
    assert viewer.get("state.shown.codec") == "points"
    viewer.page.click("#representation >> text=Splats")
    viewer.wait("splatcast.state.shown.kind !== 'points'")
    assert viewer.get("stats.badReplies") == 0


def test_low_latency_shows_the_same_frames(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?source=camera&autostart=1&max_splats=1000&width=160&fps=5&exact=0")
    viewer.wait_shown(5)
    viewer.page.click("#settings-toggle")
    viewer.page.check("#set-exact")
    viewer.wait_shown(3)
    viewer.page.uncheck("#set-exact")
    viewer.wait_shown(3)


def test_a_larger_budget_makes_room_for_itself(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?source=camera&autostart=1&max_splats=500&width=160&fps=5&min_opacity=0")
    viewer.wait_shown(2)
    assert viewer.get("state.shown.count") <= 500
    viewer.page.click("#settings-toggle")
    viewer.page.click("#advanced > summary")
    viewer.page.fill("#set-splats", "3000")
    viewer.wait("splatcast.state.shown.count > 2048 && splatcast.renderer.activeSplats === splatcast.state.shown.count")


@pytest.mark.parametrize("exact", [1, 0], ids=["exact order", "low latency"])
def test_room_for_splats_shrinks_and_grows_with_the_frames_and_the_picture_is_never_blank(
    open_viewer: OpenViewer, synthetic: AppServer, exact: int
):
    query = f"source=camera&autostart=1&width=160&fps=30&min_opacity=0&max_splats=3000&exact={exact}"
    viewer = open_viewer(f"{synthetic.url}/?{query}", size=(160, 120))
    viewer.wait_shown(2)
    assert viewer.get("renderer.capacity") == 4096
    viewer.page.evaluate(WATCH_FOR_BLANKS)
    for splats, capacity in (("2000", 2048), ("3000", 4096)):
        viewer.page.evaluate(SET_BUDGET, splats)
        viewer.wait(f"splatcast.renderer.capacity === {capacity}")
        viewer.wait("splatcast.renderer.activeSplats === splatcast.state.shown.count")
        viewer.wait_shown(2)
    watched = viewer.page.evaluate("watched")
    assert watched["pictures"] > 20 and watched["blank"] == 0


def test_the_sample_plays_without_a_camera(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?max_splats=1000&fps=5")
    viewer.page.click("text=Play the sample")
    viewer.wait_shown(3)
    assert viewer.get("state.sourceName") == "sample clip"
    assert viewer.page.is_visible("#preview-canvas")


def test_a_picture_and_a_video_can_be_opened(open_viewer: OpenViewer, synthetic: AppServer, tmp_path: Path):
    (tmp_path / "person.jpg").write_bytes(encode_clip(seconds=0.2, fps=5, width=160, height=120)[0])
    viewer = open_viewer(f"{synthetic.url}/?max_splats=1000&fps=5")
    viewer.page.set_input_files("#file", tmp_path / "person.jpg")
    viewer.wait("splatcast.stats.shown > 0")
    assert viewer.get("state.sourceName") == "person.jpg"

    # A video is recorded here and dropped on the page.
    viewer.page.evaluate("""async () => {
        const canvas = Object.assign(document.createElement("canvas"), { width: 160, height: 120 });
        const context = canvas.getContext("2d");
        const recorder = new MediaRecorder(canvas.captureStream(10), { mimeType: "video/webm" });
        const parts = [];
        recorder.ondataavailable = (event) => parts.push(event.data);
        recorder.start();
        for (let i = 0; i < 10; i++) {
            context.fillStyle = `hsl(${i * 36} 80% 50%)`;
            context.fillRect(0, 0, 160, 120);
            await new Promise((resolve) => setTimeout(resolve, 100));
        }
        await new Promise((resolve) => { recorder.onstop = resolve; recorder.stop(); });
        const files = new DataTransfer();
        files.items.add(new File(parts, "colours.webm", { type: "video/webm" }));
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
    }""")
    viewer.wait("splatcast.state.sourceName === 'colours.webm'")
    viewer.wait_shown(3)


def test_a_frame_and_a_picture_can_be_saved(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?source=camera&autostart=1&max_splats=1000&width=160&fps=2")
    viewer.wait_shown(1)
    with viewer.page.expect_download() as download:
        viewer.page.click("#download")
    ply = download.value.path().read_bytes()
    assert ply.startswith(b"ply\nformat binary_little_endian 1.0\n")
    assert download.value.suggested_filename.endswith(".ply")
    with viewer.page.expect_download() as download:
        viewer.page.click("#screenshot")
    assert Image.open(io.BytesIO(download.value.path().read_bytes())).size == (1100, 500)


def test_the_view_orbits_by_mouse_and_keys_and_comes_back(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?source=camera&autostart=1&max_splats=3000&width=160&fps=2", size=(1100, 600))
    viewer.wait_shown(2)
    viewer.page.click("#start")
    viewer.wait("splatcast.renderer.activeSplats === splatcast.state.shown.count")

    def view() -> NDArray[np.float64]:
        viewer.page.wait_for_timeout(1500)
        picture = Image.open(io.BytesIO(viewer.page.screenshot(clip={"x": 250, "y": 100, "width": 400, "height": 400})))
        return np.asarray(picture.convert("RGB"), np.float64)

    home = view()
    viewer.page.mouse.move(450, 300)
    viewer.page.mouse.down()
    viewer.page.mouse.move(650, 300, steps=4)
    viewer.page.mouse.up()
    assert np.abs(view() - home).mean() > 2
    viewer.page.keyboard.press("r")
    assert np.abs(view() - home).mean() < 0.5
    viewer.page.keyboard.press("ArrowLeft")
    viewer.page.keyboard.press("ArrowLeft")
    viewer.page.keyboard.press("ArrowLeft")
    assert np.abs(view() - home).mean() > 2
    viewer.page.click("#reset")
    assert np.abs(view() - home).mean() < 0.5


def test_nothing_is_drawn_while_nothing_changes(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?source=camera&autostart=1&max_splats=1000&width=160&fps=2")
    viewer.wait_shown(2)
    viewer.page.click("#start")
    viewer.page.wait_for_timeout(2000)
    drawn = viewer.get("renderer.drawn")
    viewer.page.wait_for_timeout(1000)
    assert viewer.get("renderer.drawn") == drawn


def test_the_browser_check_passes(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/selftest")
    viewer.wait("window.splatcastSelftest?.done")
    lines = viewer.page.evaluate("splatcastSelftest.lines")
    assert [line for line in lines if line["result"] != "pass"] == []
    assert len(lines) >= 18
    for name in ("Decoding depth, and lifting it", "Lifting depth on the GPU", "It looks as what the processor lifts"):
        assert [line for line in lines if line["name"] == name]


def test_the_licences_can_be_read_from_the_help(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/")
    viewer.page.click("#help-toggle")
    with viewer.page.context.expect_page() as opened:
        viewer.page.click("#help >> text=Licences")
    opened.value.wait_for_load_state()
    assert "three.js authors" in opened.value.inner_text("body")
    opened.value.close()
