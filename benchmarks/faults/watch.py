"""One fault under load: what is lost, who reconnects, and when the rate is back."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.viewers import Shot, Viewer, fates, rate, shots

Fault = Callable[[], Awaitable[dict[str, Any]]]
"""Does the harm, and says more about it for the report."""

RECOVERED = 0.9
"""Of the rate before."""
WINDOW_S = 2.0
"""A rate is that of so long. The rate is back at the start of the first such window that has it."""
_POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Plan:
    """How a fault is watched: ``calm_s`` before it, at least ``after_s`` and at most ``limit_s`` after it."""

    calm_s: float = 5.0
    after_s: float = 6.0
    limit_s: float = 60.0


async def watch(viewers: Sequence[Viewer], fault: Fault, plan: Plan) -> dict[str, Any]:
    """Let viewers watch while something fails.

    Args:
        viewers: Started, and served.
        fault: What fails.
        plan: For how long.

    Returns:
        ``in_flight`` at the fault; ``lost``: frames that failed, or were in flight at the fault and cut with their connection, by
        word; ``unheard``: frames sent after it into connections that then broke; ``broken``: sessions that did; ``noticed_s``: when
        the last of them did; ``back_s``: seconds until the rate was back, None if it never was; ``worst_gap_s``: the longest that
        any viewer was without a picture.
    """
    await asyncio.sleep(plan.calm_s)
    at_s = time.monotonic()
    before = rate(viewers, "delivered", at_s - plan.calm_s, at_s)
    flying = sum(shot.sent_s < at_s and shot.ended_s is None for shot in shots(viewers))
    more = await fault()
    back_s: float | None = None
    while time.monotonic() < at_s + plan.limit_s:
        await asyncio.sleep(_POLL_S)
        now_s = time.monotonic()
        start_s = now_s - WINDOW_S
        if back_s is None and start_s >= at_s and rate(viewers, "delivered", start_s, now_s) >= RECOVERED * before:
            back_s = start_s - at_s
        if back_s is not None and now_s >= at_s + plan.after_s + back_s:
            break
    end_s = time.monotonic()
    broke_s = [broke_s for viewer in viewers for broke_s in viewer.broke_s if broke_s >= at_s]
    return {
        "fps_before": round(before, 1),
        "fps_after": round(rate(viewers, "delivered", end_s - WINDOW_S, end_s), 1),
        "in_flight": flying,
        "lost": lost(shots(viewers), at_s, end_s),
        "unheard": sum(shot.fate == "cut" and shot.sent_s >= at_s for shot in shots(viewers)),
        "broken": len(broke_s),
        "noticed_s": round(max(broke_s) - at_s, 1) if broke_s else None,
        "back_s": None if back_s is None else round(back_s, 1),
        "worst_gap_s": round(max(_worst_gap_s(viewer, at_s, end_s) for viewer in viewers), 1),
        "frames": fates(viewers, at_s, end_s),
        **more,
    }


def lost(found: Sequence[Shot], from_s: float, to_s: float) -> dict[str, int]:
    """Frames that failed in a time, or were cut in it and sent before, by the server's word."""
    ended = (shot for shot in found if shot.ended_s is not None and from_s <= shot.ended_s < to_s)
    gone = (shot for shot in ended if shot.fate == "failed" or (shot.fate == "cut" and shot.sent_s < from_s))
    return dict(Counter(shot.code or shot.fate for shot in gone))


def _worst_gap_s(viewer: Viewer, from_s: float, to_s: float) -> float:
    shown = [shot.ended_s for shot in viewer.shots if shot.fate == "delivered" and shot.ended_s is not None]
    moments = sorted([from_s, *(s for s in shown if from_s <= s < to_s), to_s])
    return max(after - before for before, after in itertools.pairwise(moments))
