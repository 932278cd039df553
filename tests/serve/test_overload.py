"""More sessions and more frames than the graph can take, on a real cluster."""

import asyncio
import socket
import time
from collections import Counter

import pytest
from websockets.asyncio.client import ClientConnection

from deployments.stream import messages
from deployments.stream.messages import Ack, Dropped, Frame, Pong, Splats
from tests.serve.talk import PICTURE, connect, frame, hear
from tests.server import Server

IDLE, ACTIVE = 500, 16
HALF_OPEN_LIMIT_S = 60.0


async def stream(client: ClientConnection, frames: int, period_s: float) -> Counter[str]:
    """Send at a camera's pace whatever is answered; returns the answers by kind, one for every frame."""
    answers: Counter[str] = Counter()

    async def send() -> None:
        for seq in range(frames):
            await client.send(messages.encode(Frame(seq, [PICTURE])))
            await asyncio.sleep(period_s)

    async def listen() -> None:
        while sum(answers.values()) < frames:
            match await hear(client):
                case Splats(seq=seq):
                    answers["shown"] += 1
                    await client.send(messages.encode(Ack(seq)))
                case Dropped(code=code, count=count):
                    answers[code] += count
                case other:
                    pytest.fail(f"{other}")

    await asyncio.gather(send(), listen())
    return answers


@pytest.mark.cluster
async def test_at_twice_the_capacity_sessions_share_fairly_and_every_frame_is_answered_once() -> None:
    slow = {"engine": {"name": "synthetic", "params": {"splats": 100, "latency_ms": 100.0}}, "batch": {"max_size": 1}}
    # A queue of one: without admission, most frames would be refused for it.
    tight = {"GaussianInference": {"max_queued_requests": 1, "autoscaling_config": None, "num_replicas": 1}}
    server = Server(slow, tight)
    try:
        clients = [await connect(server) for _ in range(6)]
        answers = await asyncio.gather(*(stream(client, frames=50, period_s=0.3) for client in clients))
        shown = [answer["shown"] for answer in answers]
        assert min(shown) >= 5 and max(shown) <= 1.5 * min(shown), shown
        total = sum(answers, Counter())
        assert set(total) <= {"shown", "superseded", "overloaded"}, total
        assert total["overloaded"] < 0.1 * total["superseded"], total
        await asyncio.gather(*(client.close() for client in clients))
    finally:
        server.stop()


async def test_500_idle_and_16_active_sessions_and_a_half_open_one(server: Server) -> None:
    before = server.resident_bytes()
    began_s = time.monotonic()
    half_open = await asyncio.to_thread(_open_and_fall_silent, server)
    idle: list[ClientConnection] = []
    for _ in range(IDLE // 50):
        idle += await asyncio.gather(*(connect(server) for _ in range(50)))
    # Before the frames, which may bring a replica more.
    assert (server.resident_bytes() - before) / IDLE < 400_000
    active = [await connect(server) for _ in range(ACTIVE)]
    answers = await asyncio.gather(*(stream(client, frames=40, period_s=0.2) for client in active))
    shown = [answer["shown"] for answer in answers]
    assert min(shown) >= 5 and max(shown) <= 1.5 * min(shown), shown
    assert server.get("/healthz") == b"ok\n", "pages and probes need room beside the sockets"
    # All of them still there.
    await asyncio.gather(*(client.send(messages.encode(messages.Ping(1.0))) for client in idle))
    assert all(isinstance(answer, Pong) for answer in await asyncio.gather(*map(hear, idle)))
    await asyncio.gather(*(client.close() for client in [*idle, *active]))
    live = await connect(server)
    assert isinstance(await frame(live, 0), Splats)
    await live.close()
    await asyncio.to_thread(_expect_the_end, half_open, began_s + HALF_OPEN_LIMIT_S)


def _open_and_fall_silent(server: Server) -> socket.socket:
    """A WebSocket whose other end then neither reads, pings nor pongs, as a laptop whose lid was closed."""
    peer = socket.create_connection(("127.0.0.1", server.port))
    key = "AAAAAAAAAAAAAAAAAAAAAA=="
    request = f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    peer.sendall(f"{request}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
    assert peer.recv(4096).startswith(b"HTTP/1.1 101")
    return peer


def _expect_the_end(peer: socket.socket, deadline_s: float) -> None:
    with peer:
        try:
            while True:
                peer.settimeout(max(0.1, deadline_s - time.monotonic()))
                if not peer.recv(65536):
                    return
        except ConnectionResetError:
            return
