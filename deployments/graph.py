"""The graph: the only place that binds.

No ``from __future__ import annotations`` here: it would turn the annotation of ``args`` into a string, and Serve would silently
pass a plain dict instead of a validated GraphArgs.
"""

import time
from collections.abc import Callable, Mapping

import ray
from ray.serve import Application

from deployments.config import GraphArgs
from deployments.decoder import FrameDecoder
from deployments.inference import GaussianInference
from deployments.ingress import Ingress
from deployments.models import check_engine
from deployments.packer import SplatPacker
from deployments.relay import Relay


def build_app(args: GraphArgs) -> Application:
    """Bind the five deployments.

    Args:
        args: ``args:`` of the application in ``serve_config.yaml``.

    Raises:
        ValueError: If the engine is unknown, or something it needs is not installed (the message says what to install).
        NoGpuError: If the engine asks for a GPU and the cluster has none.
    """
    args = GraphArgs.model_validate(args)
    check_engine(args.engine.name, args.engine.params)
    if args.engine.gpu_wait_s and str(args.engine.params.get("device", "")).startswith("cuda") and ray.is_initialized():
        wait_for_gpu(ray.cluster_resources, args.engine.gpu_wait_s)

    decoder = FrameDecoder.bind(args.frames, args.photos)  # type: ignore[attr-defined]
    inference = GaussianInference.bind(args.engine, args.batch)  # type: ignore[attr-defined]
    packer = SplatPacker.bind(args.pack)  # type: ignore[attr-defined]
    relay = Relay.bind(args.rooms)  # type: ignore[attr-defined]
    return Ingress.bind(decoder, inference, packer, relay, args)  # type: ignore[attr-defined]


class NoGpuError(RuntimeError):
    """The cluster has no GPU. Serve would silently wait for one for ever."""

    def __str__(self) -> str:
        return (
            "this Ray cluster has no GPU and engine.params.device asks for one: add a GPU node, set engine.gpu_wait_s: 0 if the "
            "autoscaler adds one on demand, or use serve_config.cpu.yaml"
        )


def wait_for_gpu(
    resources: Callable[[], Mapping[str, float]],
    wait_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return as soon as the cluster shows a GPU.

    Args:
        resources: Returns what the cluster has, by name.
        wait_s: How long to wait: nodes may still be joining.
        clock, sleep: Time, seconds.

    Raises:
        NoGpuError: If none appears.
    """
    deadline_s = clock() + wait_s
    while not resources().get("GPU"):
        if clock() >= deadline_s:
            raise NoGpuError
        sleep(1.0)
