"""What an engine is: the Protocol every file in this folder fulfils, and what it says about itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from deployments.pipeline import DecodedCapture, Prediction, SplatKind
from deployments.stream.errors import FrameError


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the page, ``/api/info`` and every reply say about the model.

    Attributes:
        engine: ``relief``, ``synthetic``, ``da3``.
        name: The model's name, such as ``relief`` or ``da3-giant``.
        label: One line a person reads under the picture.
        licence: SPDX identifier of the weights (or of the code where there are none).
        licence_note: One sentence where the licence limits the use, else empty.
        kinds: What it can give, its default first.
        metric: Whether its units are metres.
    """

    engine: str
    name: str
    label: str
    licence: str
    kinds: tuple[SplatKind, ...]
    licence_note: str = ""
    metric: bool = False


class SplatModel(Protocol):
    """A network, or a stand-in, that turns decoded captures into Gaussians."""

    @property
    def info(self) -> ModelInfo:
        """What it is."""
        ...

    def warm_up(self) -> None:
        """Run one frame of every usual shape, so that no user's first frame pays for compilation."""
        ...

    def predict(self, captures: Sequence[DecodedCapture]) -> list[Prediction | FrameError]:
        """Gaussians for each capture of a batch, in order; a capture that fails costs itself only.

        Raises nothing for a bad capture. May raise when the model itself is broken: the replica is then replaced.
        """
        ...
