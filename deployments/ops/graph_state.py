"""How this replica's application is, asked of Serve."""

import asyncio

from ray import serve
from ray.serve.exceptions import RayServeException

from deployments.http.status import DeploymentState, GraphState


async def graph_state() -> GraphState:
    """How the deployments of this replica's application are."""
    # In a thread: Serve's function waits for the controller.
    status = await asyncio.to_thread(serve.status)
    application = status.applications[serve.get_replica_context().app_name]
    deployments = [
        DeploymentState(name, deployment.status.value, dict(deployment.replica_states))
        for name, deployment in application.deployments.items()
    ]
    return GraphState(application.status.value, deployments)


def replica_name() -> str:
    """This replica's name; empty in Serve's local testing mode, which has no replicas."""
    try:
        name: str = serve.get_replica_context().replica_id.unique_id
    except RayServeException:
        return ""
    return name
