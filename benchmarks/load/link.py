"""A client's way to the server as a relay on loopback, which can be narrow, long, or go silent without closing."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

_CHUNK_BYTES = 16 * 1024
_BUFFER_BYTES = 32 * 1024
"""For the sockets between server and link: what the link holds back must be held back at the server."""
_MOST_UNDER_WAY = 64
"""Chunks, each way: 1 MiB, more than any link here has room for. What a client does not read comes to rest behind them."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a link is like.

    Attributes:
        mbit_s: What it carries toward the client, million bits a second; None: anything. Toward the server it carries anything.
        round_trip_ms: How long a byte takes there and back, half of it each way.
    """

    mbit_s: float | None = None
    round_trip_ms: float = 0.0


class Link:
    """One connection's relay; made by :func:`open_link`.

    Attributes:
        url: What the client connects to instead.
        profile: What it is like from now on.
    """

    def __init__(self, profile: Profile) -> None:
        self.url = ""
        self.profile = profile
        self._downward, self._upward = asyncio.Event(), asyncio.Event()
        self._downward.set()
        self._upward.set()
        self._writers: list[asyncio.StreamWriter] = []

    def stop(self, both_ways: bool = False) -> None:
        """From now on nothing reaches the client or, with ``both_ways``, the server. Neither end is told."""
        self._downward.clear()
        if both_ways:
            self._upward.clear()

    def cut(self) -> None:
        """Break the connection at both ends."""
        for writer in self._writers:
            writer.transport.abort()

    async def relay(self, host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either end closes it."""
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)  # Has no effect once it is connected.
        sock.setblocking(False)
        tasks: list[asyncio.Task[None]] = []
        self._writers.append(writer)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
            server_reader, server_writer = await asyncio.open_connection(sock=sock, limit=_CHUNK_BYTES)
            self._writers.append(server_writer)
            tasks = [
                asyncio.ensure_future(self._carry(server_reader, writer, self._downward, is_narrow=True)),
                asyncio.ensure_future(self._carry(reader, server_writer, self._upward, is_narrow=False)),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            sock.close()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.cut()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_open: asyncio.Event, *, is_narrow: bool
    ) -> None:
        """One direction: bytes enter at the link's rate, and come out half a round trip later."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_UNDER_WAY)
        arriving = asyncio.ensure_future(_deliver(under_way, writer))
        free_s = 0.0
        try:
            with suppress(OSError):
                while not arriving.done():
                    await is_open.wait()
                    chunk = await reader.read(_CHUNK_BYTES)
                    await is_open.wait()
                    free_s = max(free_s, time.monotonic())
                    if is_narrow and self.profile.mbit_s:
                        free_s += 8 * len(chunk) / (self.profile.mbit_s * 1e6)
                        await asyncio.sleep(free_s - time.monotonic())
                    await under_way.put((free_s + self.profile.round_trip_ms / 2e3, chunk))
                    if not chunk:
                        break
                await arriving
        finally:
            arriving.cancel()
            await asyncio.gather(arriving, return_exceptions=True)


async def _deliver(under_way: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
    """Write each chunk when it is due, until an empty one, which is the end."""
    with suppress(OSError):
        while True:
            due_s, chunk = await under_way.get()
            await asyncio.sleep(due_s - time.monotonic())
            if not chunk:
                writer.write_eof()
                return
            writer.write(chunk)
            await writer.drain()


@asynccontextmanager
async def open_link(url: str, profile: Profile = Profile()) -> AsyncIterator[Link]:
    """A relay to a server; cut at the end of the block.

    Args:
        url: The server's WebSocket, ``ws://``.
        profile: What it is like at first.
    """
    address, link = urlsplit(url), Link(profile)
    host, port = address.hostname or "", address.port or 80
    relays: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relays.add(asyncio.ensure_future(link.relay(host, port, reader, writer)))

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, limit=_CHUNK_BYTES)
    link.url = urlunsplit(address._replace(netloc=f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"))
    try:
        yield link
    finally:
        listener.close()
        link.cut()
        for relay in relays:
            relay.cancel()
        await asyncio.gather(*relays, return_exceptions=True)
