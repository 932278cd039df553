"""How many frames of all sessions together may be in the graph, and whose turn it is. Pure: no I/O, no clock of its own.

Frames in the graph beyond those its replicas work on only get older there. A session keeps its newest frame outside instead,
so the limit decides between throughput (too low: replicas wait for frames) and age (too high: frames wait for replicas).

The limit follows what finished frames tell, one round at a time:

- ``worked``: the milliseconds that the stages themselves count; for a batch, those of the whole batch.
- ``waited``: the rest of a frame's trip, in queues and between the stages.
- ``hops``: the smallest recent ``waited`` of a frame alone in the graph, which no limit can lower. The smallest, because the first
  frames of a replica are slow and a full graph never corrects an estimate that is too high; one that is too low brings the limit
  down to a single frame, and so corrects itself.
- ``fill``: how full the frame's batch was. Batches that are not full can take more frames without making any of them older.

A frame may wait for about one other. While ``waited - hops`` is well below ``worked``, or batches are not full, and a session was
held back, the limit grows; above it, the limit shrinks in proportion. This is Little's law with a measured base, as in TCP Vegas
(Brakmo and Peterson, 1995), but the service time is reported by the stages instead of guessed from the fastest trip. So the limit
follows replicas that come, go or batch.

Turns are start-time fair queueing (Goyal, Vin and Cheng, 1996) with one frame as the unit: sessions that want more than their share
get equal numbers of frames, and one that wants less gets what it wants.
"""

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

Start = Callable[[], bool]
"""Puts the caller's newest frame into the graph now. Returns False if it no longer has one; the place then goes to the next."""

_FIRST_LIMIT = 2.0
_FULL = 0.9
"""Batches count as full from here: now and then one goes out early."""
_SLACK_S = 0.02
"""Waiting that is not worth acting on: a scheduler's time slices and a thread's wake-ups."""
_GROW_BELOW = 0.35
"""Share of the allowed waiting. With one replica and two frames, a frame waits for half a service: it should settle there."""
_PATIENCE_ROUNDS = 8
"""After it had to shrink, the limit does not grow for this many rounds."""
_MIN_ROUND = 4
"""Frames in a round, at least; fewer are mostly noise."""
_SMOOTHING = 0.2
"""Weight of a round in the pressure."""
_ALONE_FRAMES = 16
"""How many frames that were alone in the graph are remembered; a quarter of them is enough to go by."""


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Bounds of the limit.

    Attributes:
        max_in_flight: The most frames of one ingress replica in the graph, however fast it is. Bounds the object store: each frame
            is there as its decoded picture and its Gaussians, about 20 MB.
    """

    max_in_flight: int = 256


@dataclass(slots=True)
class _Round:
    frames: int = 0
    trip_s: float = 0.0
    worked_s: float = 0.0
    fill: float = 0.0
    peak: int = 0
    passed_over: int = 0
    refused: bool = False
    held_back: bool = False


@dataclass(slots=True)
class _Turn:
    """``tag``: the round of turns, as a virtual time. ``order``: who asked first, among equal tags."""

    tag: float
    order: int
    frame: int


class Admission:
    """See the module's docstring.

    Attributes:
        in_flight: Frames in the graph.
        served: Frames that came through, since the start.
        passed_over: Frames that a newer one of their session replaced while they waited for a turn, since the start.
        pressure: Recent frames wanted (served and passed over) for each frame served; 1 if all are served.
        fill: How full the batches of the last round were, 0 to 1; 0 before the first.
    """

    def __init__(self, limits: AdmissionLimits) -> None:
        self.in_flight = self.served = self.passed_over = 0
        self.pressure = 1.0
        self.fill = 0.0
        self._limits = limits
        self._limit = min(_FIRST_LIMIT, limits.max_in_flight)
        self._waiting: dict[Start, _Turn] = {}
        self._last_turn: dict[Start, float] = {}
        self._virtual = 0.0
        self._asked = itertools.count()
        self._round = _Round()
        self._hops_s: deque[float] = deque(maxlen=_ALONE_FRAMES)
        self._patience = 0
        self._has_shrunk = False
        self._company = False

    @property
    def limit(self) -> int:
        """Frames that may be in the graph now."""
        return int(self._limit)

    @property
    def waiting(self) -> int:
        """Sessions waiting for their turn."""
        return len(self._waiting)

    def ask(self, start: Start, frame: int) -> None:
        """Join the line, or stay in it with a newer frame.

        Args:
            start: Called once, now or later, when there is a place. Must not call back.
            frame: Tells the caller's frames apart.
        """
        turn = self._waiting.get(start)
        if turn is None:
            tag = max(self._virtual, self._last_turn.get(start, self._virtual - 1.0) + 1.0)
            self._waiting[start] = _Turn(tag, next(self._asked), frame)
        elif turn.frame != frame:
            self.passed_over += 1
            self._round.passed_over += 1
            turn.frame = frame
        self._admit()

    def withdraw(self, start: Start) -> None:
        """Leave the line for good."""
        self._waiting.pop(start, None)
        self._last_turn.pop(start, None)

    def finished(self, trip_s: float | None, worked_s: float = 0.0, fill: float = 1.0, refused: bool = False) -> None:
        """A frame has left the graph.

        Args:
            trip_s: From its admission to its result, seconds; None if it was lost or is not a picture: that teaches nothing.
            worked_s: The part of that which the stages counted.
            fill: Frames in its batch over the most a batch takes.
            refused: Whether a queue of the graph was full.
        """
        alone = self.in_flight == 1 and not self._company
        self.in_flight -= 1
        now = self._round
        if refused:
            now.refused = True
        elif trip_s is not None:
            self.served += 1
            now.frames += 1
            now.trip_s += trip_s
            now.worked_s += worked_s
            now.fill += fill
            if alone:
                self._hops_s.append(trip_s - worked_s)
        if now.refused or now.frames >= max(_MIN_ROUND, self.limit):
            self._end_round()
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.in_flight < self.limit:
            start, turn = min(self._waiting.items(), key=lambda item: (item[1].tag, item[1].order))
            del self._waiting[start]
            self._virtual = self._last_turn[start] = turn.tag
            if start():
                self.in_flight += 1
                # Once two are in together, neither is alone.
                self._company = self.in_flight > 1
        self._round.peak = max(self._round.peak, self.in_flight)
        self._round.held_back |= bool(self._waiting)

    def _end_round(self) -> None:
        past, self._round = self._round, _Round(peak=self.in_flight)
        self._patience = max(0, self._patience - 1)
        shrink = 0.8 if past.refused else 1.0
        if past.frames:
            self.fill = past.fill / past.frames
            self.pressure += _SMOOTHING * ((past.frames + past.passed_over) / past.frames - self.pressure)
            worked_s, trip_s = past.worked_s / past.frames, past.trip_s / past.frames
            hops_s = min(self._hops_s) if len(self._hops_s) >= _ALONE_FRAMES // 4 else 0.0
            allowed_s = worked_s + _SLACK_S
            excess_s = trip_s - worked_s - hops_s
            if excess_s > allowed_s:
                shrink = min(shrink, max(0.5, (hops_s + worked_s + allowed_s) / trip_s))
            elif past.held_back and not self._patience and (excess_s < _GROW_BELOW * allowed_s or past.fill < _FULL * past.frames):
                # Double until it was once too much, then take small steps: replicas come one by one.
                self._limit += max(1.0, 0.1 * self._limit) if self._has_shrunk else self._limit
        if shrink < 1.0:
            self._limit = min(self._limit, past.peak) * shrink
            self._has_shrunk, self._patience = True, _PATIENCE_ROUNDS
        elif not past.held_back:
            # A limit that was not reached is not proven: the next burst would find it too high.
            self._limit = min(self._limit, max(_FIRST_LIMIT, 2.0 * past.peak))
        self._limit = min(max(self._limit, 1.0), self._limits.max_in_flight)
