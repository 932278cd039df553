"""The two ways in which Ray Serve can take a browser's connection, as local servers with the same graph behind them."""

from benchmarks.machine import ROOT
from benchmarks.processes import by_part
from benchmarks.server import ONE_REPLICA, LocalServer, free_port, shipped_config
from deployments.ops.launch import read_environment_file

PYTHON, HAPROXY = "python", "haproxy"
MODES = (PYTHON, HAPROXY)
LARGEST_REPLY_MB = 10.0
PACKED_BYTES = 16
"""Size of one splat in the stream's default codec."""
PARTS = ("proxy", "Ingress")
"""What a frame's bytes pass between the graph and the client's socket."""


def environment_of(mode: str) -> dict[str, str]:
    """What a server needs in its environment to run in a mode.

    For HAProxy ``serve.cluster.env``, with ports of this server's own: Ray's are fixed, so two servers would share them.

    Args:
        mode: ``python`` or ``haproxy``.
    """
    if mode == PYTHON:
        return {"RAY_SERVE_ENABLE_HA_PROXY": "0"}
    ports = ("RAY_SERVE_HAPROXY_METRICS_PORT", "RAY_SERVE_HAPROXY_STATS_PORT", "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT")
    return {**read_environment_file(ROOT / "serve.cluster.env"), **{name: str(free_port()) for name in ports}}


def start(mode: str) -> LocalServer:
    """The shipped CPU config in one mode, with the synthetic engine: no model's time is in the figures.

    Args:
        mode: ``python`` or ``haproxy``.

    Raises:
        ServerError: It did not start.
    """
    splats = splats_of(LARGEST_REPLY_MB)
    args = {
        "engine": {"name": "synthetic", "params": {"splats": splats}},
        "options": {"max_splats": splats, "border": 0.0},
        "quality": {"enabled": False},  # All replies have one size, however late they are.
        "option_limits": {"max_splats": splats},
    }
    # The same graph for every round: another replica would make the difference.
    config = shipped_config(args, dict.fromkeys(("FrameDecoder", "GaussianInference", "SplatPacker"), ONE_REPLICA))
    return LocalServer(config, environment_of(mode))


def splats_of(reply_mb: float) -> int:
    """How many splats make a reply of so many million bytes."""
    return int(reply_mb * 1e6 / PACKED_BYTES)


def cpu_seconds(server: LocalServer) -> dict[str, float]:
    """CPU time that each of :data:`PARTS` has used since it started."""
    used = by_part(server.sample())
    return {part: used[part].cpu_s if part in used else 0.0 for part in PARTS}
