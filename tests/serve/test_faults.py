"""Every fault of ``benchmarks.faults`` on real clusters, under viewers and a room: what is lost, and that it comes back."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.server import ROOT

pytestmark = pytest.mark.cluster

SESSIONS = 4
MOST_IN_FLIGHT = 3 * SESSIONS
"""Two of each session in the graph, and its newest one before it."""
KILLS = ["kill FrameDecoder", "kill GaussianInference", "kill SplatPacker", "kill Relay", "kill Ingress", "kill proxy"]
ROLLOUTS = ["roll out: replicas", "roll out: args"]
ROOM_BACK_S = 30.0
"""Generous: other tests may take the machine. What it takes on a quiet one is in docs/faults.md."""


def benchmark(folder: Path, only: str) -> dict[str, Any]:
    """The faults of a report. Every fault is bounded by itself; the sum is for a machine that does much else."""
    out = folder / "run.json"
    command = [sys.executable, "-m", "benchmarks.faults", "--only", only, "--sessions", str(SESSIONS), "--out", str(out)]
    command += ["--calm-s", "2.5", "--after-s", "2", "--limit-s", "60"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert out.exists(), done.stderr[-3000:]
    found: dict[str, Any] = json.loads(out.read_text())["faults"]
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return benchmark(tmp_path_factory.mktemp("faults"), ",".join([*KILLS, "frame:", *ROLLOUTS]))


@pytest.mark.parametrize("fault", KILLS)
def test_a_killed_process_costs_at_most_the_frames_in_flight_and_the_rate_comes_back(found: dict[str, Any], fault: str) -> None:
    assert found[fault]["back_s"] is not None, found[fault]
    assert sum(found[fault]["lost"].values()) <= MOST_IN_FLIGHT, found[fault]


@pytest.mark.parametrize("fault", [*KILLS, *ROLLOUTS])
def test_every_screen_of_a_room_goes_on(found: dict[str, Any], fault: str) -> None:
    assert found[fault]["room_gap_s"] < ROOM_BACK_S, found[fault]


@pytest.mark.parametrize("fault", KILLS[:4])
def test_sessions_outlive_the_loss_of_a_stage(found: dict[str, Any], fault: str) -> None:
    assert found[fault]["broken"] == 0, found[fault]


@pytest.mark.parametrize("frame", ["raise", "memory", "hang"])
def test_a_frame_that_breaks_the_engine_costs_itself_only(found: dict[str, Any], frame: str) -> None:
    fault = found[f"frame: {frame}"]
    assert fault["answer"] == "inference_failed"
    assert (fault["lost"], fault["broken"]) == ({}, 0) and fault["back_s"] is not None, fault


def test_a_frame_of_nothing_but_nan_is_a_frame_without_splats(found: dict[str, Any]) -> None:
    fault = found["frame: nan"]
    assert fault["answer"] == "a frame of 0 splats" and (fault["lost"], fault["broken"]) == ({}, 0), fault


def test_a_rollout_of_another_number_of_replicas_costs_no_frame_and_no_session(found: dict[str, Any]) -> None:
    fault = found["roll out: replicas"]
    assert (fault["lost"], fault["broken"]) == ({}, 0) and fault["back_s"] is not None, fault


def test_a_rollout_of_other_args_costs_no_frame_that_a_reconnect_does_not_cover(found: dict[str, Any]) -> None:
    fault = found["roll out: args"]
    assert set(fault["lost"]) <= {"cut"} and fault["back_s"] is not None, fault
    assert fault["broken"] >= 1, "the ingress was replaced"


def test_a_killed_node_costs_at_most_the_frames_in_flight_and_no_room_and_the_rate_comes_back(tmp_path: Path) -> None:
    fault = benchmark(tmp_path, "kill node")["kill node"]
    assert len(fault["replicas_on_it"]) >= 2
    assert sum(fault["lost"].values()) <= MOST_IN_FLIGHT and fault["back_s"] is not None, fault
    assert fault["room_gap_s"] < ROOM_BACK_S, fault
