"""What a ``depth`` frame costs the viewer: lifted in its worker, and on its GPU.

    python -m benchmarks.lifting [--subject scene] [--px 504] [--rounds 20] [--flag=--use-angle=swiftshader …] [--out lifting.json]

A headless Chromium (``SPLATCAST_CHROMIUM`` or the system's) decodes one frame again and again in a worker, hands it to the page,
and the page uploads, sorts and draws it, exactly as the viewer does; the two ways in turn, after a round to warm up. ``busy`` is
the time between the frame's arrival and the sort, and from there to the end of drawing, by the clock; ``longest task`` is that of
the page's thread until the GPU has drawn the frame, as CPU time, which other work on the machine does not lengthen. Which hardware
draws is up to the browser; the report names it.
"""

import argparse
import base64
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.command import BenchmarkError, between, command, describe_machine, new_parser, publish, start_report
from benchmarks.figures import table
from benchmarks.subjects import SUBJECTS
from deployments.splats.codecs import depth
from hatch_build import node_and_npm, node_environment

ROOT = Path(__file__).parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ORIGIN = "http://lifting.test"
"""Nothing listens there: the benchmark answers the browser's requests itself."""
TIMES = {"decodeMs": "decode ms", "busyMs": "busy ms", "taskMs": "longest task ms", "drawnMs": "drawn ms"}
STEP = 1 / 512
"""Of inverse depth: the stream's."""


def find_browser() -> str:
    """The path of a Chromium.

    Raises:
        BenchmarkError: If there is none.
    """
    for name in (os.environ.get("SPLATCAST_CHROMIUM", ""), *BROWSERS):
        if path := shutil.which(name):
            return path
    raise BenchmarkError("expected a Chromium; name one in SPLATCAST_CHROMIUM or install it (apt-get install chromium)")


def bundle(name: str) -> str:
    """One of the viewer's test modules with all it needs, as a script."""
    node, _ = node_and_npm()
    line = [str(node), "node_modules/esbuild/bin/esbuild", f"tests/{name}", "--bundle", "--format=esm"]
    done = subprocess.run(line, cwd=ROOT / "web", env=node_environment(node), capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise BenchmarkError(f"the viewer can't be bundled; run 'make web' first: {done.stderr.strip()}")
    return done.stdout


def measure(data: bytes, jpeg: bytes, size: tuple[int, int], rounds: int, flags: list[str]) -> dict[str, dict[str, Any]]:
    """Way of lifting → what ``web/tests/lifting.page.ts`` measured."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise BenchmarkError("the package playwright is not installed; run 'make bench' first") from error
    files = {"/": "<!doctype html><script type=module src=/page.js></script>"}
    files |= {"/page.js": bundle("lifting.page.ts"), "/worker.js": bundle("depth.worker.ts")}
    arguments = [base64.b64encode(data).decode(), base64.b64encode(jpeg).decode(), rounds, *size]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--headless=new", "--no-sandbox", *flags])
        page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        page.route(
            f"{ORIGIN}/**",
            lambda route: route.fulfill(
                body=files.get(route.request.url.removeprefix(ORIGIN), ""),
                content_type="text/javascript" if route.request.url.endswith(".js") else "text/html",
            ),
        )
        page.goto(f"{ORIGIN}/", wait_until="load")
        browser.start_tracing(page=page, categories=["blink.user_timing", "disabled-by-default-devtools.timeline"])
        try:
            measured: dict[str, dict[str, Any]] = page.evaluate("values => measure(...values)", arguments)
        except Error as error:
            raise BenchmarkError(f"the browser failed: {error.message.splitlines()[0]}") from error
        events = json.loads(browser.stop_tracing())["traceEvents"]
        browser.close()
    for way, row in measured.items():
        row["taskMs"] = longest_tasks_ms(events, way)
    return measured


def longest_tasks_ms(events: list[dict[str, Any]], way: str) -> list[float]:
    """The longest task of the page's thread in each round, CPU milliseconds, from the browser's trace."""
    begins = [event for event in events if event["name"] == f"{way} begins"]
    ends = sorted(event["ts"] for event in events if event["name"] == f"{way} ends")
    tasks = [event for event in events if event["name"] == "RunTask" and event.get("ph") == "X" and "tdur" in event]
    longest = []
    for begin, end in zip(sorted(begins, key=lambda event: event["ts"]), ends, strict=True):
        within = [
            task["tdur"] / 1000
            for task in tasks
            if task["tid"] == begin["tid"] and task["ts"] < end and task["ts"] + task["dur"] > begin["ts"]
        ]
        longest.append(max(within))
    return longest


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
    parser = new_parser("lifting", __doc__ or "", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subject", choices=sorted(SUBJECTS), default="scene")
    parser.add_argument("--px", type=between(64, 1024, int), default=504, help="width of the frame")
    parser.add_argument("--rounds", type=between(1, 1000, int), default=20)
    parser.add_argument("--flag", action="append", default=[], help="a further flag for the browser; may be repeated")
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
