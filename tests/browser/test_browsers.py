"""Browsers that can't run the viewer, or change its pictures, are named with what to do; faked in one that does neither."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import STEP_TIMEOUT_S, AppServer, Viewer

pytestmark = pytest.mark.browser

OpenViewer = Callable[..., Viewer]
NOISY = """
const read = OffscreenCanvasRenderingContext2D.prototype.getImageData;
OffscreenCanvasRenderingContext2D.prototype.getImageData = function (...where) {
    const image = read.apply(this, where);
    for (let i = 0; i < image.data.length; i += 61) image.data[i] ^= 1;
    return image;
};
"""
WHITE = """
const read = OffscreenCanvasRenderingContext2D.prototype.getImageData;
OffscreenCanvasRenderingContext2D.prototype.getImageData = function (...where) {
    const image = read.apply(this, where);
    image.data.fill(255);
    return image;
};
"""
BRAVE = "Object.defineProperty(navigator, 'brave', { value: { isBrave: async () => true } });"


def card(browser: Browser, url: str, script: str, code: str, user_agent: str | None = None) -> str:
    context = browser.new_context(reduced_motion="reduce", user_agent=user_agent)
    page = context.new_page()
    page.add_init_script(script)
    page.goto(url)
    found = page.locator(f'.problem[data-code="{code}"]')
    found.wait_for(timeout=STEP_TIMEOUT_S * 1000)
    text = found.inner_text()
    context.close()
    return text


def test_a_browser_that_adds_noise_to_pictures_is_told_what_to_turn_off(browser: Browser, synthetic: AppServer):
    text = card(browser, synthetic.url, NOISY + BRAVE, "canvas_falsified")
    assert "a little noisy" in text and "turn Shields off" in text


def test_a_browser_that_gives_other_pictures_is_told_what_to_turn_off(browser: Browser, synthetic: AppServer):
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0"
    text = card(browser, synthetic.url, WHITE, "canvas_falsified", firefox)
    assert "are wrong" in text and "privacy.resistFingerprinting" in text


def test_a_browser_that_does_not_is_told_nothing(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/")
    viewer.wait("splatcast.state.connection === 'open'")
    viewer.page.wait_for_timeout(1000)
    assert viewer.get("state.problems") == []


@pytest.mark.parametrize(
    ("script", "what"),
    [("delete window.OffscreenCanvas", "OffscreenCanvas"), ("CSS.supports = () => false", "light-dark()")],
)
def test_a_browser_that_is_too_old_is_told_which_ones_are_not(browser: Browser, synthetic: AppServer, script: str, what: str):
    text = card(browser, synthetic.url, script, "old_browser")
    assert what in text and "Firefox 121" in text and "Safari 17.5" in text
