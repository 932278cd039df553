"""Every shipped YAML is valid, fits the graph, and a slip in one is refused by name."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from ray.serve.config import AutoscalingPolicy
from ray.serve.schema import ServeDeploySchema

from deployments.config import GraphArgs
from deployments.ops.autoscaling import FramesWanted
from deployments.stages.pack import Packer

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(ROOT.glob("serve_config*.yaml"))
STAGES = ["FrameDecoder", "GaussianInference", "Ingress", "Relay", "SplatPacker"]


def load(path: Path) -> dict[str, Any]:
    config = yaml.safe_load(path.read_text())
    assert isinstance(config, dict)
    return config


def test_both_profiles_are_shipped() -> None:
    assert [path.name for path in CONFIGS] == ["serve_config.cpu.yaml", "serve_config.yaml"]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_shipped_config_is_valid_and_names_the_graphs_deployments(path: Path) -> None:
    config = load(path)
    ServeDeploySchema.model_validate(config)
    (application,) = config["applications"]
    args = GraphArgs.model_validate(application["args"])
    by_name = {entry["name"]: entry for entry in application["deployments"]}
    assert sorted(by_name) == STAGES
    for name, entry in by_name.items():
        assert entry["max_queued_requests"] > 0, f"{name} queues without bound"
        assert entry["max_ongoing_requests"] > 0
    assert args.max_sessions < by_name["Ingress"]["max_ongoing_requests"], "pages and probes need room beside the sockets"
    for name in ("FrameDecoder", "GaussianInference", "SplatPacker"):
        scaling = by_name[name]["autoscaling_config"]
        assert scaling["min_replicas"] >= 1
        if name != "GaussianInference":
            assert scaling["target_ongoing_requests"] <= by_name[name]["max_ongoing_requests"]
    policy = by_name["GaussianInference"]["autoscaling_config"]["policy"]
    assert AutoscalingPolicy(**policy).get_policy() is FramesWanted
    assert "request_timeout_s" not in config["http_options"], "a WebSocket is one request for as long as it lives"


def test_the_gpu_config_asks_for_one_gpu_a_replica() -> None:
    (application,) = load(ROOT / "serve_config.yaml")["applications"]
    (inference,) = [entry for entry in application["deployments"] if entry["name"] == "GaussianInference"]
    assert inference["ray_actor_options"]["num_gpus"] == 1


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"engin": {}}, ["'engin' is unknown", "engine"]),
        ({"engine": {"nam": "relief"}}, ["'nam' is unknown", "name"]),
        ({"session": {"max_inflight": 1}}, ["session", "'max_inflight' is unknown", "max_in_flight"]),
        ({"session": {"max_in_flight": 0}}, ["max_in_flight", "more than 0"]),
        ({"frames": {"max_pixels": -5}}, ["max_pixels", "more than 0"]),
        ({"options": {"border": 0.9}}, ["border", "0.45"]),
        ({"options": {"codec": "mp4"}}, ["codec", "packed"]),
        ({"option_limits": {"codecs": ["bogus"]}}, ["codecs", "packed and points", "ply", "bogus"]),
        ({"option_limits": {"codecs": []}}, ["codecs", "packed and points", "ply"]),
        ({"option_limits": {"codecs": ["packed", "ply"]}}, ["codecs", "packed and points"]),
        ({"option_limits": {"codecs": ["packed", "points", "packed"]}}, ["codecs", "each once"]),
        ({"option_limits": {"max_splats": 10}}, ["max_splats", "from 1 to 10"]),
        ({"batch": {"max_size": 0}}, ["max_size"]),
        ({"pack": {"scale_min": 3.0}}, ["scale_min", "e times min"]),
        ({"pack": {"scale_min": 0.0}}, ["scale_min", "1.8e-35"]),
        ({"pack": {"scale_min": -1.0}}, ["scale_min", "1.8e-35"]),
        ({"pack": {"scale_min": 1e-40}}, ["scale_min", "1.8e-35", "1e-40"]),
        ({"pack": {"scale_max": 1e40}}, ["scale_max", "5.5e+34", "1e+40"]),
        ({"pack": {"scale_max": float("inf")}}, ["scale_max", "5.5e+34"]),
        ({"pack": {"scale_min": float("nan")}}, ["scale_min", "nan"]),
        ({"engine": "relief"}, ["engine", "dictionary"]),
        ({"engine": {"params": ["model"]}}, ["params", "dictionary"]),
        ({"engine": {"name": None}}, ["engine.name", "string"]),
        ({"access": {"hosts": None}}, ["access.hosts"]),
    ],
)
def test_a_slip_is_refused_naming_what_was_expected(args: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValidationError) as refused:
        GraphArgs.model_validate(args)
    assert all(word in str(refused.value) for word in words), str(refused.value)


@pytest.mark.parametrize("low", [2e-35, 1e-20, 0.003, 1.0, 7.7, 1e10])
def test_a_range_of_scales_that_the_config_takes_is_one_that_the_codec_can_code(low: float) -> None:
    taken = 0
    for high in (math.nextafter(low * math.e, 0), low * math.e, math.nextafter(low * math.e, math.inf)):
        try:
            settings = GraphArgs.model_validate({"pack": {"scale_min": low, "scale_max": high}}).pack
        except ValidationError:
            continue
        Packer(settings)
        taken += 1
    assert taken


@pytest.mark.parametrize("section", sorted(set(GraphArgs.model_fields) - {"max_sessions", "frame_timeout_s"}))
def test_a_section_that_is_left_empty_has_its_defaults(section: str) -> None:
    assert GraphArgs.model_validate({section: None}) == GraphArgs()


def test_args_and_params_that_are_left_empty_have_their_defaults() -> None:
    assert GraphArgs.model_validate(None) == GraphArgs()
    assert GraphArgs.model_validate(yaml.safe_load("engine: {name: synthetic, params: }")).engine.params == {}


@pytest.mark.parametrize("codecs", [["points", "packed"], ["ply", "packed", "points"]])
def test_the_codecs_offered_and_their_order_are_the_operators_choice(codecs: list[str]) -> None:
    assert GraphArgs.model_validate({"option_limits": {"codecs": codecs}}).option_limits.codecs == tuple(codecs)


def test_the_builder_takes_the_plain_dict_that_serve_passes_and_validates_it() -> None:
    from deployments.graph import build_app

    with pytest.raises(ValidationError):
        build_app({"engin": {}})  # type: ignore[arg-type]
    assert build_app({"engine": {"name": "synthetic"}}) is not None  # type: ignore[arg-type]
    assert build_app({"engine": {"name": "synthetic", "params": None}}) is not None  # type: ignore[arg-type]


def test_the_typed_builder_is_what_serve_sees() -> None:
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary

    from deployments.graph import build_app

    with pytest.raises(ValidationError):
        call_user_app_builder_with_args_if_necessary(build_app, {"engin": {}})
