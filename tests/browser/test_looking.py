"""Looking around: a view that sways by itself until it is touched, keys that fly, how far it goes, and a wider field of view."""

import io
import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.browser.conftest import STEP_TIMEOUT_S, AppServer, Viewer
from tests.browser.splat_files import drop
from tests.vectors.cases import FOLDER, SESSION

pytestmark = pytest.mark.browser

OpenViewer = Callable[..., Viewer]
STILL_MS = 700
"""Longer than the view glides."""


def open_still(open_viewer: OpenViewer, url: str) -> Viewer:
    """A page with one frame on it, from a file: nothing but the view changes the picture."""
    viewer = open_viewer(url, size=(640, 480))
    drop(viewer.page, "one.splatcast", (golden := (FOLDER / SESSION).read_bytes())[: golden.rindex(b"SPPK")])
    viewer.wait("splatcast.state.shown?.codec === 'depth'")
    viewer.page.keyboard.press("h")
    return viewer


def picture(viewer: Viewer) -> NDArray[np.float64]:
    """The page, once the view is at rest: then it is not drawn again."""
    deadline_s, drawn = time.monotonic() + STEP_TIMEOUT_S, -1
    while (now := viewer.get("renderer.drawn")) != drawn:
        assert time.monotonic() < deadline_s, "the view never comes to rest"
        drawn = now
        viewer.page.wait_for_timeout(STILL_MS)
    return np.asarray(Image.open(io.BytesIO(viewer.page.screenshot())).convert("RGB"), np.float64)


def test_the_view_sways_until_it_is_touched_and_then_stays_where_it_was(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_still(open_viewer, f"{synthetic.url}/?sway=1")
    drawn = viewer.get("renderer.drawn")
    viewer.wait(f"splatcast.renderer.drawn > {drawn} + 5")
    viewer.page.mouse.click(320, 240)
    assert viewer.get("state.settings.sway") is False
    there = picture(viewer)
    viewer.page.keyboard.press("r")
    home = picture(viewer)
    assert np.abs(home - there).mean() > 0.5, "it had gone somewhere, and R leads back"


def test_who_asked_for_less_motion_gets_none(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_still(open_viewer, synthetic.url)  # The contexts of these tests ask for it.
    assert viewer.get("state.settings.sway") is False
    picture(viewer)


@pytest.mark.parametrize("free", [0, 1])
def test_the_view_goes_as_far_as_a_files_engine_says_that_it_looks_right(open_viewer: OpenViewer, synthetic: AppServer, free: int):
    viewer = open_still(open_viewer, f"{synthetic.url}/?free_orbit={free}")
    shown = []
    for _ in range(2):
        # 16 degrees, then 32: beyond the engine's 15, and within what the viewer would allow by itself.
        for _ in range(4):
            viewer.page.keyboard.press("ArrowRight")
        shown.append(picture(viewer))
    assert (np.abs(shown[1] - shown[0]).mean() > 0.5) == bool(free)


def test_keys_fly_and_come_back(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_still(open_viewer, synthetic.url)
    home = picture(viewer)
    for key in ("Shift+W", "Shift+D"):
        viewer.page.keyboard.press(key)
        assert np.abs(picture(viewer) - home).mean() > 0.5, key
        viewer.page.keyboard.press("r")
        # Splats of one depth may be drawn in another order than before.
        assert np.abs(picture(viewer) - home).mean() < 0.1
    assert viewer.get("state.settings.sway") is False, "no shortcut of the same letter"


def test_a_wider_field_of_view_shows_what_is_around_the_picture(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_still(open_viewer, f"{synthetic.url}/?field_of_view=1.6")
    wide = picture(viewer)
    assert viewer.page.input_value("#set-fov") == "1.6"
    viewer.page.evaluate("""() => {
        const input = document.getElementById('set-fov');
        input.value = 1;
        input.dispatchEvent(new Event('input'));
    }""")
    usual = picture(viewer)
    colourful = [(image.max(axis=2) - image.min(axis=2) > 40).mean() for image in (wide, usual)]
    assert colourful[0] < 0.6 * colourful[1], "by 1.6 in both directions"
