"""What a person reads when something is wrong, and that the viewer gets over it by itself."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import AppServer, Viewer

pytestmark = pytest.mark.browser

OpenViewer = Callable[..., Viewer]
Serve = Callable[..., AppServer]
Launch = Callable[..., Browser]
# Chromium itself writes a failed connection to the console.
GONE = "WebSocket"


def test_the_viewer_comes_back_by_itself_after_a_restart(open_viewer: OpenViewer, serve: Serve):
    server = serve()
    viewer = open_viewer(f"{server.url}/?source=camera&autostart=1&max_splats=500&width=160&fps=5", expected=GONE)
    viewer.wait_shown(2)
    server.kill()
    assert "tries again by itself" in viewer.problem("server_gone")
    assert viewer.get("state.connection") in ("waiting", "connecting")
    server.start()
    viewer.wait("splatcast.state.connection === 'open'")
    viewer.wait_shown(3)
    assert viewer.get("stats.reconnects") == 1
    assert viewer.get("state.problems") == []


def test_another_protocol_is_explained_and_not_tried_again(open_viewer: OpenViewer, serve: Serve):
    viewer = open_viewer(f"{serve('--protocol', '2').url}/")
    words = viewer.problem("protocol_mismatch")
    assert "protocol 1" in words and "speaks 2" in words
    viewer.wait("splatcast.state.connection === 'closed'")
    viewer.page.wait_for_timeout(2000)
    assert viewer.get("state.connection") == "closed"


def test_a_server_without_a_welcome_is_named_left_and_tried_again(open_viewer: OpenViewer, serve: Serve):
    viewer = open_viewer(f"{serve('--no-welcome').url}/")
    assert "did not welcome" in viewer.problem("no_welcome")
    assert "no hello is welcome here" in viewer.problem("bad_message")
    viewer.wait("splatcast.state.connection === 'connecting'")


def test_a_full_server_is_named_and_tried_again(open_viewer: OpenViewer, serve: Serve):
    server = serve("--max-sessions", "1")
    first = open_viewer(f"{server.url}/")
    first.wait("splatcast.state.connection === 'open'")
    second = open_viewer(f"{server.url}/", expected=GONE)
    assert "limit of 1" in second.problem("server_full")
    first.page.goto("about:blank")
    second.wait("splatcast.state.connection === 'open'")
    second.wait("splatcast.state.problems.length === 0")


def test_a_budget_above_the_limit_is_lowered_to_it(open_viewer: OpenViewer, serve: Serve):
    viewer = open_viewer(f"{serve().url}/?max_splats=4000000&min_opacity=0.25")
    viewer.wait("splatcast.state.options.min_opacity === 0.25")
    assert viewer.get("state.options.max_splats") == viewer.get("state.limits.max_splats")
    assert viewer.page.inner_text("#out-splats") == f"{viewer.get('state.limits.max_splats'):,}"
    assert viewer.get("state.problems") == []


def test_a_broken_reply_is_counted_and_never_shown(open_viewer: OpenViewer, serve: Serve):
    viewer = open_viewer(f"{serve('--corrupt').url}/?source=camera&autostart=1&max_splats=500&width=160&fps=5")
    viewer.wait("splatcast.stats.badReplies >= 3 && splatcast.stats.shown >= 3")
    stats = viewer.get("stats")
    assert stats["received"] >= stats["shown"]


def test_a_refused_frame_is_said_and_the_next_one_is_shown(open_viewer: OpenViewer, serve: Serve):
    viewer = open_viewer(f"{serve('--fail-every', '3').url}/?source=camera&autostart=1&max_splats=500&width=160&fps=5")
    viewer.wait("splatcast.stats.refused >= 2 && splatcast.stats.shown >= 3")
    assert viewer.get("stats.reconnects") == 0


def test_a_licence_that_limits_the_use_stands_out(open_viewer: OpenViewer, serve: Serve):
    viewer = open_viewer(f"{serve('--licence-note', 'Not for commercial use.').url}/")
    note = viewer.page.locator("#licence-note")
    note.wait_for()
    assert note.inner_text() == "Not for commercial use."


def test_a_denied_camera_is_explained_and_the_sample_offered(open_viewer: OpenViewer, launch: Launch, synthetic: AppServer):
    browser = launch("--use-fake-device-for-media-stream", "--deny-permission-prompts")
    viewer = open_viewer(f"{synthetic.url}/?source=camera&autostart=1&max_splats=500&fps=5", within=browser)
    words = viewer.problem("camera_denied")
    assert "not allowed" in words
    viewer.page.click(".problem >> text=Play the sample")
    viewer.wait_shown(1)
    assert viewer.get("state.problems") == []


@pytest.mark.parametrize(
    ("flags", "host", "code", "words"),
    [
        (["--use-fake-ui-for-media-stream"], None, "no_camera", "No camera was found"),
        (["--host-resolver-rules=MAP viewer.test 127.0.0.1"], "viewer.test", "insecure_context", "https"),
    ],
    ids=["no camera", "no secure context"],
)
def test_a_missing_camera_is_explained(
    open_viewer: OpenViewer, launch: Launch, synthetic: AppServer, flags: list[str], host: str | None, code: str, words: Any
):
    url = synthetic.url.replace("127.0.0.1", host) if host else synthetic.url
    # A page over plain http is told that this header is not for it.
    viewer = open_viewer(f"{url}/?source=camera&autostart=1", within=launch(*flags), expected="Cross-Origin-Opener-Policy")
    assert words in viewer.problem(code)


def test_a_browser_without_webgl2_is_told_and_nothing_is_left_that_does_nothing(
    open_viewer: OpenViewer, launch: Launch, synthetic: AppServer
):
    viewer = open_viewer(f"{synthetic.url}/", within=launch("--disable-3d-apis"))
    assert "WebGL2" in viewer.problem("no_webgl2")
    for part in ("#connection", "#dock", "#welcome"):
        assert not viewer.page.is_visible(part)


def test_a_file_that_is_no_picture_is_named(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/")
    viewer.page.set_input_files("#file", {"name": "notes.png", "mimeType": "image/png", "buffer": b"not a picture"})
    assert "notes.png is not a picture" in viewer.problem("file_unreadable")
