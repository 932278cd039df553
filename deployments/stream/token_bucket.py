"""How much a client may do: token buckets without a clock of their own."""

from deployments.stream.errors import Flooded

_MESSAGES_PER_S = 1000.0
"""In addition to frames within the rate and an ack for each: sliders, pings, and frames above the rate. At 50 µs each."""
_FLOOD = 2.0
"""A session is closed at this multiple of the byte rate; up to then the excess is dropped, and the client is told."""


class Allowance:
    """A token bucket: so much a second on average, and at most one second's worth at once.

    It may be overdrawn once: something larger than a second's worth still passes, but is paid back before anything else does. So
    even at the lowest rate a single frame gets through.

    Attributes:
        per_s: What is added every second.
    """

    def __init__(self, per_s: float, now_s: float) -> None:
        self.per_s = per_s
        self._left = per_s
        self._at_s = now_s

    def has(self, now_s: float) -> bool:
        """Whether anything is left."""
        self._left = min(self.per_s, self._left + (now_s - self._at_s) * self.per_s)
        self._at_s = now_s
        return self._left > 0

    def take(self, amount: float) -> None:
        """Use some of it, after :meth:`has`."""
        self._left -= amount


class Rates:
    """What one session may send."""

    def __init__(self, frames_per_s: float, bytes_per_s: float, now_s: float) -> None:
        """Start with a second's worth of everything.

        Args:
            frames_per_s: Frames above this rate are dropped.
            bytes_per_s: So are frames above this rate in bytes; a multiple of it ends the session.
            now_s: The time.
        """
        self._frames = Allowance(frames_per_s, now_s)
        self._frame_bytes = Allowance(bytes_per_s, now_s)
        self._messages = Allowance(_MESSAGES_PER_S + 2 * frames_per_s, now_s)
        self._bytes = Allowance(_FLOOD * bytes_per_s, now_s)

    def message(self, size: int, now_s: float) -> None:
        """A message of ``size`` bytes came.

        Raises:
            Flooded: If it is one too many.
        """
        if not (self._messages.has(now_s) and self._bytes.has(now_s)):
            raise Flooded(self._messages.per_s, self._bytes.per_s)
        self._messages.take(1)
        self._bytes.take(size)

    def frame(self, size: int, now_s: float) -> bool:
        """Whether a frame of ``size`` bytes may pass; if so, it counts."""
        if not (self._frames.has(now_s) and self._frame_bytes.has(now_s)):
            return False
        self._frames.take(1)
        self._frame_bytes.take(size)
        return True
