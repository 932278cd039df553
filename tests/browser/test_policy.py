"""The viewer under the policy that the server sends: nothing of it is blocked, and what is not of it is."""

from collections.abc import Callable

import pytest

from tests.browser.conftest import AppServer, Viewer

pytestmark = pytest.mark.browser

OpenViewer = Callable[..., Viewer]
LISTEN = """
window.violations = [];
addEventListener('securitypolicyviolation', event => violations.push(event.violatedDirective + ' ' + event.blockedURI));
"""
INTRUDER = "document.head.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
PICTURE = "new Promise(done => Object.assign(new Image(), {onload: done, onerror: done, src: 'https://evil.example/x.png'}))"


def open_listening(open_viewer: OpenViewer, url: str, **how: str) -> Viewer:
    viewer = open_viewer("about:blank", **how)
    viewer.page.add_init_script(LISTEN)
    viewer.page.goto(url)
    return viewer


@pytest.mark.parametrize("source", ["camera", "sample"])
def test_the_viewer_needs_nothing_that_its_policy_forbids(open_viewer: OpenViewer, synthetic: AppServer, source: str):
    viewer = open_listening(open_viewer, f"{synthetic.url}/?source={source}&autostart=1&max_splats=500&width=160&fps=5")
    viewer.wait_shown(2)
    assert viewer.page.evaluate("violations") == []


def test_the_selftest_needs_nothing_that_its_policy_forbids(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_listening(open_viewer, f"{synthetic.url}/selftest")
    viewer.page.wait_for_load_state("networkidle")
    assert viewer.page.evaluate("violations") == []


def test_a_script_or_a_request_that_got_into_the_page_is_blocked(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_listening(open_viewer, f"{synthetic.url}/", expected="Content Security Policy")
    viewer.page.evaluate(INTRUDER)
    viewer.page.evaluate(PICTURE)
    assert viewer.page.evaluate("window.ran") is None
    assert viewer.page.evaluate("violations") == ["script-src-elem inline", "img-src https://evil.example/x.png"]
