"""A page of the viewer's own modules in a headless Chromium, for benchmarks of what happens in a browser."""

import argparse
import base64
import json
import os
import shutil
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.command import BenchmarkError, between, new_parser
from hatch_build import node_and_npm, node_environment

ROOT = Path(__file__).parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ORIGIN = "http://benchmark.test"
"""Nothing listens there: the benchmark answers the browser's requests itself."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a page has measured.

    Attributes:
        rows: What its function returned.
        events: The browser's trace, in which the page has marked where what begins and ends.
    """

    rows: dict[str, dict[str, Any]]
    events: list[dict[str, Any]]

    def longest_tasks_ms(self, way: str) -> list[float]:
        """The longest task of the page's thread in each round, CPU milliseconds."""
        return [max(times) for times in self._tasks_ms(way)]

    def all_tasks_ms(self, way: str) -> list[float]:
        """All tasks of the page's thread in each round together, CPU milliseconds."""
        return [sum(times) for times in self._tasks_ms(way)]

    def _tasks_ms(self, way: str) -> list[list[float]]:
        begins = [event for event in self.events if event["name"] == f"{way} begins"]
        ends = sorted(event["ts"] for event in self.events if event["name"] == f"{way} ends")
        tasks = [event for event in self.events if event["name"] == "RunTask" and event.get("ph") == "X" and "tdur" in event]
        rounds = []
        for begin, end in zip(sorted(begins, key=lambda event: event["ts"]), ends, strict=True):
            rounds.append(
                [
                    task["tdur"] / 1000
                    for task in tasks
                    if task["tid"] == begin["tid"] and task["ts"] < end and task["ts"] + task["dur"] > begin["ts"]
                ]
            )
        return rounds


def browser_parser(name: str, doc: str | None, subjects: Collection[str]) -> argparse.ArgumentParser:
    """Options of a benchmark that shows a subject in a browser."""
    parser = new_parser(name, doc or "", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subject", choices=sorted(subjects), default="scene")
    parser.add_argument("--px", type=between(64, 1024, int), default=504, help="width of the frame")
    parser.add_argument("--rounds", type=between(1, 1000, int), default=20)
    parser.add_argument("--flag", action="append", default=[], help="a further flag for the browser; may be repeated")
    return parser


def as_text(data: bytes) -> str:
    """Bytes for a page: base64, as there is no other way for them."""
    return base64.b64encode(data).decode()


def find_browser() -> str:
    """The path of a Chromium.

    Raises:
        BenchmarkError: If there is none.
    """
    for name in (os.environ.get("SPLATCAST_CHROMIUM", ""), *BROWSERS):
        if path := shutil.which(name):
            return path
    raise BenchmarkError("expected a Chromium; name one in SPLATCAST_CHROMIUM or install it (apt-get install chromium)")


def measure_in_page(page_module: str, arguments: list[Any], viewport: tuple[int, int], flags: list[str]) -> Measured:
    """Call ``measure`` of one of the viewer's test modules, with ``depth.worker.ts`` beside it as ``/worker.js``.

    Args:
        page_module: A file of ``web/tests``.
        arguments: What ``measure`` takes.
        viewport: Size of the page, pixels.
        flags: Further ones for the browser.

    Raises:
        BenchmarkError: There is no browser, the viewer can't be bundled, or the page failed.
    """
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise BenchmarkError("the package playwright is not installed; run 'make bench' first") from error
    files = {"/": "<!doctype html><script type=module src=/page.js></script>"}
    files |= {"/page.js": _bundle(page_module), "/worker.js": _bundle("depth.worker.ts")}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--headless=new", "--no-sandbox", *flags])
        page = browser.new_page(viewport={"width": viewport[0], "height": viewport[1]})
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
            rows: dict[str, dict[str, Any]] = page.evaluate("values => measure(...values)", arguments)
        except Error as error:
            raise BenchmarkError(f"the browser failed: {error.message.splitlines()[0]}") from error
        events = json.loads(browser.stop_tracing())["traceEvents"]
        browser.close()
    return Measured(rows, events)


def _bundle(name: str) -> str:
    """One of the viewer's test modules with all it needs, as a script."""
    node, _ = node_and_npm()
    line = [str(node), "node_modules/esbuild/bin/esbuild", f"tests/{name}", "--bundle", "--format=esm"]
    done = subprocess.run(line, cwd=ROOT / "web", env=node_environment(node), capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise BenchmarkError(f"the viewer can't be bundled; run 'make web' first: {done.stderr.strip()}")
    return done.stdout
