"""Run by test_placement: three Ray nodes on this machine, a Serve config on them, and one line of JSON that says where things are.

A process of its own, because a Ray driver leaves its traces in the process it lived in. It ends when its standard input closes.

Usage: python three_nodes.py CONFIG GPU_NODE_PORT CPU_NODE_PORT
"""

import json
import os
import sys
import time
from pathlib import Path

import ray
import yaml
from ray import serve
from ray.cluster_utils import Cluster
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

READY_TIMEOUT_S = 120.0
OBJECT_STORE_BYTES = 100 * 2**20


def main() -> None:
    config = yaml.safe_load(Path(sys.argv[1]).read_text())
    common = {"object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={**common, "num_cpus": 0, "num_gpus": 0})
    nodes = {"head": cluster.head_node.node_id}
    # The GPU node has CPUs to spare: that the CPU stages stay off it must be the config's doing.
    for name, port, cpus, gpus in (("gpu", sys.argv[2], 10, 2), ("cpu", sys.argv[3], 5, 0)):
        # One address for all nodes: each proxy needs a port of its own, which its raylet hands down.
        os.environ["RAY_SERVE_WORKER_PROXY_HTTP_PORT"] = port
        node = cluster.add_node(**common, num_cpus=cpus, num_gpus=gpus, labels={"splatcast": name})
        nodes[name] = node.node_id
    ray.init(address=cluster.address, namespace="serve", log_to_driver=False, logging_level="ERROR")
    try:
        serve.start(proxy_location=config["proxy_location"], http_options=config["http_options"])
        client = _get_global_client()
        client.deploy_apps(ServeDeploySchema.model_validate(config))
        print(json.dumps(_where(client, {node: name for name, node in nodes.items()})), flush=True)
        sys.stdin.read()
    finally:
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()


def _where(client: object, names: dict[str, str]) -> dict[str, object]:
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while True:
        details = client.get_serve_details()  # type: ignore[attr-defined]
        application = details["applications"].get("splatcast") or {}
        healthy = all(proxy["status"] == "HEALTHY" for proxy in details["proxies"].values())
        if application.get("status") == "RUNNING" and healthy and len(details["proxies"]) == len(names):
            break
        if time.monotonic() > deadline_s or application.get("status") == "DEPLOY_FAILED":
            sys.exit(f"not running: {application.get('status')} {application.get('message')}; proxies {details['proxies']}")
        time.sleep(0.5)
    deployments = application["deployments"]
    return {
        "replicas": {name: sorted(names[r["node_id"]] for r in found["replicas"]) for name, found in deployments.items()},
        "proxies": [names[node] for node in details["proxies"]],
    }


if __name__ == "__main__":
    main()
