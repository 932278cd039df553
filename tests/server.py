"""A real Splatcast for tests: started as a person starts it, on a free port, ended by its own pid."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import yaml

ROOT = Path(__file__).parents[1]
START_TIMEOUT_S = 120.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert isinstance(port, int)
    return port


class Server:
    """``python -m deployments.launch`` in a process of its own.

    Args:
        args: ``args:`` of the application; None for the shipped CPU config as it is.
        deployments: Deployment name → keys that replace those of the CPU config.
        port: Where to listen; a free port by default.
    """

    def __init__(
        self,
        args: dict[str, Any] | None = None,
        deployments: dict[str, dict[str, Any]] | None = None,
        port: int | None = None,
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}/ws"
        config = yaml.safe_load((ROOT / "serve_config.cpu.yaml").read_text())
        (application,) = config["applications"]
        if args is not None:
            application["args"] = args
        for entry in application["deployments"]:
            entry.update((deployments or {}).get(entry["name"], {}))
        self._folder = tempfile.TemporaryDirectory(prefix="splatcast-test-")
        config_path = Path(self._folder.name, "config.yaml")
        config_path.write_text(yaml.safe_dump(config))
        self.log = Path(self._folder.name, "output.txt")
        command = [sys.executable, "-m", "deployments.launch", "--config", str(config_path), "--profile", "cpu"]
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port)],
                cwd=ROOT,
                env={**os.environ, "HOST": "", "PORT": "", "PROFILE": ""},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def _wait_until_ready(self) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while "ready: http" not in self.log.read_text():
            assert self.process.poll() is None, f"the server ended by itself:\n{self.log.read_text()}"
            assert time.monotonic() < deadline_s, f"not ready after {START_TIMEOUT_S:.0f} s:\n{self.log.read_text()}"
            time.sleep(0.1)

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=30) as response:
            body = response.read()
        assert isinstance(body, bytes)
        return body

    def processes(self) -> list[psutil.Process]:
        """The launcher and everything it started."""
        return [parent := psutil.Process(self.process.pid), *parent.children(recursive=True)]

    def replicas(self, deployment: str) -> list[psutil.Process]:
        """Replica processes of one deployment, by the title Ray gives them."""
        found = []
        for process in self.processes():
            try:
                if f"ServeReplica:splatcast:{deployment}" in " ".join(process.cmdline()):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        return found

    def resident_bytes(self) -> int:
        """Resident memory of all its processes that is not shared."""
        total = 0
        for process in self.processes():
            try:
                info = process.memory_info()
                total += info.rss - info.shared
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        return total

    def stop(self) -> int:
        """Ctrl-C; kills what is left after half a minute. Returns the exit status."""
        if self.process.poll() is None:
            left = self.processes()
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                for process in left:
                    try:
                        process.kill()
                    except psutil.NoSuchProcess:
                        continue
                self.process.wait(10)
        self._folder.cleanup()
        return self.process.returncode
