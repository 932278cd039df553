"""What is asked of both modes: the time of one reply, the rate of many sessions, and the way back after a death."""

import asyncio
import contextlib
import statistics
import time
from collections.abc import Sequence

import numpy as np
import psutil

from benchmarks.load.run import run
from benchmarks.load.schedule import plan
from benchmarks.load.session import Client
from benchmarks.proxy.modes import cpu_seconds, parts, splats_of
from benchmarks.server import LocalServer
from deployments.client import DEFAULT_CODECS, ClientError, Stream, connect
from deployments.stream.messages import Splats

RECOVERY_TIMEOUT_S = 120.0
RETRY_S = 0.25


async def replies(server: LocalServer, jpeg: bytes, reply_mb: float, frames: int) -> list[dict[str, float]]:
    """One session, one frame at a time.

    Returns:
        For each frame ``age_ms``, from sending to having all of the reply, and ``way_ms``, that without what the graph took:
        what proxy, ingress and sockets cost.
    """
    found = []
    async with connect(server.ws_url, options={"max_splats": splats_of(reply_mb)}, offer_deflate=True) as stream:
        if stream.extensions:
            raise ClientError("extensions", f"the server negotiated {stream.extensions}: nothing here would compare")
        incoming = stream.__aiter__()
        for index in range(-2, frames):
            began_s = time.perf_counter()
            await stream.send_frame(jpeg)
            reply = await incoming.__anext__()
            age_ms = (time.perf_counter() - began_s) * 1e3
            if not isinstance(reply, Splats):
                raise ClientError("no_splats", f"the server answered {reply!r:.200}")
            if index >= 0:  # The first two fill caches and grow socket buffers.
                found.append({"age_ms": age_ms, "way_ms": age_ms - reply.timings_ms["total"], "bytes": float(len(reply.data))})
    return found


async def rate(server: LocalServer, jpeg: bytes, reply_mb: float, sessions: int, duration_s: float) -> dict[str, float]:
    """Closed loop: every session asks again when it has its reply.

    Returns:
        ``fps`` and ``mb_s`` of all sessions, ``age_p50_ms``, and CPU milliseconds a frame of ``proxy`` and ``ingress``.
    """
    client = Client(server.ws_url, [jpeg], DEFAULT_CODECS, {"max_splats": splats_of(reply_mb)})
    before, began_s = cpu_seconds(server), time.monotonic()
    outcome = await run(client, plan(sessions, 1.0, 0.0, duration_s, closed_loop=True), drain_s=5.0)
    after, took_s = cpu_seconds(server), time.monotonic() - began_s
    frames = [frame for session in outcome.sessions for frame in session.frames if frame.outcome == "delivered"]
    if any(session.failure for session in outcome.sessions) or not frames:
        raise ClientError("failed", f"sessions failed: {[str(s.failure) for s in outcome.sessions if s.failure]}")
    ages_ms = [(frame.answered_s - frame.due_s) * 1e3 for frame in frames if frame.answered_s is not None]
    return {
        "fps": len(frames) / took_s,
        "mb_s": sum(frame.reply_bytes for frame in frames) / took_s / 1e6,
        "age_p50_ms": statistics.median(ages_ms),
        "client_cpu": outcome.cpu_fraction,
        **{f"{part}_cpu_ms": (after[part] - before[part]) * 1e3 / len(frames) for part in after},
    }


async def recovery(server: LocalServer, jpeg: bytes, victim: str) -> dict[str, float]:
    """Kill what is on the way while a session streams; come back as the viewer does.

    Args:
        server: Its ``victim`` dies.
        jpeg: A picture.
        victim: ``proxy`` or ``ingress``.

    Returns:
        ``noticed_s``, from the kill to the session's end, and ``back_s``, from the kill to the next splats; NaN if they did
        not come within two minutes.
    """
    async with connect(server.ws_url, options={"max_splats": 1000}) as stream:
        await _one(stream, jpeg)
        for process in parts(server)[victim]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        killed_s = time.monotonic()
        try:
            while time.monotonic() - killed_s < RECOVERY_TIMEOUT_S:
                await asyncio.wait_for(_one(stream, jpeg), RECOVERY_TIMEOUT_S)
                await asyncio.sleep(RETRY_S)
        except (ClientError, StopAsyncIteration, asyncio.TimeoutError):
            pass
        noticed_s = time.monotonic() - killed_s
    while time.monotonic() - killed_s < RECOVERY_TIMEOUT_S:
        try:
            async with connect(server.ws_url, options={"max_splats": 1000}, open_timeout_s=5.0) as stream:
                await asyncio.wait_for(_one(stream, jpeg), 10.0)
                return {"noticed_s": noticed_s, "back_s": time.monotonic() - killed_s}
        except (ClientError, StopAsyncIteration, asyncio.TimeoutError):
            await asyncio.sleep(RETRY_S)
    return {"noticed_s": noticed_s, "back_s": float("nan")}


async def _one(stream: Stream, jpeg: bytes) -> None:
    await stream.send_frame(jpeg)
    async for reply in stream:
        if isinstance(reply, Splats):
            return
    raise ClientError("closed", "the server ended the session")


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """``p50`` and ``p95``."""
    p50, p95 = np.percentile(np.asarray(values), (50, 95))
    return {"p50": round(float(p50), 2), "p95": round(float(p95), 2)}
