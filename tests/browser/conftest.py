"""A real Chromium with a fake camera, the real server without Ray, and pages whose console must stay clean."""

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, sync_playwright

from deployments.scene.clip import write_fake_camera
from hatch_build import node_and_npm, node_environment
from tests.server import ROOT, free_port

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--headless",
    "--no-sandbox",
    # Software rendering, the same on every machine.
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]
START_TIMEOUT_S = 90.0
STEP_TIMEOUT_S = 90.0
"""Rendering is in software and shares the cores with the server: minutes must not pass, seconds may."""


def find_chromium(playwright: Playwright) -> str:
    """``SPLATCAST_CHROMIUM``, then a system browser, then Playwright's own."""
    if named := os.environ.get("SPLATCAST_CHROMIUM"):
        if not Path(named).is_file():
            pytest.fail(f"SPLATCAST_CHROMIUM: expected the path of a Chromium, got {named!r}")
        return named
    for name in NAMES:
        if path := shutil.which(name):
            return path
    if Path(playwright.chromium.executable_path).is_file():
        return playwright.chromium.executable_path
    pytest.fail("There is no Chromium: run 'sudo apt-get install chromium' or '.venv/bin/playwright install chromium'")


class AppServer:
    """``python -m tests.browser.app`` in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it, on the same port as before, and wait until it answers."""
        self._process = subprocess.Popen([sys.executable, "-m", "tests.browser.app", str(self.port), *self._arguments], cwd=ROOT)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while True:
            assert self._process.poll() is None, f"the server ended with {self._process.returncode}"
            if time.monotonic() > deadline_s:
                self.kill()
                pytest.fail(f"the server did not answer within {START_TIMEOUT_S:g} s")
            try:
                with urllib.request.urlopen(f"{self.url}/healthz", timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)

    def signal(self, number: int) -> None:
        """Send its process a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it without a goodbye, as a crash does."""
        self._process.kill()
        self._process.wait(10)


class Viewer:
    """A page of the viewer, its ``window.splatcast``, and what its console said."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(url)

    def _listen(self, message: ConsoleMessage) -> None:
        # The page fetches the sample for its invitation when it likes, and asks by HTTP why it can't connect: also while a test
        # ends its server, or where there is none.
        if message.type == "error" and not message.location["url"].endswith(("/sample.splatcast", "/api/info")):
            self.complaints.append(message.text)

    def get(self, expression: str) -> Any:
        """The value of ``splatcast.<expression>``."""
        return self.page.evaluate(f"splatcast.{expression}")

    def wait(self, expression: str, timeout_s: float = STEP_TIMEOUT_S) -> Any:
        """Until the expression of JavaScript is true. Playwright's own wait needs eval, which the page's policy forbids."""
        deadline_s = time.monotonic() + timeout_s
        while not (value := self.page.evaluate(expression)):
            if time.monotonic() > deadline_s:
                state = self.page.evaluate("splatcast && {stats: splatcast.stats, problems: splatcast.state.problems}")
                pytest.fail(f"not within {timeout_s:g} s: {expression}\n{state}\n{self.complaints}")
            self.page.wait_for_timeout(100)
        return value

    def wait_shown(self, more: int, timeout_s: float = STEP_TIMEOUT_S) -> None:
        """Until that many more frames are on the screen."""
        target = self.get("stats.shown") + more
        self.wait(f"splatcast.stats.shown >= {target}", timeout_s)

    def problem(self, code: str) -> str:
        """Waits for an error card and gives its words."""
        card = self.page.locator(f'.problem[data-code="{code}"]')
        card.wait_for(timeout=STEP_TIMEOUT_S * 1000)
        return card.inner_text()


class Worker:
    """A worker with one of the viewer's modules in it, on a page of its own: it is asked one thing at a time."""

    def __init__(self, page: Page, source: Path) -> None:
        self._page = page
        script = _bundle(source)
        page.route(
            f"{self._ORIGIN}/**",
            lambda route: route.fulfill(
                body=script if route.request.url.endswith(".js") else "<!doctype html>",
                content_type="text/javascript" if route.request.url.endswith(".js") else "text/html",
            ),
        )
        page.goto(f"{self._ORIGIN}/")
        page.evaluate("""() => {
            const worker = new Worker('/worker.js', { type: 'module' });
            window.ask = (question) => new Promise((resolve) => {
                worker.onmessage = (event) => resolve(event.data);
                worker.onerror = (event) => resolve({ error: event.message || 'the worker could not be loaded' });
                worker.postMessage(question);
            });
        }""")

    _ORIGIN = "http://worker.test"  # Nothing listens there: the pages come from the route above.

    def ask(self, **question: Any) -> dict[str, Any]:
        """Its answer; bytes go both ways as base64."""
        answer: dict[str, Any] = self._page.evaluate("question => ask(question)", question)
        assert "error" not in answer, answer["error"]
        return answer


def _bundle(source: Path) -> str:
    node, _ = node_and_npm()
    command = [str(node), "node_modules/esbuild/bin/esbuild", str(source), "--bundle", "--format=esm"]
    done = subprocess.run(command, cwd=ROOT / "web", env=node_environment(node), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def fake_camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The procedural person as a webcam of 320×240."""
    path = tmp_path_factory.mktemp("camera") / "person.mjpeg"
    write_fake_camera(path, seconds=1.0, fps=5, width=320, height=240)
    return path


# Playwright's loop runs in this thread for as long as it is open, and pytest-asyncio's tests need a thread without one:
# so it lives for a module, not for the session.
@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def launch(playwright: Playwright) -> Iterator[Callable[..., Browser]]:
    """Starts a browser with more flags."""
    browsers = []

    def start(*flags: str) -> Browser:
        browser = playwright.chromium.launch(executable_path=find_chromium(playwright), args=[*FLAGS, *flags])
        browsers.append(browser)
        return browser

    yield start
    for browser in browsers:
        browser.close()


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Browser], fake_camera: Path) -> Browser:
    """A browser whose camera shows the procedural person, and is allowed."""
    return launch(
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={fake_camera}",
    )


@pytest.fixture
def open_viewer(browser: Browser) -> Iterator[Callable[..., Viewer]]:
    """Opens the viewer in a context of its own, with a script that runs before its own.

    At the end its console must have said nothing, except what was expected.
    """
    opened: list[tuple[Viewer, tuple[str, ...]]] = []

    def start(
        url: str,
        *,
        size: tuple[int, int] = (1100, 500),
        within: Browser | None = None,
        expected: str | tuple[str, ...] = (),
        before: str = "",
    ) -> Viewer:
        context = (within or browser).new_context(
            viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce", accept_downloads=True
        )
        # Blurring what lies behind a panel costs more than the splats where the processor does it.
        page = context.new_page()
        session = context.new_cdp_session(page)
        session.send("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-reduced-transparency", "value": "reduce"}]})
        if before:
            page.add_init_script(before)
        viewer = Viewer(page, url)
        opened.append((viewer, (expected,) if isinstance(expected, str) else expected))
        return viewer

    yield start
    for viewer, expected in opened:
        gl_errors = viewer.page.evaluate("window.splatcast ? splatcast.renderer.glErrors : 0")
        viewer.page.context.close()
        assert gl_errors == 0
        assert [text for text in viewer.complaints if not any(words in text for words in expected)] == []


@pytest.fixture
def serve() -> Iterator[Callable[..., AppServer]]:
    """Starts a server with faults to order."""
    servers = []

    def start(*arguments: str) -> AppServer:
        servers.append(AppServer(*arguments))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture(scope="module")
def synthetic() -> Iterator[AppServer]:
    """A server with the synthetic engine."""
    server = AppServer()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def relief() -> Iterator[AppServer]:
    """A server with the embedded default engine."""
    server = AppServer("--engine", "relief")
    yield server
    server.kill()
