"""How far it is: one line that is written over in a terminal, and a line every half minute elsewhere."""

import time
from collections.abc import Callable
from typing import TextIO

from deployments.photos.work import Tally

_REDRAW_S, _REPORT_S = 0.1, 30.0


class Progress:
    """Counts what a tally holds against what is expected."""

    def __init__(self, tally: Tally, expected: int, out: TextIO, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Start the clock.

        Args:
            tally: Grows while it goes on.
            expected: Files there will be, about.
            out: Where to write.
            clock_s: The time.
        """
        self._tally, self._expected, self._out, self._clock_s = tally, expected, out, clock_s
        self._is_terminal = out.isatty()
        self._began_s = clock_s()
        self._drawn_s = self._began_s if not self._is_terminal else float("-inf")
        self._last = ""
        self._width = 0

    def __call__(self, last: str = "") -> None:
        """Draw, unless it was just drawn.

        Args:
            last: What was last finished; empty: as before.
        """
        self._last = last or self._last
        now_s = self._clock_s()
        if now_s - self._drawn_s < (_REDRAW_S if self._is_terminal else _REPORT_S):
            return
        self._drawn_s = now_s
        self._write(self._line(now_s))

    def close(self) -> None:
        """Leave the terminal's line empty."""
        if self._is_terminal and self._width:
            self._write("")

    @property
    def rate(self) -> float:
        """Files a second since it began."""
        return self._tally.made / max(1e-9, self._clock_s() - self._began_s)

    def _line(self, now_s: float) -> str:
        tally = self._tally
        done = tally.made + tally.kept + len(tally.failures)
        left, taken_s = max(0, self._expected - done), now_s - self._began_s
        worked = tally.made + len(tally.failures)
        parts = [f"{done} of {max(done, self._expected)}", f"{self.rate:.1f}/s"]
        if worked and left:
            parts.append(f"{_duration(left * taken_s / worked)} left")
        if tally.failures:
            parts.append(f"{len(tally.failures)} failed")
        return ", ".join(parts) + f"  {self._last[-60:]}"

    def _write(self, line: str) -> None:
        if self._is_terminal:
            # Blanks over what is left of a longer line; \r, so that the next one is written over this one.
            self._out.write(f"\r{line:<{self._width}}" + ("" if line else "\r"))
            self._width = len(line)
        else:
            self._out.write(line + "\n")
        self._out.flush()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
