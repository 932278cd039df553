"""How much of something a client may do, as a token bucket without a clock of its own."""


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
