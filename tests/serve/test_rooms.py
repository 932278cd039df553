"""Rooms on a real cluster: two ingress replicas, two relays, and what viewers see when one of them is killed."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from benchmarks.audience import Audience
from deployments.client import Stream, connect
from deployments.stream.messages import Join, Splats
from tests.pictures import jpeg
from tests.server import Server

pytestmark = pytest.mark.cluster

PICTURE = jpeg(320, 240)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    engine = {"name": "synthetic", "params": {"splats": 20_000, "latency_ms": 20.0, "depth": True}}
    two = {"num_replicas": 2}
    with Server({"engine": engine}, {"Ingress": two, "Relay": two}) as server:
        assert isinstance(server, Server)
        yield server


def audience(server: Server, room: str) -> Audience:
    """One camera and several screens, which Serve spreads over the ingress replicas."""
    return Audience(server.ws_url, room, [PICTURE], fps=10.0, screens=4)


async def test_all_screens_of_a_room_see_the_camera_by_way_of_two_replicas(server: Server) -> None:
    async with audience(server, "together") as room:
        await room.all_see(time.monotonic(), frames=3)
        assert {splats.codec for splats in room.newest if splats} == {"depth"}
        report = server.get("/api/status")
    assert b'"rooms"' in report


@pytest.mark.parametrize("deployment", ["Relay", "Ingress"])
async def test_a_killed_replica_costs_frames_and_no_room(server: Server, deployment: str) -> None:
    async with audience(server, f"without-{deployment}") as room:
        await room.all_see(time.monotonic(), frames=3)
        for victim in server.replicas(deployment)[:1]:
            victim.kill()
        await room.all_see(time.monotonic() + 0.2, frames=3)  # What is under way arrives in that time.
        # The one that was killed comes back, and takes part again.
        while len(server.replicas(deployment)) < 2:
            await asyncio.sleep(0.2)
        await room.all_see(time.monotonic(), frames=3)


async def test_a_camera_that_reloads_keeps_its_place(server: Server) -> None:
    async def film_once(stream: Stream) -> None:
        await stream.send_frame(PICTURE)
        async for reply in stream:
            if isinstance(reply, Splats):
                return

    async with connect(server.ws_url, join=Join("reload")) as camera:
        assert camera.joined is not None
        joined = camera.joined
        await film_once(camera)
    async with connect(server.ws_url, join=Join("reload", place=joined.place)) as camera:
        assert camera.joined is not None and camera.joined.id == joined.id
        await film_once(camera)
