"""What an engine is: the Protocol that every engine in this folder implements."""

from collections.abc import Sequence
from typing import Protocol

from deployments.pipeline import DecodedCapture, Prediction
from deployments.stream.errors import FrameError
from deployments.stream.messages import Engine


class SplatModel(Protocol):
    """A network, or a stand-in, that turns decoded captures into Gaussians.

    A model may also have a method ``check_health()``, which raises if it no longer works; Serve then replaces the replica.
    """

    @property
    def info(self) -> Engine:
        """What the page, ``/api/info`` and every reply say about it."""
        ...

    def warm_up(self) -> None:
        """Run one frame of every usual shape, so that no user's first frame pays for compilation."""
        ...

    def predict(self, captures: Sequence[DecodedCapture]) -> list[Prediction | FrameError]:
        """Gaussians for each capture of a batch, in order; a capture that fails costs only itself.

        Returns a refusal for a bad capture instead of raising. May raise if the model itself is broken: the replica is then
        replaced. A call may begin while an earlier one hangs; a model that can't be entered twice holds a lock.
        """
        ...
