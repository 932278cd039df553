"""A room through whatever happens to the server: one camera, several screens, and how long any of them stood still."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from benchmarks.command import BenchmarkError
from deployments import cast
from deployments.stream.messages import Splats

PATIENCE_S = 120.0
"""How long the server may be away."""


async def film(pictures: Sequence[bytes], fps: float) -> AsyncIterator[bytes]:
    """The pictures over and over, at a steady pace; for :func:`deployments.cast.publish`."""
    due_s = time.monotonic()
    for picture in itertools.cycle(pictures):
        yield picture
        due_s += 1 / fps
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))


class Audience:
    """A context: a room's camera films and its screens watch within it. All come back after a lost connection.

    Args:
        url: The server's WebSocket.
        room: Its name.
        pictures: What the camera shows, over and over.
        fps: Of the camera.
        screens: How many watch.

    Attributes:
        seen_s: For each screen when its frames came, seconds of the monotonic clock.
        newest: For each screen the last of them.
    """

    def __init__(self, url: str, room: str, pictures: Sequence[bytes], fps: float, screens: int) -> None:
        self.seen_s: list[list[float]] = [[] for _ in range(screens)]
        self.newest: list[Splats | None] = [None] * screens
        self._url, self._room, self._pictures, self._fps = url, room, pictures, fps
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Audience":
        work = [self._publish(), *(self._watch(screen) for screen in range(len(self.seen_s)))]
        self._tasks = [asyncio.ensure_future(each) for each in work]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _publish(self) -> None:
        pictures = film(self._pictures, self._fps)
        async with aclosing(cast.publish(self._url, self._room, pictures, patience_s=PATIENCE_S)) as answers:
            async for _ in answers:
                pass

    async def _watch(self, screen: int) -> None:
        async with aclosing(cast.watch(self._url, self._room, patience_s=PATIENCE_S)) as frames:
            async for splats in frames:
                self.seen_s[screen].append(time.monotonic())
                self.newest[screen] = splats

    async def all_see(self, after_s: float, frames: int, within_s: float = 30.0) -> None:
        """Wait until every screen has had so many frames since a moment.

        Raises:
            BenchmarkError: Not within that time, or somebody has given up.
        """
        deadline_s = time.monotonic() + within_s
        while min(counts := [sum(at_s > after_s for at_s in seen_s) for seen_s in self.seen_s]) < frames:
            self.check()
            if time.monotonic() > deadline_s:
                raise BenchmarkError(f"expected {frames} frames on each screen within {within_s:g} s, got {counts}")
            await asyncio.sleep(0.02)

    def check(self) -> None:
        """Raises BenchmarkError if the camera or a screen has given up."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                raise BenchmarkError(f"a member of room {self._room} gave up: {task.exception()}")

    def longest_gap_s(self, from_s: float, to_s: float) -> float:
        """The longest that any screen was without a new frame in a time."""
        found = ([from_s, *(at_s for at_s in seen_s if from_s < at_s < to_s), to_s] for seen_s in self.seen_s)
        return max(later - earlier for moments in found for earlier, later in itertools.pairwise(moments))
