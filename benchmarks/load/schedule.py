"""When to send: pure, in seconds since the run's start.

Open loop: a camera does not wait for the server. Frames are due at fixed times whatever became of the ones before, and a
frame's age counts from when it was due, so a server that stalls is charged for the frames it held up.
Closed loop: the next frame is due when the one before is answered. It measures a round trip and the highest rate of one
patient client; it hides stalls, because it stops asking while it waits.
Paced: as an open loop, but never while a frame is unanswered.
Ramp: sessions join while others run; their number is constant within a step.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """When one session sends.

    Attributes:
        join_s: When it connects; 0: before the run starts.
        measure_from_s: Frames due earlier are warm-up: sent, and left out of the report.
        end_s: No frame is due at or after this.
    """

    @property
    def join_s(self) -> float: ...  # noqa: D102

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
    join_s: float = 0.0

    def due_s(self, index: int, idle_since_s: float | None) -> float | None:
        """See :class:`Schedule`."""
        return self.phase_s + index / self.fps


@dataclass(frozen=True, slots=True)
class Paced:
    """A frame at the first of an open loop's times after the last one was answered."""

    fps: float
    phase_s: float
    measure_from_s: float
    end_s: float
    join_s: float = 0.0

    def due_s(self, index: int, idle_since_s: float | None) -> float | None:
        """See :class:`Schedule`."""
        if idle_since_s is None:
            return None
        return self.phase_s + max(0, math.floor((idle_since_s - self.phase_s) * self.fps) + 1) / self.fps


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """A frame as soon as the last one is answered."""

    measure_from_s: float
    end_s: float
    join_s: float = 0.0

    def due_s(self, index: int, idle_since_s: float | None) -> float | None:
        """See :class:`Schedule`."""
        return idle_since_s


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a ramp: so many sessions, from and until when."""

    sessions: int
    from_s: float
    to_s: float


def steps(counts: Sequence[int], warmup_s: float, step_s: float) -> Sequence[Step]:
    """The parts of a ramp; the warm-up is of the first one's sessions."""
    return [Step(count, warmup_s + k * step_s, warmup_s + (k + 1) * step_s) for k, count in enumerate(counts)]


def plan(sessions: int, fps: float, warmup_s: float, duration_s: float, closed_loop: bool) -> Sequence[Schedule]:
    """One schedule for each session: ``warmup_s`` unmeasured, then ``duration_s`` measured.

    Open-loop sessions are spread evenly over a frame's time: cameras of different people are not in step, and ones that
    were would measure the burst rather than the load.
    """
    return ramp(steps([sessions], warmup_s, duration_s), fps, closed_loop)


def ramp(parts: Sequence[Step], fps: float, closed_loop: bool) -> Sequence[Schedule]:
    """One schedule for each session of the last step: each joins when the first step begins that has it, and stays."""
    most, end_s, measure_from_s = parts[-1].sessions, parts[-1].to_s, parts[0].from_s
    found: list[Schedule] = []
    for index in range(most):
        first = next(part for part in parts if part.sessions > index)
        join_s = first.from_s if first is not parts[0] else 0.0
        phase_s = join_s + index / (most * fps)
        found.append(
            ClosedLoop(measure_from_s, end_s, join_s) if closed_loop else OpenLoop(fps, phase_s, measure_from_s, end_s, join_s)
        )
    return found


def paced(schedule: Schedule) -> Schedule:
    """The same, with one frame unanswered at most."""
    if not isinstance(schedule, OpenLoop):
        return schedule
    return Paced(schedule.fps, schedule.phase_s, schedule.measure_from_s, schedule.end_s, schedule.join_s)


def next_refresh_s(now_s: float, hz: float, phase_s: float) -> float:
    """When a screen that shows ``hz`` pictures a second, one of them at ``phase_s``, shows its next."""
    return phase_s + (math.floor((now_s - phase_s) * hz) + 1) / hz
