"""The router: a frame goes to the replica with the fewest frames, which Serve's own finds only if it happens to look there."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve._private.common import DeploymentHandleSource, DeploymentID, ReplicaID, RequestMetadata
from ray.serve._private.request_router.common import PendingRequest

from deployments.ops.routing import MAX_ASKED, ShortestQueue

ROOT = Path(__file__).parent.parent.parent
DEPLOYMENT = DeploymentID("GaussianInference", "splatcast")


@dataclass
class Replica:
    """As much of a running replica as a router asks for."""

    replica_id: ReplicaID
    frames: int
    max_ongoing_requests: int = 8
    availability_zone: str = "zone"
    node_id: str = "node"

    async def get_queue_len(self, *, deadline_s: float) -> int:
        return self.frames


@contextmanager
def router(*frames: int) -> Iterator[ShortestQueue]:
    """A router in front of replicas with so many frames each."""
    found = ShortestQueue(
        deployment_id=DEPLOYMENT,
        handle_source=DeploymentHandleSource.REPLICA,
        use_replica_queue_len_cache=True,
        get_curr_time_s=time.time,
    )
    found.update_replicas([Replica(ReplicaID(str(index), DEPLOYMENT), count) for index, count in enumerate(frames)])
    for replica in found.curr_replicas.values():
        found.on_new_queue_len_info(replica.replica_id, replica.frames)
    yield found


def request() -> PendingRequest:
    return PendingRequest(args=[], kwargs={}, metadata=RequestMetadata(request_id="", internal_request_id=""))


async def chosen(of: ShortestQueue) -> int:
    replica = await asyncio.wait_for(of._choose_replica_for_request(request()), 5.0)
    of.on_send_request(replica.replica_id)
    return int(replica.replica_id.unique_id)


async def test_the_idle_one_of_many_gets_the_frame_every_time() -> None:
    for _ in range(20):
        with router(2, 1, 1, 0, 2, 1) as six:
            assert await chosen(six) == 3


async def test_frames_that_come_together_are_spread_before_any_waits() -> None:
    with router(0, 0, 0, 0) as four:
        assert sorted([await chosen(four) for _ in range(4)]) == [0, 1, 2, 3]
        assert sorted([await chosen(four) for _ in range(4)]) == [0, 1, 2, 3]


async def test_of_equals_each_has_its_turn() -> None:
    first = []
    for _ in range(60):
        with router(0, 0, 0) as three:
            first.append(await chosen(three))
    assert set(first) == {0, 1, 2}


async def test_no_more_than_a_few_of_a_hundred_are_compared() -> None:
    with router(*[0] * 100) as hundred:
        (group,) = await hundred.choose_replicas(list(hundred.curr_replicas.values()))
    assert len({replica.replica_id for replica in group}) == MAX_ASKED


@pytest.mark.parametrize("config", ["serve_config.yaml", "serve_config.cpu.yaml"])
def test_the_shipped_configs_route_inference_by_it(config: str) -> None:
    (application,) = yaml.safe_load((ROOT / config).read_text())["applications"]
    (inference,) = (each for each in application["deployments"] if each["name"] == "GaussianInference")
    settings: dict[str, Any] = inference["request_router_config"]
    assert settings == {"request_router_class": f"{ShortestQueue.__module__}:{ShortestQueue.__name__}"}
