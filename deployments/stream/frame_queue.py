"""One session's frames between their arrival and their reply. Pure.

Invariants: the newest frame waits, and only that one; results leave in rising order of arrival; one result waits at most.
"""

from dataclasses import dataclass
from typing import NamedTuple

from deployments.stream.frames import Capture, FrameRequest, PackedFrame
from deployments.stream.options import FrameOptions
from deployments.stream.quality import Setting


@dataclass(slots=True)
class Frame:
    """A frame on its way.

    Attributes:
        ticket: Our own count: a client's ``seq`` may have gaps, and the original protocol has none.
        seq: The client's number; None: a bare image of the original protocol.
        captured_ms: The client's time of it, which is echoed.
        capture: What the graph gets.
        arrived_s: When it came.
        receive_ms: What reading its message took.
        held_until_s: Until then it waited for the client to take what was sent before, and not for the graph.
        setting: What it is made with.
    """

    ticket: int
    seq: int | None
    captured_ms: float
    capture: Capture
    arrived_s: float
    receive_ms: float = 0.0
    held_until_s: float = 0.0
    setting: Setting | None = None


class Result(NamedTuple):
    """A frame that the graph is done with, and when it was."""

    frame: Frame
    packed: PackedFrame
    ready_s: float


class FrameQueue:
    """Keeps them.

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

    def arrive(self, seq: int | None, captured_ms: float, views: tuple[bytes, ...], options: FrameOptions, now_s: float) -> None:
        """A frame came: it waits, in the place of any other."""
        capture = Capture(views, FrameRequest(options, frame_id=f"{self._session_id}/{self._tickets}"))
        self.waiting = Frame(self._tickets, seq, captured_ms, capture, now_s)
        self._tickets += 1

    def start(self) -> Frame:
        """The waiting frame goes into the graph, with the newest state there is: at its arrival that was a round older."""
        frame = self.waiting
        assert frame is not None
        self.waiting = None
        frame.capture.request.state = self._state
        self._in_flight[frame.ticket] = frame
        return frame

    def finish(self, ticket: int) -> Frame:
        """The graph is done with a frame."""
        return self._in_flight.pop(ticket)

    def offer(self, result: Result) -> tuple[str, Frame] | None:
        """Keep a result if it is the newest.

        Returns:
            Which frame is dropped for it, or in its place, and the reason; None: none.
        """
        ticket, before = result.frame.ticket, self.result
        if ticket > self._state_ticket:
            self._state, self._state_ticket = result.packed.request.state, ticket
        if ticket < (before.frame.ticket if before else self._last_ticket_out):
            return "stale", result.frame
        self.result = result
        return ("slow_client", before.frame) if before else None

    def take_result(self) -> Result:
        """The result goes out."""
        result = self.result
        assert result is not None
        self.result = None
        self._last_ticket_out = result.frame.ticket
        return result

    def clear(self) -> None:
        """Nobody waits any more for what waits here."""
        self.waiting = self.result = None
