"""The viewer gets over what happens to it: a graphics driver that resets, a network that falls silent, a server that restarts."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import AppServer, Viewer
from tests.browser.splat_files import ball, drop, file_of
from tests.browser.test_photos import patches
from tests.unit.test_photos import stored
from tests.vectors.cases import FOLDER, SESSION

pytestmark = pytest.mark.browser

OpenViewer = Callable[..., Viewer]
Serve = Callable[..., AppServer]
Launch = Callable[..., Browser]
LIVE = "?source=camera&autostart=1&max_splats=500&width=160&fps=5"
SLEEP_SAYS = ("WebSocket", "A VideoFrame was garbage collected")
"""The second is Chromium's own, stopped while it hands a camera's pictures to a worker: the worker closes all that reach it."""
LOSE = """() => {
    window.losing = document.getElementById('view').getContext('webgl2').getExtension('WEBGL_lose_context');
    losing.loseContext();
}"""


@pytest.mark.parametrize("exact", ["0", "1"])
def test_a_lost_3d_view_comes_back_without_a_reload_and_the_stream_goes_on(
    open_viewer: OpenViewer, synthetic: AppServer, exact: str
):
    viewer = open_viewer(f"{synthetic.url}/{LIVE}&exact={exact}", expected="Context Lost")
    viewer.wait_shown(2)
    for _ in range(2):
        viewer.page.evaluate(LOSE)
        assert "comes back by itself" in viewer.problem("graphics_lost")
        # More than the server sends without acks: it hears of every frame, though none is drawn.
        received, shown = viewer.get("stats.received"), viewer.get("stats.shown")
        viewer.wait(f"splatcast.stats.received >= {received + 8}")
        assert viewer.get("stats.shown") <= shown + 1
        viewer.page.evaluate("losing.restoreContext()")
        viewer.wait_shown(3)
        assert viewer.get("state.problems") == []
    viewer.wait("splatcast.renderer.activeSplats > 100")


def lose_and_restore(viewer: Viewer) -> None:
    """The 3D view goes and comes back, with every splat that was on it."""
    viewer.wait("splatcast.renderer.activeSplats === splatcast.state.shown.count")
    shown = viewer.get("state.shown.seq")
    viewer.page.evaluate(LOSE)
    viewer.problem("graphics_lost")
    viewer.page.evaluate("losing.restoreContext()")
    viewer.wait("splatcast.renderer.activeSplats === splatcast.state.shown.count && splatcast.state.problems.length === 0")
    assert viewer.get("state.shown.seq") == shown


@pytest.mark.parametrize("lift", ["worker", "gpu"])
@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_a_picture_that_stands_still_is_there_again_after_the_3d_view_was_lost(
    open_viewer: OpenViewer, relief: AppServer, how: str, lift: str
):
    viewer = open_viewer(f"{relief.url}/{LIVE}&lift={lift}", expected="Context Lost")
    viewer.wait(f"splatcast.state.shown?.onGpu === {str(lift == 'gpu').lower()}")
    if how == "stopped":
        viewer.page.click("#start")
    else:
        viewer.page.keyboard.press("k")
        viewer.wait("splatcast.state.frozen")
    # The last replies, of which a stopped stream still shows what comes.
    viewer.page.wait_for_timeout(1000)
    for _ in range(2):
        lose_and_restore(viewer)


@pytest.mark.parametrize("lift", ["worker", "gpu"])
def test_a_file_is_there_again_after_the_3d_view_was_lost(open_viewer: OpenViewer, synthetic: AppServer, lift: str):
    viewer = open_viewer(f"{synthetic.url}/?lift={lift}", expected="Context Lost")
    viewer.wait("splatcast.state.lift !== null")
    session = (FOLDER / SESSION).read_bytes()
    drop(viewer.page, "one.splatcast", session[: session.rindex(b"SPPK")])
    viewer.wait("splatcast.state.shown?.codec === 'depth'")
    assert viewer.get("state.shown.onGpu") is (lift == "gpu")
    lose_and_restore(viewer)


def test_a_file_that_was_opened_without_a_3d_view_is_shown_when_that_is_back(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(synthetic.url, expected="Context Lost")
    viewer.page.evaluate(LOSE)
    viewer.problem("graphics_lost")
    drop(viewer.page, "ball.sppk", file_of(ball(), format="packed"))
    viewer.wait("splatcast.state.replay?.frame === 0")
    viewer.page.wait_for_timeout(500)
    assert viewer.get("state.shown") is None
    viewer.page.evaluate("losing.restoreContext()")
    viewer.wait("splatcast.state.shown?.count === 500 && splatcast.renderer.activeSplats === 500")


def test_a_photo_that_came_without_a_3d_view_is_shown_when_that_is_back(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?max_splats=3000&size=160&fps=5", expected="Context Lost")
    viewer.page.evaluate(LOSE)
    viewer.problem("graphics_lost")
    drop(viewer.page, "patches.png", stored(patches(), "PNG"))
    viewer.wait("splatcast.stats.received >= 1")
    assert viewer.get("state.shown") is None
    viewer.page.evaluate("losing.restoreContext()")
    viewer.wait("splatcast.state.shown !== null")


def test_a_network_that_falls_silent_is_said_and_forgotten_when_it_speaks(open_viewer: OpenViewer, serve: Serve):
    server = serve()
    viewer = open_viewer(f"{server.url}/{LIVE}", expected="WebSocket")
    viewer.wait_shown(2)
    server.signal(signal.SIGSTOP)
    viewer.wait("splatcast.state.connectionText.startsWith('no answer for')")
    assert viewer.page.inner_text("#connection-text").startswith("no answer")
    server.signal(signal.SIGCONT)
    viewer.wait("splatcast.state.connection === 'open'")
    viewer.wait_shown(2)
    assert viewer.get("state.problems") == []


class Way:
    """A TCP way to a server, whose connections can be left without an end: they carry nothing more, and nobody is told."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._ends: list[socket.socket] = []
        self._lost: set[socket.socket] = set()
        Thread(target=self._listen, daemon=True).start()

    def lose(self) -> None:
        """All connections that there are; new ones work."""
        self._lost.update(self._ends)

    def close(self) -> None:
        # A close alone would leave the thread that waits for the next connection waiting, and taking it.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(("127.0.0.1", self._to))
                self._ends += [here, there]
                for source, target in ((here, there), (there, here)):
                    Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if source not in self._lost:
                    target.sendall(data)
            if source not in self._lost:
                target.shutdown(socket.SHUT_WR)


def test_a_stream_whose_way_ended_without_a_word_goes_on_over_another_before_it_is_given_up(
    open_viewer: OpenViewer, synthetic: AppServer
):
    way = Way(synthetic.port)
    viewer = open_viewer(f"{way.url}/?source=sample&autostart=1&width=160&fps=10&max_splats=2000")
    viewer.wait_shown(10)
    way.lose()
    # Silence alone is waited out for 15 s.
    viewer.wait("splatcast.stats.reconnects === 1", timeout_s=12)
    viewer.wait_shown(5)
    assert viewer.page.locator(".problem").count() == 0
    way.close()


def test_a_network_that_is_back_is_used_at_once(open_viewer: OpenViewer, serve: Serve):
    server = serve()
    viewer = open_viewer(f"{server.url}/{LIVE}", expected="WebSocket")
    viewer.wait_shown(1)
    server.kill()
    viewer.problem("server_gone")
    server.start()
    viewer.page.evaluate("window.dispatchEvent(new Event('online'))")
    viewer.wait_shown(2)
    assert viewer.get("state.problems") == []


@contextmanager
def asleep(browser: Browser) -> Iterator[None]:
    """The device sleeps: every process of the browser stands still, and wakes at the end."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    # The browser's own last: it would take the others' standing still for a crash.
    pids = [process["id"] for process in sorted(processes, key=lambda process: process["type"] == "browser")]
    session.detach()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


@pytest.fixture
def own_browser(launch: Launch, fake_camera: Path) -> Browser:
    """A browser that may be put to sleep without one of the others' noticing."""
    fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    return launch(*fake, f"--use-file-for-fake-video-capture={fake_camera}")


@pytest.mark.parametrize("restarts", [False, True], ids=["the server stays", "the server restarts"])
def test_a_device_that_slept_goes_on_without_a_card(open_viewer: OpenViewer, serve: Serve, own_browser: Browser, restarts: bool):
    server = serve()
    viewer = open_viewer(f"{server.url}/{LIVE}", within=own_browser, expected=SLEEP_SAYS)
    viewer.wait_shown(2)
    with asleep(own_browser):
        if restarts:
            server.kill()
        # Longer than what the viewer takes for a sleep.
        time.sleep(7)
        if restarts:
            server.start()
    viewer.wait_shown(3)
    viewer.wait("splatcast.state.problems.length === 0")
    assert viewer.get("state.connection") == "open"


def test_a_network_that_was_away_is_used_again_and_no_card_is_left(open_viewer: OpenViewer, serve: Serve):
    viewer = open_viewer(f"{serve().url}/{LIVE}", expected=("WebSocket", "ERR_INTERNET_DISCONNECTED"))
    viewer.wait_shown(2)
    context = viewer.page.context
    context.set_offline(True)
    viewer.page.wait_for_timeout(5000)
    context.set_offline(False)
    viewer.wait_shown(3)
    viewer.wait("splatcast.state.problems.length === 0")
    assert viewer.get("state.connection") == "open"


def test_two_tabs_stream_beside_each_other_and_the_one_that_is_left_goes_on(open_viewer: OpenViewer, serve: Serve):
    server = serve()
    first = open_viewer(f"{server.url}/{LIVE}", expected="WebSocket")
    second = open_viewer(f"{server.url}/{LIVE}", expected="WebSocket")
    for viewer in (first, second):
        viewer.wait_shown(2)
    server.kill()
    for viewer in (first, second):
        viewer.problem("server_gone")
    server.start()
    for viewer in (first, second):
        viewer.wait_shown(2)
        assert viewer.get("state.problems") == []
    second.page.goto("about:blank")
    first.wait_shown(3)
    assert first.get("state.problems") == []
    second.page.goto(f"{server.url}/{LIVE}")
    second.wait_shown(1)


def test_two_tabs_that_were_offline_are_both_back_when_the_network_is(open_viewer: OpenViewer, serve: Serve):
    server = serve()
    tabs = [open_viewer(f"{server.url}/{LIVE}", expected=("WebSocket", "ERR_INTERNET_DISCONNECTED")) for _ in range(2)]
    for viewer in tabs:
        viewer.wait_shown(2)
    for viewer in tabs:
        viewer.page.context.set_offline(True)
    for viewer in tabs:
        viewer.wait("splatcast.state.connection !== 'open'")
    shown = [viewer.get("stats.shown") for viewer in tabs]
    for viewer in tabs:
        viewer.page.context.set_offline(False)
    for viewer, before in zip(tabs, shown, strict=True):
        # Three seconds where the processor has time, and most of them are drawing.
        viewer.wait(f"splatcast.stats.shown >= {before + 2}", timeout_s=30.0)
        viewer.wait("splatcast.state.problems.length === 0")
        assert viewer.get("state.connection") == "open"


def test_a_page_that_the_browser_froze_goes_on_when_it_is_looked_at_again(open_viewer: OpenViewer, serve: Serve):
    viewer = open_viewer(f"{serve().url}/{LIVE}", expected=SLEEP_SAYS)
    viewer.wait_shown(2)
    session = viewer.page.context.new_cdp_session(viewer.page)
    session.send("Page.setWebLifecycleState", {"state": "frozen"})
    time.sleep(7)
    session.send("Page.setWebLifecycleState", {"state": "active"})
    viewer.wait_shown(3)
    viewer.wait("splatcast.state.problems.length === 0")
