"""What a long visit does over and over leaves memory and textures as they were."""

from collections.abc import Callable

import pytest

from tests.browser.conftest import AppServer, Viewer

pytestmark = pytest.mark.browser

OpenViewer = Callable[..., Viewer]
TIMEOUT_S = 300.0
# Between two sizes of Spark's textures, each change once a frame of the last one was shown.
CHANGE_BUDGET = """times => {
    window.changes = 0;
    (async () => {
        const input = document.getElementById('set-splats');
        for (let i = 0; i < times; i++) {
            input.value = i % 2 ? '3000' : '2000';
            input.dispatchEvent(new Event('input'));
            while (splatcast.state.options.max_splats !== Number(input.value)) await new Promise((go) => setTimeout(go, 5));
            const { shown } = splatcast.stats;
            while (splatcast.stats.shown < shown + 2) await new Promise((go) => setTimeout(go, 5));
            window.changes++;
        }
    })();
}"""
CHANGE_SOURCE = """times => {
    window.changes = 0;
    (async () => {
        const menu = document.getElementById('source');
        for (let i = 0; i < times; i++) {
            menu.value = i % 2 ? 'camera' : 'sample';
            menu.dispatchEvent(new Event('change'));
            while (splatcast.state.starting || splatcast.state.source !== menu.value) await new Promise((go) => setTimeout(go, 5));
            const { shown } = splatcast.stats;
            while (splatcast.stats.shown < shown + 2) await new Promise((go) => setTimeout(go, 5));
            window.changes++;
        }
    })();
}"""


def heap_bytes(viewer: Viewer) -> float:
    devtools = viewer.page.context.new_cdp_session(viewer.page)
    devtools.send("HeapProfiler.collectGarbage")
    used = float(devtools.send("Runtime.getHeapUsage")["usedSize"])
    devtools.detach()
    return used


@pytest.mark.parametrize(
    ("script", "times", "query"),
    [
        (CHANGE_BUDGET, 200, "source=camera&max_splats=3000&min_opacity=0"),
        (CHANGE_SOURCE, 50, "source=camera&max_splats=400"),
    ],
    ids=["200 changes of the budget", "50 changes of the source"],
)
def test_changes_leave_textures_and_heap_as_they_were(
    open_viewer: OpenViewer, synthetic: AppServer, script: str, times: int, query: str
):
    viewer = open_viewer(f"{synthetic.url}/?{query}&autostart=1&width=64&fps=60", size=(160, 120))
    viewer.wait_shown(5)

    def change(count: int) -> tuple[float, int]:
        viewer.page.evaluate(script, count)
        viewer.wait(f"window.changes === {count}", TIMEOUT_S)
        viewer.wait_shown(30)  # The size of textures settles.
        return heap_bytes(viewer), viewer.get("renderer.textures")

    # Both sizes and both sources have been there; windows of figures are full.
    before, textures = change(max(10, times // 10))
    after, left = change(times)
    print(f"heap {(after - before) / 1e3:+.0f} KB over {times} changes, {left} textures")
    assert left == textures
    assert after - before < 2e6
    assert viewer.get("state.problems") == []
