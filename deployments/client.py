"""A Python client of the live stream: frames in, splats out, over one WebSocket.

    async with connect("ws://127.0.0.1:8000/ws", options={"max_splats": 50_000}) as stream:
        await stream.send_frame(jpeg)
        async for reply in stream:
            match reply:
                case Splats():   # splats_of(reply) has its Gaussians
                case Dropped():  # a newer frame overtook the frames reply.seqs: nobody's mistake
                case Error():    # refused: reply.code, reply.message, and reply.seq when it was a frame

A program that should outlive a restart of the server iterates over :func:`reconnecting` instead. :mod:`deployments.cast` watches a
room's cameras, or is one.

Send and iterate in different tasks if you like. A reply is acknowledged when the iteration hands it over: a program that
takes its time gets the newest frame next, and no backlog builds up anywhere. One that shows what it gets connects with
``acknowledges=False`` and calls :meth:`Stream.acknowledge` when it has: the server then holds the age at the screen.
"""

import asyncio
import random
import struct
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import simplejpeg
from msgspec.structs import replace
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from deployments.splats.errors import BadBytes
from deployments.splats.gaussians import Gaussians
from deployments.splats.reading import read_frame
from deployments.stream import messages
from deployments.stream.errors import BadMessage
from deployments.stream.messages import (
    Ack,
    Configure,
    Configured,
    Dropped,
    Error,
    Frame,
    Govern,
    Hello,
    Join,
    Joined,
    KnownCamera,
    Ping,
    Published,
    Room,
    Splats,
    Watch,
    Welcome,
)
from deployments.stream.recording import SessionRecorder

Reply = Splats | Published | Dropped | Error
DEFAULT_CODECS = ("depth", "planes", "packed", "points", "ply")
PASSING = ("unreachable", "no_welcome", "closed", "not_ready", "server_full", "too_many_from_address")
"""Codes of a :class:`ClientError` that another try may get past."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 2.0
"""Between tries; doubled each time, with a random part, so that the clients of a lost server don't all come back at once."""
_SETTLED_S = 5.0
"""A session that lived so long was a good one: after it, the waits start anew."""
TIMEOUTS = (TimeoutError, asyncio.TimeoutError)
"""Of asyncio: two classes until Python 3.11."""


class ClientError(Exception):
    """The session could not be opened, or broke. ``str()`` is the sentence.

    Attributes:
        code: The server's (``server_full``, ``protocol_mismatch``, …), or else ``unreachable``, ``no_welcome`` or ``closed``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code, self.message = code, message

    def __str__(self) -> str:
        return self.message


def encode_depth_png(depth: NDArray[np.uint16]) -> bytes:
    """Depth as ``frame.depths`` wants it: a 16-bit grey PNG, lightly compressed, as a live stream has no time for more.

    Args:
        depth: uint16 [H, W].

    Raises:
        ValueError: If it is of another type or shape.
    """
    if depth.dtype != np.uint16 or depth.ndim != 2 or not depth.size:
        raise ValueError(f"depth: expected uint16 [H, W], got {depth.dtype} {depth.shape}")
    height, width = depth.shape
    rows = np.zeros((height, 1 + 2 * width), np.uint8)
    rows[:, 1:] = depth.astype(">u2").view(np.uint8)
    # Each byte less the one two before it: the filter Sub, number 1.
    rows[:, 3:] -= rows[:, 1:-2].copy()
    rows[:, 0] = 1

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    pixels = zlib.compress(rows.tobytes(), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def splats_of(reply: Splats, picture: NDArray[np.uint8] | Sequence[NDArray[np.uint8]] | None = None) -> Gaussians:
    """The Gaussians of a reply, whatever its codec.

    Args:
        reply: A reply with splats, or with depth, which is lifted here.
        picture: For a ``depth`` reply with the option ``colors: own``: the picture that was sent, upright, of any size, sRGB.
            uint8 [H, W, 3]; of several views, each one's.

    Returns:
        Gaussians in the capture camera's OpenCV frame.

    Raises:
        CodecError: The data are not what the codec writes.
        ValueError: The reply has no colours, and ``picture`` is missing.
    """
    return read_frame(reply.codec, reply.data, read_jpeg, picture)


def read_jpeg(data: bytes, channels: int = 3) -> NDArray[np.uint8]:
    """A JPEG inside a frame, as :mod:`deployments.splats.reading` wants it. uint8 [H, W, channels].

    Raises:
        BadBytes: It can't be read.
    """
    try:
        return simplejpeg.decode_jpeg(data, "GRAY" if channels == 1 else "RGB")  # type: ignore[no-any-return]
    except ValueError as error:
        raise BadBytes("jpeg", 0, "a JPEG", str(error)) from None


class Stream:
    """One open session; made by :func:`connect`.

    Attributes:
        welcome: What the server said of itself: engine, limits, session id.
        options: The options in force, as the server last confirmed them.
        extensions: WebSocket extensions in use. Not empty means that something compresses, at a high price.
        bytes_sent, bytes_received: Of all messages so far.
        joined: This session's place in a room; None: it is in none.
        room: Who is in the room, as the server last said.
    """

    def __init__(
        self,
        websocket: ClientConnection,
        clock_s: Callable[[], float],
        acknowledges: bool = True,
        recorder: SessionRecorder | None = None,
    ) -> None:
        self.welcome: Welcome
        self.options: dict[str, Any] = {}
        self.extensions: list[str] = [extension.name for extension in websocket.protocol.extensions]
        self.bytes_sent = self.bytes_received = 0
        self.joined: Joined | None = None
        self.room: Room | None = None
        self._websocket = websocket
        self._clock_s = clock_s
        self._acknowledges = acknowledges
        self._recorder = recorder
        self._seq = -1

    async def send_frame(
        self,
        views: bytes | Sequence[bytes],
        captured_ms: float | None = None,
        *,
        cameras: Sequence[KnownCamera] = (),
        depths: Sequence[NDArray[np.uint16] | bytes] = (),
        depth_unit_m: float = 0.001,
    ) -> int:
        """Send one moment. Returns once the socket has taken it.

        Args:
            views: An encoded image (JPEG, PNG or WebP), or one from each camera.
            captured_ms: When it was captured, on the stream's clock; now by default. Echoed in the reply.
            cameras: What is known of the cameras, one for each view.
            depths: Measured z-depth, which is shown instead of the model's, one for each view: uint16 [H, W], or 16-bit grey PNGs;
                0 where it is unknown. It covers its view's picture, turned as that is when it is upright. Needs ``cameras``.
            depth_unit_m: Metres of one step of ``depths``.

        Returns:
            Its sequence number, by which its answer names it.

        Raises:
            ClientError: The connection is gone.
        """
        self._seq += 1
        seq = self._seq  # Another task may send while this one waits for the socket.
        captured_ms = self._clock_s() * 1e3 if captured_ms is None else captured_ms
        pngs = [depth if isinstance(depth, bytes) else encode_depth_png(depth) for depth in depths]
        pictures = [views] if isinstance(views, bytes) else list(views)
        frame = Frame(seq, pictures, captured_ms, list(cameras), pngs, depth_unit_m)
        if self._recorder:
            self._recorder.sent(seq, frame.views)
        await self._send(frame)
        return seq

    async def configure(self, **options: Any) -> None:
        """Change options from the next frame on. A refusal comes as an ``Error`` among the replies."""
        await self._send(Configure(options))

    async def acknowledge(self, ack: Ack) -> None:
        """Say what became of a reply, by the stream's clock; for sessions that are opened with ``acknowledges=False``.

        Raises:
            ClientError: The connection is gone.
        """
        await self._send(ack)

    async def ping(self) -> None:
        """Keep a session open that sends no frames.

        Raises:
            ClientError: The connection is gone.
        """
        await self._send(Ping(self._clock_s() * 1e3))

    async def watch(self, camera: str = "") -> None:
        """As a viewer of a room: see another of its cameras; empty: the first."""
        await self._send(Watch(camera))

    async def govern(self, *, locked: bool | None = None, close: bool = False) -> None:
        """As the owner of a room: let no new viewers in, or let them in again; end the room. A refusal comes as an ``Error``."""
        await self._send(Govern(locked, close))

    async def close(self) -> None:
        """End the session."""
        await self._websocket.close()

    async def __aiter__(self) -> AsyncGenerator[Reply, None]:
        """The replies, until either side closes.

        Raises:
            ClientError: The connection broke, the server ended it and says why, or it sent what protocol 1 does not have.
        """
        while message := await self._receive():
            if isinstance(message, Configured):
                self.options = message.options
            elif isinstance(message, Room):
                self.room = message
            elif isinstance(message, Error) and message.fatal:
                raise ClientError(message.code, message.message)
            elif isinstance(message, Splats):
                if self._acknowledges:
                    now_ms = self._clock_s() * 1e3
                    # If the connection is gone, reading says so after what had still arrived.
                    with suppress(ClientError):
                        await self._send(Ack(message.seq, now_ms, now_ms, now_ms, max(0.0, now_ms - message.captured_ms)))
                yield message
            elif isinstance(message, (Dropped, Error, Published)):
                yield message

    async def _greet(self, hello: Hello) -> None:
        with suppress(ClientError):  # A full server says so and closes before it is greeted.
            await self._send(hello)
        answer = await self._receive()
        if isinstance(answer, Error):
            raise ClientError(answer.code, answer.message)
        if not isinstance(answer, Welcome):
            raise ClientError("no_welcome", f"Expected 'welcome' from the server, got {answer!r:.120}")
        self.welcome, self.options = answer, answer.options
        if hello.join:
            joined = await self._receive()
            if isinstance(joined, Error):
                raise ClientError(joined.code, joined.message)
            if not isinstance(joined, Joined):
                raise ClientError("no_rooms", f"Expected 'joined' from the server, got {joined!r:.120}: it may be older than rooms")
            self.joined = joined
        # A client that asks for too much is welcomed, and told so in the next message; here that is the caller's mistake.
        if any(answer.options.get(name) != value for name, value in hello.options.items()):
            refusal = await self._receive()
            if isinstance(refusal, Error):
                raise ClientError(refusal.code, refusal.message)

    async def _send(self, message: messages.ClientMessage) -> None:
        data = messages.encode(message)
        try:
            await self._websocket.send(data)
        except ConnectionClosed as closed:
            raise _failure(closed) from None
        self.bytes_sent += len(data)

    async def _receive(self) -> messages.ServerMessage | None:
        try:
            data = await self._websocket.recv(decode=False)
        except ConnectionClosed as closed:
            if closed.rcvd and closed.rcvd.code in (1000, 1001):
                return None
            raise _failure(closed) from None
        self.bytes_received += len(data)
        try:
            message = messages.decode_server(data)
        except BadMessage as error:
            raise ClientError(error.code, f"From the server: {error}") from None
        if self._recorder:
            self._recorder.received(data, message)
        return message


@asynccontextmanager
async def connect(
    url: str,
    *,
    token: str | None = None,
    codecs: Sequence[str] = DEFAULT_CODECS,
    options: dict[str, Any] | None = None,
    client: str = "splatcast-python",
    open_timeout_s: float = 10.0,
    offer_deflate: bool = False,
    acknowledges: bool = True,
    clock_s: Callable[[], float] = time.monotonic,
    recorder: SessionRecorder | None = None,
    join: Join | Callable[[], Join] | None = None,
) -> AsyncIterator[Stream]:
    """Open a session; closed at the end of the block.

    Args:
        url: Such as ``ws://127.0.0.1:8000/ws``, or the page's, ``http://127.0.0.1:8000/``. Connected directly, whatever proxies
            the environment names.
        token: The server's access token, where it has one. Sent as a header, so that it is in nobody's log of addresses.
        codecs: Codecs this program decodes, best first.
        options: Changes to the server's defaults; see :class:`~deployments.stream.options.FrameOptions`.
        client: Name and version of this program, for the server's log.
        open_timeout_s: For the connection, and again for the welcome.
        offer_deflate: Offer permessage-deflate, as browsers do; a server that is set up well declines it.
        acknowledges: Acknowledge replies as they are handed over; else the caller does.
        clock_s: The clock of ``captured_ms`` and of the ages that are reported back, seconds.
        recorder: Writes the session to a file, which the viewer and :mod:`deployments.recording` play.
        join: A room to be in, or what returns it; see :class:`~deployments.stream.messages.Join`.

    Raises:
        ClientError: Nobody answers there, or the server refuses the session and says why.
    """
    websocket = await open_socket(url, open_timeout_s, offer_deflate, token)
    async with websocket:
        stream = Stream(websocket, clock_s, acknowledges, recorder)
        try:
            room = join() if callable(join) else join
            hello = Hello(messages.PROTOCOL, list(codecs), client, options or {}, room and replace(room, t=clock_s() * 1e3))
            await asyncio.wait_for(stream._greet(hello), open_timeout_s)
        except TIMEOUTS:
            raise ClientError("no_welcome", f"No 'welcome' from {url} within {open_timeout_s:g} s") from None
        yield stream


def socket_url(url: str) -> str:
    """The address of the stream: ``url`` itself, or where a page's address (``https://host/…``) has it."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return url
    path = parts.path if parts.path.endswith("/ws") else parts.path.rstrip("/") + "/ws"
    # Without what is for the page: its query, and the key of a room behind #.
    return urlunsplit((parts.scheme.replace("http", "ws"), parts.netloc, path, "", ""))


async def open_socket(url: str, open_timeout_s: float, offer_deflate: bool, token: str | None) -> ClientConnection:
    """A connected WebSocket, before anything was said on it; for the parameters see :func:`connect`.

    Raises:
        ClientError: Nobody answers there.
    """
    try:
        return await open_websocket(
            socket_url(url),
            additional_headers={} if token is None else {"Authorization": f"Bearer {token}"},
            compression="deflate" if offer_deflate else None,
            max_size=None,
            proxy=None,
            open_timeout=open_timeout_s,
            close_timeout=open_timeout_s,
        )
    except (OSError, InvalidHandshake, InvalidURI, *TIMEOUTS) as error:
        raise ClientError("unreachable", f"Can't open {url}: {error or type(error).__name__}") from None


async def reconnecting(
    url: str,
    *,
    patience_s: float = 60.0,
    clock_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    **settings: Any,
) -> AsyncGenerator[Stream, None]:
    """Open a session, and another one whenever it is over::

        async for stream in reconnecting(url):
            try:
                async for reply in stream:
                    ...
            except ClientError:
                continue  # It broke; the next one is being opened.

    Sequence numbers start anew with each. Frames in flight when it broke have no answer.

    Args:
        url: As for :func:`connect`.
        patience_s: How long the server may be gone.
        clock_s: As for :func:`connect`; patience is measured on it, too.
        sleep: How to wait, seconds.
        settings: The other keywords of :func:`connect`.

    Raises:
        ClientError: The server was gone for longer, or refuses for a reason that time does not change.
    """
    wait_s, gone_s = _FIRST_WAIT_S, clock_s()
    while True:
        try:
            async with connect(url, clock_s=clock_s, **settings) as stream:
                opened_s = clock_s()
                yield stream
            gone_s = clock_s()
            # A server that welcomes everyone and drops them at once is not back: to come at its pace would keep it down.
            if gone_s - opened_s >= _SETTLED_S:
                wait_s = _FIRST_WAIT_S
        except ClientError as error:
            if error.code not in PASSING or clock_s() - gone_s > patience_s:
                raise
        await sleep(wait_s * random.uniform(0.5, 1.0))
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def _failure(closed: ConnectionClosed) -> ClientError:
    if closed.rcvd is None:
        return ClientError("closed", "The connection broke without a close frame (1006): the server or a proxy went away")
    return ClientError("closed", f"The server closed with {closed.rcvd.code}: {closed.rcvd.reason or 'it gave no reason'}")
