"""What all log lines have in common: the fields that name a session and a frame, and a way to say little."""

import time
from collections.abc import Callable


def frame_fields(frame_id: str) -> dict[str, str]:
    """``extra=`` of a line about a frame: the frame, and the session that is in its name."""
    return {"session": frame_id.partition("/")[0], "frame": frame_id}


class Seldom:
    """Counts what may happen more often than a log can grow, and says when it is time for a line."""

    def __init__(self, period_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._period_s = period_s
        self._clock = clock
        self._count = 0
        self._told_s = float("-inf")

    def count(self) -> int:
        """One more. How many there were since the last line when another is due; 0 when none is."""
        self._count += 1
        now_s = self._clock()
        if now_s - self._told_s < self._period_s:
            return 0
        count, self._count, self._told_s = self._count, 0, now_s
        return count
