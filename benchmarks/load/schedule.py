"""When to send: pure, in seconds since the run's start.

Open loop: a camera does not wait for the server. Frames are due at fixed times whatever became of the ones before, and a
frame's age counts from when it was due, so a server that stalls is charged for the frames it held up.
Paced: the times of an open loop, but never while a frame is unanswered.
Closed loop: the next frame is due when the one before is answered. It measures a round trip and the highest rate of one
patient client; it hides stalls, because it stops asking while it waits. It is paced at an infinite rate.
Ramp: sessions join while others run; their number is constant within a step.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

CLOSED_LOOP = math.inf
"""The rate of a session that sends whenever it has its answer."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When one session sends.

    Attributes:
        fps: Frames a second, or :data:`CLOSED_LOOP`.
        phase_s: When the first frame is due.
        measure_from_s: Frames due earlier are warm-up: sent, and left out of the report.
        end_s: No frame is due at or after this.
        join_s: When it connects; 0: before the run starts.
        waits: Whether it keeps from sending while a frame is unanswered.
    """

    fps: float
    phase_s: float
    measure_from_s: float
    end_s: float
    join_s: float = 0.0
    waits: bool = False

    def due_s(self, index: int, idle_since_s: float | None) -> float | None:
        """When a frame is due.

        Args:
            index: 0 for the session's first frame.
            idle_since_s: Since when no frame of the session has been unanswered; None while one is.

        Returns:
            The time, or None: ask again when a frame has been answered.
        """
        if not self.waits:
            return self.phase_s + index / self.fps
        if idle_since_s is None or self.fps == CLOSED_LOOP:
            return idle_since_s
        return self.phase_s + max(0, math.floor((idle_since_s - self.phase_s) * self.fps) + 1) / self.fps


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a ramp: so many sessions, from and until when."""

    sessions: int
    from_s: float
    to_s: float


def steps(counts: Sequence[int], warmup_s: float, step_s: float) -> Sequence[Step]:
    """The parts of a ramp; the first one's sessions do the warm-up."""
    return [Step(count, warmup_s + k * step_s, warmup_s + (k + 1) * step_s) for k, count in enumerate(counts)]


def plan(sessions: int, fps: float, warmup_s: float, duration_s: float) -> Sequence[Schedule]:
    """One schedule for each session: ``warmup_s`` unmeasured, then ``duration_s`` measured.

    Sessions of an open loop are spread evenly over a frame's time: cameras of different people are not in step, and if they
    were, the burst would be measured rather than the load.
    """
    return ramp(steps([sessions], warmup_s, duration_s), fps)


def ramp(parts: Sequence[Step], fps: float) -> Sequence[Schedule]:
    """One schedule for each session of the last step: each joins with the first step that includes it, and stays."""
    most, end_s, measure_from_s = parts[-1].sessions, parts[-1].to_s, parts[0].from_s
    found = []
    for index in range(most):
        first = next(part for part in parts if part.sessions > index)
        join_s = 0.0 if first is parts[0] else first.from_s
        phase_s = join_s + index / (most * fps)
        found.append(Schedule(fps, phase_s, measure_from_s, end_s, join_s, waits=fps == CLOSED_LOOP))
    return found


def next_refresh_s(now_s: float, hz: float, phase_s: float) -> float:
    """When a screen that shows ``hz`` pictures a second, one of them at ``phase_s``, shows its next one."""
    return phase_s + (math.floor((now_s - phase_s) * hz) + 1) / hz
