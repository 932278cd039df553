"""A local cluster seen by a driver: what Serve's controller says of it, and handing it another config."""

import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.command import BenchmarkError
from benchmarks.server import LocalServer
from deployments.ops.launch import set_environment

APP = "splatcast"
_REPLACED_WITHIN_S = 120.0


@contextmanager
def joined(server: LocalServer) -> Iterator[None]:
    """Be a driver of the server's cluster for the length of the block."""
    prepare_driver(server.ray_token)
    with driver_of(server.ray_address):
        yield


def prepare_driver(token: str | None = None) -> None:
    """Set what Ray reads from the environment when it is first imported; without a token, a new one is made."""
    token = token or os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32)
    # Without the last one, a router thread that outlives the driver would start a cluster of its own.
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "RAY_ENABLE_AUTO_CONNECT": "0"}
    set_environment()


@contextmanager
def driver_of(address: str) -> Iterator[None]:
    """Be a driver of the cluster at an address, without its log lines."""
    import ray
    import ray.serve

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    ray.init(address=address, namespace="serve", log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()


def replica_states(deployment: str) -> dict[str, int]:
    """``RUNNING``, ``STARTING``, ``STOPPING``, … → replicas. Empty while the controller does not answer."""
    from ray import serve

    try:
        found: dict[Any, int] = serve.status().applications[APP].deployments[deployment].replica_states
    except Exception:  # Whatever a cluster that has just lost a process answers with.
        return {}
    return {str(getattr(state, "value", state)): count for state, count in found.items()}


def deploy(config: dict[str, Any]) -> None:
    """Hand a config to the controller of the cluster that this process has joined; returns when all of it runs."""
    from ray import serve
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    _get_global_client().deploy_apps(ServeDeploySchema.model_validate(config))
    deadline_s = time.monotonic() + _REPLACED_WITHIN_S
    time.sleep(1.0)  # Until the controller has read it, it reports the old state as running.
    while time.monotonic() < deadline_s:
        applications = list(serve.status().applications.values())
        healthy = all(found.status.value == "HEALTHY" for app in applications for found in app.deployments.values())
        if applications and healthy and all(app.status.value == "RUNNING" for app in applications):
            return
        time.sleep(0.25)
    raise BenchmarkError(f"the new config was not in force after {_REPLACED_WITHIN_S:g} s: {applications!r:.500}")
