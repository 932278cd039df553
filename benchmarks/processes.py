"""What a server's processes use on this machine: CPU, memory, descriptors and threads, by part of the graph.

The server is found by the port it listens on. Ray names its workers after what they run, so a process's title says which part
it is.
"""

import asyncio
import http.client
import math
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.command import BenchmarkError

_REPLICA = re.compile(r"ServeReplica:[^:]+:(\w+)")
_TITLES = {
    # A picture that is decoded in a process of its own: benchmarks count it with whoever waits for it.
    "confined_decoder.py": "FrameDecoder",
    "ray::ProxyActor": "proxy",
    "ray::HAProxyManager": "proxy",
    "/haproxy ": "proxy",
    "ray::ServeController": "controller",
    "/raylet ": "raylet",
    "/gcs_server ": "gcs",
    "-m deployments.ops.launch": "launcher",
    "/splatcast ": "launcher",
}
"""What a command line contains → the part. Anything else is ``other``, such as Ray's monitors."""
METRICS = {
    "store_bytes": ("ray_object_store_used_memory", ""),
    "spilled_bytes": ("ray_spill_manager_objects_bytes", 'State="Spilled"'),
    "sessions": ("ray_splatcast_sessions", ""),
}
"""What is read from the node's Prometheus page: our name → the metric's name, and what its labels must contain."""
_GONE = (psutil.NoSuchProcess, psutil.ZombieProcess)


class NotMeasured(BenchmarkError):
    """The server's processes can't be seen from here; ``str()`` says why."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process, or several together, use.

    Attributes:
        cpu_s: CPU time since the start.
        private_bytes: Resident memory that is not shared; the object store's pages are shared.
        descriptors: Open files and sockets.
        threads: Number of threads.
        processes: Number of processes.
        kernel_s: Of ``cpu_s`` what the kernel has used for it, such as copying into sockets.
    """

    cpu_s: float = 0.0
    private_bytes: int = 0
    descriptors: int = 0
    threads: int = 0
    processes: int = 1
    kernel_s: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.cpu_s + other.cpu_s,
            self.private_bytes + other.private_bytes,
            self.descriptors + other.descriptors,
            self.threads + other.threads,
            self.processes + other.processes,
            self.kernel_s + other.kernel_s,
        )


Sample = Mapping[int, tuple[str, Usage]]
"""One moment: process id → its part, and what it uses."""


@dataclass(frozen=True, slots=True)
class Look:
    """A server at one moment.

    Attributes:
        at_s: Seconds since the start of the run.
        processes: What its processes use.
        metrics: The node's; see :data:`METRICS`.
        log_bytes: Size of Ray's logs; None if it runs no Ray.
    """

    at_s: float
    processes: Sample
    metrics: Mapping[str, float]
    log_bytes: int | None = None


def part_of(command: Sequence[str]) -> str:
    """Which part of a server a process is, by its command line: a deployment's name, ``proxy``, ``raylet``, …, or ``other``."""
    line = " ".join(command).strip() + " "
    replica = _REPLICA.search(line)
    return replica[1] if replica else next((part for mark, part in _TITLES.items() if mark in line), "other")


def by_part(sample: Sample) -> dict[str, Usage]:
    """What all processes of each part use together."""
    found: dict[str, Usage] = {}
    for part, usage in sample.values():
        found[part] = found[part] + usage if part in found else usage
    return dict(sorted(found.items()))


def cores(first: Sample, last: Sample, seconds: float) -> dict[str, float]:
    """CPU use of each part between two samples, in cores. Processes that ended in between are not counted."""
    used: Counter[str] = Counter()
    for pid, (part, usage) in last.items():
        used[part] += usage.cpu_s - (first[pid][1].cpu_s if pid in first else 0.0)  # type: ignore[assignment]
    return {part: round(used[part] / seconds, 3) for part in sorted(used)}


class ServerProcesses:
    """The processes of one server on this machine.

    Args:
        root: The process that all others descend from.
    """

    def __init__(self, root: psutil.Process) -> None:
        self.root = root
        self._pages: list[str] | None = None

    def processes(self) -> list[psutil.Process]:
        """All of them that are alive now."""
        with suppress(*_GONE):
            return [self.root, *self.root.children(recursive=True)]
        return []

    def of(self, part: str) -> list[psutil.Process]:
        """Those of one part; see :func:`part_of`."""
        return [process for process in self.processes() if part_of(_command(process)) == part]

    def argument(self, option: str) -> str | None:
        """The value of an option such as ``--session-dir=`` on whichever command line has it."""
        arguments = (argument for process in self.processes() for argument in _command(process))
        return next((argument.removeprefix(option) for argument in arguments if argument.startswith(option)), None)

    def sample(self) -> Sample:
        """What each process uses now. Takes a few milliseconds."""
        found = {}
        for process in self.processes():
            with suppress(*_GONE), process.oneshot():
                times, memory = process.cpu_times(), process.memory_info()
                # Only Linux says how much is shared.
                private = memory.rss - getattr(memory, "shared", 0)
                usage = Usage(times.user + times.system, private, process.num_fds(), process.num_threads(), 1, times.system)
                found[process.pid] = (part_of(process.cmdline()), usage)
        return found

    def metrics(self) -> dict[str, float]:
        """:data:`METRICS` from the node's Prometheus page, which Ray renews every 10 s; empty if there is none."""
        if self._pages is None:
            agents = [process for process in self.processes() if "ray::DashboardAgent" in " ".join(_command(process))]
            ports = {link.laddr.port for agent in agents for link in agent.net_connections("tcp") if link.status == "LISTEN"}
            self._pages = [f"http://127.0.0.1:{port}/metrics" for port in sorted(ports)]
        for page in self._pages:
            with suppress(OSError, ValueError, http.client.HTTPException), _OPENER.open(page, timeout=5) as response:
                found = parse_metrics(response.read().decode(errors="replace"))
                if "store_bytes" in found:
                    self._pages = [page]
                    return found
        return {}

    def log_bytes(self) -> int | None:
        """Size of Ray's logs; None if it runs no Ray."""
        session = self.argument("--session-dir=")
        return None if session is None else sum(map(_size, (Path(session) / "logs").rglob("*")))

    async def look(self, began_s: float) -> Look:
        """All of it at this moment, without holding up the event loop; ``began_s`` is on the monotonic clock."""
        at_s = time.monotonic() - began_s
        seen = await asyncio.to_thread(lambda: (self.sample(), self.metrics(), self.log_bytes()))
        return Look(at_s, *seen)


def find_server(port: int) -> ServerProcesses:
    """The server that listens on a port of this machine.

    Raises:
        NotMeasured: There is none, or it belongs to another user.
    """
    links = (link for link in psutil.net_connections("tcp") if link.status == "LISTEN" and link.laddr.port == port)
    pid = next((link.pid for link in links if link.pid), None)
    if pid is None:
        raise NotMeasured(f"no process that can be seen from here listens on port {port}")
    return server_of(pid)


def server_of(pid: int) -> ServerProcesses:
    """The server that a process belongs to.

    Raises:
        NotMeasured: It has ended, belongs to another user, or is this process.
    """
    try:
        process = psutil.Process(pid)
        root = next((p for p in (process, *process.parents()) if part_of(_command(p)) in ("launcher", "raylet")), process)
        # Whoever starts a raylet is the parent of the rest of Ray, too; `ray start` leaves all of them to init.
        starter = root.parent()
        if starter and starter.pid > 1 and any(part_of(_command(child)) == "gcs" for child in starter.children()):
            root = starter
        if psutil.Process() in (root, *root.children(recursive=True)):
            raise NotMeasured("client and server are one process")
        server = ServerProcesses(root)
        server.sample()  # Fails if it is another user's.
    except (*_GONE, psutil.AccessDenied) as error:
        raise NotMeasured(f"the processes of the server can't be read: {error}") from None
    return server


def parse_metrics(text: str) -> dict[str, float]:
    """The sum over the series of each of :data:`METRICS` that a Prometheus page has."""
    found: dict[str, float] = {}
    for line in text.splitlines():  # There are thousands; most are passed over at once.
        for metric, (name, label) in METRICS.items():
            if line.startswith(f"{name}{{") and label in line and not math.isnan(value := float(line.rpartition(" ")[2])):
                found[metric] = found.get(metric, 0.0) + value
    return found


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (*_GONE, psutil.AccessDenied):
        return []


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.lstat().st_size
    return 0


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
