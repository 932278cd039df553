"""What an operator sees of a real cluster: Prometheus metrics, and one frame followed through the logs."""

import asyncio
import json
import re
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import websockets

from benchmarks.faults.inject import poison_picture
from deployments.ops.metrics import METRICS
from deployments.stream import messages
from deployments.stream.messages import Ack, Error, Frame, Hello, Join, Joined, Room, Splats, Welcome
from tests.serve.talk import PICTURE, connect, frame, hear
from tests.server import Server
from tests.unit.test_monitoring import RAYS_OWN

EXPORT_TIMEOUT_S = 60.0
"""Ray's workers report every 10 s."""


def metrics_of(server: Server) -> str:
    """The node's metrics page; the terminal says where it is."""
    found = re.search(r"metrics: (http://\S+)", server.said())
    assert found
    with urllib.request.urlopen(found[1], timeout=10) as response:
        text: str = response.read().decode()
    return text


async def test_prometheus_sees_every_metric_that_has_happened(server: Server) -> None:
    client = await connect(server)
    await client.send(messages.encode(Join("metrics")))
    assert isinstance(await hear(client), Joined) and isinstance(await hear(client), Room)
    for seq in range(5):
        await client.send(messages.encode(Frame(seq, [PICTURE])))
        assert isinstance(await hear(client), Splats)
        await client.send(messages.encode(Ack(seq, 1.0, 1.0, 1.0, age_ms=50.0)))
    assert isinstance(await frame(client, 5, b"\xff\xd8\xff not a picture"), Error)
    await client.close()
    never_here = {"splatcast_sessions_refused_total", "splatcast_quality_changes_total", "splatcast_frames_dropped_total"}
    wanted = {f"ray_{name}" for name in METRICS if name not in never_here}
    deadline_s = time.monotonic() + EXPORT_TIMEOUT_S
    while missing := {name for name in wanted if name not in (text := await asyncio.to_thread(metrics_of, server))}:
        assert time.monotonic() < deadline_s, (missing, [line for line in text.splitlines() if "splatcast" in line])
        await asyncio.sleep(1.0)
    names = {line.split("{")[0] for line in text.splitlines() if line.startswith("ray_splatcast")}
    exported = {name.removesuffix(end) for name in names for end in ("_bucket", "_sum", "_count", "") if name.endswith(end)}
    assert wanted <= exported, wanted - exported
    assert 'stage="infer"' in text and 'code="image_broken"' in text
    for name, labels in RAYS_OWN.items():
        line = next(line for line in text.splitlines() if line.startswith(f"{name}{{"))
        assert all(f'{label}="' in line for label in labels), line


async def test_the_status_is_of_a_live_session_and_of_all_deployments(server: Server) -> None:
    client = await connect(server)
    for seq in range(3):
        assert isinstance(await frame(client, seq), Splats)
    status = json.loads(await asyncio.to_thread(server.get, "/api/status"))
    await client.close()
    states = {each["name"]: (each["state"], each["replicas"]["RUNNING"] >= 1) for each in status["graph"]["deployments"]}
    assert states == dict.fromkeys(("Ingress", "Relay", "FrameDecoder", "GaussianInference", "SplatPacker"), ("HEALTHY", True))
    assert status["graph"]["state"] == "RUNNING" and status["replica"]
    assert any(row["client"] == "test" and row["fps"] > 0 for row in status["sessions"]["slowest"])
    assert status["recent"]["stages_ms"]["infer"]["p50"] >= 20.0, "what the engine was told to take"
    assert b"status.js" in await asyncio.to_thread(server.get, "/status")


async def test_a_session_is_followed_through_the_log_by_its_id_and_its_requests(server: Server) -> None:
    sessions = {}
    for request_id in ("trace-7", "x" * 5000):
        headers = {"X-Request-ID": request_id}
        async with websockets.connect(server.ws_url, max_size=None, compression=None, additional_headers=headers) as client:
            await client.send(messages.encode(Hello(1, ["packed", "points"], "follower/1.0")))
            welcome = await hear(client)
            assert isinstance(welcome, Welcome)
            sessions[request_id] = welcome.session
            assert isinstance(await frame(client, 0, b"\xff\xd8\xff not a picture"), Error)
            await client.close(4001, "had enough")
    deadline_s = time.monotonic() + 20.0
    while len(ended := [line for line in _lines(server) if line["message"] == "session ended"]) < 2:
        assert time.monotonic() < deadline_s, ended
        await asyncio.sleep(0.2)
    for request_id, session in sessions.items():
        lines = [line for line in _lines(server) if line.get("session") == session]
        assert [line["message"] for line in lines] == ["session began", "frame refused", "session ended"]
        began, refused, last = lines
        assert began["client"] == "follower/1.0" and refused["frame"] == f"{session}/0"
        assert (last["ended_by"], last["close_code"], last["reason"]) == ("the client", 4001, "had enough")
        (known_as,) = {line["request_id"] for line in lines}
        assert known_as == request_id if len(request_id) <= 64 else len(known_as) == 36, known_as


@pytest.mark.cluster
async def test_a_frame_that_fails_is_followed_by_its_id_from_the_ingress_to_the_model() -> None:
    server = Server({"engine": {"name": "synthetic", "params": {"splats": 100, "poison": True}}})
    try:
        client = await connect(server)
        assert isinstance(await frame(client, 0), Splats)
        failed = await frame(client, 1, poison_picture("raise"))
        assert isinstance(failed, Error) and failed.code == "inference_failed"
        await client.close()
        deadline_s = time.monotonic() + 20.0
        while len(found := _lines_with_a_frame(server)) < 2 and time.monotonic() < deadline_s:
            await asyncio.sleep(0.2)
        by_deployment = {line["deployment"].removeprefix("splatcast_"): line for line in found}
        ingress, inference = by_deployment["Ingress"], by_deployment["GaussianInference"]
        assert ingress["frame"] == inference["frame"] and ingress["code"] == "inference_failed"
        assert inference["levelname"] == "ERROR"
    finally:
        server.stop()


def _lines_with_a_frame(server: Server) -> list[dict[str, Any]]:
    return [entry for entry in _lines(server) if entry.get("frame")]


def _lines(server: Server) -> list[dict[str, Any]]:
    """What the replicas logged, oldest first."""
    logs = Path(server.argument("--session-dir=")) / "logs" / "serve"
    lines = [line for path in logs.glob("replica_*.log") for line in path.read_text().splitlines()]
    return sorted(map(json.loads, lines), key=lambda entry: entry["asctime"])
