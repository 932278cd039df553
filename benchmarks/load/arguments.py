"""The command line of the load tool, checked."""

import argparse
import ipaddress
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.load.kinds import KINDS, parse_mix
from deployments.client import DEFAULT_CODECS
from deployments.models import ENGINES

EPILOG = "kinds of clients:\n" + "\n".join(f"  {name:<9} {kind.text}" for name, kind in KINDS.items())


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments.

    Args:
        argv: Without the program's name.

    Returns:
        All of them, and ``mix``: kind → how many; ``ramp``: sessions of each step, or None.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load",
        description="Load on a Splatcast server.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    number = between(0.1, 1000.0)
    where = parser.add_argument_group("the server")
    where.add_argument("--url", default="ws://127.0.0.1:8000/ws", help="its WebSocket (%(default)s)")
    where.add_argument("--allow-remote", action="store_true", help="it is not on this machine, and it is yours")
    where.add_argument("--server-pid", type=between(1, 2**31, int), help="one of its processes, where its port does not tell")
    where.add_argument("--local", metavar="ENGINE|FILE", help="start one, with one replica of this engine, or of a serve config")
    where.add_argument("--latency-ms", type=between(0.0, 10_000.0), help="with --local synthetic: what a frame takes (0)")
    where.add_argument("--splats", type=between(1, 200_000, int), help="with --local synthetic: Gaussians of a frame (100000)")
    who = parser.add_argument_group("who comes, and when")
    crowd = who.add_mutually_exclusive_group()
    crowd.add_argument("--sessions", type=between(1, 1000, int), default=8, help="viewers at a time (%(default)s)")
    crowd.add_argument("--mix", type=_mix, metavar="KIND:COUNT,…", help="kinds of clients, such as viewer:4,slow:1,idle:8")
    crowd.add_argument("--ramp", type=_ramp, metavar="COUNT,…", help="viewers that join in steps, such as 1,2,4,8")
    who.add_argument("--step-s", type=between(1.0, 600.0), default=15.0, help="of a ramp's step (%(default)s)")
    who.add_argument("--fps", type=number, default=10.0, help="frames per second of each, open loop (%(default)s)")
    who.add_argument("--closed-loop", action="store_true", help="send a frame when the last one is answered; ignores --fps")
    who.add_argument("--duration-s", type=between(0.1, 3600.0), default=60.0, help="measured seconds; a ramp has its steps")
    who.add_argument("--warmup-s", type=between(0.0, 600.0), default=3.0, help="seconds before that (%(default)s)")
    who.add_argument("--drain-s", type=between(0.0, 60.0), default=5.0, help="wait for the last answers (%(default)s)")
    what = parser.add_argument_group("what they send and ask for")
    what.add_argument("--frame", type=_size, default=(640, 480), metavar="WxH", help="size of the pictures (640x480)")
    what.add_argument("--quality", type=between(1, 100, int), default=80, help="JPEG quality (%(default)s)")
    what.add_argument("--codecs", type=_names, default=list(DEFAULT_CODECS), help="codecs offered, best first, commas between")
    what.add_argument("--option", action="append", type=_option, default=[], metavar="NAME=VALUE", help="a stream option; repeat")
    what.add_argument("--adapt", choices=("on", "off"), help="whether the server may lower the quality (the server's choice)")
    what.add_argument("--slow-mbit", type=number, default=8.0, help="Mbit/s toward a slow client (%(default)s)")
    what.add_argument("--no-offer-deflate", dest="offer_deflate", action="store_false", help="do not offer what browsers offer")
    parser.add_argument("--max-lag-ms", type=between(1.0, 1000.0), default=20.0, help="bound on this process (%(default)s)")
    parser.add_argument("--out", type=Path, help="write the report as JSON")
    parser.add_argument("--rerun", type=Path, metavar="REPORT", help="with that report's arguments; what follows changes them")
    args = parser.parse_args(argv)
    if args.rerun:
        return parse([*_argv_of(parser, args.rerun), *_without_rerun(argv)])
    address = urlsplit(args.url)
    if address.scheme not in ("ws", "wss") or not address.hostname:
        parser.error(f"--url: expected ws://HOST:PORT/ws, got {args.url!r}")
    if not args.allow_remote and not is_loopback(address.hostname):
        parser.error(f"--url: {address.hostname} is not this machine; load on a server of your own elsewhere needs --allow-remote")
    if args.local and args.local not in ENGINES and not Path(args.local).is_file():
        parser.error(f"--local: expected {', '.join(ENGINES)} or a serve config's file, got {args.local!r}")
    if args.local != "synthetic" and (args.latency_ms, args.splats) != (None, None):
        parser.error("--latency-ms and --splats are of the synthetic engine: they need --local synthetic")
    args.mix = args.mix or {"viewer": args.ramp[-1] if args.ramp else args.sessions}
    if address.scheme == "wss" and any(KINDS[kind].link != "direct" for kind in args.mix):
        parser.error("--mix: slow and deaf clients come through a relay, which needs a ws:// address")
    args.options = dict(args.option)
    if args.adapt:
        args.options["adapt"] = args.adapt == "on"
    del args.option
    args.argv = list(argv)
    return args


def _argv_of(parser: argparse.ArgumentParser, path: Path) -> list[str]:
    try:
        report = json.loads(path.read_text())
        argv = report["argv"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(f"--rerun: expected a report of this tool that has its arguments, {path} is none: {error!r:.120}")
    if not (isinstance(argv, list) and all(isinstance(part, str) for part in argv)):
        parser.error(f"--rerun: {path}: argv: expected a list of strings, got {argv!r:.80}")
    return argv


def _without_rerun(argv: Sequence[str]) -> list[str]:
    at = next(index for index, part in enumerate(argv) if part.partition("=")[0] == "--rerun")
    return [*argv[:at], *argv[at + (1 if "=" in argv[at] else 2) :]]


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's loopback, without asking a name server."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def between(low: float, high: float, kind: type = float) -> Any:
    """A parser of numbers within bounds, for ``add_argument(type=…)``."""

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


def _mix(text: str) -> dict[str, int]:
    try:
        return parse_mix(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _ramp(text: str) -> list[int]:
    parts = text.split(",")
    counts = [int(part) for part in parts if part.strip().isdecimal()]
    if len(counts) != len(parts) or not all(a < b for a, b in zip([0, *counts], counts, strict=False)) or counts[-1] > 1000:
        raise argparse.ArgumentTypeError(f"expected rising whole numbers up to 1000 with commas between, got {text!r}")
    return counts
