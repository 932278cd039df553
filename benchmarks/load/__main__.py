"""``python -m benchmarks.load --url ws://127.0.0.1:8000/ws --sessions 8 --fps 10 --duration-s 60 --out run.json``.

Exit status: 0 measured, 1 sessions failed, 2 could not start, 3 the client was the bottleneck.
"""

import argparse
import asyncio
import ipaddress
import json
import shlex
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.load.report import build_report, table
from benchmarks.load.run import run
from benchmarks.load.schedule import plan
from benchmarks.load.session import Client
from benchmarks.machine import provenance
from deployments.client import DEFAULT_CODECS, ClientError
from deployments.models.scene import encode_clip

CLIP_S, CLIP_FPS = 1.2, 10.0
"""Of the procedural scene, played forth and back so that it loops without a jump; a picture of it takes 0.3 s to make."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the table, write the report. Returns the exit status."""
    args = parse(argv)
    width, height = args.frame
    try:
        server = fetch_info(args.url)
        forth = encode_clip(CLIP_S, CLIP_FPS, width, height, args.quality)
        client = Client(
            url=args.url,
            clip=[*forth, *forth[-2:0:-1]],
            codecs=args.codecs,
            options=args.options,
            offer_deflate=args.offer_deflate,
        )
        schedules = plan(args.sessions, args.fps, args.warmup_s, args.duration_s, args.closed_loop)
        command = shlex.join(["python", "-m", "benchmarks.load", *(sys.argv[1:] if argv is None else argv)])
        settings = {**vars(args), "frame": f"{width}x{height}", "out": str(args.out or "")}
        about = {"command": command, "args": settings, "server": server, **provenance()}
        outcome = asyncio.run(run(client, schedules, args.drain_s))
    except (ClientError, OSError) as error:
        print(f"benchmarks.load: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("benchmarks.load: stopped; nothing was measured", file=sys.stderr)
        return 130
    report = build_report(outcome, args.max_lag_ms, about)
    print(table(report))
    if args.out:
        args.out.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    if not report["is_measurement"]:
        return 3
    return 1 if any(entry["failure"] for entry in report["sessions"]) else 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments, checked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description="Load on a running Splatcast server.")
    number = _between(0.1, 1000.0)
    parser.add_argument("--url", default="ws://127.0.0.1:8000/ws", help="the server's WebSocket (%(default)s)")
    parser.add_argument("--sessions", type=_between(1, 1000, int), default=8, help="clients at a time (%(default)s)")
    parser.add_argument("--fps", type=number, default=10.0, help="frames per second of each, open loop (%(default)s)")
    parser.add_argument("--closed-loop", action="store_true", help="send a frame when the last one is answered; ignores --fps")
    parser.add_argument("--duration-s", type=_between(0.1, 3600.0), default=60.0, help="measured seconds (%(default)s)")
    parser.add_argument("--warmup-s", type=_between(0.0, 600.0), default=3.0, help="seconds before that (%(default)s)")
    parser.add_argument("--drain-s", type=_between(0.0, 60.0), default=5.0, help="wait for the last answers (%(default)s)")
    parser.add_argument("--frame", type=_size, default=(640, 480), metavar="WxH", help="size of the pictures (640x480)")
    parser.add_argument("--quality", type=_between(1, 100, int), default=80, help="JPEG quality (%(default)s)")
    parser.add_argument("--codecs", type=_names, default=list(DEFAULT_CODECS), help="codecs offered, best first, commas between")
    parser.add_argument("--option", action="append", type=_option, default=[], metavar="NAME=VALUE", help="a stream option; repeat")
    parser.add_argument("--no-offer-deflate", dest="offer_deflate", action="store_false", help="do not offer what browsers offer")
    parser.add_argument("--max-lag-ms", type=_between(1.0, 1000.0), default=20.0, help="bound on the client itself (%(default)s)")
    parser.add_argument("--allow-remote", action="store_true", help="the server is not on this machine, and it is yours")
    parser.add_argument("--out", type=Path, help="write the report as JSON")
    args = parser.parse_args(argv)
    address = urlsplit(args.url)
    if address.scheme not in ("ws", "wss") or not address.hostname:
        parser.error(f"--url: expected ws://HOST:PORT/ws, got {args.url!r}")
    if not args.allow_remote and not is_loopback(address.hostname):
        parser.error(f"--url: {address.hostname} is not this machine; load on a server of your own elsewhere needs --allow-remote")
    args.options = dict(args.option)
    del args.option
    return args


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's loopback, without asking a name server."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def fetch_info(ws_url: str) -> dict[str, Any]:
    """``/api/info`` of the server behind a WebSocket address.

    Raises:
        OSError: Nobody answers there, or not with JSON.
    """
    address = urlsplit(ws_url)
    prefix = address.path.removesuffix("/ws")
    url = f"{address.scheme.replace('ws', 'http', 1)}://{address.netloc}{prefix}/api/info"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=15) as response:
            found = json.load(response)
    except (OSError, ValueError) as error:
        raise OSError(f"can't read {url}: {error}") from None
    return found if isinstance(found, dict) else {}


def _between(low: float, high: float, kind: type = float) -> Any:
    def parse_number(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"expected {'a whole number' if kind is int else 'a number'} from {low} to {high}, got {text!r}"
            )
        return value  # type: ignore[no-any-return]

    return parse_number


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().replace("×", "x").partition("x")
    if not (width.isdecimal() and height.isdecimal() and 16 <= int(width) <= 4096 and 16 <= int(height) <= 4096):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT from 16x16 to 4096x4096, got {text!r}")
    return int(width), int(height)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


if __name__ == "__main__":
    sys.exit(main())
