"""The HTTP side and the WebSocket shell over a pipeline without Ray."""

import asyncio
import base64
import io
import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from PIL import Image
from plyfile import PlyData
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from deployments.config import GraphArgs
from deployments.http.answers import refusal_of
from deployments.http.app import create_app
from deployments.models import load_model
from deployments.models.synthetic import SyntheticModel
from deployments.pipeline import Overloaded
from deployments.splats.codecs import CODECS
from deployments.stages.local import LocalPipeline
from deployments.stream import messages
from deployments.stream.errors import FrameError, GraphFailed, ImageBroken, InferenceFailed
from deployments.stream.frames import Capture, PackedFrame
from deployments.stream.messages import Ack, Dropped, Error, Frame, Hello, Splats, Welcome
from tests.pictures import jpeg, saved

ARGS = GraphArgs.model_validate({"engine": {"name": "synthetic", "params": {"splats": 300}}, "session": {"max_in_flight": 1}})


class Pipeline(LocalPipeline):
    """The local pipeline with a lever: ``outcome`` replaces what the graph would return, ``hold`` keeps frames in it."""

    def __init__(self, args: GraphArgs) -> None:
        super().__init__(load_model(args.engine.name, **args.engine.params), args.frames, args.pack)
        self.outcome: FrameError | Exception | None = None
        self.hold: threading.Event | None = None
        self.calls = 0

    async def __call__(self, capture: Capture) -> PackedFrame | FrameError:
        self.calls += 1
        if self.hold:
            await asyncio.to_thread(self.hold.wait, 10)
        if isinstance(self.outcome, Exception) and not isinstance(self.outcome, FrameError):
            raise self.outcome
        return self.outcome or await super().__call__(capture)


@pytest.fixture
def pipeline() -> Pipeline:
    pipeline = Pipeline(ARGS)
    pipeline.warm_up()
    return pipeline


@pytest.fixture
def client(pipeline: Pipeline, tmp_path: Path) -> TestClient:
    (tmp_path / "index.html").write_text("<title>viewer</title>")
    (tmp_path / "viewer.js").write_text("1")
    return TestClient(create_app(pipeline, ARGS, tmp_path))


def greet(socket: WebSocketTestSession, **options: Any) -> Welcome:
    socket.send_bytes(messages.encode(Hello(1, ["packed", "points", "ply"], "test", options)))
    welcome = hear(socket)
    assert isinstance(welcome, Welcome)
    return welcome


def hear(socket: WebSocketTestSession) -> messages.ServerMessage:
    return messages.decode_server(socket.receive_bytes())


def test_the_viewer_its_files_and_the_headers_a_browser_holds_it_to(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200 and "viewer" in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert client.get("/static/viewer.js").text == "1"


@pytest.mark.parametrize("path", ["/static/../asgi.py", "/static/%2e%2e/asgi.py", "/static/..%2fasgi.py", "/static//etc/passwd"])
def test_nothing_outside_the_static_folder_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_a_viewer_that_was_not_built_says_how_to_build_it(client: TestClient) -> None:
    page = client.get("/selftest")
    assert page.status_code == 503 and "make web" in page.text


def test_health_is_the_process_and_readiness_is_a_frame(client: TestClient, pipeline: Pipeline) -> None:
    pipeline.outcome = GraphFailed()
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
    pipeline.outcome = None
    assert client.get("/readyz").status_code == 200
    calls = pipeline.calls
    assert client.get("/readyz").status_code == 200
    assert pipeline.calls == calls, "a frame that came through lately is proof enough"


def test_a_busy_graph_is_ready(client: TestClient, pipeline: Pipeline) -> None:
    pipeline.outcome = Overloaded()
    assert client.get("/readyz").status_code == 200


def test_info_says_what_runs_here(client: TestClient) -> None:
    info = client.get("/api/info").json()
    assert info["protocol"] == messages.PROTOCOL and info["version"]
    assert info["engine"]["label"] and info["engine"]["licence"]
    assert info["representations"] == ["splats", "points"]
    assert set(info["codecs"]) == {*CODECS, "depth", "planes"}
    assert info["limits"]["max_splats"] == ARGS.option_limits.max_splats


def test_the_sample_clip_is_a_loop_of_jpegs(client: TestClient) -> None:
    clip = msgpack.unpackb(client.get("/api/sample").content)
    assert clip["fps"] > 0 and len(clip["frames"]) >= clip["fps"]
    assert Image.open(io.BytesIO(clip["frames"][0])).size == (clip["width"], clip["height"])


@pytest.mark.parametrize("name", sorted(CODECS))
def test_a_photo_becomes_a_splat_file_in_one_request(client: TestClient, name: str) -> None:
    answer = client.post(f"/api/splat?format={name}&max_splats=200&border=0", content=jpeg())
    assert answer.status_code == 200, answer.text
    count = int(answer.headers["x-splatcast-count"])
    assert 0 < count <= 200
    assert len(CODECS[name].decode(np.frombuffer(answer.content, np.uint8))) == count
    assert answer.headers["content-disposition"].endswith(f'{CODECS[name].suffix}"')
    assert answer.headers["x-splatcast-label"] == "Synthetic splats (load test)"


def test_a_file_says_what_made_it_where_that_is_not_always_the_same(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    made = SyntheticModel.predict
    monkeypatch.setattr(
        SyntheticModel, "predict", lambda self, shots: [replace(each, label="with a face") for each in made(self, shots)]
    )
    answer = client.post("/api/splat?format=ply", content=jpeg())
    assert answer.headers["x-splatcast-label"] == "with a face"
    assert "label: with a face" in PlyData.read(io.BytesIO(answer.content)).comments


def test_the_ply_opens_in_an_independent_reader(client: TestClient) -> None:
    answer = client.post("/api/splat?format=ply", content=jpeg())
    ply = PlyData.read(io.BytesIO(answer.content))
    assert len(ply["vertex"]) == int(answer.headers["x-splatcast-count"])


@pytest.mark.parametrize(
    ("query", "body", "status", "code", "words"),
    [
        ("format=mp4", jpeg(), 400, "http_400", "packed"),
        ("format=ply&codec=points", jpeg(), 400, "http_400", "format"),
        ("format=ply&colour=red", jpeg(), 400, "http_400", "colour"),
        ("format=ply&max_splats=0", jpeg(), 400, "http_400", "max_splats"),
        ("format=ply&max_splats=many", jpeg(), 400, "http_400", "whole number"),
        (
            "format=ply",
            b"",
            400,
            "frame_empty",
            "empty: expected the bytes of a JPEG, PNG, WebP, HEIC, AVIF, GIF, BMP or TIFF image",
        ),
        ("format=ply", b"\xff\x0a and more", 415, "unsupported_image", "a JPEG XL image"),
        ("format=ply", jpeg()[:200], 422, "image_broken", "decoded"),
        ("format=ply", jpeg() + bytes(ARGS.photos.max_frame_bytes), 413, "frame_too_large", "limit"),
        (
            "format=ply",
            b"data:image/jpeg;base64,/9j/4AAQ",
            415,
            "http_415",
            "curl --data-binary @photo.jpg 'http://testserver/api/splat' --fail-with-body -OJ",
        ),
        ("format=ply", base64.b64encode(jpeg()), 415, "http_415", "looks like base64"),
    ],
)
def test_a_refused_picture_says_why(client: TestClient, query: str, body: bytes, status: int, code: str, words: str) -> None:
    answer = client.post(f"/api/splat?{query}", content=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert words in answer.json()["message"]


def test_what_curl_d_makes_of_a_picture_is_recognised(client: TestClient) -> None:
    stripped = saved(Image.effect_noise((256, 256), 90), "JPEG").replace(b"\n", b"").replace(b"\r", b"")
    answer = client.post("/api/splat", content=stripped, headers={"content-type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 415 and "curl's -d" in answer.json()["message"]


def test_a_photo_that_a_browser_can_not_read_is_read_for_it(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0xA405] = 26
    image = Image.new("RGB", (96, 64), (200, 40, 40))
    answer = client.post("/api/picture", content=saved(image, "TIFF", exif=exif.tobytes()))
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/jpeg"
    picture = Image.open(io.BytesIO(answer.content))
    assert picture.size == (64, 96) and np.abs(np.subtract(picture.getpixel((9, 9)), (200, 40, 40))).max() <= 2
    assert float(answer.headers["x-splatcast-fov-deg"]) == pytest.approx(69.39, abs=0.01)

    image.putalpha(100)
    answer = client.post("/api/picture", content=saved(image.resize((4000, 2000)), "PNG"))
    assert answer.headers["content-type"] == "image/png" and answer.headers["x-splatcast-fov-deg"] == "0.000"
    picture = Image.open(io.BytesIO(answer.content))
    assert picture.size == (1920, 960) and np.abs(np.subtract(picture.getpixel((9, 9)), (200, 40, 40, 100))).max() <= 3

    refused = client.post("/api/picture", content=b"no picture")
    assert refused.status_code == 415 and refused.json()["code"] == "unsupported_image"


def test_a_file_says_where_its_focal_length_is_from(client: TestClient) -> None:
    assert client.post("/api/splat", content=jpeg()).headers["x-splatcast-intrinsics"] == "guessed"
    assert client.post("/api/splat?fov_deg=50", content=jpeg()).headers["x-splatcast-intrinsics"] == "given"
    assert client.post("/api/splat?fov_deg=0.5", content=jpeg()).status_code == 400


def test_the_file_of_a_form_is_the_picture(client: TestClient) -> None:
    answer = client.post("/api/splat?format=ply", files={"file": ("photo.jpg", jpeg(), "image/jpeg")}, data={"max_splats": "50"})
    assert answer.status_code == 200 and answer.content.startswith(b"ply") and int(answer.headers["x-splatcast-count"]) <= 50


@pytest.mark.parametrize(
    ("query", "fields", "words"),
    [
        ("", {"format": "mp4"}, "format: expected one of "),
        ("", {"fromat": "spz"}, "option 'fromat' is unknown"),
        ("", {"max_splats": "0"}, "option 'max_splats': expected a whole number from 1"),
        ("?format=ply", {"format": "spz"}, "'format' is in the address and in the form"),
        ("", {"format": ["ply", "ply"]}, "'format': expected one field"),
        ("", {"format": "x" * 300}, "'format': expected one field of at most 256 characters"),
        ("", {str(number): "1" for number in range(65)}, "The form can't be read: Too many fields"),
    ],
)
def test_the_fields_of_a_form_are_checked_like_the_querys_parameters(
    client: TestClient, query: str, fields: dict[str, Any], words: str
) -> None:
    answer = client.post(f"/api/splat{query}", files={"file": ("photo.jpg", jpeg())}, data=fields)
    assert answer.status_code == 400 and words in answer.json()["message"]


def test_a_form_says_which_file_it_wants(client: TestClient) -> None:
    answer = client.post("/api/splat", files={"file": ("photo.jpg", jpeg())}, data={"format": "splat"})
    assert answer.status_code == 200 and '.splat"' in answer.headers["content-disposition"]


def test_every_command_that_is_shown_fails_where_the_server_refuses() -> None:
    root = Path(__file__).parents[2]
    pages = [root / "README.md", *(root / "docs").glob("*.md")]
    shown = [line for page in pages for line in page.read_text(encoding="utf-8").splitlines() if "curl" in line and "-OJ" in line]
    assert len(shown) >= 3 and all("--fail-with-body -OJ" in line for line in shown)


def test_a_forgotten_at_is_recognised(client: TestClient) -> None:
    for name in ("photo.jpg", "my photos/IMG 1.HEIC\n"):
        answer = client.post("/api/splat", content=name.encode())
        assert (
            answer.status_code == 415 and "curl needs an @ before a file's name: curl --data-binary @" in answer.json()["message"]
        )
    form = client.post("/api/splat", files={"file": (None, b"photo.jpg")})
    assert form.status_code == 400 and "curl needs an @ before a file's name, as in -F file=@photo.jpg" in form.json()["message"]
    assert client.post("/api/splat", content=b"no picture").json()["code"] == "unsupported_image"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "", 405), ("PUT", "", 405), ("GET", "/", 404), ("PUT", "/photo.jpg", 404), ("POST", "/", 404)],
)
def test_another_way_to_the_files_is_refused_with_the_right_one(client: TestClient, method: str, path: str, status: int) -> None:
    answer = client.request(method, f"/api/splat{path}")
    assert answer.status_code == status and answer.json()["code"] == f"http_{status}"
    said = answer.json()["message"]
    assert "expected POST at /api/splat" in said and "curl --data-binary @photo.jpg 'http://testserver/api/splat' " in said
    assert status == 404 or answer.headers["allow"] == "POST"


def test_a_form_of_several_files_or_none_is_refused(client: TestClient) -> None:
    two = client.post("/api/splat", files=[("a", ("a.jpg", jpeg())), ("b", ("b.jpg", jpeg()))])
    assert two.status_code == 400 and "holds 2 files: expected one" in two.json()["message"]
    none = client.post("/api/splat", files={"note": (None, b"hello")})
    assert none.status_code == 400 and "holds 0 files" in none.json()["message"]


def test_a_broken_form_is_refused(client: TestClient) -> None:
    answer = client.post("/api/splat", content=b"--x\r\nno header", headers={"content-type": "multipart/form-data; boundary=y"})
    assert answer.status_code == 400 and "form" in answer.json()["message"]
    answer = client.post("/api/splat", content=b"x", headers={"content-type": "multipart/form-data"})
    assert answer.status_code == 400 and "form" in answer.json()["message"]


@pytest.mark.parametrize(("width", "height"), [(4032, 3024), (8064, 6048), (11_118, 3820), (17, 4000)])
def test_a_photo_of_any_phone_becomes_splats(client: TestClient, width: int, height: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = saved(Image.linear_gradient("L").resize((width, height)), "JPEG", exif=exif.tobytes())
    answer = client.post("/api/splat?format=ply&max_splats=2000", content=photo)
    assert answer.status_code == 200, answer.text


def test_a_photo_may_be_larger_than_a_frame_but_not_than_a_photo(client: TestClient) -> None:
    wall = saved(Image.new("L", (12_000, 8_400)), "JPEG")
    answer = client.post("/api/splat", content=wall)
    assert answer.status_code == 422 and "12000×8400 pixels" in answer.json()["message"]
    assert client.post("/api/splat", content=saved(Image.new("L", (6000, 4500)), "PNG")).status_code == 200
    whole = saved(Image.new("L", (6000, 4500)), "JPEG", progressive=True)
    answer = client.post("/api/splat", content=whole)
    assert answer.status_code == 422 and "save it as an ordinary JPEG" in answer.json()["message"]


def test_uploads_that_fill_the_memory_wait_outside(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.http.photo.MAX_HELD_BYTES", 1000)
    answer = client.post("/api/splat", content=bytes(2000))
    assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
    monkeypatch.undo()
    assert client.post("/api/splat", content=jpeg()).status_code == 200, "what they held is given back"


def test_a_body_that_lies_about_its_length_is_cut_at_the_limit(client: TestClient) -> None:
    def endless() -> Any:
        for _ in range(100):
            yield bytes(2**20)

    assert client.post("/api/splat", content=endless()).status_code == 413


@pytest.mark.parametrize("length", ["abc", "-5", "1_0", "1e3", "9" * 5000])
def test_a_length_that_is_no_number_is_refused(client: TestClient, length: str) -> None:
    answer = client.post("/api/splat", content=jpeg(), headers={"content-length": length})
    assert answer.status_code == 400 and "content-length" in answer.json()["message"]


def test_a_defect_of_ours_is_json_with_the_headers_and_without_a_trace(pipeline: Pipeline, tmp_path: Path) -> None:
    client = TestClient(create_app(pipeline, ARGS, tmp_path), raise_server_exceptions=False)
    pipeline.outcome = RuntimeError("/secret/path")
    answer = client.post("/api/splat", content=jpeg())
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text and "content-security-policy" in answer.headers
    readiness = client.get("/readyz")
    assert readiness.status_code == 503 and "secret" not in readiness.text


def test_a_model_that_is_not_there_yet_is_a_moments_patience(client: TestClient, pipeline: Pipeline) -> None:
    async def describe() -> messages.Engine:
        raise RuntimeError("no replica")

    pipeline.describe = describe  # type: ignore[method-assign]
    for answer in (client.get("/api/info"), client.post("/api/splat", content=jpeg())):
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    with client.websocket_connect("/ws") as socket:
        error = hear(socket)
        assert isinstance(error, Error) and error.code == "not_ready" and error.fatal
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_bytes()
        assert closed.value.code == 1013


def test_the_probe_is_of_a_size_that_the_limits_take(tmp_path: Path) -> None:
    for frames in ({"min_px": 100}, {"max_width": 32, "max_height": 32}):
        args = GraphArgs.model_validate({**ARGS.model_dump(), "frames": frames})
        pipeline = Pipeline(args)
        assert TestClient(create_app(pipeline, args, tmp_path)).get("/readyz").status_code == 200


def test_a_full_graph_says_try_again(client: TestClient, pipeline: Pipeline) -> None:
    pipeline.outcome = Overloaded()
    answer = client.post("/api/splat", content=jpeg())
    assert answer.status_code == 503 and answer.headers["retry-after"] == "1"


def test_a_session_streams(client: TestClient) -> None:
    with client.websocket_connect("/ws") as socket:
        welcome = greet(socket, border=0.0)
        assert welcome.engine.engine == "synthetic"
        for seq in range(5):
            socket.send_bytes(messages.encode(Frame(seq, [jpeg()], 10.0 * seq)))
            reply = hear(socket)
            assert isinstance(reply, Splats) and reply.seq == seq and reply.captured_ms == 10.0 * seq
            gaussians = CODECS[reply.codec].decode(np.frombuffer(reply.data, np.uint8))
            assert len(gaussians) == reply.count > 0
            assert reply.label == "Synthetic splats (load test)"
            socket.send_bytes(messages.encode(Ack(seq)))


def test_an_original_client_sends_bare_jpegs_and_gets_the_original_reply(client: TestClient) -> None:
    with client.websocket_connect("/ws") as socket:
        socket.send_text('{"type": "ping"}')
        assert socket.receive_text() == '{"type": "pong"}'
        socket.send_bytes(jpeg())
        reply = msgpack.unpackb(socket.receive_bytes())
        assert set(reply) == {"type", "timestamp", "num_points", "points", "colors"} and reply["type"] == "pointcloud"
        assert len(reply["points"]) == 12 * reply["num_points"] and len(reply["colors"]) == 3 * reply["num_points"]


def test_a_bad_frame_is_answered_and_the_next_one_works(client: TestClient) -> None:
    with client.websocket_connect("/ws") as socket:
        greet(socket)
        socket.send_bytes(messages.encode(Frame(1, [b"no picture"])))
        error = hear(socket)
        assert isinstance(error, Error) and (error.code, error.seq, error.fatal) == ("unsupported_image", 1, False)
        socket.send_bytes(messages.encode(Frame(2, [jpeg()])))
        assert isinstance(hear(socket), Splats)


def test_a_pipeline_that_raises_costs_the_frame_and_says_nothing_of_the_inside(
    client: TestClient, pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    with client.websocket_connect("/ws") as socket:
        greet(socket)
        pipeline.outcome = RuntimeError("/secret/path")
        socket.send_bytes(messages.encode(Frame(1, [jpeg()])))
        error = hear(socket)
        assert isinstance(error, Error) and error.code == "graph_failed" and "secret" not in error.message
        pipeline.outcome = None
        socket.send_bytes(messages.encode(Frame(2, [jpeg()])))
        assert isinstance(hear(socket), Splats)
    assert "/secret/path" in caplog.text, "the log must have what the client must not"


def test_full_queues_drop_the_frame_and_count_it(client: TestClient, pipeline: Pipeline) -> None:
    with client.websocket_connect("/ws") as socket:
        greet(socket)
        pipeline.outcome = Overloaded()
        socket.send_bytes(messages.encode(Frame(1, [jpeg()])))
        notice = hear(socket)
        assert isinstance(notice, Dropped) and (notice.code, notice.seqs) == ("overloaded", [1])


def test_a_flood_of_frames_is_answered_to_the_last(pipeline: Pipeline, tmp_path: Path) -> None:
    args = GraphArgs.model_validate({**ARGS.model_dump(), "session": {"max_in_flight": 1, "max_frames_per_s": 1000}})
    with TestClient(create_app(pipeline, args, tmp_path)).websocket_connect("/ws") as socket:
        greet(socket)
        pipeline.hold = threading.Event()
        for seq in range(1000):
            socket.send_bytes(messages.encode(Frame(seq, [jpeg()])))
        settled: list[int] = []
        dropped = 0
        while dropped < 998:
            match hear(socket):
                case Dropped(count=count):
                    dropped += count
                case Splats(seq=seq):
                    settled.append(seq)
            pipeline.hold.set()
        while not settled or settled[-1] != 999:
            reply = hear(socket)
            if isinstance(reply, Splats):
                settled.append(reply.seq)
        assert pipeline.calls <= 4, "the graph must not see what was overtaken"


def test_a_client_of_another_version_is_closed_with_1008(client: TestClient) -> None:
    with client.websocket_connect("/ws") as socket:
        socket.send_bytes(messages.encode(Hello(99, ["packed"])))
        error = hear(socket)
        assert isinstance(error, Error) and error.fatal and "99" in error.message
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_bytes()
        assert closed.value.code == 1008 and "99" in closed.value.reason


def test_one_session_too_many_is_told_to_come_back(pipeline: Pipeline, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ray.serve.splatcast")
    app = create_app(pipeline, ARGS.model_copy(update={"max_sessions": 1}), tmp_path)
    with TestClient(app) as client, client.websocket_connect("/ws") as first:
        greet(first)
        with client.websocket_connect("/ws") as second:
            error = hear(second)
            assert isinstance(error, Error) and error.code == "server_full"
            with pytest.raises(WebSocketDisconnect) as closed:
                second.receive_bytes()
            assert closed.value.code == 1013
        refused = next(record.__dict__ for record in caplog.records if record.message == "session refused")
        assert (refused["code"], refused["close_code"], refused["refused"]) == ("server_full", 1013, 1)
        first.send_bytes(messages.encode(Frame(1, [jpeg()])))
        assert isinstance(hear(first), Splats)


def test_a_client_that_leaves_mid_frame_costs_nothing(client: TestClient, pipeline: Pipeline) -> None:
    pipeline.hold = threading.Event()
    with client.websocket_connect("/ws") as socket:
        greet(socket)
        socket.send_bytes(messages.encode(Frame(1, [jpeg()])))
    pipeline.hold.set()
    pipeline.hold = None
    with client.websocket_connect("/ws") as socket:
        greet(socket)
        socket.send_bytes(messages.encode(Frame(1, [jpeg()])))
        assert isinstance(hear(socket), Splats)


def test_a_session_reports_itself_and_no_frame_does(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "ray.serve.splatcast"):
        with client.websocket_connect("/ws") as socket:
            greet(socket)
            for seq in range(20):
                socket.send_bytes(messages.encode(Frame(seq, [jpeg()])))
                hear(socket)
                socket.send_bytes(messages.encode(Ack(seq, age_ms=50.0)))
        records = [record for record in caplog.records if record.name == "ray.serve.splatcast"]
    began, ended = (record.__dict__ for record in records)
    assert (began["msg"], ended["msg"]) == ("session began", "session ended")
    assert began["session"] == ended["session"] and (ended["frames_in"], ended["splats_out"]) == (20, 20)
    assert began["client"] == ended["client"] == "test"
    assert (ended["ended_by"], ended["close_code"]) == ("the client", 1000)


def test_a_model_that_fails_is_the_servers_fault_and_a_broken_picture_the_clients() -> None:
    assert refusal_of(InferenceFailed("out of memory")).status_code == 500
    assert refusal_of(ImageBroken("its end is missing")).status_code == 422
