"""A local server for benchmarks that need one: started as a person starts it, and ended with the benchmark."""

import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.machine import ROOT

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 30.0


class ServerError(Exception):
    """The server did not start; ``str()`` has what it said."""


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A server that answers.

    Attributes:
        ws_url: Its WebSocket.
        ray_address: Of its cluster, for a driver that wants its handles.
    """

    ws_url: str
    ray_address: str


@contextmanager
def local_server(config: Path) -> Iterator[LocalServer]:
    """Serve ``config`` on a free loopback port until the end of the block.

    Raises:
        ServerError: It ended by itself, or was not ready in time.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-m", "deployments.launch", "--profile", "cpu", "--config", str(config), "--port", str(port)]
        # Its own session: a Ctrl-C at the terminal reaches the benchmark, which then ends the server in order.
        server = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            deadline_s = time.monotonic() + START_TIMEOUT_S
            while "ready: http" not in (text := _read(log.fileno())):
                if server.poll() is not None or time.monotonic() > deadline_s:
                    raise ServerError(f"the server did not start; it said:\n{text}")
                time.sleep(0.2)
            yield LocalServer(f"ws://127.0.0.1:{port}/ws", _ray_address(server.pid))
        finally:
            _stop(server)


def _read(descriptor: int) -> str:
    # The child writes at the same file position: read by path, not through our handle.
    return Path(f"/proc/self/fd/{descriptor}").read_text(errors="replace")


def _ray_address(pid: int) -> str:
    """The cluster's address, from the command line of the raylet among a process's children."""
    for child in psutil.Process(pid).children(recursive=True):
        for argument in child.cmdline():
            if argument.startswith("--gcs-address="):
                return argument.partition("=")[2]
    raise ServerError("the server runs no Ray on this machine")


def _stop(server: "subprocess.Popen[bytes]") -> None:
    if server.poll() is not None:
        return
    family = psutil.Process(server.pid).children(recursive=True)
    # Not SIGINT, which a shell's background jobs ignore and hand down ignored.
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    for process in psutil.wait_procs(family, timeout=5.0)[1]:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
