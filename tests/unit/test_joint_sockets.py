"""Cameras on two ingress replicas in one capture, over real sockets: what the model sees is counted where it sees it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message
from starlette.websockets import WebSocket

from deployments import cast
from deployments.config import GraphArgs
from deployments.http.admitted import AdmittedPipeline
from deployments.http.app import create_app
from deployments.http.socket import SessionSocket
from deployments.stream import messages
from deployments.stream.admission import Admission, AdmissionLimits
from deployments.stream.frames import Capture, PackedFrame
from deployments.stream.messages import Engine
from deployments.stream.room_limits import RoomLimits
from deployments.stream.rooms import Rooms
from tests.stub_server import StubPipeline, served
from tests.unit import test_joint_capture as pure
from tests.unit.test_cast import Camera, InProcess

ARGS = GraphArgs.model_validate({"session": {"max_views": 4}, "quality": {"enabled": False}})


class Joining(StubPipeline):
    """Counts the views: a reply has as many splats as its capture has views."""

    async def __call__(self, capture: Capture) -> Any:
        outcome = await super().__call__(capture)
        assert isinstance(outcome, PackedFrame)
        return replace(outcome, count=len(capture.views), request=replace(outcome.request, options=capture.request.options))

    async def describe(self) -> Engine:
        return replace(await super().describe(), joins_views=True)


@pytest.fixture
async def urls() -> AsyncIterator[list[str]]:
    relay = InProcess()
    async with AsyncExitStack() as stack:
        apps = [create_app(Joining(), ARGS, Path("/nonexistent"), replica=f"r{n}", relay=relay) for n in range(2)]
        yield [await stack.enter_async_context(served(app)) for app in apps]


@pytest.mark.parametrize("second", [0, 1])
async def test_a_viewer_sees_one_world_of_two_cameras_and_of_one_when_the_other_leaves(urls: list[str], second: int) -> None:
    async with Camera(urls[0], "studio") as first, aclosing(cast.watch(urls[1], "studio")) as frames:
        source = (await asyncio.wait_for(anext(frames), 10)).source
        async with Camera(urls[second], "studio") as other:
            await asyncio.wait_for(until(frames, 2, source), 10)
            assert other.answers
        await asyncio.wait_for(until(frames, 1, source), 10)
        assert first.answers


async def test_when_the_first_camera_leaves_the_other_is_seen(urls: list[str]) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(Camera(urls[0], "studio"))
        frames = await stack.enter_async_context(aclosing(cast.watch(urls[1], "studio")))
        source = (await asyncio.wait_for(anext(frames), 10)).source
        await stack.enter_async_context(Camera(urls[1], "studio"))
        await asyncio.wait_for(until(frames, 2, source), 10)
        await first.__aexit__()
        while (await asyncio.wait_for(anext(frames), 10)).source == source:
            pass


async def test_an_origin_that_leaves_with_a_frame_in_line_stands_in_line_no_more() -> None:
    rooms = Rooms(RoomLimits(), 0.0)
    clock = pure.Clock(rooms)
    clock.now_s = time.monotonic()
    origin, other, _ = pure.three(rooms, clock)
    pure.both_shoot(clock, other, origin)
    assert origin.session.ready_frame(clock.now_s) is not None
    admission = Admission(AdmissionLimits(max_in_flight=1))
    admission.ask(lambda: True, 0)  # Somebody's frame has the only place.
    lines: list[int] = []
    to_app: list[Message] = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "bytes": messages.encode(messages.Ping())},
        {"type": "websocket.disconnect", "code": 1001},
    ]

    async def receive() -> Message:
        lines.append(admission.waiting)
        return to_app.pop(0)

    async def send(message: Message) -> None:
        pass

    socket = WebSocket({"type": "websocket", "headers": []}, receive, send)
    await socket.accept()
    await SessionSocket(socket, origin.session, AdmittedPipeline(StubPipeline(), admission, 1)).run()
    assert lines == [0, 0, 1] and admission.waiting == 0
    admission.finished(None)
    assert admission.in_flight == 0


async def until(frames: AsyncIterator[Any], views: int, source: str) -> None:
    """Wait for a world of so many views."""
    async for splats in frames:
        if splats.count == views and splats.source == source:
            return
