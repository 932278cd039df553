"""``splatcast PHOTO … --url``: against the real application on a real socket, and against a server that answers as it is told."""

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from deployments.config import GraphArgs
from deployments.http.app import create_app
from deployments.models import load_model
from deployments.photos.command import main
from deployments.photos.errors import CommandError, PhotoFailed, Stopped
from deployments.photos.remote import RemoteMaker
from deployments.photos.work import Track
from deployments.stages.local import LocalPipeline
from tests.pictures import jpeg
from tests.stub_server import served
from tests.unit.test_photo_command import files, folder, start, until, video

TOKEN = "a-token-of-the-tests"
INFO = {
    "name": "splatcast",
    "engine": {"engine": "stub", "name": "stub", "label": "A stub", "licence": "Apache-2.0", "kinds": ["native"]},
    "photos": {"max_frame_bytes": 4096},
}
ABOUT = (200, {}, json.dumps(INFO).encode())


@contextmanager
def at(app: Any) -> Iterator[str]:
    """Serve an application from a thread until the end of the block. Gives the address of its page."""
    loop, url, end = asyncio.new_event_loop(), list[str](), asyncio.Event()
    ready = threading.Event()

    async def serve() -> None:
        async with served(app) as address:
            url.append(address.replace("ws://", "http://").removesuffix("ws"))
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(30)
    try:
        yield url[0]
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
        loop.close()


def splatcast(**settings: Any) -> Any:
    """The real application over the stages and a quick engine, without Ray."""
    return create_app(LocalPipeline(load_model("synthetic", splats=300)), GraphArgs(), **settings)


Answer = tuple[int, dict[str, str], bytes]
GOOD: Answer = (200, {"x-splatcast-count": "1"}, b"splats")


class Script:
    """An ASGI application that answers photos with what it is told, then with good files; ``posts`` has how they came."""

    def __init__(self, *answers: Answer, info: Answer = ABOUT) -> None:
        self.answers, self.info = list(answers), info
        self.posts: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        answer = self.info
        if scope["method"] == "POST":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            self.posts.append({"path": scope["path"], "query": scope["query_string"].decode(), "headers": headers, "body": body})
            answer = self.answers.pop(0) if self.answers else GOOD
        status, headers, data = answer
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": data})


class Waits(threading.Event):
    """An event that is waited for in no time; it holds the pauses, and the clock that they moved."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses.append(timeout or 0.0)
        return self.is_set()

    def clock_s(self) -> float:
        return sum(self.pauses)


def refused(status: int, code: str = "busy", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"content-type": "application/json", **named}, json.dumps({"code": code, "message": f"No: {code}."}).encode()


@contextmanager
def maker(url: str, waits: Waits, **settings: Any) -> Iterator[RemoteMaker]:
    with closing(RemoteMaker(url, {"format": "ply"}, stop=waits, clock_s=waits.clock_s, **settings)) as there:
        yield there


# --- The real application ---


def test_a_folder_becomes_the_files_that_this_machine_would_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLATCAST_TOKEN", TOKEN)
    photos = folder(tmp_path / "in", *(f"{kind}/{number}.jpg" for kind in "ab" for number in range(12)))
    (photos / "bad.jpg").write_bytes(jpeg()[:-20])
    video(photos / "clip.mp4", frames=4)
    wishes = ["--format", "splat", "--max-splats", "100", "--min-opacity", "0"]
    with at(splatcast(token=TOKEN)) as url:
        assert main([str(photos), "-o", str(tmp_path / "there"), "--url", url, *wishes]) == 1
    here = ["--engine", "synthetic", "--param", "splats=300"]
    assert main([str(photos), "-o", str(tmp_path / "here"), *wishes, *here]) == 1
    made = files(tmp_path / "here")
    assert made == files(tmp_path / "there") and len(made) == 28
    for name in made:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes(), name


def test_a_server_below_a_prefix_and_without_a_scheme_is_found(tmp_path: Path) -> None:
    script = Script()
    with at(script) as url:
        address = url.removeprefix("http://") + "behind/a/proxy/"
        assert main([str(folder(tmp_path, "1.jpg")), "-o", str(tmp_path / "out"), "--url", address, "--border", "0.1"]) == 0
    (post,) = script.posts
    assert post["path"] == "/behind/a/proxy/api/splat" and post["query"] == "format=ply&border=0.1" and post["body"] == jpeg()


@pytest.mark.parametrize("token", [None, "another-token-of-the-tests"])
def test_a_token_that_is_missing_or_wrong_ends_it(
    token: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SPLATCAST_TOKEN", raising=False)
    if token:
        monkeypatch.setenv("SPLATCAST_TOKEN", token)
    with at(splatcast(token=TOKEN)) as url:
        assert main([str(folder(tmp_path, "1.jpg")), "-o", str(tmp_path / "out"), "--url", url]) == 2
    said = capsys.readouterr().err
    assert "access token" in said and str(token) not in said


def test_a_wish_that_the_server_does_not_grant_ends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = folder(tmp_path / "in", *(f"{number}.jpg" for number in range(30)))
    with at(splatcast()) as url:
        command = [str(photos), "-o", str(tmp_path / "out"), "--url", url, "--max-splats", "9000000"]
        assert main(command) == 2
    said = capsys.readouterr().err
    assert "option 'max_splats': expected a whole number from 1 to 200000" in said and "0 files made" in said
    assert files(tmp_path / "out") == []


# --- What a busy server answers ---


def test_a_busy_server_is_asked_again_after_the_pause_that_it_names() -> None:
    waits = Waits()
    with at(Script(refused(429, retry_after="3"), refused(503, retry_after="7"))) as url, maker(url, waits) as there:
        assert there.make(jpeg(), Track()) == b"splats"
    first, second = waits.pauses
    assert 0.75 * 3 <= first <= 1.25 * 3 and 0.75 * 7 <= second <= 1.25 * 7


def test_a_pause_may_be_named_by_a_date() -> None:
    waits = Waits()
    soon = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 20))
    with at(Script(refused(503, retry_after=soon), refused(503, retry_after="in a while"))) as url, maker(url, waits) as there:
        there.make(jpeg(), Track())
    assert 10 < waits.pauses[0] <= 25 and waits.pauses[1] < 5


def test_without_a_named_pause_they_grow() -> None:
    waits = Waits()
    with at(Script(*[refused(502)] * 9)) as url, maker(url, waits) as there:
        there.make(jpeg(), Track())
    assert waits.pauses[0] < 0.7 and 20 < waits.pauses[-1] < 40


def test_patience_ends_when_nothing_gets_through() -> None:
    waits = Waits()
    script, words = (
        Script(*[refused(503, "server_full")] * 200),
        r"nothing got through for 100 s: No: server_full",
    )
    with at(script) as url, maker(url, waits, patience_s=100.0) as there, pytest.raises(CommandError, match=words):
        there.make(jpeg(), Track())
    assert 100 < waits.clock_s() < 160


def test_a_photo_that_breaks_the_server_is_given_up_and_the_next_one_works() -> None:
    waits = Waits()
    with (
        at(Script(*[refused(500, "internal")] * 3, *[refused(503, "graph_failed", retry_after="1")] * 4)) as url,
        maker(url, waits) as there,
    ):
        with pytest.raises(PhotoFailed, match="Given up after 7 tries: No: graph_failed"):
            there.make(jpeg(), Track())
        assert 20 < waits.clock_s() < 45, "long enough for a replica to be replaced"
        assert there.make(jpeg(), Track()) == b"splats"


@pytest.mark.parametrize(("status", "words"), [(413, "No: frame_too_large"), (415, "No: "), (422, "No: ")])
def test_a_refused_photo_is_not_sent_again(status: int, words: str) -> None:
    script = Script(refused(status, "frame_too_large"))
    with at(script) as url, maker(url, Waits()) as there:
        with pytest.raises(PhotoFailed, match=words):
            there.make(jpeg(), Track())
        assert len(script.posts) == 1 and there.make(jpeg(), Track()) == b"splats"


def test_a_proxy_that_takes_no_large_bodies_is_named_with_its_setting() -> None:
    page = b"<html><h1>413 Request Entity Too Large</h1></html>"
    with (
        at(Script((413, {"server": "nginx/1.22.1"}, page))) as url,
        maker(url, Waits()) as there,
        pytest.raises(PhotoFailed, match=r"nginx .*client_max_body_size"),
    ):
        there.make(jpeg(), Track())


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ((200, {}, b"<html>"), "no Splatcast"),
        ((200, {}, b'{"name": "splatcast"}'), "another version"),
        ((404, {}, b"<html>"), "404"),
        ((308, {"location": "https://cam.example/api/info"}, b""), "to https://cam.example/api/info"),
        (refused(403, "forbidden_host"), "No: forbidden_host"),
    ],
)
def test_what_is_no_splatcast_is_said_at_once(info: Answer, words: str) -> None:
    waits = Waits()
    with at(Script(info=info)) as url, pytest.raises(CommandError, match=words), maker(url, waits):
        pass
    assert waits.pauses == []


def test_something_else_in_the_servers_place_writes_no_files() -> None:
    script = Script((200, {"content-type": "text/html"}, b"<html>Sign in</html>"))
    with at(script) as url, maker(url, Waits()) as there, pytest.raises(CommandError, match="no Splatcast"):
        there.make(jpeg(), Track())


# --- Connections that break ---


@contextmanager
def raw(answer: Callable[[socket.socket, int], None]) -> Iterator[str]:
    """A listener that leaves each connection, and its number, to a function."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            for number in range(1000):
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    answer(connection, number)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def say(connection: socket.socket, head: str, body: bytes = b"", length: int | None = None) -> None:
    connection.recv(65536)
    connection.sendall(f"HTTP/1.1 {head}\r\ncontent-length: {len(body) if length is None else length}\r\n\r\n".encode() + body)


def test_an_answer_that_breaks_off_is_no_file() -> None:
    def answer(connection: socket.socket, number: int) -> None:
        if number == 0:
            say(connection, "200 OK", json.dumps(INFO).encode())
        elif number < 3:
            say(connection, "200 OK\r\nx-splatcast-count: 1", b"spl", length=6)
        else:
            say(connection, "200 OK\r\nx-splatcast-count: 1", b"splats")

    waits = Waits()
    with raw(answer) as url, maker(url, waits) as there:
        assert there.make(jpeg(), Track()) == b"splats"
    assert len(waits.pauses) == 2


def test_a_connection_that_the_server_closed_while_it_was_idle_costs_nothing() -> None:
    def answer(connection: socket.socket, number: int) -> None:
        say(connection, "200 OK" if number == 0 else "200 OK\r\nx-splatcast-count: 1", json.dumps(INFO).encode())

    waits = Waits()
    with raw(answer) as url, maker(url, waits) as there:
        for _ in range(4):
            there.make(jpeg(), Track())
    assert waits.pauses == []


def test_a_photo_whose_connection_always_breaks_is_given_up() -> None:
    def answer(connection: socket.socket, number: int) -> None:
        if number == 0:
            say(connection, "200 OK", json.dumps(INFO).encode())

    words = r"Given up after 7 tries: the connection to .* broke"
    with raw(answer) as url, maker(url, Waits()) as there, pytest.raises(PhotoFailed, match=words):
        there.make(jpeg(), Track())


def test_nobody_there_is_said_when_patience_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    address = f"127.0.0.1:{port}"
    with pytest.raises(CommandError, match=f"nobody answers at {address}"), maker(f"http://{address}/", Waits(), patience_s=60.0):
        pass


@pytest.mark.parametrize("scheme", ["", "https://"])
def test_a_name_that_nobody_knows_is_said_at_once(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    waits, words = Waits(), f"--url: {scheme or 'http://'}gpu.example/ names gpu.example, which is not known"
    with pytest.raises(CommandError, match=words), maker(f"{scheme}gpu.example", waits):
        pass
    assert waits.pauses == []


@pytest.mark.parametrize("error", [ConnectionRefusedError(), TimeoutError(), socket.gaierror(socket.EAI_AGAIN, "Try again")])
def test_what_is_waited_for_and_for_how_long_is_said_once_at_the_first_try(error: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(socket, "create_connection", fail)
    told: list[str] = []
    with (
        pytest.raises(CommandError, match="nothing got through for 60 s"),
        maker("10.0.0.1", Waits(), patience_s=60, tell=told.append),
    ):
        pass
    assert len(told) == 1 and told[0].startswith("waiting for http://10.0.0.1/, for 60 s at most: ")


def test_the_command_says_what_it_waits_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    photos = folder(tmp_path, "1.jpg")
    assert main([str(photos), "-o", str(tmp_path / "out"), "--url", f"http://127.0.0.1:{port}/", "--patience-s", "0.1"]) == 2
    assert f"splatcast: waiting for http://127.0.0.1:{port}/, for 0.1 s at most: nobody answers" in capsys.readouterr().err


def test_who_stops_does_not_wait_for_a_server() -> None:
    waits = Waits()
    with at(Script(refused(503))) as url, maker(url, waits) as there:
        waits.set()
        with pytest.raises(Stopped):
            there.make(jpeg(), Track())


def test_a_server_that_comes_back_is_found_again(tmp_path: Path) -> None:
    photos, out = folder(tmp_path / "in", *(f"{number}.jpg" for number in range(6))), tmp_path / "out"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    process = start(photos, "-o", out, "--url", f"http://127.0.0.1:{port}/")
    with Listening(Script(), port):
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0 and "6 files made" in said and len(files(out)) == 6


class Listening:
    """An application on a given port, in a thread, some time after the block has begun."""

    def __init__(self, app: Any, port: int) -> None:
        import uvicorn

        self._server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="off", log_config=None))
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        await asyncio.sleep(2)
        await self._server.serve()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()


def test_ctrl_c_while_a_server_is_busy_leaves_whole_files(tmp_path: Path) -> None:
    photos, out = folder(tmp_path / "in", *(f"{number}.jpg" for number in range(20))), tmp_path / "out"
    script = Script(*[GOOD] * 4, *[refused(503, retry_after="30")] * 1000)
    with at(script) as url:
        process = start(photos, "-o", out, "--url", url, "--concurrency", "2")
        until(lambda: len(script.posts) >= 6)
        process.send_signal(signal.SIGINT)
        began_s = time.monotonic()
        _, said = process.communicate(timeout=60)
        assert time.monotonic() - began_s < 20  # It does not sit out the pause.
    assert process.returncode == 130 and len(files(out)) == 4 and "goes on where it ended" in said
    assert {os.path.getsize(out / name) for name in files(out)} == {len(b"splats")}


def test_no_more_photos_are_held_than_are_worked_on(tmp_path: Path) -> None:
    photos = folder(tmp_path / "in", *(f"{number}.jpg" for number in range(40)))
    at_a_time = 0
    most = 0

    class Counting(Script):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            nonlocal at_a_time, most
            if scope["method"] == "POST":
                at_a_time += 1
                most = max(most, at_a_time)
                await asyncio.sleep(0.01)
                at_a_time -= 1
            await super().__call__(scope, receive, send)

    with at(Counting()) as url:
        assert main([str(photos), "-o", str(tmp_path / "out"), "--url", url, "--concurrency", "3"]) == 0
    assert most == 3 and len(files(tmp_path / "out")) == 40


def test_a_photo_above_the_servers_limit_is_not_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = Script()
    (tmp_path / "large.jpg").write_bytes(bytes(4097))
    with at(script) as url:
        assert main([str(tmp_path / "large.jpg"), "-o", str(tmp_path / "out"), "--url", url]) == 1
    assert script.posts == [] and "the limit of a photo" in capsys.readouterr().err
