"""What the proxy adds, on a real uvicorn socket: no permessage-deflate, bounded messages, delivery receipts."""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
import uvicorn
import websockets
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from deployments.ops import proxy


@contextlib.asynccontextmanager
async def served(handler: object) -> AsyncIterator[str]:
    """The proxy's own stack around a WebSocket handler; yields its address."""
    middleware = proxy.configure_proxy()
    app = Starlette(routes=[WebSocketRoute("/", handler)], middleware=middleware)  # type: ignore[arg-type]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"ws://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        await task


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    with contextlib.suppress(Exception):
        while True:
            await websocket.send_bytes(await websocket.receive_bytes())


async def test_permessage_deflate_is_offered_by_the_client_and_refused() -> None:
    async with served(echo) as url, websockets.connect(url, compression="deflate") as client:
        assert "Sec-WebSocket-Extensions" in client.request.headers  # type: ignore[union-attr]
        assert "Sec-WebSocket-Extensions" not in client.response.headers  # type: ignore[union-attr]
        assert client.protocol.extensions == []


async def test_a_message_above_the_limit_is_closed_with_1009() -> None:
    async with served(echo) as url, websockets.connect(url, max_size=None) as client:
        with contextlib.suppress(websockets.ConnectionClosed):
            await client.send(bytes(proxy.MAX_MESSAGE_BYTES + 1))
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009


async def test_the_application_is_told_when_the_socket_took_a_message_and_a_client_cannot_forge_it() -> None:
    seen: list[str] = []

    async def handler(websocket: WebSocket) -> None:
        token = websocket.headers["x-splatcast-receipt"]
        await websocket.accept()
        await websocket.send_bytes(b"one")
        seen.append(await websocket.receive_text())
        seen.append(token)
        await websocket.send_bytes(b"told")
        await websocket.receive_text()
        seen.append(await websocket.receive_text())

    forged = {"X-Splatcast-Receipt": "forged"}
    async with served(handler) as url, websockets.connect(url, additional_headers=forged) as client:
        assert await client.recv() == b"one"
        assert await client.recv() == b"told"
        await client.send("from the client")
        await client.wait_closed()
    receipt, token, text = seen
    assert receipt == token != "forged"
    assert text == "from the client"


async def test_there_is_no_receipt_while_the_client_reads_nothing() -> None:
    told = asyncio.Event()
    written = asyncio.Event()

    async def handler(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_bytes(bytes(30 * 2**20))  # More than all buffers on the way hold.
        written.set()
        # uvicorn waits for the socket before the *next* write, so the second message is the one without a receipt.
        await websocket.send_bytes(b"second")
        told.set()

    async with served(handler) as url:
        client = await websockets.connect(url, max_size=None, max_queue=1, write_limit=1)
        client.transport.pause_reading()
        await asyncio.wait_for(written.wait(), 10)
        with pytest.raises((TimeoutError, asyncio.TimeoutError)):
            await asyncio.wait_for(told.wait(), 0.5)
        client.transport.resume_reading()
        await asyncio.wait_for(told.wait(), 10)
        await client.close()


def test_a_missing_environment_is_named_with_the_line_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(proxy.CALLBACK_VARIABLE, proxy.CALLBACK_VALUE)
    assert proxy.missing_environment() is None
    monkeypatch.delenv(proxy.CALLBACK_VARIABLE)
    warning = proxy.missing_environment()
    assert warning is not None and f"export {proxy.CALLBACK_VARIABLE}={proxy.CALLBACK_VALUE}" in warning


def test_serve_env_holds_what_the_ingress_looks_for() -> None:
    code = "from deployments.ops.proxy import missing_environment as m; print(m())"
    script = f'set -a; . ./serve.env; set +a; exec "{sys.executable}" -c "{code}"'
    out = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
    assert out.stdout.strip() == "None"


@pytest.mark.parametrize(
    "sent, passed",
    [
        (b"0af7651916cd43dd8448eb211c80319c", True),
        (b"Root=1-67891233", False),
        (b"a" * 64, True),
        (b"a" * 65, False),
        (b"", False),
        (b"x\ty", False),
        (b"\xff", False),
        (b'"}{', False),
    ],
)
async def test_a_request_id_that_a_log_would_suffer_from_is_taken_off(sent: bytes, passed: bool) -> None:
    seen: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend(value for name, value in scope["headers"] if name == b"x-request-id")

    async def nothing(*_: object) -> Message:
        raise AssertionError

    scope: Scope = {"type": "websocket", "headers": [(b"host", b"x"), (b"x-request-id", sent)]}
    await proxy.RequestIds(app)(scope, nothing, nothing)
    assert seen == ([sent] if passed else [])
    assert len(scope["headers"]) == 2, "the caller's scope is its own"
