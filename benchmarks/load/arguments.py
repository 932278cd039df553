"""The command line of the load tool, checked."""

import argparse
import ipaddress
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from benchmarks.command import between, names, new_parser, rising_counts
from benchmarks.load.kinds import KINDS, parse_mix
from benchmarks.load.link import Profile
from deployments.client import DEFAULT_CODECS
from deployments.models import ENGINES

EPILOG = "kinds of clients:\n" + "\n".join(f"  {name:<9} {kind.text}" for name, kind in KINDS.items())


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments.

    Args:
        argv: Without the program's name.

    Returns:
        All of them, with ``mix``: kind → how many; ``ramp``: sessions of each step, or None; ``options``: name → value.
    """
    parser = new_parser("load", "Load on a Splatcast server.", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_argument_group("the server")
    where.add_argument("--url", type=_websocket, default="ws://127.0.0.1:8000/ws", help="its WebSocket or its page (%(default)s)")
    where.add_argument("--allow-remote", action="store_true", help="the server is on another machine, and it is yours")
    where.add_argument("--local", metavar="ENGINE|FILE", help="start one, with one replica of an engine or from a serve config")
    where.add_argument("--latency-ms", type=between(0.0, 10_000.0), help="with --local synthetic: how long a frame takes (0)")
    where.add_argument("--splats", type=between(1, 200_000, int), help="with --local synthetic: Gaussians in a frame (100000)")
    who = parser.add_argument_group("who comes, and when")
    crowd = who.add_mutually_exclusive_group()
    crowd.add_argument("--sessions", type=between(1, 1000, int), default=8, help="viewers at a time (%(default)s)")
    crowd.add_argument("--mix", type=parse_mix, metavar="KIND:COUNT,…", help="kinds of clients, such as viewer:4,slow:1,idle:8")
    crowd.add_argument("--ramp", type=rising_counts(1000), metavar="COUNT,…", help="viewers that join in steps, such as 1,2,4,8")
    who.add_argument("--step-s", type=between(1.0, 600.0), default=15.0, help="length of a ramp's steps (%(default)s)")
    who.add_argument("--fps", type=between(0.1, 1000.0), default=10.0, help="frames a second from each, open loop (%(default)s)")
    who.add_argument("--closed-loop", action="store_true", help="send a frame when the last one is answered; ignores --fps")
    who.add_argument("--duration-s", type=between(0.1, 3600.0), default=60.0, help="how long, unless it is a ramp (%(default)s)")
    who.add_argument("--warmup-s", type=between(0.0, 600.0), default=3.0, help="seconds before that (%(default)s)")
    link = "what everyone's link carries toward them, and its round trip; several: one after the other, such as 50:60,2:60,50:60"
    who.add_argument(
        "--link", type=_profiles, default=[], metavar="MBIT[:MS],…", help=link + ", such as 50:60,2:60,50:60 (no limit)"
    )
    what = parser.add_argument_group("what they send and ask for")
    what.add_argument("--frame", type=_size, default=(640, 480), metavar="WxH", help="size of the pictures (640x480)")
    what.add_argument("--codecs", type=names, default=list(DEFAULT_CODECS), help="codecs offered, best first, separated by commas")
    what.add_argument("--option", action="append", type=_option, default=[], metavar="NAME=VALUE", help="stream option; repeatable")
    lag = "how late this process may be before its figures do not count (%(default)s)"
    parser.add_argument("--max-lag-ms", type=between(1.0, 1000.0), default=20.0, help=lag)
    args = parser.parse_args(argv)
    address = urlsplit(args.url)
    if not args.allow_remote and not is_loopback(address.hostname or ""):
        parser.error(f"--url: {address.hostname} is not this machine; load on a server of your own elsewhere needs --allow-remote")
    if args.local and args.local not in ENGINES and not Path(args.local).is_file():
        parser.error(f"--local: expected {', '.join(ENGINES)} or the path of a serve config, got {args.local!r}")
    if args.local != "synthetic" and (args.latency_ms, args.splats) != (None, None):
        parser.error("--latency-ms and --splats belong to the synthetic engine: they need --local synthetic")
    args.mix = args.mix or {"viewer": args.ramp[-1] if args.ramp else args.sessions}
    relayed = any(KINDS[kind].link != "direct" for kind in args.mix)
    if address.scheme == "wss" and (args.link or relayed):
        parser.error("--link, and slow, deaf and vanishing clients, come through a relay, which needs a ws:// address")
    if args.link and (relayed or args.ramp):
        parser.error(
            "--link is for viewers who are all there from the start: not with --ramp, nor with slow, deaf or vanishing clients"
        )
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


def _websocket(text: str) -> str:
    address = urlsplit(text)
    if address.scheme not in ("ws", "wss", "http", "https") or not address.hostname:
        raise argparse.ArgumentTypeError(f"expected ws://HOST:PORT/ws or http://HOST:PORT/, got {text!r}")
    if address.scheme.startswith("http"):
        address = address._replace(scheme=address.scheme.replace("http", "ws"), path=f"{address.path.rstrip('/')}/ws")
    return urlunsplit(address._replace(query="", fragment=""))


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().replace("×", "x").partition("x")
    if not (width.isdecimal() and height.isdecimal() and 16 <= int(width) <= 4096 and 16 <= int(height) <= 4096):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT from 16x16 to 4096x4096, got {text!r}")
    return int(width), int(height)


def _profiles(text: str) -> list[Profile]:
    number, found = between(0.01, 10_000.0), []
    for part in text.split(","):
        mbit_s, colon, round_trip_ms = part.partition(":")
        found.append(Profile(number(mbit_s), between(0.0, 10_000.0)(round_trip_ms) if colon else 0.0))
    return found


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
