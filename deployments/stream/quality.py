"""Quality that adapts: how many splats and how fine a picture hold a stream's age at its target. Pure; one clock, passed in.

What a frame is old by when it is shown has two parts that can be changed here. Each has one knob:

- delivery (``splats``): the reply's way to the client and the client's own work on it. Its knob is the splat budget, so bytes.
- compute (``inference_px``): the graph's queues and stages. Its knob is the resolution the model works at.

Clocks of two machines are never compared. Delivery is from the reply's sending to its ack, on our clock; what the client spent of
that is a difference of two times of its own, and so is the age, from which only the part that nobody here can change (camera,
upload) is taken off the target.

A knob is turned by rounds of a few replies that were all made at its current setting. The median of the round is compared with what
the part may take: above it, the knob goes down in proportion; well below, it goes up by a small step, after a pause. Down at 1.1
and up below 0.7 by a factor of 1.15 leave a gap that no single step crosses, so a steady link gives a steady picture; a step up
that had to be taken back doubles the pause. Where a step down has changed nothing (a long way rather than a narrow one; a queue
that is not of our making) it is taken back, and not tried again for a minute.

Replies under way are limited as well: in a narrow link a second one only waits behind the first.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Literal

from deployments.stream.options import FrameOptions

Cause = Literal["network", "client", "compute", "recovered", "no_gain"]

CAUSES: dict[Cause, str] = {
    "network": "fewer splats: the network takes too long for more",
    "client": "fewer splats: this device takes too long to show more",
    "compute": "a coarser picture for the model: the server takes too long for a finer one",
    "recovered": "more again: there is room",
    "no_gain": "back again: less did not make it any faster",
}
"""Why the quality was changed last, in words that end a sentence."""

_ROUND = 4
"""Replies of a round; their median is not moved by one that met a stall."""
_SHORT_ROUND, _FAR_ABOVE = 2, 2.0
"""In a very narrow link four replies take half a minute. Two that each took more than twice of what there is for them, without the
time they waited for one another, end the round: after a stall the second comes right behind the first."""
_DOWN_ABOVE, _UP_BELOW = 1.1, 0.7
_STEP_UP = 1.15
_LEAST_STEP_DOWN, _MOST_STEP_DOWN = 0.85, 0.25
_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 60.0
"""Between steps up."""
_GAIN = 0.95
"""A step down must bring the part below this fraction of what it was."""
_NO_GAIN_PAUSE_S = 60.0
_COMPUTE_SHARE = 0.6
"""Of the target, that compute may always take; delivery has the rest, and either what the other leaves."""
_FIXED_SHARE = 0.4
"""Of the target, that camera and upload may use up at most: a slow camera is no reason to thin the picture to nothing."""
_FIRST_UNACKED = 2


@dataclass(frozen=True, slots=True)
class QualitySettings:
    """What the controller aims at.

    Attributes:
        enabled: Whether streams adapt at all; a client may still switch it off for itself.
        target_age_ms: Age at display that is held where the link and the graph can.
    """

    enabled: bool = True
    target_age_ms: float = 250.0


@dataclass(slots=True)
class _Sample:
    """One reply that was acknowledged: seconds. ``own_s`` is its delivery since the reply before it was through."""

    delivery_s: float
    own_s: float
    client_s: float
    compute_s: float


@dataclass(slots=True)
class _Knob:
    """A factor from ``least`` to 1 on something, and the pause before it may rise."""

    factor: float = 1.0
    pause_s: float = _PAUSE_S
    may_rise_s: float = 0.0
    may_sink_s: float = 0.0
    before: tuple[float, float] | None = None
    """Factor and seconds before the last step down, until it has shown what it did."""
    rose: bool = False

    def turn(self, took_s: float, allowed_s: float, least: float, now_s: float) -> Literal["down", "up", "no_gain"] | None:
        """One round's verdict, carried out."""
        if self.before and took_s > _GAIN * self.before[1]:
            self.factor, self.before = self.before[0], None
            self.may_sink_s = now_s + _NO_GAIN_PAUSE_S
            return "no_gain"
        self.before = None
        if took_s > _DOWN_ABOVE * allowed_s:
            if self.factor <= least or now_s < self.may_sink_s:
                return None
            if self.rose:
                self.pause_s = min(2.0 * self.pause_s, _LONGEST_PAUSE_S)
            self.before, self.rose = (self.factor, took_s), False
            self.factor = max(least, self.factor * min(_LEAST_STEP_DOWN, max(_MOST_STEP_DOWN, allowed_s / took_s)))
            self.may_rise_s = now_s + self.pause_s
            return "down"
        if took_s < _UP_BELOW * allowed_s and self.factor < 1.0 and now_s >= self.may_rise_s:
            if self.rose:
                self.pause_s = max(_PAUSE_S, 0.5 * self.pause_s)  # The last one was right.
            self.factor, self.rose = min(1.0, self.factor * _STEP_UP), True
            self.may_rise_s = now_s + self.pause_s
            return "up"
        return None


@dataclass(slots=True)
class _Sent:
    sent_s: float
    version: int
    compute_s: float


@dataclass(slots=True)
class Quality:
    """One session's controller; see the module's docstring.

    Attributes:
        version: Rises with every change; frames carry the one they were submitted at.
        cause: Why it was changed last; None while it never was.
    """

    settings: QualitySettings
    max_unacked: int
    version: int = 0
    cause: Cause | None = None
    _splats: _Knob = field(default_factory=_Knob)
    _pixels: _Knob = field(default_factory=_Knob)
    _full_splats: int = 0
    _full_px: int = 0
    _fixed_s: float = 0.0
    _window: int = _FIRST_UNACKED
    _sent: dict[int, _Sent] = field(default_factory=dict)
    _last_ack_s: float = 0.0
    _round: list[_Sample] = field(default_factory=list)

    def apply(self, options: FrameOptions) -> FrameOptions:
        """The client's options with what the knobs leave of them; they are the most there is."""
        if not self.settings.enabled or not options.adapt:
            return options
        splats, pixels = self._splats.factor, self._pixels.factor
        if splats < 1.0 and self._full_splats:
            full = min(options.max_splats, self._full_splats)
            options = replace(options, max_splats=min(full, max(options.min_splats, round(splats * full))))
        if pixels < 1.0 and self._full_px:
            full = min(options.inference_px or self._full_px, self._full_px)
            options = replace(options, inference_px=min(full, max(options.min_inference_px, round(pixels * full))))
        return options

    def may_send(self, unacked: int, options: FrameOptions, now_s: float) -> bool:
        """Whether one more reply may be under way beside those that are not acknowledged."""
        if not self.settings.enabled or not options.adapt or not unacked:
            return unacked < self.max_unacked
        oldest_s = min((sent.sent_s for sent in self._sent.values()), default=now_s)
        if now_s - oldest_s > self._target_s():
            self._window = 1  # Whatever that one waits for, another would wait behind it.
        return unacked < min(self._window, self.max_unacked)

    def sent(self, seq: int, version: int, count: int, px: int, compute_s: float, now_s: float) -> None:
        """A reply goes to the client.

        Args:
            seq: The frame's number.
            version: That of its options.
            count: Splats in it.
            px: Longest side of the picture the model worked on, pixels.
            compute_s: What queues and stages took.
            now_s: The time.
        """
        if self._splats.factor == 1.0:
            self._full_splats = count
        if self._pixels.factor == 1.0:
            self._full_px = px
        self._sent[seq] = _Sent(now_s, version, compute_s)

    def acked(self, seq: int, client_ms: float, age_ms: float | None, options: FrameOptions, now_s: float) -> Cause | None:
        """The client took the reply ``seq``, and so every one before it.

        Args:
            seq: The frame's number.
            client_ms: What the client spent between its arrival and the ack.
            age_ms: Capture to pixels by the client's clock; None where it was not shown or can't be.
            options: The client's.
            now_s: The time.

        Returns:
            Why the quality is another one from now on; None: it is not.
        """
        sent = self._sent.get(seq)
        self._sent = {other: value for other, value in self._sent.items() if other > seq}
        if sent is None or not self.settings.enabled or not options.adapt:
            return None
        trip_s, own_s = now_s - sent.sent_s, now_s - max(sent.sent_s, self._last_ack_s)
        self._last_ack_s = now_s
        client_s = min(max(0.0, client_ms / 1e3), trip_s) if math.isfinite(client_ms) else 0.0
        if age_ms is not None:
            fixed_s = max(0.0, age_ms / 1e3 - sent.compute_s - trip_s)
            self._fixed_s += 0.1 * (min(fixed_s, self._most_fixed_s()) - self._fixed_s)
        if sent.version != self.version:
            return None  # Made at another setting.
        self._round.append(_Sample(trip_s, own_s, client_s, sent.compute_s))
        latest = self._round[-_SHORT_ROUND:]
        is_far_above = len(latest) == _SHORT_ROUND and min(sample.own_s for sample in latest) > _FAR_ABOVE * self._target_s()
        return self._end_round(options, now_s) if is_far_above or len(self._round) >= _ROUND else None

    def _end_round(self, options: FrameOptions, now_s: float) -> Cause | None:
        past, self._round = self._round, []
        delivery_s, compute_s = (_median(past, name) for name in ("delivery_s", "compute_s"))
        target_s = self._target_s()
        delivery_allowed_s = max((1.0 - _COMPUTE_SHARE) * target_s, target_s - compute_s)
        compute_allowed_s = max(_COMPUTE_SHARE * target_s, target_s - delivery_s)
        if delivery_s > _DOWN_ABOVE * delivery_allowed_s and self._window > 1:
            self._window = 1  # First see what a reply takes that waits behind no other.
            return None
        if delivery_s < 0.5 * delivery_allowed_s:
            self._window = min(self._window + 1, self.max_unacked)
        least_splats = min(1.0, options.min_splats / max(1, min(options.max_splats, self._full_splats)))
        least_px = min(1.0, options.min_inference_px / max(1, min(options.inference_px or self._full_px, self._full_px)))
        slow: Cause = "network" if delivery_s > 2.0 * _median(past, "client_s") else "client"
        verdicts: Sequence[tuple[str | None, Cause]] = (
            (self._splats.turn(delivery_s, delivery_allowed_s, least_splats, now_s), slow),
            (self._pixels.turn(compute_s, compute_allowed_s, least_px, now_s), "compute"),
        )
        # Should both knobs move in one round, the worse news is the one to tell.
        order = {"down": 0, "no_gain": 1, "up": 2}
        moved = sorted(((verdict, cause) for verdict, cause in verdicts if verdict), key=lambda item: order[item[0]])
        if not moved:
            return None
        verdict, cause = moved[0]
        self.version += 1
        self.cause = {"down": cause, "no_gain": "no_gain", "up": "recovered"}[verdict]
        return self.cause

    def _target_s(self) -> float:
        return self.settings.target_age_ms / 1e3 - self._fixed_s

    def _most_fixed_s(self) -> float:
        return _FIXED_SHARE * self.settings.target_age_ms / 1e3


def _median(samples: Sequence[_Sample], name: str) -> float:
    return float(median(getattr(sample, name) for sample in samples))
