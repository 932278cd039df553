"""What is looked at while a server runs, and how much of it may grow."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.processes import Look, by_part
from benchmarks.soak.trend import Trend, hours_to, judge

MB = 1e6


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a series counts.

    Attributes:
        unit: The unit of its values.
        tolerance: How far it may rise in the judged half of a run: how much it moves when nothing leaks.
        tolerance_per_min: How far it may rise a minute.
        full: How much of it there is, also in words: for a series that grows, the report says how long that lasts.
    """

    unit: str
    tolerance: float
    tolerance_per_min: float = 0.0
    full: tuple[float, str] = (1000.0, "1 GB")


QUANTITIES = {
    # Allocators give memory back as they please: under a constant load, replicas were seen to move by 8 MB.
    "memory": Quantity("MB", 8.0),
    "descriptors": Quantity("", 4.0, full=(1024.0, "1024 descriptors")),
    "threads": Quantity("", 3.0, full=(1000.0, "1000 threads")),
    "processes": Quantity("", 1.0, full=(100.0, "100 processes")),
    "object store": Quantity("MB", 16.0, full=(512.0, "its 512 MB")),
    "spilled": Quantity("MB", 1.0),
    # Sessions report themselves every 5 s. Serve starts a new file at 100 MB and keeps five of each.
    "logs": Quantity("MB", 1.0, tolerance_per_min=1.0),
    "sessions": Quantity("", 3.0, full=(600.0, "600 sessions")),
}


@dataclass(frozen=True, slots=True)
class Series:
    """One quantity of one part of the server over time: ``points`` are (seconds, value in the quantity's unit)."""

    part: str
    quantity: str
    points: Sequence[tuple[float, float]]

    @property
    def name(self) -> str:
        """Such as ``Ingress memory``."""
        return f"{self.part} {self.quantity}".strip()

    def judge(self) -> Trend:
        """Whether it grows."""
        quantity = QUANTITIES[self.quantity]
        return judge(self.points, quantity.tolerance, quantity.tolerance_per_min)


def series(looks: Sequence[Look]) -> list[Series]:
    """All series of a run. Memory, descriptors and threads are averages over a part's processes: replicas come and go."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for look in looks:
        values: dict[tuple[str, str], float | None] = {}
        for part, usage in by_part(look.processes).items():
            values[part, "memory"] = usage.private_bytes / usage.processes / MB
            values[part, "descriptors"] = usage.descriptors / usage.processes
            values[part, "threads"] = usage.threads / usage.processes
        values["", "processes"] = len(look.processes)
        values["", "object store"] = _mb(look.metrics.get("store_bytes"))
        values["", "spilled"] = _mb(look.metrics.get("spilled_bytes"))
        values["", "sessions"] = look.metrics.get("sessions")
        values["", "logs"] = _mb(look.log_bytes)
        for name, value in values.items():
            if value is not None:
                found.setdefault(name, []).append((look.at_s, value))
    return [Series(part, quantity, points) for (part, quantity), points in sorted(found.items())]


def rates(delivered: Sequence[tuple[float, int]], window_s: float = 30.0) -> list[tuple[float, float]]:
    """Frames delivered a minute, over the window before each moment; the first moments have none.

    Args:
        delivered: (seconds, frames delivered so far).
    """
    found = []
    for at_s, frames in delivered:
        before = next((other for other in reversed(delivered) if other[0] <= at_s - window_s), None)
        if before:
            found.append((at_s, 60.0 * (frames - before[1]) / (at_s - before[0])))
    return found


def sentence(found: Series, trend: Trend) -> str:
    """The verdict in words."""
    quantity = QUANTITIES[found.quantity]
    unit = f" {quantity.unit}" if quantity.unit else ""
    if trend.verdict != "grows":
        return f"{trend.verdict}: {found.name} {trend.per_min:+.2g}{unit}/min"
    amount, words = quantity.full
    return f"grows: {found.name} {trend.per_min:+.2g}{unit}/min (would fill {words} in {hours_to(amount, trend.per_min)})"


def describe_series(found: Series) -> dict[str, Any]:
    """A series and its verdict, for the report."""
    trend = found.judge()
    values = [value for _, value in found.points]
    return {
        "part": found.part,
        "quantity": found.quantity,
        "unit": QUANTITIES[found.quantity].unit,
        "verdict": trend.verdict,
        "sentence": sentence(found, trend),
        "per_min": trend.per_min,
        "rise": trend.rise,
        "noise": trend.noise,
        "tolerance": trend.tolerance,
        "median": round(median(values), 3),
        "most": round(max(values), 3),
        "points": [(round(at_s, 1), round(value, 3)) for at_s, value in found.points],
    }


def _mb(value: float | None) -> float | None:
    return None if value is None else value / MB
