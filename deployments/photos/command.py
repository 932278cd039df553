"""The command line: ``splatcast photo.jpg … -o DIR``."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from deployments.http.access import TOKEN_VARIABLE, token_from
from deployments.models import ENGINES
from deployments.photos.errors import CommandError, Stopped
from deployments.photos.ledger import Ledger
from deployments.photos.local import LocalMaker
from deployments.photos.progress import Progress
from deployments.photos.remote import RemoteMaker
from deployments.photos.sources import Source, find_sources
from deployments.photos.video import Pace, expected_frames
from deployments.photos.work import Maker, Plan, Tally, run
from deployments.splats.coordinates import FRAMES
from deployments.splats.files import FORMATS, LAYOUTS
from deployments.stream.options import FrameOptions

OF_STREAMS = ("codec", "colors", "representation", "depth_step", "adapt", "min_splats", "min_inference_px")
"""Options that make no difference to a file."""
_HELP = {
    "max_splats": "splat budget",
    "min_opacity": "Gaussians fainter than this are left out, 0 to 1",
    "border": "share of the picture that is cut on each side, 0 to 0.45",
    "depth_percentile": "Gaussians farther than this percentile of the depths are left out, 1 to 100",
    "inference_px": "longest side of the picture that the model works on; 0: its own choice",
    "fov_deg": "field of view of the lens across the picture's longer side, degrees; 0: as its EXIF says",
    "sh_degree": "degree of the spherical harmonics, 0 to 2, of models that have them",
}
_EXAMPLES = """examples:
  splatcast photo.jpg -o splats
  splatcast holiday/ clip.mp4 -o splats --format spz --fps 5
  splatcast archive/ -o splats --format spz --url https://gpu.example/ --concurrency 8
"""
_SERVER_PLACES = 8
"""What a server serves one address at a time; more would wait for their turn there."""


def main(argv: Sequence[str] | None = None) -> int:
    """Make the files. Returns the exit status: 0, 1 if a photo has none, 2 if nothing could be done, 130 if interrupted."""
    args = _parser().parse_args(argv)
    try:
        return _make(args)
    except CommandError as error:
        print(f"splatcast: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # Before the work has begun.
        return 130


def _make(args: argparse.Namespace) -> int:
    wishes = {name: value for name in ("format", "layout", "frame", *_options()) if (value := getattr(args, name)) is not None}
    found = find_sources(args.photos, FORMATS[args.format].suffix)
    if not found.sources and not found.problems:
        raise CommandError("there are no photos and no videos in what was named")
    pace, stop = Pace(args.fps, args.every), threading.Event()
    tally = Tally(failures=found.problems)
    ledger = Ledger(args.out, args.overwrite)
    with ledger.open(), closing(_maker(args, wishes, stop)) as maker:
        engine = f"{maker.engine.label} ({maker.engine.licence})"
        print("; ".join(filter(None, (engine, _found(found.sources, found.passed_over)))), file=sys.stderr)
        progress = Progress(tally, _expected(found.sources, pace), sys.stderr)
        with _interruptible(stop, ledger, progress):
            jobs = Plan(ledger, maker, wishes, pace, tally, stop).jobs(found.sources)
            workers = args.concurrency or (_SERVER_PLACES if args.url else max(1, min(4, os.cpu_count() or 1)))
            run(jobs, maker, ledger, tally, workers, stop, progress)
        progress.close()
    return _report(args, tally, stop, progress)


def _maker(args: argparse.Namespace, wishes: dict[str, str], stop: threading.Event) -> Maker:
    if not args.url:
        return LocalMaker(args.engine or "relief", dict(args.param), wishes)
    if args.engine or args.param:
        raise CommandError("--engine, --param: a server has its own engine; leave them out, or leave out --url")
    try:
        token = token_from(os.environ)
        return RemoteMaker(args.url, wishes, token, args.patience_s, stop, tell=partial(print, "splatcast:", file=sys.stderr))
    except ValueError as error:
        raise CommandError(str(error)) from None
    except Stopped:
        raise KeyboardInterrupt from None


@contextmanager
def _interruptible(stop: threading.Event, ledger: Ledger, progress: Progress) -> Iterator[None]:
    """Until the end of the block, Ctrl-C and kill end the work: gently, and a second one at once."""

    def end(*_: object) -> None:
        if stop.is_set():
            ledger.discard_parts()
            os._exit(130)
        stop.set()
        progress.close()
        print("splatcast: finishing what has begun; once more to leave at once", file=sys.stderr)

    endings = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(ending, end) for ending in endings]
    try:
        yield
    finally:
        for ending, handler in zip(endings, before, strict=True):
            signal.signal(ending, handler)


def _found(sources: Sequence[Source], passed_over: int) -> str:
    videos = sum(source.is_video for source in sources)
    parts = [_counted(len(sources) - videos, "photo"), _counted(videos, "video"), _counted(passed_over, "other file")]
    return ", ".join(filter(None, parts)) + (" passed over" if passed_over else "")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}" if count else ""


def _expected(sources: Sequence[Source], pace: Pace) -> int:
    return sum(expected_frames(source.path, pace) if source.is_video else 1 for source in sources)


def _report(args: argparse.Namespace, tally: Tally, stop: threading.Event, progress: Progress) -> int:
    for path, sentence in tally.failures:
        print(f"{path}: {sentence}", file=sys.stderr)
    kept = f", {tally.kept} were there (--overwrite makes them anew)" if tally.kept else ""
    failed = f", {len(tally.failures)} failed" if tally.failures else ""
    print(f"{tally.made} files made in {args.out}, {progress.rate:.1f} a second{kept}{failed}", file=sys.stderr)
    if tally.fatal:
        print(f"splatcast: {tally.fatal}", file=sys.stderr)
        return 2
    if stop.is_set():
        print("splatcast: interrupted; the same command goes on where it ended", file=sys.stderr)
        return 130
    return 1 if tally.failures else 0


def _options() -> list[str]:
    return [f.name for f in fields(FrameOptions) if f.name not in OF_STREAMS]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="splatcast PHOTO …",
        usage="splatcast PHOTO [PHOTO …] -o DIR [options]",
        description="Make splat files of photos, of all photos in folders, and of the frames of videos.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photos", type=Path, nargs="+", metavar="PHOTO", help="a photo, a video, or a folder with all below it")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="where the files go")
    parser.add_argument("--overwrite", action="store_true", help="make files anew that are there, and replace those of others")
    file = parser.add_argument_group("the file (docs/tools.md)")
    file.add_argument("--format", choices=tuple(FORMATS), default="ply")
    file.add_argument("--layout", choices=LAYOUTS, help="of a ply")
    file.add_argument("--frame", choices=FRAMES, help="which way the axes point; default: what the format's readers expect")
    for name in _options():
        flags = dict.fromkeys((f"--{name.replace('_', '-')}", f"--{name}"))
        file.add_argument(*flags, dest=name, metavar="N", help=_HELP.get(name))
    video = parser.add_argument_group("videos")
    video.add_argument("--fps", type=_positive, help="frames a second of the video's time; default: all")
    video.add_argument("--every", type=_count, default=1, metavar="N", help="only every Nth of those")
    here = parser.add_argument_group("on this machine")
    here.add_argument("--engine", choices=tuple(ENGINES), help="what makes the splats; default: relief")
    here.add_argument(
        "--param", type=_param, action="append", default=[], metavar="NAME=VALUE", help="the engine's, such as model=da3-small"
    )
    there = parser.add_argument_group("by a server")
    there.add_argument("--url", help=f"where its page is; its token comes from {TOKEN_VARIABLE}")
    there.add_argument("--patience-s", type=_positive, default=600.0, metavar="S", help="give up when nothing got through (600)")
    parser.add_argument("--concurrency", type=_count, metavar="N", help="photos at a time; default: 8 by a server, here up to 4")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {text}")
    return value


def _param(text: str) -> tuple[str, Any]:
    """A parameter as the config's YAML would have it."""
    name, separator, value = text.partition("=")
    if not separator or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError:
        raise argparse.ArgumentTypeError(f"{name}: expected a value as in YAML, got {value!r}") from None
