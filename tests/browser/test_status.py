"""The page a person opens to see whether the stream is well."""

from collections.abc import Callable

import pytest

from tests.browser.conftest import AppServer, Viewer

pytestmark = pytest.mark.browser


def test_the_status_page_shows_a_live_session_and_breaks_no_rule(open_viewer: Callable[..., Viewer], synthetic: AppServer) -> None:
    viewer = open_viewer(f"{synthetic.url}/?source=camera&autostart=1&max_splats=500&width=64&fps=5", size=(160, 120))
    viewer.wait_shown(5)
    page = open_viewer(f"{synthetic.url}/status", size=(1280, 900))
    # Those before this line are in the console, which must stay empty.
    page.page.evaluate("window.violations = 0; document.addEventListener('securitypolicyviolation', () => window.violations++)")
    page.wait("document.querySelector('#sessions td:nth-child(2)')?.textContent.startsWith('splatcast-viewer/')")
    page.wait("parseFloat(document.querySelector('#tiles .tile b').textContent) > 0")
    assert page.page.inner_text("#freshness") == "live"
    assert "Synthetic splats (load test)" in page.page.inner_text("#about")
    stages = page.page.locator("#stages td:first-child").all_inner_texts()
    assert stages == ["receive", "queue", "decode", "infer", "pack", "send", "total"]
    widest = page.page.evaluate("Math.max(...[...document.querySelectorAll('#stages rect')].map(bar => bar.getBBox().width))")
    assert widest == pytest.approx(100)
    viewer.wait_shown(5)  # Looking does not stop the stream.
    page.page.evaluate("document.body.style.height = '4000px'; scrollTo(0, 500)")
    uptime = page.page.inner_text("#about")
    page.wait(f"document.getElementById('about').innerText !== {uptime!r}")
    assert page.page.evaluate("scrollY") == 500, "an update leaves the page where it is"
    assert page.page.evaluate("violations") == 0


@pytest.mark.parametrize("address", ["?token=a.secret", "#token=a.secret"])
def test_it_asks_with_the_token_of_its_address(open_viewer: Callable[..., Viewer], synthetic: AppServer, address: str) -> None:
    page = open_viewer(f"{synthetic.url}/status{address}")
    with page.page.expect_request("**/api/status") as asked:
        pass
    assert asked.value.headers["authorization"] == "Bearer a.secret" and "secret" not in asked.value.url


def test_it_says_when_nobody_answers(open_viewer: Callable[..., Viewer], serve: Callable[..., AppServer]) -> None:
    server = serve()
    page = open_viewer(f"{server.url}/status", expected="ERR_CONNECTION_REFUSED")
    page.wait("document.getElementById('findings').innerText.includes('Nobody streams')")
    server.kill()
    page.wait("document.body.classList.contains('stale')")
    assert page.page.inner_text("#freshness").startswith("no answer")
    server.start()
    page.wait("!document.body.classList.contains('stale')")


def test_each_ingress_replica_is_told_apart_from_the_others(open_viewer: Callable[..., Viewer], synthetic: AppServer) -> None:
    page = open_viewer(f"{synthetic.url}/selftest")
    turn = 0

    def answer(route: object) -> None:
        nonlocal turn
        response = route.fetch()  # type: ignore[attr-defined]
        report = response.json()
        turn += 1
        report["replica"] = "ab"[turn % 2]
        report["sessions"]["open"] = 10 + turn % 2
        route.fulfill(response=response, json=report)  # type: ignore[attr-defined]

    page.page.route("**/api/status", answer)
    page.page.goto(f"{synthetic.url}/status")
    page.wait("document.querySelectorAll('#replicas input').length === 2")
    sessions = "document.querySelector('#tiles .tile:last-child b').textContent"
    for replica, open_sessions in (("a", "10"), ("b", "11")):
        page.page.click(f"text=ingress {replica}")
        page.wait(f"{sessions} === '{open_sessions}'")
        asked = turn
        while turn < asked + 2:
            page.page.wait_for_timeout(100)
        assert page.page.evaluate(sessions) == open_sessions, "answers of the other do not take its place"
