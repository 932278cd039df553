"""Engines: each turns RGB views into Gaussians. The only place that may import torch.

A new engine is one module with a class of the :class:`~deployments.models.base.SplatModel` shape, and one line in
:data:`ENGINES`.
"""

import inspect
from importlib import import_module
from typing import Any

from deployments.models.base import SplatModel

ENGINES = {
    "relief": ("deployments.models.relief", "ReliefModel"),
    "synthetic": ("deployments.models.synthetic", "SyntheticModel"),
}
"""Engine → its module and class; imported only when it is asked for, as one of them needs torch."""


def check_engine(engine: str) -> None:
    """Whether this release has an engine, without loading it.

    Raises:
        ValueError: If it has not, saying which it has.
    """
    if engine == "da3":
        raise ValueError(
            f"engine 'da3' (Depth Anything 3) is not in this release yet; set engine.name to one of {', '.join(ENGINES)}"
        )
    if engine not in ENGINES:
        raise ValueError(f"engine {engine!r} is unknown; valid are {', '.join(ENGINES)}")


def load_model(engine: str, **params: Any) -> SplatModel:
    """An engine by its name.

    Args:
        engine: A key of :data:`ENGINES`.
        params: Keyword arguments of that engine's class.

    Raises:
        ValueError: If there is no such engine, or it has no such parameter; the message names those it has.
    """
    check_engine(engine)
    module, name = ENGINES[engine]
    factory = getattr(import_module(module), name)
    valid = inspect.signature(factory).parameters
    for key in params:
        if key not in valid:
            raise ValueError(f"engine {engine}: parameter {key!r} is unknown; valid are {', '.join(valid) or 'none'}")
    model: SplatModel = factory(**params)
    return model
