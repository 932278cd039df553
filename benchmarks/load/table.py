"""A report for people, as text."""

from collections.abc import Mapping, Sequence
from typing import Any

_PERCENTILES = ("p50", "p90", "p95", "p99", "max")


def table(report: dict[str, Any]) -> str:
    """All of it, in the order in which one reads it."""
    args, moved, machine = report["args"], report["bytes"], report["machine"]
    loop = "closed loop" if args["closed_loop"] else f"{args['fps']:g} FPS each, open loop"
    engine = report["server"].get("engine", {}).get("label", "?")
    who = ", ".join(f"{row['sessions']} {kind}" for kind, row in report["kinds"].items())
    lines = [
        f"{len(report['sessions'])} sessions ({who}), {loop}, {args['duration_s']:g} s after {args['warmup_s']:g} s of warm-up",
        f"server   {engine} · {args['url']}",
        f"client   {machine['cpu']}, {machine['cores']} cores, load before the run {machine.get('load_1min', '?')}",
        f"pictures {args['frame']} JPEG, quality {args['quality']}",
        f"frames   {_frames(report['frames'])}",
        f"rate     {report['offered_fps']:.1f} frames/s offered, {report['delivered_fps']:.1f} delivered, "
        f"{moved['up_mbit_s']:.1f} Mbit/s up, {moved['down_mbit_s']:.1f} Mbit/s down"
        + (f", {moved['reply']['p50'] / 1e3:.0f} kB and {moved['splats']['p50']:.0f} splats a frame" if moved["reply"] else ""),
        f"deflate  {'NEGOTIATED: ' + ', '.join(report['extensions']) if report['extensions'] else 'not negotiated'}"
        + ("" if args["offer_deflate"] else " (not offered)"),
        "",
        f"{'ms':<20}" + "".join(f"{name:>9}" for name in _PERCENTILES),
    ]
    rows = [("age at delivery", report["age_ms"]), *((f"  {name}", found) for name, found in report["stages_ms"].items())]
    rows += [("client loop lag", report["client"]["loop_lag_ms"]), ("client send slip", report["client"]["send_slip_ms"])]
    lines += [f"{name:<20}" + "".join(f"{found[key]:>9.1f}" for key in _PERCENTILES) for name, found in rows if found]
    lines += ["", *_kinds(report["kinds"]), "", *_server(report["server_usage"])]
    if report["steps"]:
        lines += ["", *_steps(report["steps"])]
    failed = [entry for entry in report["sessions"] if entry["failure"] and not entry["failure_is_expected"]]
    if failed:
        lines += ["", f"{len(failed)} sessions ended before their time:"]
        lines += [f"  session {entry['index']} ({entry['kind']}): {entry['failure']}" for entry in failed[:10]]
    if not report["is_measurement"]:
        lines += ["", "NOT A MEASUREMENT of the server: the client was the bottleneck."]
        lines += [f"  {reason}" for reason in report["client_was_the_bottleneck"]]
    return "\n".join(lines)


def _frames(frames: Mapping[str, Any]) -> str:
    return (
        f"{frames['offered']} offered, {frames['sent']} sent, {frames['delivered']} delivered, "
        f"{sum(frames['dropped'].values())} dropped{_named(frames['dropped'])}, "
        f"{sum(frames['errored'].values())} errored{_named(frames['errored'])}, {frames['unanswered']} unanswered"
    )


_COMMON = ("sessions", "offered/s", "delivered/s", "dropped", "errored", "unans.", "age p50", "p95", "Mbit/s", "max/min")


def _common(row: Mapping[str, Any]) -> list[str]:
    frames, age = row["frames"], row["age_ms"] or {}
    ratio = row["fairness"]["max_over_min"]
    return [
        str(row["sessions"]),
        f"{row['offered_fps']:.1f}",
        f"{row['delivered_fps']:.1f}",
        _counts(frames["dropped"]),
        _counts(frames["errored"]),
        str(frames["unanswered"]),
        f"{age['p50']:.0f}" if age else "–",
        f"{age['p95']:.0f}" if age else "–",
        f"{row['bytes']['down_mbit_s']:.1f}",
        "–" if ratio is None else f"{ratio:.2f}",
    ]


def _kinds(kinds: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, row in kinds.items():
        quality = row["quality"]
        splats, px = quality["final_max_splats"], quality["final_inference_px"]
        final = "–" if splats is None else f"{splats:.0f}, {px:.0f}"
        rows.append([name, *_common(row), str(row["ended_early"]), final, _counts(quality["changes"])])
    return _aligned([["kind", *_COMMON, "ended", "splats, px at the end", "quality changes"], *rows])


def _steps(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    return _aligned([["from s", *_COMMON], *([f"{row['from_s']:g}", *_common(row)] for row in steps)])


def _server(usage: Mapping[str, Any]) -> list[str]:
    if "not_measured" in usage:
        return [f"server CPU and memory: not measured: {usage['not_measured']}"]
    store = usage["most_object_store_mb"]
    rows = [
        [part, str(row["processes"]), f"{row['cores']:.2f}", f"{row['memory_mb']:.0f}", f"{row['most_memory_mb']:.0f}"]
        for part, row in usage["parts"].items()
    ]
    total = sum(row["processes"] for row in usage["parts"].values())
    rows.append(["all", str(total), f"{usage['cores']:.2f}", f"{usage['memory_mb']:.0f}", f"{usage['most_memory_mb']:.0f}"])
    head = ["server", "processes", "cores", "MB, not shared", "most"]
    return [*_aligned([head, *rows]), f"object store, at most: {'–' if store is None else f'{store:.1f} MB'}"]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "0"


def _named(counts: Mapping[str, int]) -> str:
    return f" ({_counts(counts)})" if counts else ""
