"""A local Splatcast for benchmarks and tests: started as a person starts it, on a free port, ended by its own pid."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

from benchmarks.machine import ROOT
from benchmarks.processes import ServerProcesses

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 30.0
ONE_REPLICA = {"autoscaling_config": None, "num_replicas": 1}
"""Of a deployment whose capacity is to stay what it is."""


class ServerError(Exception):
    """The server did not start; ``str()`` has what it said."""


def free_port() -> int:
    """A loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def shipped_config(
    args: Mapping[str, Any] | None = None, deployments: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """The shipped CPU config, changed.

    Args:
        args: ``args:`` of the application; None for the config's own.
        deployments: Deployment name → keys that replace those of the config.
    """
    config: dict[str, Any] = yaml.safe_load((ROOT / "serve_config.cpu.yaml").read_text())
    (application,) = config["applications"]
    if args is not None:
        # All clients of a test or a load have this machine's address.
        application["args"] = {"access": {"max_sessions_per_address": 600}, **args}
    for entry in application["deployments"]:
        entry.update((deployments or {}).get(entry["name"], {}))
    return config


class LocalServer:
    """``python -m deployments.ops.launch`` in a process of its own, ready when the constructor returns.

    Args:
        config: A serve config, or where one is; its port is not used.
        settings: More for its environment.

    Attributes:
        url: Where the viewer is, without a slash at the end.
        ws_url: The WebSocket.
        process: The launcher.
        ray_token: What a driver needs to join its cluster, as ``RAY_AUTH_TOKEN``.

    Raises:
        ServerError: It ended by itself, or was not ready in time.
    """

    def __init__(self, config: Path | Mapping[str, Any], settings: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}/ws"
        self._folder = tempfile.TemporaryDirectory(prefix="splatcast-server-")  # As long as the server.
        self._log = Path(self._folder.name) / "log"
        if not isinstance(config, Path):
            text, config = yaml.safe_dump(dict(config)), Path(self._folder.name) / "config.yaml"
            config.write_text(text)
        command = [sys.executable, "-m", "deployments.ops.launch", "--profile", "cpu", "--config", str(config)]
        command += ["--port", str(self.port)]
        self.ray_token = secrets.token_hex(32)
        environment = {**os.environ, "HOST": "", "PORT": "", "PROFILE": "", "MODEL": "", "SPLATCAST_TOKEN": ""}
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.ray_token, **(settings or {})}
        with self._log.open("w") as output:
            # Its own session: a Ctrl-C at the terminal reaches us, and we end the server in order.
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> "LocalServer":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _wait_until_ready(self) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while "ready: http" not in (text := self.said()):
            if self.process.poll() is not None or time.monotonic() > deadline_s:
                raise ServerError(f"the server did not start; it said:\n{text}")
            time.sleep(0.1)

    def said(self) -> str:
        """What it wrote to the terminal so far."""
        return self._log.read_text(errors="replace")

    @property
    def ray_address(self) -> str:
        """The cluster's address, for a driver that wants its handles: from the raylet's command line."""
        return self.argument("--gcs-address=")

    def argument(self, option: str) -> str:
        """The value of an option such as ``--session-dir=`` on the command line of whichever of its processes has it."""
        for process in self.processes():
            for argument in _command(process):
                if argument.startswith(option):
                    return argument.removeprefix(option)
        raise ServerError(f"none of the server's processes has {option} on its command line: it runs no Ray on this machine")

    def processes(self) -> list[psutil.Process]:
        """The launcher and everything it started."""
        return [parent := psutil.Process(self.process.pid), *parent.children(recursive=True)]

    @property
    def usage(self) -> ServerProcesses:
        """What they use."""
        return ServerProcesses(psutil.Process(self.process.pid))

    def actors(self, title: str) -> list[psutil.Process]:
        """Ray workers by what their title has in it, such as ``ServeReplica:splatcast:Ingress`` or ``ProxyActor``."""
        return [process for process in self.processes() if any(title in part for part in _command(process))]

    def stop(self) -> int:
        """Ask it to end, and end what is left after half a minute. Returns the exit status."""
        if self.process.poll() is None:
            family = self.processes()
            # Not SIGINT, which a shell's background jobs ignore and hand down ignored.
            self.process.send_signal(signal.SIGTERM)
            _, left = psutil.wait_procs(family, timeout=STOP_TIMEOUT_S)
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self.process.wait()
        self._folder.cleanup()
        return self.process.returncode


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []
