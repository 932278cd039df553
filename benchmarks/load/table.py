"""A report for people, as text."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.command import describe_machine
from benchmarks.figures import table

_PERCENTILES = ("p50", "p90", "p95", "p99", "max")
_COMMON = ("sessions", "offered/s", "delivered/s", "dropped", "errored", "unans.", "age p50", "p95", "Mbit/s", "max/min")


def describe(report: dict[str, Any]) -> str:
    """All of it, in the order in which one reads it."""
    return "\n".join(_lines(report))


def _lines(report: dict[str, Any]) -> Iterator[str]:
    args, moved, server = report["args"], report["bytes"], report["server"]
    loop = "closed loop" if args["closed_loop"] else f"{args['fps']:g} FPS each, open loop"
    who = ", ".join(f"{row['sessions']} {kind}" for kind, row in report["kinds"].items())
    yield f"{len(report['sessions'])} sessions ({who}), {loop}, {report['seconds']:g} s after {args['warmup_s']:g} s of warm-up"
    yield f"server   {server.get('engine', {}).get('label', '?')} · {args['url']}"
    yield f"client   {describe_machine(report)}"
    yield f"pictures {'×'.join(map(str, args['frame']))} JPEG"
    yield f"frames   {_frames(report['frames'])}"
    rate = f"{report['offered_fps']:.1f} frames/s offered, {report['delivered_fps']:.1f} delivered"
    yield f"rate     {rate}, {moved['up_mbit_s']:.1f} Mbit/s up, {moved['down_mbit_s']:.1f} Mbit/s down"
    if moved["reply"]:
        yield f"replies  {moved['reply']['p50'] / 1e3:.0f} kB, {moved['splats']['p50']:.0f} splats (medians)"
    yield f"deflate  {'NEGOTIATED: ' + ', '.join(report['extensions']) if report['extensions'] else 'not negotiated'}"
    rows = {"age at delivery": report["age_ms"], **{f"· {name}": found for name, found in report["stages_ms"].items()}}
    rows |= {"client loop lag": report["client"]["loop_lag_ms"], "client send slip": report["client"]["send_slip_ms"]}
    yield "\n" + table(["ms", *_PERCENTILES], ([name, *map(found.get, _PERCENTILES)] for name, found in rows.items() if found))
    head = ["kind", *_COMMON, "ended", "splats, px at the end", "quality changes"]
    yield "\n" + table(head, ([name, *_common(row), *_quality(row)] for name, row in report["kinds"].items()))
    if report["steps"]:
        yield "\n" + table(["from s", *_COMMON], ([f"{row['from_s']:g}", *_common(row)] for row in report["steps"]))
    yield "\n" + _server(report["server_usage"])
    failed = [entry for entry in report["sessions"] if entry["failure"] and not entry["failure_is_expected"]]
    if failed:
        yield f"\n{len(failed)} sessions ended early:"
        yield from (f"  session {entry['index']} ({entry['kind']}): {entry['failure']}" for entry in failed[:10])
    if not report["is_measurement"]:
        yield "\nNOT A MEASUREMENT of the server: the client was the bottleneck."
        yield from (f"  {reason}" for reason in report["client_was_the_bottleneck"])


def _frames(frames: Mapping[str, Any]) -> str:
    dropped, errored = frames["dropped"], frames["errored"]
    return (
        f"{frames['offered']} offered, {frames['sent']} sent, {frames['delivered']} delivered, "
        f"{sum(dropped.values())} dropped{_named(dropped)}, {sum(errored.values())} errored{_named(errored)}, "
        f"{frames['unanswered']} unanswered"
    )


def _common(row: Mapping[str, Any]) -> Sequence[object]:
    frames, age = row["frames"], row["age_ms"] or {}
    answers = (_counts(frames["dropped"]), _counts(frames["errored"]), frames["unanswered"])
    ages, rest = (age.get("p50"), age.get("p95")), (row["bytes"]["down_mbit_s"], row["fairness"]["max_over_min"])
    return [row["sessions"], row["offered_fps"], row["delivered_fps"], *answers, *ages, *rest]


def _quality(row: Mapping[str, Any]) -> Sequence[object]:
    quality = row["quality"]
    splats, px = quality["final_max_splats"], quality["final_inference_px"]
    return [row["ended_early"], None if splats is None else f"{splats:.0f}, {px:.0f}", _counts(quality["changes"])]


def _server(usage: Mapping[str, Any]) -> str:
    if "not_measured" in usage:
        return f"server CPU and memory: not measured: {usage['not_measured']}"
    everything = {**usage, "processes": sum(row["processes"] for row in usage["parts"].values())}
    keys = ("processes", "cores", "memory_mb", "most_memory_mb")
    rows = [[part, *(row[key] for key in keys)] for part, row in {**usage["parts"], "all": everything}.items()]
    store = usage["most_object_store_mb"]
    measured = table(["server", "processes", "cores", "MB, not shared", "at most"], rows)
    return f"{measured}\nobject store, at most: {'–' if store is None else f'{store:.1f} MB'}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "0"


def _named(counts: Mapping[str, int]) -> str:
    return f" ({_counts(counts)})" if counts else ""
