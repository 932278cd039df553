"""One fault under load: what is lost, who reconnects, and when the rate is back."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.audience import Audience
from benchmarks.load.session import FrameRecord
from benchmarks.viewers import Viewer, delivered, frames, outcomes

Fault = Callable[[], Awaitable[dict[str, Any]]]
"""Does the harm, and returns what else to say about it in the report."""

RECOVERED = 0.9
"""Share of the rate before."""
WINDOW_S = 2.0
"""What a rate is taken over. The rate is back at the start of the first such window that reaches it."""
_POLL_S = 0.25


@dataclass(frozen=True, slots=True)
class Plan:
    """How long a fault is watched: ``calm_s`` before it, at least ``after_s`` and at most ``limit_s`` after it."""

    calm_s: float = 5.0
    after_s: float = 6.0
    limit_s: float = 60.0


async def watch(viewers: Sequence[Viewer], fault: Fault, plan: Plan, room: Audience | None = None) -> dict[str, Any]:
    """Let viewers watch while something fails.

    Args:
        viewers: Started, and served.
        fault: What fails.
        plan: For how long.
        room: Watches as well.

    Returns:
        ``in_flight`` at the fault; ``lost``: see :func:`lost`; ``unheard``: frames sent after it into connections that then broke;
        ``broken``: sessions that did; ``noticed_s``: when the last of them did; ``back_s``: seconds until the rate was back, None
        if it never was; ``worst_gap_s``: the longest that any viewer was without a picture; ``room_gap_s``: that any screen of the
        room was.

    Raises:
        BenchmarkError: Somebody in the room has given up.
    """
    await asyncio.sleep(plan.calm_s)
    at_s = time.monotonic()
    before = delivered(viewers, at_s - plan.calm_s, at_s)
    in_flight = sum(frame.due_s < at_s and frame.answered_s is None for frame in frames(viewers))
    more = await fault()
    back_s: float | None = None
    while time.monotonic() < at_s + plan.limit_s:
        await asyncio.sleep(_POLL_S)
        now_s = time.monotonic()
        start_s = now_s - WINDOW_S
        if back_s is None and start_s >= at_s and delivered(viewers, start_s, now_s) >= RECOVERED * before:
            back_s = start_s - at_s
        is_room_back = room is None or (start_s >= at_s and room.longest_gap_s(start_s, now_s) < WINDOW_S)
        if back_s is not None and is_room_back and now_s >= at_s + plan.after_s + back_s:
            break
    end_s = time.monotonic()
    if room:
        room.check()
        more["room_gap_s"] = round(room.longest_gap_s(at_s, end_s), 1)
    broke_s = [broke_s for viewer in viewers for broke_s in viewer.broke_s if broke_s >= at_s]
    return {
        "fps_before": round(before, 1),
        "fps_after": round(delivered(viewers, end_s - WINDOW_S, end_s), 1),
        "in_flight": in_flight,
        "lost": lost(frames(viewers), at_s, end_s),
        "unheard": sum(frame.outcome == "cut" and frame.due_s >= at_s for frame in frames(viewers)),
        "broken": len(broke_s),
        "noticed_s": round(max(broke_s) - at_s, 1) if broke_s else None,
        "back_s": None if back_s is None else round(back_s, 1),
        "worst_gap_s": round(max(_worst_gap_s(viewer, at_s, end_s) for viewer in viewers), 1),
        "frames": outcomes(viewers, at_s, end_s),
        **more,
    }


def lost(found: Sequence[FrameRecord], from_s: float, to_s: float) -> dict[str, int]:
    """Frames that failed in a time, or were sent before it and cut in it, by the server's code."""
    ended = (frame for frame in found if frame.answered_s is not None and from_s <= frame.answered_s < to_s)
    gone = (frame for frame in ended if frame.outcome == "errored" or (frame.outcome == "cut" and frame.due_s < from_s))
    return dict(Counter(frame.reason or frame.outcome for frame in gone))


def _worst_gap_s(viewer: Viewer, from_s: float, to_s: float) -> float:
    shown = (frame.answered_s for frame in viewer.frames if frame.outcome == "delivered")
    moments = sorted([from_s, *(at_s for at_s in shown if at_s is not None and from_s <= at_s < to_s), to_s])
    return max(after - before for before, after in itertools.pairwise(moments))
