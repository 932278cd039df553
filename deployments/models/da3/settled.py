"""What a session's own past, and what it knows of its cameras, make of a frame's scale and poses."""

import math

import numpy as np
from numpy.typing import NDArray

from deployments.models.alignment import Reference
from deployments.models.calm import F32, U8, Calmed
from deployments.models.da3.known import Known, scale_to
from deployments.models.rig import Rig, steady
from deployments.stream.frames import FrameRequest


class Settled(Calmed):
    """One frame of one session, as :class:`~deployments.models.calm.Calmed`; of several views it holds the cameras still, too.

    Args:
        request: The frame's.
        picture: Its first view. uint8 [H, W, 3].
        known: What is known of its cameras; None: nothing.
        calm: Whether the engine holds anything still at all.
    """

    def __init__(self, request: FrameRequest, picture: U8, known: Known | None, calm: bool) -> None:
        super().__init__(request, picture, calm)
        self._known, self._arrived_s = known.poses if known else None, request.arrived_s

    def settle(self, log_depth: F32, poses: F32) -> tuple[float, F32]:
        """The factor for all lengths, and the poses after it: those that are known, or else those that came, steadied.

        Args:
            log_depth: Coarse log depth of the frame; see :func:`deployments.models.alignment.align`.
            poses: First camera to each. float32 [V, 3, 4].
        """
        true = scale_to(poses, self._known) if self._known is not None else None
        measured = 1.0 if true is None else true
        # Known places give every frame a scale of its own, as true as the network sees them and as restless.
        self.factor = self.align(log_depth + np.float32(math.log(measured))) * measured
        if self._known is not None:
            return self.factor, self._known
        scaled: NDArray[np.float32] = poses * np.array([1, 1, 1, self.factor], np.float32)
        reference = Reference.from_bytes(self._memory.reference)
        if self._strength > 0 and reference is not None and len(poses) > 1:
            # A typical depth, in the session's scale.
            typical = math.exp(float(np.median(reference.log_depth)))
            scaled, rig = steady(Rig.from_bytes(self._memory.rig), scaled, typical, self._arrived_s)
            self.remember(rig=rig.to_bytes() if rig.stands else b"")
        return self.factor, scaled
