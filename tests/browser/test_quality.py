"""What the viewer shows of its quality, and what it tells the server of its own work."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import AppServer, Viewer

pytestmark = pytest.mark.browser

OpenViewer = Callable[..., Viewer]
Serve = Callable[..., AppServer]
STREAM = "source=camera&autostart=1&width=160&fps=5"
HIDE = """hidden => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event('visibilitychange'));
}"""

# Spark reads the depths back before it sorts them.
FAIL_ONE_SORT = """() => {
    const { readPixels } = WebGL2RenderingContext.prototype;
    WebGL2RenderingContext.prototype.readPixels = () => {
        WebGL2RenderingContext.prototype.readPixels = readPixels;
        throw new Error('no depths');
    };
}"""


def acks_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lowered_quality_is_said_with_its_cause_and_full_quality_is_quiet(open_viewer: OpenViewer, serve: Serve):
    viewer = open_viewer(f"{serve('--lowered').url}/?{STREAM}&min_opacity=0&max_splats=800", size=(1100, 640))
    viewer.wait("splatcast.state.shown?.quality.splats_share < 1")
    viewer.wait("document.querySelector('#quality').textContent === '62% detail, 320 px'")
    assert viewer.page.inner_text("#quality-note") == "Less detail: the network takes too long for more."

    viewer.page.click("#settings-toggle")
    assert viewer.page.is_checked("#set-adapt") and viewer.page.is_enabled("#set-fewest")
    below = viewer.page.locator("#stages").bounding_box()
    viewer.page.uncheck("#set-adapt")
    viewer.wait("document.querySelector('#quality').textContent === 'full'")
    assert viewer.page.inner_text("#quality-note") == "Full quality again."
    assert viewer.page.locator("#stages").bounding_box() == below, "nothing jumps when it comes back"
    assert not viewer.page.is_enabled("#set-fewest")
    viewer.wait("document.querySelector('#quality-note').hidden")
    assert viewer.get("state.options.adapt") is False


def test_what_the_address_says_of_adapting_is_in_force_after_a_reconnect_too(open_viewer: OpenViewer, serve: Serve):
    server = serve()
    viewer = open_viewer(f"{server.url}/?adapt=0&min_splats=5000&min_inference_px=252", expected="WebSocket")
    in_force = "({adapt, min_splats, min_inference_px}) => !adapt && min_splats === 5000 && min_inference_px === 252"
    viewer.wait(f"({in_force})(splatcast.state.options)")
    server.kill()
    viewer.problem("server_gone")
    server.start()
    viewer.wait("splatcast.state.connection === 'open'")
    viewer.wait(f"({in_force})(splatcast.state.options)")


def test_every_reply_is_acknowledged_once_in_order_with_times_of_one_clock(open_viewer: OpenViewer, serve: Serve, tmp_path: Path):
    viewer = open_viewer(f"{serve('--acks', str(tmp_path / 'acks')).url}/?{STREAM}&max_splats=500")
    viewer.wait_shown(10)
    viewer.page.click("#start")
    viewer.wait("splatcast.stats.received === splatcast.stats.shown + splatcast.stats.supersededInClient")
    stats = viewer.get("stats")
    viewer.page.wait_for_timeout(500)
    acks = acks_in(tmp_path / "acks")
    assert len(acks) == stats["received"] and sum(ack["shown_ms"] > 0 for ack in acks) == stats["shown"]
    seqs = [ack["seq"] for ack in acks]
    assert seqs == sorted(set(seqs))
    for ack in acks:
        assert 0 < ack["received_ms"] <= ack["decoded_ms"]
        if ack["shown_ms"]:
            # Captured in one worker, received in another, shown by the page.
            assert ack["decoded_ms"] <= ack["shown_ms"] <= ack["received_ms"] + ack["age_ms"]
            assert 0 < ack["age_ms"] < 60_000
        else:
            assert ack["age_ms"] == 0


def test_a_reply_that_can_not_be_read_is_acknowledged_and_was_not_shown(open_viewer: OpenViewer, serve: Serve, tmp_path: Path):
    viewer = open_viewer(f"{serve('--corrupt', '--acks', str(tmp_path / 'acks')).url}/?{STREAM}&max_splats=500")
    viewer.wait("splatcast.stats.badReplies >= 2 && splatcast.stats.shown >= 2")
    bad = [ack for ack in acks_in(tmp_path / "acks") if not ack["decoded_ms"]]
    assert bad and all(ack["received_ms"] > 0 and ack["shown_ms"] == 0 and ack["age_ms"] == 0 for ack in bad)


def test_a_sort_that_fails_costs_its_own_frame_and_no_later_ack(open_viewer: OpenViewer, serve: Serve, tmp_path: Path):
    viewer = open_viewer(f"{serve('--acks', str(tmp_path / 'acks')).url}/?{STREAM}&max_splats=500")
    viewer.wait_shown(2)
    viewer.page.evaluate(FAIL_ONE_SORT)
    viewer.wait("splatcast.stats.notDrawn === 1")
    viewer.wait_shown(5)
    viewer.page.click("#start")
    viewer.page.wait_for_timeout(1000)  # For the last replies, and for the acks of all.
    viewer.wait("splatcast.stats.received === splatcast.stats.shown + splatcast.stats.supersededInClient + 1")
    assert viewer.get("state.problems") == [], "the card goes with the next frame that is shown"
    shown = viewer.get("stats.shown")
    viewer.page.wait_for_timeout(500)
    acks = acks_in(tmp_path / "acks")
    assert len(acks) == viewer.get("stats.received") and sum(ack["shown_ms"] > 0 for ack in acks) == shown


def test_a_hidden_page_says_that_it_shows_nothing_and_goes_on_when_somebody_looks(
    open_viewer: OpenViewer, serve: Serve, tmp_path: Path
):
    viewer = open_viewer(f"{serve('--acks', str(tmp_path / 'acks')).url}/?{STREAM}&max_splats=500")
    viewer.wait_shown(3)
    viewer.page.evaluate(HIDE, True)
    shown = viewer.get("stats.shown")
    viewer.page.wait_for_timeout(1500)
    stats = viewer.get("stats")
    assert stats["shown"] <= shown + 1, "the one that was being drawn"
    assert stats["received"] == stats["shown"] + stats["supersededInClient"]
    sent = stats["sent"]
    viewer.page.wait_for_timeout(1000)
    assert viewer.get("stats.sent") == sent, "nobody looks: nothing is computed"
    viewer.page.evaluate(HIDE, False)
    viewer.wait_shown(3)
    assert all(ack["age_ms"] < 60_000 for ack in acks_in(tmp_path / "acks"))
