"""The faults of a server on this machine: processes killed, frames that break the engine, configs rolled out."""

import asyncio
import copy
import io
import time
from contextlib import suppress
from typing import Any

import psutil
from PIL import Image

from benchmarks.command import BenchmarkError
from benchmarks.controller import deploy
from benchmarks.faults.watch import Fault
from benchmarks.server import LocalServer, shipped_config
from deployments.client import connect
from deployments.models.synthetic import POISONS
from deployments.stream.messages import Dropped, Error, Splats

PARTS = ("FrameDecoder", "GaussianInference", "SplatPacker", "Ingress", "Relay", "proxy")
ENGINE_TIMEOUT_S = 1.0
LATENCY_MS = 40.0


def config(replicas: int) -> dict[str, Any]:
    """The shipped CPU config with so many replicas of each stage, and an engine that can be made to fail."""
    params = {"splats": 500, "latency_ms": LATENCY_MS, "poison": True}
    engine = {"name": "synthetic", "params": params, "timeout_s": ENGINE_TIMEOUT_S}
    found = shipped_config({"engine": engine, "batch": {"max_size": 2}, "options": {"border": 0.0}})
    for entry in found["applications"][0]["deployments"]:
        entry.pop("autoscaling_config", None)
        entry["num_replicas"] = replicas
        entry["max_ongoing_requests"] = max(4, entry["max_ongoing_requests"])
        entry["ray_actor_options"] = {"num_cpus": 0.05}
    return found


def kill(server: LocalServer, part: str, all_of_it: bool = False) -> Fault:
    """``kill -9`` of one process of a part of the server, or of all."""

    async def harm() -> dict[str, Any]:
        victims = server.of(part)
        if not victims:
            raise BenchmarkError(f"the server has no process that is its {part}")
        for victim in victims if all_of_it else victims[:1]:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
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
        answer = f"a frame of {reply.count} splats" if isinstance(reply, Splats) else reply.code
        return {"answer": answer, "answered_s": round(time.monotonic() - began_s, 2)}

    return harm


def roll_out(new: dict[str, Any]) -> Fault:
    """Deploy another config over the running one, as ``serve deploy`` does, and wait until it is in force."""

    async def harm() -> dict[str, Any]:
        began_s = time.monotonic()
        await asyncio.to_thread(deploy, new)
        return {"rolled_out_s": round(time.monotonic() - began_s, 1)}

    return harm


def with_args(old: dict[str, Any]) -> dict[str, Any]:
    """The config with other arguments."""
    new = copy.deepcopy(old)
    new["applications"][0]["args"]["engine"]["params"]["latency_ms"] += 1.0
    return new


def with_replicas(old: dict[str, Any]) -> dict[str, Any]:
    """The config with one more replica of each stage but the ingress."""
    new = copy.deepcopy(old)
    for entry in new["applications"][0]["deployments"]:
        entry["num_replicas"] += entry["name"] != "Ingress"
    return new


def poison_picture(name: str) -> bytes:
    """A JPEG that does to the synthetic engine what :data:`~deployments.models.synthetic.POISONS` says."""
    buffer = io.BytesIO()
    Image.new("RGB", (160, 120), POISONS[name]).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


KILLS = {f"kill {part}": part for part in PARTS}
POISONED = {f"frame: {name}": name for name in ("raise", "memory", "nan", "hang")}
ROLLOUTS = {"roll out: replicas": with_replicas, "roll out: args": with_args}
NAMES = (*KILLS, *POISONED, *ROLLOUTS)


def faults(server: LocalServer, running: dict[str, Any]) -> dict[str, Fault]:
    """All of them by name, in an order in which each finds the server whole."""
    found = {name: kill(server, part) for name, part in KILLS.items()}
    found |= {name: send_poison(server, poison) for name, poison in POISONED.items()}
    for name, change in ROLLOUTS.items():
        running = change(running)
        found[name] = roll_out(running)
    return found
