"""The peer speaks the original protocol and writes a PLY anybody reads; the comparison counts what it says."""

import io

import msgpack
import numpy as np
import pytest
from plyfile import PlyData
from starlette.testclient import TestClient

from benchmarks.baseline.__main__ import describe, figures, summarise
from benchmarks.baseline.peer import create_peer
from benchmarks.load.run import Outcome, run
from benchmarks.load.schedule import CLOSED_LOOP, Schedule, plan
from benchmarks.load.session import Client, FrameRecord, LoadSession
from deployments.splats.codecs import CODECS
from tests.pictures import jpeg
from tests.stub_server import served


def test_the_peer_answers_a_bare_jpeg_with_the_standard_ply() -> None:
    with TestClient(create_peer(300, 0.0)).websocket_connect("/ws") as socket:
        socket.send_bytes(jpeg(64, 48))
        reply = msgpack.unpackb(socket.receive_bytes())
    assert reply["type"] == "gaussian_ply"
    vertex = PlyData.read(io.BytesIO(reply["ply_data"]))["vertex"]
    assert len(vertex.properties) == 17 and vertex.count == 300
    ours = CODECS["ply"].decode(np.frombuffer(reply["ply_data"], np.uint8))
    assert np.allclose(ours.means[:, 2], vertex["z"]) and np.all((ours.scales > 0.0) & np.isfinite(ours.scales))


def outcome(*ages_s: float, seconds: float = 2.0) -> Outcome:
    """A run in which one frame was delivered after each of these times."""
    session = LoadSession(0, Client("", []), Schedule(CLOSED_LOOP, 0.0, 0.0, seconds, waits=True))
    session.frames.extend(FrameRecord(0.0, 0.0, 0.0, age_s, "delivered", reply_bytes=1_000_000) for age_s in ages_s)
    return Outcome([session], seconds, [1.0], 0.1)


def test_what_all_sessions_saw_is_one_figure() -> None:
    found = figures(outcome(0.1, 0.2, 0.3))
    assert found["fps"] == 1.5 and found["age_p50_ms"] == pytest.approx(200.0) and found["reply_mb"] == 1.0
    assert figures(outcome())["age_p50_ms"] is None


async def test_the_clients_of_the_load_tool_talk_to_the_peer() -> None:
    async with served(create_peer(300, 0.0)) as url:
        found = await run(Client(url, [jpeg(64, 48)]), plan(2, CLOSED_LOOP, 0.0, 0.3), 5.0, kinds=["original"] * 2)
    assert not any(session.failure for session in found.sessions) and figures(found)["fps"] > 0
    assert {frame.outcome for session in found.sessions for frame in session.frames} == {"delivered"}


def test_ratios_are_paired_within_a_round_and_a_peer_that_finished_nothing_counts_as_one_frame() -> None:
    def sample(index: int, design: str, frames: int) -> dict[str, object]:
        return {
            "round": index,
            "design": design,
            "sessions": 4,
            "seconds": 10.0,
            **figures(outcome(*[0.05] * frames, seconds=10.0)),
        }

    samples = [sample(0, "peer", 10), sample(0, "graph", 40), sample(1, "peer", 0), sample(1, "graph", 80)]
    (row,) = summarise(samples)
    assert row["fps_ratio"] == pytest.approx((4.0 + 80.0) / 2)
    assert row["peer_fps"] == 0.5 and row["graph_fps"] == 6.0
    report = {
        "args": {"splats": 1, "latency_ms": 1.0, "rounds": 2, "seconds": 10.0},
        "machine": {"cpu": "x", "cores": 2, "load_1min": 0.0},
        "rows": [row],
    }
    assert describe(report).splitlines()[-1].split()[1:8:2] == ["4", "0.50", "6.00", "42.0"]
