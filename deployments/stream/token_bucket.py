"""How much a client may do: token buckets without a clock of their own."""

from deployments.stream.errors import Flooded

_MESSAGES_PER_S = 1000.0
"""Beside the frames that are taken, and an ack for each: sliders, pings, and frames above the rate. At 50 µs each."""
_FLOOD = 2.0
"""Times the byte rate at which a session is closed: until then what is too much is dropped, and the client told."""


class Allowance:
    """So much a second on average, and what a second saves up at once.

    It may be overdrawn once: what is larger than a second's worth still passes, and is paid back before anything else does. So no
    rate is so low that a single frame could never come through.

    Attributes:
        per_s: What comes back every second.
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
        """Begin with a second's worth of everything.

        Args:
            frames_per_s: Frames that are taken; those above are dropped.
            bytes_per_s: Bytes of them, likewise; a multiple of it ends the session.
            now_s: The time.
        """
        self._frames = Allowance(frames_per_s, now_s)
        self._frame_bytes = Allowance(bytes_per_s, now_s)
        self._messages = Allowance(_MESSAGES_PER_S + 2 * frames_per_s, now_s)
        self._bytes = Allowance(_FLOOD * bytes_per_s, now_s)

    def message(self, size: int, now_s: float) -> None:
        """A message of ``size`` bytes came.

        Raises:
            Flooded: It is one too many.
        """
        if not (self._messages.has(now_s) and self._bytes.has(now_s)):
            raise Flooded(self._messages.per_s, self._bytes.per_s)
        self._messages.take(1)
        self._bytes.take(size)

    def frame(self, size: int, now_s: float) -> bool:
        """Whether a frame of ``size`` bytes is taken; if so, it counts."""
        if not (self._frames.has(now_s) and self._frame_bytes.has(now_s)):
            return False
        self._frames.take(1)
        self._frame_bytes.take(size)
        return True
