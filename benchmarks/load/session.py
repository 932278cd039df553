"""How to send: one client of a kind, and a record of what became of each of its frames."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from msgspec import structs

from benchmarks.load.kinds import KINDS, SLOW_MBIT
from benchmarks.load.link import Link, Profile, open_link
from benchmarks.load.original import OriginalReply, OriginalStream, connect_original
from benchmarks.load.schedule import Schedule, next_refresh_s
from deployments.client import DEFAULT_CODECS, ClientError, Stream, connect
from deployments.stream.messages import Ack, Dropped, QualityState, Splats

SCREEN_HZ = 60.0
PING_PERIOD_S = 10.0
CONNECT_LEAD_S = 1.0
"""How long before its first frame is due a session that joins a run connects: connecting is not part of what is measured."""


@dataclass(slots=True)
class FrameRecord:
    """One frame's life, in seconds since the run's start.

    Attributes:
        due_s: When it should have been sent.
        woke_s: When this process got round to sending it; late only if this process was.
        sent_s: When the socket had taken it; None: never.
        answered_s: When its answer had arrived; None: none came before the end.
        outcome: ``unanswered``, ``delivered``, ``dropped`` or ``errored``.
        reason: The code of a drop or an error.
        sent_bytes: Size of the message it was sent in.
        reply_bytes: Size of the splats that came back.
        splats: How many there were.
        timings_ms: The server's stages.
        quality: What the server made it with: splat budget, inference px, and why it last changed them.
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
    quality: QualityState | None = None

    @property
    def age_ms(self) -> float:
        """From due to answered; NaN without an answer."""
        return math.nan if self.answered_s is None else (self.answered_s - self.due_s) * 1e3


@dataclass(frozen=True, slots=True)
class Client:
    """What all sessions of a run have in common, whatever their kinds.

    Attributes:
        url: The server's WebSocket.
        clip: JPEGs, sent in a loop.
        codecs: Codecs it takes, best first.
        options: Stream options it asks for.
        open_timeout_s: For the connection and the welcome.
        patience_s: The original protocol drops frames in silence: after so long the next one is sent, and this one stays
            unanswered.
        silence_s: How long a client that vanished keeps its connection half-open before it breaks.
        token: The server's access token, if it has one.
        profiles: Since when, in seconds since the run's start, everyone's link is like what; empty: it is direct.
    """

    url: str
    clip: Sequence[bytes]
    codecs: Sequence[str] = DEFAULT_CODECS
    options: dict[str, Any] = field(default_factory=dict)
    open_timeout_s: float = 15.0
    patience_s: float = 2.0
    silence_s: float = 0.0
    token: str | None = field(default=None, repr=False)
    profiles: Sequence[tuple[float, Profile]] = ()


class LoadSession:
    """One session of a run.

    Attributes:
        index: Its number in the run.
        kind: One of :data:`~benchmarks.load.kinds.KINDS`.
        schedule: When it sends. The original protocol's replies don't name their frame, so its sessions wait for each of them.
        frames: Every frame that fell due, in order; the index is its sequence number.
        extensions: WebSocket extensions the server agreed to.
        failure: Why it ended early; None if it did not.
        connected: Set once it is open, has failed to open, or is to join later.
    """

    def __init__(self, index: int, client: Client, schedule: Schedule, kind: str = "viewer") -> None:
        self.index = index
        self.kind = kind
        self._kind = KINDS[kind]
        self.schedule = replace(schedule, waits=True) if self._kind.is_original else schedule
        self.frames: list[FrameRecord] = []
        self.extensions: list[str] = []
        self.failure: ClientError | None = None
        self.connected = asyncio.Event()
        self._client = client
        self._start_s = 0.0
        self._unanswered = 0
        self._idle_since_s: float | None = schedule.join_s
        self._answered = asyncio.Event()
        self._link: Link | None = None
        self._to_show: list[tuple[Ack, float]] = []
        self._arrived = asyncio.Event()

    async def run(self, start: "asyncio.Future[float]", drain_s: float) -> None:
        """Connect, wait for ``start`` (a time on the monotonic clock), send on schedule, take the last answers, close."""
        try:
            if self.schedule.join_s:
                self.connected.set()
                self._start_s = await start
                await asyncio.sleep(self.schedule.join_s - CONNECT_LEAD_S - self._now_s())
            async with self._open() as stream:
                self.extensions = list(stream.extensions)
                self.connected.set()
                self._start_s = await start
                await self.converse(stream, 0.0 if self._kind.link == "stops" else drain_s)
        except ClientError as error:
            self.failure = error
        finally:
            self.connected.set()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Stream | OriginalStream]:
        client, url = self._client, self._client.url
        async with AsyncExitStack() as stack:
            if client.profiles or self._kind.link != "direct":
                narrow = Profile(SLOW_MBIT) if self._kind.link == "narrow" else Profile()
                at_first = client.profiles[0][1] if client.profiles else narrow
                self._link = await stack.enter_async_context(open_link(url, at_first))
                url = self._link.url
            if self._kind.is_original:
                opening: Any = connect_original(url, client.open_timeout_s, client.token)
            else:
                opening = connect(
                    url,
                    token=client.token,
                    codecs=client.codecs,
                    options={**client.options, **self._kind.options},
                    client=f"benchmarks.load/{self.index} {self.kind}",
                    offer_deflate=True,
                    open_timeout_s=client.open_timeout_s,
                    acknowledges=False,
                )
            stream = await stack.enter_async_context(opening)
            stack.push_async_exit(self._leave)
            yield stream

    async def _leave(self, error: type[BaseException] | None, *_: object) -> None:
        if self._link:
            if self._kind.link == "vanishes" and not error:
                self._link.stop(both_ways=True)
                await asyncio.sleep(self._client.silence_s)
            self._link.cut()  # Nobody waits for a slow goodbye.

    async def converse(self, stream: Stream | OriginalStream, drain_s: float = 0.0) -> None:
        """Send on schedule through an open stream and take the answers, the last of them for up to ``drain_s`` after the end.

        Raises:
            ClientError: The session ended before the schedule did.
        """
        reading = asyncio.ensure_future(self._read(stream))
        writing = asyncio.ensure_future(self._write(stream) if self._kind.sends else self._ping(stream))
        showing = asyncio.ensure_future(self._show(stream))
        varying = asyncio.ensure_future(self._vary_link())
        deadline_s = self.schedule.end_s + drain_s
        try:
            # A server that no longer reads may hold up the writer forever.
            await asyncio.wait({reading, writing}, timeout=deadline_s - self._now_s(), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
                raise ClientError("closed", "The server closed the session before the run was over")
            if writing.done():
                if writing.exception():
                    # The reader may still find out why.
                    await asyncio.wait({reading}, timeout=1.0)
                    if reading.done():
                        reading.result()
                writing.result()
            while self._unanswered and not reading.done() and self._now_s() < deadline_s:
                self._answered.clear()
                waiting = asyncio.ensure_future(self._answered.wait())
                await asyncio.wait({reading, waiting}, timeout=deadline_s - self._now_s(), return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
            if reading.done():
                reading.result()
        finally:
            for task in (reading, writing, showing, varying):
                task.cancel()
            await asyncio.gather(reading, writing, showing, varying, return_exceptions=True)

    async def _vary_link(self) -> None:
        for from_s, profile in self._client.profiles:
            await asyncio.sleep(from_s - self._now_s())
            assert self._link
            self._link.profile = profile

    async def _ping(self, stream: Stream | OriginalStream) -> None:
        assert isinstance(stream, Stream)
        while (left_s := self.schedule.end_s - self._now_s()) > 0:
            await stream.ping()
            await asyncio.sleep(min(PING_PERIOD_S, left_s))

    async def _write(self, stream: Stream | OriginalStream) -> None:
        clip, schedule = self._client.clip, self.schedule
        # Sessions show different moments of the clip: a picture they shared could be cached somewhere.
        offset = self.index * len(clip) // 7
        index = 0
        while True:
            self._answered.clear()
            due_s = schedule.due_s(index, self._idle_since_s)
            if due_s is None:
                await self._wait_for_an_answer()
                continue
            if due_s >= schedule.end_s:
                return
            late_s = self._now_s() - due_s
            if late_s < 0:
                await asyncio.sleep(-late_s)
            # If the socket was slow to take the frame before, it is the server's fault that this one is late, not ours.
            frame = FrameRecord(due_s, self._now_s() if late_s < 0 else due_s)
            self.frames.append(frame)
            self._unanswered += 1
            self._idle_since_s = None
            before = stream.bytes_sent
            jpeg = clip[(index + offset) % len(clip)]
            if self._kind.breaks_every and index % self._kind.breaks_every == self._kind.breaks_every - 1:
                jpeg = jpeg[: len(jpeg) // 2]
            await stream.send_frame(jpeg, captured_ms=(self._start_s + due_s) * 1e3)
            frame.sent_s, frame.sent_bytes = self._now_s(), stream.bytes_sent - before
            index += 1

    async def _wait_for_an_answer(self) -> None:
        if not self._kind.is_original:
            await self._answered.wait()
            return
        with suppress(asyncio.TimeoutError, TimeoutError):
            await asyncio.wait_for(self._answered.wait(), self._client.patience_s)
            return
        self._unanswered, self._idle_since_s = 0, self._now_s()

    async def _read(self, stream: Stream | OriginalStream) -> None:
        async for reply in stream:
            if isinstance(reply, Splats):
                self._take(reply)
            elif self._kind.is_original and not self._unanswered:
                pass  # It answers a frame that was given up.
            elif isinstance(reply, OriginalReply):
                frame = self._settle(len(self.frames) - 1, "delivered")
                frame.reply_bytes, frame.splats = reply.size, reply.count
            elif isinstance(reply, Dropped):
                # A notice names at most the newest 64; the others are the unanswered ones right below them.
                first = min(reply.seqs, default=len(self.frames))
                older = [seq for seq in range(first - 1, -1, -1) if self.frames[seq].outcome == "unanswered"]
                for seq in (*reply.seqs, *older[: reply.count - len(reply.seqs)]):
                    self._settle(seq, "dropped", reply.code)
            elif reply.seq is None and not self._kind.is_original:
                raise ClientError(reply.code, reply.message)
            else:
                self._settle(len(self.frames) - 1 if reply.seq is None else reply.seq, "errored", reply.code)

    def _take(self, reply: Splats) -> None:
        frame = self._settle(reply.seq, "delivered")
        frame.reply_bytes, frame.splats, frame.timings_ms = len(reply.data), reply.count, reply.timings_ms
        frame.quality = reply.quality
        if self._kind.link == "stops":
            assert self._link
            self._link.stop()
            return
        now_ms = time.monotonic() * 1e3
        self._to_show.append((Ack(reply.seq, now_ms, now_ms), reply.captured_ms))  # Nothing is decoded here, so that took no time.
        self._arrived.set()

    async def _show(self, stream: Stream | OriginalStream) -> None:
        """Acknowledge at the screen's next refresh: the newest reply as shown, and those it overtook as not."""
        phase_s = self.index / (7 * SCREEN_HZ)
        while isinstance(stream, Stream):
            await self._arrived.wait()
            now_s = time.monotonic()
            await asyncio.sleep(next_refresh_s(now_s, SCREEN_HZ, phase_s) - now_s)
            acks, self._to_show = self._to_show, []
            self._arrived.clear()
            shown_ms = time.monotonic() * 1e3
            *overtaken, (newest, captured_ms) = acks
            with suppress(ClientError):  # The reader will find out.
                for ack, _ in overtaken:
                    await stream.acknowledge(ack)
                await stream.acknowledge(structs.replace(newest, shown_ms=shown_ms, age_ms=shown_ms - captured_ms))

    def _settle(self, seq: int, outcome: str, reason: str = "") -> FrameRecord:
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
