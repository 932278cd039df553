"""What Serve's controller says of a local server, asked as a driver in the same cluster."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.server import LocalServer
from deployments.ops.launch import set_environment

APP = "splatcast"


@contextmanager
def joined(server: LocalServer) -> Iterator[None]:
    """Be a driver of the server's cluster for the length of the block."""
    # Read when Ray is first imported.
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": server.ray_token}
    set_environment()
    # Else a router thread that outlives the driver would start a cluster of its own.
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    import ray
    import ray.serve

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    ray.init(address=server.ray_address, namespace="serve", log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()


def replica_states(deployment: str) -> dict[str, int]:
    """``RUNNING``, ``STARTING``, ``STOPPING``, … → replicas. Empty while the controller does not answer."""
    from ray import serve

    try:
        found: dict[Any, int] = serve.status().applications[APP].deployments[deployment].replica_states
    except Exception:  # Whatever a cluster that just lost a process answers with.
        return {}
    return {str(getattr(state, "value", state)): count for state, count in found.items()}
