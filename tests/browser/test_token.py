"""A server with a token: from the address, from the card, kept for the tab, and never left in the address bar."""

from collections.abc import Callable, Iterator

import pytest

from tests.browser.conftest import AppServer, Viewer

pytestmark = pytest.mark.browser

OpenViewer = Callable[..., Viewer]
TOKEN = "0123456789abcdef._~-XYZ"
CARD = '.problem[data-code="unauthorized"]'


@pytest.fixture(scope="module")
def guarded() -> Iterator[AppServer]:
    server = AppServer("--token", TOKEN)
    yield server
    server.kill()


@pytest.mark.parametrize("address", [f"?fps=5#token={TOKEN}", f"?token={TOKEN}&fps=5"])
def test_a_token_in_the_address_opens_the_server_and_leaves_the_address(open_viewer: OpenViewer, guarded: AppServer, address: str):
    viewer = open_viewer(f"{guarded.url}/{address}")
    viewer.wait("splatcast.state.connection === 'open'")
    assert viewer.page.url == f"{guarded.url}/?fps=5"
    # The sample comes over the API, which asks for the token as well.
    viewer.page.click("text=Play the sample")
    viewer.wait_shown(1)
    with viewer.page.expect_download():
        viewer.page.click("#download")
    viewer.page.reload()
    viewer.wait("splatcast.state.connection === 'open'")
    assert viewer.get("state.problems") == []


def test_without_a_token_a_card_asks_for_it_and_a_wrong_one_is_named(open_viewer: OpenViewer, guarded: AppServer):
    viewer = open_viewer(f"{guarded.url}/")
    assert "asks for a token" in viewer.problem("unauthorized")
    viewer.wait("splatcast.state.connection === 'closed'")
    assert viewer.page.inner_text("#connection-text") == "waiting for a token"
    field = viewer.page.locator(f"{CARD} input")
    assert field.evaluate("field => field === document.activeElement && field.type === 'password'")
    # No shortcut of the viewer, and what no token can have is not sent.
    field.press_sequentially("s h")
    field.press("Enter")
    assert viewer.page.is_hidden("#settings") and field.input_value() == "s h"
    field.fill("wrong")
    field.press("Enter")
    viewer.page.locator(f"{CARD} >> text=not the server's").wait_for()
    viewer.page.locator(f"{CARD} input").fill(TOKEN)
    viewer.page.click(f"{CARD} button")
    viewer.wait("splatcast.state.connection === 'open'")
    viewer.wait("splatcast.state.problems.length === 0")
    viewer.page.reload()
    viewer.wait("splatcast.state.connection === 'open'")


def test_another_problem_does_not_take_away_what_is_being_typed(open_viewer: OpenViewer, guarded: AppServer):
    viewer = open_viewer(f"{guarded.url}/")
    viewer.problem("unauthorized")
    field = viewer.page.locator(f"{CARD} input")
    field.fill("half of i")
    viewer.page.set_input_files("#file", {"name": "notes.png", "mimeType": "image/png", "buffer": b"not a picture"})
    viewer.problem("file_unreadable")
    assert field.input_value() == "half of i"
    assert field.evaluate("field => field === document.activeElement")


def test_a_token_does_no_harm_where_the_server_asks_for_none(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/#token={TOKEN}")
    viewer.wait("splatcast.state.connection === 'open'")
    assert viewer.get("state.problems") == []
