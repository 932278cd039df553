"""Where pictures come from: cameras by name, screens, files of every kind, and what is said where there are none."""

import base64
import io
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser

from deployments.scene.clip import encode_clip
from tests.browser.conftest import AppServer, Viewer

pytestmark = pytest.mark.browser

OpenViewer = Callable[..., Viewer]
Launch = Callable[..., Browser]

QUICK = "max_splats=400&width=160&fps=5"
DROP = """([name, type, bytes]) => {
    const files = new DataTransfer();
    files.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name, { type }));
    document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: files, bubbles: true, cancelable: true }));
}"""
# A camera made of a canvas: it gives a picture when the test says so, and can be muted.
OWN_CAMERA = """() => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 160, height: 120 });
    const context = canvas.getContext('2d');
    let n = 0;
    window.camera = { paused: false, mute(muted) {
        Object.defineProperty(camera.track, 'muted', { configurable: true, value: muted });
        camera.track.dispatchEvent(new Event(muted ? 'mute' : 'unmute'));
    } };
    setInterval(() => {
        if (camera.paused) return;
        context.fillStyle = `hsl(${(n++ * 20) % 360} 80% 50%)`;
        context.fillRect(0, 0, 160, 120);
    }, 100);
    navigator.mediaDevices.getUserMedia = async () => {
        const stream = canvas.captureStream(10);
        camera.track = stream.getVideoTracks()[0];
        return stream;
    };
}"""
# A permission that nobody answers until `answer` is called.
HANGING_PROMPT = """() => {
    const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    const asked = new Promise((resolve) => { window.answer = resolve; });
    navigator.mediaDevices.getUserMedia = async (wish) => { await asked; return (window.late = await ask(wish)); };
}"""


@pytest.fixture(scope="module")
def two_cameras(launch: Launch) -> Browser:
    return launch("--use-fake-device-for-media-stream=device-count=2", "--use-fake-ui-for-media-stream")


def drop(viewer: Viewer, name: str, kind: str, data: bytes) -> None:
    viewer.page.evaluate(DROP, [name, kind, base64.b64encode(data).decode()])


def open_still(viewer: Viewer, name: str, kind: str, data: bytes) -> None:
    """Drops a picture and waits until it is on the screen: it is sent once, so it must not be missed."""
    before = viewer.get("stats.shown")
    drop(viewer, name, kind, data)
    viewer.wait(f"splatcast.state.sourceName === '{name}' && splatcast.stats.shown > {before}")


def jpeg(width: int, height: int, orientation: int = 1) -> bytes:
    """Red on the left, blue on the right, as it is stored; EXIF may say that it is to be turned."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = pixels[:, width // 2 :, 2] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=90, exif=exif)
    return out.getvalue()


def last_sent(viewer: Viewer) -> Image.Image:
    url = viewer.get("lastCapture().then(capture => capture.jpeg)")
    return Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))


def until_sent(viewer: Viewer, looks: Callable[[Image.Image], bool]) -> Image.Image:
    """Until the picture that was last sent looks like that: one of the source before may still come after a new one is there."""
    for _ in range(100):
        if looks(sent := last_sent(viewer)):
            return sent
        viewer.page.wait_for_timeout(100)
    pytest.fail(f"a picture of {sent.size} in {sent.mode} is still the last that was sent")


def pixel(picture: Image.Image, x: float, y: float) -> tuple[int, ...]:
    value = picture.convert("RGB").getpixel((int(x * picture.width), int(y * picture.height)))
    assert isinstance(value, tuple)
    return tuple(int(each) for each in value)


def chosen(viewer: Viewer) -> str:
    words: str = viewer.page.evaluate("document.querySelector('#source').selectedOptions[0].text")
    return words


def test_cameras_are_chosen_by_name_exchanged_live_and_remembered(
    open_viewer: OpenViewer, synthetic: AppServer, two_cameras: Browser
):
    viewer = open_viewer(f"{synthetic.url}/?{QUICK}", within=two_cameras)
    viewer.page.click("text=Use my camera")
    viewer.wait_shown(2)
    assert (viewer.get("state.sourceName"), chosen(viewer)) == ("fake_device_0", "fake_device_0")
    viewer.page.select_option("#source", label="fake_device_1")
    viewer.wait("splatcast.state.sourceName === 'fake_device_1' && !splatcast.state.starting")
    viewer.wait_shown(2)
    assert chosen(viewer) == "fake_device_1"

    viewer.page.reload()
    viewer.page.click("text=Use my camera")
    viewer.wait("splatcast.state.sourceName === 'fake_device_1'")


def test_the_address_names_a_camera(open_viewer: OpenViewer, synthetic: AppServer, two_cameras: Browser):
    viewer = open_viewer(f"{synthetic.url}/?{QUICK}&source=camera&autostart=1&camera=device_1", within=two_cameras)
    viewer.wait("splatcast.state.sourceName === 'fake_device_1'")
    other = open_viewer(f"{synthetic.url}/?{QUICK}&source=camera&autostart=1&camera=rear", within=two_cameras)
    other.wait("splatcast.state.running")


def test_a_source_can_be_exchanged_or_given_up_while_a_permission_prompt_hangs(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?{QUICK}")
    viewer.page.evaluate(HANGING_PROMPT)
    viewer.page.click("text=Use my camera")
    viewer.wait("splatcast.state.starting")
    assert viewer.page.inner_text("#start") == "Cancel"
    viewer.page.click("#start")
    viewer.wait("!splatcast.state.starting && !splatcast.state.running")

    viewer.page.click("text=Use my camera")
    viewer.page.select_option("#source", "sample")
    viewer.wait("splatcast.state.sourceName === 'sample clip'")
    viewer.page.evaluate("answer()")
    viewer.wait("window.late && late.getTracks().every((track) => track.readyState === 'ended')")
    assert (viewer.get("state.source"), viewer.get("state.sourceName"), chosen(viewer)) == ("sample", "sample clip", "Sample")


def test_while_a_prompt_hangs_and_after_it_is_given_up_the_present_source_goes_on(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?{QUICK}&source=sample&autostart=1")
    viewer.wait_shown(1)
    viewer.page.evaluate(HANGING_PROMPT)
    viewer.page.select_option("#source", "camera")
    viewer.wait("splatcast.state.starting")
    viewer.wait_shown(2)
    viewer.page.click("#start")
    viewer.wait_shown(2)
    assert (viewer.get("state.source"), chosen(viewer)) == ("sample", "Sample")


def test_a_screen_on_which_nothing_moves_is_shown_and_shown_anew(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?{QUICK}")
    viewer.page.evaluate("""() => {
        const canvas = Object.assign(document.createElement('canvas'), { width: 320, height: 200 });
        const context = canvas.getContext('2d');
        const timer = setInterval(() => context.fillRect(0, 0, 320, 200), 100);
        window.freeze = () => clearInterval(timer);
        navigator.mediaDevices.getDisplayMedia = async () => canvas.captureStream();
    }""")
    viewer.page.select_option("#source", "screen")
    viewer.page.click("#start")
    viewer.wait_shown(1)
    assert last_sent(viewer).size == (160, 100)
    viewer.page.evaluate("freeze()")
    viewer.page.wait_for_timeout(1500)
    viewer.page.click("#representation >> text=Points")
    viewer.wait("splatcast.state.shown.kind === 'points'")


def test_a_screen_that_is_not_given_is_explained_and_the_present_source_goes_on(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?{QUICK}&source=sample&autostart=1")
    viewer.wait_shown(1)
    viewer.page.evaluate("""() => {
        navigator.mediaDevices.getDisplayMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'));
    }""")
    viewer.page.select_option("#source", "screen")
    assert "Choose one in the browser's dialog" in viewer.problem("screen_denied")
    viewer.wait_shown(2)
    assert viewer.get("state.source") == "sample"


@pytest.mark.parametrize(("size", "sent"), [((4032, 3024), (160, 120)), ((8064, 6048), (160, 120)), ((300, 4000), (144, 1920))])
def test_photos_of_any_size_go_in_and_the_longest_side_rules(
    open_viewer: OpenViewer, synthetic: AppServer, size: tuple[int, int], sent: tuple[int, int]
):
    side = max(sent)
    viewer = open_viewer(f"{synthetic.url}/?max_splats=400&size={side}")
    open_still(viewer, "photo.jpg", "image/jpeg", jpeg(*size))
    assert last_sent(viewer).size == sent
    assert max(viewer.page.evaluate("[document.querySelector('#preview-canvas').width]")) <= 1920
    assert viewer.get("state.problems") == []


def test_a_photo_that_was_taken_sideways_comes_upright(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?max_splats=400&size=160")
    # Turned by 90° clockwise, what is stored on the left is above.
    open_still(viewer, "portrait.jpg", "image/jpeg", jpeg(4032, 3024, orientation=6))
    sent = last_sent(viewer)
    assert sent.size == (120, 160)
    assert pixel(sent, 0.5, 0.2)[0] > 200 and pixel(sent, 0.5, 0.8)[2] > 200


def test_a_still_is_sent_once_and_once_more_for_each_change(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?max_splats=2000&size=160&min_opacity=0&adapt=0")
    open_still(viewer, "still.jpg", "image/jpeg", jpeg(320, 240))
    viewer.page.wait_for_timeout(3000)
    once = viewer.get("stats.sent")
    assert once <= 2, "the answer to the options of the address may come after the first"
    viewer.page.click("#representation >> text=Points")
    viewer.wait("splatcast.state.shown.kind === 'points'")
    viewer.page.wait_for_timeout(2000)
    assert viewer.get("stats.sent") == once + 1
    viewer.page.click("#settings-toggle")
    viewer.page.click("#advanced > summary")
    viewer.page.select_option("#set-side", "320")
    viewer.page.wait_for_timeout(2000)
    assert last_sent(viewer).size == (320, 240)
    assert viewer.get("stats.sent") == once + 2


def record(viewer: Viewer, kind: str) -> bytes:
    """A second of video of 160 × 120, red on the left and blue on the right, as this browser records it."""
    text: str = viewer.page.evaluate(
        """async (mimeType) => {
            const canvas = Object.assign(document.createElement('canvas'), { width: 160, height: 120 });
            const context = canvas.getContext('2d');
            const parts = [];
            const recorder = new MediaRecorder(canvas.captureStream(10), { mimeType });
            recorder.ondataavailable = (event) => parts.push(event.data);
            recorder.start();
            for (let i = 0; i < 10; i++) {
                context.fillStyle = '#f00';
                context.fillRect(0, 0, 80, 120);
                context.fillStyle = '#00f';
                context.fillRect(80, 0, 80, 120);
                await new Promise((resolve) => setTimeout(resolve, 100));
            }
            await new Promise((resolve) => { recorder.onstop = resolve; recorder.stop(); });
            let text = '';
            for (const byte of new Uint8Array(await new Blob(parts).arrayBuffer())) text += String.fromCharCode(byte);
            return btoa(text);
        }""",
        kind,
    )
    return base64.b64decode(text)


def turned(mp4: bytes) -> bytes:
    """The same video with a matrix in its track header (ISO/IEC 14496-12, `tkhd`) that turns it by 90° clockwise."""
    at = mp4.index(b"tkhd") + 4
    # Version 0 has times of four bytes, version 1 of eight; the matrix follows layer, group, volume and two reserved words.
    at += 40 if mp4[at] == 0 else 52
    one = 1 << 16
    matrix = (0, one, 0, -one, 0, 0, 120 * one, 0, 1 << 30)
    return mp4[:at] + b"".join(value.to_bytes(4, "big", signed=True) for value in matrix) + mp4[at + 36 :]


def test_a_video_without_a_type_plays_and_one_that_was_filmed_sideways_comes_upright(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?max_splats=400&size=160&fps=5")
    drop(viewer, "clip", "", record(viewer, "video/webm"))
    viewer.wait("splatcast.state.sourceName === 'clip'")
    viewer.wait_shown(2)
    assert last_sent(viewer).size == (160, 120)

    drop(viewer, "sideways.mp4", "video/mp4", turned(record(viewer, "video/mp4;codecs=vp9")))
    viewer.wait("splatcast.state.sourceName === 'sideways.mp4'")
    viewer.wait_shown(3)
    sent = last_sent(viewer)
    assert sent.size == (120, 160)
    assert pixel(sent, 0.5, 0.2)[0] > 150 and pixel(sent, 0.5, 0.8)[2] > 150


def sound() -> bytes:
    """A second of silence as a WAV file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))
    return out.getvalue()


def gif(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height)).save(out, "GIF")
    return out.getvalue()


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)


@pytest.mark.parametrize(
    ("name", "kind", "data", "code", "words"),
    [
        ("IMG_1.HEIC", "", HEIC, "file_unreadable", "HEIC photo"),
        ("renamed.jpg", "image/jpeg", HEIC, "file_unreadable", "HEIC photo"),
        ("song.mp4", "video/mp4", sound(), "file_unreadable", "no picture that this browser can play"),
        ("song.wav", "audio/wav", sound(), "file_unreadable", "is a sound"),
        ("dot.gif", "image/gif", gif(10, 10), "file_too_small", "10 × 10"),
        ("empty.jpg", "image/jpeg", b"", "file_unreadable", "is empty"),
        ("notes.txt", "text/plain", b"not a picture", "file_unreadable", "not a picture or video"),
        ("cut.jpg", "image/jpeg", jpeg(640, 480)[:300], "file_unreadable", "not a picture or video"),
    ],
    ids=["HEIC", "HEIC by another name", "only sound", "a sound", "tiny", "empty", "text", "cut short"],
)
def test_a_file_that_can_not_be_shown_is_named_for_what_it_is_and_the_stream_goes_on(
    open_viewer: OpenViewer, synthetic: AppServer, name: str, kind: str, data: bytes, code: str, words: str
):
    # The server is asked about a HEIC, and can't read this one either.
    expected = "status of 422" if data == HEIC else "\0"
    viewer = open_viewer(f"{synthetic.url}/?{QUICK}&source=sample&autostart=1", expected=expected)
    viewer.wait_shown(1)
    drop(viewer, name, kind, data)
    assert words in viewer.problem(code)
    viewer.wait_shown(2)
    assert (viewer.get("state.sourceName"), chosen(viewer)) == ("sample clip", "Sample")


def test_a_dropped_link_is_explained(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/")
    viewer.page.evaluate("""() => {
        const data = new DataTransfer();
        data.setData('text/uri-list', 'https://example.org/cat.jpg');
        document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
    }""")
    assert "Save the picture first" in viewer.problem("not_a_file")


def test_a_file_can_be_chosen_again_and_again(open_viewer: OpenViewer, synthetic: AppServer, tmp_path: Path):
    viewer = open_viewer(f"{synthetic.url}/?{QUICK}")
    for name in ("first.jpg", "second.jpg", "second.jpg"):
        (tmp_path / name).write_bytes(encode_clip(seconds=0.2, fps=5, width=160, height=120)[0])
        before = viewer.get("stats.shown")
        with viewer.page.expect_file_chooser() as chooser:
            viewer.page.select_option("#source", "file")
        chooser.value.set_files(tmp_path / name)
        viewer.wait(f"splatcast.state.sourceName === '{name}' && splatcast.stats.shown > {before}")
        assert chosen(viewer) == name


@pytest.mark.parametrize("processor", [True, False], ids=["track processor", "through the preview"])
def test_a_camera_that_is_muted_or_frozen_is_said_until_it_is_back(open_viewer: OpenViewer, synthetic: AppServer, processor: bool):
    viewer = open_viewer(f"{synthetic.url}/?{QUICK}")
    if not processor:
        viewer.page.evaluate("delete window.MediaStreamTrackProcessor")
    viewer.page.evaluate(OWN_CAMERA)
    viewer.page.click("text=Use my camera")
    viewer.wait_shown(2)
    viewer.page.evaluate("camera.paused = true")
    assert "gives no pictures" in viewer.problem("camera_asleep")
    viewer.page.evaluate("camera.paused = false")
    viewer.wait("splatcast.state.problems.length === 0")
    viewer.wait_shown(1)
    viewer.page.evaluate("camera.mute(true)")
    viewer.problem("camera_asleep")
    viewer.page.evaluate("camera.mute(false)")
    viewer.wait("splatcast.state.problems.length === 0")


def test_a_misspelt_source_in_the_address_starts_nothing(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?source=nonsense&autostart=1")
    assert "source=nonsense" in viewer.problem("unknown_source")
    assert viewer.get("state.running") is False and viewer.get("state.starting") is False


def test_mirroring_mirrors_what_is_sent_and_its_preview(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?{QUICK}")
    viewer.page.evaluate("""() => {
        const canvas = Object.assign(document.createElement('canvas'), { width: 160, height: 120 });
        const context = canvas.getContext('2d');
        setInterval(() => {
            context.fillStyle = '#f00';
            context.fillRect(0, 0, 80, 120);
            context.fillStyle = '#00f';
            context.fillRect(80, 0, 80, 120);
        }, 100);
        navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(10);
    }""")
    viewer.page.click("text=Use my camera")
    viewer.wait_shown(1)
    assert pixel(last_sent(viewer), 0.2, 0.5)[0] > 150
    viewer.page.click("#settings-toggle")
    viewer.page.check("#set-mirror")
    viewer.wait_shown(3)
    assert pixel(last_sent(viewer), 0.2, 0.5)[2] > 150
    assert viewer.page.evaluate("document.querySelector('#preview').classList.contains('mirrored')")
    # Only what faces the person is mirrored.
    open_still(viewer, "still.jpg", "image/jpeg", jpeg(160, 120))
    until_sent(viewer, lambda sent: pixel(sent, 0.2, 0.5)[0] > 150)
    assert not viewer.page.evaluate("document.querySelector('#preview').classList.contains('mirrored')")


def test_detail_is_a_choice_of_three_and_choices_are_remembered(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/")
    viewer.wait("splatcast.state.connection === 'open'")
    usual = viewer.get("state.options.inference_px")
    viewer.page.click("#settings-toggle")
    viewer.page.click("#detail >> text=Fast")
    viewer.wait("splatcast.state.options.inference_px === 280 && splatcast.state.settings.captureSide === 480")
    viewer.page.click("#detail >> text=Sharp")
    viewer.wait("splatcast.state.options.inference_px === splatcast.state.limits.max_inference_px")
    viewer.page.click("#detail >> text=Balanced")
    viewer.wait(f"splatcast.state.options.inference_px === {usual}")
    viewer.page.click("#detail >> text=Fast")
    viewer.page.check("#set-mirror")
    viewer.page.reload()
    viewer.wait("splatcast.state.options.inference_px === 280 && splatcast.state.settings.mirror")
    viewer.page.click("#settings-toggle")
    assert viewer.page.is_checked("#detail input[value=fast]")


def test_the_source_is_remembered_but_not_started(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?{QUICK}")
    viewer.page.click("text=Play the sample")
    viewer.wait("splatcast.state.running")
    viewer.page.reload()
    viewer.wait("splatcast.state.connection === 'open'")
    assert (chosen(viewer), viewer.get("state.running")) == ("Sample", False)


def test_where_nothing_can_be_stored_the_viewer_works_all_the_same(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/")
    viewer.page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } });"
    )
    viewer.page.reload()
    viewer.page.click("#settings-toggle")
    viewer.page.check("#set-mirror")
    viewer.wait("splatcast.state.settings.mirror")


def test_a_page_that_draws_slowly_is_not_sent_more_than_it_shows(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?source=camera&autostart=1&max_splats=400&width=160&fps=60")
    # Every animation frame takes a fifth of a second.
    viewer.page.evaluate("""() => {
        const ask = window.requestAnimationFrame.bind(window);
        window.requestAnimationFrame = (act) => ask((time) => {
            const end = performance.now() + 200;
            while (performance.now() < end);
            act(time);
        });
    }""")
    viewer.wait_shown(3)
    before: Any = viewer.get("stats")
    viewer.wait_shown(12)
    after: Any = viewer.get("stats")
    shown, sent = after["shown"] - before["shown"], after["sent"] - before["sent"]
    print(f"{sent} sent, {shown} shown")
    assert sent <= 1.5 * shown + 3
