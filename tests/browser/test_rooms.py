"""One camera, many screens: pages that share, watch, reload and leave."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.browser.axe import findings
from tests.browser.conftest import AppServer, Viewer

pytestmark = pytest.mark.browser

OpenViewer = Callable[..., Viewer]
LIVE = "?source=camera&autostart=1&width=320&fps=5&sway=0"
PHONE = (390, 844)


def share(viewer: Viewer) -> str:
    """Share what the page shows, by the button; gives the link for viewers."""
    viewer.page.click("#share")
    viewer.wait("splatcast.state.room?.keys.viewer")
    link = viewer.page.input_value("#share-link")
    assert "#room=viewer." in link
    return link


def close_dialog(viewer: Viewer) -> None:
    viewer.page.keyboard.press("Escape")


def test_two_pages_of_one_room_see_the_same_frame(open_viewer: OpenViewer, relief: AppServer, tmp_path: Path) -> None:
    camera = open_viewer(f"{relief.url}/{LIVE}")
    camera.wait_shown(2)
    link = share(camera)
    assert camera.page.locator("#share-code path").get_attribute("d")
    assert findings(camera.page) == []
    camera.page.screenshot(path=tmp_path / "share.png")
    close_dialog(camera)
    watcher = open_viewer(link, size=PHONE)
    watcher.wait("splatcast.state.watching && splatcast.stats.shown >= 3")
    assert not watcher.page.is_visible("#welcome") and not watcher.page.is_visible("#start")
    assert watcher.get("state.running") is False and watcher.get("state.camera") == "", "no camera was asked for"
    camera.wait("splatcast.state.room.viewers === 1")
    assert "one watches" in camera.page.inner_text("#room")
    assert watcher.page.inner_text("#room").startswith("Watching")
    assert findings(watcher.page) == []
    watcher.page.screenshot(path=tmp_path / "watch.png")
    # What both draw is the same person; panels leave each window another place for the picture.
    assert np.abs(middle(camera) - middle(watcher)).max() < 50


def test_both_links_are_copied_by_their_buttons(open_viewer: OpenViewer, synthetic: AppServer) -> None:
    viewer = open_viewer(f"{synthetic.url}/{LIVE}")
    viewer.wait_shown(1)
    share(viewer)
    viewer.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for button, field in (("#share-copy", "#share-link"), ("#share-camera-copy", "#share-camera-link")):
        viewer.page.click(button)
        viewer.wait(f"document.querySelector('{button}').textContent === 'Copied'")
        assert viewer.page.evaluate("navigator.clipboard.readText()") == viewer.page.input_value(field) != ""


def middle(viewer: Viewer) -> np.ndarray:
    """Mean colour of the middle of the picture, over a few pixels. float [3]."""
    picture = Image.open(io.BytesIO(viewer.page.locator("#view").screenshot())).convert("RGB")
    x, y = picture.width // 2, picture.height // 2
    return np.asarray(picture.crop((x - 20, y - 20, x + 20, y + 20)), float).mean((0, 1))


def test_a_reload_of_the_camera_is_survived_and_keeps_the_room(open_viewer: OpenViewer, relief: AppServer) -> None:
    camera = open_viewer(f"{relief.url}/{LIVE}")
    camera.wait_shown(1)
    link = share(camera)
    own_id = camera.get("state.room.id")
    watcher = open_viewer(link)
    watcher.wait_shown(1)
    camera.page.goto("about:blank")
    watcher.wait("splatcast.state.room.cameras[0]?.away === true")
    assert "away" in watcher.page.inner_text("#room")
    camera.page.goto(f"{relief.url}/{LIVE}")
    camera.wait("splatcast.state.room?.id")
    assert camera.get("state.room.id") == own_id
    watcher.wait("splatcast.state.room.cameras[0]?.away === false")
    watcher.wait_shown(2)


def test_stopping_ends_it_for_all_and_says_so(open_viewer: OpenViewer, relief: AppServer) -> None:
    camera = open_viewer(f"{relief.url}/{LIVE}")
    camera.wait_shown(1)
    link = share(camera)
    close_dialog(camera)
    watcher = open_viewer(link)
    watcher.wait_shown(1)
    camera.page.click("#share")
    camera.page.click("#share-stop")
    assert "closed" in watcher.problem("room_closed")
    assert not watcher.page.is_visible("#welcome"), "who came to watch is not asked for a camera"
    camera.wait("splatcast.state.room === null")
    camera.wait_shown(2)


def test_a_locked_room_lets_nobody_new_in(open_viewer: OpenViewer, synthetic: AppServer) -> None:
    camera = open_viewer(f"{synthetic.url}/{LIVE}")
    camera.wait_shown(1)
    link = share(camera)
    camera.page.check("#share-lock")
    camera.wait("splatcast.state.room.locked")
    late = open_viewer(link)
    assert "lets no new viewers in" in late.problem("room_locked")
    late.page.wait_for_timeout(1000)
    assert [problem["code"] for problem in late.get("state.problems")] == ["room_locked"]


def test_a_link_for_cameras_adds_one_and_viewers_choose(open_viewer: OpenViewer, synthetic: AppServer) -> None:
    first = open_viewer(f"{synthetic.url}/{LIVE}")
    first.wait_shown(1)
    link = share(first)
    add = first.page.input_value("#share-camera-link")
    second = open_viewer(add.replace("/#", f"/{LIVE}#"))
    second.wait_shown(1)
    watcher = open_viewer(link, size=(1300, 700))
    watcher.wait("splatcast.state.room?.cameras.length === 2")
    watcher.wait_shown(1)
    watcher.page.select_option("#room-camera", index=1)
    watcher.wait("splatcast.state.room.shown === splatcast.state.room.cameras[1].id")
    watcher.wait_shown(2)
    assert second.get("state.room.keys.owner ?? null") is None


def test_a_link_that_is_not_whole_is_said(open_viewer: OpenViewer, synthetic: AppServer) -> None:
    viewer = open_viewer(f"{synthetic.url}/#room=viewer.short")
    assert "copy the whole link" in viewer.problem("room_name")
    assert not viewer.page.is_visible("#welcome"), "who came to watch is not asked for a camera"
