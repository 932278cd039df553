"""What a session has to say besides splats; bounded even if the client reads nothing."""

from collections import deque

from deployments.stream import messages
from deployments.stream.errors import StreamError

DROP_REASONS = {
    "superseded": "A newer frame came before the graph was free for this one.",
    "stale": "A newer frame's result was ready first.",
    "slow_client": "Earlier replies had not been taken yet; the newest result was kept instead.",
    "overloaded": "The graph's queues were full.",
    "rate_limited": "Frames came faster than one session may send them.",
}
_KEPT = 64
"""Answers, refusals, and for each reason numbers of dropped frames that are kept: a client can use only the newest."""


class Outbox:
    """Answers, refusals and notices of dropped frames. Notices are counted, not queued."""

    def __init__(self) -> None:
        self._welcome: bytes | None = None
        self._answers: deque[bytes | str] = deque(maxlen=_KEPT)
        self._refusals: deque[messages.Error] = deque(maxlen=_KEPT)
        self._drops: dict[str, tuple[int, deque[int]]] = {}

    def welcome(self, message: bytes) -> None:
        """Say this before anything else: without it, a client understands nothing that follows."""
        self._welcome = message

    def answer(self, message: bytes | str) -> None:
        """Say this before refusals, notices and splats."""
        self._answers.append(message)

    def refuse(self, error: StreamError, seq: int | None) -> None:
        """Say why a frame or a message was refused."""
        self._refusals.append(messages.Error(error.code, str(error), seq))

    def drop(self, reason: str, seq: int) -> None:
        """Report a dropped frame, together with others dropped for the same reason."""
        count, seqs = self._drops.get(reason, (0, deque(maxlen=_KEPT)))
        seqs.append(seq)
        self._drops[reason] = (count + 1, seqs)

    def goodbye(self, error: StreamError) -> None:
        """Say why the session ends. What was refused or dropped no longer matters."""
        self._refusals.clear()
        self._drops.clear()
        self.answer(messages.encode(messages.Error(error.code, str(error), fatal=True)))

    def next_answer(self) -> bytes | str | None:
        """The next answer or refusal; these go out before splats."""
        if self._welcome is not None:
            welcome, self._welcome = self._welcome, None
            return welcome
        if self._answers:
            return self._answers.popleft()
        return messages.encode(self._refusals.popleft()) if self._refusals else None

    def next_notice(self) -> bytes | None:
        """The next notice of dropped frames; these go out after splats."""
        if not self._drops:
            return None
        code, (count, seqs) = self._drops.popitem()
        return messages.encode(messages.Dropped(code, DROP_REASONS[code], count, list(seqs)))
