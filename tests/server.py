"""A real Splatcast for tests, with what they ask of it."""

import urllib.request
from collections.abc import Mapping
from typing import Any

import psutil

from benchmarks.machine import ROOT
from benchmarks.server import LocalServer, free_port, shipped_config

__all__ = ["ROOT", "Server", "free_port"]


class Server(LocalServer):
    """The shipped CPU config on a free port, changed where a test wants it.

    Args:
        args: ``args:`` of the application; None for the config's own.
        deployments: Deployment name → keys that replace those of the config.
        environment: Variables that differ from this process's.
    """

    def __init__(
        self,
        args: dict[str, Any] | None = None,
        deployments: dict[str, dict[str, Any]] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(shipped_config(args, deployments), environment)

    def get(self, path: str) -> bytes:
        """The body of a GET."""
        with urllib.request.urlopen(self.url + path, timeout=30) as response:
            body: bytes = response.read()
        return body

    def replicas(self, deployment: str) -> list[psutil.Process]:
        """Replica processes of one deployment, by the title Ray gives them."""
        return self.of(deployment)

    def programs(self, name: str) -> list[psutil.Process]:
        """Its processes that run a program of this name."""
        return [process for process in self.processes() if _ask(process, "name", None) == name]

    def resident_bytes(self) -> int:
        """Resident memory of all its processes that is not shared."""
        infos = [_ask(process, "memory_info", None) for process in self.processes()]
        return sum(info.rss - info.shared for info in infos if info)


def _ask(process: psutil.Process, question: str, when_gone: Any) -> Any:
    try:
        return getattr(process, question)()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return when_gone
