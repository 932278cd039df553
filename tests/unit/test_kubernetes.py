"""The manifests: current, and valid by the published schemas.

Kubernetes' own kinds are checked against the models of its Python client, which are made from its OpenAPI document. KubeRay ships
its schema with its operator only: the fields used here are listed below, from ``ray.io_rayservices.yaml`` of KubeRay 1.7.0, and
the whole of it is checked where ``KUBERAY_CRD`` names that file.
"""

import importlib.util
import os
import re
from pathlib import Path
from typing import Any

import kubernetes.client.models as models
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from deployments.config import GraphArgs
from deployments.ops.autoscaling import FramesWanted
from deployments.ops.launch import read_environment_file

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "kubernetes"
PROFILES = ("cpu", "gpu")

_spec = importlib.util.spec_from_file_location("generate", FOLDER / "generate.py")
assert _spec and _spec.loader
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)

KINDS = {
    "ConfigMap": "V1ConfigMap",
    "Ingress": "V1Ingress",
    "NetworkPolicy": "V1NetworkPolicy",
    "PersistentVolumeClaim": "V1PersistentVolumeClaim",
    "PodDisruptionBudget": "V1PodDisruptionBudget",
}
GROUP = {"rayStartParams": "dict[str, str]", "template": "V1PodTemplateSpec", "labels": "dict[str, str]"}
RAY_SERVICE: dict[str, Any] = {
    "apiVersion": "str",
    "kind": "str",
    "metadata": "V1ObjectMeta",
    "spec": {
        "excludeHeadPodFromServeSvc": "bool",
        "upgradeStrategy": {"type": "str"},
        "deploymentUnhealthySecondThreshold": "int",
        "serveConfigV2": "str",
        "rayClusterConfig": {
            "rayVersion": "str",
            "authOptions": {"mode": "str", "secretName": "str"},
            "enableInTreeAutoscaling": "bool",
            "autoscalerOptions": {"version": "str", "idleTimeoutSeconds": "int"},
            "headGroupSpec": GROUP,
            "workerGroupSpecs": [{**GROUP, "groupName": "str", "replicas": "int", "minReplicas": "int", "maxReplicas": "int"}],
        },
    },
}
"""Field → its type: of Kubernetes' Python client, a map of fields, or a list of them."""


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def ray_service(profile: str) -> dict[str, Any]:
    (service,) = [document for document in documents(generate.path(profile)) if document["kind"] == "RayService"]
    return service


def pods(profile: str) -> dict[str, dict[str, Any]]:
    """Group → its pod template."""
    cluster = ray_service(profile)["spec"]["rayClusterConfig"]
    groups = {"head": cluster["headGroupSpec"], **{group["groupName"]: group for group in cluster["workerGroupSpecs"]}}
    return {name: group["template"] for name, group in groups.items()}


def check(value: Any, kind: Any, where: str) -> None:
    """Whether a value is of a kind; every field must be known."""
    if isinstance(kind, dict):
        assert isinstance(value, dict) and set(value) <= set(kind), f"{where}: {set(value) - set(kind)} unknown"
        for name, part in value.items():
            check(part, kind[name], f"{where}.{name}")
    elif isinstance(kind, list) or kind.lower().startswith("list["):
        assert isinstance(value, list), where
        for index, part in enumerate(value):
            check(part, kind[0] if isinstance(kind, list) else kind[5:-1], f"{where}[{index}]")
    elif kind.lower().startswith("dict["):
        assert isinstance(value, dict), where
        for name, part in value.items():
            check(part, kind[5:-1].split(", ")[1], f"{where}.{name}")
    elif kind.startswith("V1"):
        model = getattr(models, kind)
        fields = {model.attribute_map[name]: part for name, part in model.openapi_types.items()}
        check(value, fields, where)
        names = {field: name for name, field in model.attribute_map.items()}
        model(**{names[field]: part for field, part in value.items()})  # Raises for a required field that is missing.
    else:
        expected = {"str": str, "int": int, "bool": bool, "object": (str, int, dict), "datetime": str}[kind]
        assert isinstance(value, expected) and (kind in ("bool", "object") or not isinstance(value, bool)), f"{where}: {value!r}"


@pytest.mark.parametrize("profile", PROFILES)
def test_the_manifest_is_what_the_config_and_the_environment_give(profile: str) -> None:
    assert generate.path(profile).read_text() == generate.manifest(profile), "run: make kubernetes"


@pytest.mark.parametrize("path", [*(generate.path(profile) for profile in PROFILES), FOLDER / "ingress.example.yaml"])
def test_every_document_has_only_fields_that_its_kind_has(path: Path) -> None:
    for document in documents(path):
        kind = document["kind"]
        check(document, RAY_SERVICE if kind == "RayService" else KINDS[kind], kind)


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"spec": {"rayClusterConfig": {"authOption": {}}}}, "authOption"),
        ({"spec": {"rayClusterConfig": {"headGroupSpec": {"rayStartParams": {"num-cpus": 0}}}}}, "num-cpus"),
        ({"spec": {"rayClusterConfig": {"headGroupSpec": {"template": {"spec": {"container": []}}}}}}, "container"),
    ],
)
def test_the_check_of_fields_finds_what_is_wrong(wrong: dict[str, Any], where: str) -> None:
    with pytest.raises(AssertionError, match=where):
        check(wrong, RAY_SERVICE, "RayService")


@pytest.mark.parametrize("profile", PROFILES)
def test_the_serve_config_inside_is_the_shipped_one_and_serve_takes_it(profile: str) -> None:
    config = yaml.safe_load(ray_service(profile)["spec"]["serveConfigV2"])
    shipped = yaml.safe_load((ROOT / generate.CONFIGS[profile]).read_text())
    for setting in ("http_options", "proxy_location"):
        shipped[setting] = config[setting]
    # Names are the load balancer's concern in both.
    access = yaml.safe_load((ROOT / generate.CONFIGS["gpu"]).read_text())["applications"][0]["args"]["access"]
    shipped["applications"][0]["args"]["access"] = access
    assert config == shipped
    assert config["http_options"]["host"] == "0.0.0.0" and config["proxy_location"] == "EveryNode"
    schema = ServeDeploySchema.model_validate(config)
    GraphArgs.model_validate(schema.applications[0].args)
    for deployment in config["applications"][0]["deployments"]:
        policy = (deployment.get("autoscaling_config") or {}).get("policy", {}).get("policy_function")
        assert policy in (None, f"{FramesWanted.__module__}:{FramesWanted.__name__}")


@pytest.mark.parametrize("profile", PROFILES)
def test_every_pod_has_the_environment_files_and_the_cluster_its_token(profile: str) -> None:
    (config_map,) = [document for document in documents(generate.path(profile)) if document["kind"] == "ConfigMap"]
    ours = {**read_environment_file(ROOT / "serve.env"), **read_environment_file(ROOT / "serve.cluster.env")}
    auth = ray_service(profile)["spec"]["rayClusterConfig"]["authOptions"]
    assert ours == {**config_map["data"], "RAY_AUTH_MODE": auth["mode"]} and auth["mode"] == "token" and auth["secretName"]
    for template in pods(profile).values():
        (container,) = template["spec"]["containers"]
        assert {"configMapRef": {"name": config_map["metadata"]["name"]}} in container["envFrom"]


@pytest.mark.parametrize("profile", PROFILES)
def test_no_pod_runs_as_root_or_without_limits(profile: str) -> None:
    for name, template in pods(profile).items():
        pod = template["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 1000
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert {"cpu", "memory"} <= set(container["resources"]["limits"])
        assert name == "head" or not pod["automountServiceAccountToken"]


@pytest.mark.parametrize("profile", PROFILES)
def test_images_ports_labels_and_volumes_are_ones_that_exist(profile: str) -> None:
    targets = set(re.findall(r"^FROM \S+ AS (\w+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    manifest = documents(generate.path(profile))
    port = yaml.safe_load(ray_service(profile)["spec"]["serveConfigV2"])["http_options"]["port"]
    claims = {document["metadata"]["name"] for document in manifest if document["kind"] == "PersistentVolumeClaim"}
    for template in pods(profile).values():
        (container,) = template["spec"]["containers"]
        name, _, tag = container["image"].partition(":")
        assert name == "splatcast" and tag == profile and tag in targets
        assert port in {entry["containerPort"] for entry in container["ports"]}
        volumes = {v["name"]: v["persistentVolumeClaim"]["claimName"] for v in template["spec"].get("volumes", [])}
        assert {mount["name"] for mount in container.get("volumeMounts", [])} == set(volumes) and set(volumes.values()) <= claims
        labels = template["metadata"]["labels"].items()
        for document in manifest:
            selector = document["spec"].get("podSelector") or document["spec"].get("selector") if "spec" in document else None
            if document["kind"] in ("PodDisruptionBudget", "NetworkPolicy"):
                assert selector and selector["matchLabels"].items() <= labels
    (ingress,) = documents(FOLDER / "ingress.example.yaml")
    backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": f"{ray_service(profile)['metadata']['name']}-serve-svc", "port": {"number": port}}


def test_gpu_pods_carry_the_label_that_keeps_the_cpu_stages_off_them() -> None:
    groups = {group["groupName"]: group for group in ray_service("gpu")["spec"]["rayClusterConfig"]["workerGroupSpecs"]}
    for deployment in yaml.safe_load((ROOT / "serve_config.yaml").read_text())["applications"][0]["deployments"]:
        options = deployment["ray_actor_options"]
        limits = groups["gpu" if "num_gpus" in options else "cpu"]["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert options["num_cpus"] <= int(limits["cpu"]) and options.get("num_gpus", 0) <= int(limits.get("nvidia.com/gpu", 0))
        ((key, refused),) = options.get("label_selector", {"splatcast": "!cpu"}).items()
        assert f"!{groups['cpu' if 'num_gpus' in options else 'gpu']['labels'][key]}" == refused


CRD = os.environ.get("KUBERAY_CRD")


@pytest.mark.skipif(not CRD, reason="KUBERAY_CRD names no file: KubeRay ships its schema with its operator only")
@pytest.mark.parametrize("profile", PROFILES)
def test_the_ray_service_is_valid_by_the_operators_own_schema(profile: str) -> None:
    versions = yaml.safe_load(Path(CRD or "").read_text())["spec"]["versions"]
    (schema,) = [v["schema"]["openAPIV3Schema"] for v in versions if v["name"] == "v1"]
    service = ray_service(profile)
    assert service.pop("apiVersion") == "ray.io/v1" and service.pop("kind") and service.pop("metadata")
    check_structural(service, {**schema, "properties": {"spec": schema["properties"]["spec"]}}, "RayService")


def check_structural(value: Any, schema: dict[str, Any], where: str) -> None:
    """A value against the structural schema of a custom resource definition."""
    if schema.get("x-kubernetes-int-or-string"):
        assert isinstance(value, (int, str)), where
        return
    kind = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}[schema["type"]]
    assert isinstance(value, kind), f"{where}: expected {schema['type']}, got {value!r:.80}"
    assert value in schema.get("enum", [value]), f"{where}: {value!r} is none of {schema['enum']}"
    if isinstance(value, list):
        for index, item in enumerate(value):
            check_structural(item, schema["items"], f"{where}[{index}]")
    elif isinstance(value, dict):
        assert set(schema.get("required", ())) <= set(value), f"{where}: {set(schema['required']) - set(value)} missing"
        for name, item in value.items():
            known = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            if not schema.get("x-kubernetes-preserve-unknown-fields"):
                assert known, f"{where}: {name} is unknown"
            if isinstance(known, dict):
                check_structural(item, known, f"{where}.{name}")
