"""Recordings of the stream, from the command line::

    python -m deployments.recording record ws://127.0.0.1:8000/ws out.splatcast photo1.jpg photo2.jpg --fps 10
    python -m deployments.recording info out.splatcast
    python -m deployments.recording cut out.splatcast shorter.splatcast --start-s 2 --end-s 5
    python -m deployments.recording export out.splatcast folder --format ply --every 10

The viewer records and plays the same files; :mod:`deployments.stream.recording` has their layout. In a program::

    with open("out.splatcast", "wb") as file:
        recorder = SessionRecorder(RecordingWriter(file))
        async with connect(url, recorder=recorder) as stream: ...

    with open("out.splatcast", "rb") as file:
        for frame in RecordingReader(file).frames():
            gaussians = gaussians_of(frame)
"""

import argparse
import asyncio
import io
import itertools
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from deployments.client import ClientError, connect, splats_of
from deployments.splats.codecs import CODECS
from deployments.splats.errors import CodecError
from deployments.splats.files import FORMATS, FileOptions, encode_file
from deployments.splats.gaussians import Gaussians
from deployments.stream.messages import Dropped, Error, encode
from deployments.stream.photo_options import origin_comments
from deployments.stream.recording import (
    BadRecording,
    Entry,
    RecordedFrame,
    RecordingReader,
    RecordingWriter,
    SessionRecorder,
    rewritten,
)


def gaussians_of(frame: RecordedFrame) -> Gaussians:
    """The Gaussians of a recorded frame, in the capture camera's OpenCV frame.

    Raises:
        CodecError: The data are not what the codec writes.
        ValueError: The picture that its colours come from is missing or can't be read.
    """
    return splats_of(frame.reply, _read_picture(frame.picture) if frame.picture else None)


def _read_picture(data: bytes) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"picture: expected a JPEG, PNG or WebP, got {len(data)} bytes that are none ({error})") from None


def _record(args: argparse.Namespace) -> None:
    pictures = [path.read_bytes() for path in args.pictures]
    # A server that is away must not cost the recording that was there, nor one that breaks off what it had sent.
    part = args.out.with_name(f"{args.out.name}.part")
    with part.open("wb") as file:
        recorder = SessionRecorder(RecordingWriter(file, time.time() * 1e3))
        try:
            asyncio.run(_stream_pictures(args, pictures, recorder))
        finally:
            file.close()
            if recorder.frames:
                part.replace(args.out)
            else:
                part.unlink()
    print(f"{recorder.frames} frames in {args.out}, {args.out.stat().st_size / 1e6:.1f} MB")


async def _stream_pictures(args: argparse.Namespace, pictures: Sequence[bytes], recorder: SessionRecorder) -> None:
    options = {"adapt": False, **({} if args.max_splats is None else {"max_splats": args.max_splats})}
    async with connect(args.url, token=args.token, options=options, recorder=recorder) as stream:
        replies = aiter(stream)
        for index in range(args.frames or len(pictures)):
            # Evenly, however long the server takes: a recording plays at the pace of the pictures.
            await stream.send_frame(pictures[index % len(pictures)], captured_ms=index * 1e3 / args.fps)
            # One at a time: of two on the way, the newer may be ready first, and the other is dropped.
            reply = await anext(replies, None)
            if reply is None:
                raise ClientError("closed", f"The server closed after {recorder.frames} frames")
            if isinstance(reply, (Dropped, Error)):
                print(f"frame {index}: {reply.message}", file=sys.stderr)


def _info(args: argparse.Namespace) -> None:
    with args.file.open("rb") as file:
        reader = RecordingReader(file)
        last_ms, codecs, message_bytes, picture_bytes = 0.0, Counter[str](), 0, 0
        for frame in reader.frames():
            last_ms = frame.ms
            codecs[frame.reply.codec] += 1
            message_bytes += len(frame.reply.data)
            picture_bytes += len(frame.picture)
    frames = codecs.total()
    if reader.welcome:
        print(f"engine    {reader.welcome.engine.label} ({reader.welcome.engine.licence})")
    if reader.began_ms:
        print(f"began     {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(reader.began_ms / 1e3))} UTC")
    print(f"frames    {frames} over {last_ms / 1e3:.1f} s: {', '.join(f'{n} {codec}' for codec, n in codecs.items()) or 'none'}")
    if frames:
        print(f"a frame   {message_bytes / frames / 1e3:.1f} kB, and {picture_bytes / frames / 1e3:.1f} kB of its picture")
    if reader.damaged:
        print(f"damaged   {reader.damaged} entries were skipped")
    if reader.cut:
        print(f"cut       {reader.cut}")


def _frames_between(reader: RecordingReader, start_s: float, end_s: float) -> Iterator[RecordedFrame]:
    return (frame for frame in reader.frames() if start_s <= frame.ms / 1e3 <= end_s)


def _cut(args: argparse.Namespace) -> None:
    if args.out.exists() and os.path.samefile(args.file, args.out):
        raise ValueError("cut: expected another file to write to than the one that is read")
    with args.file.open("rb") as source:
        reader = RecordingReader(source)
        frames = _frames_between(reader, args.start_s, args.end_s)
        first = next(frames, None)
        from_ms = args.start_s * 1e3 if first is None else first.ms
        kept = 0
        with args.out.open("wb") as target:
            writer = RecordingWriter(target, reader.began_ms and reader.began_ms + from_ms)
            # The one in force at the first frame.
            if first and reader.welcome:
                writer.write(Entry(0.0, encode(reader.welcome)))
            for frame in itertools.chain([first] if first else [], frames):
                writer.write(rewritten(frame, from_ms))
                kept += 1
    print(f"{kept} frames in {args.out}")


def _export(args: argparse.Namespace) -> None:
    encoders = {name: CODECS[name].encode for name in ("packed", "points")}
    args.folder.mkdir(parents=True, exist_ok=True)
    written = 0
    with args.file.open("rb") as file:
        reader = RecordingReader(file)
        for index, frame in enumerate(_frames_between(reader, args.start_s, args.end_s)):
            if index % args.every:
                continue
            options = FileOptions(args.format, comments=origin_comments(reader.welcome.engine) if reader.welcome else ())
            path = args.folder / f"{index:06d}{FORMATS[args.format].suffix}"
            try:
                path.write_bytes(encode_file(gaussians_of(frame), options, encoders).tobytes())
            except ValueError as error:  # CodecError is one.
                print(f"frame {index}: {error}", file=sys.stderr)
                continue
            written += 1
    print(f"{written} files in {args.folder}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deployments.recording", description="Recordings of the stream.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    record = verbs.add_parser("record", help="have a server make splats of pictures, and record them")
    record.add_argument("url", help="of the server or its page, such as ws://127.0.0.1:8000/ws or http://127.0.0.1:8000/")
    record.add_argument("out", type=Path)
    record.add_argument("pictures", type=Path, nargs="+", help="JPEG, PNG or WebP, a frame each, in this order")
    record.add_argument("--fps", type=positive, default=10.0, help="pace at which it plays (10)")
    record.add_argument("--frames", type=count, default=0, help="how many; the pictures repeat (one of each picture)")
    record.add_argument("--max-splats", type=count, default=None)
    record.add_argument("--token", default=os.environ.get("SPLATCAST_TOKEN"), help="the server's (or SPLATCAST_TOKEN)")
    record.set_defaults(act=_record)
    info = verbs.add_parser("info", help="what is in it")
    info.set_defaults(act=_info)
    cut = verbs.add_parser("cut", help="a part of it, as a recording of its own")
    export = verbs.add_parser("export", help="its frames as files for other tools")
    for verb in (info, cut, export):
        verb.add_argument("file", type=Path)
    cut.add_argument("out", type=Path)
    cut.set_defaults(act=_cut)
    export.add_argument("folder", type=Path)
    export.add_argument("--format", choices=tuple(FORMATS), default="ply")
    export.add_argument("--every", type=count, default=1, help="only every Nth frame (1)")
    export.set_defaults(act=_export)
    for verb in (cut, export):
        verb.add_argument("--start-s", type=float, default=0.0)
        verb.add_argument("--end-s", type=float, default=float("inf"))
    return parser


def positive(text: str) -> float:
    """A number above 0, for argparse."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return value


def count(text: str) -> int:
    """A whole number from 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {text}")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit status."""
    args = _parser().parse_args(argv)
    try:
        args.act(args)
    except (BadRecording, ClientError, CodecError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
