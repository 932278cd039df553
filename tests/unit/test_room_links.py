"""A room's link to the others ends without a trace, whatever the call to the relay makes of that."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from deployments.http.admitted import AdmittedPipeline
from deployments.http.room_links import RoomLinks
from deployments.stream.admission import Admission, AdmissionLimits
from deployments.stream.messages import Leave
from deployments.stream.room_limits import RoomLimits
from deployments.stream.room_news import Attendance, RoomNews
from deployments.stream.rooms import Rooms
from tests.stub_server import StubPipeline
from tests.unit.test_cast import InProcess
from tests.unit.test_rooms import Client


class CalledRelay(InProcess):
    """As a Serve handle: whoever waits for news of a call that is ended is told so by an error."""

    def __init__(self, even_if_cancelled: bool) -> None:
        super().__init__()
        self.even_if_cancelled = even_if_cancelled
        self.asked, self.ended = asyncio.Event(), asyncio.Event()

    async def subscribe(self, room: str, replica: str, attendance: Attendance) -> AsyncIterator[RoomNews]:
        self.asked.set()
        try:
            await self.ended.wait()
        except asyncio.CancelledError:
            if not self.even_if_cancelled:
                raise
        raise ConnectionError("the call was cancelled")
        yield RoomNews()

    async def end(self, subscription: Any) -> None:
        self.ended.set()


@pytest.mark.parametrize("even_if_cancelled", [False, True])
async def test_nothing_is_left_of_a_link_whose_room_has_ended(even_if_cancelled: bool) -> None:
    troubles: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, trouble: troubles.append(trouble))
    rooms = Rooms(RoomLimits(), 0.0)
    relay = CalledRelay(even_if_cancelled)
    links = RoomLinks(rooms, AdmittedPipeline(StubPipeline(), Admission(AdmissionLimits()), 1), relay, "r0")  # type: ignore[arg-type]
    client = Client(rooms)
    client.join("studio")
    await asyncio.wait_for(relay.asked.wait(), 10)
    client.say(Leave())
    await asyncio.wait_for(relay.ended.wait(), 10)
    while asyncio.all_tasks() - {asyncio.current_task(), links._ticking}:
        await asyncio.sleep(0)
    gc.collect()
    assert troubles == []
