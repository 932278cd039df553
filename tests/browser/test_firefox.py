"""The viewer in Firefox, with its own moving picture as the camera: what differs there is the capture, the decoders, and WebGL."""

from collections.abc import Iterator

import numpy as np
import pytest

from tests.browser.conftest import AppServer
from tests.browser.firefox import Firefox, find_firefox, find_screen
from tests.browser.splat_files import DROP, ball, file_of, in_base64

pytestmark = pytest.mark.browser

LIVE = "?source=camera&autostart=1&max_splats=4000&width=160&fps=4"


@pytest.fixture(scope="module")
def firefox() -> Iterator[Firefox]:
    """One for all, as it takes a while to start."""
    executable = find_firefox()
    if executable is None:
        pytest.skip("there is no Firefox: run 'apt-get install firefox-esr', or set SPLATCAST_FIREFOX")
    if find_screen() is None:
        pytest.skip("there is no screen, and no Xvfb to make one: run 'apt-get install xvfb'")
    with Firefox(executable) as browser:
        browser.resize(1100, 600)
        yield browser


@pytest.fixture(autouse=True)
def quiet(firefox: Firefox) -> Iterator[None]:
    """Its console says no error."""
    firefox.complaints.clear()
    yield
    firefox.evaluate("1")
    assert firefox.complaints == []


def test_the_browser_passes_its_own_check(firefox: Firefox, synthetic: AppServer):
    firefox.goto(f"{synthetic.url}/selftest")
    firefox.wait("window.splatcastSelftest?.done")
    assert [line for line in firefox.evaluate("splatcastSelftest.lines") if line["result"] == "fail"] == []


def test_the_camera_becomes_splats(firefox: Firefox, relief: AppServer):
    firefox.goto(f"{relief.url}/{LIVE}")
    firefox.wait("window.splatcast?.stats.shown >= 3")
    state = firefox.evaluate("splatcast.state")
    assert state["shown"]["codec"] == "depth" and state["problems"] == [] and state["running"]
    firefox.wait("splatcast.renderer.activeSplats > 500")
    assert firefox.evaluate("splatcast.renderer.glErrors") == 0
    # What leaves is a JPEG that moves, not the one picture of a camera that stands still.
    first = firefox.evaluate("splatcast.lastCapture()")
    firefox.wait(f"splatcast.lastCapture().then(({{ seq, jpeg }}) => seq > {first['seq']} && jpeg !== {first['jpeg']!r})")


def test_a_view_that_is_orbited_frozen_and_paired_draws_on(firefox: Firefox, synthetic: AppServer):
    firefox.goto(f"{synthetic.url}/{LIVE}")
    firefox.wait("window.splatcast?.stats.shown >= 2")
    for key in ("\ue012", "x", "k"):  # Left, as WebDriver writes it.
        drawn = firefox.evaluate("splatcast.renderer.drawn")
        firefox.press(key)
        firefox.wait(f"splatcast.renderer.drawn > {drawn}")
    assert firefox.evaluate("[splatcast.state.settings.stereo, splatcast.state.frozen]") == ["parallel", True]
    assert firefox.evaluate("splatcast.state.problems") == []


def test_files_of_splats_open_and_are_saved_again(firefox: Firefox, synthetic: AppServer):
    firefox.goto(f"{synthetic.url}/")
    firefox.wait("window.splatcast?.state.connection === 'open'")
    for name in ("ball.ply", "ball.spz", "ball.splat"):
        data = file_of(ball(), format=name.partition(".")[2])
        firefox.evaluate(f"({DROP})({[name, in_base64(data)]!r})")
        firefox.wait(f"splatcast.state.replay?.name === {name!r} && splatcast.state.shown?.count === 500")
    assert firefox.evaluate("splatcast.state.problems") == []
    # What the key would save: Firefox's own compression, of the words that its WebGL has.
    firefox.evaluate("""(() => {
        window.saved = [];
        const make = URL.createObjectURL;
        URL.createObjectURL = (blob) => (saved.push(blob), make(blob));
    })()""")
    firefox.press("z")
    # Others make URLs of blobs, too: it is the one that is gzip.
    firefox.wait("""(async () => {
        for (const blob of saved) {
            const [first, second] = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
            if (first === 0x1f && second === 0x8b) window.zipped = blob;
        }
        return Boolean(window.zipped);
    })()""")
    head = firefox.evaluate(
        "new Response(zipped.stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer()"
        ".then((bytes) => [bytes.byteLength, ...new Uint8Array(bytes, 0, 12)])"
    )
    assert head[0] == 16 + 20 * 500
    assert bytes(head[1:5]) == b"NGSP" and np.array(head[5:13], np.uint8).view("<u4").tolist() == [3, 500]
