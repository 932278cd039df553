"""Viewers that come, stay through whatever happens to the server, and go: what the fault and autoscaling benchmarks watch with.

Unlike a session of ``benchmarks.load``, one of these reconnects. Every frame it sent ends as delivered, dropped (a newer one took
its place), failed (the server says it lost it or could not process it) or cut (in flight when the connection broke).
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

from deployments.client import ClientError, Stream, reconnecting
from deployments.stream.messages import Dropped, Error, Splats

PATIENCE_S = 120.0
"""How long the server may be away."""


@dataclass(slots=True)
class Shot:
    """One frame.

    Attributes:
        sent_s: Monotonic clock.
        ended_s: When its fate was known; None while it is in flight.
        fate: ``in flight``, ``delivered``, ``dropped``, ``failed`` or ``cut``.
        code: The server's word for it.
    """

    sent_s: float
    ended_s: float | None = None
    fate: str = "in flight"
    code: str = ""


class Viewer:
    """One client that sends a frame every ``1 / fps`` seconds, and reconnects.

    Attributes:
        shots: All frames of all its sessions.
        opened_s, broke_s: When sessions began and broke, monotonic clock.
        failure: Why it gave up; None if it did not.
    """

    def __init__(self, url: str, clip: Sequence[bytes], fps: float) -> None:
        self.shots: list[Shot] = []
        self.opened_s: list[float] = []
        self.broke_s: list[float] = []
        self.failure: ClientError | None = None
        self._url, self._clip, self._fps = url, clip, fps
        self._task: asyncio.Task[None] | None = None
        self._leaving = False

    def start(self) -> None:
        """Connect and send, until :meth:`stop`."""
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """Leave. Frames in flight stay so."""
        self._leaving = True
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        try:
            # One codec: what is measured is not the codec.
            async with aclosing(reconnecting(self._url, patience_s=PATIENCE_S, codecs=["packed", "points"])) as streams:
                async for stream in streams:
                    self.opened_s.append(time.monotonic())
                    with suppress(ClientError):
                        await self._converse(stream)
                    self.broke_s.append(time.monotonic())
        except ClientError as error:
            self.failure = error

    async def _converse(self, stream: Stream) -> None:
        flying: dict[int, Shot] = {}
        sending = asyncio.ensure_future(self._send(stream, flying))
        try:
            async for reply in stream:
                if isinstance(reply, Splats):
                    _end(flying, [reply.seq], "delivered")
                elif isinstance(reply, Dropped):
                    # A notice names the newest 64 at most.
                    _end(
                        flying,
                        [*reply.seqs, *(seq for seq in list(flying) if seq < min(reply.seqs, default=0))],
                        "dropped",
                        reply.code,
                    )
                elif isinstance(reply, Error) and reply.seq is not None:
                    _end(flying, [reply.seq], "failed", reply.code)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            if not self._leaving:
                _end(flying, list(flying), "cut")

    async def _send(self, stream: Stream, flying: dict[int, Shot]) -> None:
        seq = 0
        due_s = time.monotonic()
        while True:
            due_s = max(due_s + 1.0 / self._fps, time.monotonic() - 1.0)
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            shot = Shot(time.monotonic())
            self.shots.append(shot)
            flying[seq] = shot
            with suppress(ClientError):  # The reader finds out.
                await stream.send_frame(self._clip[len(self.shots) % len(self._clip)])
            seq += 1


def _end(flying: dict[int, Shot], seqs: Iterable[int], fate: str, code: str = "") -> None:
    now_s = time.monotonic()
    for seq in seqs:
        shot = flying.pop(seq, None)
        if shot:
            shot.ended_s, shot.fate, shot.code = now_s, fate, code


def shots(viewers: Iterable[Viewer]) -> list[Shot]:
    """All frames of all viewers."""
    return [shot for viewer in viewers for shot in viewer.shots]


def rate(viewers: Iterable[Viewer], fate: str, from_s: float, to_s: float) -> float:
    """Frames a second that ended so in a time."""
    count = sum(shot.fate == fate and shot.ended_s is not None and from_s <= shot.ended_s < to_s for shot in shots(viewers))
    return count / (to_s - from_s)


def offered(viewers: Iterable[Viewer], from_s: float, to_s: float) -> float:
    """Frames a second that were sent in a time."""
    return sum(from_s <= shot.sent_s < to_s for shot in shots(viewers)) / (to_s - from_s)


def fates(viewers: Iterable[Viewer], from_s: float, to_s: float) -> dict[str, int]:
    """How the frames that were sent in a time ended, by fate and the server's word."""
    sent = (shot for shot in shots(viewers) if from_s <= shot.sent_s < to_s)
    return dict(sorted(Counter(f"{shot.fate} {shot.code}".strip() for shot in sent).items()))
