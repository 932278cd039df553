"""A session's frames that it has handed to its room's joint capture, until each is answered. Pure.

Of the origin's, each waits for the moment that it is part of: it is in the capture then, and older ones are superseded. Those of
the other cameras went to the room once they are handed over, and are receipted at once, whatever the graph is doing: they must
keep coming, so that there is one near whatever moment the origin's next frame is of. Only the newest of a client that wants splats
waits: the next world that comes is the answer to it.

Invariants: every frame is answered once; at most :data:`MOST_WAITING` wait.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

MOST_WAITING = 16
"""Of the origin's; more than the synchroniser keeps of a camera."""
_LONGEST_S = 1.0
"""No longer does a frame wait for a world: the graph may fail, and a client with one frame at a time would send no other."""


class Handed(NamedTuple):
    """A frame that was handed over.

    Attributes:
        seq: The client's number.
        captured_ms: The client's time of capture, to be echoed.
        captured_s: The same by the room's clock, by which it is known there.
        arrived_s: When it arrived, on the session's clock.
    """

    seq: int
    captured_ms: float
    captured_s: float
    arrived_s: float


class HandedFrames:
    """See the module's docstring."""

    def __init__(self, superseded: Callable[[int], None], went: Callable[[Handed], None]) -> None:
        """None yet.

        Args:
            superseded: Answers that a newer frame took its place.
            went: Answers that the frame went to the room.
        """
        self._superseded, self._went = superseded, went
        self._origins: deque[Handed] = deque()
        self._last_s = -math.inf
        self._newest: Handed | None = None

    @property
    def waits_for_moment(self) -> bool:
        """Whether a frame of the origin's waits for its moment."""
        return bool(self._origins)

    @property
    def waits_for_world(self) -> bool:
        """Whether a frame waits to be answered with the room's next world."""
        return self._newest is not None

    def await_moment(self, frame: Handed) -> bool:
        """As the origin: it waits for its moment. False: it was captured no later than another, and there will be none."""
        if frame.captured_s <= self._last_s:
            self._superseded(frame.seq)
            return False
        self._last_s = frame.captured_s
        self._origins.append(frame)
        if len(self._origins) > MOST_WAITING:
            self._superseded(self._origins.popleft().seq)
        return True

    def chosen(self, captured_s: float) -> Handed | None:
        """As the origin: the frame is part of a moment, and those before it will be of none. None: it is no longer here."""
        while self._origins and self._origins[0].captured_s <= captured_s:
            frame = self._origins.popleft()
            if frame.captured_s == captured_s:
                return frame
            self._superseded(frame.seq)
        return None

    def hand(self, frame: Handed, wants_world: bool) -> None:
        """As another camera: it goes to the room."""
        self.settle()
        if wants_world:
            self._newest = frame
        else:
            self._went(frame)

    def answer(self) -> Handed:
        """The frame that the world which goes out now is the answer to."""
        assert self._newest is not None
        frame, self._newest = self._newest, None
        return frame

    def settle(self, unless_after_s: float = math.inf) -> None:
        """Whatever waits for a world, and arrived before then, waits no longer."""
        if self._newest and self._newest.arrived_s <= unless_after_s:
            frame, self._newest = self._newest, None
            self._went(frame)

    def settle_old(self, now_s: float) -> None:
        """To be called every few seconds."""
        self.settle(now_s - _LONGEST_S)

    def clear(self) -> None:
        """Forget everything that waits: nobody needs an answer any more."""
        self._origins.clear()
        self._newest = None

    def give_up(self) -> None:
        """As the origin: there will be no moment for what waits."""
        while self._origins:
            self._superseded(self._origins.popleft().seq)
