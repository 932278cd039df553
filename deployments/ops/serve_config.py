"""A serve config as a person wrote it: read, its shape checked, and a model put in it."""

from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails


def load_config(path: Path) -> dict[str, Any]:
    """A serve config, with as much of its shape checked as starting it takes.

    Returns:
        The config, with ``http_options`` a map and ``applications`` a list of maps that is not empty. What was left empty in it,
        in an application or in a deployment is left out: Serve knows a default for every key, and none for an empty one.

    Raises:
        ValueError: It can't be read, or is no serve config.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"can't read the config {path}: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict) or not config.get("applications"):
        raise ValueError(f"{path} is no serve config: expected a map with 'applications'")
    try:
        config = _without_empty(config)
        config["http_options"] = dict(_map_in(config, "http_options"))
        applications = _maps_in(config, "applications", "'- name: splatcast' and so on")
        config["applications"] = [_application(each, f"applications.{i}.") for i, each in enumerate(applications)]
    except _ShapeError as error:
        raise ValueError(f"{path}: {error}") from None
    return config


def check_keys(config: dict[str, Any]) -> None:
    """Check that Serve knows every key: it passes over those that it does not, and with a misspelt ``args`` all that is in it.

    Imports Ray, which reads its environment then.

    Args:
        config: As :func:`load_config` returns it.

    Raises:
        ValueError: It does not know one; the sentence names the one that was meant, or all that there are.
    """
    from ray.serve.config import AutoscalingConfig
    from ray.serve.schema import (
        DeploymentSchema,
        HTTPOptionsSchema,
        RayActorOptionsSchema,
        ServeApplicationSchema,
        ServeDeploySchema,
    )

    _known_keys("", config, ServeDeploySchema.model_fields)
    _known_keys("http_options", config["http_options"], HTTPOptionsSchema.model_fields)
    for i, application in enumerate(config["applications"]):
        _known_keys(f"applications.{i}", application, ServeApplicationSchema.model_fields)
        for entry in application.get("deployments") or []:
            where = f"deployments.{entry['name']}"
            _known_keys(where, entry, DeploymentSchema.model_fields)
            for name, schema in (("autoscaling_config", AutoscalingConfig), ("ray_actor_options", RayActorOptionsSchema)):
                if isinstance(section := entry.get(name), dict):
                    _known_keys(f"{where}.{name}", section, schema.model_fields)


def check_scale(config: dict[str, Any]) -> None:
    """Check what Serve would find only once Ray has started, or say among the lines of a stack trace.

    Imports Ray, as :func:`check_keys` does.

    Raises:
        ValueError: Serve would refuse it; the sentence says where and why.
    """
    from ray.serve.config import AutoscalingConfig
    from ray.serve.schema import ServeDeploySchema

    where = "config"
    try:
        ServeDeploySchema.model_validate(config)
        for application in config["applications"]:
            for entry in application.get("deployments") or []:
                where = f"deployments.{entry['name']}.autoscaling_config"
                # Serve's own schema takes any map here.
                AutoscalingConfig.model_validate(entry.get("autoscaling_config") or {})
    except ValidationError as error:
        raise ValueError(sentence(where, error)) from None


def sentence(where: str, error: ValidationError) -> str:
    """What pydantic refuses, in one line: where, what was expected, and what came."""
    return "; ".join(".".join(map(str, (where, *detail["loc"]))) + f": {_words(detail)}" for detail in error.errors())


def _words(detail: ErrorDetails) -> str:
    text = detail["msg"].removeprefix("Value error, ")
    if not text.startswith(_EXPECTS):
        return text
    expected = text.removeprefix(_EXPECTS)
    number = "a number " if expected.startswith(("greater", "less")) else ""
    return f"expected {number}{expected}, got {detail['input']!r:.80}"


_EXPECTS = "Input should be "
"""Begins most of pydantic's sentences, which do not say what came; those of our own validators do."""


def _known_keys(where: str, section: dict[str, Any], valid: Collection[str]) -> None:
    for name in section:
        if name not in valid:
            meant = get_close_matches(str(name), valid, 1)
            way = f"did you mean {meant[0]!r}?" if meant else f"valid are {', '.join(sorted(valid))}"
            raise ValueError(f"{where or 'the config'}: {name!r} is unknown; {way}")


class _ShapeError(Exception):
    """A part of the config is no map, or no list of maps."""


def _application(values: dict[str, Any], where: str) -> dict[str, Any]:
    application = _without_empty(values)
    args = _map_in(application, "args", where)
    _map_in(_map_in(args, "engine", f"{where}args."), "params", f"{where}args.engine.")
    _map_in(args, "access", f"{where}args.")
    if "deployments" in application:
        entries = [_without_empty(entry) for entry in _maps_in(application, "deployments", "'- name: Ingress' and so on", where)]
        for i, entry in enumerate(entries):
            if "name" not in entry:
                raise _ShapeError(f"{where}deployments.{i}: expected a map with a 'name', got {', '.join(entry) or 'nothing'}")
            _map_in(entry, "ray_actor_options", f"{where}deployments.{i}.")
        application["deployments"] = entries
    return application


def _without_empty(section: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if value is not None}


def _map_in(section: dict[str, Any], name: str, where: str = "") -> dict[str, Any]:
    value = section.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _ShapeError(f"{where}{name}: expected a map, got {value!r:.40}")
    return value


def _maps_in(section: dict[str, Any], name: str, example: str, where: str = "") -> list[dict[str, Any]]:
    value = section.get(name)
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise _ShapeError(f"{where}{name}: expected a list of maps ({example})")
    return value


def use_model(application: dict[str, Any], model: str) -> None:
    """Put a Depth Anything 3 model in place of the config's engine; if that is ``da3`` too, its other parameters stay."""
    args = application.setdefault("args", {})
    engine = args.get("engine") or {}
    params = (engine.get("params") or {}) if engine.get("name") == "da3" else {}
    if model != params.get("model"):
        params = {name: value for name, value in params.items() if name not in ("weights", "revision", "kind")}
    args["engine"] = {**engine, "name": "da3", "params": {**params, "model": model}}
    for deployment in application.get("deployments") or []:
        if deployment["name"] == "GaussianInference" and "num_gpus" not in deployment.get("ray_actor_options", {}):
            # A network takes every core of a CPU: a second one would only take them from the first.
            deployment.pop("autoscaling_config", None)
            deployment["num_replicas"] = 1
