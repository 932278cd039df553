"""Pictures of the viewer in each state, at each size, in both colours: ``python -m tests.browser.shots FOLDER [WORD …]``.

To be looked at by people before a release: no assertion says whether a page is one to show to a friend. A WORD such as
``390x844`` or ``light`` takes the pictures whose name has one of them.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page, sync_playwright

from deployments.scene.clip import write_fake_camera
from tests.browser.conftest import FLAGS, STEP_TIMEOUT_S, AppServer, find_chromium
from tests.browser.headset import WEAR
from tests.browser.splat_files import ball, drop, file_of
from tests.vectors.cases import FOLDER, SESSION

SIZES = [(320, 568), (390, 844), (844, 390), (640, 400), (1280, 800)]
STREAM = "max_splats=20000&width=320&fps=4&min_inference_px=504&min_splats=20000"


def _until(page: Page, condition: str) -> None:
    # Playwright's own wait needs eval, which the page's policy forbids.
    for _ in range(int(STEP_TIMEOUT_S * 4)):
        if page.evaluate(condition):
            page.wait_for_timeout(400)
            return
        page.wait_for_timeout(250)
    raise TimeoutError(condition)


def _first(page: Page, url: str) -> None:
    page.goto(url)
    _until(page, "splatcast.state.connection === 'open' && splatcast.state.sample && splatcast.renderer.activeSplats > 0")


def _live(page: Page, url: str, query: str = "") -> None:
    page.goto(f"{url}/?source=camera&autostart&{STREAM}{query}")
    _until(page, "splatcast.stats.shown >= 4")


def _figures(page: Page, url: str) -> None:
    _live(page, url, "&view=14,4,1")
    if page.get_attribute("#stats-toggle", "aria-expanded") == "false":
        page.click("#stats-toggle")
    # For the graphs to have something to show.
    page.wait_for_timeout(8000)


def _tray(page: Page, url: str) -> None:
    _live(page, url)
    if page.is_visible("#more"):
        page.click("#more")
    page.wait_for_timeout(1500)


def _settings(page: Page, url: str) -> None:
    _first(page, url)
    page.keyboard.press("s")


def _keys(page: Page, url: str) -> None:
    _first(page, url)
    page.keyboard.press("?")


def _error(page: Page, url: str) -> None:
    _first(page, url)
    page.set_input_files("#file", {"name": "notes.png", "mimeType": "image/png", "buffer": b"not a picture"})
    _until(page, "splatcast.state.problems.length > 0")


def _replay(page: Page, url: str) -> None:
    _first(page, url)
    recording = (FOLDER / SESSION).read_bytes()
    drop(page, "a recording with a rather long name of 2026-11-26.splatcast", recording)
    _until(page, "splatcast.state.shown !== null && splatcast.stats.fps > 0")
    page.wait_for_timeout(1500)


def _splats(page: Page, url: str) -> None:
    _first(page, url)
    drop(page, "ball.spz", file_of(ball(), format="spz"))
    _until(page, "splatcast.state.shown !== null")


def _unreadable(page: Page, url: str) -> None:
    _first(page, url)
    drop(page, "scene.spz", b"NGSP and nothing")
    _until(page, "splatcast.state.problems.length > 0")


def _headset(page: Page, url: str) -> None:
    page.add_init_script(WEAR)
    _tray(page, url)


STATES: dict[str, Callable[[Page, str], None]] = {
    "first": _first,
    "live": _live,
    "points": lambda page, url: _live(page, url, "&representation=points"),
    "figures": _figures,
    "tray": _tray,
    "stereo": lambda page, url: _live(page, url, "&stereo=parallel"),
    "replay": _replay,
    "splats": _splats,
    "unreadable": _unreadable,
    "headset": _headset,
    "settings": _settings,
    "keys": _keys,
    "error": _error,
    "embed": lambda page, url: _live(page, url, "&embed"),
    "embed-first": lambda page, url: _first(page, f"{url}/?embed"),
}


def take(browser: Browser, url: str, folder: Path, words: list[str]) -> Iterator[Path]:
    """Takes the pictures whose name has one of the words, all without words. Yields where each one is."""
    for width, height in SIZES:
        for theme in ("dark", "light"):
            for state, enter in STATES.items():
                path = folder / f"look-{state}-{width}x{height}-{theme}.png"
                if words and not any(word in path.name for word in words):
                    continue
                context = browser.new_context(
                    viewport={"width": width, "height": height}, color_scheme="light" if theme == "light" else "dark"
                )
                page = context.new_page()
                enter(page, url)
                page.screenshot(path=path)
                context.close()
                yield path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("words", nargs="*", metavar="WORD")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    server = AppServer("--engine", "relief")
    try:
        with TemporaryDirectory() as scratch, sync_playwright() as playwright:
            camera = Path(scratch) / "person.mjpeg"
            write_fake_camera(camera, seconds=1.0, fps=5, width=320, height=240)
            fake = [
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-video-capture={camera}",
            ]
            browser = playwright.chromium.launch(executable_path=find_chromium(playwright), args=[*FLAGS, *fake])
            for path in take(browser, server.url, options.folder, options.words):
                print(path)
            browser.close()
    finally:
        server.kill()


if __name__ == "__main__":
    main()
