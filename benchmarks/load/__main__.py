"""``python -m benchmarks.load --url ws://127.0.0.1:8000/ws --sessions 8 --fps 10 --duration-s 60 --out run.json``.

``make load`` is this on the server of ``make run``; ``--local synthetic --latency-ms 100`` starts a server of its own. Exit
status: 0 measured, 1 sessions failed, 2 could not start, 3 the client was the bottleneck.
"""

import argparse
import asyncio
import json
import os
import sys
import urllib.request
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from benchmarks.command import BenchmarkError, command, publish, start_report
from benchmarks.load.arguments import is_loopback, parse
from benchmarks.load.report import VERSION, build_report
from benchmarks.load.run import run
from benchmarks.load.schedule import CLOSED_LOOP, ramp, steps
from benchmarks.load.session import Client
from benchmarks.load.table import describe
from benchmarks.processes import NotMeasured, ServerProcesses, find_server
from benchmarks.server import ONE_REPLICA, LocalServer, shipped_config
from deployments.http.access import TOKEN_VARIABLE, token_from
from deployments.scene.clip import encode_clip

CLIP_S, CLIP_FPS = 1.2, 10.0
"""The clip is of the procedural scene, played back and forth so that it loops without a jump; a picture takes 0.3 s to make."""
DRAIN_S = 5.0
"""How long to wait for the last answers."""


@command("load")
def main(argv: list[str]) -> int:
    """Run, print the table, write the report. Returns the exit status."""
    args = parse(argv)
    report = start_report("load", VERSION, argv, args)
    with LocalServer(local_config(args)) if args.local else nullcontext() as server:
        if server:
            args.url = server.ws_url
        report |= measure(args)
    report["args"]["url"] = args.url
    publish(report, describe(report), args.out)
    if not report["is_measurement"]:
        return 3
    return 1 if any(entry["failure"] and not entry["failure_is_expected"] for entry in report["sessions"]) else 0


def local_config(args: argparse.Namespace) -> Path | dict[str, Any]:
    """The serve config of the server to start: a file, or the shipped one with one replica of an engine."""
    path = Path(args.local)
    if path.is_file():
        return path
    params = {name: value for name in ("latency_ms", "splats") if (value := getattr(args, name)) is not None}
    return shipped_config({"engine": {"name": args.local, "params": params}}, {"GaussianInference": ONE_REPLICA})


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Load on the server at ``args.url``; its description and the figures.

    Raises:
        ClientError: Not one session could be opened.
        BenchmarkError: Nobody answers there, or the access token is wrong.
    """
    try:
        token = token_from(os.environ)  # Not an argument: those end up in the report.
    except ValueError as error:
        raise BenchmarkError(str(error)) from None
    info = fetch_info(args.url, token)
    forth = encode_clip(CLIP_S, CLIP_FPS, *args.frame, 80)
    kinds = [kind for kind, count in args.mix.items() for _ in range(count)]
    spans = max(1, len(args.link))
    each_s = args.step_s if args.ramp else args.duration_s / spans
    parts = steps(args.ramp or [len(kinds)] * spans, args.warmup_s, each_s)
    schedules = ramp(parts, CLOSED_LOOP if args.closed_loop else args.fps)
    profiles = [(part.from_s, profile) for part, profile in zip(parts, args.link, strict=False)]
    client = Client(args.url, [*forth, *forth[-2:0:-1]], args.codecs, args.options, token=token, profiles=profiles)
    processes, not_measured = server_processes(args.url)
    outcome = asyncio.run(run(client, schedules, DRAIN_S, kinds, processes))
    return {"server": info, **build_report(outcome, args.max_lag_ms, parts if len(parts) > 1 else (), not_measured)}


def server_processes(url: str) -> tuple[ServerProcesses | None, str]:
    """The server's processes, or why they can't be seen."""
    address = urlsplit(url)
    if not is_loopback(address.hostname or ""):
        return None, "not on this machine"
    try:
        return find_server(address.port or 80), ""
    except NotMeasured as reason:
        return None, str(reason)


def fetch_info(ws_url: str, token: str | None = None) -> dict[str, Any]:
    """``/api/info`` of the server behind a WebSocket address.

    Args:
        ws_url: That address.
        token: The server's access token, if it has one.

    Raises:
        BenchmarkError: Nobody answers there, or not with a description of a server.
    """
    address = urlsplit(ws_url)
    prefix = address.path.removesuffix("/ws")
    url = f"{address.scheme.replace('ws', 'http', 1)}://{address.netloc}{prefix}/api/info"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=15) as response:
            found = json.load(response)
    except HTTPError as error:
        hint = f"; its access token goes into {TOKEN_VARIABLE}" if error.code == 401 else ""
        raise BenchmarkError(f"{url} answers {error.code} {error.reason}{hint}") from None
    except OSError as error:
        raise BenchmarkError(
            f"no server answers at {address.netloc} ({getattr(error, 'reason', error)}): start one with `make run`, "
            "or name another one with --url (`make load URL=…`)"
        ) from None
    except ValueError:
        raise BenchmarkError(f"{url} is no Splatcast: it does not answer with JSON") from None
    return found if isinstance(found, dict) else {}


if __name__ == "__main__":
    sys.exit(main())
