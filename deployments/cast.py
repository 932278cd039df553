"""One camera, many screens, from Python: watch a room, or be a camera of it. Also as a command:

    python -m deployments.cast publish clip.mp4 --room studio
    python -m deployments.cast publish rtsp://camera.local/stream --room camera.…  --url wss://splats.example/ws
    python -m deployments.cast watch --room studio --seconds 10

Both come back by themselves after a lost connection, to the same place in the room.
"""

import argparse
import asyncio
import itertools
import logging
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from deployments.client import TIMEOUTS, ClientError, Reply, Stream, reconnecting
from deployments.recording import count, positive
from deployments.stream.messages import Dropped, Error, Join, Published, Splats

logger = logging.getLogger(__name__)

DEFAULT_URL = "ws://127.0.0.1:8000/ws"
_ROOM_ENDS = ("room_closed", "room_taken")
_LAST_ANSWER_S = 10.0
_JPEG_QUALITY = 85
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 10.0
"""Before a live source that broke is opened again."""
_LAST_PICTURE_S = 2.0
"""What a source may take to notice that nobody wants more."""
_REPORT_S = 5.0
_QUIET_S = 3.0
"""Without a frame, after which a person wants to know what is waited for. The first one of a room that is shown comes sooner."""


async def watch(url: str, room: str, *, name: str = "", camera: str = "", **settings: Any) -> AsyncGenerator[Splats, None]:
    """What a room's camera shows, frame by frame, for as long as the iteration goes on::

        async for splats in watch("ws://127.0.0.1:8000/ws", "studio"):
            gaussians = splats_of(splats)

    A program that takes its time gets the newest frame next. After a lost connection the stream goes on by itself.

    Args:
        url: As for :func:`connect`.
        room: Its name, or the key from a link.
        name: What to be called there.
        camera: Id of the camera to watch; empty: the room's first.
        settings: The other keywords of :func:`reconnecting`.

    Raises:
        ClientError: The server or the room refuses, the room was closed, or the server was gone for longer than patience lasts.
    """
    seat, ended = _Seat(room, "viewer", name), None
    async with aclosing(reconnecting(url, join=seat.join, **settings)) as streams:
        async for stream in streams:
            seat.taken(stream)
            with suppress(ClientError):  # It broke; the next one is being opened.
                if camera:
                    await stream.watch(camera)
                # Closed here, and not by the loop once it ends, when all that is still open is closed at once.
                async with aclosing(aiter(stream)) as replies:
                    async for reply in replies:
                        if isinstance(reply, Splats):
                            yield reply
                        elif ended := _room_ended(reply):
                            break
            if ended:
                raise ended


async def publish(
    url: str, room: str, frames: AsyncIterator[bytes], *, name: str = "", **settings: Any
) -> AsyncGenerator[Published | Dropped | Error, None]:
    """Be a camera of a room until ``frames`` ends; yields what became of each frame that was sent.

    Args:
        url: As for :func:`connect`.
        room: Its name, or the key from a link.
        frames: Encoded images (JPEG, PNG or WebP), as they are captured. One that comes while another is being sent, or while the
            connection is lost, replaces the one that waited.
        name: What to be called there.
        settings: The other keywords of :func:`reconnecting`.

    Raises:
        ClientError: The server or the room refuses, the room was closed, or the server was gone for longer than patience lasts.
    """
    seat, ended, newest = _Seat(room, "camera", name), None, _Newest(frames)
    streams = reconnecting(url, join=seat.join, **settings)
    try:
        async for stream in streams:
            seat.taken(stream)
            sending = asyncio.ensure_future(newest.send_to(stream))
            try:
                with suppress(ClientError):  # It broke; the next one is being opened.
                    async for reply in stream:
                        if ended := _room_ended(reply):
                            break
                        if not isinstance(reply, Splats):
                            newest.answered(reply)
                            yield reply
            finally:
                sending.cancel()
                await asyncio.wait({sending})
            if ended:
                raise ended
            if newest.is_over:
                return
    finally:
        await streams.aclose()
        await newest.stop()


class _Newest:
    """The newest picture of a source that goes on whatever becomes of the connection."""

    def __init__(self, frames: AsyncIterator[bytes]) -> None:
        self.is_over = False
        self._frame: bytes | None = None
        self._last = self._answered = -1
        self._changed = asyncio.Event()
        # Cancelling a generator ends it, so it runs in a task of its own, which outlives connections.
        self._reading = asyncio.ensure_future(self._read(frames))

    async def _read(self, frames: AsyncIterator[bytes]) -> None:
        try:
            async for self._frame in frames:
                self._changed.set()
        finally:
            self.is_over = True
            self._changed.set()

    async def send_to(self, stream: Stream) -> None:
        """Send what comes until the source ends; then wait for the last answer, and close."""
        self._last = self._answered = -1
        with suppress(ClientError):  # Whoever reads the stream finds out as well.
            while self._frame is not None or not self.is_over:
                self._changed.clear()
                if self._frame is not None:
                    frame, self._frame = self._frame, None
                    self._last = await stream.send_frame(frame)
                elif not self.is_over:
                    await self._changed.wait()
            with suppress(*TIMEOUTS):
                await asyncio.wait_for(self._all_answered(), _LAST_ANSWER_S)
            await stream.close()

    def answered(self, reply: Published | Dropped | Error) -> None:
        """A frame, and with it every one before it, has its answer."""
        seqs = reply.seqs if isinstance(reply, Dropped) else [reply.seq if reply.seq is not None else -1]
        self._answered = max(self._answered, *seqs)
        self._changed.set()

    async def _all_answered(self) -> None:
        while self._answered < self._last:
            self._changed.clear()
            await self._changed.wait()

    async def stop(self) -> None:
        """Let the source go; what went wrong with it is raised here."""
        if not self._reading.done():
            self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading


def _room_ended(reply: Reply) -> ClientError | None:
    return ClientError(reply.code, reply.message) if isinstance(reply, Error) and reply.code in _ROOM_ENDS else None


@dataclass
class _Seat:
    """Keeps a place in a room over connections."""

    room: str
    role: Literal["camera", "viewer"]
    name: str
    place: str = ""

    def join(self) -> Join:
        return Join(self.room, self.role, self.name, self.place)

    def taken(self, stream: Stream) -> None:
        self.place = stream.joined.place if stream.joined else self.place


# --- sources ---


def pictures(source: str, *, px: int, fps: float | None = None, loop: bool = False) -> Iterator[tuple[NDArray[np.uint8], float]]:
    """Pictures of a video file, a V4L2 camera or a network stream, by OpenCV.

    Args:
        source: A path, a camera's number or device, or a URL (``rtsp://…``).
        px: Longest side of a picture, pixels; larger ones are scaled down.
        fps: Pictures a second of a file; None: its own.
        loop: Whether a file begins anew at its end.

    Yields:
        An upright picture, uint8 [H, W, 3], RGB, and when it is due, seconds since the first one; of live sources 0: at once.

    Raises:
        OSError: It can't be opened, or is no video. A live source that breaks later is opened again, for as long as it takes.
    """
    is_live = not Path(source).is_file()
    # FFmpeg's own words are about addresses in memory; ours follow.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    wait_s = _FIRST_WAIT_S
    began_s = 0.0
    for attempt in itertools.count():
        video = cv2.VideoCapture(int(source) if source.isdigit() else source)
        period_s = 1.0 / (fps or video.get(cv2.CAP_PROP_FPS) or 30.0)
        index = 0
        while True:
            good, picture = video.read()
            if not good:
                break
            wait_s = _FIRST_WAIT_S
            scale = px / max(picture.shape[:2])
            if scale < 1:
                picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            yield np.ascontiguousarray(picture[:, :, ::-1]), 0.0 if is_live else began_s + index * period_s
            index += 1
        video.release()
        if not index and attempt == 0:
            expected = "a video file, a camera such as 0 or /dev/video0, or a stream such as rtsp://…"
            raise OSError(f"{source}: expected {expected}; OpenCV can't open it")
        if is_live:
            logger.warning("%s gives no pictures; it is opened again in %g s", source, wait_s)
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        elif not loop:
            return
        began_s += index * period_s


async def jpegs(source: str, *, px: int, fps: float | None = None, loop: bool = False) -> AsyncIterator[bytes]:
    """The same as JPEGs, each when it is due; for :func:`publish`. Reads in a thread, as cameras and networks make it wait."""
    loop_of = asyncio.get_running_loop()
    coming: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(1)
    stopped = threading.Event()

    def put(item: bytes | BaseException | None) -> None:
        if coming.full():
            coming.get_nowait()  # The newest wins.
        coming.put_nowait(item)

    def read() -> None:
        began_s = time.monotonic()
        try:
            for picture, due_s in pictures(source, px=px, fps=fps, loop=loop):
                if stopped.wait(max(0.0, began_s + due_s - time.monotonic()) if due_s else 0):
                    return
                jpeg = simplejpeg.encode_jpeg(picture, _JPEG_QUALITY, "RGB", "420")
                loop_of.call_soon_threadsafe(put, jpeg)
            # The last picture must not be lost to the end.
            asyncio.run_coroutine_threadsafe(coming.put(None), loop_of)
        except BaseException as error:
            asyncio.run_coroutine_threadsafe(coming.put(error), loop_of)

    reader = threading.Thread(target=read, daemon=True, name="source")
    reader.start()
    try:
        while (item := await coming.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        # A program that ends while OpenCV reads is aborted.
        await asyncio.to_thread(reader.join, _LAST_PICTURE_S)


# --- the command ---


async def _publish(args: argparse.Namespace) -> None:
    tally = _Tally()
    frames = jpegs(args.source, px=args.px, fps=args.fps, loop=args.loop)
    async for reply in publish(args.url, args.room, frames, name=args.name, token=args.token, patience_s=args.patience_s):
        if isinstance(reply, Error):
            print(reply.message, file=sys.stderr)
        code = "published" if isinstance(reply, Published) else reply.code
        tally.add({code: reply.count if isinstance(reply, Dropped) else 1})
    tally.tell()


async def _watch(args: argparse.Namespace) -> None:
    tally = _Tally()
    with suppress(*TIMEOUTS):
        await asyncio.wait_for(_count(args, tally), args.seconds or None)
    tally.tell()


async def _count(args: argparse.Namespace, tally: "_Tally") -> None:
    waits = "nothing yet: waiting for a camera in the room, or for the server"
    quiet = asyncio.get_running_loop().call_later(_QUIET_S, partial(print, waits, file=sys.stderr))
    seen = watch(args.url, args.room, name=args.name, camera=args.camera, token=args.token, patience_s=args.patience_s)
    try:
        async with aclosing(seen):
            async for splats in seen:
                quiet.cancel()
                tally.add({"frames": 1, "bytes": len(splats.data)})
    finally:
        quiet.cancel()


class _Tally:
    """Counts, told every few seconds."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._told_s = time.monotonic()

    def add(self, counts: dict[str, int]) -> None:
        self._counts.update(counts)
        if time.monotonic() - self._told_s > _REPORT_S:
            self.tell()

    def tell(self) -> None:
        self._told_s = time.monotonic()
        print(", ".join(f"{name}: {count}" for name, count in self._counts.items()) or "nothing yet", file=sys.stderr)


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    arguments = argparse.ArgumentParser(prog="python -m deployments.cast", description="Watch a room's cameras, or be one.")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--room", required=True, help="its name, or the key from a link")
    shared.add_argument("--url", default=DEFAULT_URL, help="of the server or its page (%(default)s)")
    shared.add_argument("--name", default="", help="what to be called in the room")
    shared.add_argument("--token", default=os.environ.get("SPLATCAST_TOKEN") or None, help="of the server ($SPLATCAST_TOKEN)")
    shared.add_argument("--patience-s", type=positive, default=60.0, help="how long the server may be gone (%(default)s)")
    verbs = arguments.add_subparsers(required=True)
    sends = verbs.add_parser("publish", parents=[shared], help="show a video file, a camera or a stream to a room")
    sends.add_argument("source", help="a video file, a camera (0, /dev/video0) or a stream (rtsp://…)")
    sends.add_argument("--px", type=count, default=640, help="longest side of the pictures that are sent (%(default)s)")
    sends.add_argument("--fps", type=positive, help="pictures a second of a file (its own)")
    sends.add_argument("--loop", action="store_true", help="play a file again and again")
    sends.set_defaults(run=_publish)
    sees = verbs.add_parser("watch", parents=[shared], help="see what a room's camera shows, and count it")
    sees.add_argument("--camera", default="", help="id of the camera (the room's first)")
    sees.add_argument("--seconds", type=float, default=0.0, help="stop after so long")
    sees.set_defaults(run=_watch)
    return arguments


def main(arguments: list[str] | None = None) -> int:
    """Run the command. Returns its exit status."""
    args = parser().parse_args(arguments)
    try:
        asyncio.run(args.run(args))
    except (ClientError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
