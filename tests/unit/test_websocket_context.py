"""Each frame runs as part of its own socket's request, whoever makes room for it; what all wait for, as part of none."""

import asyncio
from contextvars import ContextVar
from pathlib import Path

import pytest
from starlette.types import Message, Scope

from deployments.config import GraphArgs
from deployments.http.app import create_app
from deployments.http.status import GraphState
from deployments.models import load_model
from deployments.stages.local import LocalPipeline
from deployments.stream import messages
from deployments.stream.errors import FrameError
from deployments.stream.frames import Capture, PackedFrame
from deployments.stream.messages import Frame, Hello
from tests.pictures import jpeg
from tests.stub_server import StubPipeline

ARGS = GraphArgs.model_validate({"engine": {"name": "synthetic", "params": {"splats": 300}}, "admission": {"max_in_flight": 1}})
REQUEST: ContextVar[str] = ContextVar("request")
"""As Serve's own: what a handle's call belongs to, and is cancelled with."""


class Pipeline(LocalPipeline):
    """Keeps the first frame until it is cancelled, and notes whose request each frame is part of."""

    def __init__(self) -> None:
        super().__init__(load_model(ARGS.engine.name, **ARGS.engine.params), ARGS.frames, ARGS.pack)
        self.requests: list[str] = []

    async def __call__(self, capture: Capture) -> PackedFrame | FrameError:
        self.requests.append(REQUEST.get())
        if len(self.requests) == 1:
            await asyncio.Event().wait()
        return await super().__call__(capture)


class Peer:
    """A WebSocket client of an ASGI application, in the same event loop."""

    def __init__(self) -> None:
        self.to_app: asyncio.Queue[Message] = asyncio.Queue()
        self.types: list[str] = []
        self.to_app.put_nowait({"type": "websocket.connect"})
        for message in (Hello(1, ["packed", "points"], "test"), Frame(0, [jpeg()])):
            self.to_app.put_nowait({"type": "websocket.receive", "bytes": messages.encode(message)})

    async def send(self, message: Message) -> None:
        if message["type"] == "websocket.send" and message.get("bytes"):
            self.types.append(type(messages.decode_server(message["bytes"])).__name__)

    async def until(self, name: str) -> None:
        while name not in self.types:
            await asyncio.sleep(0.01)


async def test_a_frame_that_another_session_made_room_for_is_no_part_of_that_sessions_request() -> None:
    pipeline = Pipeline()
    app = create_app(pipeline, ARGS)

    async def serve(name: str, peer: Peer) -> None:
        REQUEST.set(name)
        scope: Scope = {"type": "websocket", "path": "/ws", "raw_path": b"/ws", "query_string": b"", "headers": [], "root_path": ""}
        await app({**scope, "scheme": "ws", "subprotocols": []}, peer.to_app.get, peer.send)

    leaving, staying = Peer(), Peer()
    first = asyncio.create_task(serve("leaving", leaving))
    while not pipeline.requests:
        await asyncio.sleep(0.01)
    second = asyncio.create_task(serve("staying", staying))
    await asyncio.wait_for(staying.until("Welcome"), 10)
    leaving.to_app.put_nowait({"type": "websocket.disconnect", "code": 1001})
    await asyncio.wait_for(staying.until("Splats"), 10)
    assert pipeline.requests == ["leaving", "staying"]
    staying.to_app.put_nowait({"type": "websocket.disconnect", "code": 1001})
    await asyncio.wait_for(asyncio.gather(first, second), 10)


@pytest.mark.parametrize("path", ["/readyz", "/api/status"])
async def test_what_is_asked_once_for_all_is_no_part_of_the_first_ones_request(path: str) -> None:
    requests: list[str] = []

    class Asked(StubPipeline):
        async def __call__(self, capture: Capture) -> PackedFrame | FrameError:
            requests.append(REQUEST.get(""))
            return await super().__call__(capture)

    async def graph() -> GraphState:
        requests.append(REQUEST.get(""))
        return GraphState("RUNNING")

    app = create_app(Asked(), ARGS, Path("/nonexistent"), graph=graph)
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    REQUEST.set("of the first one")
    await app({"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}, receive, send)
    assert statuses == [200] and requests == [""]
