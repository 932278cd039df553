"""What log lines share: the fields that name a session and a frame, and a limit on how often they are written."""

import time
from collections.abc import Callable


def frame_fields(frame_id: str) -> dict[str, str]:
    """``extra=`` for a line about a frame: the frame's id, and the session's, which is part of it."""
    return {"session": frame_id.partition("/")[0], "frame": frame_id}


class Seldom:
    """Counts events that are too frequent to log one by one, and says when it is time for a line."""

    def __init__(self, period_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._period_s = period_s
        self._clock = clock
        self._count = 0
        self._told_s = float("-inf")

    def count(self) -> int:
        """Count one more. Returns the number since the last line if another line is due, else 0."""
        self._count += 1
        now_s = self._clock()
        if now_s - self._told_s < self._period_s:
            return 0
        count, self._count, self._told_s = self._count, 0, now_s
        return count
