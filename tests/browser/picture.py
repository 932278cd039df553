"""The README's picture: ``python -m tests.browser.picture docs/viewer.webp [--frames 40]``.

The sample goes through the stages and a session, and the viewer in a headless Chromium shows it frame by frame while the view turns
by 15° to either side; what is seen is what a visitor sees. One period of the scene is one turn there and back, so that it loops.
"""

import argparse
import io
import math
import os
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import Frame, Page, sync_playwright

from deployments.models import load_model
from deployments.ops.sample import Pictures, record_sample
from deployments.scene.clip import PERIOD_S
from deployments.stages.local import LocalPipeline
from tests.browser.conftest import FLAGS, STEP_TIMEOUT_S, AppServer, find_chromium

SIZE = 640, 480
YAW_DEG, PITCH_DEG = 15.0, 3.0
MOST_BYTES = 1_500_000
QUALITIES = (80, 70, 60, 50, 40)
"""Of the WebP: the first one that is small enough."""
# Mesa draws the splats several times as fast as what Chromium brings along (docs/benchmarks.md); without it that one draws.
MESA = ["--use-gl=angle", "--use-angle=gl-egl", "--ignore-gpu-blocklist"]
PARENT = (
    "<!doctype html><style>*{{margin:0;border:0;overflow:hidden}}</style>"
    "<iframe src='/?embed&theme=dark&lift=worker' width={} height={}></iframe>"
)


def _until(frame: Frame, page: Page, condition: str) -> None:
    # Playwright's own wait needs eval, which the page's policy forbids.
    for _ in range(int(STEP_TIMEOUT_S * 10)):
        if frame.evaluate(condition):
            return
        page.wait_for_timeout(100)
    raise TimeoutError(condition)


def film(page: Page, url: str, recording: Path, count: int) -> list[Image.Image]:
    """The frames of a recording, each seen from further round."""
    page.route(f"{url}/picture", lambda route: route.fulfill(body=PARENT.format(*SIZE), content_type="text/html"))
    page.goto(f"{url}/picture")
    frame = page.frames[1]
    _until(frame, page, "window.splatcast !== undefined")
    frame.set_input_files("#file", recording)
    _until(frame, page, f"splatcast.state.replay?.frames === {count}")
    frame.evaluate("document.getElementById('replay-play').click()")
    pictures = []
    for index in range(count):
        phase = 2 * math.pi * index / count
        view = {"splatcast": "view", "yaw": YAW_DEG * math.sin(phase), "pitch": PITCH_DEG * math.sin(2 * phase)}
        page.evaluate("view => frames[0].postMessage(view, '*')", view)
        seek = f"const at = document.getElementById('replay-seek'); at.value = at.max * {(index + 0.25) / count};"
        frame.evaluate(f"() => {{ {seek} at.dispatchEvent(new Event('input')); }}")
        _until(frame, page, f"splatcast.state.replay.frame === {index}")
        pictures.append(_settled(page, frame))
        print(f"{index + 1} of {count}", end="\r", file=sys.stderr, flush=True)
    return pictures


def _settled(page: Page, frame: Frame) -> Image.Image:
    """The page when nothing more is drawn."""
    drawn = -1
    while drawn != (now := frame.evaluate("splatcast.renderer.drawn")):
        drawn = now
        page.wait_for_timeout(700)
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def animated(pictures: list[Image.Image]) -> bytes:
    """A WebP that loops, as good as its size allows.

    Raises:
        ValueError: It would be too large at any quality.
    """
    for quality in QUALITIES:
        out = io.BytesIO()
        first, *rest = pictures
        frame_ms = round(1000 * PERIOD_S / len(pictures))
        first.save(out, "WEBP", save_all=True, append_images=rest, duration=frame_ms, loop=0, quality=quality, method=6)
        if len(out.getvalue()) <= MOST_BYTES:
            return out.getvalue()
    raise ValueError(
        f"expected at most {MOST_BYTES} bytes, got {len(out.getvalue())} at quality {quality}: fewer frames are smaller"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--engine", default="relief")
    parser.add_argument("--mesa", action="store_true", help="draw with Mesa's llvmpipe, where it is installed")
    options = parser.parse_args()
    pictures = Pictures(fps=options.frames / PERIOD_S, width=640, height=480, quality=90, step=1 / 768)
    data = record_sample(LocalPipeline(load_model(options.engine)), version("splatcast"), pictures)
    if options.mesa:
        os.environ["LIBGL_ALWAYS_SOFTWARE"] = "1"
    flags = [flag for flag in FLAGS if not (options.mesa and "swiftshader" in flag)] + (MESA if options.mesa else [])
    server = AppServer()
    try:
        with TemporaryDirectory() as scratch, sync_playwright() as playwright:
            recording = Path(scratch) / "sample.splatcast"
            recording.write_bytes(data)
            browser = playwright.chromium.launch(executable_path=find_chromium(playwright), args=flags)
            page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, reduced_motion="reduce")
            taken = film(page, server.url, recording, options.frames)
            browser.close()
    finally:
        server.kill()
    options.out.write_bytes(animated(taken))
    print(f"{options.out}: {len(taken)} frames, {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
