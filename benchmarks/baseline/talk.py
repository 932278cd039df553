"""The clients: one picture unanswered each, compression offered, the same rule for both designs.

Both designs answer every frame of such a client, so frames per second and ages compare. The next picture goes out as soon as a
reply is here.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import websockets

from deployments.client import connect
from deployments.stream.messages import Splats

Exchange = Callable[[bytes], Awaitable[int]]
"""Sends a picture; gives the bytes of the reply's payload when all of it is here."""

OPEN_TIMEOUT_S = 30.0


class Start:
    """All sessions begin together, once each has had its first answer."""

    def __init__(self, sessions: int, seconds: float) -> None:
        self._missing, self._seconds = sessions, seconds
        self._end_s: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def wait(self) -> float:
        """Until all are there. Returns when to end, on the monotonic clock."""
        self._missing -= 1
        if not self._missing:
            self._end_s.set_result(time.monotonic() + self._seconds)
        return await self._end_s


@dataclass(slots=True)
class Talk:
    """What one session saw: age at delivery of each frame (ms, from sending), and the bytes of its reply."""

    ages_ms: list[float] = field(default_factory=list)
    reply_bytes: list[int] = field(default_factory=list)


async def talk_to_peer(url: str, clip: Sequence[bytes], start: Start) -> Talk:
    """The original protocol: a bare JPEG in, a msgpack map with the PLY back."""
    async with websockets.connect(url, max_size=None, proxy=None, open_timeout=OPEN_TIMEOUT_S, ping_interval=None) as socket:

        async def exchange(jpeg: bytes) -> int:
            await socket.send(jpeg)
            return len(await socket.recv(decode=False))

        return await _converse(exchange, clip, start)


async def talk_to_graph(url: str, clip: Sequence[bytes], start: Start) -> Talk:
    """Protocol 1, with the server's defaults."""
    async with connect(url, offer_deflate=True, open_timeout_s=OPEN_TIMEOUT_S) as stream:
        replies = stream.__aiter__()

        async def exchange(jpeg: bytes) -> int:
            await stream.send_frame(jpeg)
            reply = await replies.__anext__()
            if not isinstance(reply, Splats):
                raise RuntimeError(f"expected splats, got {reply!r:.200}")
            return len(reply.data)

        return await _converse(exchange, clip, start)


async def _converse(exchange: Exchange, clip: Sequence[bytes], start: Start) -> Talk:
    await exchange(clip[0])  # Connected and warm.
    talk = Talk()
    end_s = await start.wait()
    index = 0
    while (sent_s := time.monotonic()) < end_s:
        index += 1
        size = await exchange(clip[index % len(clip)])
        answered_s = time.monotonic()
        if answered_s <= end_s:  # What is under way at the end counts for neither.
            talk.ages_ms.append((answered_s - sent_s) * 1e3)
            talk.reply_bytes.append(size)
    return talk
