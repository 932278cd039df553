"""The access rules, headers and silences of the whole ASGI application."""

import asyncio
import base64
import hashlib
import io
import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import websockets
from PIL import Image
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from deployments.config import GraphArgs
from deployments.http import photo
from deployments.http import socket as websocket
from deployments.http.app import create_app
from deployments.stages.decode import FrameLimits, decode_frame
from deployments.stream import messages
from deployments.stream.errors import FrameError
from deployments.stream.frames import Capture, PackedFrame
from deployments.stream.messages import Error, Frame, Hello, Welcome
from tests.pictures import jpeg
from tests.stub_server import StubPipeline, stub_server

TOKEN = "0123456789abcdef-secret"
INSIDE = re.compile(r"Traceback|File \"|\.py\b|/work|/home|/tmp|/usr|site-packages|deployments|0x[0-9a-f]{6}| object at |secret")
"""What an answer must never have in it: a path, a trace, an address in memory, the token."""
FOREIGN = {"origin": "https://evil.example"}


class Pipeline(StubPipeline):
    """The stub; ``error``, if there is one, is a defect of ours."""

    error: Exception | None = None

    async def __call__(self, capture: Capture) -> PackedFrame | FrameError:
        if self.error:
            raise self.error
        return await super().__call__(capture)


def client(tmp_path: Path, token: str | None = None, pipeline: StubPipeline | None = None, **access: Any) -> TestClient:
    folder = tmp_path / "static"
    folder.mkdir(exist_ok=True)
    (folder / "index.html").write_text("viewer")
    (folder / "viewer.js").write_text("1")
    (tmp_path / "beside.txt").write_text("secret")
    args = GraphArgs.model_validate({"access": access})
    app = create_app(pipeline or StubPipeline(), args, folder, token=token)
    return TestClient(app, raise_server_exceptions=False)


def refused(client: TestClient, close_code: int, **how: Any) -> Error:
    """Open a socket that is refused; the last message before the close."""
    with client.websocket_connect("/ws", **how) as socket:
        error = messages.decode_server(socket.receive_bytes())
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_bytes()
    assert isinstance(error, Error) and error.fatal and closed.value.code == close_code
    return error


# --- access ---


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}])
def test_without_the_token_there_is_the_page_and_nothing_else(tmp_path: Path, headers: dict[str, str]) -> None:
    client_ = client(tmp_path, TOKEN)
    for path in ("/", "/static/viewer.js", "/healthz", "/readyz"):
        assert client_.get(path, headers=headers).status_code == 200
    for path in ("/api/info", "/api/sample", "/api/status", "/ws", "/nothing"):
        answer = client_.get(path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), path
        assert answer.headers["www-authenticate"] == "Bearer"
    assert client_.post("/api/splat", content=jpeg(), headers=headers).status_code == 401
    assert refused(client_, 1008, headers=headers).code == "unauthorized"


@pytest.mark.parametrize("how", [{"headers": {"authorization": f"Bearer {TOKEN}"}}, {"params": {"token": TOKEN}}])
def test_with_the_token_in_header_or_query_everything_is_served(tmp_path: Path, how: dict[str, Any]) -> None:
    client_ = client(tmp_path, TOKEN)
    assert client_.get("/api/info", **how).status_code == 200
    answer = client_.post("/api/splat", content=jpeg(), **how)
    assert answer.status_code == 200, answer.text


def test_a_token_for_a_server_without_one_is_no_mistake(tmp_path: Path) -> None:
    assert client(tmp_path).post("/api/splat", content=jpeg(), params={"token": TOKEN, "format": "ply"}).status_code == 200


def test_a_browser_sends_the_token_as_a_subprotocol_and_is_answered_without_it(tmp_path: Path) -> None:
    subprotocols = [f"splatcast.token.{TOKEN}", "splatcast"]
    with client(tmp_path, TOKEN).websocket_connect("/ws", subprotocols=subprotocols) as socket:
        assert socket.accepted_subprotocol == "splatcast"
        socket.send_bytes(messages.encode(Hello(1, ["packed", "points"])))
        assert isinstance(messages.decode_server(socket.receive_bytes()), Welcome)


def test_a_refused_browser_can_read_why_as_its_subprotocol_is_accepted(tmp_path: Path) -> None:
    subprotocols = ["splatcast.token.wrong-wrong-wrong", "splatcast"]
    with client(tmp_path, TOKEN).websocket_connect("/ws", subprotocols=subprotocols) as socket:
        assert socket.accepted_subprotocol == "splatcast"
        error = messages.decode_server(socket.receive_bytes())
        assert isinstance(error, Error) and error.code == "unauthorized"


def test_pages_of_other_sites_get_no_socket_and_no_api(tmp_path: Path) -> None:
    client_ = client(tmp_path)
    assert refused(client_, 1008, headers=FOREIGN).code == "forbidden_origin"
    for answer in (client_.get("/api/info", headers=FOREIGN), client_.post("/api/splat", content=jpeg(), headers=FOREIGN)):
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden_origin")
    assert client_.get("/", headers=FOREIGN).status_code == 200
    own = {"origin": "http://testserver"}
    assert client_.post("/api/splat", content=jpeg(), headers=own).status_code == 200


def test_a_name_that_is_not_the_servers_gets_nothing(tmp_path: Path) -> None:
    client_ = client(tmp_path, hosts=[])
    for path in ("/", "/api/info", "/static/viewer.js"):
        answer = client_.get(path)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden_host")
    assert refused(client_, 1008).code == "forbidden_host"
    assert client_.get("/", headers={"host": "127.0.0.1:8000"}).status_code == 200


def test_one_address_does_not_take_every_place(tmp_path: Path) -> None:
    client_ = client(tmp_path, max_sessions_per_address=1)
    with client_, client_.websocket_connect("/ws") as first:
        assert refused(client_, 1013).code == "too_many_from_address"
        first.send_bytes(messages.encode(Hello(1, ["packed", "points"])))
        assert isinstance(messages.decode_server(first.receive_bytes()), Welcome)
    with client_.websocket_connect("/ws") as again:
        again.send_bytes(messages.encode(Hello(1, ["packed", "points"])))
        assert isinstance(messages.decode_server(again.receive_bytes()), Welcome)


async def test_one_address_does_not_take_every_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo, "MAX_UPLOADS_PER_ADDRESS", 1)
    pipeline = StubPipeline()
    pipeline.gate.clear()
    async with stub_server(pipeline) as url:
        request = (
            f"POST /api/splat HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(jpeg())}\r\n\r\n".encode() + jpeg()
        )
        first = asyncio.ensure_future(ask(url, request))
        while not pipeline.captures:
            await asyncio.sleep(0.001)
        head, body = await ask(url, request)
        assert head.startswith("HTTP/1.1 429") and "retry-after: 1" in head and json.loads(body)["code"] == "too_many_from_address"
        pipeline.gate.set()
        assert (await first)[0].startswith("HTTP/1.1 200")


async def test_refused_clients_that_do_not_leave_are_bounded_and_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "MAX_REFUSALS", 2)
    monkeypatch.setattr(websocket, "close", lambda *_: asyncio.Event().wait())  # As if the goodbye were never taken.
    args = GraphArgs.model_validate({"max_sessions": 1})
    async with stub_server(StubPipeline(), args) as url:
        stuck = [await websockets.connect(url, origin=websockets.Origin("https://evil.example")) for _ in range(2)]
        with pytest.raises(websockets.InvalidStatus) as bare:
            await websockets.connect(url, origin=websockets.Origin("https://evil.example"))
        assert bare.value.response.status_code == 403
        async with websockets.connect(url) as socket:
            await socket.send(messages.encode(Hello(1, ["packed", "points"])))
            assert isinstance(messages.decode_server(await socket.recv(decode=False)), Welcome), "the only place was free"
        for socket in stuck:
            socket.transport.abort()


async def test_a_refusal_that_is_not_taken_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "REFUSAL_TIMEOUT_S", 0.05)
    monkeypatch.setattr(websocket, "close", lambda *_: asyncio.Event().wait())
    async with stub_server(StubPipeline()) as url, websockets.connect(url, origin=websockets.Origin("null")) as socket:
        assert isinstance(messages.decode_server(await socket.recv(decode=False)), Error)
        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 10)


async def test_the_token_is_in_no_log_whatever_way_it_comes(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    pipeline = StubPipeline()
    client_ = client(tmp_path, TOKEN, pipeline)

    async def fail() -> messages.Engine:
        raise RuntimeError("no engine")

    with client_.websocket_connect(f"/ws?token={TOKEN}", subprotocols=["splatcast", f"splatcast.token.{TOKEN}"]) as socket:
        socket.send_bytes(b"nonsense")
        socket.receive_bytes()
    pipeline.describe = fail  # type: ignore[method-assign]
    headers = {"authorization": f"Bearer {TOKEN}"}
    client_.get("/api/info", headers=headers, params={"token": TOKEN})
    client_.post(f"/api/splat?token={TOKEN}&unknown=1", content=jpeg(), headers=headers)
    ours = [record.getMessage() + str(record.__dict__) for record in caplog.records if record.name.startswith("ray.serve")]
    assert ours and TOKEN not in "".join(ours)


# --- headers ---


def test_every_answer_has_the_headers_whatever_became_of_it(tmp_path: Path) -> None:
    pipeline = Pipeline()
    client_ = client(tmp_path, TOKEN, pipeline, hosts=["testserver"])
    pipeline.error = RuntimeError("/secret/path.py")
    bearer = {"authorization": f"Bearer {TOKEN}"}

    answers = {
        200: client_.get("/"),
        304: client_.get("/static/viewer.js", headers={"if-none-match": client_.get("/static/viewer.js").headers["etag"]}),
        400: client_.post("/api/splat?format=mp4", headers=bearer),
        401: client_.get("/api/info"),
        403: client_.get("/", headers={"host": "evil.example"}),
        404: client_.get("/static/nothing", headers=bearer),
        405: client_.put("/", headers=bearer),
        500: client_.post("/api/splat", content=jpeg(), headers=bearer),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert answer.headers["content-security-policy"].startswith("default-src 'self'; script-src 'self' 'wasm-unsafe-eval';")
        assert "unsafe-inline" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["referrer-policy"] == "no-referrer"
        policy = "camera=(self), xr-spatial-tracking=(self), microphone=(), geolocation=()"
        assert answer.headers["permissions-policy"] == policy
        assert answer.headers["cross-origin-resource-policy"] == answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers
        assert not INSIDE.search(answer.text), answer.text


# --- the static folder ---

ESCAPES = [
    "/static/../beside.txt",
    "/static/%2e%2e/beside.txt",
    "/static/..%2fbeside.txt",
    "/static/%2e%2e%2fbeside.txt",
    "/static/..%5cbeside.txt",
    "/static/..\\beside.txt",
    "/static/....//beside.txt",
    "/static/..;/beside.txt",
    "/static/%252e%252e/beside.txt",
    "/static/viewer.js/../../beside.txt",
    "/static/%00/../../beside.txt",
    "/static/viewer.js%00.txt",
    "/static//etc/passwd",
    "/static/%2fetc/passwd",
    "/static/%2fetc%2fpasswd",
    "//etc/passwd",
    "/static/link.txt",
    "/static/folder/beside.txt",
    "/static/" + "a" * 5000,
    "/static/%ff%fe",
    "/static/",
    "/static",
    "/static/sub",
]


async def test_nothing_outside_the_static_folder_is_served_however_it_is_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "static"
    (folder / "sub").mkdir(parents=True)
    (folder / "viewer.js").write_text("1")
    (tmp_path / "beside.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "beside.txt")
    (folder / "folder").symlink_to(tmp_path)
    async with stub_server(StubPipeline(), static_folder=folder) as url:
        head, body = await ask(url, b"GET /static/viewer.js HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert head.startswith("HTTP/1.1 200") and body == b"1"
        for path in ESCAPES:
            # Over a socket of our own: clients tidy a path up before they send it.
            head, body = await ask(url, f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
            assert re.match(r"HTTP/1\.1 (404|400|307)", head), (path, head)
            assert b"root:" not in body and not INSIDE.search(body.decode()), (path, body)


async def ask(ws_url: str, request: bytes) -> tuple[str, bytes]:
    """One request as it stands, over a socket; head and body of the answer."""
    port = int(re.findall(r":(\d+)/", ws_url)[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head, _, body = (await asyncio.wait_for(reader.read(), 20)).partition(b"\r\n\r\n")
    writer.close()
    return head.decode("latin-1"), body


# --- silence ---


def test_broken_pictures_are_refused_in_words_without_an_inside() -> None:
    chance = np.random.default_rng(7)
    picture = Image.fromarray(chance.integers(0, 255, (64, 96, 3), np.uint8))
    sentences = set()
    for kind in ("JPEG", "PNG", "WEBP"):
        buffer = io.BytesIO()
        picture.save(buffer, kind)
        for _ in range(150):
            data = bytearray(buffer.getvalue())
            for at in chance.integers(0, len(data), chance.integers(1, 20)):
                data[at] = chance.integers(0, 256)
            data = data[: chance.integers(1, len(data) + 1)]
            try:
                decode_frame(bytes(data), FrameLimits())
            except FrameError as error:
                sentences.add(str(error))
    assert len(sentences) > 10
    assert not [sentence for sentence in sentences if INSIDE.search(sentence)]


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\xa4type\xa1" + b"\x00",
        b"\x81\xa4type\xd9\xff",
        b"\x81\xc4\x04type\xa4ping",
        b"\x82\xa4type\xa5frame\xa3seq\xa1x",
        b"\x81\xa4type\xa9__class__",
        b"\x81\xa4type\xc7\x05\x01abcde",
        b"\xde\xff\xff",
    ],
)
def test_bad_messages_are_answered_in_words_without_an_inside(tmp_path: Path, data: bytes) -> None:
    with client(tmp_path).websocket_connect("/ws") as socket:
        socket.send_bytes(messages.encode(Hello(1, ["packed", "points"], options={"../../etc/passwd": 1, "border": "x" * 500})))
        answers = [socket.receive_bytes() for _ in range(3)]
        socket.send_bytes(data)
        socket.send_bytes(messages.encode(Frame(10**6, [])))
        answers.append(socket.receive_bytes())
    for answer in answers:
        text = answer.decode(errors="replace").replace("../../etc/passwd", "")
        assert not re.search(r"Traceback|\.py\b|deployments|0x[0-9a-f]{6}| object at |<class", text), text
        assert len(answer) < 3000


# --- The 403 of a person ---

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def test_a_person_reads_what_to_type_and_a_program_the_same_as_json(tmp_path: Path) -> None:
    guarded = client(tmp_path, hosts=[])
    page = guarded.get("/", headers={**BROWSER, "host": "abc.ngrok-free.app"})
    assert page.status_code == 403 and page.headers["content-type"].startswith("text/html")
    assert "<pre>HOSTS=abc.ngrok-free.app make run</pre>" in page.text and "SPLATCAST_TOKEN=" in page.text
    assert page.headers["cache-control"] == "no-store" and page.headers["x-content-type-options"] == "nosniff"
    for headers in ({}, {"accept": "*/*"}, {"accept": "application/json"}):
        program = guarded.get("/", headers={**headers, "host": "abc.ngrok-free.app"})
        assert program.status_code == 403 and program.json()["code"] == "forbidden_host"
        assert "HOSTS=abc.ngrok-free.app make run" in program.json()["message"]
    site = guarded.get("/api/info", headers={**BROWSER, "host": "localhost", "origin": "https://page.example"})
    assert site.status_code == 403 and "<pre>ORIGINS=https://page.example make run</pre>" in site.text


@pytest.mark.parametrize(
    "host", ["<script>alert(1)</script>", "a;reboot", "$(reboot)", "a`b`", "a b", "-x", "", "é", "x" * 300, "'\""]
)
def test_the_page_has_nothing_of_a_request_but_text(host: str, tmp_path: Path) -> None:
    guarded = client(tmp_path, hosts=[])
    page = guarded.get("/", headers={**BROWSER, "host": host.encode("latin-1")})
    assert page.status_code == 403 and "<script" not in page.text and "<pre>" not in page.text
    assert len(page.text) < 8000


def test_the_page_runs_nothing_and_its_style_is_the_one_its_policy_names(tmp_path: Path) -> None:
    page = client(tmp_path, hosts=[]).get("/", headers={**BROWSER, "host": "a.example"})
    policies = page.headers.get_list("content-security-policy")
    (style,) = re.findall(r"<style>(.*?)</style>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policies == [f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'"]
    assert not re.search(r"src=|href=|url\(|@import", page.text)


def test_other_pages_keep_the_policy_of_all(tmp_path: Path) -> None:
    (policy,) = client(tmp_path).get("/", headers=BROWSER).headers.get_list("content-security-policy")
    assert policy.startswith("default-src 'self'")
