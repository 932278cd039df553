"""Starting and stopping: all sessions connect, begin together or join later, and are closed whatever happens."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.load.monitor import LoopMonitor
from benchmarks.load.schedule import Schedule
from benchmarks.load.session import Client, LoadSession
from benchmarks.processes import Look, ServerProcesses

LEAD_S = 0.1
"""Between the last session's welcome and the start, so that every session is waiting for it."""
SAMPLE_PERIOD_S = 2.0
"""Between looks at the server; one takes a few milliseconds."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run gave.

    Attributes:
        sessions: All of them, with their frames.
        duration_s: Measured seconds.
        lags_ms: How late this process woke from its sleeps while it measured.
        cpu_fraction: CPU time this process used while it measured, as a fraction of one core.
        server: Looks at the server; empty if it could not be seen.
    """

    sessions: Sequence[LoadSession]
    duration_s: float
    lags_ms: Sequence[float]
    cpu_fraction: float
    server: Sequence[Look] = ()


async def run(
    client: Client,
    schedules: Sequence[Schedule],
    drain_s: float,
    kinds: Sequence[str] = (),
    server: ServerProcesses | None = None,
) -> Outcome:
    """Run one session for each schedule, to the end or until the caller is cancelled.

    Args:
        client: What all sessions have in common.
        schedules: When each sends.
        drain_s: How long to wait for the last answers.
        kinds: The kind of each session; viewers by default.
        server: The server's processes, if they can be seen.

    Raises:
        ClientError: Not one session could be opened.
    """
    begin_s = max(schedule.measure_from_s for schedule in schedules)
    end_s = max(schedule.end_s for schedule in schedules)
    start: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    kinds = kinds or ["viewer"] * len(schedules)
    sessions = [
        LoadSession(index, client, schedule, kind) for index, (schedule, kind) in enumerate(zip(schedules, kinds, strict=True))
    ]
    tasks = [asyncio.ensure_future(session.run(start, drain_s)) for session in sessions]
    looks: list[Look] = []
    try:
        await asyncio.gather(*(session.connected.wait() for session in sessions))
        if all(session.failure for session in sessions):
            assert sessions[0].failure
            raise sessions[0].failure
        start_s = time.monotonic() + LEAD_S
        start.set_result(start_s)
        async with LoopMonitor() as monitor:
            await asyncio.wait(tasks, timeout=start_s + begin_s - time.monotonic(), return_when=asyncio.ALL_COMPLETED)
            monitor.reset()
            if server:
                tasks.append(asyncio.ensure_future(_watch(server, start_s, start_s + end_s, looks)))
            await asyncio.wait(tasks, timeout=start_s + end_s - time.monotonic(), return_when=asyncio.ALL_COMPLETED)
            lags_ms, cpu_fraction = list(monitor.lags_ms), monitor.cpu_fraction
        await asyncio.gather(*tasks)
        return Outcome(sessions, end_s - begin_s, lags_ms, cpu_fraction, looks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _watch(server: ServerProcesses, start_s: float, until_s: float, looks: list[Look]) -> None:
    while True:
        looks.append(await server.look(start_s))
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            return
        await asyncio.sleep(min(SAMPLE_PERIOD_S, left_s))
