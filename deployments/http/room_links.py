"""Keeps the rooms of one ingress replica linked with those of the others, and has renditions made. Asyncio around
:mod:`deployments.stream.rooms`; no Ray.

One task a room subscribes at the relay, says who is here, and subscribes again whenever that breaks: what is lost with a relay is
frames, not rooms. Without a relay each ingress replica has rooms of its own, which is all there is where there is one replica.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import copy_context
from typing import Any, Protocol

from deployments.http.admitted import AdmittedPipeline
from deployments.pipeline import Overloaded
from deployments.stream.frames import PackedFrame
from deployments.stream.logs import Seldom
from deployments.stream.relay import ANNOUNCE_S
from deployments.stream.room_ends import Link
from deployments.stream.room_news import Attendance, Rendition, RoomFrame, RoomNews
from deployments.stream.rooms import Room, Rooms
from deployments.stream.synchroniser import View

logger = logging.getLogger("ray.serve.splatcast")

_TICK_S = 1.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 1.0
"""Before subscribing again; a lost relay replica is back, or its rooms are at another, within seconds."""
_REPORT_PERIOD_S = 5.0


class RelayClient(Protocol):
    """The relay as the ingress sees it. In production it wraps a Serve handle; in tests, a hub in this process."""

    def subscribe(self, room: str, replica: str, attendance: Attendance) -> AsyncIterator[RoomNews]:
        """What happens in the room by way of others."""
        ...

    async def end(self, subscription: AsyncIterator[RoomNews]) -> None:
        """Hear no more; never raises."""
        ...

    async def announce(self, room: str, replica: str, attendance: Attendance) -> bool:
        """Who is here. False: there is no subscription of ours any more."""
        ...

    async def publish(self, room: str, replica: str, frame: RoomFrame) -> bool:
        """A frame for the others. False: likewise."""
        ...

    async def film(self, room: str, replica: str, to: str, view: View) -> bool:
        """A frame for the joint capture at the replica ``to``. False: likewise."""
        ...

    async def close(self, room: str, replica: str) -> None:
        """The owner has closed the room."""
        ...


class RoomLinks:
    """Serves a replica's rooms with what they ask for; see the module's docstring."""

    def __init__(self, rooms: Rooms, pipeline: AdmittedPipeline, relay: RelayClient | None, replica: str) -> None:
        """Take care of ``rooms`` from now on.

        Args:
            rooms: The replica's; its callables are set.
            pipeline: Makes renditions.
            relay: Leads to the other replicas; None: there are none.
            replica: This replica's name, unique among them.
        """
        self._rooms = rooms
        self._pipeline = pipeline
        self._relay = relay
        self._replica = replica
        self._links: dict[str, _RelayLink] = {}
        self._ticking: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._troubles = Seldom(_REPORT_PERIOD_S)
        # Serve's request of whoever entered first is in the caller's: calls made from there would end with that client's session.
        self._context = copy_context()
        rooms.opened, rooms.ended, rooms.recode, rooms.later = self._opened, self._ended, self._recode, self._later

    def _opened(self, room: Room) -> None:
        if self._ticking is None or self._ticking.done():
            self._ticking = self.start(self._tick())
        if self._relay is not None:
            link = self._links[room.id] = _RelayLink(room, self._relay, self._replica, self)
            room.link = link

    def _ended(self, room: Room) -> None:
        if link := self._links.pop(room.id, None):
            link.end()

    def _recode(self, room: Room, frame: RoomFrame, rendition: Rendition) -> None:
        async def make() -> None:
            made: PackedFrame | None = None
            try:
                outcome = await self._pipeline.recode(frame.packed, rendition)
                made = outcome if isinstance(outcome, PackedFrame) else None
            except Overloaded:
                pass  # The next frame has another chance.
            except Exception as error:
                self.trouble("no %s for the viewers of a room", rendition.codec, error)
            finally:
                room.recoded(frame, rendition, made)

        self.start(make())

    def _later(self, at_s: float, call: Callable[[float], None]) -> None:
        wait_s = max(0.0, at_s - time.monotonic())
        self._context.run(asyncio.get_running_loop().call_later, wait_s, lambda: call(time.monotonic()))

    async def _tick(self) -> None:
        while len(self._rooms):
            await asyncio.sleep(_TICK_S)
            self._rooms.tick(time.monotonic())

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something that belongs to no client's request."""
        task: asyncio.Task[None] = self._context.run(asyncio.ensure_future, work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def trouble(self, text: str, what: str, error: BaseException) -> None:
        """Log a line, a few seconds apart, however often it happens."""
        if count := self._troubles.count():
            logger.warning(f"{text}: %s: %.300s", what, type(error).__name__, error, extra={"times": count})


class _RelayLink(Link):
    """One room's link. Of each camera, and of the attendance, only the newest waits while a call is under way."""

    def __init__(self, room: Room, relay: RelayClient, replica: str, links: RoomLinks) -> None:
        self._room, self._relay, self._replica, self._links = room, relay, replica, links
        self._frames: dict[str, RoomFrame] = {}
        self._views: dict[str, tuple[str, View]] = {}
        self._attendance: Attendance | None = None
        self._woken = asyncio.Event()
        self._subscribed, self._broken = asyncio.Event(), asyncio.Event()
        self._tasks = [links.start(self._listen()), links.start(self._speak())]

    def announce(self, attendance: Attendance) -> None:
        """See :class:`~deployments.stream.room_ends.Link`."""
        self._attendance = attendance
        self._woken.set()

    def publish(self, frame: RoomFrame) -> None:
        """See :class:`~deployments.stream.room_ends.Link`."""
        self._frames[frame.camera] = frame
        self._woken.set()

    def film(self, replica: str, view: View) -> None:
        """See :class:`~deployments.stream.room_ends.Link`."""
        self._views[view.camera_id] = replica, view
        self._woken.set()

    def close(self) -> None:
        """See :class:`~deployments.stream.room_ends.Link`."""
        self._links.start(self._close())

    def end(self) -> None:
        """Nobody is here any more."""
        for task in self._tasks:
            task.cancel()

    async def _close(self) -> None:
        try:
            await self._relay.close(self._room.id, self._replica)
        except Exception as error:
            self._links.trouble("closing room %s", self._room.id, error)

    async def _listen(self) -> None:
        wait_s = _FIRST_WAIT_S
        while True:
            self._subscribed.clear()
            self._broken.clear()
            try:
                await self._follow()
            except Exception as error:
                self._links.trouble("the relay of room %s", self._room.id, error)
            wait_s = _FIRST_WAIT_S if self._subscribed.is_set() else min(2 * wait_s, _LONGEST_WAIT_S)
            self._subscribed.clear()
            await asyncio.sleep(wait_s)

    async def _follow(self) -> None:
        """Hear the others until it breaks."""
        stream = self._relay.subscribe(self._room.id, self._replica, self._room.attendance)
        broken = asyncio.ensure_future(self._broken.wait())
        coming: asyncio.Future[RoomNews] | None = None
        try:
            while True:
                coming = asyncio.ensure_future(anext(stream))
                coming.add_done_callback(_forget_error)
                await asyncio.wait({coming, broken}, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    return
                news = coming.result()
                self._subscribed.set()
                if news.closed:
                    self._room.closed()
                    return
                self._room.news(news.others, news.frames)
                for view in news.views:
                    self._room.filmed(view, time.monotonic())
        except StopAsyncIteration:
            pass  # A newer subscription of this replica took its place, or the relay stops.
        finally:
            broken.cancel()
            if coming:
                coming.cancel()
            await self._relay.end(stream)

    async def _speak(self) -> None:
        while True:
            await self._subscribed.wait()
            self._woken.clear()
            attendance, frames, views = self._attendance, self._frames, self._views
            self._attendance, self._frames, self._views = None, {}, {}
            try:
                if attendance and not await self._relay.announce(self._room.id, self._replica, attendance):
                    self._broken.set()
                for frame in frames.values():
                    if not await self._relay.publish(self._room.id, self._replica, frame):
                        self._broken.set()
                for to, view in views.values():
                    if not await self._relay.film(self._room.id, self._replica, to, view):
                        self._broken.set()
            except Exception as error:
                self._broken.set()
                self._links.trouble("the relay of room %s", self._room.id, error)
                await asyncio.sleep(_FIRST_WAIT_S)
            try:
                await asyncio.wait_for(self._woken.wait(), ANNOUNCE_S)
            except asyncio.TimeoutError:
                self._attendance = self._room.attendance  # A relay that lost it, or took it for dead, has it again.


def _forget_error(coming: asyncio.Future[RoomNews]) -> None:
    # Where the link ends, nobody waits for the news any more: what ending the call raises in it would be logged as a defect.
    if not coming.cancelled():
        coming.exception()
