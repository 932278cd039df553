"""Rooms on a real cluster: two ingress replicas, two relays, and what viewers see when one of them is killed."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from deployments import cast
from deployments.client import Stream, connect
from deployments.stream.messages import Join, Splats
from tests.pictures import jpeg
from tests.server import Server

pytestmark = pytest.mark.cluster

PICTURE = jpeg(320, 240)
VIEWERS = 4
BACK_S = 30.0
"""Generous: other tests may take the machine. What it takes on a quiet one is in docs/benchmarks.md."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    engine = {"name": "synthetic", "params": {"splats": 20_000, "latency_ms": 20.0, "depth": True}}
    two = {"num_replicas": 2}
    with Server({"engine": engine}, {"Ingress": two, "Relay": two}) as server:
        assert isinstance(server, Server)
        yield server


async def film() -> AsyncIterator[bytes]:
    while True:
        yield PICTURE
        await asyncio.sleep(0.1)


class Viewer:
    """Watches until the block ends; ``seen`` has when each frame came and its number."""

    def __init__(self, server: Server, room: str) -> None:
        self._server, self._room = server, room
        self.seen: list[tuple[float, Splats]] = []

    async def __aenter__(self) -> "Viewer":
        self._task = asyncio.ensure_future(self._watch())
        return self

    async def _watch(self) -> None:
        async for splats in cast.watch(self._server.ws_url, self._room):
            self.seen.append((time.monotonic(), splats))

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def next_after(self, moment_s: float, frames: int = 1) -> None:
        """Until it has seen so many frames that came after a moment."""
        deadline_s = time.monotonic() + BACK_S
        while sum(when_s > moment_s for when_s, _ in self.seen) < frames:
            assert not self._task.done() and time.monotonic() < deadline_s, f"{len(self.seen)} frames in all"
            await asyncio.sleep(0.02)


class Show:
    """One camera and several viewers, which Serve spreads over the ingress replicas."""

    def __init__(self, server: Server, room: str) -> None:
        self._server, self._room = server, room
        self.viewers = [Viewer(server, room) for _ in range(VIEWERS)]

    async def __aenter__(self) -> "Show":
        self._camera = asyncio.ensure_future(self._publish())
        for viewer in self.viewers:
            await viewer.__aenter__()
        return self

    async def _publish(self) -> None:
        async for _ in cast.publish(self._server.ws_url, self._room, film()):
            pass

    async def __aexit__(self, *error: object) -> None:
        for viewer in self.viewers:
            await viewer.__aexit__()
        self._camera.cancel()
        await asyncio.wait({self._camera})

    async def all_see(self, moment_s: float, frames: int = 3) -> None:
        await asyncio.gather(*(viewer.next_after(moment_s, frames) for viewer in self.viewers))


async def test_all_viewers_of_a_room_see_the_camera_by_way_of_two_replicas(server: Server) -> None:
    async with Show(server, "together") as show:
        await show.all_see(time.monotonic())
        relayed = [viewer.seen[-1][1] for viewer in show.viewers]
        assert {splats.codec for splats in relayed} == {"depth"}
        report = server.get("/api/status")
    assert b'"rooms"' in report


@pytest.mark.parametrize("deployment", ["Relay", "Ingress"])
async def test_a_killed_replica_costs_frames_and_no_room(server: Server, deployment: str) -> None:
    async with Show(server, f"without-{deployment}") as show:
        await show.all_see(time.monotonic())
        for victim in server.replicas(deployment)[:1]:
            victim.kill()
        killed_s = time.monotonic()
        await show.all_see(killed_s + 0.2)
        back_s = max(min(when_s for when_s, _ in viewer.seen if when_s > killed_s + 0.2) for viewer in show.viewers) - killed_s
        print(f"{deployment}: all see again after {back_s:.2f} s")
        # The one that was killed comes back, and takes part again.
        while len(server.replicas(deployment)) < 2:
            await asyncio.sleep(0.2)
        await show.all_see(time.monotonic())


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
