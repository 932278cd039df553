"""A client of the original protocol, for sessions of the load tool: bare JPEGs, no hello, replies without a number."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgpack
import websockets
from websockets.asyncio.client import ClientConnection

from deployments.client import ClientError, open_socket
from deployments.stream.messages import Error


@dataclass(frozen=True, slots=True)
class OriginalReply:
    """One result: ``size`` is the bytes of its arrays or of its PLY, ``count`` its points (0: only the PLY knows)."""

    size: int
    count: int


class OriginalStream:
    """One open session; what :class:`deployments.client.Stream` is to the current protocol.

    Attributes:
        extensions: WebSocket extensions in use.
        bytes_sent: Of all messages so far.
    """

    def __init__(self, websocket: ClientConnection) -> None:
        self.extensions = [extension.name for extension in websocket.protocol.extensions]
        self.bytes_sent = 0
        self._websocket = websocket

    async def send_frame(self, jpeg: bytes, captured_ms: float | None = None) -> None:
        """Send a picture; the time has no place in this protocol.

        Raises:
            ClientError: The connection is gone.
        """
        try:
            await self._websocket.send(jpeg)
        except websockets.ConnectionClosed as closed:
            raise _failure(closed) from None
        self.bytes_sent += len(jpeg)

    async def __aiter__(self) -> AsyncIterator[OriginalReply | Error]:
        """The replies, until either side closes.

        Raises:
            ClientError: The connection broke, or a message does not belong to the protocol.
        """
        try:
            async for data in self._websocket:
                yield parse(data)
        except websockets.ConnectionClosed as closed:
            raise _failure(closed) from None


def parse(data: bytes | str) -> OriginalReply | Error:
    """A message of the server.

    Raises:
        ClientError: It does not belong to the original protocol.
    """
    message: Any = msgpack.unpackb(data) if isinstance(data, bytes) else None
    match message:
        case {"type": "gaussian_ply", "ply_data": bytes(ply)}:
            return OriginalReply(len(ply), 0)
        case {"type": "pointcloud", "num_points": int(count), "points": bytes(points), "colors": bytes(colors)}:
            return OriginalReply(len(points) + len(colors), count)
        case {"type": "error", "code": str(code), "message": str(text)}:
            return Error(code, text)
    raise ClientError("bad_message", f"Expected a reply of the original protocol, got {data!r:.120}")


@asynccontextmanager
async def connect_original(url: str, open_timeout_s: float, token: str | None = None) -> AsyncIterator[OriginalStream]:
    """Open a session, offering compression as browsers do; closed at the end of the block.

    Raises:
        ClientError: Nobody answers there.
    """
    websocket = await open_socket(url, open_timeout_s, True, token)
    async with websocket:
        yield OriginalStream(websocket)


def _failure(closed: websockets.ConnectionClosed) -> ClientError:
    return ClientError("closed", f"The connection broke: {closed}")
