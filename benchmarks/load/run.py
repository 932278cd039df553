"""Starting and stopping: all sessions connect, begin together, and are closed whatever happens."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.load.monitor import LoopMonitor
from benchmarks.load.schedule import Schedule
from benchmarks.load.session import Client, LoadSession

LEAD_S = 0.1
"""Between the last session's welcome and the start, so that every session is waiting for it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run gave.

    Attributes:
        sessions: With their frames.
        duration_s: Measured seconds.
        lags_ms: How late this process woke from its sleeps while it measured.
        cpu_fraction: CPU time it used while it measured, as a fraction of one core.
    """

    sessions: Sequence[LoadSession]
    duration_s: float
    lags_ms: Sequence[float]
    cpu_fraction: float


async def run(client: Client, schedules: Sequence[Schedule], drain_s: float) -> Outcome:
    """Run one session for each schedule, to the end or until the caller is cancelled.

    Args:
        client: What every session is.
        schedules: When each sends.
        drain_s: How long to wait for the last answers.

    Raises:
        ClientError: Not one session could be opened.
    """
    begin_s = max(schedule.measure_from_s for schedule in schedules)
    end_s = max(schedule.end_s for schedule in schedules)
    start: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    sessions = [LoadSession(index, client, schedule) for index, schedule in enumerate(schedules)]
    tasks = [asyncio.ensure_future(session.run(start, drain_s)) for session in sessions]
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
            await asyncio.wait(tasks, timeout=start_s + end_s - time.monotonic(), return_when=asyncio.ALL_COMPLETED)
            lags_ms, cpu_fraction = list(monitor.lags_ms), monitor.cpu_fraction
        await asyncio.gather(*tasks)
        return Outcome(sessions, end_s - begin_s, lags_ms, cpu_fraction)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
