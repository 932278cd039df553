"""Engines: each turns RGB views into Gaussians. The only place that may import torch.

A new engine is one module with a class that implements :class:`~deployments.models.base.SplatModel`, and one line in
:data:`ENGINES`.
"""

import inspect
from importlib import import_module
from typing import Any

from deployments.models.base import SplatModel
from deployments.models.da3 import weights as da3_weights

ENGINES = {
    "relief": ("deployments.models.relief.model", "ReliefModel"),
    "da3": ("deployments.models.da3.model", "DepthAnything3"),
    "synthetic": ("deployments.models.synthetic", "SyntheticModel"),
}
"""Engine → its module and class, which are imported only when asked for, as one of them needs torch."""


def check_engine(engine: str, params: dict[str, Any] | None = None) -> None:
    """Check that an engine exists and accepts these parameters, as far as can be told without loading it.

    Args:
        engine: A key of :data:`ENGINES`.
        params: What ``engine.params`` says.

    Raises:
        ValueError: If there is no such engine, a package is missing or a parameter is wrong; the message says what is valid.
        ModelUnavailable: If the weights that it names are missing.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine {engine!r} is unknown; valid are {', '.join(ENGINES)}")
    if engine == "da3":
        da3_weights.check(params or {})
    else:  # The others' modules are light.
        _check_names(engine, params or {})


def _check_names(engine: str, params: dict[str, Any]) -> Any:
    """The engine's class, if it has all these parameters."""
    module, name = ENGINES[engine]
    factory = getattr(import_module(module), name)
    valid = inspect.signature(factory).parameters
    for key in params:
        if key not in valid:
            raise ValueError(f"engine {engine}: parameter {key!r} is unknown; valid are {', '.join(valid) or 'none'}")
    return factory


def fetch_engine(engine: str, params: dict[str, Any]) -> None:
    """Download what an engine needs, if anything, with progress on stderr, so that no replica has to.

    Raises:
        ValueError: If its parameters are wrong.
        ModelUnavailable: If the download fails, saying what to do.
    """
    if engine == "da3":
        da3_weights.find(*(str(params.get(name, "")) for name in ("model", "weights", "revision")))


def load_model(engine: str, **params: Any) -> SplatModel:
    """Load an engine by its name.

    Args:
        engine: A key of :data:`ENGINES`.
        params: Keyword arguments for that engine's class.

    Raises:
        ValueError: If there is no such engine, or it has no such parameter; the message names the valid ones.
    """
    check_engine(engine, params)
    model: SplatModel = _check_names(engine, params)(**params)
    return model
