"""``python -m benchmarks.proxy --json proxy.json``: both modes in turn, about five minutes. Linux, as HAProxy mode is."""

import argparse
import asyncio
import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.machine import provenance
from benchmarks.proxy.measure import rate, recovery, replies
from benchmarks.proxy.modes import MODES, start
from benchmarks.proxy.report import SCHEMA, summarise_rates, summarise_replies, tables
from benchmarks.server import LocalServer, ServerError
from deployments.client import ClientError
from deployments.scene.clip import encode_clip

SIZES_MB = (0.5, 2.0, 10.0)
SESSIONS = (4, 16)
RATE_MB = 2.0
"""About what a webcam frame of Depth Anything 3 is as ``packed``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the tables, write the report. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proxy", description="Ray's Python proxy and HAProxy mode.")
    parser.add_argument("--rounds", type=int, default=4, help="rounds of each mode, alternating (%(default)s)")
    parser.add_argument("--frames", type=int, default=15, help="replies of each size in a round (%(default)s)")
    parser.add_argument("--rate-s", type=float, default=4.0, help="seconds of each throughput round (%(default)s)")
    parser.add_argument("--no-recovery", dest="recovery", action="store_false", help="kill nothing")
    parser.add_argument("--json", type=Path, help="write the report")
    options = parser.parse_args(argv)
    if not (2 <= options.rounds <= 100 and 3 <= options.frames <= 1000 and 1.0 <= options.rate_s <= 600.0):
        parser.error("expected --rounds 2 to 100, --frames 3 to 1000, --rate-s 1 to 600")
    origin = provenance()
    try:
        with ExitStack() as stack:
            servers = {mode: stack.enter_context(start(mode)) for mode in MODES}
            measured = asyncio.run(_measure(servers, options))
    except (ServerError, ClientError) as error:
        print(f"benchmarks.proxy: {error}", file=sys.stderr)
        return 2
    report = {
        "schema": SCHEMA,
        "command": shlex.join(["python", "-m", "benchmarks.proxy", *(sys.argv[1:] if argv is None else argv)]),
        **origin,
        "args": {**vars(options), "json": str(options.json or "")},
        **measured,
    }
    print(tables(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


async def _measure(servers: dict[str, LocalServer], options: argparse.Namespace) -> dict[str, Any]:
    (jpeg,) = encode_clip(0.1, 10.0, 640, 480, 80)
    report: dict[str, Any] = {"replies": {}, "rates": {}, "recovery": {}}

    def order(index: int) -> tuple[str, ...]:
        # Each mode first in every other round: what disturbs the machine disturbs both alike.
        return MODES if index % 2 else MODES[::-1]

    for size in SIZES_MB:
        answers: dict[str, list[Any]] = {mode: [] for mode in MODES}
        for index in range(options.rounds):
            for mode in order(index):
                answers[mode].append(await replies(servers[mode], jpeg, size, options.frames))
        report["replies"][f"{size:g}"] = summarise_replies(answers)
    for sessions in SESSIONS:
        rates: dict[str, list[Any]] = {mode: [] for mode in MODES}
        for index in range(options.rounds):
            for mode in order(index):
                rates[mode].append(await rate(servers[mode], jpeg, RATE_MB, sessions, options.rate_s))
        report["rates"][f"{sessions} sessions, {RATE_MB:g} MB"] = summarise_rates(rates)
    if options.recovery:
        for victim in ("ingress", "proxy"):
            report["recovery"][victim] = {mode: await recovery(servers[mode], jpeg, victim) for mode in MODES}
    return report


if __name__ == "__main__":
    sys.exit(main())
