"""Clients that leave at a bad moment, seen from the application and from the proxy's middleware: no error is made of it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from deployments.config import GraphArgs
from deployments.http.app import create_app
from deployments.ops.proxy import configure_proxy
from tests.pictures import jpeg
from tests.stub_server import StubPipeline


class LostCallError(Exception):
    """What Serve's ``receive`` or ``send`` may raise when the call to its proxy is cancelled; no class that Starlette knows."""


def http(path: str, method: str = "POST") -> Scope:
    return {"type": "http", "method": method, "path": path, "headers": [], "query_string": b"", "client": ("10.0.0.1", 1)}


def websocket() -> Scope:
    return {"type": "websocket", "path": "/ws", "headers": [], "query_string": b"", "client": ("10.0.0.1", 1), "subprotocols": []}


def receiving(*messages: Message | Exception) -> Receive:
    queue = list(messages)

    async def receive() -> Message:
        message = queue.pop(0) if len(queue) > 1 else queue[0]
        if isinstance(message, Exception):
            raise message
        return message

    return receive


async def call(scope: Scope, receive: Receive, send: Send | None = None) -> list[Message]:
    """Run the application; what it sent."""
    sent: list[Message] = []

    async def keep(message: Message) -> None:
        sent.append(message)
        if send:
            await send(message)

    app = create_app(StubPipeline(), GraphArgs(), Path("/nonexistent"))
    await asyncio.wait_for(app(scope, receive, keep), 10)
    return sent


@pytest.mark.parametrize("end", [{"type": "http.disconnect"}, LostCallError("cancelled"), OSError("reset")])
async def test_an_upload_that_is_broken_off_is_refused_and_no_error_of_ours(end: Message | Exception) -> None:
    piece: Message = {"type": "http.request", "body": jpeg()[:50], "more_body": True}
    start, *_ = await call(http("/api/splat"), receiving(piece, end))
    assert (start["type"], start["status"]) == ("http.response.start", 400)


async def test_an_upload_that_is_broken_off_gives_its_place_back() -> None:
    app = create_app(StubPipeline(), GraphArgs(), Path("/nonexistent"))
    piece: Message = {"type": "http.request", "body": b"x", "more_body": True}
    statuses: list[int] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    for _ in range(20):
        await app(http("/api/splat"), receiving(piece, {"type": "http.disconnect"}), send)
    assert statuses == [400] * 20


@pytest.mark.parametrize(
    "first",
    [
        pytest.param({"type": "websocket.disconnect", "code": 1006}, id="gone before it was asked"),
        pytest.param(LostCallError("cancelled"), id="its proxy's call is lost"),
        pytest.param(OSError("reset"), id="reset"),
    ],
)
async def test_a_client_that_leaves_before_it_is_accepted_is_no_error(
    first: Message | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "ray.serve.splatcast"):
        assert await call(websocket(), receiving(first)) == []
    assert [record for record in caplog.records if record.name == "ray.serve.splatcast"] == [], (
        "a session that never was has no end"
    )


@pytest.mark.parametrize("error", [LostCallError("cancelled"), OSError("reset"), RuntimeError("Unexpected ASGI message")])
async def test_a_client_that_leaves_while_it_is_accepted_is_no_error(error: Exception) -> None:
    async def send(message: Message) -> None:
        raise error

    sent = await call(websocket(), receiving({"type": "websocket.connect"}), send)
    assert [message["type"] for message in sent] == ["websocket.accept"]


async def test_a_client_that_leaves_while_it_is_accepted_gives_its_place_back() -> None:
    app = create_app(StubPipeline(), GraphArgs(max_sessions=1), Path("/nonexistent"))
    accepted = 0

    async def send(message: Message) -> None:
        nonlocal accepted
        accepted += message["type"] == "websocket.accept"
        raise OSError("reset")

    for _ in range(3):
        await app(websocket(), receiving({"type": "websocket.connect"}), send)
    assert accepted == 3


# --- the proxy's side ---


def proxied(app: Any) -> Any:
    """An application inside the middlewares, in Starlette's and Serve's order: the first one outermost."""
    for middleware in reversed(configure_proxy()):
        app = middleware.cls(app, *middleware.args, **middleware.kwargs)
    return app


class Proxy:
    """Serve's proxy in small: an async generator of messages around which whatever ``send`` raises becomes ``GeneratorExit``."""

    def __init__(self, messages: Callable[[], AsyncIterator[Message]]) -> None:
        self._messages = messages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async for message in self._messages():
            await send(message)


async def test_a_cut_socket_does_not_reach_the_proxys_generator() -> None:
    ended: list[BaseException | None] = []

    async def messages() -> AsyncIterator[Message]:
        try:
            yield {"type": "websocket.accept"}
            for _ in range(3):
                yield {"type": "websocket.send", "bytes": b"x"}
            ended.append(None)
        except BaseException as error:
            ended.append(error)
            raise

    tried = 0

    async def send(message: Message) -> None:
        nonlocal tried
        tried += 1
        if message["type"] != "websocket.accept":
            raise OSError("ClientDisconnected")

    await proxied(Proxy(messages))(websocket(), receiving({"type": "websocket.disconnect", "code": 1006}), send)
    assert ended == [None], "the generator ran to its own end"
    assert tried == 2, "nothing more is sent to a socket that is gone"


@pytest.mark.parametrize("error", [OSError("ClientDisconnected"), RuntimeError("after sending 'websocket.close'")])
async def test_an_application_hears_that_a_socket_took_nothing_and_has_no_receipt(error: Exception) -> None:
    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.send", "bytes": b"x"})
        heard.append((await receive())["type"])

    async def send(message: Message) -> None:
        raise error

    async def silence() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    await asyncio.wait_for(proxied(app)(websocket(), silence, send), 10)
    assert heard == ["websocket.disconnect"]


async def test_a_send_that_is_cancelled_stays_cancelled() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.send", "bytes": b"x"})

    async def send(message: Message) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await proxied(app)(websocket(), receiving({"type": "websocket.connect"}), send)
