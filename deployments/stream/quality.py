"""Quality that adapts: how many splats and how fine a picture hold a stream's age at its target. Pure; one clock, passed in.

Two parts of a frame's age when it is shown can be changed here. Each has one limit below the client's own:

- delivery (``splats``): the reply's way to the client and the client's own work on it. Its limit is the splat budget, and so bytes.
  If the reply is coded like a picture (``depth``, ``planes``) and the network is the slow part, it is first coded more coarsely,
  which saves bytes and costs no splats; only beyond that does the grid get smaller.
- compute (``inference_px``): the graph's queues and stages. Its limit is the resolution the model works at.

The codec is not changed: ``auto`` already chooses the smallest, and a client that names another one wants it even under pressure.

Clocks of two machines are never compared. Delivery runs from the reply's sending to its ack, on our clock. The client's share of
that is a difference of two of its own times, and so is the age; of the age only the part that nobody here can change (camera,
upload) is subtracted from the target. Replies that were not shown say nothing: a newer one replaced them, or nobody was looking.

A client may ask to start small (``start_splats``): then a slow device is not sent full frames until it has proved slow, which
takes it several of them. The budget grows with each reply that is surely in time, and with each round that is not too late.

A limit moves (``limits.py``) by the median of a round of replies that were all made and sent at its current setting. Replies
under way are limited too: on a narrow link a second one only waits behind the first.
"""

import math
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Literal

from deployments.splats.codecs import depth_heads, planes_heads
from deployments.stream.limits import AdaptiveLimit, Growth, SendWindow
from deployments.stream.messages import QualityState
from deployments.stream.options import FrameOptions

Cause = Literal["network", "client", "compute", "recovered", "no_gain"]
STARTING = "starting"
"""In the place of a cause while a stream is smaller than it could be only because it has just begun."""

CAUSES: dict[Cause, str] = {
    "network": "less detail: the network takes too long for more",
    "client": "fewer splats: this device takes too long to show more",
    "compute": "a coarser picture: the server takes too long for a finer one",
    "recovered": "more again: there is room",
    "no_gain": "back to this: less did not make it any faster",
}
"""Why the quality last changed, in words for people."""
_STARTING_WORDS = "small at first: more comes as soon as it can be shown in time"

COARSEST_STEP = 1 / 64
"""Beyond that, surfaces are steps: a smaller grid looks better for the same bytes."""
_BYTES_A_DOUBLING = {depth_heads.NAME: 0.73, planes_heads.NAME: 0.72}
"""Codec → what is left of the bytes when depth is rounded to twice the step (``python -m benchmarks.codecs``)."""

_ROUND, _ROUND_S = 4, 0.5
"""The fewest replies and the shortest time of a round, so that neither one stalled reply nor a moment's jitter moves the median."""
_SHORT_ROUND, _FAR_ABOVE = 2, 2.0
"""On a very narrow link four replies take half a minute. Two replies end the round if each took more than twice its allowance, not
counting the time they waited for one another: after a mere stall, the second comes right behind the first."""
_SILENCE_S, _LONG_SILENCE_S = 10.0, 30.0
"""A client that acknowledges in batches must not wait for ever: after this long with nothing sent, one more reply goes out, up to
``max_unacked``. The longer time is for clients that have sent an ack before: their link is slow or their page asleep."""
_NETWORK_ABOVE = 2.0
"""If delivery takes this many times what the client itself spends, the network is the slow part."""
_COMPUTE_SHARE = 0.6
"""The share of the target that compute may always take; delivery has the rest, and each may use what the other leaves."""
_SHAPED_ABOVE = 0.5
"""Models that heed the budget make more than this share of it, however coarse their grid; a scene of fewer splats has no more."""
_FIXED_SHARE = 0.4
"""The most that camera and upload may take of the target: a slow camera is no reason to thin the picture to nothing."""


@dataclass(frozen=True, slots=True)
class QualitySettings:
    """What the controller aims at.

    Attributes:
        enabled: Whether streams adapt at all; a client may still switch it off for itself.
        target_age_ms: The age at display to hold, if the link and the graph can.
    """

    enabled: bool = True
    target_age_ms: float = 250.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What one frame is made with.

    Attributes:
        options: The client's options as the limits reduce them.
        wanted: The client's options.
        full_splats: Splats in the last frame made without a limit; 0 if there was none.
        full_px: What ``inference_px`` would be without a limit; 0 if not known yet.
        load: What delivery may take, in splats: the budget, or with coarser depth the splats that would be as many bytes.
        version: Version of the limits.
        cause: Why they last moved; None if they never did.
        bytes_a_doubling: What is left of the bytes at twice the step.
        is_starting: Whether only the stream's start limits the budget.
    """

    options: FrameOptions
    wanted: FrameOptions
    full_splats: int
    full_px: int
    load: int
    version: int
    cause: Cause | None
    bytes_a_doubling: float = 1.0
    is_starting: bool = False

    def state(self, count: int, over_budget: int) -> QualityState:
        """What a reply says about it.

        Args:
            count: Splats in the reply.
            over_budget: Splats that its budget cut off.
        """
        px, full, coarseness = self.options.inference_px, count, self.options.depth_step / self.wanted.depth_step
        if self.options.max_splats < self.wanted.max_splats:
            # Some models make no more than the budget; others' splats are cut off, and then the full number is known.
            full = max(count, min(self.wanted.max_splats, max(self._full_splats(count), count + over_budget)))
        return QualityState(
            max_splats=self.options.max_splats,
            inference_px=px,
            splats_share=self.bytes_a_doubling ** math.log2(coarseness) * (count / full if full else 1.0),
            px_share=px / self.full_px if px != self.wanted.inference_px else 1.0,
            cause=STARTING if self.is_starting else self.cause or "",
            message=_STARTING_WORDS if self.is_starting else CAUSES[self.cause] if self.cause else "",
        )

    def _full_splats(self, count: int) -> int:
        """Of a frame made without a limit: as far as known, or else guessed from one that its budget has shaped."""
        if self.full_splats or count <= _SHAPED_ABOVE * self.options.max_splats:
            return self.full_splats
        return count * self.wanted.max_splats // self.options.max_splats


@dataclass(slots=True)
class _Sent:
    sent_s: float
    version: int
    before: int
    """Replies under way when it was sent."""
    compute_s: float
    splats: float
    px: float
    full_px: float


@dataclass(slots=True)
class _Sample:
    """One reply that was shown; times in seconds. ``own_s`` is its delivery, counted from when the previous reply was through."""

    acked_s: float
    delivery_s: float
    own_s: float
    client_s: float
    sent: _Sent


@dataclass(slots=True)
class Quality:
    """One session's controller; see the module's docstring."""

    settings: QualitySettings
    max_unacked: int
    _version: int = 0
    _cause: Cause | None = None
    _splats: AdaptiveLimit = field(default_factory=AdaptiveLimit)
    _px: AdaptiveLimit = field(default_factory=AdaptiveLimit)
    _growth: Growth = field(default_factory=Growth)
    _full_splats: int = 0
    _model_px: int = 0
    """Of frames made without a limit, as far as known: their splats, and the ``inference_px`` that the model chose."""
    _bytes_a_doubling: float = 1.0
    """Of the codec that replies have; 1 if its step is none."""
    _saves_bytes: bool = False
    """Whether the limit on delivery is kept by a coarser step, and not by fewer splats."""
    _fixed_s: float = 0.0
    _window: SendWindow = field(default_factory=SendWindow)
    _batch: int = 0
    """Replies that the latest ack acknowledged; 0 before the first ack."""
    _sent: dict[int, _Sent] = field(default_factory=dict)
    _last_ack_s: float = 0.0
    _round: list[_Sample] = field(default_factory=list)

    def setting(self, wanted: FrameOptions) -> Setting:
        """What the next frame is made with; never more than the client's options."""
        if not self._adapts(wanted):
            return Setting(wanted, wanted, 0, 0, wanted.max_splats, self._version, None)
        full_px = wanted.inference_px or self._model_px
        is_starting = self._is_starting(wanted)
        limit = self._growth.factor * wanted.start_splats if is_starting else self._splats.limit
        budget = min(wanted.max_splats, max(wanted.min_splats, limit))
        px = min(full_px, max(wanted.min_inference_px, self._px.limit))
        spends = self._saves_bytes and self._bytes_a_doubling < 1.0
        step, splats = self._spend(budget, wanted) if spends else (wanted.depth_step, budget)
        # Where nothing is reduced, the client's own value stays: 0 is the model's choice.
        inference_px = round(px) if px < full_px else wanted.inference_px
        options = replace(wanted, depth_step=step, max_splats=round(splats), inference_px=inference_px)
        load, doubling = round(budget), self._bytes_a_doubling
        is_starting = is_starting and budget < wanted.max_splats and not self._cause
        return Setting(options, wanted, self._full_splats, full_px, load, self._version, self._cause, doubling, is_starting)

    def _spend(self, budget: float, wanted: FrameOptions) -> tuple[float, float]:
        """A depth step and a budget of splats that take as many bytes as ``budget`` splats at the client's own step."""
        full = min(wanted.max_splats, self._full_splats or wanted.max_splats)
        doublings = math.log2(max(COARSEST_STEP / wanted.depth_step, 1.0))
        doubling = self._bytes_a_doubling
        share, least = min(1.0, budget / full), doubling**doublings
        if share >= least:
            return wanted.depth_step * 2.0 ** (math.log(share) / math.log(doubling)), wanted.max_splats
        return max(COARSEST_STEP, wanted.depth_step), full * share / least

    def result_waits(self, now_s: float) -> None:
        """A result could go out if the client had acknowledged the replies before it."""
        oldest_s = min((sent.sent_s for sent in self._sent.values()), default=now_s)
        if now_s - oldest_s > self._target_s() + (self._window.alone_s or 0.0):
            self._window.size = 1  # Whatever the oldest waits for, another would wait behind it.

    def may_send(self, unacked: int, options: FrameOptions, now_s: float) -> bool:
        """Whether one more reply may be under way in addition to the unacknowledged ones."""
        if not unacked or not self._adapts(options):
            return unacked < self.max_unacked
        silent_s = now_s - max((sent.sent_s for sent in self._sent.values()), default=now_s)
        is_stuck = silent_s > (_LONG_SILENCE_S if self._batch else _SILENCE_S)
        return unacked < (self.max_unacked if is_stuck else min(self._room(), self.max_unacked))

    def sent(
        self, seq: int, setting: Setting, count: int, over_budget: int, px: int, codec: str, compute_s: float, now_s: float
    ) -> None:
        """A reply goes to the client.

        Args:
            seq: The frame's number.
            setting: What it was made with.
            count: Splats in it.
            over_budget: Splats that its budget cut off.
            px: Longest side of the picture the model worked on, pixels.
            codec: What it is coded with.
            compute_s: Time spent in queues and stages.
            now_s: The time.
        """
        options, wanted = setting.options, setting.wanted
        self._bytes_a_doubling = _BYTES_A_DOUBLING.get(codec, 1.0)
        if options == wanted:
            self._full_splats = count
            self._model_px = self._model_px if wanted.inference_px else px
        # A reduced frame counts at its limit, even if the model makes less of it or does not heed it.
        splats = count if setting.load >= wanted.max_splats else min(setting.load, max(count + over_budget, self._full_splats))
        at_px = px if options.inference_px == wanted.inference_px else options.inference_px
        self._sent[seq] = _Sent(now_s, setting.version, len(self._sent), compute_s, splats, at_px, setting.full_px or px)

    def acked(self, seq: int, client_ms: float | None, age_ms: float | None, options: FrameOptions, now_s: float) -> Cause | None:
        """The client took the reply ``seq`` and every one before it.

        Args:
            seq: The frame's number.
            client_ms: How long the client took from its arrival to the pixels; None if it was not shown.
            age_ms: From capture to pixels by the client's clock; None if it was not shown or the number makes no sense.
            options: The client's.
            now_s: The time.

        Returns:
            Why the quality changes from now on; None if it does not.
        """
        sent = self._sent.get(seq)
        self._batch = sum(other <= seq for other in self._sent)
        self._sent = {other: value for other, value in self._sent.items() if other > seq}
        if sent is None or not self._adapts(options):
            return None
        trip_s, own_s = now_s - sent.sent_s, now_s - max(sent.sent_s, self._last_ack_s)
        self._last_ack_s = now_s
        if client_ms is None:
            return None
        client_s = min(max(0.0, client_ms / 1e3), trip_s) if math.isfinite(client_ms) else 0.0
        if age_ms is not None:
            fixed_s = max(0.0, age_ms / 1e3 - sent.compute_s - trip_s)
            self._fixed_s += 0.1 * (min(fixed_s, self._most_fixed_s()) - self._fixed_s)
        if sent.version != self._version or sent.before >= self._room():
            return None  # Made or sent at an earlier setting.
        self._round.append(_Sample(now_s, trip_s, own_s, client_s, sent))
        if self._is_starting(options):
            allowed_s = self._delivery_allowed_s(sent.compute_s)
            if self._growth.is_surely_fast(trip_s, allowed_s):
                self._grow(trip_s, allowed_s, options)
                return None
        latest = self._round[-_SHORT_ROUND:]
        is_far_above = len(latest) == _SHORT_ROUND and min(sample.own_s for sample in latest) > _FAR_ABOVE * self._target_s()
        is_full = len(self._round) >= _ROUND and now_s - self._round[0].acked_s >= _ROUND_S
        return self._end_round(options, now_s) if is_full or is_far_above else None

    def configured(self) -> None:
        """The client changed its options, and measurements so far were made with the old ones. The limits stay."""
        self._new_setting()
        self._splats.start = self._px.start = None
        self._splats.in_vain_until_s = self._px.in_vain_until_s = 0.0

    def renumbered(self) -> None:
        """Replies have other numbers from now on; those before are acknowledged no more."""
        self._sent.clear()

    def _end_round(self, options: FrameOptions, now_s: float) -> Cause | None:
        past, self._round = self._round, []
        delivery_s, client_s = median(each.delivery_s for each in past), median(each.client_s for each in past)
        compute_s, target_s = median(each.sent.compute_s for each in past), self._target_s()
        delivery_allowed_s = self._delivery_allowed_s(compute_s)
        compute_allowed_s = max(_COMPUTE_SHARE * target_s, target_s - delivery_s)
        splats = median(each.sent.splats for each in past)
        less_helps = splats > options.min_splats and now_s >= self._splats.in_vain_until_s
        if not self._window.move(delivery_s, delivery_allowed_s, less_helps, self.max_unacked, now_s):
            return None
        px, full_px = median(each.sent.px for each in past), median(each.sent.full_px for each in past)
        verdicts = (
            self._splats.move(delivery_s, delivery_allowed_s, splats, options.max_splats, options.min_splats, now_s),
            self._px.move(compute_s, compute_allowed_s, px, full_px, options.min_inference_px, now_s),
        )
        # If both limits move in one round, report the worse news.
        news: tuple[tuple[bool, Cause], ...] = (
            (verdicts[0] == "down", "network" if delivery_s > _NETWORK_ABOVE * client_s else "client"),
            (verdicts[1] == "down", "compute"),
            ("no_gain" in verdicts, "no_gain"),
            ("up" in verdicts, "recovered"),
        )
        cause = next((cause for happened, cause in news if happened), None)
        if self._is_starting(options) and not verdicts[0]:
            # Too slow, or not yet fast: if less can't be tried, only more shows whether it makes a difference.
            self._grow(delivery_s, delivery_allowed_s, options)
        if verdicts[0] == "down":
            self._growth.end()
            self._saves_bytes = self._bytes_a_doubling < 1.0 and delivery_s > _NETWORK_ABOVE * client_s
        if cause:
            self._new_setting()
            self._cause = cause
        return cause

    def _is_starting(self, options: FrameOptions) -> bool:
        return options.start_splats > 0 and not self._growth.is_over

    def _grow(self, took_s: float, allowed_s: float, options: FrameOptions) -> None:
        self._growth.grow(took_s, allowed_s, options.max_splats / options.start_splats)
        self._new_setting()

    def _delivery_allowed_s(self, compute_s: float) -> float:
        target_s = self._target_s()
        return max((1.0 - _COMPUTE_SHARE) * target_s, target_s - compute_s)

    def _new_setting(self) -> None:
        self._version += 1
        self._round.clear()
        self._window.alone_s = None

    def _room(self) -> int:
        """The most replies that may be under way."""
        return max(self._window.size, self._batch)

    def _adapts(self, options: FrameOptions) -> bool:
        return self.settings.enabled and options.adapt

    def _target_s(self) -> float:
        return self.settings.target_age_ms / 1e3 - self._fixed_s

    def _most_fixed_s(self) -> float:
        return _FIXED_SHARE * self.settings.target_age_ms / 1e3
