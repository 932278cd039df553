"""A cluster of three nodes on this machine, one of which is lost with everything on it.

The head has the controller and the proxy, through which the viewers come; it must outlive the fault, as it is also the cluster's
memory (on Kubernetes: GCS fault tolerance, or a restart of the service). Every stage has two replicas, at most one to a node. So
the node that is killed takes a part of the graph with it, and what was lost finds a place on those that are left.
"""

from contextlib import ExitStack
from typing import Any

from benchmarks.controller import APP, deploy, driver_of, prepare_driver
from benchmarks.server import free_port

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
            # Replicas go where "stage" is: the head has none, and no node has more than one of each.
            entry["ray_actor_options"] = {"num_cpus": 0.05, "resources": {"stage": 0.01}}
        self._config = config
        self._stack = ExitStack()

    def __enter__(self) -> "ThreeNodes":
        prepare_driver()
        from ray import serve
        from ray.cluster_utils import Cluster
        from ray.serve.config import HTTPOptions

        head = {"num_cpus": _NODE_CPUS, "object_store_memory": _STORE_BYTES, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        with ExitStack() as stack:
            stack.callback(self._cluster.shutdown)
            self._nodes = [self._add_node() for _ in range(3)]
            stack.enter_context(driver_of(self._cluster.address))
            serve.start(proxy_location="HeadOnly", http_options=HTTPOptions(host="127.0.0.1", port=self.port))
            deploy(self._config)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def _add_node(self) -> Any:
        return self._cluster.add_node(num_cpus=_NODE_CPUS, resources={"stage": 1}, object_store_memory=_STORE_BYTES)

    async def kill_node(self) -> dict[str, Any]:
        """The fault: the node with most replicas ends at once, with all its processes."""
        node = max(self._nodes, key=lambda node: len(self._replicas_on(node)))
        stages = self._replicas_on(node)
        self._nodes.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)
        return {"replicas_on_it": sorted(stages)}

    def _replicas_on(self, node: Any) -> list[str]:
        from ray.serve.context import _get_global_client

        deployments = _get_global_client().get_serve_details()["applications"][APP]["deployments"]
        return [name for name, found in deployments.items() for replica in found["replicas"] if replica["node_id"] == node.node_id]
