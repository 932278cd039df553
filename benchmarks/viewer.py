"""What a frame costs a browser by the way it comes: the original page's, ``packed`` and ``depth``.

    python -m benchmarks.viewer [--subject scene] [--px 504] [--rounds 20] [--flag=--use-angle=swiftshader …] [--out viewer.json]

A headless Chromium (``SPLATCAST_CHROMIUM`` or the system's) shows one picture and its negative in turn, the ways one after the
other in each round: ``ply`` is a 3DGS file through a Blob URL into a fresh SplatMesh, as the original page did it; ``packed`` and
``depth`` are decoded in a worker and replace the last frame in place, as the viewer does it. ``depth`` is what the viewer gets
whose picture it is: it painted that on the grid when it sent it, which is not counted; ``depth+jpeg`` is what every other one gets.
``ready`` is from the bytes to splats that Spark has; ``renders`` are the pictures drawn until the frame was in one, ``shown`` the
time until then. ``page`` is what the page's thread did until then, and ``longest`` its longest task, as CPU time, which other work
on the machine does not lengthen. Depth is lifted by the worker. Which hardware draws is up to the browser; the report names it.
"""

import base64
import statistics
import sys
from typing import Any

import numpy as np
import simplejpeg

from benchmarks.browser import as_text, browser_parser, measure_in_page
from benchmarks.command import command, describe_machine, publish, start_report
from benchmarks.figures import table
from benchmarks.subjects import SUBJECTS, Subject
from deployments.splats.codecs import CODECS, depth
from deployments.splats.layer_lifting import lift_layers
from deployments.splats.layers import DepthView, LayeredDepth

ORIGINAL = "ply"
WITH_JPEG = "depth+jpeg"
IN_PLACE = ("packed", "depth", WITH_JPEG)
TIMES = {
    "decodeMs": "decode ms",
    "uploadMs": "upload ms",
    "readyMs": "ready ms",
    "renders": "renders",
    "shownMs": "shown ms",
    "pageMs": "page ms",
    "longestMs": "longest ms",
}
STEP = 1 / 768
"""Of inverse depth: the stream's."""
DRAWN_SHARE = 4
"""The page draws the picture at a fraction of its size: where the processor draws, little else would be measured."""


def frames_of(subject: Subject) -> dict[str, dict[str, list[str]]]:
    """Way → ``data`` and ``own`` of the picture and of its negative, as base64."""
    ways: dict[str, dict[str, list[str]]] = {way: {"data": [], "own": []} for way in (ORIGINAL, *IN_PLACE)}
    picture = simplejpeg.decode_jpeg(subject.jpeg.data, "RGB")
    for pixels, jpeg in (
        (subject.layered.views[0].picture, subject.jpeg.data),
        (255 - subject.layered.views[0].picture, simplejpeg.encode_jpeg(255 - picture, 85, "RGB", "420")),
    ):
        (view,) = subject.layered.views
        layered = LayeredDepth((DepthView(view.camera, view.layers, np.ascontiguousarray(pixels)),))
        gaussians = lift_layers(layered)
        encoded = {name: CODECS[name].encode(gaussians).tobytes() for name in (ORIGINAL, "packed")}
        encoded["depth"] = depth.encode_depth(layered, step=STEP).tobytes()
        encoded[WITH_JPEG] = depth.encode_depth(layered, step=STEP, colour=[depth.Jpeg(jpeg)]).tobytes()
        for way, data in encoded.items():
            ways[way]["data"].append(as_text(data))
            ways[way]["own"].append(as_text(jpeg))
    return ways


def measure(subject: Subject, rounds: int, flags: list[str]) -> dict[str, dict[str, Any]]:
    """Way → what ``web/tests/viewer.page.ts`` measured, and the bytes of a frame."""
    ways = frames_of(subject)
    camera = subject.layered.views[0].camera
    size = camera.width // DRAWN_SHARE, camera.height // DRAWN_SHARE
    found = measure_in_page("viewer.page.ts", [ways, rounds, *size], size, flags)
    return {
        way: {
            **row,
            "bytes": len(base64.b64decode(ways[way]["data"][0])),
            "pageMs": found.all_tasks_ms(way),
            "longestMs": found.longest_tasks_ms(way),
        }
        for way, row in found.rows.items()
    }


def sooner(measured: dict[str, dict[str, Any]], way: str) -> float:
    """How many times sooner than the original way a frame is ready: the median of the rounds' ratios."""
    pairs = zip(measured[ORIGINAL]["readyMs"], measured[way]["readyMs"], strict=True)
    return statistics.median(original / ours for original, ours in pairs)


def describe(measured: dict[str, dict[str, Any]]) -> str:
    """The table: medians, and how many times sooner a frame is ready."""
    rows = [
        [
            way,
            f"{row['bytes'] / 1e3:.0f}",
            *(f"{statistics.median(row[key]):.1f}" for key in TIMES),
            f"{sooner(measured, way):.1f} ×",
        ]
        for way, row in measured.items()
    ]
    return table(["way", "kB", *TIMES.values(), "ready sooner"], rows)


@command("viewer")
def main(argv: list[str]) -> int:
    """Entry point."""
    parser = browser_parser("viewer", __doc__, ("scene", "motorcycle"))
    args = parser.parse_args(argv)
    report = start_report("viewer", 1, argv, args)
    measured = measure(SUBJECTS[args.subject](args.px), args.rounds, args.flag)
    report |= {"ways": measured, "sooner": {way: sooner(measured, way) for way in IN_PLACE}}
    some = next(iter(measured.values()))
    head = f"{describe_machine(report)}\n{some['renderer']}\n{some['splats']:,} splats; medians of {args.rounds} rounds"
    publish(report, f"{head}\n\n{describe(measured)}", args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
