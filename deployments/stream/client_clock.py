"""How far a client's clock is from ours, from messages that carry its time. Pure.

A message is under way for an unknown time, but never for less than none: client → server shows the offset plus that time, server →
client the offset minus it. The smallest of each are the messages that nothing held up, and half their difference is the offset, as
in NTP (RFC 5905); it is off by at most half of what the fastest round trip takes. Minima are of the last half or whole minute:
clocks drift.
"""

import math

_SPAN_S = 30.0
_OLDEST_S = 60.0
"""A frame older than that when it arrives has a clock that was set, or is a lie."""


class ClientClock:
    """Estimates ``server - client``, seconds."""

    def __init__(self) -> None:
        self._up, self._down = _RecentMinimum(), _RecentMinimum()

    def said(self, client_ms: float, now_s: float) -> None:
        """A message came that was sent at ``client_ms`` of the client's clock."""
        if math.isfinite(client_ms):
            self._up.add(now_s - client_ms / 1e3, now_s)

    def heard(self, sent_s: float, client_ms: float, now_s: float) -> None:
        """The client had a message of ours, sent at ``sent_s``, at ``client_ms`` of its clock."""
        if math.isfinite(client_ms):
            self._down.add(client_ms / 1e3 - sent_s, now_s)

    @property
    def offset_s(self) -> float | None:
        """What to add to the client's time; None as long as it has said none. Until it has heard us, too large by a way up."""
        up, down = self._up.value, self._down.value
        if up is None:
            return None
        return up if down is None else (up - down) / 2

    def captured_s(self, client_ms: float, arrived_s: float) -> float:
        """When a frame was captured that arrived at ``arrived_s``, on our clock; as good as can be told."""
        offset_s = self.offset_s
        if offset_s is None or not math.isfinite(client_ms) or client_ms <= 0:
            return arrived_s
        captured_s = client_ms / 1e3 + offset_s
        return captured_s if arrived_s - _OLDEST_S < captured_s < arrived_s else arrived_s

    def client_ms(self, server_s: float) -> float:
        """Our time on the client's clock, milliseconds; 0 if that is not known."""
        offset_s = self.offset_s
        return 0.0 if offset_s is None else (server_s - offset_s) * 1e3


class _RecentMinimum:
    """The smallest number of the last one to two spans."""

    def __init__(self) -> None:
        self._began_s = -math.inf
        self._now = self._before = math.inf

    @property
    def value(self) -> float | None:
        smallest = min(self._now, self._before)
        return smallest if smallest < math.inf else None

    def add(self, number: float, now_s: float) -> None:
        if now_s - self._began_s > _SPAN_S:
            self._began_s, self._before, self._now = now_s, self._now, math.inf
        self._now = min(self._now, number)
