"""The pipeline over Serve's handles: what becomes of a frame that nobody waits for any more."""

import asyncio
from typing import Any

import pytest
from ray.serve.exceptions import BackPressureError

from deployments.ops.handles import GraphPipeline
from deployments.pipeline import Overloaded
from deployments.stream.errors import GraphFailed
from deployments.stream.frames import Capture

CAPTURE = Capture((b"picture",))


class Response:
    """What a handle's call returns: it can be awaited, and cancelled."""

    def __init__(self, outcome: Exception | str | None) -> None:
        self.outcome = outcome
        self.cancelled = False

    def __await__(self) -> Any:
        return self._answer().__await__()

    async def _answer(self) -> Any:
        if self.outcome is None:
            await asyncio.Event().wait()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def cancel(self) -> None:
        self.cancelled = True


class Handle:
    """A deployment whose one method answers as the test says; any name of a method will do."""

    def __init__(self, response: Response) -> None:
        self.response = response

    def __getattr__(self, name: str) -> "Handle":
        return self

    def remote(self, *args: Any) -> Response:
        return self.response


def graph_of(outcome: Exception | str | None, timeout_s: float = 60.0) -> tuple[GraphPipeline, list[Response]]:
    responses = [Response(None), Response(None), Response(outcome)]
    decoder, inference, packer = map(Handle, responses)
    return GraphPipeline(decoder, inference, packer, timeout_s), responses  # type: ignore[arg-type]


async def test_a_frame_that_takes_too_long_is_ended_in_every_stage() -> None:
    graph, responses = graph_of(None, timeout_s=0.01)
    assert isinstance(await graph(CAPTURE), GraphFailed)
    assert [response.cancelled for response in responses] == [True, True, True]


async def test_a_frame_whose_client_left_is_ended_in_every_stage() -> None:
    graph, responses = graph_of(None)
    frame = asyncio.ensure_future(graph(CAPTURE))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    frame.cancel()
    with pytest.raises(asyncio.CancelledError):
        await frame
    assert [response.cancelled for response in responses] == [True, True, True]


@pytest.mark.parametrize("lost", [RuntimeError("replica died"), BackPressureError(1, 1)])
async def test_a_frame_that_one_stage_lost_is_ended_in_the_others(lost: Exception) -> None:
    graph, responses = graph_of(lost)
    if isinstance(lost, BackPressureError):
        with pytest.raises(Overloaded):
            await graph(CAPTURE)
    else:
        assert isinstance(await graph(CAPTURE), GraphFailed)
    assert [response.cancelled for response in responses] == [True, True, True]


async def test_a_frame_that_came_through_is_left_alone() -> None:
    graph, responses = graph_of("packed")
    assert await graph(CAPTURE) == "packed"
    assert not any(response.cancelled for response in responses)
