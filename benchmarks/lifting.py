"""What a ``depth`` frame costs the viewer: lifted in its worker, and on its GPU.

    python -m benchmarks.lifting [--subject scene] [--px 504] [--rounds 20] [--flag=--use-angle=swiftshader …] [--out lifting.json]

A headless Chromium (``SPLATCAST_CHROMIUM`` or the system's) decodes one frame again and again in a worker, hands it to the page,
and the page uploads, sorts and draws it, exactly as the viewer does; the two ways in turn, after a round to warm up. ``busy`` is
the time between the frame's arrival and the sort, and from there to the end of drawing, by the clock; ``longest task`` is that of
the page's thread until the GPU has drawn the frame, as CPU time, which other work on the machine does not lengthen. Which hardware
draws is up to the browser; the report names it.
"""

import statistics
import sys
from typing import Any

from benchmarks.browser import as_text, browser_parser, measure_in_page
from benchmarks.command import command, describe_machine, publish, start_report
from benchmarks.figures import table
from benchmarks.subjects import SUBJECTS
from deployments.splats.codecs import depth

TIMES = {"decodeMs": "decode ms", "busyMs": "busy ms", "taskMs": "longest task ms", "drawnMs": "drawn ms"}
STEP = 1 / 512
"""Of inverse depth: the stream's."""


def measure(data: bytes, jpeg: bytes, size: tuple[int, int], rounds: int, flags: list[str]) -> dict[str, dict[str, Any]]:
    """Way of lifting → what ``web/tests/lifting.page.ts`` measured."""
    arguments = [as_text(data), as_text(jpeg), rounds, *size]
    measured = measure_in_page("lifting.page.ts", arguments, size, flags)
    return {way: {**row, "taskMs": measured.longest_tasks_ms(way)} for way, row in measured.rows.items()}


def describe(measured: dict[str, dict[str, Any]]) -> str:
    """The table: medians, and the longest task of all rounds."""
    rows = [
        [way, *(f"{statistics.median(row[key]):.1f}" for key in TIMES), f"{max(row['taskMs']):.1f}"]
        for way, row in measured.items()
    ]
    return table(["lifted", *TIMES.values(), "of all rounds"], rows)


@command("lifting")
def main(argv: list[str]) -> int:
    """Entry point."""
    parser = browser_parser("lifting", __doc__, SUBJECTS)
    args = parser.parse_args(argv)
    report = start_report("lifting", 1, argv, args)
    subject = SUBJECTS[args.subject](args.px)
    data = depth.encode_depth(subject.layered, step=STEP, border=0.03).tobytes()
    camera = subject.layered.views[0].camera
    measured = measure(data, subject.jpeg.data, (camera.width, camera.height), args.rounds, args.flag)
    report |= {"size": [camera.width, camera.height], "bytes": len(data), "ways": measured}
    some = next(iter(measured.values()))
    head = f"{describe_machine(report)}\n{some['renderer']}\n{camera.width}×{camera.height}, {some['splats']:,} splats; medians of"
    publish(report, f"{head} {args.rounds} rounds\n\n{describe(measured)}", args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
