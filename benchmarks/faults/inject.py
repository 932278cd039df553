"""The faults of a server on this machine: processes killed, frames that break the engine, configs rolled out."""

import asyncio
import copy
import io
import time
from typing import Any

import yaml
from PIL import Image

from benchmarks.faults.watch import Fault
from benchmarks.machine import ROOT
from benchmarks.server import LocalServer
from deployments.client import connect
from deployments.models.synthetic import POISONS
from deployments.stream.messages import Dropped, Error, Splats

STAGES = ("FrameDecoder", "GaussianInference", "SplatPacker", "Ingress")
ENGINE_TIMEOUT_S = 1.0
LATENCY_MS = 40.0
_REPLACED_WITHIN_S = 60.0


def config(replicas: int) -> dict[str, Any]:
    """The shipped CPU config with so many replicas of each stage, and an engine that can be made to fail."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "serve_config.cpu.yaml").read_text())
    (application,) = found["applications"]
    application["args"] = {
        "engine": {
            "name": "synthetic",
            "params": {"splats": 500, "latency_ms": LATENCY_MS, "poison": True},
            "timeout_s": ENGINE_TIMEOUT_S,
        },
        "batch": {"max_size": 2},
        "options": {"border": 0.0},
    }
    for entry in application["deployments"]:
        entry.pop("autoscaling_config", None)
        entry["num_replicas"] = replicas
        entry["max_ongoing_requests"] = max(4, entry["max_ongoing_requests"])
        entry["ray_actor_options"] = {"num_cpus": 0.05}
    return found


def kill(server: LocalServer, title: str) -> Fault:
    """``kill -9`` of one process, by its title."""

    async def harm() -> dict[str, Any]:
        victims = server.actors(title)
        if not victims:
            raise RuntimeError(f"no process is called {title}")
        victims[0].kill()
        return {}

    return harm


def send_poison(server: LocalServer, name: str) -> Fault:
    """One frame, sent by a session of its own, that makes the engine hang, raise, run out of memory or return NaN."""

    async def harm() -> dict[str, Any]:
        began_s = time.monotonic()
        async with connect(server.ws_url, codecs=["packed", "points"]) as stream:
            await stream.send_frame(poison_picture(name))
            async for reply in stream:
                if not isinstance(reply, Dropped):
                    break
        assert isinstance(reply, (Splats, Error))
        word = f"a frame of {reply.count} splats" if isinstance(reply, Splats) else reply.code
        return {"answer": word, "answered_s": round(time.monotonic() - began_s, 2)}

    return harm


def roll_out(new: dict[str, Any]) -> Fault:
    """Deploy another config over the running one, as ``serve deploy`` does, and wait until it is in force."""

    async def harm() -> dict[str, Any]:
        began_s = time.monotonic()
        await asyncio.to_thread(deploy, new)
        return {"rolled_out_s": round(time.monotonic() - began_s, 1)}

    return harm


def deploy(new: dict[str, Any]) -> None:
    """Hand a config to the controller that this process has joined; returns when all of it runs."""
    from ray import serve
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    _get_global_client().deploy_apps(ServeDeploySchema.model_validate(new))
    deadline_s = time.monotonic() + _REPLACED_WITHIN_S
    time.sleep(1.0)  # Until the controller has read it, the old state is reported as running.
    while time.monotonic() < deadline_s:
        (application,) = serve.status().applications.values()
        healthy = all(found.status.value == "HEALTHY" for found in application.deployments.values())
        if application.status.value == "RUNNING" and healthy:
            return
        time.sleep(0.25)
    raise TimeoutError(f"the new config was not in force after {_REPLACED_WITHIN_S:g} s")


def with_args(old: dict[str, Any]) -> dict[str, Any]:
    """The config with other arguments."""
    new = copy.deepcopy(old)
    new["applications"][0]["args"]["engine"]["params"]["latency_ms"] += 1.0
    return new


def with_replicas(old: dict[str, Any]) -> dict[str, Any]:
    """The config with one replica more of each stage but the ingress."""
    new = copy.deepcopy(old)
    for entry in new["applications"][0]["deployments"]:
        entry["num_replicas"] += entry["name"] != "Ingress"
    return new


def poison_picture(name: str) -> bytes:
    """A JPEG that does to the synthetic engine what :data:`~deployments.models.synthetic.POISONS` says."""
    buffer = io.BytesIO()
    Image.new("RGB", (160, 120), POISONS[name]).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def faults(server: LocalServer, running: dict[str, Any]) -> dict[str, Fault]:
    """All of them by name, in an order in which each finds the server whole."""
    found: dict[str, Fault] = {f"kill {stage}": kill(server, f"ServeReplica:splatcast:{stage}") for stage in STAGES}
    found["kill proxy"] = kill(server, "ProxyActor")
    found |= {f"frame: {name}": send_poison(server, name) for name in ("raise", "memory", "nan", "hang")}
    more = with_replicas(running)
    return {**found, "roll out: replicas": roll_out(more), "roll out: args": roll_out(with_args(more))}
