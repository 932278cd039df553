"""What a person keeps: a recording that plays without a server, the splats on the screen, a film; and a view that stands still."""

import io
from collections.abc import Callable
from pathlib import Path

import gsply
import numpy as np
import pytest

from deployments.recording import gaussians_of
from deployments.splats.codecs.ply import PlyCodec
from deployments.splats.files import FORMATS, LAYOUTS, Layout
from deployments.stream.recording import RecordingReader
from tests.browser.conftest import AppServer, Viewer
from tests.browser.splat_files import ball, drop, file_of
from tests.browser.test_quality import HIDE
from tests.vectors.cases import FOLDER, SESSION

pytestmark = pytest.mark.browser

OpenViewer = Callable[..., Viewer]
SERVER_GONE = "ERR_CONNECTION_REFUSED"


def record(viewer: Viewer, frames: int) -> bytes:
    """What is saved after so many frames."""
    viewer.page.click("#record")
    viewer.wait(f"splatcast.state.recording?.frames >= {frames}")
    with viewer.page.expect_download() as download:
        viewer.page.click("#record")
    assert download.value.suggested_filename.endswith(".splatcast")
    return download.value.path().read_bytes()


def test_a_recording_of_the_stream_plays_without_the_server(open_viewer: OpenViewer, serve: Callable[..., AppServer]):
    server = serve("--engine", "relief")
    viewer = open_viewer(
        f"{server.url}/?source=camera&autostart=1&width=160&fps=4&max_splats=8000", size=(1280, 720), expected=SERVER_GONE
    )
    viewer.wait_shown(2)
    data = record(viewer, 4)
    viewer.page.click("#start")
    server.kill()

    # Python reads it, with the pictures that were sent beside the frames.
    reader = RecordingReader(io.BytesIO(data))
    frames = list(reader.frames())
    assert len(frames) >= 4 and reader.damaged == 0 and reader.cut == ""
    assert reader.welcome is not None and reader.welcome.engine.engine == "relief"
    assert {frame.reply.codec for frame in frames} == {"depth"} and all(frame.picture for frame in frames)
    assert len(gaussians_of(frames[0])) > 1000

    drop(viewer.page, "mine.splatcast", data)
    viewer.wait(f"splatcast.state.replay?.frames === {len(frames)}")
    viewer.wait_shown(len(frames))
    assert viewer.get("state.shown.kind") == "lifted"
    assert viewer.page.inner_text("#replay-label") == frames[0].reply.label

    # It can be orbited while it plays.
    drawn = viewer.get("renderer.drawn")
    viewer.page.focus("#view")
    viewer.page.keyboard.press("ArrowLeft")
    viewer.wait(f"splatcast.renderer.drawn > {drawn}")

    # Pause, seek, step, speed and loop.
    viewer.page.keyboard.press("Space")
    assert viewer.get("state.replay.playing") is False
    viewer.page.keyboard.press(",")
    viewer.page.evaluate("""() => {
        const seek = document.getElementById('replay-seek');
        seek.value = 0;
        seek.dispatchEvent(new Event('input'));
    }""")
    assert viewer.get("state.replay.frame") == 0
    viewer.page.keyboard.press(".")
    assert viewer.get("state.replay.frame") == 1
    viewer.wait(f"splatcast.state.shown.seq === {frames[1].reply.seq}")
    viewer.page.select_option("#replay-speed", "4")
    assert viewer.get("state.replay.speed") == 4
    viewer.page.click("#replay-loop")
    viewer.page.click("#replay-play")
    viewer.wait(f"!splatcast.state.replay.playing && splatcast.state.replay.frame === {len(frames) - 1}")

    viewer.page.click("#replay-close")
    assert viewer.page.locator("#replay").is_hidden()


def test_a_file_of_another_program_plays_as_far_as_it_goes(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(synthetic.url)
    golden = (FOLDER / SESSION).read_bytes()
    drop(viewer.page, "golden.splatcast", golden)
    viewer.wait("splatcast.state.replay?.frames === 2")
    viewer.wait("splatcast.state.shown?.codec === 'packed'")
    viewer.wait("splatcast.state.shown?.codec === 'depth'")
    # It has figures like a stream, and they stop with it.
    viewer.wait("Number(document.getElementById('fps').textContent) > 0")
    viewer.page.keyboard.press("Space")
    viewer.wait("document.getElementById('fps').textContent === '–'")

    drop(viewer.page, "cut.splatcast", golden[:-1])
    viewer.wait("splatcast.state.replay?.frames === 1")
    assert "as far as the file goes" in viewer.page.inner_text("#replay-note")

    drop(viewer.page, "noise.splatcast", b"noise" * 100)
    assert "SPLR" in viewer.problem("recording_unreadable")
    assert viewer.get("state.replay") is None


def test_a_damaged_frame_is_said_once_and_the_others_play_on(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(synthetic.url)
    damaged = bytearray((FOLDER / SESSION).read_bytes())
    damaged[-5] ^= 1
    drop(viewer.page, "damaged.splatcast", bytes(damaged))
    assert "frame 2 is damaged" in viewer.problem("recording_damaged")
    viewer.wait_shown(2)
    assert viewer.page.locator('.problem[data-code="recording_damaged"]').count() == 1


@pytest.mark.parametrize("lift", ["worker", "gpu"])
def test_the_splats_on_the_screen_are_saved_and_open_again(open_viewer: OpenViewer, synthetic: AppServer, lift: str):
    viewer = open_viewer(f"{synthetic.url}/?lift={lift}")
    golden = (FOLDER / SESSION).read_bytes()
    viewer.wait("splatcast.state.lift !== null")
    drop(viewer.page, "one.splatcast", golden[: golden.rindex(b"SPPK")])
    viewer.wait("splatcast.state.shown?.codec === 'depth'")
    assert viewer.get("state.shown.onGpu") is (lift == "gpu")
    with viewer.page.expect_download() as download:
        viewer.page.keyboard.press("d")
    saved = download.value.path().read_bytes()
    gaussians = PlyCodec().decode(np.frombuffer(saved, np.uint8))
    assert len(gaussians) == viewer.get("state.shown.count")
    assert b"comment engine: stub (Golden vectors)\ncomment licence: Apache-2.0" in saved
    first = next(iter(RecordingReader(io.BytesIO(golden)).frames()))
    expected = gaussians_of(first)
    assert np.median(np.abs(np.sort(gaussians.means[:, 2]) - np.sort(expected.means[:, 2]))) < 1e-3

    drop(viewer.page, "saved.ply", saved)
    viewer.wait("splatcast.state.shown.codec === 'ply'")
    assert viewer.get("state.shown.count") == len(gaussians)
    drop(viewer.page, "words.sppk", (FOLDER / "edges.packed").read_bytes())
    viewer.wait("splatcast.state.shown.codec === 'packed'")


def saved_with(viewer: Viewer, key: str, suffix: str) -> bytes:
    """What a key saves."""
    with viewer.page.expect_download() as download:
        viewer.page.keyboard.press(key)
    assert download.value.suggested_filename.endswith(suffix)
    return download.value.path().read_bytes()


def spread(words: list[int]) -> np.ndarray:
    """Centres of packed words, sorted along each axis. float32 [N, 3]."""
    halves = np.asarray(words, "<u4").reshape(-1, 4)[:, 1:3].copy().view("<f2")
    return np.sort(halves[:, :3].astype(np.float32), axis=0)


SHOWN_WORDS = "splatcast.shownWords()"


def test_the_splats_on_the_screen_are_saved_as_spz_for_gsply_and_spark(
    open_viewer: OpenViewer, synthetic: AppServer, tmp_path: Path
):
    viewer = open_viewer(synthetic.url)
    golden = (FOLDER / SESSION).read_bytes()
    viewer.wait("splatcast.state.lift !== null")
    drop(viewer.page, "one.splatcast", golden[: golden.rindex(b"SPPK")])
    viewer.wait("splatcast.state.shown?.codec === 'depth'")
    count = viewer.get("state.shown.count")
    shown = spread(viewer.page.evaluate(SHOWN_WORDS))
    ply = PlyCodec().decode(np.frombuffer(saved_with(viewer, "d", ".ply"), np.uint8))
    spz = saved_with(viewer, "z", ".spz")

    # gsply, which is not ours, reads the same splats: y up, z towards the viewer.
    path = tmp_path / "saved.spz"
    path.write_bytes(spz)
    read = gsply.read_spz(path)
    assert len(read.means) == count
    means = np.asarray(read.means) * (1, -1, -1)
    assert np.abs(means - ply.means).max() < 1e-3
    opacities = 1 / (1 + np.exp(-np.asarray(read.opacities).reshape(-1)))
    assert np.abs(opacities - ply.opacities).max() < 0.01
    assert np.abs(np.asarray(read.scales) - np.log(np.maximum(ply.scales, np.exp(-10)))).max() < 0.04
    assert np.abs(np.asarray(read.sh0).reshape(-1, 3) - ply.sh[:, 0]).max() < 0.02
    quats = np.asarray(read.quats) / np.linalg.norm(read.quats, axis=1, keepdims=True) * (1, 1, -1, -1)
    assert np.abs((quats * ply.quats).sum(axis=1)).min() > 0.999

    # So does Spark, which is what opens it here, and the camera is where it was.
    drop(viewer.page, "saved.spz", spz)
    viewer.wait("splatcast.state.shown.codec === 'packed'")
    assert viewer.get("state.shown.count") == count
    assert np.abs(spread(viewer.page.evaluate(SHOWN_WORDS)) - shown).max() < 0.01
    assert viewer.page.inner_text("#replay-name") == "saved.spz"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_ply_of_every_layout_opens(open_viewer: OpenViewer, synthetic: AppServer, layout: Layout):
    viewer = open_viewer(synthetic.url)
    drop(viewer.page, f"{layout}.ply", file_of(ball(), format="ply", layout=layout))
    viewer.wait("splatcast.state.shown?.count === 500")
    assert viewer.get("state.problems") == []
    places = spread(viewer.page.evaluate(SHOWN_WORDS))[-500:]
    assert np.abs(places - np.sort(ball().means, axis=0)).max() < 0.01


@pytest.mark.parametrize("format", ["splat", "spz", "packed", "points"])
def test_other_files_of_splats_open(open_viewer: OpenViewer, synthetic: AppServer, format: str):
    viewer = open_viewer(synthetic.url)
    drop(viewer.page, f"ball{FORMATS[format].suffix}", file_of(ball(), format=format))
    viewer.wait("splatcast.state.shown?.count === 500")
    assert viewer.get("state.problems") == []
    places = spread(viewer.page.evaluate(SHOWN_WORDS))[-500:]
    assert np.abs(places - np.sort(ball().means, axis=0)).max() < 0.01


def test_a_file_that_was_opened_while_nobody_looked_is_shown_to_who_looks(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(synthetic.url)
    viewer.page.evaluate(HIDE, True)
    drop(viewer.page, "ball.sppk", file_of(ball(), format="packed"))
    viewer.wait("splatcast.state.replay?.frame === 0")
    viewer.page.wait_for_timeout(500)
    assert viewer.get("state.shown") is None
    viewer.page.evaluate(HIDE, False)
    viewer.wait("splatcast.state.shown?.count === 500")


def test_a_compressed_ply_of_another_program_opens(open_viewer: OpenViewer, synthetic: AppServer, tmp_path: Path):
    viewer = open_viewer(synthetic.url)
    path = tmp_path / "ball.ply"
    path.write_bytes(file_of(ball(), format="ply", layout="inria"))
    gsply.plywrite(tmp_path / "ball.compressed.ply", gsply.plyread(path), compressed=True)
    (compressed,) = tmp_path.glob("*.compressed.ply")
    drop(viewer.page, compressed.name, compressed.read_bytes())
    viewer.wait("splatcast.state.shown?.count === 500")
    places = spread(viewer.page.evaluate(SHOWN_WORDS))[-500:]
    assert np.abs(places - np.sort(ball().means, axis=0)).max() < 0.02


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.ply", b"ply\nformat binary_big_endian 1.0\nend_header\n", "a.ply: "),
        ("b.spz", b"NGSP" + bytes(60), "version 1 to 3"),
        ("c.spz", b"\x1f\x8b" + bytes(60), "c.spz: "),
        ("d.splat", b"", "d.splat: "),
        ("e.sog", b"PK\3\4 and nothing", "e.sog: "),
        ("f.sppt", b"SPPT" + bytes(3), "16 bytes"),
    ],
)
def test_a_file_that_nobody_can_read_gets_a_card(open_viewer: OpenViewer, synthetic: AppServer, name: str, data: bytes, words: str):
    viewer = open_viewer(synthetic.url)
    drop(viewer.page, name, data)
    assert words in viewer.problem("recording_unreadable")
    assert viewer.get("state.replay") is None
    # The next one is none the worse for it.
    drop(viewer.page, "ball.splat", file_of(ball(), format="splat"))
    viewer.wait("splatcast.state.shown?.count === 500")
    assert viewer.get("state.problems") == []


def test_a_frozen_view_stands_still_until_it_is_stepped(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?source=camera&autostart=1&max_splats=400&width=64&fps=10")
    viewer.wait_shown(3)
    viewer.page.keyboard.press("k")
    # What had been handed over by then is still drawn.
    viewer.page.wait_for_timeout(500)
    seq, sent = viewer.get("state.shown.seq"), viewer.get("stats.sent")
    viewer.page.wait_for_timeout(500)
    assert (viewer.get("state.shown.seq"), viewer.get("stats.sent")) == (seq, sent)
    viewer.page.click("#step")
    viewer.wait(f"splatcast.state.shown.seq > {seq}")
    viewer.page.wait_for_timeout(500)
    seq = viewer.get("state.shown.seq")
    viewer.page.wait_for_timeout(500)
    assert viewer.get("state.shown.seq") == seq
    viewer.page.click("#freeze")
    viewer.wait_shown(3)


def test_the_view_is_filmed(open_viewer: OpenViewer, synthetic: AppServer, tmp_path: Path):
    viewer = open_viewer(f"{synthetic.url}/?source=camera&autostart=1&max_splats=400&width=64&fps=10")
    viewer.wait_shown(2)
    viewer.page.keyboard.press("v")
    viewer.wait("splatcast.state.filming")
    viewer.wait_shown(5)
    with viewer.page.expect_download() as download:
        viewer.page.keyboard.press("v")
    film = download.value.path().read_bytes()
    assert film[:4] == b"\x1aE\xdf\xa3" or film[4:8] == b"ftyp"  # WebM (EBML), MP4.
    assert len(film) > 1000
