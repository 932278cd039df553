"""The viewer in a frame of another site's page: commands in, events out, and only where the server allows it."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.browser.conftest import AppServer, Viewer

pytestmark = pytest.mark.browser

OpenViewer = Callable[..., Viewer]
Serve = Callable[..., AppServer]
HOST_PAGE = """<!doctype html><title>Another site</title>
<iframe id="viewer" width="400" height="300" allow="camera" src="{src}"></iframe>
<script>
  window.heard = [];
  addEventListener('message', ({{ data }}) => heard.push(data));
  const say = (message) => document.getElementById('viewer').contentWindow.postMessage(message, '*');
</script>"""


@pytest.fixture
def another_site() -> Iterator[Callable[[str], None]]:
    """A site at another port; called with the address of what it shows in its frame."""
    page = {"src": ""}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = HOST_PAGE.format(src=page["src"]).encode()
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def show(src: str) -> None:
        page["src"] = src

    show.url = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    yield show
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_site_that_may_shows_the_viewer_and_drives_it(open_viewer: OpenViewer, serve: Serve, another_site: Any):
    server = serve("--embed", another_site.url)
    another_site(f"{server.url}/?embed&max_splats=500&width=160&fps=5")
    host = open_viewer(another_site.url)
    host.wait("heard.some(({ splatcast }) => splatcast === 'ready')")
    host.wait("heard.some(({ splatcast, connection }) => splatcast === 'state' && connection === 'open')")
    frame = host.page.frames[1]
    for panel in ("#brand", "#stats", "#dock"):
        assert not frame.is_visible(panel)
    host.page.evaluate("say({ splatcast: 'start', source: 'sample' })")
    host.wait("heard.filter(({ splatcast }) => splatcast === 'shown').length >= 2")
    host.page.evaluate("say({ splatcast: 'set', axes: true, max_splats: 400 })")
    host.page.evaluate("say({ splatcast: 'view', yaw: 10 })")
    host.wait("heard.some(({ splatcast, splats }) => splatcast === 'shown' && splats <= 400)")
    assert frame.evaluate("splatcast.state.settings.axes") is True
    host.page.evaluate("say({ splatcast: 'fly' })")
    host.wait("heard.some(({ splatcast, message }) => splatcast === 'error' && message.includes('fly'))")
    host.page.evaluate("say('not for the viewer')")
    host.page.evaluate("say({ splatcast: 'stop' })")
    host.wait("heard.filter(({ splatcast }) => splatcast === 'state').at(-1).running === false")
    assert frame.evaluate("splatcast.state.running") is False


def test_a_site_that_may_not_sees_nothing(open_viewer: OpenViewer, serve: Serve, another_site: Any):
    server = serve("--embed", "https://cam.example")
    another_site(f"{server.url}/?embed")
    host = open_viewer(another_site.url, expected="frame-ancestors")
    host.page.wait_for_timeout(1500)
    assert host.page.evaluate("heard") == []


def test_a_command_that_is_not_the_framing_pages_is_not_heard(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?embed")
    viewer.wait("splatcast.state.connection === 'open'")
    viewer.page.evaluate("window.postMessage({ splatcast: 'start', source: 'sample' }, '*')")
    viewer.page.wait_for_timeout(500)
    assert viewer.get("state.running") is False and viewer.get("state.starting") is False
