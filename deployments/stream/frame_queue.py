"""One session's frames between their arrival and their reply. Pure.

Invariants: only the newest frame waits; results leave in order of arrival; at most one result waits.
"""

from dataclasses import dataclass
from typing import NamedTuple

from deployments.stream.frames import Capture, PackedFrame
from deployments.stream.quality import Setting


@dataclass(slots=True)
class Frame:
    """A frame on its way.

    Attributes:
        ticket: Our own count: a client's ``seq`` may have gaps, and the original protocol has none.
        seq: The client's number; None for a bare image of the original protocol.
        captured_ms: The client's time of capture, to be echoed.
        capture: What the graph gets.
        arrived_s: When it arrived.
        receive_ms: How long reading its message took.
        held_until_s: Until then it waited for the client to take earlier replies, not for the graph.
        setting: The quality it is made with.
        is_rooms: Whether it is made of other cameras' frames, and nobody waits for an answer.
    """

    ticket: int
    seq: int | None
    captured_ms: float
    capture: Capture
    arrived_s: float
    receive_ms: float = 0.0
    held_until_s: float = 0.0
    setting: Setting | None = None
    is_rooms: bool = False


class Result(NamedTuple):
    """A frame that the graph has finished, and when."""

    frame: Frame
    packed: PackedFrame
    ready_s: float


class FrameQueue:
    """Holds a session's waiting frame, its frames in the graph and its waiting result.

    Attributes:
        waiting: The newest frame, until the graph takes it.
        result: The newest result, until it is sent.
    """

    def __init__(self, session_id: str) -> None:
        self.waiting: Frame | None = None
        self.result: Result | None = None
        self._session_id = session_id
        self._tickets = 0
        self._in_flight: dict[int, Frame] = {}
        self._last_ticket_out = -1
        self._state = b""
        self._state_ticket = -1

    @property
    def in_flight(self) -> int:
        """Frames in the graph."""
        return len(self._in_flight)

    def arrive(self, seq: int | None, captured_ms: float, capture: Capture, now_s: float, is_rooms: bool = False) -> None:
        """A frame arrived: it waits, replacing any other that does."""
        capture.request.frame_id, capture.request.arrived_s = f"{self._session_id}/{self._tickets}", now_s
        self.waiting = Frame(self._tickets, seq, captured_ms, capture, now_s, is_rooms=is_rooms)
        self._tickets += 1

    def start(self) -> Frame:
        """Move the waiting frame into the graph, with the newest state: the state at its arrival was a round older."""
        frame = self.waiting
        assert frame is not None
        self.waiting = None
        frame.capture.request.state = self._state
        self._in_flight[frame.ticket] = frame
        return frame

    def finish(self, ticket: int) -> Frame:
        """The graph has finished a frame."""
        return self._in_flight.pop(ticket)

    def offer(self, result: Result) -> tuple[str, Frame] | None:
        """Keep a result if it is the newest.

        Returns:
            The reason and the frame, this one or an earlier one, if one is dropped; else None.
        """
        ticket, before = result.frame.ticket, self.result
        if ticket > self._state_ticket:
            self._state, self._state_ticket = result.packed.request.state, ticket
        if ticket < (before.frame.ticket if before else self._last_ticket_out):
            return "stale", result.frame
        self.result = result
        return ("slow_client", before.frame) if before else None

    def take_result(self) -> Result:
        """Hand out the waiting result."""
        result = self.result
        assert result is not None
        self.result = None
        self._last_ticket_out = result.frame.ticket
        return result

    def overtaken(self) -> None:
        """The client was sent something newer than all that is here."""
        self._last_ticket_out = self._tickets

    def clear(self) -> None:
        """Forget everything that waits: nobody needs it any more."""
        self.waiting = self.result = None
