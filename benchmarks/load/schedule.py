"""When to send: pure, in seconds since the run's start.

Open loop: a camera does not wait for the server. Frames are due at fixed times whatever became of the ones before, and a
frame's age counts from when it was due, so a server that stalls is charged for the frames it held up.
Closed loop: the next frame is due when the one before is answered. It measures a round trip and the highest rate of one
patient client; it hides stalls, because it stops asking while it waits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """When one session sends.

    Attributes:
        measure_from_s: Frames due earlier are warm-up: sent, and left out of the report.
        end_s: No frame is due at or after this.
    """

    @property
    def measure_from_s(self) -> float: ...  # noqa: D102

    @property
    def end_s(self) -> float: ...  # noqa: D102

    def due_s(self, index: int, idle_since_s: float | None) -> float | None:
        """When the frame is due.

        Args:
            index: 0 for the session's first frame.
            idle_since_s: Since when no frame of the session is unanswered; None while one is.

        Returns:
            The time, or None: ask again when a frame was answered.
        """
        ...


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """A frame every ``1 / fps``, from ``phase_s`` on."""

    fps: float
    phase_s: float
    measure_from_s: float
    end_s: float

    def due_s(self, index: int, idle_since_s: float | None) -> float | None:
        """See :class:`Schedule`."""
        return self.phase_s + index / self.fps


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """A frame as soon as the last one is answered."""

    measure_from_s: float
    end_s: float

    def due_s(self, index: int, idle_since_s: float | None) -> float | None:
        """See :class:`Schedule`."""
        return idle_since_s


def plan(sessions: int, fps: float, warmup_s: float, duration_s: float, closed_loop: bool) -> Sequence[Schedule]:
    """One schedule for each session: ``warmup_s`` unmeasured, then ``duration_s`` measured.

    Open-loop sessions are spread evenly over a frame's time: cameras of different people are not in step, and ones that
    were would measure the burst rather than the load.
    """
    end_s = warmup_s + duration_s
    if closed_loop:
        return [ClosedLoop(warmup_s, end_s) for _ in range(sessions)]
    return [OpenLoop(fps, index / (sessions * fps), warmup_s, end_s) for index in range(sessions)]
