"""Relay: what one ingress replica's cameras show, for the viewers on the others.

A room is pinned to one replica by its id (Serve's consistent-hash router), where each ingress replica that has members of the room
subscribes once. Who is on the same ingress replica as the camera needs none of this.
"""

import asyncio
import time
from collections.abc import AsyncIterator

from ray import serve

from deployments.stream.relay import ANNOUNCE_S, Hub
from deployments.stream.room_limits import RoomLimits
from deployments.stream.room_news import Attendance, RoomFrame, RoomNews
from deployments.stream.synchroniser import View


@serve.deployment
class Relay:
    """Passes on frames and attendance between ingress replicas. Keeps nothing that its subscribers don't say again."""

    def __init__(self, limits: RoomLimits) -> None:
        self._hub = Hub(limits.max_rooms)

    async def subscribe(self, room: str, replica: str, attendance: Attendance) -> AsyncIterator[RoomNews]:
        """What happens in a room by way of other ingress replicas, as it happens; ends when a newer call takes its place.

        Raises:
            ServerFull: There are too many rooms.
        """
        woken = asyncio.Event()
        subscription = self._hub.subscribe(room, replica, attendance, time.monotonic())
        subscription.wake = woken.set
        try:
            while not subscription.is_over:
                if subscription.has_news():
                    yield self._hub.take(subscription)
                    continue
                woken.clear()
                try:
                    await asyncio.wait_for(woken.wait(), ANNOUNCE_S)
                except asyncio.TimeoutError:
                    self._hub.tick(time.monotonic())
        finally:
            self._hub.unsubscribe(subscription)

    async def announce(self, room: str, replica: str, attendance: Attendance) -> bool:
        """Who is in the room by way of an ingress replica. False: it is not subscribed here, and should do so anew."""
        return self._hub.announce(room, replica, attendance, time.monotonic())

    async def publish(self, room: str, replica: str, frame: RoomFrame) -> bool:
        """A frame of a camera there. False: it is not subscribed here, and should do so anew."""
        return self._hub.publish(room, replica, frame, time.monotonic())

    async def film(self, room: str, replica: str, to: str, view: View) -> bool:
        """A camera's frame for the joint capture at ``to``. False: the sender is not subscribed here, and should do so anew."""
        return self._hub.film(room, replica, to, view, time.monotonic())

    async def close(self, room: str, replica: str) -> None:
        """The room's owner, who is there, has closed it."""
        self._hub.close(room, replica)
