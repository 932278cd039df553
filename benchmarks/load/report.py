"""What to say about a run: one versioned map.

Every frame is exactly one of delivered, dropped, errored and unanswered. Ages count from when a frame was due (open loop) or
sent (closed loop) to when its whole reply had arrived; showing it comes on top.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from benchmarks.figures import percentiles
from benchmarks.load.kinds import KINDS
from benchmarks.load.run import Outcome
from benchmarks.load.schedule import Step
from benchmarks.load.session import FrameRecord, LoadSession
from benchmarks.processes import Look, by_part, cores
from deployments.stream.messages import QualityState

VERSION = 3
STAGES = ("receive", "queue", "decode", "infer", "pack", "send", "total")
MAX_CPU_FRACTION = 0.9
"""A single-threaded process that uses more of its core has no room for the next burst."""


def client_limits(lags_ms: Sequence[float], slips_ms: Sequence[float], cpu_fraction: float, bound_ms: float) -> list[str]:
    """Why the figures may be this process's rather than the server's; empty if it kept up.

    Args:
        lags_ms: How late its event loop woke.
        slips_ms: How late it got round to frames that were due, when it was not the socket that held it up.
        cpu_fraction: CPU time, as a fraction of one core.
        bound_ms: 99 % of lags and slips must lie below this.
    """
    reasons = []
    for name, values in (("event loop lag", lags_ms), ("send schedule slip", slips_ms)):
        found = percentiles(values)
        if found and found["p99"] > bound_ms:
            reasons.append(f"{name}: p99 {found['p99']:.1f} ms, bound {bound_ms:g} ms")
    if cpu_fraction > MAX_CPU_FRACTION:
        reasons.append(f"client CPU: {cpu_fraction:.0%} of a core, bound {MAX_CPU_FRACTION:.0%}")
    return reasons


def build_report(outcome: Outcome, bound_ms: float, parts: Sequence[Step] = (), not_measured: str = "") -> dict[str, Any]:
    """The figures of a run.

    Args:
        outcome: What the run gave.
        bound_ms: See :func:`client_limits`.
        parts: The steps of a ramp.
        not_measured: Why the server's processes were not looked at.
    """
    sessions, seconds = outcome.sessions, outcome.duration_s
    frames = [frame for session in sessions for frame in _measured(session)]
    slips_ms = [(frame.woke_s - frame.due_s) * 1e3 for frame in frames]
    limits = client_limits(outcome.lags_ms, slips_ms, outcome.cpu_fraction, bound_ms)
    if not frames:
        limits.append("no frame fell due in the measured time")
    kinds = [name for name in KINDS if any(session.kind == name for session in sessions)]
    return {
        "is_measurement": not limits,
        "client_was_the_bottleneck": limits,
        "seconds": seconds,
        **_figures(frames, seconds),
        "kinds": {kind: _kind([session for session in sessions if session.kind == kind], seconds) for kind in kinds},
        "steps": [_step(sessions, part) for part in parts],
        "sessions": [_session(session, seconds) for session in sessions],
        "extensions": sorted({name for session in sessions for name in session.extensions}),
        "server_usage": {"not_measured": not_measured} if not_measured else server_usage(outcome.server),
        "client": {
            "loop_lag_ms": percentiles(outcome.lags_ms),
            "send_slip_ms": percentiles(slips_ms),
            "cpu_fraction": round(outcome.cpu_fraction, 3),
            "bound_ms": bound_ms,
        },
    }


def fairness(delivered: Sequence[int]) -> dict[str, Any]:
    """Among sessions that should get the same: the fewest and the most frames delivered to one of them, and their ratio."""
    least, most = min(delivered), max(delivered)
    return {"min_frames": least, "max_frames": most, "max_over_min": round(most / least, 3) if least else None}


def quality_changes(states: Iterable[QualityState]) -> dict[str, int]:
    """Changes of a stream's quality by cause, as its client saw them: to a client, two changes between two replies are one."""
    found: Counter[str] = Counter()
    before: QualityState | None = None
    for state in states:
        if before and (state.max_splats, state.inference_px) != (before.max_splats, before.inference_px):
            found[state.cause] += 1
        before = state
    return dict(sorted(found.items()))


def server_usage(looks: Sequence[Look]) -> dict[str, Any]:
    """CPU and memory of the server's processes, from looks at rising times."""
    if len(looks) < 2:
        return {"not_measured": "the run was too short for two looks at the server"}
    seconds = looks[-1].at_s - looks[0].at_s
    used = cores(looks[0].processes, looks[-1].processes, seconds)
    memory = [by_part(look.processes) for look in looks]
    stored = [look.metrics["store_bytes"] for look in looks if "store_bytes" in look.metrics]
    parts = {
        part: {
            "processes": usage.processes,
            "cores": used[part],
            "memory_mb": round(usage.private_bytes / 1e6, 1),
            "most_memory_mb": round(max(found[part].private_bytes for found in memory if part in found) / 1e6, 1),
        }
        for part, usage in memory[-1].items()
    }
    totals = [sum(usage.private_bytes for usage in found.values()) for found in memory]
    return {
        "seconds": round(seconds, 1),
        "cores": round(sum(used.values()), 3),
        "memory_mb": round(totals[-1] / 1e6, 1),
        "most_memory_mb": round(max(totals) / 1e6, 1),
        "most_object_store_mb": round(max(stored) / 1e6, 1) if stored else None,
        "parts": parts,
    }


def _figures(frames: Sequence[FrameRecord], seconds: float) -> dict[str, Any]:
    delivered = [frame for frame in frames if frame.outcome == "delivered"]
    up, down = sum(frame.sent_bytes for frame in frames), sum(frame.reply_bytes for frame in delivered)
    return {
        "frames": {
            "offered": len(frames),
            "sent": sum(frame.sent_s is not None for frame in frames),
            "delivered": len(delivered),
            "dropped": _reasons(frames, "dropped"),
            "errored": _reasons(frames, "errored"),
            "unanswered": sum(frame.outcome == "unanswered" for frame in frames),
        },
        "offered_fps": round(len(frames) / seconds, 3),
        "delivered_fps": round(len(delivered) / seconds, 3),
        "age_ms": percentiles(frame.age_ms for frame in delivered),
        "stages_ms": {
            **{name: percentiles(f.timings_ms[name] for f in delivered if name in f.timings_ms) for name in STAGES},
            # What the server can't see: the way there, the way back, and the buffers of both sockets.
            "outside": percentiles(f.age_ms - f.timings_ms["total"] for f in delivered if "total" in f.timings_ms),
        },
        "bytes": {
            "sent": up,
            "received": down,
            "up_mbit_s": round(up * 8e-6 / seconds, 3),
            "down_mbit_s": round(down * 8e-6 / seconds, 3),
            "reply": percentiles(frame.reply_bytes for frame in delivered),
            "splats": percentiles(frame.splats for frame in delivered),
        },
    }


def _kind(sessions: Sequence[LoadSession], seconds: float) -> dict[str, Any]:
    frames = [_measured(session) for session in sessions]
    states = [[frame.quality for frame in session.frames if frame.quality] for session in sessions]
    changes = sum((Counter(quality_changes(found)) for found in states), Counter[str]())
    final = [found[-1] for found in states if found]
    return {
        "sessions": len(sessions),
        "ended_early": sum(session.failure is not None for session in sessions),
        **_figures([frame for each in frames for frame in each], seconds),
        # Only sessions that were there all the time are equals; a ramp has the fairness of each step.
        "fairness": fairness([_delivered(each) for each, s in zip(frames, sessions, strict=True) if not s.schedule.join_s]),
        "quality": {
            "changes": dict(sorted(changes.items())),
            "final_max_splats": median(state.max_splats for state in final) if final else None,
            "final_inference_px": median(state.inference_px for state in final) if final else None,
        },
    }


def _step(sessions: Sequence[LoadSession], part: Step) -> dict[str, Any]:
    present = [session for session in sessions if session.schedule.join_s <= part.from_s]
    frames = [[frame for frame in session.frames if part.from_s <= frame.due_s < part.to_s] for session in present]
    return {
        "sessions": part.sessions,
        "from_s": part.from_s,
        "to_s": part.to_s,
        **_figures([frame for each in frames for frame in each], part.to_s - part.from_s),
        "fairness": fairness([_delivered(each) for each in frames]),
    }


def _measured(session: LoadSession) -> list[FrameRecord]:
    return [frame for frame in session.frames if frame.due_s >= session.schedule.measure_from_s]


def _delivered(frames: Sequence[FrameRecord]) -> int:
    return sum(frame.outcome == "delivered" for frame in frames)


def _session(session: LoadSession, seconds: float) -> dict[str, Any]:
    frames = _measured(session)
    return {
        "index": session.index,
        "kind": session.kind,
        "offered": len(frames),
        "delivered": _delivered(frames),
        "fps": round(_delivered(frames) / seconds, 3),
        "age_ms": percentiles(frame.age_ms for frame in frames if frame.outcome == "delivered"),
        "failure": str(session.failure) if session.failure else None,
        "failure_is_expected": KINDS[session.kind].link == "stops",
    }


def _reasons(frames: Sequence[FrameRecord], outcome: str) -> dict[str, int]:
    return dict(sorted(Counter(frame.reason for frame in frames if frame.outcome == outcome).items()))
