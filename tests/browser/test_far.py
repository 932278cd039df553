"""A scene that is far away looks as the same scene near by, sixteen times smaller: its words lie around its own depth."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from deployments.splats.codecs import CODECS
from deployments.splats.codecs.packed import far_offset
from deployments.splats.gaussians import Gaussians
from tests.browser.conftest import AppServer, Viewer
from tests.browser.splat_files import drop
from tests.browser.test_looking import picture
from tests.unit.test_files import corners

pytestmark = pytest.mark.browser

SIZE = np.float32(16)


def near() -> Gaussians:
    """Four large splats of different colours, none of them where another would be in a mirror."""
    g = corners()
    return replace(g, scales=np.full_like(g.scales, 0.3))


@pytest.mark.parametrize("codec", ["ply", "packed"])
def test_a_far_scene_is_drawn_where_it_is(open_viewer: Callable[..., Viewer], synthetic: AppServer, codec: str):
    g = near()
    far = replace(g, means=g.means * SIZE, scales=g.scales * SIZE).take(np.array([0, 1, 2, 3, 3]))
    far.opacities[4] = 0  # Nobody sees it; by their numbers the page's frames can be told apart.
    assert far_offset(g.means) == 0 and far_offset(far.means) > 8
    viewer, suffix = open_viewer(synthetic.url, size=(640, 480)), {"ply": "ply", "packed": "sppk"}[codec]
    pictures = []
    for name, scene in (("near", g), ("far", far), ("near", g)):
        drop(viewer.page, f"{name}.{suffix}", CODECS[codec].encode(scene).tobytes())
        viewer.wait(f"splatcast.state.shown?.codec === '{codec}' && splatcast.state.shown.count === {len(scene)}")
        pictures.append(picture(viewer))
    first, second, third = pictures
    assert np.abs(first - first.mean()).mean() > 5, "there is something to see"
    assert np.abs(second - first).mean() < 2.5  # A byte of scale is a step of 8.6 %, and the page names other bytes.
    assert np.abs(third - first).mean() < 1, "and the next one is near again"
