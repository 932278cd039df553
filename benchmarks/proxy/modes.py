"""The two ways Ray Serve can take a browser's connection, as servers of this machine with the same graph behind them."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import psutil
import yaml

from benchmarks.machine import ROOT
from benchmarks.server import LocalServer, free_port
from deployments.launch import read_environment_file

PYTHON, HAPROXY = "python", "haproxy"
MODES = (PYTHON, HAPROXY)
LARGEST_REPLY_MB = 10.0
PACKED_BYTES = 16
"""Of one splat in the stream's default codec."""

_PARTS = {
    "ray::ProxyActor": "proxy",
    "ray::HAProxyManager": "proxy",
    "haproxy": "proxy",
    "ServeReplica:splatcast:Ingress": "ingress",
}
"""What a process is called → which part of the way it is."""


def haproxy_environment() -> dict[str, str]:
    """``serve.cluster.env``, with ports of this server's own: Ray's are fixed, so two servers would share them."""
    ports = ("RAY_SERVE_HAPROXY_METRICS_PORT", "RAY_SERVE_HAPROXY_STATS_PORT", "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT")
    return {**read_environment_file(ROOT / "serve.cluster.env"), **{name: str(free_port()) for name in ports}}


def start(mode: str) -> LocalServer:
    """The shipped CPU config in one mode, with the synthetic engine: no model's time in the figures.

    Args:
        mode: ``python`` or ``haproxy``.

    Raises:
        ServerError: It did not start.
    """
    config = yaml.safe_load((ROOT / "serve_config.cpu.yaml").read_text())
    (application,) = config["applications"]
    splats = splats_of(LARGEST_REPLY_MB)
    application["args"] = {
        "engine": {"name": "synthetic", "params": {"splats": splats}},
        "options": {"max_splats": splats, "border": 0.0},
        "option_limits": {"max_splats": splats},
    }
    for deployment in application["deployments"]:
        if deployment.pop("autoscaling_config", None):
            deployment["num_replicas"] = 1  # The same graph for every round: a replica more would be the difference.
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", prefix="splatcast-proxy-") as file:
        yaml.safe_dump(config, file)
        file.flush()
        return LocalServer(Path(file.name), haproxy_environment() if mode == HAPROXY else {"RAY_SERVE_ENABLE_HA_PROXY": "0"})


def splats_of(reply_mb: float) -> int:
    """How many splats make a reply of so many million bytes."""
    return int(reply_mb * 1e6 / PACKED_BYTES)


def part_of(process: psutil.Process) -> str | None:
    """``proxy`` or ``ingress`` for what a frame's bytes go through between graph and socket; None for the rest."""
    try:
        title = " ".join(process.cmdline()) or process.name()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return None
    command = title.split("/")[-1] if title.startswith("/") else title
    return next((part for name, part in _PARTS.items() if name in title.split(" -")[0] or command.startswith(name)), None)


def parts(server: LocalServer) -> Mapping[str, list[psutil.Process]]:
    """The processes of the proxy and of the ingress."""
    found: dict[str, list[psutil.Process]] = {"proxy": [], "ingress": []}
    for process in server.processes():
        part = part_of(process)
        if part:
            found[part].append(process)
    return found


def cpu_seconds(server: LocalServer) -> dict[str, float]:
    """CPU time that proxy and ingress used since they began."""
    used = {}
    for part, processes in parts(server).items():
        used[part] = 0.0
        for process in processes:
            try:
                times = process.cpu_times()
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
            used[part] += times.user + times.system
    return used
