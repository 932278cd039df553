"""Photos dropped on the page: colours as the API reads them, types that the browser does not know, holes, lenses."""

import io
import math
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from deployments.stages import icc
from deployments.stages.decode import PhotoLimits, decode_view
from tests.browser.conftest import AppServer, Viewer
from tests.browser.test_sources import last_sent, open_still, pixel, until_sent
from tests.unit.test_photos import cut_out, exif_of, stored

pytestmark = pytest.mark.browser

OpenViewer = Callable[..., Viewer]
QUICK = "max_splats=3000&size=160&fps=5&quality=1"
P3 = icc.matrix_profile(icc.PRIMARIES[12])
COLORS = [(234, 51, 35), (60, 200, 90), (30, 60, 220), (128, 128, 128), (250, 240, 60), (20, 20, 20)]


def patches() -> Image.Image:
    """Six colours side by side."""
    image = Image.new("RGB", (480, 320))
    for i, color in enumerate(COLORS):
        image.paste(color, (80 * i, 0, 80 * (i + 1), 320))
    return image


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("profile", [P3, b""], ids=["Display P3", "no profile"])
def test_the_page_and_the_api_see_the_same_colours(open_viewer: OpenViewer, synthetic: AppServer, kind: str, profile: bytes):
    data = stored(patches(), kind, **({"icc_profile": profile} if profile else {}))
    ours = decode_view(data, PhotoLimits()).rgb
    viewer = open_viewer(f"{synthetic.url}/?{QUICK}")
    open_still(viewer, f"patches.{kind.lower()}", f"image/{kind.lower()}", data)
    sent = last_sent(viewer)
    for i in range(len(COLORS)):
        x = (i + 0.5) / len(COLORS)
        difference = np.subtract(pixel(sent, x, 0.5), ours[160, int(480 * x)].astype(int))
        assert np.abs(difference).max() <= 2, (i, difference)


def test_what_a_canvas_writes_has_no_profile_to_convert(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?{QUICK}")
    open_still(viewer, "patches.png", "image/png", stored(patches(), "PNG"))
    sent = last_sent(viewer)
    out = io.BytesIO()
    sent.save(out, "JPEG", icc_profile=sent.info.get("icc_profile", b""))
    assert decode_view(out.getvalue(), PhotoLimits()).is_as_stored


def test_a_heic_is_read_by_the_server(open_viewer: OpenViewer, synthetic: AppServer):
    data = stored(patches(), "HEIC", exif=exif_of(focal_35mm=26))
    viewer = open_viewer(f"{synthetic.url}/?{QUICK}")
    open_still(viewer, "IMG_1.HEIC", "", data)
    sent = last_sent(viewer)
    assert sent.size == (160, 107)
    for i, color in enumerate(COLORS):
        assert np.abs(np.subtract(pixel(sent, (i + 0.5) / len(COLORS), 0.5), color)).max() <= 4
    viewer.wait(f"Math.abs(splatcast.state.options.fov_deg - {2 * math.degrees(math.atan(18 / 26))}) < 0.01")


def test_a_photo_tells_its_lens_and_the_next_source_does_not_keep_it(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?{QUICK}")
    open_still(viewer, "wide.jpg", "image/jpeg", stored(patches(), "JPEG", exif=exif_of(focal_35mm=13)))
    viewer.wait(f"Math.abs(splatcast.state.options.fov_deg - {2 * math.degrees(math.atan(18 / 13))}) < 0.01")
    viewer.wait("splatcast.state.shown.intrinsics === 'given'")
    open_still(viewer, "any.jpg", "image/jpeg", stored(patches(), "JPEG"))
    viewer.wait("splatcast.state.options.fov_deg === 0")
    viewer.wait("splatcast.state.shown.intrinsics === 'guessed'")


def test_the_address_says_what_the_camera_sees(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?{QUICK}&fov_deg=90&source=sample&autostart=1")
    viewer.wait("splatcast.state.shown?.intrinsics === 'given' && splatcast.state.options.fov_deg === 90")


def test_holes_are_sent_as_holes_and_shown_as_none(open_viewer: OpenViewer, synthetic: AppServer):
    viewer = open_viewer(f"{synthetic.url}/?{QUICK}")
    open_still(viewer, "whole.png", "image/png", stored(cut_out((480, 320)).convert("RGB"), "PNG"))
    whole = viewer.get("state.shown.count")
    open_still(viewer, "holes.png", "image/png", stored(cut_out((480, 320)), "PNG"))
    viewer.wait("splatcast.state.options.colors === 'jpeg'")
    sent = until_sent(viewer, lambda sent: sent.mode == "RGBA")
    assert sent.getpixel((8, 50))[3] == 0 and sent.getpixel((80, 50))[3] == 255 and abs(sent.getpixel((120, 50))[3] - 128) <= 3
    viewer.wait(f"splatcast.state.shown.count < {0.6 * whole}")
    assert viewer.get("state.shown.count") > 0.4 * whole
    open_still(viewer, "whole.png", "image/png", stored(cut_out((480, 320)).convert("RGB"), "PNG"))
    viewer.wait("splatcast.state.options.colors === 'own'")
    until_sent(viewer, lambda sent: sent.mode == "RGB")
