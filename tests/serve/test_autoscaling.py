"""Inference replicas follow the load, up and down, with fake GPUs and an engine that sleeps."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server import ROOT


@pytest.mark.cluster
def test_replicas_come_with_the_load_and_go_with_it_and_no_frame_is_lost(tmp_path: Path) -> None:
    out = tmp_path / "run.json"
    command = [sys.executable, "-m", "benchmarks.autoscale", "--loads", "step", "--replicas", "3", "--out", str(out)]
    command += ["--calm-s", "3", "--hold-s", "30", "--downscale-delay-s", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert out.exists(), done.stderr[-3000:]
    run = json.loads(out.read_text())["runs"]["step"]
    assert run["most_replicas"] == 3
    assert run["samples"][-1]["running"] < 3, "some of them went again"
    assert run["sessions_broken"] == 0
    lost = {end: count for end, count in run["frames"].items() if not end.startswith(("delivered", "dropped", "unanswered"))}
    assert lost == {}, "scaling down waits for the frames that a replica has"
