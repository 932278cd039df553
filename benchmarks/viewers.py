"""Viewers that stay through whatever happens to the server: what the fault, autoscaling and proxy benchmarks watch with.

A viewer is one session of ``benchmarks.load`` after the other: it reconnects. Every frame it sent ends as delivered, dropped (a
newer one took its place), errored (the server says that it lost it or could not process it), cut (unanswered when the connection
broke) or, if it was still in flight when the viewer left, unanswered. Times are of the monotonic clock.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager, suppress

from benchmarks.load.schedule import Schedule
from benchmarks.load.session import Client, FrameRecord, LoadSession
from deployments.client import ClientError, reconnecting

PATIENCE_S = 120.0
"""How long the server may be away."""


class Viewer:
    """One client that sends a frame every ``1 / fps`` seconds, and reconnects.

    Attributes:
        sessions: Those it has had.
        broke_s: When sessions broke.
        failure: Why it gave up; None if it did not.
    """

    def __init__(self, client: Client, fps: float) -> None:
        self.sessions: list[LoadSession] = []
        self.broke_s: list[float] = []
        self.failure: ClientError | None = None
        self._client, self._fps = client, fps
        self._task: asyncio.Task[None] | None = None

    @property
    def frames(self) -> list[FrameRecord]:
        """All frames of all its sessions."""
        return [frame for session in self.sessions for frame in session.frames]

    def start(self) -> None:
        """Connect and send, until :meth:`stop`."""
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """Leave. Frames in flight stay unanswered."""
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        client = self._client
        settings = {"codecs": client.codecs, "options": client.options, "acknowledges": False}
        try:
            async with aclosing(reconnecting(client.url, patience_s=PATIENCE_S, **settings)) as streams:
                async for stream in streams:
                    now_s = time.monotonic()
                    session = LoadSession(len(self.sessions), client, Schedule(self._fps, now_s, now_s, math.inf))
                    self.sessions.append(session)
                    with suppress(ClientError):
                        await session.converse(stream)
                    self._break_off(session)
        except ClientError as error:
            self.failure = error

    def _break_off(self, session: LoadSession) -> None:
        now_s = time.monotonic()
        self.broke_s.append(now_s)
        for frame in session.frames:
            if frame.outcome == "unanswered":
                frame.outcome, frame.answered_s = "cut", now_s


@asynccontextmanager
async def watching(client: Client, count: int, fps: float) -> AsyncIterator[list[Viewer]]:
    """So many viewers for the length of the block, with their frames spread over a frame's time."""
    viewers = [Viewer(client, fps) for _ in range(count)]
    try:
        for viewer in viewers:
            viewer.start()
            await asyncio.sleep(1.0 / fps / count)
        yield viewers
    finally:
        await asyncio.gather(*(viewer.stop() for viewer in viewers))


def frames(viewers: Iterable[Viewer]) -> list[FrameRecord]:
    """All frames of all viewers."""
    return [frame for viewer in viewers for frame in viewer.frames]


def delivered(viewers: Iterable[Viewer], from_s: float, to_s: float) -> float:
    """Frames a second that were delivered in a time."""
    ended = (frame.answered_s for frame in frames(viewers) if frame.outcome == "delivered")
    return sum(at_s is not None and from_s <= at_s < to_s for at_s in ended) / (to_s - from_s)


def offered(viewers: Iterable[Viewer], from_s: float, to_s: float) -> float:
    """Frames a second that fell due in a time."""
    return sum(from_s <= frame.due_s < to_s for frame in frames(viewers)) / (to_s - from_s)


def outcomes(viewers: Iterable[Viewer], from_s: float, to_s: float) -> dict[str, int]:
    """How the frames that fell due in a time ended, by outcome and the server's code."""
    due = (frame for frame in frames(viewers) if from_s <= frame.due_s < to_s)
    return dict(sorted(Counter(f"{frame.outcome} {frame.reason}".strip() for frame in due).items()))
