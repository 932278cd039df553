"""The viewer gets over what happens to it: a graphics driver that resets, a network that falls silent, a server that restarts."""

import signal
from collections.abc import Callable

import pytest

from tests.browser.conftest import AppServer, Viewer

pytestmark = pytest.mark.browser

OpenViewer = Callable[..., Viewer]
Serve = Callable[..., AppServer]
LIVE = "?source=camera&autostart=1&max_splats=500&width=160&fps=5"
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


def test_a_stopped_picture_is_there_again_after_the_3d_view_was_lost(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/{LIVE}", expected="Context Lost")
    viewer.wait_shown(2)
    viewer.page.click("#start")
    viewer.wait("splatcast.renderer.activeSplats === splatcast.state.shown.count")
    viewer.page.evaluate(LOSE)
    viewer.problem("graphics_lost")
    viewer.page.evaluate("losing.restoreContext()")
    viewer.wait("splatcast.renderer.activeSplats === splatcast.state.shown.count && splatcast.state.problems.length === 0")


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
