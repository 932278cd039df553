"""``/api/status``: what it says of a live session, and that it answers when the graph does not."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from deployments.config import GraphArgs
from deployments.http import status
from deployments.http.app import create_app
from deployments.http.status import Answer, DeploymentState, GraphState, findings
from deployments.models import load_model
from deployments.stages.local import LocalPipeline
from deployments.stream import messages
from deployments.stream.logs import Seldom, frame_fields
from deployments.stream.messages import Ack, Engine, Frame, Hello, Splats, Welcome
from tests.pictures import jpeg

ARGS = GraphArgs.model_validate({"engine": {"name": "synthetic", "params": {"splats": 300}}, "max_sessions": 40})
UP = GraphState("RUNNING", [DeploymentState("Ingress", "HEALTHY", {"RUNNING": 2})])


@pytest.fixture
def pipeline() -> LocalPipeline:
    pipeline = LocalPipeline(load_model("synthetic", splats=300), ARGS.frames, ARGS.pack)
    pipeline.warm_up()
    return pipeline


@pytest.fixture(autouse=True)
def _always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "KEPT_S", 0.0)


async def up() -> GraphState:
    return UP


def client_of(pipeline: LocalPipeline, graph: Callable[[], Any] = up) -> TestClient:
    return TestClient(create_app(pipeline, ARGS, Path("/nonexistent"), graph=graph, replica="abc"))


def test_a_live_session_is_there_with_its_numbers(pipeline: LocalPipeline) -> None:
    client = client_of(pipeline)
    with client, client.websocket_connect("/ws", headers={"x-forwarded-for": "203.0.113.7"}) as socket:
        socket.send_bytes(messages.encode(Hello(1, ["packed", "points"], "tester/1.0")))
        welcome = messages.decode_server(socket.receive_bytes())
        assert isinstance(welcome, Welcome)
        for seq in range(3):
            socket.send_bytes(messages.encode(Frame(seq, [jpeg()])))
            splats = messages.decode_server(socket.receive_bytes())
            assert isinstance(splats, Splats)
            socket.send_bytes(messages.encode(Ack(seq, 1.0, 1.0, 1.0, age_ms=80.0)))
        socket.send_bytes(messages.encode(Frame(3, [b"\xff\xd8\xff broken"])))
        assert isinstance(messages.decode_server(socket.receive_bytes()), messages.Error)
        report = client.get("/api/status").json()
    assert (report["replica"], report["engine"]["label"]) == ("abc", "Synthetic splats (load test)")
    assert report["graph"]["deployments"] == [{"name": "Ingress", "state": "HEALTHY", "replicas": {"RUNNING": 2}}]
    assert (report["sessions"]["open"], report["sessions"]["max"]) == (1, 40)
    (row,) = report["sessions"]["slowest"]
    near_80 = pytest.approx(80.0, rel=0.011)
    assert (row["session"], row["client"], row["age_ms_p50"]) == (welcome.session, "tester/1.0", near_80)
    assert row["splats"] == splats.count and row["quality"]["max_splats"] == splats.quality.max_splats
    recent = report["recent"]
    assert recent["age_ms"] == {"p50": near_80, "p95": near_80} and recent["stages_ms"]["infer"]["p50"] > 0
    assert recent["frames_in_s"] > recent["sent_s"] > 0 and recent["errors"] == {"image_broken": [1, 1]}
    assert report["findings"] == [{"level": "good", "text": "The stream is well."}]
    assert "203.0.113" not in json.dumps(report)


def test_with_a_token_the_page_is_open_and_its_numbers_are_for_who_has_it(pipeline: LocalPipeline, tmp_path: Path) -> None:
    (tmp_path / "status.html").write_text("<title>status</title>")
    client = TestClient(create_app(pipeline, ARGS, tmp_path, token="a-secret-of-sixteen"))
    assert client.get("/status").status_code == 200
    assert client.get("/api/status").status_code == 401
    assert client.get("/api/status", headers={"authorization": "Bearer a-secret-of-sixteen"}).status_code == 200
    assert client.get("/api/status", params={"token": "a-secret-of-sixteen"}).status_code == 200


def test_without_a_session_it_says_so(pipeline: LocalPipeline) -> None:
    client = client_of(pipeline)
    answer = client.get("/api/status")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["sessions"] == {"open": 0, "max": 40, "slowest": []}
    assert answer.json()["findings"] == [{"level": "good", "text": "All is up. Nobody streams."}]


def test_it_answers_with_the_graph_down_and_tells_nobody_its_words(
    pipeline: LocalPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down() -> GraphState:
        raise ConnectionError("10.1.2.3 refused")

    async def lost() -> Engine:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(status, "GRAPH_TIMEOUT_S", 0.01)
    monkeypatch.setattr(pipeline, "describe", lost)
    answer = client_of(pipeline, down).get("/api/status")
    assert answer.status_code == 200 and answer.json()["graph"] is answer.json()["engine"] is None
    assert [finding["level"] for finding in answer.json()["findings"]] == ["bad", "bad"]
    assert "10.1.2.3" not in answer.text


def test_many_sessions_are_the_slowest_twenty(pipeline: LocalPipeline) -> None:
    client = client_of(pipeline)
    with client:
        sockets = [client.websocket_connect("/ws") for _ in range(status.MAX_ROWS + 2)]
        for i, socket in enumerate(sockets):
            socket.__enter__()
            socket.send_bytes(messages.encode(Hello(1, ["packed", "points"], f"client {i}")))
            socket.receive_bytes()
            socket.send_bytes(messages.encode(Frame(0, [jpeg()])))
            socket.receive_bytes()
            socket.send_bytes(messages.encode(Ack(0, 1.0, 1.0, 1.0, age_ms=100.0 + 5 * i)))
            socket.send_bytes(messages.encode(messages.Ping(1.0)))
            socket.receive_bytes()
        report = client.get("/api/status").json()["sessions"]
        for socket in sockets:
            socket.__exit__(None, None, None)
    assert report["open"] == status.MAX_ROWS + 2
    assert [row["client"] for row in report["slowest"]] == [f"client {i}" for i in range(status.MAX_ROWS + 1, 1, -1)]


async def test_an_answer_is_asked_for_once_and_kept_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "KEPT_S", 1.0)
    now_s, asked = 0.0, 0

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return asked

    answer = Answer("a test", ask, 5.0, lambda: now_s)
    assert await asyncio.gather(*(answer() for _ in range(9))) == [1] * 9
    now_s = 0.9
    assert await answer() == 1
    now_s = 1.0
    assert await answer() == 2


async def test_a_question_without_an_answer_is_not_asked_again_and_holds_nobody() -> None:
    asked, let_go = 0, asyncio.Event()

    async def ask() -> str:
        nonlocal asked
        asked += 1
        await let_go.wait()
        return "at last"

    answer = Answer("a test", ask, 0.01, lambda: 0.0)
    assert [await answer(), await answer()] == [None, None]
    assert asked == 1
    let_go.set()
    await asyncio.sleep(0)
    assert await answer() == "at last"


def report(**changes: Any) -> dict[str, Any]:
    """A well one, but for the changes: ``part__key=value``."""
    base: dict[str, Any] = {
        "graph": {"state": "RUNNING", "deployments": [{"name": "Ingress", "state": "HEALTHY", "replicas": {"RUNNING": 1}}]},
        "engine": {},
        "target_age_ms": 250.0,
        "recent": {"seconds": 10.0, "frames_in_s": 9.0, "sent_s": 8.0, "age_ms": {"p50": 200.0}, "errors": {}, "refused": {}},
        "admission": {"pressure": 1.0},
        "sessions": {"open": 1, "max": 10},
    }
    for path, value in changes.items():
        part, _, key = path.partition("__")
        if key:
            base[part][key] = value
        else:
            base[part] = value
    return base


@pytest.mark.parametrize(
    "changes, level, word",
    [
        ({}, "good", "well"),
        ({"graph": None}, "bad", "controller"),
        ({"graph__deployments": [{"name": "X", "state": "UNHEALTHY", "replicas": {"STARTING": 1}}]}, "bad", "X has no running"),
        ({"graph__deployments": [{"name": "X", "state": "UPDATING", "replicas": {"RUNNING": 1}}]}, "warn", "X is updating"),
        ({"graph__state": "DEPLOY_FAILED"}, "warn", "deploy failed"),
        ({"engine": None}, "bad", "model"),
        ({"recent__sent_s": 0.0}, "bad", "no splats"),
        ({"recent__errors": {"internal": [2, 5]}}, "warn", "internal: 2"),
        ({"recent__errors": {"internal": [0, 5], "image_broken": [9, 9]}}, "good", "well"),
        ({"recent__refused": {"not_ready": [1, 1]}}, "warn", "not_ready: 1"),
        ({"recent__age_ms": {"p50": 400.0}}, "warn", "400 ms"),
        ({"recent__age_ms": {}}, "good", "well"),
        ({"sessions__open": 9}, "warn", "9 of 10"),
        ({"admission__pressure": 2.0}, "warn", "short of replicas"),
    ],
)
def test_what_is_wrong_is_said_first(changes: dict[str, Any], level: str, word: str) -> None:
    first = findings(report(**changes))[0]
    assert first["level"] == level and word in first["text"]


def test_seldom_counts_what_it_does_not_tell() -> None:
    now_s = 0.0
    seldom = Seldom(5.0, lambda: now_s)
    assert [seldom.count() for _ in range(3)] == [1, 0, 0]
    now_s = 5.0
    assert seldom.count() == 3


def test_a_frames_fields_name_its_session() -> None:
    assert frame_fields("abc/7") == {"session": "abc", "frame": "abc/7"}
