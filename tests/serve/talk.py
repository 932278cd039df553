"""A client that does one thing at a time, for tests that look at every message."""

import asyncio

import websockets
from websockets.asyncio.client import ClientConnection

from deployments.stream import messages
from deployments.stream.messages import Ack, Frame, Hello, Splats, Welcome
from tests.pictures import jpeg
from tests.server import Server

PICTURE = jpeg(320, 240)


async def connect(server: Server, **options: object) -> ClientConnection:
    socket = await websockets.connect(server.ws_url, max_size=None, compression=None)
    try:
        await socket.send(messages.encode(Hello(1, ["packed", "points", "ply"], "test", dict(options))))
        assert isinstance(await hear(socket), Welcome)
    except BaseException:
        await vanish(socket)  # Whoever tries again must not leave sockets behind.
        raise
    return socket


async def hear(socket: ClientConnection, timeout_s: float = 20.0) -> messages.ServerMessage:
    raw = await asyncio.wait_for(socket.recv(), timeout_s)
    assert isinstance(raw, bytes)
    return messages.decode_server(raw)


async def frame(socket: ClientConnection, seq: int, data: bytes = PICTURE) -> messages.ServerMessage:
    """Send one frame, return its answer, acknowledge it."""
    await socket.send(messages.encode(Frame(seq, [data])))
    reply = await hear(socket)
    if isinstance(reply, Splats):
        await socket.send(messages.encode(Ack(seq)))
    return reply


async def vanish(socket: ClientConnection) -> None:
    """Be gone without a word, as when a laptop's lid is shut."""
    socket.transport.abort()
    await socket.wait_closed()
