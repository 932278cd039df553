"""``python -m benchmarks.faults --out run.json``. Exit status: 0 measured, 1 the rate never came back after a fault."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.controller import joined
from benchmarks.faults import inject, nodes
from benchmarks.faults.watch import Fault, Plan, watch
from benchmarks.machine import provenance
from benchmarks.server import LocalServer
from benchmarks.viewers import Viewer
from deployments.scene.clip import encode_clip

SCHEMA = "splatcast.faults/1"
NODE = "kill node"


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the table, write the report. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults", description="What is lost when something fails under load."
    )
    parser.add_argument("--only", default="", help="faults whose name has this in it, commas between; all by default")
    parser.add_argument("--replicas", type=int, default=2, help="of each stage (%(default)s)")
    parser.add_argument("--sessions", type=int, default=4, help="viewers (%(default)s)")
    parser.add_argument("--fps", type=float, default=4.0, help="of each (%(default)s)")
    parser.add_argument("--calm-s", type=float, default=5.0, help="before each fault (%(default)s)")
    parser.add_argument("--after-s", type=float, default=6.0, help="of watching once the rate is back (%(default)s)")
    parser.add_argument("--limit-s", type=float, default=60.0, help="for the rate to come back (%(default)s)")
    parser.add_argument("--out", type=Path, help="write the report as JSON")
    args = parser.parse_args(argv)
    report: dict[str, Any] = {"schema": SCHEMA, "args": {**vars(args), "out": str(args.out)}, **provenance(), "faults": {}}
    wanted = [word.strip() for word in args.only.split(",") if word.strip()]
    running = inject.config(args.replicas)

    def is_wanted(name: str) -> bool:
        return not wanted or any(word in name for word in wanted)

    names = [name for name in inject.faults(None, running) if is_wanted(name)]  # type: ignore[arg-type]
    if names:
        with LocalServer(running) as server, joined(server):
            chosen = {name: fault for name, fault in inject.faults(server, running).items() if name in names}
            report["faults"] |= asyncio.run(measure(server.ws_url, chosen, args))
    if is_wanted(NODE):
        with nodes.ThreeNodes(inject.config(2)) as cluster:
            report["faults"] |= asyncio.run(measure(cluster.ws_url, {NODE: cluster.kill_node()}, args))
    print(table(report))
    if args.out:
        args.out.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if all(found["back_s"] is not None for found in report["faults"].values()) else 1


async def measure(url: str, faults: dict[str, Fault], args: argparse.Namespace) -> dict[str, Any]:
    """One fault after the other, under the same viewers."""
    clip = encode_clip(1.0, 5.0, 160, 120, 80)
    viewers = [Viewer(url, clip, args.fps) for _ in range(args.sessions)]
    for viewer in viewers:
        viewer.start()
        await asyncio.sleep(1.0 / args.fps / args.sessions)
    try:
        await asyncio.sleep(2.0)
        found = {}
        for name, fault in faults.items():
            print(f"{name} …", file=sys.stderr, flush=True)
            found[name] = await watch(viewers, fault, Plan(args.calm_s, args.after_s, args.limit_s))
        return found
    finally:
        await asyncio.gather(*(viewer.stop() for viewer in viewers))


def table(report: dict[str, Any]) -> str:
    """The report for people, as Markdown."""
    lines = [
        "| fault | in flight | lost | sent into broken sockets | sessions reconnected | rate back after s | longest gap s |",
        "|---|---|---|---|---|---|---|",
    ]
    sessions = report["args"]["sessions"]
    for name, found in report["faults"].items():
        lost = ", ".join(f"{count} {word}" for word, count in found["lost"].items()) or "0"
        answer = f" ({found['answer']} after {found['answered_s']:g} s)" if "answer" in found else ""
        back = "never" if found["back_s"] is None else f"{found['back_s']:g}"
        broken = f"{found['broken']} of {sessions}"
        cells = [name + answer, found["in_flight"], lost, found["unheard"], broken, back, f"{found['worst_gap_s']:g}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
