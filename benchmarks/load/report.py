"""What to say about a run: one versioned map, and a table of it for people.

Every frame is in exactly one of delivered, dropped, errored and unanswered. Ages count from when a frame was due (open loop)
or sent (closed loop) to when its whole reply was here; showing it comes on top. Percentiles interpolate linearly.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from benchmarks.load.run import Outcome
from benchmarks.load.session import FrameRecord, LoadSession

SCHEMA = "splatcast.load/1"
PERCENTILES = (50, 90, 95, 99)
STAGES = ("receive", "queue", "decode", "infer", "pack", "send", "total")
MAX_CPU_FRACTION = 0.9
"""A single-threaded process that uses more of its core has no room for the next burst."""


def percentiles(values: Iterable[float]) -> dict[str, float] | None:
    """``p50``, ``p90``, ``p95``, ``p99``, ``max`` and ``mean``; None of nothing."""
    array = np.fromiter(values, float)
    if not array.size:
        return None
    found = {f"p{p}": float(v) for p, v in zip(PERCENTILES, np.percentile(array, PERCENTILES), strict=True)}
    return {name: round(value, 3) for name, value in {**found, "max": float(array.max()), "mean": float(array.mean())}.items()}


def jain(values: Sequence[float]) -> float | None:
    """Jain's index of fairness: 1 where all get the same, 1/n where one gets everything."""
    squares = sum(value * value for value in values)
    return round(sum(values) ** 2 / (len(values) * squares), 4) if squares else None


def client_limits(lags_ms: Sequence[float], slips_ms: Sequence[float], cpu_fraction: float, bound_ms: float) -> list[str]:
    """Why this process, and not the server, may have made the figures; empty where it kept up.

    Args:
        lags_ms: How late its event loop woke.
        slips_ms: How late it got to frames that were due, where the socket was not what held it up.
        cpu_fraction: Of one core.
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


def build_report(outcome: Outcome, bound_ms: float, about: dict[str, Any]) -> dict[str, Any]:
    """The report of a run.

    Args:
        outcome: Of the run.
        bound_ms: See :func:`client_limits`.
        about: What else belongs in it: args, server, machine.
    """
    frames = [frame for session in outcome.sessions for frame in _measured(session)]
    delivered = [frame for frame in frames if frame.outcome == "delivered"]
    slips_ms = [(frame.woke_s - frame.due_s) * 1e3 for frame in frames]
    limits = client_limits(outcome.lags_ms, slips_ms, outcome.cpu_fraction, bound_ms)
    if not frames:
        limits.append("no frame fell due in the measured time")
    seconds = outcome.duration_s
    up, down = sum(frame.sent_bytes for frame in frames), sum(frame.reply_bytes for frame in delivered)
    per_session = [_session(session, seconds) for session in outcome.sessions]
    fps = [entry["fps"] for entry in per_session]
    return {
        "schema": SCHEMA,
        "is_measurement": not limits,
        "client_was_the_bottleneck": limits,
        **about,
        "frames": {
            "offered": len(frames),
            "sent": sum(frame.sent_s is not None for frame in frames),
            "delivered": len(delivered),
            "dropped": _reasons(frames, "dropped"),
            "errored": _reasons(frames, "errored"),
            "unanswered": sum(frame.outcome == "unanswered" for frame in frames),
        },
        "delivered_fps": round(len(delivered) / seconds, 3),
        "age_ms": percentiles(map(age_ms, delivered)),
        "stages_ms": {
            **{name: percentiles(f.timings_ms[name] for f in delivered if name in f.timings_ms) for name in STAGES},
            # What the server can't see: the way there, the way back, and both sockets' buffers.
            "outside": percentiles(age_ms(f) - f.timings_ms["total"] for f in delivered if "total" in f.timings_ms),
        },
        "bytes": {
            "sent": up,
            "received": down,
            "up_mbit_s": round(up * 8e-6 / seconds, 3),
            "down_mbit_s": round(down * 8e-6 / seconds, 3),
            "reply": percentiles(frame.reply_bytes for frame in delivered),
            "splats": percentiles(frame.splats for frame in delivered),
        },
        "sessions": per_session,
        "fairness": {"jain": jain(fps), "min_fps": min(fps), "max_fps": max(fps)},
        "extensions": sorted({name for session in outcome.sessions for name in session.extensions}),
        "client": {
            "loop_lag_ms": percentiles(outcome.lags_ms),
            "send_slip_ms": percentiles(slips_ms),
            "cpu_fraction": round(outcome.cpu_fraction, 3),
            "bound_ms": bound_ms,
        },
    }


def age_ms(frame: FrameRecord) -> float:
    """From due to answered."""
    assert frame.answered_s is not None
    return (frame.answered_s - frame.due_s) * 1e3


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    args, frames, moved, machine = report["args"], report["frames"], report["bytes"], report["machine"]
    loop = "closed loop" if args["closed_loop"] else f"{args['fps']:g} FPS each, open loop"
    engine = report["server"].get("engine", {}).get("label", "?")
    lines = [
        f"{args['sessions']} sessions, {loop}, {args['duration_s']:g} s after {args['warmup_s']:g} s of warm-up",
        f"server   {engine} · {args['url']}",
        f"client   {machine['cpu']}, {machine['cores']} cores, load before the run {machine.get('load_1min', '?')}",
        f"pictures {args['frame']} JPEG, quality {args['quality']}",
        f"frames   {frames['offered']} offered, {frames['sent']} sent, {frames['delivered']} delivered, "
        f"{sum(frames['dropped'].values())} dropped{_named(frames['dropped'])}, "
        f"{sum(frames['errored'].values())} errored{_named(frames['errored'])}, {frames['unanswered']} unanswered",
        f"rate     {report['delivered_fps']:.1f} frames/s delivered, {moved['up_mbit_s']:.1f} Mbit/s up, "
        f"{moved['down_mbit_s']:.1f} Mbit/s down"
        + (f", {moved['reply']['p50'] / 1e3:.0f} kB and {moved['splats']['p50']:.0f} splats a frame" if moved["reply"] else ""),
        f"fairness {report['fairness']['min_fps']:.1f} to {report['fairness']['max_fps']:.1f} FPS a session, "
        f"Jain {report['fairness']['jain']}",
        f"deflate  {'NEGOTIATED: ' + ', '.join(report['extensions']) if report['extensions'] else 'not negotiated'}"
        + ("" if args["offer_deflate"] else " (not offered)"),
        "",
        f"{'ms':<20}" + "".join(f"{name:>9}" for name in ("p50", "p90", "p95", "p99", "max")),
    ]
    rows = [("age at delivery", report["age_ms"]), *((f"  {name}", found) for name, found in report["stages_ms"].items())]
    rows += [("client loop lag", report["client"]["loop_lag_ms"]), ("client send slip", report["client"]["send_slip_ms"])]
    for name, found in rows:
        if found:
            lines.append(f"{name:<20}" + "".join(f"{found[key]:>9.1f}" for key in ("p50", "p90", "p95", "p99", "max")))
    failed = [f"  session {entry['index']}: {entry['failure']}" for entry in report["sessions"] if entry["failure"]]
    if failed:
        lines += ["", f"{len(failed)} sessions ended before their time:", *failed[:10]]
    if not report["is_measurement"]:
        lines += ["", "NOT A MEASUREMENT of the server: the client was the bottleneck."]
        lines += [f"  {reason}" for reason in report["client_was_the_bottleneck"]]
    return "\n".join(lines)


def _measured(session: LoadSession) -> list[FrameRecord]:
    return [frame for frame in session.frames if frame.due_s >= session.schedule.measure_from_s]


def _session(session: LoadSession, seconds: float) -> dict[str, Any]:
    frames = _measured(session)
    delivered = [frame for frame in frames if frame.outcome == "delivered"]
    return {
        "index": session.index,
        "offered": len(frames),
        "delivered": len(delivered),
        "fps": round(len(delivered) / seconds, 3),
        "age_ms": percentiles(map(age_ms, delivered)),
        "failure": str(session.failure) if session.failure else None,
    }


def _reasons(frames: Sequence[FrameRecord], outcome: str) -> dict[str, int]:
    return dict(sorted(Counter(frame.reason for frame in frames if frame.outcome == outcome).items()))


def _named(counts: dict[str, int]) -> str:
    return f" ({', '.join(f'{count} {name}' for name, count in counts.items())})" if counts else ""
