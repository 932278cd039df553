"""The real ASGI app on a real loopback socket, over a stub pipeline: what client and load tool talk to in tests."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

from deployments.config import GraphArgs
from deployments.http.app import create_app
from deployments.pipeline import Overloaded
from deployments.splats.camera import Camera
from deployments.stream.counts import Counts
from deployments.stream.errors import FrameError, ImageBroken
from deployments.stream.frames import Capture, FrameRequest, PackedFrame
from deployments.stream.messages import Engine

BROKEN = b"\xff\xd8\xff broken"
OVERLOAD = b"\xff\xd8\xff overload"
REPLY_BYTES = 4000


class StubPipeline:
    """Answers at once; ``gate`` closed keeps frames in the graph. Two payloads of a frame play the graph's refusals."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.captures: list[Capture] = []

    async def __call__(self, capture: Capture) -> PackedFrame | FrameError:
        self.captures.append(capture)
        await self.gate.wait()
        if capture.views[0] == BROKEN:
            return ImageBroken("for the test")
        if capture.views[0] == OVERLOAD:
            raise Overloaded
        data = np.zeros(REPLY_BYTES, np.uint8)
        camera = Camera(64, 48, 50.0, 50.0, 32.0, 24.0)
        request = FrameRequest(timings={"decode": 1.0, "infer": 2.0, "pack": 3.0})
        return PackedFrame("packed", "native", 250, data, camera, {"opacity": 3}, request)

    async def describe(self) -> Engine:
        return Engine("stub", "stub", "A stub", "Apache-2.0", ["native", "points"])


@asynccontextmanager
async def stub_server(
    pipeline: StubPipeline,
    args: GraphArgs | None = None,
    deflate: bool = False,
    counts: Counts | None = None,
    static_folder: Path = Path("/nonexistent"),
    token: str | None = None,
) -> AsyncIterator[str]:
    """The real application on a stub of the graph, served until the end of the block. Gives ``ws://…/ws``."""
    # The stub answers a closed loop faster than any engine: the rate would be what is measured.
    args = args or GraphArgs.model_validate({"session": {"max_views": 4, "max_frames_per_s": 100_000}})
    async with served(create_app(pipeline, args, static_folder, counts, token=token), deflate) as url:
        yield url


@asynccontextmanager
async def served(app: Any, deflate: bool = False) -> AsyncIterator[str]:
    """Serve an ASGI application until the end of the block. Gives ``ws://…/ws``."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, ws="websockets-sansio", ws_per_message_deflate=deflate, lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        task = asyncio.ensure_future(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.001)
        try:
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}/ws"
        finally:
            server.should_exit = True
            await task
