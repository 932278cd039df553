"""Rooms over real sockets: two ingress replicas around one relay, cameras and viewers in Python."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from simplejpeg import decode_jpeg

from deployments import cast
from deployments.client import ClientError, connect, splats_of
from deployments.config import GraphArgs
from deployments.http.app import create_app
from deployments.models import load_model
from deployments.relay import Relay
from deployments.stages.local import LocalPipeline
from deployments.stream.messages import Error, Join, Published, Splats
from deployments.stream.room_limits import RoomLimits
from deployments.stream.room_news import Attendance, RoomFrame, RoomNews
from deployments.stream.synchroniser import View
from tests.pictures import jpeg
from tests.stub_server import served

ARGS = GraphArgs.model_validate({"engine": {"name": "synthetic", "params": {"splats": 300}}, "quality": {"enabled": False}})


class InProcess:
    """The relay's own class behind what the ingress calls, without Ray; it can be lost."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.relay = Relay.func_or_class(RoomLimits())
        self.published = 0
        self.lost = False

    def lose(self) -> None:
        """All that it knew is gone, and so are the calls that wait."""
        for subscribers in list(self.relay._hub._rooms.values()):
            for subscription in list(subscribers.values()):
                self.relay._hub.unsubscribe(subscription)
        self.start()

    async def subscribe(self, room: str, replica: str, attendance: Attendance) -> AsyncIterator[RoomNews]:
        async with aclosing(self.relay.subscribe(room, replica, attendance)) as stream:
            async for news in stream:
                yield news

    async def end(self, subscription: Any) -> None:
        with suppress(Exception):
            await subscription.aclose()

    async def announce(self, room: str, replica: str, attendance: Attendance) -> bool:
        return await self.relay.announce(room, replica, attendance)

    async def publish(self, room: str, replica: str, frame: RoomFrame) -> bool:
        self.published += 1
        return await self.relay.publish(room, replica, frame)

    async def film(self, room: str, replica: str, to: str, view: View) -> bool:
        return await self.relay.film(room, replica, to, view)

    async def close(self, room: str, replica: str) -> None:
        await self.relay.close(room, replica)


@pytest.fixture(scope="module")
def pipeline() -> LocalPipeline:
    made = LocalPipeline(load_model(ARGS.engine.name, **ARGS.engine.params), ARGS.frames, ARGS.pack)
    made.warm_up()
    return made


@pytest.fixture
async def relay() -> InProcess:
    return InProcess()


@pytest.fixture
async def urls(pipeline: LocalPipeline, relay: InProcess) -> AsyncIterator[list[str]]:
    async with AsyncExitStack() as stack:
        apps = [create_app(pipeline, ARGS, Path("/nonexistent"), replica=f"r{n}", relay=relay) for n in range(2)]
        yield [await stack.enter_async_context(served(app)) for app in apps]


async def film(count: int | None = None, wait_s: float = 0.02) -> AsyncIterator[bytes]:
    picture = jpeg(64, 48)
    sent = 0
    while count is None or sent < count:
        yield picture
        sent += 1
        await asyncio.sleep(wait_s)


async def first(frames: AsyncIterator[Splats], count: int) -> list[Splats]:
    found = []
    async with aclosing(frames), asyncio.timeout(20) if sys.version_info >= (3, 11) else AsyncExitStack():  # type: ignore[type-var]
        async for splats in frames:
            found.append(splats)
            if len(found) == count:
                break
    return found


class Camera:
    """Publishes to a room while the block lasts."""

    def __init__(self, url: str, room: str, **settings: Any) -> None:
        self._work = self._publish(url, room, settings)
        self.answers: list[Any] = []

    async def _publish(self, url: str, room: str, settings: dict[str, Any]) -> None:
        async for answer in cast.publish(url, room, film(), **settings):
            self.answers.append(answer)

    async def __aenter__(self) -> "Camera":
        self.task = asyncio.ensure_future(self._work)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})


@pytest.mark.parametrize("replica", [0, 1])
async def test_what_a_camera_shows_is_seen_on_both_replicas(urls: list[str], replica: int, relay: InProcess) -> None:
    async with Camera(urls[0], "studio") as camera:
        found = await first(cast.watch(urls[replica], "studio"), 4)
    assert [splats.seq for splats in found] == [1, 2, 3, 4]
    assert len(splats_of(found[0])) == found[0].count > 0
    assert all(splats.source == found[0].source != "" for splats in found)
    assert all(0 <= splats.timings_ms["relay"] < 5000 for splats in found)
    assert any(isinstance(answer, Published) for answer in camera.answers)
    assert (relay.published > 0) == (replica == 1), "on one replica the relay is not needed"


@pytest.mark.parametrize("codec", ["packed", "points", "ply"])
async def test_a_viewer_gets_the_codec_that_it_asks_for(urls: list[str], codec: str) -> None:
    async with Camera(urls[0], "studio"):
        (splats,) = await first(cast.watch(urls[1], "studio", codecs=(codec,), options={"codec": codec}), 1)
    assert splats.codec == codec and len(splats_of(splats)) == splats.count > 0


async def test_what_a_model_predicted_can_not_be_made_of_something_else_and_that_is_said(urls: list[str]) -> None:
    async with Camera(urls[0], "studio"), connect(urls[1], codecs=("depth",), join=Join("studio", "viewer")) as stream:
        async for reply in stream:
            assert isinstance(reply, Error) and reply.code == "no_common_codec" and not reply.fatal
            break


async def test_the_relay_is_lost_and_viewers_see_the_next_frame_by_themselves(urls: list[str], relay: InProcess) -> None:
    async with Camera(urls[0], "studio"), aclosing(cast.watch(urls[1], "studio")) as frames:
        await anext(frames)
        relay.lose()
        before = relay.published
        for _ in range(3):
            await asyncio.wait_for(anext(frames), 10)
        assert relay.published > before


async def test_a_file_of_pictures_is_published_to_its_end_and_every_frame_is_answered(urls: list[str]) -> None:
    async with aclosing(cast.watch(urls[0], "studio")) as frames:
        seeing = asyncio.ensure_future(anext(frames))
        answers = [answer async for answer in cast.publish(urls[0], "studio", film(5, 0.1))]
        await asyncio.wait_for(seeing, 10)
    seqs = [seq for answer in answers for seq in (answer.seqs if not isinstance(answer, (Published, Error)) else [answer.seq])]
    assert sorted(seqs) == [0, 1, 2, 3, 4]


async def test_a_source_that_fails_ends_the_publishing_with_its_own_error(urls: list[str]) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield jpeg(64, 48)
        raise OSError("the camera fell off the table")

    with pytest.raises(OSError, match="fell off"):
        async for _ in cast.publish(urls[0], "studio", broken()):
            pass


async def test_a_closed_room_ends_watching_with_a_sentence(urls: list[str]) -> None:
    async with connect(urls[0], join=Join("new")) as owner:
        assert owner.joined is not None
        watching = asyncio.ensure_future(first(cast.watch(urls[1], owner.joined.keys["viewer"]), 1))
        while True:
            await owner.ping()
            await owner.send_frame(jpeg(64, 48))
            async for _ in owner:
                break
            if owner.room and owner.room.viewers:
                break
        await asyncio.wait_for(watching, 10)
        late = asyncio.ensure_future(first(cast.watch(urls[1], owner.joined.keys["viewer"]), 99))
        await asyncio.sleep(0.3)
        await owner.govern(close=True)
        with pytest.raises(ClientError, match="closed by whoever opened it"):
            await asyncio.wait_for(late, 10)


async def test_a_room_that_refuses_is_an_error_at_once(urls: list[str]) -> None:
    with pytest.raises(ClientError, match="neither a name"):
        await first(cast.watch(urls[0], "no such name!"), 1)


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (1280, 640))  # type: ignore[attr-defined]
    for shade in range(0, 200, 20):
        writer.write(np.full((640, 1280, 3), (shade, 100, 250), np.uint8))  # BGR
    writer.release()
    return path


def test_a_video_files_pictures_are_scaled_and_due_at_its_own_pace(video: Path) -> None:
    found = list(cast.pictures(str(video), px=640))
    assert len(found) == 10 and {picture.shape for picture, _ in found} == {(320, 640, 3)}
    assert [due_s for _, due_s in found] == pytest.approx([n / 20 for n in range(10)])
    assert abs(int(found[0][0][0, 0, 0]) - 250) < 12, "red comes first"


@contextmanager
def flaky_camera(pictures: list[bytes]) -> Iterator[str]:
    """A network camera (MJPEG over HTTP) that breaks off after the pictures, each time it is asked; gives its address."""

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
            self.end_headers()
            with suppress(ConnectionError):
                for picture in pictures:
                    head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                    self.wfile.write(head.encode() + picture + b"\r\n")
                    time.sleep(0.05)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/camera.mjpg"
        finally:
            server.shutdown()
            thread.join()


async def test_a_camera_of_the_network_that_breaks_off_is_opened_again(caplog: pytest.LogCaptureFixture) -> None:
    shown = [jpeg(320, 240)] * 8
    with flaky_camera(shown) as url:
        async with aclosing(cast.jpegs(url, px=160)) as frames:
            for _ in range(2 * len(shown)):
                frame = await asyncio.wait_for(anext(frames), 30)
    assert decode_jpeg(frame).shape == (120, 160, 3)
    assert f"{url} gives no pictures; it is opened again in 0.5 s" in caplog.text
    assert not [thread for thread in threading.enumerate() if thread.name == "source"]


@pytest.mark.parametrize("wrong", [["--px", "0"], ["--fps", "-3"], ["--fps", "nan"]])
def test_sizes_and_paces_that_are_none_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cast.main(["publish", "clip.mp4", "--room", "studio", *wrong])
    assert f"argument {wrong[0]}: expected" in capsys.readouterr().err


def test_what_is_no_video_is_refused_with_what_would_be(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no video")
    with pytest.raises(OSError, match="expected a video file"):
        list(cast.pictures(str(tmp_path / "notes.txt"), px=640))


async def test_the_command_publishes_a_video(urls: list[str], video: Path) -> None:
    async with aclosing(cast.watch(urls[0], "studio")) as frames:
        seeing = asyncio.ensure_future(anext(frames))
        command = [
            sys.executable,
            "-m",
            "deployments.cast",
            "publish",
            str(video),
            "--room",
            "studio",
            "--url",
            urls[1],
            "--fps",
            "10",
        ]
        done = await asyncio.to_thread(subprocess.run, [*command, "--fps", "10"], capture_output=True, text=True, timeout=60)
        await asyncio.wait_for(seeing, 10)
    assert done.returncode == 0, done.stderr
    assert "published: " in done.stderr


async def test_the_command_watches_for_as_long_as_it_is_told_and_ends_quietly(
    urls: list[str], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    watch = ["watch", "--url", urls[0], "--room", "studio", "--seconds", "1"]
    async with Camera(urls[0], "studio"):
        assert await asyncio.to_thread(cast.main, watch) == 0
    told = capsys.readouterr().err
    assert "frames: " in told and "waiting for a camera" not in told
    assert not [record for record in caplog.records if record.name == "asyncio"], caplog.text


async def test_in_an_empty_room_the_command_says_once_that_it_waits_and_still_ends(
    urls: list[str], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cast, "_QUIET_S", 0.1)
    watching = asyncio.to_thread(cast.main, ["watch", "--url", urls[0], "--room", "empty", "--seconds", "1"])
    assert await asyncio.wait_for(watching, 10) == 0
    told = capsys.readouterr().err
    assert told.count("waiting for a camera") == 1 and "nothing yet" in told
    assert not [record for record in caplog.records if record.name == "asyncio"], caplog.text
