"""One scale over time: a monocular network's scale jumps from frame to frame, and the scene would breathe with it.

Each frame is scaled to the session's running reference, a coarse map of log depth, by the median of their difference: robust
against whatever moves, as long as it is less than half of the picture. The reference follows what the frames show, but not their
scale, except very slowly, so that the network's own scale in the long run is what counts and not that of the first frame.

Another scene does not fit the reference by any scale: the differences spread. One such frame is let through with the last scale
(a hand before the camera); with the second one a new reference begins. That is within a second from two frames a second on.

The reference is 775 bytes and rides with the session: replicas keep nothing.
"""

import math
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REFERENCE_SHAPE = (12, 16)
"""Cells down and across, whatever the picture's shape."""

_HEADER = struct.Struct("<2sBf")  # magic, strange frames in a row, log scale
_MAGIC = b"a1"
_FOLLOW = 0.25  # of a difference in content, each frame
_LET_GO = 0.04  # of the correction: a flicker of 15 % leaves 0.6 %, and the network's own scale is back after 100 frames
_STRANGE_SPREAD = 0.25  # median distance of the cells from the median scale, log; noise and moving people stay below 0.1
_STRANGE_FRAMES = 2
_LARGEST = math.log(3.0)  # no flicker is larger: such a jump is another scene


@dataclass(frozen=True, slots=True)
class Reference:
    """What the session has seen.

    Attributes:
        log_depth: Coarse log depth in the session's scale. float32 ``REFERENCE_SHAPE``.
        log_scale: Log of the factor the last frame was given.
        strange: Frames in a row that did not fit.
    """

    log_depth: NDArray[np.float32]
    log_scale: float = 0.0
    strange: int = 0

    def to_bytes(self) -> bytes:
        """775 bytes. In half precision the slow steps of letting go would round to nothing."""
        return _HEADER.pack(_MAGIC, self.strange, self.log_scale) + self.log_depth.astype("<f4").tobytes()

    @staticmethod
    def from_bytes(state: bytes) -> "Reference | None":
        """The reference, or None for bytes that are none (a new session, another engine's state)."""
        cells = REFERENCE_SHAPE[0] * REFERENCE_SHAPE[1]
        if len(state) != _HEADER.size + 4 * cells or not state.startswith(_MAGIC):
            return None
        _, strange, log_scale = _HEADER.unpack_from(state)
        log_depth = np.frombuffer(state, "<f4", cells, _HEADER.size).reshape(REFERENCE_SHAPE)
        return Reference(log_depth, log_scale, strange) if math.isfinite(log_scale) else None


def align(before: Reference | None, log_depth: NDArray[np.float32]) -> tuple[float, Reference | None]:
    """The factor for one more frame.

    Args:
        before: The reference so far; None at the start.
        log_depth: Coarse log depth of the frame as the network gave it. float32 ``REFERENCE_SHAPE``.

    Returns:
        The factor by which to multiply every length of the frame, and the new reference.
    """
    seen = np.isfinite(log_depth)
    if not seen.any():
        return (1.0, None) if before is None else (math.exp(before.log_scale), before)
    if before is None:
        return 1.0, Reference(_filled(log_depth, seen))
    difference = (before.log_depth - log_depth)[seen]
    shift = float(np.median(difference))
    spread = float(np.median(np.abs(difference - shift)))
    if spread > _STRANGE_SPREAD or abs(shift) > _LARGEST:
        if before.strange + 1 >= _STRANGE_FRAMES:
            return 1.0, Reference(_filled(log_depth, seen))
        return math.exp(before.log_scale), Reference(before.log_depth, before.log_scale, before.strange + 1)
    shift -= _LET_GO * shift
    now = np.where(seen, log_depth + np.float32(shift), before.log_depth)
    followed: NDArray[np.float32] = before.log_depth + np.float32(_FOLLOW) * (now - before.log_depth)
    return math.exp(shift), Reference(followed, shift)


def _filled(log_depth: NDArray[np.float32], seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    filled: NDArray[np.float32] = np.where(seen, log_depth, np.median(log_depth[seen])).astype(np.float32)
    return filled
