"""The dashboard and the alerts ask for metrics and labels that exist, in the form in which they are exported."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.ops.metrics import METRICS

MONITORING = Path(__file__).parents[2] / "monitoring"
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "grafana-dashboard.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES: list[dict[str, Any]] = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]

RAYS_OWN = {
    "ray_serve_deployment_replica_healthy": {"application", "deployment"},
    "ray_serve_autoscaling_target_replicas": {"application", "deployment"},
    "ray_node_cpu_utilization": {"ip"},
    "ray_node_mem_used": {"ip"},
    "ray_node_mem_total": {"ip"},
    "ray_node_network_send_speed": {"ip"},
    "ray_object_store_used_memory": {"NodeAddress"},
    "ray_object_store_available_memory": {"NodeAddress"},
}
"""What is not ours, with the labels that we use; tests/serve/test_observability.py sees them on a real node."""
WITH_A_GPU = {"ray_node_gpus_utilization": {"ip", "GpuIndex"}, "ray_node_gram_used": {"ip", "GpuIndex"}}
"""On nodes that have one: the test below finds them in Ray's source."""


def exported() -> dict[str, set[str]]:
    """Every name Prometheus may see of ours, with its labels."""
    found: dict[str, set[str]] = {}
    for metric in METRICS.values():
        for end in ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",):
            found[f"ray_{metric.name}{end}"] = {*metric.labels, *(("le",) if end == "_bucket" else ())}
    return found


def expressions() -> Iterator[tuple[str, str]]:
    for panel in PANELS:
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])
    yield from ((rule["alert"], rule["expr"]) for rule in RULES)


@pytest.mark.parametrize("where, expression", [pytest.param(*item, id=item[0]) for item in expressions()])
def test_every_metric_and_label_asked_for_exists(where: str, expression: str) -> None:
    known = {**exported(), **RAYS_OWN, **WITH_A_GPU}
    names = set(re.findall(r"\bray_\w+", expression))
    assert names and names <= set(known), names - set(known)
    labels = set().union(*(known[name] for name in names))
    grouped = {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(",")}
    selected = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression))
    assert grouped | selected <= labels, (grouped | selected) - labels
    # A counter that is read without a rate, and a gauge with one, are numbers that mean nothing.
    for name in names:
        is_counter = name.endswith(("_total", "_bucket", "_sum", "_count")) and name not in RAYS_OWN
        rated = re.search(rf"rate\({name}(\{{[^}}]*\}})?\[(\$__rate_interval|\d+m)\]\)", expression)
        assert bool(rated) == is_counter, f"{name} in {where}"


@pytest.mark.parametrize("where, expression", [pytest.param(*item, id=item[0]) for item in expressions()])
def test_brackets_are_closed_in_order(where: str, expression: str) -> None:
    stack: list[str] = []
    for sign in re.sub(r'"[^"]*"', "", expression):
        if sign in "([{":
            stack.append({"(": ")", "[": "]", "{": "}"}[sign])
        elif sign in ")]}":
            assert stack and stack.pop() == sign, expression
    assert not stack, expression


def test_every_metric_of_ours_is_on_the_dashboard() -> None:
    asked = {
        name for panel in PANELS for target in panel["targets"] for name in re.findall(r"\bray_(splatcast\w+)", target["expr"])
    }
    shown = {name.removesuffix(end) if end else name for name in asked for end in ("_bucket", "_sum", "_count", "")}
    assert set(METRICS) <= shown, set(METRICS) - shown


def test_gpu_metrics_are_those_of_the_installed_ray() -> None:
    from ray.dashboard.modules.reporter import reporter_agent

    source = Path(reporter_agent.__file__).read_text()
    for name, labels in WITH_A_GPU.items():
        assert f'"{name.removeprefix("ray_")}"' in source and all(f'"{label}"' in source for label in labels)


def test_a_deployment_that_is_down_is_missed_whichever_it_is() -> None:
    (application,) = yaml.safe_load((MONITORING.parent / "serve_config.yaml").read_text())["applications"]
    count = len(application["deployments"])
    (down,) = (rule["expr"] for rule in RULES if rule["alert"] == "SplatcastStageDown")
    (panel,) = (panel for panel in PANELS if panel["title"] == "Deployments without a replica")
    assert down.endswith(f"< {count}")
    assert panel["targets"][0]["expr"].startswith(f"{count} - count(") and panel["targets"][0]["expr"].endswith(f"vector({count})")


def test_grafana_can_import_it() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert [variable["type"] for variable in DASHBOARD["templating"]["list"]] == ["datasource"]
    right, taken = 24, set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and max(x for x, _ in cells) < right, panel["title"]
        taken |= cells
    for panel in PANELS:
        assert panel["fieldConfig"]["defaults"]["unit"] and panel["description"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_every_alert_is_explained() -> None:
    operations = (MONITORING.parent / "docs" / "operations.md").read_text()
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket") and rule["annotations"]["summary"]
        assert f"`{rule['alert']}`" in operations
    named = set(re.findall(r"`(Splatcast[A-Z]\w+)`", operations))
    assert named == {rule["alert"] for rule in RULES}


def test_every_metric_is_in_the_guide() -> None:
    operations = (MONITORING.parent / "docs" / "operations.md").read_text()
    assert set(re.findall(r"`(splatcast_\w+)`", operations)) == set(METRICS)


def promtool(*arguments: str | Path) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("there is no promtool (Debian: apt-get install prometheus)")
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("verb", "name"), [("rules", "alerts.yaml"), ("config", "prometheus.yaml")])
def test_prometheus_itself_takes_the_files(verb: str, name: str) -> None:
    promtool("check", verb, MONITORING / name)


@pytest.mark.parametrize(
    ("going_out", "pages"),
    [
        ("ray_splatcast_frames_sent_total", False),
        ('ray_splatcast_room_frames_total{way="published"}', False),
        ('ray_splatcast_room_frames_total{way="received"}', True),
    ],
)
def test_frames_that_go_nowhere_page_and_a_camera_that_nobody_watches_does_not(tmp_path: Path, going_out: str, pages: bool) -> None:
    rising = "0+600x10"
    alert = {
        "exp_labels": {"severity": "page"},
        "exp_annotations": {"summary": "10 frames a second come in, and no splats go out."},
    }
    test = {
        "rule_files": [str(MONITORING / "alerts.yaml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": s, "values": rising} for s in ("ray_splatcast_frames_received_total", going_out)],
                "alert_rule_test": [
                    {"eval_time": "9m", "alertname": "SplatcastNothingComesOut", "exp_alerts": [alert] if pages else []}
                ],
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    promtool("test", "rules", tmp_path / "test.yaml")
