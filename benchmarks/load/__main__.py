"""``python -m benchmarks.load --url ws://127.0.0.1:8000/ws --sessions 8 --fps 10 --duration-s 60 --out run.json``.

``--local synthetic --latency-ms 100`` starts a server of its own. Exit status: 0 measured, 1 sessions failed, 2 could not start,
3 the client was the bottleneck.
"""

import argparse
import asyncio
import json
import os
import shlex
import sys
import urllib.request
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.load.arguments import is_loopback, parse
from benchmarks.load.kinds import KINDS
from benchmarks.load.report import build_report
from benchmarks.load.run import run
from benchmarks.load.schedule import Step, paced, ramp, steps
from benchmarks.load.session import Client
from benchmarks.load.table import table
from benchmarks.machine import provenance
from benchmarks.processes import NotMeasured, ServerProcesses, find_server
from benchmarks.server import ONE_REPLICA, LocalServer, ServerError, shipped_config
from deployments.client import ClientError
from deployments.http.access import token_from
from deployments.scene.clip import encode_clip

CLIP_S, CLIP_FPS = 1.2, 10.0
"""Of the procedural scene, played forth and back so that it loops without a jump; a picture of it takes 0.3 s to make."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the table, write the report. Returns the exit status."""
    args = parse(sys.argv[1:] if argv is None else argv)
    origin = provenance()  # Before a server of ours is a load on the machine.
    try:
        with LocalServer(local_config(args)) if args.local else nullcontext() as server:
            if server:
                args.url = server.ws_url
            report = measure(args, origin)
    except (ClientError, ServerError, OSError, ValueError) as error:
        print(f"benchmarks.load: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("benchmarks.load: stopped; nothing was measured", file=sys.stderr)
        return 130
    print(table(report))
    if args.out:
        args.out.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
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


def measure(args: argparse.Namespace, origin: dict[str, Any]) -> dict[str, Any]:
    """Load on the server at ``args.url``; the report.

    Args:
        args: Of the command line.
        origin: Where it is measured.

    Raises:
        ClientError: Not one session could be opened.
        OSError: Nobody answers there.
        ValueError: The access token in the environment is none.
    """
    width, height = args.frame
    token = token_from(os.environ)  # Not an argument: those are in the report.
    info = fetch_info(args.url, token)
    forth = encode_clip(CLIP_S, CLIP_FPS, width, height, args.quality)
    client = Client(
        url=args.url,
        clip=[*forth, *forth[-2:0:-1]],
        codecs=args.codecs,
        options=args.options,
        offer_deflate=args.offer_deflate,
        slow_mbit=args.slow_mbit,
        token=token,
    )
    kinds = [kind for kind, count in args.mix.items() for _ in range(count)]
    measured = Step(len(kinds), args.warmup_s, args.warmup_s + args.duration_s)
    parts = steps(args.ramp, args.warmup_s, args.step_s) if args.ramp else [measured]
    schedules = [
        paced(schedule) if KINDS[kind].is_original else schedule
        for schedule, kind in zip(ramp(parts, args.fps, args.closed_loop), kinds, strict=True)
    ]
    processes, not_measured = server_processes(args)
    outcome = asyncio.run(run(client, schedules, args.drain_s, kinds, processes))
    about = {
        "command": shlex.join(["python", "-m", "benchmarks.load", *args.argv]),
        "argv": args.argv,
        "args": {**vars(args), "frame": f"{width}x{height}", "out": str(args.out or ""), "duration_s": outcome.duration_s},
        "server": info,
        **origin,
    }
    return build_report(outcome, args.max_lag_ms, about, parts if args.ramp else (), not_measured)


def server_processes(args: argparse.Namespace) -> tuple[ServerProcesses | None, str]:
    """The server's processes, or why they can't be seen."""
    address = urlsplit(args.url)
    if not args.server_pid and not is_loopback(address.hostname or ""):
        return None, "not on this machine"
    try:
        return find_server(address.port or 80, args.server_pid), ""
    except NotMeasured as reason:
        return None, str(reason)


def fetch_info(ws_url: str, token: str | None = None) -> dict[str, Any]:
    """``/api/info`` of the server behind a WebSocket address.

    Args:
        ws_url: That address.
        token: The server's access token, if it has one.

    Raises:
        OSError: Nobody answers there, or not with JSON.
    """
    address = urlsplit(ws_url)
    prefix = address.path.removesuffix("/ws")
    url = f"{address.scheme.replace('ws', 'http', 1)}://{address.netloc}{prefix}/api/info"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        with opener.open(urllib.request.Request(url, headers=headers), timeout=15) as response:
            found = json.load(response)
    except (OSError, ValueError) as error:
        raise OSError(f"can't read {url}: {error}") from None
    return found if isinstance(found, dict) else {}


if __name__ == "__main__":
    sys.exit(main())
