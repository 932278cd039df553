"""How it is seen: by two eyes side by side, in a headset (an imitated one), and in pictures that are saved as they look."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.splats.gaussians import Gaussians
from tests.browser.conftest import AppServer, Viewer
from tests.browser.headset import WEAR
from tests.browser.splat_files import drop, file_of

pytestmark = pytest.mark.browser

OpenViewer = Callable[..., Viewer]
RED, BLUE = (2.0, -1.5, -1.5), (-1.5, -1.5, 2.0)


def two_balls() -> Gaussians:
    """A red one near, low; a blue one far behind it, high."""
    places = np.array([(0.0, 0.25, 2.0)] * 40 + [(0.0, -1.0, 6.0)] * 40, np.float32)
    colours = np.array([[RED]] * 40 + [[BLUE]] * 40, np.float32)
    return Gaussians(
        means=places,
        scales=np.repeat(places[:, 2:] * 0.03, 3, axis=1),
        quats=np.tile(np.float32([1, 0, 0, 0]), (80, 1)),
        opacities=np.full(80, 0.9, np.float32),
        sh=colours,
    )


def saved_picture(viewer: Viewer) -> NDArray[np.uint8]:
    """What the key P saves. uint8 [H, W, 3] RGB."""
    with viewer.page.expect_download() as download:
        viewer.page.keyboard.press("p")
    pixels = cv2.imread(str(download.value.path()), cv2.IMREAD_UNCHANGED)
    assert pixels is not None and (pixels.shape[2] == 3 or pixels[..., 3].min() == 255)
    return cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2RGB)


def middles(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """Where the red and the blue ball are, from the left, in pixels."""
    red, _, blue = np.moveaxis(pixels.astype(int), 2, 0)
    places = [np.nonzero(mask)[1] for mask in (red - blue > 80, blue - red > 80)]
    assert all(len(place) > 20 for place in places)
    return float(places[0].mean()), float(places[1].mean())


def test_side_by_side_each_eye_has_its_picture_and_what_is_far_lies_behind(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?stereo=parallel", size=(1200, 500))
    drop(viewer.page, "balls.ply", file_of(two_balls(), format="ply"))
    viewer.wait("splatcast.state.shown?.count === 80 && splatcast.renderer.activeSplats === 80")

    def halves() -> tuple[float, float]:
        """How far right of the red ball the blue one is, for the picture on the left and the one on the right."""
        viewer.page.wait_for_timeout(300)
        pixels = saved_picture(viewer)
        # The pair lies in the part of the window that the panels leave free.
        red, _, blue = np.moveaxis(pixels.astype(int), 2, 0)
        columns = np.nonzero((np.abs(red - blue) > 80).any(axis=0))[0]
        middle = int(columns.min() + columns.max()) // 2
        parts = [middles(part) for part in (pixels[:, :middle], pixels[:, middle:])]
        return parts[0][1] - parts[0][0], parts[1][1] - parts[1][0]

    left, right = halves()
    assert left < -3 and right > 3
    viewer.page.keyboard.press("x")
    assert viewer.get("state.settings.stereo") == "cross"
    left, right = halves()
    assert left > 3 and right < -3
    viewer.page.click("#stereo")
    assert viewer.get("state.settings.stereo") == "off"
    viewer.page.wait_for_timeout(300)
    red, blue = middles(saved_picture(viewer))
    assert abs(red - blue) < 2
    assert viewer.page.get_attribute("#stereo", "aria-pressed") == "false"


@pytest.mark.parametrize(("theme", "low", "high"), [("light", 215, 256), ("dark", 0, 40)])
def test_a_picture_that_is_saved_has_the_background_of_the_page(
    open_viewer: OpenViewer, synthetic: AppServer, theme: str, low: int, high: int
):
    viewer = open_viewer(f"{synthetic.url}/?theme={theme}")
    drop(viewer.page, "balls.ply", file_of(two_balls(), format="ply"))
    viewer.wait("splatcast.state.shown?.count === 80 && splatcast.renderer.activeSplats === 80")
    viewer.page.keyboard.press("h")
    viewer.page.wait_for_timeout(500)
    saved = saved_picture(viewer)
    screen = cv2.imdecode(np.frombuffer(viewer.page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    assert screen is not None
    screen = cv2.cvtColor(screen, cv2.COLOR_BGR2RGB)
    assert saved.shape == screen.shape
    # But for the button that shows the panels again, they are the same.
    difference = np.abs(saved.astype(int) - screen).max(axis=2)
    assert np.mean(difference > 6) < 0.05
    corner = saved[:20, :20]
    assert low <= corner.min() and corner.max() < high


@pytest.mark.parametrize("mode", ["vr", "ar"])
def test_a_headset_is_entered_and_left_while_the_stream_goes_on(open_viewer: OpenViewer, synthetic: AppServer, mode: str):
    viewer = open_viewer(f"{synthetic.url}/", before=WEAR, size=(1280, 700))
    viewer.page.goto(f"{synthetic.url}/?source=camera&autostart=1&max_splats=400&width=64&fps=5&exact=1")
    viewer.wait_shown(2)
    viewer.page.click(f"#{mode}")
    viewer.wait(f"splatcast.state.inside === '{mode}'")
    viewer.wait_shown(3)
    assert viewer.page.evaluate("headset.activeSession !== undefined")
    drawn = viewer.get("renderer.drawn")
    viewer.wait(f"splatcast.renderer.drawn > {drawn + 5}")
    # The imitation lies over the page, so no pointer gets to the button.
    viewer.page.evaluate(f"document.getElementById('{mode}').click()")
    viewer.wait("splatcast.state.inside === null")
    viewer.wait_shown(3)
    assert viewer.get("state.problems") == []
    # The window has its own picture again, from where the camera was.
    viewer.page.click("#start")
    viewer.page.wait_for_timeout(500)
    assert viewer.page.evaluate("document.getElementById('view').width") == 1280
    viewer.wait("splatcast.renderer.activeSplats > 100")


def test_a_device_without_a_headset_has_no_button_for_one(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/")
    viewer.wait("splatcast.state.connection === 'open'")
    assert viewer.page.locator("#vr, #ar").evaluate_all("buttons => buttons.every(button => button.hidden)")
    assert viewer.get("state.headsets") == []


def test_a_headset_that_refuses_gets_a_card(open_viewer: OpenViewer, synthetic: AppServer):
    refuse = "navigator.xr.requestSession = () => Promise.reject(new DOMException('It sleeps', 'NotSupportedError'));"
    viewer = open_viewer(f"{synthetic.url}/", before=WEAR + refuse, size=(1280, 700))
    viewer.page.click("#vr")
    assert "It sleeps" in viewer.problem("headset_failed")
    assert viewer.get("state.inside") is None
