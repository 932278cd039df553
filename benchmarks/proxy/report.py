"""What to say about both modes: one versioned map, and its tables in Markdown."""

import statistics
from typing import Any

from benchmarks.proxy.measure import percentiles
from benchmarks.proxy.modes import HAPROXY, PYTHON

SCHEMA = "splatcast.proxy/1"
Rounds = dict[str, list[Any]]


def summarise_replies(rounds: Rounds) -> dict[str, Any]:
    """Mode → percentiles of ``age_ms`` and ``way_ms``; and ``ratio``, the median of the rounds' paired ratios of the way.

    Args:
        rounds: Mode → one list of frames for each round, the modes' rounds in step.
    """
    found: dict[str, Any] = {}
    for mode, groups in rounds.items():
        frames = [frame for group in groups for frame in group]
        found[mode] = {name: percentiles([frame[name] for frame in frames]) for name in ("age_ms", "way_ms")}
        found[mode]["mb"] = round(statistics.median(frame["bytes"] for frame in frames) / 1e6, 2)
    ways = {mode: [statistics.median(frame["way_ms"] for frame in group) for group in groups] for mode, groups in rounds.items()}
    found["ratio"] = round(statistics.median(p / h for p, h in zip(ways[PYTHON], ways[HAPROXY], strict=True)), 2)
    return found


def summarise_rates(rounds: Rounds) -> dict[str, Any]:
    """Mode → medians of the rounds; and ``ratio`` of the frames, HAProxy's to the Python proxy's, from paired rounds."""
    found: dict[str, Any] = {
        mode: {name: round(statistics.median(entry[name] for entry in entries), 2) for name in entries[0]}
        for mode, entries in rounds.items()
    }
    pairs = zip(rounds[PYTHON], rounds[HAPROXY], strict=True)
    found["ratio"] = round(statistics.median(haproxy["fps"] / python["fps"] for python, haproxy in pairs), 2)
    return found


def tables(report: dict[str, Any]) -> str:
    """The report for people, as Markdown."""
    machine, args = report["machine"], report["args"]
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_1min']} at the start, "
        f"Ray {report['versions'].get('ray', '?')}, {args['rounds']} rounds in turn",
        "",
        "| one session | way p50, ms | p95 | age p50, ms | p95 |",
        "|---|---|---|---|---|",
    ]
    for size, found in report["replies"].items():
        for mode in (PYTHON, HAPROXY):
            way, age = found[mode]["way_ms"], found[mode]["age_ms"]
            more = f" (ratio {found['ratio']:.1f}×)" if mode == HAPROXY else ""
            lines.append(f"| {size} MB, {mode}{more} | {way['p50']:.1f} | {way['p95']:.1f} | {age['p50']:.1f} | {age['p95']:.1f} |")
    lines += [
        "",
        "| closed loop | frames/s | MB/s | age p50, ms | CPU ms a frame: proxy | ingress |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in report["rates"].items():
        for mode in (PYTHON, HAPROXY):
            row = found[mode]
            more = f" (ratio {found['ratio']:.2f}×)" if mode == HAPROXY else ""
            figures = (row["fps"], row["mb_s"], row["age_p50_ms"], row["proxy_cpu_ms"], row["ingress_cpu_ms"])
            lines.append(f"| {name}, {mode}{more} | " + " | ".join(f"{value:.1f}" for value in figures) + " |")
    lines += ["", "| killed | session ended after, s | splats again after, s |", "|---|---|---|"]
    for victim, modes in report["recovery"].items():
        for mode, found in modes.items():
            lines.append(f"| {victim}, {mode} | {found['noticed_s']:.1f} | {found['back_s']:.1f} |")
    return "\n".join(lines)
