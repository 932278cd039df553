"""The pipeline behind admission: every frame in it has a place that :class:`~deployments.stream.admission.Admission` gave."""

import asyncio
import time

from deployments.pipeline import DecodedCapture, Overloaded, Pipeline
from deployments.stream.admission import Admission
from deployments.stream.errors import FrameError
from deployments.stream.frames import Capture, PackedFrame
from deployments.stream.messages import Engine
from deployments.stream.room_news import Rendition


class AdmittedPipeline:
    """A :class:`~deployments.pipeline.Pipeline` that gives a frame's place back when the frame leaves it.

    Sessions ask for places themselves, as they may change their mind about the frame while they wait; they then call :meth:`run`.

    Attributes:
        admission: Gives the places.
        last_frame_s: When a frame last came through, on the monotonic clock.
    """

    def __init__(self, pipeline: Pipeline, admission: Admission, max_batch: int) -> None:
        """Put admission in front of a pipeline.

        Args:
            pipeline: The graph.
            admission: Gives the places.
            max_batch: Frames that a batch of the model takes.
        """
        self.admission = admission
        self.last_frame_s = float("-inf")
        self._pipeline = pipeline
        self._max_batch = max_batch

    async def __call__(self, capture: Capture) -> PackedFrame | FrameError:
        """Wait for a turn, as one session among the others, then run."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def start() -> bool:
            if turn.done():
                return False
            turn.set_result(None)
            return True

        self.admission.ask(start, 0)
        try:
            await turn
        except asyncio.CancelledError:
            # Cancelled between the grant and here: the place was ours and must go back.
            if turn.done() and not turn.cancelled():
                self.admission.finished(None)
            raise
        finally:
            self.admission.withdraw(start)
        return await self.run(capture)

    async def run(self, capture: Capture) -> PackedFrame | FrameError:
        """Run a capture that has a place.

        Raises:
            Overloaded: A queue of the graph was full.
        """
        began_s = time.monotonic()
        outcome: PackedFrame | FrameError | None = None
        refused = False
        try:
            capture.request.pressure = self.admission.pressure
            outcome = await self._pipeline(capture)
        except Overloaded:
            refused = True
            raise
        finally:
            if isinstance(outcome, PackedFrame):
                self.last_frame_s = time.monotonic()
                worked_s = sum(outcome.request.timings.values()) / 1e3
                self.admission.finished(self.last_frame_s - began_s, worked_s, outcome.request.batch_size / self._max_batch)
            else:
                self.admission.finished(None, refused=refused)
        return outcome

    async def recode(self, packed: PackedFrame, rendition: Rendition) -> PackedFrame | FrameError:
        """A packed frame in another form. Needs no place: a room has one under way for each camera and form.

        Raises:
            Overloaded: A queue of the graph was full.
        """
        return await self._pipeline.recode(packed, rendition)

    async def decode(self, capture: Capture) -> DecodedCapture | FrameError:
        """Run a capture through the first stage alone, which needs no place: whoever asks bounds how often.

        Raises:
            Overloaded: Its queue was full.
        """
        return await self._pipeline.decode(capture)

    async def describe(self) -> Engine:
        """What makes the splats."""
        return await self._pipeline.describe()
