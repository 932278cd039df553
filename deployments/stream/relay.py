"""What a relay replica knows: for each room that is pinned to it, the ingress replicas that take part. Pure.

An ingress replica subscribes to a room once, however many of its sessions are in there, and is told of the frames and of who is
there by way of the others. Invariants: of each camera only the newest frame waits for a subscriber, so a slow one costs one frame
of each; no frame is kept once it is taken; a subscriber from whom nothing was heard for :data:`SILENT_S` is gone.

Everything here can be lost: subscribers come back by themselves, and say again who is there.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from deployments.stream.errors import ServerFull
from deployments.stream.room_news import Attendance, RoomFrame, RoomNews
from deployments.stream.synchroniser import View

ANNOUNCE_S = 2.0
"""A subscriber says at least so often who is there."""
SILENT_S = 3 * ANNOUNCE_S
_TICK_S = 1.0


@dataclass(eq=False, slots=True)
class Subscription:
    """One ingress replica's part in one room.

    Attributes:
        wake: Called when there is something to take; set by whoever waits.
        is_over: Whether it was replaced by a newer one of the same replica, or forgotten.
    """

    room: str
    replica: str
    attendance: Attendance
    heard_s: float
    wake: Callable[[], None] = lambda: None
    is_over: bool = False
    _changed: bool = True
    _closed: bool = False
    _frames: dict[str, RoomFrame] = field(default_factory=dict)
    _views: dict[str, View] = field(default_factory=dict)

    def has_news(self) -> bool:
        """Whether :meth:`Hub.take` has something for it."""
        return self._changed or self._closed or bool(self._frames) or bool(self._views)


class Hub:
    """See the module's docstring. All times are seconds of one clock that the shell passes in."""

    def __init__(self, max_rooms: int) -> None:
        self._max_rooms = max_rooms
        self._rooms: dict[str, dict[str, Subscription]] = {}
        self._ticked_s = -math.inf

    def __len__(self) -> int:
        return len(self._rooms)

    def subscribe(self, room: str, replica: str, attendance: Attendance, now_s: float) -> Subscription:
        """Take part in a room, in place of whatever the replica had there before.

        Raises:
            ServerFull: There are too many rooms.
        """
        subscribers = self._rooms.get(room)
        if subscribers is None:
            if len(self._rooms) >= self._max_rooms:
                raise ServerFull(self._max_rooms, "rooms")
            subscribers = self._rooms[room] = {}
        if before := subscribers.pop(replica, None):
            self._end(before)
        subscription = subscribers[replica] = Subscription(room, replica, attendance, now_s)
        self._tell_others(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Take part no more."""
        subscribers = self._rooms.get(subscription.room, {})
        if subscribers.get(subscription.replica) is subscription:
            del subscribers[subscription.replica]
            if not subscribers:
                del self._rooms[subscription.room]
            self._tell_others(subscription)
        self._end(subscription)

    def announce(self, room: str, replica: str, attendance: Attendance, now_s: float) -> bool:
        """A subscriber says who is there. False: it is none here, and should subscribe anew."""
        subscription = self._rooms.get(room, {}).get(replica)
        if subscription is None:
            return False
        self._heard(subscription, now_s)
        if attendance != subscription.attendance:
            subscription.attendance = attendance
            self._tell_others(subscription)
        return True

    def publish(self, room: str, replica: str, frame: RoomFrame, now_s: float) -> bool:
        """A frame for all other subscribers. False: the replica is none here, and should subscribe anew."""
        subscribers = self._rooms.get(room, {})
        if replica not in subscribers:
            return False
        self._heard(subscribers[replica], now_s)
        for other in subscribers.values():
            if other.replica != replica:
                other._frames[frame.camera] = frame
                other.wake()
        return True

    def film(self, room: str, replica: str, to: str, view: View, now_s: float) -> bool:
        """A frame for the joint capture at the subscriber ``to``. False: the replica is none here, and should subscribe anew."""
        subscribers = self._rooms.get(room, {})
        if replica not in subscribers:
            return False
        self._heard(subscribers[replica], now_s)
        if other := subscribers.get(to):
            other._views[view.camera_id] = view
            other.wake()
        return True

    def take(self, subscription: Subscription) -> RoomNews:
        """What the subscriber has not been told yet."""
        others: dict[str, Attendance] | None = None
        if subscription._changed:
            subscription._changed = False
            subscribers = self._rooms.get(subscription.room, {})
            others = {other.replica: other.attendance for other in subscribers.values() if other is not subscription}
        frames, subscription._frames = tuple(subscription._frames.values()), {}
        views, subscription._views = tuple(subscription._views.values()), {}
        return RoomNews(others, frames, subscription._closed, views)

    def close(self, room: str, replica: str) -> None:
        """A subscriber's owner has closed the room."""
        for other in self._rooms.get(room, {}).values():
            if other.replica != replica:
                other._closed = True
                other.wake()

    def tick(self, now_s: float) -> None:
        """Forget subscribers that have fallen silent; to be called every few seconds where nobody says anything."""
        self._ticked_s = now_s
        for subscribers in list(self._rooms.values()):
            for subscription in list(subscribers.values()):
                if now_s - subscription.heard_s > SILENT_S:
                    self.unsubscribe(subscription)

    def _heard(self, subscription: Subscription, now_s: float) -> None:
        subscription.heard_s = now_s
        if now_s - self._ticked_s >= _TICK_S:  # Those who are there must be told of those who are not, however much they say.
            self.tick(now_s)

    def _end(self, subscription: Subscription) -> None:
        subscription.is_over = True
        subscription._frames.clear()
        subscription._views.clear()
        subscription.wake()

    def _tell_others(self, about: Subscription) -> None:
        for other in self._rooms.get(about.room, {}).values():
            if other is not about:
                other._changed = True
                other.wake()
