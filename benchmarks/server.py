"""A local Splatcast for benchmarks and tests: started as a person would start it, on a free port, and stopped by process id."""

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

from benchmarks.command import BenchmarkError
from benchmarks.machine import ROOT
from benchmarks.processes import ServerProcesses

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 30.0
ONE_REPLICA = {"autoscaling_config": None, "num_replicas": 1}
"""For a deployment whose capacity must not change."""


class ServerError(BenchmarkError):
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
        # All clients of a test or a load test come from this machine's address.
        application["args"] = {"access": {"max_sessions_per_address": 600}, **args}
    for entry in application["deployments"]:
        entry.update((deployments or {}).get(entry["name"], {}))
    return config


class LocalServer(ServerProcesses):
    """``python -m deployments.ops.launch`` in its own process, ready when the constructor returns.

    Args:
        config: A serve config, or the path of one; its port is ignored.
        settings: Additions to its environment.

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
        self._folder = tempfile.TemporaryDirectory(prefix="splatcast-server-")  # Lives as long as the server.
        self._log = Path(self._folder.name) / "log"
        if not isinstance(config, Path):
            text, config = yaml.safe_dump(dict(config)), Path(self._folder.name) / "config.yaml"
            config.write_text(text)
        command = [sys.executable, "-m", "deployments.ops.launch", "--profile", "cpu", "--config", str(config)]
        command += ["--port", str(self.port)]
        self.ray_token = secrets.token_hex(32)
        names = ("HOST", "HOSTS", "ORIGINS", "PORT", "PROFILE", "MODEL", "SPLATCAST_TOKEN")
        environment = {**os.environ, **dict.fromkeys(names, "")}
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.ray_token, **(settings or {})}
        with self._log.open("w") as output:
            # In a session of its own, so that Ctrl-C at the terminal reaches only us, and we stop the server in order.
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        super().__init__(psutil.Process(self.process.pid))
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
        """What it has written to the terminal so far."""
        return self._log.read_text(errors="replace")

    @property
    def ray_address(self) -> str:
        """The cluster's address, for a driver that wants its handles; from the raylet's command line."""
        address = self.argument("--gcs-address=")
        assert address, "a server that is ready has a raylet"
        return address

    def stop(self) -> int:
        """Ask it to end, and kill what is left after half a minute. Returns the exit status."""
        if self.process.poll() is None:
            family = self.processes()
            # Not SIGINT: a shell's background jobs ignore it, and so do their children.
            self.process.send_signal(signal.SIGTERM)
            _, left = psutil.wait_procs(family, timeout=STOP_TIMEOUT_S)
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self.process.wait()
        self._folder.cleanup()
        return self.process.returncode
