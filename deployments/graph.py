"""The graph: the only place that binds.

No ``from __future__ import annotations`` here: it turns the annotation of ``args`` into a string, and Serve would silently pass
a plain dict instead of a validated GraphArgs.
"""

from ray.serve import Application

from deployments.config import GraphArgs
from deployments.decoder import FrameDecoder
from deployments.inference import GaussianInference
from deployments.ingress import Ingress
from deployments.models import check_engine
from deployments.packer import SplatPacker


def build_app(args: GraphArgs) -> Application:
    """Bind the four deployments.

    Args:
        args: ``args:`` of the application in ``serve_config.yaml``.

    Raises:
        ValueError: If the engine is unknown or what it needs is not installed, saying what to install.
    """
    args = GraphArgs.model_validate(args)
    check_engine(args.engine.name, args.engine.params)

    decoder = FrameDecoder.bind(args.frames)  # type: ignore[attr-defined]
    inference = GaussianInference.bind(args.engine, args.batch)  # type: ignore[attr-defined]
    packer = SplatPacker.bind(args.pack)  # type: ignore[attr-defined]
    return Ingress.bind(decoder, inference, packer, args)  # type: ignore[attr-defined]
