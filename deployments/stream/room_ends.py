"""What a room speaks to: the sessions in it, and the other ingress replicas."""

from typing import Protocol

from deployments.stream.errors import StreamError
from deployments.stream.joint_capture import Origin
from deployments.stream.room_news import Attendance, Rendition, RoomFrame
from deployments.stream.synchroniser import View


class Listener(Origin, Protocol):
    """What a room tells a session. None of it may call back into the room."""

    def room_changed(self) -> None:
        """Who is there has changed."""

    def room_frame(self, frame: RoomFrame) -> None:
        """There is something new to see, in the rendition that was asked for."""

    def room_left(self, why: StreamError) -> None:
        """The session is no longer in the room."""

    def rendition_for(self, frame: RoomFrame) -> Rendition | None:
        """What it needs a frame as; None: it can make nothing of it."""


class Link:
    """Where a room says what the other ingress replicas must know. This one leads nowhere: there are no others."""

    def announce(self, attendance: Attendance) -> None:
        """Who is here has changed."""

    def publish(self, frame: RoomFrame) -> None:
        """A camera that is here has something new."""

    def film(self, replica: str, view: View) -> None:
        """A camera that is here has a frame for the joint capture at that replica."""

    def close(self) -> None:
        """The owner has closed the room."""
