"""Clients that leave at bad moments, by the dozen, and what the server's logs make of it."""

import asyncio
import json
from collections import Counter
from pathlib import Path

from deployments.stream import messages
from deployments.stream.messages import Frame
from tests.serve.talk import PICTURE, connect, vanish
from tests.server import Server

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
UPLOAD = b"POST /api/splat HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100000\r\n\r\n" + PICTURE[:1000]
EACH = 10
END_TIMEOUT_S = 30.0


async def leave_in_every_way(server: Server) -> list[str]:
    """Cut streams, handshakes and uploads at several moments.

    Returns:
        Every new line of the server's logs with a traceback or an error in it, once all of them have ended.
    """
    logs = Path(server.argument("--session-dir=")) / "logs"
    before = _errors(logs)
    for moment in range(EACH):
        stream = await connect(server, codec="ply")
        for seq in range(4):
            await stream.send(messages.encode(Frame(seq, [PICTURE])))
        await asyncio.sleep(0.02 * moment)
        await vanish(stream)
        await _send_and_abort(server, UPGRADE, 0.001 * moment)
        await _send_and_abort(server, UPLOAD, 0.01 * moment)
    await asyncio.wait_for(_all_ended(server), END_TIMEOUT_S)
    return list((_errors(logs) - before).elements())


async def _all_ended(server: Server) -> None:
    # Several ingresses share the questions: all of them have ended when the answers in a row are more than they are.
    quiet = 0
    while quiet < 8:
        report = json.loads(await asyncio.to_thread(server.get, "/api/status"))
        quiet = 0 if report["sessions"]["open"] else quiet + 1
        await asyncio.sleep(0.1)


async def _send_and_abort(server: Server, data: bytes, after_s: float) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(data)
    await writer.drain()
    await asyncio.sleep(after_s)
    writer.transport.abort()


def _errors(logs: Path) -> Counter[str]:
    words = ("Traceback", "GeneratorExit", "never retrieved", "ERROR")
    files = [*(logs / "serve").glob("*.log"), *logs.glob("worker-*.err")]
    lines = (f"{path.name}: {line}" for path in files for line in path.read_text(errors="replace").splitlines())
    return Counter(line for line in lines if any(word in line for word in words))
