"""What is on its way to one client: the message that the transport is sending, and the unacknowledged replies. Pure."""

from collections import deque


class Delivery:
    """Follows a session's messages until the client has taken them.

    Attributes:
        send_ms: How long the transport took to accept the last message.
    """

    def __init__(self, now_s: float) -> None:
        self.send_ms = 0.0
        self._unacked: deque[tuple[int, float]] = deque()
        """Number and time of sending."""
        self._taken_s = now_s
        """When the client last took a reply, or the first reply went out after it had taken all."""
        self._send_began_s: float | None = None

    @property
    def unacked(self) -> int:
        """Replies that have not been acknowledged."""
        return len(self._unacked)

    def sending(self, now_s: float) -> None:
        """A message goes to the transport."""
        self._send_began_s = now_s

    def sent(self, now_s: float) -> bool:
        """The transport has accepted it. False if there was none."""
        if self._send_began_s is None:
            return False
        self.send_ms = (now_s - self._send_began_s) * 1e3
        self._send_began_s = None
        return True

    def expect_ack(self, seq: int, now_s: float) -> None:
        """The reply to frame ``seq`` goes out; ``seq`` rises."""
        if not self._unacked:
            self._taken_s = now_s
        self._unacked.append((seq, now_s))

    def renumbered(self) -> None:
        """Replies have other numbers from now on; those before are acknowledged no more."""
        self._unacked.clear()

    def is_expected(self, seq: int) -> bool:
        """Whether an ack of ``seq`` is news: some reply up to it is not yet acknowledged."""
        return bool(self._unacked) and seq >= self._unacked[0][0]

    def acked(self, seq: int, now_s: float) -> float | None:
        """The client took the reply to ``seq``, and every one before it.

        Returns:
            When that reply was sent; None if it was another one.
        """
        self._taken_s = now_s
        sent = None
        while self._unacked and self._unacked[0][0] <= seq:
            sent = self._unacked.popleft()
        return sent[1] if sent and sent[0] == seq else None

    def waits_since_s(self, result_waits: bool) -> float | None:
        """Since when the client has held things up; None while it does not.

        Args:
            result_waits: Whether there is a result that could go out.
        """
        if self._send_began_s is not None:
            return self._send_began_s
        return self._taken_s if result_waits and self._unacked else None
