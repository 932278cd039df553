"""How to send: one client that behaves as the viewer does, and a record of what became of each of its frames."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.load.schedule import Schedule
from deployments.client import ClientError, Stream, connect
from deployments.stream.messages import Dropped, Error, Splats


@dataclass(slots=True)
class FrameRecord:
    """One frame's life, in seconds since the run's start.

    Attributes:
        due_s: When it should have been sent.
        woke_s: When this process got to sending it; late only if this process was.
        sent_s: When the socket had taken it; None: never.
        answered_s: When its answer was here; None: none came before the end.
        outcome: ``unanswered``, ``delivered``, ``dropped`` or ``errored``.
        reason: The code of a drop or an error.
        sent_bytes: The message it was sent in.
        reply_bytes: Payload of the splats it got.
        splats: How many there were.
        timings_ms: The server's stages.
    """

    due_s: float
    woke_s: float
    sent_s: float | None = None
    answered_s: float | None = None
    outcome: str = "unanswered"
    reason: str = ""
    sent_bytes: int = 0
    reply_bytes: int = 0
    splats: int = 0
    timings_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Client:
    """What a session is to be.

    Attributes:
        url: The server's WebSocket.
        clip: JPEGs, sent in a loop.
        codecs: Codecs it takes, best first.
        options: Stream options it asks for.
        offer_deflate: Offer permessage-deflate, as browsers do.
        open_timeout_s: For the connection and the welcome.
    """

    url: str
    clip: Sequence[bytes]
    codecs: Sequence[str]
    options: dict[str, Any]
    offer_deflate: bool = True
    open_timeout_s: float = 15.0


class LoadSession:
    """One session of a run.

    Attributes:
        index: Its number in the run.
        frames: Every frame that fell due, in order; the index is its sequence number.
        extensions: WebSocket extensions the server agreed to.
        failure: Why it ended before its time; None if it did not.
        connected: Set once it is open, or has failed to open.
    """

    def __init__(self, index: int, client: Client, schedule: Schedule) -> None:
        self.schedule = schedule
        self.frames: list[FrameRecord] = []
        self.extensions: list[str] = []
        self.failure: ClientError | None = None
        self.connected = asyncio.Event()
        self.index = index
        self._client = client
        self._start_s = 0.0
        self._unanswered = 0
        self._idle_since_s: float | None = 0.0
        self._answered = asyncio.Event()

    async def run(self, start: "asyncio.Future[float]", drain_s: float) -> None:
        """Connect, wait for ``start`` (a time of the monotonic clock), send by the schedule, take the last answers, close."""
        client = self._client
        try:
            async with connect(
                client.url,
                codecs=client.codecs,
                options=client.options,
                client=f"benchmarks.load/{self.index}",
                offer_deflate=client.offer_deflate,
                open_timeout_s=client.open_timeout_s,
            ) as stream:
                self.extensions = stream.extensions
                self.connected.set()
                self._start_s = await start
                await self._converse(stream, drain_s)
        except ClientError as error:
            self.failure = error
        finally:
            self.connected.set()

    async def _converse(self, stream: Stream, drain_s: float) -> None:
        reading = asyncio.ensure_future(self._read(stream))
        writing = asyncio.ensure_future(self._write(stream))
        try:
            await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
                raise ClientError("closed", "The server closed the session before the run was over")
            if writing.exception():
                # The reader may still find out why.
                await asyncio.wait({reading}, timeout=1.0)
                if reading.done():
                    reading.result()
            writing.result()
            deadline_s = self.schedule.end_s + drain_s
            while self._unanswered and not reading.done() and self._now_s() < deadline_s:
                self._answered.clear()
                waiting = asyncio.ensure_future(self._answered.wait())
                await asyncio.wait({reading, waiting}, timeout=deadline_s - self._now_s(), return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
            if reading.done():
                reading.result()
        finally:
            for task in (reading, writing):
                task.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)

    async def _write(self, stream: Stream) -> None:
        clip, schedule = self._client.clip, self.schedule
        # Sessions show different moments of the clip: one shared picture could be cached somewhere.
        offset = self.index * len(clip) // 7
        index = 0
        while True:
            self._answered.clear()
            due_s = schedule.due_s(index, self._idle_since_s)
            if due_s is None:
                await self._answered.wait()
                continue
            if due_s >= schedule.end_s:
                return
            late_s = self._now_s() - due_s
            if late_s < 0:
                await asyncio.sleep(-late_s)
            # Where the socket was slow to take the frame before, this one is late for the server's sake, not for ours.
            frame = FrameRecord(due_s, self._now_s() if late_s < 0 else due_s)
            self.frames.append(frame)
            self._unanswered += 1
            self._idle_since_s = None
            before = stream.bytes_sent
            await stream.send_frame(clip[(index + offset) % len(clip)], captured_ms=(self._start_s + due_s) * 1e3)
            frame.sent_s, frame.sent_bytes = self._now_s(), stream.bytes_sent - before
            index += 1

    async def _read(self, stream: Stream) -> None:
        async for reply in stream:
            if isinstance(reply, Splats):
                frame = self._settle(reply.seq, "delivered")
                if frame:
                    frame.reply_bytes, frame.splats, frame.timings_ms = len(reply.data), reply.count, reply.timings_ms
            elif isinstance(reply, Dropped):
                # A notice names the newest 64 at most; the rest are unanswered ones right below them.
                first = min(reply.seqs, default=len(self.frames))
                older = [seq for seq in range(first - 1, -1, -1) if self.frames[seq].outcome == "unanswered"]
                for seq in (*reply.seqs, *older[: reply.count - len(reply.seqs)]):
                    self._settle(seq, "dropped", reply.code)
            elif isinstance(reply, Error):
                if reply.seq is None:
                    raise ClientError(reply.code, reply.message)
                self._settle(reply.seq, "errored", reply.code)

    def _settle(self, seq: int, outcome: str, reason: str = "") -> FrameRecord | None:
        if not 0 <= seq < len(self.frames) or self.frames[seq].outcome != "unanswered":
            raise ClientError("answered_twice", f"The server answered frame {seq} ({outcome} {reason}), which nobody waits for")
        frame = self.frames[seq]
        frame.outcome, frame.reason, frame.answered_s = outcome, reason, self._now_s()
        self._unanswered -= 1
        if not self._unanswered:
            self._idle_since_s = frame.answered_s
        self._answered.set()
        return frame

    def _now_s(self) -> float:
        return time.monotonic() - self._start_s
