"""``python -m benchmarks.faults --out run.json``. Exit status: 0 measured, 1 the rate never came back after a fault."""

import argparse
import asyncio
import sys
from typing import Any

from benchmarks.audience import Audience
from benchmarks.command import command, names, new_parser, publish, start_report
from benchmarks.controller import joined
from benchmarks.faults import inject, nodes
from benchmarks.faults.watch import Fault, Plan, watch
from benchmarks.figures import table
from benchmarks.load.session import Client
from benchmarks.server import LocalServer
from benchmarks.viewers import watching
from deployments.scene.clip import encode_clip

NODE = "kill node"
ROOM_FPS, SCREENS = 5.0, 4


@command("faults")
def main(argv: list[str]) -> int:
    """Run, print the table, write the report. Returns the exit status."""
    parser = new_parser("faults", "What is lost when something fails under load.")
    parser.add_argument("--only", type=names, default=[], help="faults whose name contains one of these, separated by commas")
    parser.add_argument("--sessions", type=int, default=4, help="viewers (%(default)s)")
    parser.add_argument("--fps", type=float, default=4.0, help="frames a second from each (%(default)s)")
    parser.add_argument("--calm-s", type=float, default=5.0, help="before each fault (%(default)s)")
    parser.add_argument("--after-s", type=float, default=6.0, help="to go on watching once the rate is back (%(default)s)")
    parser.add_argument("--limit-s", type=float, default=60.0, help="for the rate to come back (%(default)s)")
    args = parser.parse_args(argv)
    report = start_report("faults", 3, argv, args)
    found: dict[str, Any] = {}

    def is_wanted(name: str) -> bool:
        return not args.only or any(word in name for word in args.only)

    running = inject.config(replicas=2)
    if any(map(is_wanted, inject.NAMES)):
        with LocalServer(running) as server, joined(server):
            chosen = {name: fault for name, fault in inject.faults(server, running).items() if is_wanted(name)}
            found |= asyncio.run(measure(server.ws_url, chosen, args))
    if is_wanted(NODE):
        with nodes.ThreeNodes(inject.config(replicas=2)) as cluster:
            found |= asyncio.run(measure(cluster.ws_url, {NODE: cluster.kill_node}, args))
    report["faults"] = found
    publish(report, describe(report), args.out)
    return 0 if all(fault["back_s"] is not None for fault in found.values()) else 1


async def measure(url: str, faults: dict[str, Fault], args: argparse.Namespace) -> dict[str, Any]:
    """One fault after the other, under the same viewers and before the same room."""
    # One codec would do: the codec is not what is measured.
    pictures = encode_clip(1.0, 5.0, 160, 120, 80)
    client = Client(url, pictures, ["packed", "points"])
    found = {}
    async with watching(client, args.sessions, args.fps) as viewers, Audience(url, "faults", pictures, ROOM_FPS, SCREENS) as room:
        await asyncio.sleep(2.0)
        for name, fault in faults.items():
            print(f"{name} …", file=sys.stderr, flush=True)
            found[name] = await watch(viewers, fault, Plan(args.calm_s, args.after_s, args.limit_s), room)
    return found


def describe(report: dict[str, Any]) -> str:
    """The report for people."""
    head = ["fault", "in flight", "lost", "sent into broken sockets", "sessions broken", "rate back after, s"]
    head += ["longest gap, s", "of a room's screen, s"]
    rows = []
    for name, found in report["faults"].items():
        lost = ", ".join(f"{count} {word}" for word, count in found["lost"].items()) or "0"
        answer = f" ({found['answer']} after {found['answered_s']:g} s)" if "answer" in found else ""
        broken = f"{found['broken']} of {report['args']['sessions']}"
        gaps = [found["worst_gap_s"], found["room_gap_s"]]
        rows.append([name + answer, found["in_flight"], lost, found["unheard"], broken, found["back_s"], *gaps])
    return table(head, rows)


if __name__ == "__main__":
    sys.exit(main())
