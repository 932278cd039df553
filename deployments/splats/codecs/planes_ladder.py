"""How finely the ``planes`` codec codes a frame: a ladder of the depth's step and the JPEGs' qualities, for a stream to go down."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Rung:
    """How finely a frame is coded: one step of inverse depth, as a share of the median, and JPEG's qualities, 1..100."""

    step: float
    colour: int
    front: int
    side: int
    opacity: int
    offset: int

    @property
    def ln_step(self) -> float:
        """Natural logarithm of the step."""
        return math.log(self.step)


LADDER = {
    1 / 1024: Rung(1 / 1024, 95, 90, 85, 50, 88),
    1 / 768: Rung(1 / 512, 92, 78, 70, 20, 75),
    1 / 256: Rung(1 / 400, 85, 62, 45, 15, 50),
    1 / 128: Rung(1 / 256, 52, 36, 18, 10, 18),
    1 / 64: Rung(1 / 128, 35, 20, 12, 10, 12),
}
"""A stream's ``depth_step`` → how its frames are coded. A byte more does as much for the picture in each plane of a rung as in the
others, as far as made-up frames tell (:mod:`benchmarks.native`)."""


def rung_at(depth_step: float) -> Rung:
    """The ladder at a stream's ``depth_step``; between two rungs by its logarithm, beyond the last ones as they are."""
    places = np.log2(list(LADDER))
    found = [
        float(np.interp(math.log2(depth_step), places, [getattr(rung, name) for rung in LADDER.values()]))
        for name in ("ln_step", "colour", "front", "side", "opacity", "offset")
    ]
    return Rung(math.exp(found[0]), *map(round, found[1:]))
