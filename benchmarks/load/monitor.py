"""Whether this process kept up: a load generator that is late measures itself."""

import asyncio
import time

PERIOD_S = 0.01


class LoopMonitor:
    """Wakes every 10 ms and notes how late that was.

    Attributes:
        lags_ms: Lateness of each wake-up since the last :meth:`reset`.
    """

    def __init__(self) -> None:
        self.lags_ms: list[float] = []
        self._cpu_s = self._wall_s = 0.0
        self._task: asyncio.Task[None] | None = None

    def reset(self) -> None:
        """Forget everything so far: the measured part begins."""
        self.lags_ms.clear()
        self._cpu_s, self._wall_s = time.process_time(), time.monotonic()

    @property
    def cpu_fraction(self) -> float:
        """CPU time this process has used since the last reset, as a fraction of one core."""
        return (time.process_time() - self._cpu_s) / max(time.monotonic() - self._wall_s, 1e-9)

    async def __aenter__(self) -> "LoopMonitor":
        self.reset()
        self._task = asyncio.ensure_future(self._watch())
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._task
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            due_s = time.monotonic() + PERIOD_S
            await asyncio.sleep(PERIOD_S)
            self.lags_ms.append((time.monotonic() - due_s) * 1e3)
