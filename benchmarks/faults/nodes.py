"""A cluster of three nodes on this machine, one of which is lost with everything on it.

The head has the controller and the proxy, through which the viewers come; it must outlive the fault, as it is also the cluster's
memory (on Kubernetes: GCS fault tolerance, or a restart of the service). Every stage has two replicas, at most one a node. So the
node that is killed takes a part of the graph with it, and what was lost finds its place on those that are left.
"""

import os
import secrets
import time
from typing import Any

from benchmarks.faults.watch import Fault
from benchmarks.server import free_port
from deployments.ops.launch import set_environment

_START_TIMEOUT_S = 120.0
_NODE_CPUS = 2
_STORE_BYTES = 128 * 2**20


class ThreeNodes:
    """A context: the cluster runs within it.

    Attributes:
        ws_url: The WebSocket at the head's proxy.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        """Prepare.

        Args:
            config: A serve config with two replicas of each stage.
        """
        self.port = free_port()
        self.ws_url = f"ws://127.0.0.1:{self.port}/ws"
        config["http_options"]["port"] = self.port
        for entry in config["applications"][0]["deployments"]:
            entry["max_replicas_per_node"] = 1
        # The stages go where "stage" is, so that the fault meets two of each four at most, and the head has none of them.
        for entry in config["applications"][0]["deployments"]:
            entry["ray_actor_options"] = {"num_cpus": 0.05, "resources": {"stage": 0.01}}
        self._config = config

    def __enter__(self) -> "ThreeNodes":
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32)}
        os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
        set_environment()
        import ray
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": _NODE_CPUS, "object_store_memory": _STORE_BYTES, "include_dashboard": False},
        )
        try:
            self._nodes = [self._add_node() for _ in range(3)]
            ray.init(address=self._cluster.address, namespace="serve", log_to_driver=False, logging_level="ERROR")
            self._serve()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _add_node(self) -> Any:
        return self._cluster.add_node(num_cpus=_NODE_CPUS, resources={"stage": 1}, object_store_memory=_STORE_BYTES)

    def _serve(self) -> None:
        from ray import serve
        from ray.serve.config import HTTPOptions
        from ray.serve.context import _get_global_client
        from ray.serve.schema import ServeDeploySchema

        schema = ServeDeploySchema.model_validate(self._config)
        serve.start(proxy_location="HeadOnly", http_options=HTTPOptions(host="127.0.0.1", port=self.port))
        _get_global_client().deploy_apps(schema)
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while True:
            applications = serve.status().applications.values()
            if any(application.status.value == "RUNNING" for application in applications):
                return
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"the graph did not start on three nodes: {list(applications)!r:.500}")
            time.sleep(0.5)

    def kill_node(self) -> Fault:
        """The node with most replicas, with all its processes, at once."""

        async def harm() -> dict[str, Any]:
            node = max(self._nodes, key=lambda node: len(self._replicas_on(node)))
            stages = self._replicas_on(node)
            self._nodes.remove(node)
            self._cluster.remove_node(node, allow_graceful=False)
            return {"replicas_on_it": sorted(stages)}

        return harm

    def _replicas_on(self, node: Any) -> list[str]:
        from ray.serve.context import _get_global_client

        details = _get_global_client().get_serve_details()
        deployments = details["applications"]["splatcast"]["deployments"]
        return [name for name, found in deployments.items() for replica in found["replicas"] if replica["node_id"] == node.node_id]

    def __exit__(self, *exc_info: object) -> None:
        import ray

        ray.shutdown()
        self._cluster.shutdown()
