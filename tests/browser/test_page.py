"""The page itself: nothing covers anything, everything can be reached and read, with a finger, a keyboard or a screen reader."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.axe import findings
from tests.browser.conftest import AppServer, Viewer
from tests.browser.headset import WEAR
from tests.browser.splat_files import drop
from tests.vectors.cases import FOLDER, SESSION

pytestmark = pytest.mark.browser

OpenViewer = Callable[..., Viewer]
Launch = Callable[..., Browser]
SIZES = [(320, 568), (390, 844), (844, 390), (640, 400), (500, 700), (1280, 800)]
LIVE = "?source=camera&autostart=1&max_splats=500&width=160&fps=3"
# Names and boxes of what is visible: panels, cards and the parts of the invitation, none of which may touch another.
BOXES = """() => [...document.querySelectorAll('#brand, #stats, #dock, #preview, .problem, #welcome > *, #show')]
    .filter((part) => part.checkVisibility())
    .map((part) => { const { left, top, right, bottom } = part.getBoundingClientRect();
                     return { name: part.id || part.className || part.textContent.slice(0, 20), left, top, right, bottom }; })
    .filter(({ left, right }) => right > left)"""
TARGETS = """() => [...document.querySelectorAll('button, select, .segments span, dialog[open] button')]
    .filter((part) => part.checkVisibility())
    .map((part) => [part.id || part.textContent, part.getBoundingClientRect()])
    .filter(([, { width, height }]) => Math.min(width, height) < 42)
    .map(([name]) => name)"""


# Controls of the dock that stick out of it.
SPILLS = """() => {
    const dock = document.getElementById('dock').getBoundingClientRect();
    return [...document.querySelectorAll('#dock :is(button, select, input, p)')]
        .filter((part) => part.checkVisibility() && !part.classList.contains('visually-hidden'))
        .filter((part) => { const { left, right } = part.getBoundingClientRect();
                            return left < dock.left || right > dock.right; })
        .map((part) => part.id || part.className);
}"""


def assert_nothing_overlaps(page: Page, state: str) -> None:
    boxes = page.evaluate(BOXES)
    width, height = page.evaluate("[innerWidth, innerHeight]")
    for i, a in enumerate(boxes):
        assert a["left"] >= -1 and a["right"] <= width + 1 and a["top"] >= -1 and a["bottom"] <= height + 1, (state, a)
        for b in boxes[i + 1 :]:
            apart = a["left"] >= b["right"] or b["left"] >= a["right"] or a["top"] >= b["bottom"] or b["top"] >= a["bottom"]
            assert apart, f"{state} at {width}×{height}: {a['name']} covers {b['name']}"


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_nothing_covers_anything_at_any_size(open_viewer: OpenViewer, synthetic: AppServer, size: tuple[int, int]):
    viewer = open_viewer(f"{synthetic.url}/", size=size)
    page = viewer.page
    viewer.wait("splatcast.state.connection === 'open'")
    assert_nothing_overlaps(page, "first visit")
    assert page.evaluate(TARGETS) == []
    page.set_input_files("#file", {"name": "notes.png", "mimeType": "image/png", "buffer": b"no picture"})
    viewer.problem("file_unreadable")
    assert_nothing_overlaps(page, "first visit, with a card")
    page.goto(f"{synthetic.url}/{LIVE}")
    viewer.wait("splatcast.stats.shown >= 1 && !document.getElementById('stats').hidden")
    assert_nothing_overlaps(page, "live")
    if page.is_visible("#more"):
        page.click("#more")
        assert_nothing_overlaps(page, "live, with the tray open")
        assert page.evaluate(TARGETS) == []
        page.click("#more")
    if page.get_attribute("#stats-toggle", "aria-expanded") == "false":
        page.click("#stats-toggle")
    assert_nothing_overlaps(page, "live, with the figures open")
    page.set_input_files("#file", {"name": "notes.png", "mimeType": "image/png", "buffer": b"no picture"})
    viewer.problem("file_unreadable")
    assert_nothing_overlaps(page, "with a card")
    drop(page, "a recording whose name says much about it.splatcast", (FOLDER / SESSION).read_bytes())
    viewer.wait("splatcast.state.replay?.frames === 2")
    assert_nothing_overlaps(page, "a recording plays")
    assert page.evaluate(TARGETS) == []
    assert page.evaluate(SPILLS) == []


def test_a_window_that_becomes_narrow_closes_the_figures_and_covers_nothing(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/{LIVE}", size=(1200, 800))
    viewer.wait("splatcast.stats.shown >= 1 && !document.getElementById('stats').hidden")
    assert viewer.page.get_attribute("#stats-toggle", "aria-expanded") == "true"
    for size in ((1000, 700), (500, 700)):
        viewer.page.set_viewport_size({"width": size[0], "height": size[1]})
        viewer.page.wait_for_timeout(200)
        assert_nothing_overlaps(viewer.page, "after a resize")
    assert viewer.page.get_attribute("#stats-toggle", "aria-expanded") == "false"


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["laptop", "phone"])
def test_axe_finds_nothing_in_any_state(open_viewer: OpenViewer, relief: AppServer, theme: str, size: tuple[int, int]):
    viewer = open_viewer(f"{relief.url}/?theme={theme}", size=size, before=WEAR)
    page = viewer.page
    found: dict[str, list[str]] = {}

    def look(state: str) -> None:
        page.wait_for_timeout(200)
        if now := findings(page):
            found[state] = now

    viewer.wait("splatcast.state.connection === 'open'")
    look("first visit")
    page.keyboard.press("s")
    look("settings")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    look("keys")
    page.keyboard.press("Escape")
    page.set_input_files("#file", {"name": "notes.png", "mimeType": "image/png", "buffer": b"no picture"})
    viewer.problem("file_unreadable")
    look("a card")
    page.goto(f"{relief.url}/{LIVE}&theme={theme}&representation=points")
    viewer.wait("splatcast.stats.shown >= 2")
    if page.get_attribute("#stats-toggle", "aria-expanded") == "false":
        page.click("#stats-toggle")
    look("live points, figures open")
    if page.is_visible("#more"):
        page.click("#more")
        look("tray")
    page.keyboard.press("h")
    look("panels hidden")
    page.keyboard.press("h")
    page.keyboard.press("x")
    look("side by side")
    drop(page, "recording.splatcast", (FOLDER / SESSION).read_bytes())
    viewer.wait("splatcast.state.replay?.frames === 2")
    look("a recording plays")
    page.goto(f"{relief.url}/?embed&theme={theme}")
    viewer.wait("splatcast.state.connection === 'open'")
    look("embedded")
    assert found == {}


def test_axe_finds_nothing_where_there_is_no_webgl2_or_a_token_is_asked(
    open_viewer: OpenViewer, launch: Launch, synthetic: AppServer, serve: Callable[..., AppServer]
):
    without = open_viewer(f"{synthetic.url}/", within=launch("--disable-3d-apis"))
    without.problem("no_webgl2")
    assert findings(without.page) == []
    asked = open_viewer(f"{serve('--token', 'a-good-token-of-some-length').url}/")
    asked.problem("unauthorized")
    assert findings(asked.page) == []


@pytest.mark.parametrize("name", ["status", "selftest"])
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_axe_finds_nothing_on_the_other_pages(browser: Browser, synthetic: AppServer, name: str, scheme: str):
    context = browser.new_context(color_scheme="light" if scheme == "light" else "dark")
    page = context.new_page()
    page.goto(f"{synthetic.url}/{name}")
    page.wait_for_timeout(1500)
    found = findings(page)
    context.close()
    assert found == []


def test_keys_go_on_after_a_click_and_a_start_leaves_the_focus_in_the_view(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?max_splats=500&width=160&fps=3", size=(1280, 800))
    page = viewer.page
    page.click("[data-start=camera]")
    viewer.wait("splatcast.stats.shown >= 1 && document.activeElement.id === 'view'")
    page.click("#representation >> text=Points")
    page.keyboard.press("a")
    viewer.wait("splatcast.state.settings.axes")
    page.click("#settings-toggle")
    page.click("#set-exact")
    page.keyboard.press("w")
    viewer.wait("splatcast.state.settings.sway")
    page.keyboard.press("Escape")
    assert not page.is_visible("#settings")
    assert page.evaluate("document.activeElement.id") == "settings-toggle"


def test_a_keyboard_alone_reaches_and_leaves_everything(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/", size=(1280, 800))
    viewer.wait("splatcast.state.connection === 'open'")
    page = viewer.page
    seen = []
    for _ in range(24):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.dataset.start || ''"))
    wanted = ["view", "camera", "sample", "file", "start", "source", "reset", "hide", "settings-toggle", "help-toggle"]
    places = [seen.index(name) for name in wanted]
    assert places == sorted(places), seen
    page.focus("#hide")
    page.keyboard.press("Enter")
    assert not page.is_visible("#dock") and page.evaluate("document.activeElement.id") == "show"
    page.keyboard.press("Enter")
    assert page.is_visible("#dock") and page.evaluate("document.activeElement.id") == "view"


def test_nothing_looks_ready_before_a_script_runs(browser: Browser, synthetic: AppServer):
    page = browser.new_page()
    page.route("**/*.js", lambda route: route.abort())
    page.goto(f"{synthetic.url}/")
    assert page.inner_text("#connection-text") == "loading"
    assert page.evaluate("document.querySelectorAll('#welcome[inert], #dock[inert]').length") == 2
    page.close()


def test_the_systems_own_few_colours_leave_the_title_and_the_state_readable(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/")
    viewer.page.emulate_media(forced_colors="active")
    assert viewer.page.evaluate("getComputedStyle(document.querySelector('#welcome h2')).backgroundImage") == "none"
    assert viewer.page.evaluate("getComputedStyle(document.querySelector('#connection i')).forcedColorAdjust") == "none"


def test_a_report_can_be_copied_and_names_what_went_wrong(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/", size=(1280, 800))
    viewer.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    viewer.page.set_input_files("#file", {"name": "notes.png", "mimeType": "image/png", "buffer": b"no picture"})
    viewer.problem("file_unreadable")
    viewer.page.keyboard.press("?")
    viewer.page.click("#copy-report")
    viewer.page.wait_for_selector("text=Copied")
    report = viewer.page.evaluate("navigator.clipboard.readText()")
    for part in ("viewer: splatcast-viewer/", "browser: Mozilla", "renderer: ", "file_unreadable"):
        assert part in report


def test_a_minute_of_figures_is_drawn(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/{LIVE}", size=(1280, 800))
    viewer.wait_shown(3)
    drawn = "[...document.querySelectorAll('#graphs path')].every((path) => /^M.*L/.test(path.getAttribute('d')))"
    viewer.wait(drawn)
    labels = viewer.page.evaluate("[...document.querySelectorAll('#graphs svg')].map((svg) => svg.getAttribute('aria-label'))")
    assert len(labels) == 4 and all("in the last minute" in label and "now" in label for label in labels)


def test_the_label_is_that_of_the_frame_on_the_screen(open_viewer: OpenViewer, relief: AppServer):
    """The camera shows a face, so that its relief is a little more than the engine itself promises."""
    viewer = open_viewer(f"{relief.url}/?source=camera")
    viewer.wait("splatcast.state.connection === 'open'")
    assert viewer.page.inner_text("#engine-label") == "Demo depth (no depth network)"
    viewer.page.goto(f"{relief.url}/?source=camera&autostart=1&fps=3")
    viewer.wait("document.getElementById('engine-label').textContent === 'Demo depth with a 3D face (no depth network)'")
