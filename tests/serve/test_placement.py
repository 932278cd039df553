"""The cluster's config on three nodes, as kubernetes/ lays them out: a head without CPUs, one node with GPUs, one without."""

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest
import websockets
import yaml

from benchmarks.machine import ROOT
from benchmarks.server import free_port
from deployments import cast
from deployments.ops.launch import read_environment_file
from deployments.stream import messages
from deployments.stream.messages import Ack, Frame, Hello, Splats, Welcome
from tests.serve.talk import PICTURE, hear

pytestmark = pytest.mark.cluster

DRIVER = Path(__file__).parent / "three_nodes.py"


@pytest.fixture(scope="module")
def three_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """The driver's account of where everything is; it holds the cluster until its standard input closes."""
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    (application,) = config["applications"]
    application["args"] = {"engine": {"name": "synthetic", "params": {"splats": 5000}}, "batch": {"max_size": 4}}
    config["http_options"] = {"host": "127.0.0.1", "port": free_port()}
    for deployment in application["deployments"]:
        # As many as the CPU node has CPUs for, so that nothing can hide in a place left over on it.
        deployment["num_replicas"] = {"FrameDecoder": 2, "GaussianInference": 2, "Relay": 2}.get(deployment["name"], 1)
        deployment.pop("autoscaling_config", None)
    path = tmp_path_factory.mktemp("three-nodes") / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    ports = [config["http_options"]["port"], free_port(), free_port()]
    environment = {**os.environ, **read_environment_file(ROOT / "serve.env"), "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment |= {"PYTHONPATH": str(ROOT), "RAY_SERVE_ENABLE_HA_PROXY": "0"}
    with (path.parent / "log").open("w+") as log:
        driver = subprocess.Popen(
            [sys.executable, str(DRIVER), str(path), str(ports[1]), str(ports[2])],
            cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
        )  # fmt: skip
        assert driver.stdin and driver.stdout
        family = [psutil.Process(driver.pid)]
        try:
            line = driver.stdout.readline()  # It gives up by itself.
            family += family[0].children(recursive=True)
            log.seek(0)
            assert line, log.read()[-4000:]
            yield {**yaml.safe_load(line), "ports": dict(zip(("head", "gpu", "cpu"), ports, strict=True))}
        finally:
            driver.stdin.close()
            _, left = psutil.wait_procs(family, timeout=30)
            for process in left:
                process.kill()
            driver.stdout.close()
            driver.wait()


def test_inference_is_on_the_gpu_node_and_nothing_else_is(three_nodes: dict[str, dict[str, list[str]]]) -> None:
    assert three_nodes["replicas"] == {
        "Ingress": ["cpu"],
        "FrameDecoder": ["cpu", "cpu"],
        "GaussianInference": ["gpu", "gpu"],
        "Relay": ["cpu", "cpu"],
        "SplatPacker": ["cpu"],
    }


def test_every_node_has_a_proxy(three_nodes: dict[str, list[str]]) -> None:
    assert sorted(three_nodes["proxies"]) == ["cpu", "gpu", "head"]


@pytest.mark.parametrize("node", ["head", "gpu", "cpu"])
async def test_frames_flow_through_the_proxy_of_each_node(three_nodes: dict[str, dict[str, int]], node: str) -> None:
    url = f"ws://127.0.0.1:{three_nodes['ports'][node]}/ws"
    async with websockets.connect(url, max_size=None, compression=None, open_timeout=30) as socket:
        await socket.send(messages.encode(Hello(1, ["packed", "points"], "test")))
        assert isinstance(await hear(socket), Welcome)
        for seq in range(5):
            await socket.send(messages.encode(Frame(seq, [PICTURE])))
            reply = await hear(socket)
            assert isinstance(reply, Splats) and reply.seq == seq, reply
            await socket.send(messages.encode(Ack(seq)))


async def test_a_room_is_seen_through_the_proxy_of_every_node(three_nodes: dict[str, dict[str, int]]) -> None:
    def url(node: str) -> str:
        return f"ws://127.0.0.1:{three_nodes['ports'][node]}/ws"

    async def film() -> AsyncIterator[bytes]:
        while True:
            yield PICTURE
            await asyncio.sleep(0.1)

    async def publish() -> None:
        async for _ in cast.publish(url("gpu"), "nodes", film()):
            pass

    async def see(node: str) -> Splats:
        async with aclosing(cast.watch(url(node), "nodes")) as frames:
            return await anext(frames)

    camera = asyncio.ensure_future(publish())
    try:
        for seen in await asyncio.wait_for(asyncio.gather(*map(see, ("head", "gpu", "cpu"))), 60):
            assert seen.source and seen.count > 0
    finally:
        camera.cancel()
        await asyncio.wait({camera})
