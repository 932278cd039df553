"""The first minute: something moves before anything is asked, and no click is lost while the viewer is still loading."""

import base64
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route

from deployments.models import load_model
from deployments.ops.sample import record_sample
from deployments.scene.clip import RECORDING_PATH
from deployments.stages.local import LocalPipeline
from tests.browser.conftest import AppServer, Viewer
from tests.pictures import saved

pytestmark = pytest.mark.browser

OpenViewer = Callable[..., Viewer]
SAMPLE_SHOWS = "splatcast.state.sample && splatcast.renderer.activeSplats > 0"
"""The invitation makes room for it before it is drawn."""
LIVE = "max_splats=500&width=160&fps=3"


@pytest.fixture(scope="module", autouse=True)
def recording() -> None:
    """What ``make`` leaves after installing; made here in a checkout where it was not run."""
    if not RECORDING_PATH.is_file():
        RECORDING_PATH.write_bytes(record_sample(LocalPipeline(load_model("relief")), "0"))


def covered(viewer: Viewer) -> float:
    """The share of the picture that splats cover."""
    picture = base64.b64decode(viewer.get("captureScreenshot()").partition(",")[2])
    alpha = np.asarray(Image.open(io.BytesIO(picture)))[..., 3]
    return float((alpha > 127).mean())


def until(page: Page, expression: str) -> None:
    """Playwright's own wait needs eval, which the page's policy forbids."""
    for _ in range(600):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(100)
    pytest.fail(expression)


def test_before_anything_is_asked_the_sample_moves_and_says_what_it_is(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/", size=(640, 400))
    viewer.wait(SAMPLE_SHOWS)
    page = viewer.page
    assert covered(viewer) > 0.8
    assert page.inner_text("#sample-label") == "Sample recording"
    assert f"127.0.0.1:{synthetic.port} only" in page.inner_text(".promise >> nth=0")
    assert page.evaluate("document.querySelectorAll('#welcome .primary').length") == 1
    drawn = viewer.get("renderer.drawn")
    page.wait_for_timeout(1500)
    assert viewer.get("renderer.drawn") == drawn, "it stands still for who wants less motion"
    assert (viewer.get("stats.sent"), viewer.get("state.shown"), viewer.get("state.replay")) == (0, None, None)
    page.emulate_media(reduced_motion="no-preference")
    page.reload()
    viewer.wait(SAMPLE_SHOWS)
    viewer.wait("splatcast.renderer.drawn >= 3")
    pictures = set()
    for _ in range(20):
        pictures.add(page.evaluate("splatcast.captureScreenshot()"))
        page.wait_for_timeout(300)
        if len(pictures) > 2:
            break
    assert len(pictures) > 2, "it moves"


@pytest.mark.parametrize("size", [(390, 844), (844, 390), (320, 568)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_phone_says_where_pictures_go_and_covers_nothing_with_it(
    launch: Callable[..., Browser], synthetic: AppServer, size: tuple[int, int]
):
    context = launch().new_context(
        viewport={"width": size[0], "height": size[1]}, has_touch=True, is_mobile=True, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(synthetic.url)
    until(page, "window.splatcast?.state.sample")
    assert "keeps none" in page.inner_text(".promise >> nth=0") and page.is_visible(".promise >> nth=0")
    boxes = [page.locator(part).first.bounding_box() for part in ("#welcome [data-start=file]", ".promise", "#dock")]
    file, promise, dock = [(box["y"], box["y"] + box["height"]) for box in boxes if box]
    assert (promise[1] <= dock[0] and file[1] <= dock[0] + 1) or page.evaluate(
        "(({ scrollHeight, clientHeight }) => scrollHeight > clientHeight)(document.getElementById('welcome'))"
    ), "what has no room can be scrolled to"
    context.close()


def test_the_first_live_frame_takes_the_samples_place_without_a_gap(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?{LIVE}", size=(640, 400))
    viewer.wait(SAMPLE_SHOWS)
    viewer.page.click("[data-start=camera]")
    gaps = 0
    for _ in range(300):
        shown = viewer.get("state.shown")
        gaps += covered(viewer) < 0.5
        if shown:
            break
        viewer.page.wait_for_timeout(50)
    viewer.wait("splatcast.state.shown && !splatcast.state.sample")
    assert gaps == 0
    assert not viewer.page.is_visible("#sample-label")
    viewer.wait_shown(2)


def test_where_there_is_no_recording_the_invitation_does_without(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/", expected="404")
    viewer.page.route("**/sample.splatcast", lambda route: route.fulfill(status=404))
    viewer.page.reload()
    viewer.wait("splatcast.state.connection === 'open'")
    viewer.page.wait_for_timeout(500)
    assert viewer.page.is_visible("[data-start=camera]") and not viewer.page.is_visible("#sample-label")
    assert viewer.get("state.problems") == []


def test_a_recording_that_can_not_be_read_is_not_there(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/")
    viewer.page.route("**/sample.splatcast", lambda route: route.fulfill(body=RECORDING_PATH.read_bytes()[:5000] + bytes(99)))
    viewer.page.reload()
    viewer.wait("splatcast.state.connection === 'open'")
    viewer.page.wait_for_timeout(500)
    assert not viewer.get("state.sample") and viewer.get("state.problems") == []


@pytest.mark.parametrize("kind", ["camera", "sample", "file"])
def test_a_click_before_the_viewer_is_there_is_not_lost(browser: Browser, synthetic: AppServer, kind: str):
    page = browser.new_page(viewport={"width": 640, "height": 480}, reduced_motion="reduce")
    held: list[Route] = []
    page.route("**/viewer.js", lambda route: held.append(route))  # playwright marks what it is given
    page.goto(f"{synthetic.url}/?{LIVE}", wait_until="commit")
    until(page, "document.getElementById('welcome')?.inert === false")
    if kind == "file":
        picture = {"name": "still.png", "mimeType": "image/png", "buffer": saved(Image.new("RGB", (160, 120), "teal"), "PNG")}
        with page.expect_file_chooser() as chooser:
            page.click("[data-start=file]")
        chooser.value.set_files(picture)  # type: ignore[arg-type]
    else:
        page.click(f"[data-start={kind}]")
    assert page.inner_text("#opening").startswith("Loading the viewer")
    held[0].continue_()
    name = {"camera": "", "sample": "sample clip", "file": "still.png"}[kind]
    until(page, "window.splatcast?.stats.shown > 0")
    assert page.evaluate("splatcast.state.source") == kind
    assert name in page.evaluate("splatcast.state.sourceName")
    page.context.close()


def test_a_viewer_that_does_not_load_says_so(browser: Browser, synthetic: AppServer):
    page = browser.new_page()
    page.route("**/viewer.js", lambda route: route.abort())
    page.goto(f"{synthetic.url}/")
    assert page.inner_text("#opening").startswith("The viewer could not be loaded")
    assert page.evaluate("document.querySelectorAll('#welcome[inert], #dock[inert]').length") == 2
    page.close()
