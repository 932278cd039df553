"""The peer speaks the original protocol and writes a PLY anybody reads; the comparison counts what it says."""

import io

import msgpack
import numpy as np
import pytest
from plyfile import PlyData
from starlette.testclient import TestClient

from benchmarks.baseline.__main__ import describe, summarise, table
from benchmarks.baseline.peer import create_peer
from benchmarks.baseline.talk import Talk
from deployments.splats.codecs import CODECS
from tests.pictures import jpeg


def test_the_peer_answers_a_bare_jpeg_with_the_standard_ply() -> None:
    with TestClient(create_peer(300, 0.0)).websocket_connect("/ws") as socket:
        socket.send_bytes(jpeg(64, 48))
        reply = msgpack.unpackb(socket.receive_bytes())
    assert reply["type"] == "gaussian_ply"
    vertex = PlyData.read(io.BytesIO(reply["ply_data"]))["vertex"]
    assert len(vertex.properties) == 17 and vertex.count == 300
    ours = CODECS["ply"].decode(np.frombuffer(reply["ply_data"], np.uint8))
    assert np.allclose(ours.means[:, 2], vertex["z"]) and np.all((ours.scales > 0.0) & np.isfinite(ours.scales))


def test_what_all_sessions_saw_is_one_figure() -> None:
    found = describe([Talk([100.0, 200.0], [1_000_000] * 2), Talk([300.0], [1_000_000])], seconds=2.0)
    assert found["fps"] == 1.5 and found["age_p50_ms"] == 200.0 and found["reply_mb"] == 1.0
    assert found["least_and_most_frames"] == [1, 2]


def test_ratios_are_paired_within_a_round_and_a_peer_that_finished_nothing_counts_as_one_frame() -> None:
    def sample(index: int, design: str, frames: int) -> dict[str, object]:
        return {"round": index, "design": design, "sessions": 4, **describe([Talk([50.0] * frames, [10] * frames)], seconds=10.0)}

    samples = [sample(0, "peer", 10), sample(0, "graph", 40), sample(1, "peer", 0), sample(1, "graph", 80)]
    (row,) = summarise(samples)
    assert row["fps_ratio"] == pytest.approx((4.0 + 80.0) / 2)
    assert row["peer_fps"] == 0.5 and row["graph_fps"] == 6.0
    report = {
        "args": {"splats": 1, "latency_ms": 1.0, "rounds": 2, "seconds": 10.0},
        "machine": {"cpu": "x", "cores": 2, "load_1min": 0.0},
        "rows": [row],
    }
    assert "| 4 | 0.5 | 6.0 | 42.0 |" in table(report, markdown=True)
