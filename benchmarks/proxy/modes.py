"""The two ways Ray Serve can take a browser's connection, as servers of this machine with the same graph behind them."""

from collections.abc import Mapping

import psutil

from benchmarks.machine import ROOT
from benchmarks.processes import by_part
from benchmarks.server import ONE_REPLICA, LocalServer, free_port, shipped_config
from deployments.ops.launch import read_environment_file

PYTHON, HAPROXY = "python", "haproxy"
MODES = (PYTHON, HAPROXY)
LARGEST_REPLY_MB = 10.0
PACKED_BYTES = 16
"""Of one splat in the stream's default codec."""

_PARTS = {"proxy": "proxy", "Ingress": "ingress"}
"""What a frame's bytes go through between graph and socket."""


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
    splats = splats_of(LARGEST_REPLY_MB)
    args = {
        "engine": {"name": "synthetic", "params": {"splats": splats}},
        "options": {"max_splats": splats, "border": 0.0},
        "quality": {"enabled": False},  # Replies of one size, however late they are.
        "option_limits": {"max_splats": splats},
    }
    # The same graph for every round: a replica more would be the difference.
    config = shipped_config(args, dict.fromkeys(("FrameDecoder", "GaussianInference", "SplatPacker"), ONE_REPLICA))
    return LocalServer(config, haproxy_environment() if mode == HAPROXY else {"RAY_SERVE_ENABLE_HA_PROXY": "0"})


def splats_of(reply_mb: float) -> int:
    """How many splats make a reply of so many million bytes."""
    return int(reply_mb * 1e6 / PACKED_BYTES)


def parts(server: LocalServer) -> Mapping[str, list[psutil.Process]]:
    """The processes of ``proxy`` and ``ingress``."""
    sample = server.usage.sample()
    return {name: [psutil.Process(pid) for pid, (found, _) in sample.items() if found == part] for part, name in _PARTS.items()}


def cpu_seconds(server: LocalServer) -> dict[str, float]:
    """CPU time that proxy and ingress used since they began."""
    used = by_part(server.usage.sample())
    return {name: used[part].cpu_s if part in used else 0.0 for part, name in _PARTS.items()}
