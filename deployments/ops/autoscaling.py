"""How many inference replicas a stream needs: frames wanted against frames served. Pure; no Ray.

Serve's own policy counts ongoing requests. Here they say little: the ingress holds frames back before the graph is full
(:mod:`deployments.stream.admission`), so a graph that serves a tenth of what is wanted has no more requests in it than one that
just keeps up. What does say something, every replica counts in totals that only rise (:class:`WorkTotals`). They are read here as
differences over the look-back period: exact whatever the interval of the reports, and nothing is averaged twice.

- ``busy``: the part of the time in which a replica's model worked.
- ``fill``: how full its batches were. A batch that is not full may take more frames in the same time (a GPU) or not (a CPU), so the
  load of a replica lies between ``busy × fill`` and ``busy``.
- ``pressure``: frames wanted over frames served, as the ingress knew it when it sent a frame. The mean over frames is right for any
  number of ingress replicas: each counts by the frames it sent.

The load, in whole replicas, is the sum of ``busy`` times the mean ``pressure``. Replicas are added when even its lowest estimate is
too much for those there are, and taken away when even its highest is little; in between nothing happens, so neither noise nor a
batch that might have been fuller moves anything. Serve then applies its delays and the limits of the config.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

_STALE_S = 3.0
"""Replicas report every second: one that has missed two reports is stuck or gone, and what it said is no measure of now."""


@dataclass(slots=True)
class WorkTotals:
    """What one inference replica has done since its start; only rises.

    Attributes:
        frames: Captures that went through the model.
        wanted: The same, each counted with its pressure: frames that sessions would have sent.
        room: Frames that the batches could have had.
        busy_s: Time in the model.
    """

    frames: int = 0
    wanted: float = 0.0
    room: int = 0
    busy_s: float = 0.0
    _since_s: float | None = None

    def begin(self, now_s: float) -> None:
        """The model starts on a batch."""
        self._since_s = now_s

    def end(self, pressures: Sequence[float], max_batch: int, now_s: float) -> None:
        """The model is done with it.

        Args:
            pressures: Those of its captures.
            max_batch: Captures in the largest batch.
            now_s: On the clock of :meth:`begin`.
        """
        if self._since_s is not None:
            self.busy_s += now_s - self._since_s
        self._since_s = None
        self.frames += len(pressures)
        self.wanted += sum(max(1.0, pressure) for pressure in pressures)
        self.room += max(max_batch, len(pressures))

    def report(self, now_s: float) -> dict[str, float]:
        """The totals by name; a batch under way counts up to now."""
        under_way_s = 0.0 if self._since_s is None else now_s - self._since_s
        return {"frames": self.frames, "wanted": self.wanted, "room": self.room, "busy_s": self.busy_s + under_way_s}


class Point(Protocol):
    """One report's value and its time, seconds on the clock of the replica's node."""

    @property
    def timestamp(self) -> float: ...  # noqa: D102

    @property
    def value(self) -> float: ...  # noqa: D102


Series = Mapping[str, Mapping[Any, Sequence[Point]]]
"""Name of a total → replica → its reports, oldest first."""


@dataclass(frozen=True, slots=True)
class Load:
    """The load of all replicas together, as a number of fully busy ones.

    Attributes:
        low: The load if batches that were not full had room for more at no cost.
        high: The load if they had none.
        known: Replicas on which it was measured.
    """

    low: float
    high: float
    known: int


class Reports:
    """Knows which replicas still report.

    When a report came is read on the controller's clock alone. The time that it states is its node's, which may be hours off: it
    only tells one report of a replica from the next, and how long lies between them.
    """

    def __init__(self) -> None:
        self._newest: dict[Any, tuple[float, float]] = {}
        """Replica → the time that its newest report states, and the controller's when it was first seen."""

    def fresh(self, series: Series, replicas: Iterable[Any], now_s: float) -> list[Any]:
        """Those of the replicas whose newest report is no older than :data:`_STALE_S`.

        Args:
            series: As Serve hands them to a policy.
            replicas: Those that run; all others are forgotten.
            now_s: The controller's clock.
        """
        before, self._newest = self._newest, {}
        for replica in replicas:
            if points := series.get("busy_s", {}).get(replica):
                stated_s, seen_s = before.get(replica, (None, now_s))
                newest_s = points[-1].timestamp
                self._newest[replica] = (newest_s, seen_s if newest_s == stated_s else now_s)
        return [replica for replica, (_, seen_s) in self._newest.items() if now_s - seen_s <= _STALE_S]


def measure(series: Series, replicas: Iterable[Any]) -> Load:
    """What the replicas' totals say about the look-back period.

    Args:
        series: As Serve hands them to a policy.
        replicas: Those whose reports are fresh. One that has just started, and has made one report at most, is not counted.
    """
    reports = {replica: series.get("busy_s", {}).get(replica, ()) for replica in replicas}
    known = {replica: points for replica, points in reports.items() if len(points) >= 2}
    # One period for all: a replica that started within it has not served before, while the others were wanted to do its part.
    period_s = max((points[-1].timestamp - points[0].timestamp for points in known.values()), default=0.0)
    if not period_s:
        return Load(0.0, 0.0, 0)
    busy, frames, wanted, room = (
        sum(_rise(series.get(name, {}).get(replica, ())) for replica in known) for name in ("busy_s", "frames", "wanted", "room")
    )
    high = busy / period_s * (wanted / frames if frames else 1.0)
    return Load(high * (frames / room if room else 1.0), high, len(known))


def _rise(points: Sequence[Point]) -> float:
    return points[-1].value - points[0].value if points else 0.0


def desired_replicas(load: Load, target: int, up_above: float, down_below: float) -> int:
    """How many replicas the load needs.

    Args:
        load: Measured.
        target: Replicas there are, or are being started.
        up_above: Load of a replica at which it is full.
        down_below: Load that the replicas which stay may have after one is taken away.

    Returns:
        ``target`` unless the load clearly needs more or fewer.
    """
    if not load.known:
        return target  # All are starting, or none reports: nothing says that another number would be better.
    at_least, at_most = math.ceil(load.low / up_above - 1e-9), math.ceil(load.high / down_below - 1e-9)
    return max(1, at_least) if at_least > target else max(1, min(target, at_most))


class FramesWanted:
    """The policy: ``policy_function: deployments.ops.autoscaling:FramesWanted`` in a deployment's ``autoscaling_config``.

    Args:
        up_above: See :func:`desired_replicas`. Below 1, as the rest of a replica's time goes into waiting for its next batch.
        down_below: Well below ``up_above``, or a load between the two would start and stop a replica for ever.

    Raises:
        ValueError: If the two are not in order.
    """

    def __init__(self, up_above: float = 0.85, down_below: float = 0.65) -> None:
        if not 0 < down_below < up_above <= 1:
            raise ValueError(f"policy_kwargs: expected 0 < down_below < up_above ≤ 1, got {down_below} and {up_above}")
        self._up_above, self._down_below = up_above, down_below
        self._reports = Reports()

    def __call__(self, context: Any) -> tuple[int, dict[str, Any]]:
        """Called by Serve's controller ten times a second.

        Args:
            context: ``ray.serve.config.AutoscalingContext``.

        Returns:
            The number before delays and limits, and the state that Serve keeps for the policy, which is none.
        """
        series: Series = context.raw_metrics or {}
        load = measure(series, self._reports.fresh(series, context.running_replicas, context.current_time))
        return desired_replicas(load, context.target_num_replicas, self._up_above, self._down_below), {}
