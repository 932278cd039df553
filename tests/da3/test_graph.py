"""The whole graph on the real network code: JPEG to packed bytes, two replicas on GPUs that are only said to be there."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets
import yaml

from benchmarks.machine import ROOT
from benchmarks.server import LocalServer
from deployments.graph import NoGpuError, wait_for_gpu
from deployments.models.da3.registry import MODELS
from deployments.ops.serve_config import use_model
from deployments.splats.codecs import CODECS
from deployments.stream import messages
from deployments.stream.messages import Ack, Error, Frame, Hello, Splats, Welcome
from tests.da3 import micro
from tests.da3.micro_vit import BATCH_LOG
from tests.pictures import jpeg
from tests.server import Server, free_port

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("batches")


@pytest.fixture(scope="module")
def server(checkpoints: dict[str, Path], batches: Path) -> Iterator[Server]:
    params = {"weights": str(checkpoints["micro"]), "device": "cpu", "longest_px": 140, "threads": 1, "kind": "native"}
    args = {"engine": {"name": "da3", "params": params}, "batch": {"max_size": 4, "wait_s": 0.05}, "options": {"border": 0.0}}
    inference = {
        "autoscaling_config": None,
        "num_replicas": 2,
        "max_ongoing_requests": 8,
        "max_queued_requests": 32,
        "ray_actor_options": {"num_cpus": 0.5, "num_gpus": 1},
    }
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SPLATCAST_FAKE_GPUS", "2")
        environment.setenv(BATCH_LOG, str(batches))
        server = Server(args, {"GaussianInference": inference})
    yield server
    server.stop()


async def stream(server: Server, frames: int, **options: Any) -> list[Splats]:
    """One session: its answers, each to its own frame."""
    answers: list[Splats] = []
    async with websockets.connect(server.ws_url, max_size=None, compression=None) as socket:
        await socket.send(messages.encode(Hello(1, ["packed", "points"], "test", options)))
        welcome = messages.decode_server(await socket.recv())  # type: ignore[arg-type]
        assert isinstance(welcome, Welcome) and welcome.engine.engine == "da3" and welcome.engine.kinds == ["native", "points"]
        for seq in range(frames):
            await socket.send(messages.encode(Frame(seq, [jpeg(320, 240)])))
            answer = messages.decode_server(await asyncio.wait_for(socket.recv(), 60))  # type: ignore[arg-type]
            assert not isinstance(answer, Error), answer
            if isinstance(answer, Splats):
                answers.append(answer)
                await socket.send(messages.encode(Ack(seq)))
    return answers


async def test_sessions_share_batches_on_two_replicas_and_get_native_gaussians(server: Server, batches: Path) -> None:
    sessions = await asyncio.gather(*(stream(server, 6) for _ in range(8)))
    answers = [answer for session in sessions for answer in session]
    assert len(answers) >= 24
    for answer in answers:
        assert answer.kind == "native" and answer.codec == "packed" and answer.label == "Depth Anything 3 micro"
        assert len(CODECS["packed"].decode(answer.data)) == answer.count > 10_000  # type: ignore[arg-type]
    logs = {path.name: [int(line.split()[0]) for line in path.read_text().splitlines()] for path in batches.iterdir()}
    assert len(logs) == 2, "two replicas"
    assert max(size for sizes in logs.values() for size in sizes) > 1, "a batch of more than one session"


async def test_points_are_one_configure_away(server: Server) -> None:
    (answer,) = await stream(server, 1, representation="points")
    assert answer.kind == "points" and answer.codec == "points"


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache that holds the small model, with random weights."""
    repository = tmp_path / "hub" / "models--depth-anything--DA3-SMALL"
    snapshot = repository / "snapshots" / MODELS["da3-small"].revision
    micro.save(micro.make_network(micro.layout_of("da3-small")), snapshot, "da3-small")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


@pytest.mark.usefixtures("hub_cache")
async def test_the_small_model_runs_from_the_hubs_cache_on_a_cpu(tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "serve_config.cpu.yaml").read_text())
    use_model(config["applications"][0], "da3-small")
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(config))
    with LocalServer(path) as server:
        async with websockets.connect(server.ws_url, max_size=None, compression=None) as socket:
            await socket.send(messages.encode(Hello(1, ["packed", "points"])))
            welcome = messages.decode_server(await socket.recv())  # type: ignore[arg-type]
            assert isinstance(welcome, Welcome)
            assert (welcome.engine.name, welcome.engine.licence, welcome.engine.kinds[0]) == ("da3-small", "Apache-2.0", "points")
            await socket.send(messages.encode(Frame(0, [jpeg(320, 240)])))
            answer = messages.decode_server(await asyncio.wait_for(socket.recv(), 60))  # type: ignore[arg-type]
            assert isinstance(answer, Splats) and answer.kind == "points" and answer.count > 10_000


def test_without_weights_and_network_make_run_says_what_to_do(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deployments.ops.launch", "--profile", "cpu", "--port", str(free_port())]
    environment = {**os.environ, "MODEL": "da3-small", "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "depth-anything/DA3-SMALL" in done.stderr and "HF_HUB_OFFLINE" in done.stderr and "Traceback" not in done.stderr


def test_a_cluster_without_a_gpu_fails_with_a_sentence(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "serve_config.cpu.yaml").read_text())
    params = {"weights": str(checkpoints["micro"]), "device": "cuda"}
    config["applications"][0]["args"] = {"engine": {"name": "da3", "params": params, "gpu_wait_s": 1.0}}
    path = tmp_path / "gpu.yaml"
    path.write_text(yaml.safe_dump(config))
    command = [
        sys.executable,
        "-m",
        "deployments.ops.launch",
        "--profile",
        "cpu",
        "--config",
        str(path),
        "--port",
        str(free_port()),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "this Ray cluster has no GPU" in done.stderr and "gpu_wait_s" in done.stderr and "Traceback" not in done.stderr


def test_a_node_that_joins_in_time_is_waited_for() -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    wait_for_gpu(lambda: {"CPU": 8, "GPU": 1} if now >= 20 else {"CPU": 4}, 45, lambda: now, sleep)
    assert 20 <= now < 22
    with pytest.raises(NoGpuError, match="add a GPU node"):
        wait_for_gpu(lambda: {"CPU": 4, "GPU": 0.0}, 45, lambda: now, sleep)
    assert now >= 65


def test_model_on_the_command_line_keeps_the_profile_and_asks_for_nothing_the_model_can_not_give() -> None:
    (gpu,) = yaml.safe_load((ROOT / "serve_config.yaml").read_text())["applications"]
    use_model(gpu, "da3-small")
    assert gpu["args"]["engine"]["params"] == {"model": "da3-small", "device": "cuda"}
    assert next(d for d in gpu["deployments"] if d["name"] == "GaussianInference")["autoscaling_config"]["max_replicas"] == 8
    (cpu,) = yaml.safe_load((ROOT / "serve_config.cpu.yaml").read_text())["applications"]
    use_model(cpu, "da3-small")
    assert cpu["args"]["engine"] == {"name": "da3", "params": {"model": "da3-small"}}
    assert next(d for d in cpu["deployments"] if d["name"] == "GaussianInference")["num_replicas"] == 1
