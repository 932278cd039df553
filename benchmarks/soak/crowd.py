"""A crowd that comes and goes: so many places, each taken by one session after the other, of a kind drawn at random."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping

from benchmarks.load.kinds import KINDS
from benchmarks.load.schedule import Schedule
from benchmarks.load.session import Client, LoadSession

SHARES: Mapping[str, int] = {
    "viewer": 5,
    "points": 1,
    "slow": 1,
    "deaf": 1,
    "original": 1,
    "broken": 1,
    "vanishing": 2,
    "idle": 2,
}
"""How often each kind comes."""
DRAIN_S = 2.0
PAUSE_S = 1.0
"""Before a place that the server refused is tried again."""


class Crowd:
    """See the module's docstring.

    Args:
        client: What all sessions have in common.
        places: Sessions at a time.
        fps: Frames a second from each that sends.
        stay_s: Shortest and longest session.
        seed: Decides who comes and for how long.

    Attributes:
        came: Sessions so far, by kind.
        failures: Why sessions ended that should not have, with counts.
    """

    def __init__(self, client: Client, places: int, fps: float, stay_s: tuple[float, float], seed: int) -> None:
        self.came: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self._client, self._places, self._fps, self._stay_s = client, places, fps, stay_s
        self._random = random.Random(seed)
        self._present: set[LoadSession] = set()
        self._half_open: set[asyncio.Task[None]] = set()
        self._frames: Counter[str] = Counter()

    @property
    def open_sessions(self) -> int:
        """Sessions now, including those that vanished and are still half-open."""
        return len(self._present)

    @property
    def frames(self) -> Counter[str]:
        """Frames so far, by what became of them; those on the way are unanswered."""
        return self._frames + sum((_outcomes(session) for session in self._present), Counter[str]())

    async def stay(self, seconds: float) -> None:
        """Come and go for so long, then leave properly."""
        until_s = time.monotonic() + seconds
        try:
            await asyncio.gather(*(self._take_turns(until_s) for _ in range(self._places)))
            await asyncio.gather(*self._half_open)
        finally:
            for each in self._half_open:
                each.cancel()
            await asyncio.gather(*self._half_open, return_exceptions=True)

    async def _take_turns(self, until_s: float) -> None:
        # Not in step: the first ones leave at different times.
        while (left_s := until_s - time.monotonic()) > 0:
            # One that vanishes late would still be half-open when the run is over.
            late = left_s < self._client.silence_s + self._stay_s[1]
            shares = {kind: share for kind, share in SHARES.items() if not (late and KINDS[kind].link == "vanishes")}
            (kind,) = self._random.choices(list(shares), list(shares.values()))
            seconds = min(left_s, self._random.uniform(*self._stay_s))
            if KINDS[kind].link != "vanishes":
                await self._be(kind, seconds)
                continue
            # Like a browser that lost its network, it comes back at once, while the server still has the old connection.
            half_open = asyncio.ensure_future(self._be(kind, seconds))
            self._half_open.add(half_open)
            half_open.add_done_callback(self._half_open.discard)
            await asyncio.sleep(seconds)

    async def _be(self, kind: str, seconds: float) -> None:
        schedule = Schedule(self._fps, self._random.uniform(0.0, 1.0 / self._fps), 0.0, seconds)
        session = LoadSession(self.came.total(), self._client, schedule, kind)
        self.came[kind] += 1
        self._present.add(session)
        start: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        running = asyncio.ensure_future(session.run(start, DRAIN_S))
        try:
            await session.connected.wait()
            start.set_result(time.monotonic())
            await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            self._present.discard(session)
            self._frames += _outcomes(session)
        if session.failure and KINDS[kind].link != "stops":
            self.failures[f"{kind}: {session.failure}"] += 1
            await asyncio.sleep(PAUSE_S)


def _outcomes(session: LoadSession) -> Counter[str]:
    return Counter(f"{frame.outcome} {frame.reason}".strip() for frame in session.frames)
