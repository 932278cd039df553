"""What only a real cluster shows: negotiated extensions, lost replicas, backpressure, floods, deaf clients, the end."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import psutil
import pytest
import websockets

from deployments.stream import messages
from deployments.stream.messages import Ack, Dropped, Frame, Hello, Splats
from tests.serve.departures import leave_in_every_way
from tests.serve.talk import PICTURE, connect, frame, hear, vanish
from tests.server import ROOT, Server, free_port

RECOVERY_TIMEOUT_S = 60.0


async def test_permessage_deflate_is_refused_by_the_real_proxy(server: Server) -> None:
    async with websockets.connect(server.ws_url, compression="deflate") as socket:
        assert socket.protocol.extensions == []


async def test_frames_stream_through_four_deployments(server: Server) -> None:
    socket = await connect(server)
    for seq in range(10):
        reply = await frame(socket, seq)
        assert isinstance(reply, Splats), reply
        assert reply.seq == seq and reply.count > 0 and reply.timings_ms["infer"] >= 20.0
    await socket.close()


def test_a_photo_becomes_a_file_over_http(server: Server) -> None:
    request = urllib.request.Request(f"{server.url}/api/splat?format=ply", data=PICTURE, method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.read(3) == b"ply" and "attachment" in answer.headers["content-disposition"]


def test_readiness_and_info(server: Server) -> None:
    assert server.get("/readyz").startswith(b"ready")
    assert json.loads(server.get("/api/info"))["engine"]["engine"] == "synthetic"


async def test_a_message_of_50_mb_ends_its_own_connection_only(server: Server) -> None:
    other = await connect(server)
    flood = await connect(server)
    with contextlib.suppress(websockets.ConnectionClosed):
        await flood.send(bytes(50 * 2**20))
    with pytest.raises(websockets.ConnectionClosed) as closed:
        while True:
            await asyncio.wait_for(flood.recv(), 20)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009
    assert isinstance(await frame(other, 1), Splats)
    await other.close()


async def test_a_thousand_frames_a_second_are_answered_and_harm_nobody(server: Server) -> None:
    other = await connect(server)
    flood = await connect(server)
    before = server.resident_bytes()

    async def send() -> None:
        for seq in range(2000):
            await flood.send(messages.encode(Frame(seq, [PICTURE])))
            if seq % 10 == 9:
                await asyncio.sleep(0.01)

    async def listen() -> tuple[int, int]:
        shown = dropped = 0
        while shown + dropped < 2000:
            match await hear(flood):
                case Splats(seq=seq):
                    shown += 1
                    await flood.send(messages.encode(Ack(seq)))
                case Dropped(count=count):
                    dropped += count
        return shown, dropped

    async def neighbour() -> int:
        served = 0
        for seq in range(15):
            served += isinstance(await frame(other, seq), Splats)
        return served

    _, (shown, dropped), served = await asyncio.gather(send(), listen(), neighbour())
    assert shown + dropped == 2000 and shown > 5
    assert served == 15
    assert server.resident_bytes() - before < 200 * 2**20
    await asyncio.gather(other.close(), flood.close())


@pytest.mark.parametrize("original_protocol", [False, True])
async def test_a_client_that_never_reads_holds_a_bounded_amount_and_harms_nobody(server: Server, original_protocol: bool) -> None:
    other = await connect(server)
    deaf = await websockets.connect(server.ws_url, max_size=None, compression=None, max_queue=1)
    if not original_protocol:
        await deaf.send(messages.encode(Hello(1, ["ply"])))
        await deaf.recv()
    deaf.transport.pause_reading()
    before = server.resident_bytes()
    # A reply is about 1.1 MB as PLY: a server that kept them all would hold several hundred MB.
    for seq in range(400):
        await deaf.send(PICTURE if original_protocol else messages.encode(Frame(seq, [PICTURE])))
        await asyncio.sleep(0.01)
    assert isinstance(await frame(other, 1), Splats)
    assert server.resident_bytes() - before < 100 * 2**20
    await vanish(deaf)
    await other.close()


async def test_a_client_that_vanishes_mid_message_or_mid_frame_harms_nobody(server: Server) -> None:
    other = await connect(server)
    for _ in range(5):
        torn = await connect(server)
        # The header of a masked binary message of 1 MiB, and a tenth of it.
        torn.transport.write(b"\x82\xff" + (2**20).to_bytes(8, "big") + bytes(4) + bytes(100_000))
        await vanish(torn)
        gone = await connect(server)
        await gone.send(messages.encode(Frame(0, [PICTURE])))
        await vanish(gone)
    assert isinstance(await frame(other, 1), Splats)
    await other.close()


async def test_clients_that_leave_at_a_bad_moment_are_no_errors_in_rays_logs(server: Server) -> None:
    assert await leave_in_every_way(server) == []


@pytest.mark.parametrize("deployment", ["FrameDecoder", "GaussianInference", "SplatPacker"])
async def test_a_stage_that_is_killed_costs_the_frames_in_flight_and_no_session(server: Server, deployment: str) -> None:
    socket = await connect(server)
    assert isinstance(await frame(socket, 0), Splats)
    replicas = server.replicas(deployment)
    assert replicas
    await socket.send(messages.encode(Frame(1, [PICTURE])))
    for replica in replicas:  # All of them: after the tests before, autoscaling may have more than one.
        replica.kill()
    answers = [await hear(socket, RECOVERY_TIMEOUT_S)]
    deadline_s, seq = time.monotonic() + RECOVERY_TIMEOUT_S, 1
    while not isinstance(answers[-1], Splats) or len(answers) < 2:
        assert time.monotonic() < deadline_s, answers[-1]
        seq += 1
        answers.append(await asyncio.wait_for(frame(socket, seq), RECOVERY_TIMEOUT_S))
    assert all(isinstance(answer, (Splats, Dropped)) or answer.code == "graph_failed" for answer in answers)  # type: ignore[union-attr]
    await socket.close()


@pytest.mark.cluster
def test_ctrl_c_ends_everything_it_started() -> None:
    server = Server({"engine": {"name": "synthetic"}})
    started = server.processes()
    assert len(started) > 5
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(30) == 0
    _, alive = psutil.wait_procs(started, timeout=10)
    assert [process.name() for process in alive] == []
    server.stop()  # Its files.


JOIN = """
import os, sys, ray
ray.init(address=sys.argv[1], namespace="serve", log_to_driver=False, logging_level="ERROR")
print(ray.get(ray.remote(num_cpus=0.1)(lambda: "code ran").remote(), timeout=60))
"""


def test_only_a_driver_with_the_token_joins_the_cluster(server: Server) -> None:
    own = {name: value for name, value in psutil.Process().environ().items() if not name.startswith("RAY_")}

    def join(**environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", JOIN, server.ray_address]
        return subprocess.run(command, env={**own, **environment}, capture_output=True, text=True, timeout=120)

    refused = join(RAY_AUTH_MODE="disabled")
    assert refused.returncode != 0 and "code ran" not in refused.stdout, refused.stdout
    admitted = join(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=server.ray_token)
    assert "code ran" in admitted.stdout, admitted.stderr


def test_the_terminal_has_our_own_lines_only(server: Server) -> None:
    lines = server.said().splitlines()
    assert lines and [line for line in lines if not line.startswith("splatcast [")] == []


def launch(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A launch that must fail by itself, before it starts anything."""
    return subprocess.run(
        [sys.executable, "-m", "deployments.ops.launch", *arguments],
        cwd=ROOT, env={**psutil.Process().environ(), **environment}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_a_busy_port_is_named_with_the_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = launch(PORT=str(port), PROFILE="cpu")
    assert done.returncode == 2
    assert f"127.0.0.1:{port}" in done.stderr and f"PORT={port + 1}" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_gpu_profile_says_what_is_missing_instead_of_hanging() -> None:
    done = launch(PROFILE="gpu", PORT=str(free_port()))
    assert done.returncode == 2
    assert "da3" in done.stderr.lower() or "GPU" in done.stderr
    assert "PROFILE=cpu" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("environment", [{"PROFILE": "tpu"}, {"PORT": "http"}, {"PORT": "70000"}])
def test_a_wrong_setting_names_the_right_ones(environment: dict[str, str]) -> None:
    done = launch(**environment)
    assert done.returncode == 2 and "expected" in done.stderr and "Traceback" not in done.stderr
