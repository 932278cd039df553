"""Cameras of a room that take part in one capture: their frames of one moment become the views of one request. Pure.

It lives in the room at the ingress replica of the *origin*, the camera that has been there longest of those that can take part. The
origin's session has the capture computed, so that admission, credits and the model's state are as for any frame of its own, and the
room sees the reply as the origin's. Everywhere else the room has one of these that does nothing.

Invariants: those of :class:`~deployments.stream.synchroniser.Synchroniser`, and: nobody is left out for being slow while the
origin's own client waits for the graph, as that client sends nothing then.
"""

from collections.abc import Callable
from typing import Protocol

from deployments.stream.room_news import RoomCamera
from deployments.stream.synchroniser import Synchroniser, View

Later = Callable[[float, Callable[[float], None]], None]
"""Calls back at a time, or a little later, with the time."""


class Origin(Protocol):
    """The origin's session, as the capture sees it. None of it may call back."""

    def waits_for_graph(self, now_s: float) -> bool:
        """Whether its client has a frame in the graph and none that waits for a moment."""

    def room_capture(self, views: tuple[View, ...], now_s: float) -> None:
        """These are of one moment: have them computed. Its own is the first, unless it is left out."""

    def room_capture_over(self) -> None:
        """What it has handed in and was not asked to have computed never will be."""


def taking_part(cameras: tuple[RoomCamera, ...]) -> tuple[str, ...]:
    """The ids of those that share a capture, the origin first; empty: each is computed by itself.

    Args:
        cameras: All of the room, the longest there first.
    """
    able = [camera for camera in cameras if camera.max_views > 1 and not camera.away]
    return tuple(camera.id for camera in able[: able[0].max_views]) if len(able) > 1 else ()


class JointCapture:
    """See the module's docstring. All times are seconds since 1970.

    Attributes:
        left_out: The cameras that it goes without.
    """

    def __init__(self, later: Later, changed: Callable[[], None]) -> None:
        """Nobody takes part yet.

        Args:
            later: Sets a timer.
            changed: Called when others are left out than before.
        """
        self.left_out: tuple[str, ...] = ()
        self._later, self._changed = later, changed
        self._cameras: tuple[str, ...] = ()
        self._origin: Origin | None = None
        self._moments = Synchroniser()
        self._has_timer = False

    def between(self, cameras: tuple[str, ...], origin: Origin | None) -> None:
        """Who takes part from now on.

        Args:
            cameras: Their ids, the origin first.
            origin: Its session; None: nobody takes part, or another replica sees to it.
        """
        if origin is None:
            cameras = ()
        if (cameras, origin) == (self._cameras, self._origin):
            return
        before = self._origin
        self._cameras, self._origin = cameras, origin
        self._moments, self.left_out = Synchroniser(cameras=cameras), ()
        if before is not None:
            before.room_capture_over()

    def frame(self, view: View, now_s: float) -> None:
        """A camera has a new frame; that of one that does not take part here is nothing."""
        if view.camera_id in self._cameras:
            self._moments.frame(view.camera_id, now_s, view.captured_s, view.jpeg)
            self._ask(now_s)

    def _ask(self, now_s: float) -> None:
        origin = self._origin
        if origin is None:
            return
        if origin.waits_for_graph(now_s):
            self._moments.hold(now_s)
        if group := self._moments.next(now_s):
            origin.room_capture(group.views, now_s)
        left_out = tuple(lag.camera_id for lag in self._moments.lagging())
        if self._cameras[0] in left_out:
            origin.room_capture_over()
        due_s = self._moments.due_s
        if due_s is not None and not self._has_timer:
            self._has_timer = True
            self._later(due_s, self._time_is_up)
        if left_out != self.left_out:
            self.left_out = left_out
            self._changed()

    def _time_is_up(self, now_s: float) -> None:
        self._has_timer = False
        self._ask(now_s)
