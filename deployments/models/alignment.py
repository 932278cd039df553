"""One scale over time: a monocular network's scale jumps from frame to frame, and the scene would breathe with it.

Each frame is scaled to the session's running reference, a coarse map of log depth, by the median of their difference. That is
robust against anything that moves, as long as it covers less than half the picture. The reference follows what the frames show, and
at once where that is something else, but follows their scale only very slowly, so that the network's long-term scale counts and not
that of the first frame.

A different scene does not fit the reference at any scale: the differences spread. One such frame gets the last scale (a hand in
front of the camera); the second one starts a new reference. The rest goes by seconds, whatever the frame rate.

The reference has 775 bytes and travels with the session: replicas keep nothing.
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
_FOLLOW_S = 0.35  # time constant of a difference in content of less than _FITS
_LET_GO_S = 2.5  # of the correction: at ten frames a second a flicker of 15 % leaves 0.6 %; the network's scale is back after 10 s
_STRANGE_SPREAD = 0.25  # median distance of the cells from the median scale, log; noise and moving people stay below 0.1
_STRANGE_FRAMES = 2
_FITS = 0.06  # distance from the median scale of a cell that did not change, log
_LARGEST = math.log(3.0)  # no flicker is larger: such a jump is another scene


@dataclass(frozen=True, slots=True)
class Reference:
    """What the session has seen.

    Attributes:
        log_depth: Coarse log depth in the session's scale. float32 ``REFERENCE_SHAPE``.
        log_scale: Log of the last frame's factor.
        strange: Frames in a row that did not fit.
    """

    log_depth: NDArray[np.float32]
    log_scale: float = 0.0
    strange: int = 0

    def to_bytes(self) -> bytes:
        """775 bytes. In half precision, the slow steps of ``_LET_GO_S`` would round to nothing."""
        return _HEADER.pack(_MAGIC, self.strange, self.log_scale) + self.log_depth.astype("<f4").tobytes()

    @staticmethod
    def from_bytes(state: bytes) -> "Reference | None":
        """The reference, or None for bytes that are not one (a new session, another engine's state)."""
        cells = REFERENCE_SHAPE[0] * REFERENCE_SHAPE[1]
        if len(state) != _HEADER.size + 4 * cells or not state.startswith(_MAGIC):
            return None
        _, strange, log_scale = _HEADER.unpack_from(state)
        log_depth = np.frombuffer(state, "<f4", cells, _HEADER.size).reshape(REFERENCE_SHAPE)
        return Reference(log_depth, log_scale, strange) if math.isfinite(log_scale) else None


def align(before: Reference | None, log_depth: NDArray[np.float32], elapsed_s: float = 0.1) -> tuple[float, Reference | None]:
    """The factor for the next frame.

    Args:
        before: The reference so far; None at the start.
        log_depth: Coarse log depth of the frame, from the network. float32 ``REFERENCE_SHAPE``.
        elapsed_s: Since the frame before, seconds.

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
    # Somebody who covers a third of the picture pulls the median of all cells by 1 %, and that of those that fit not at all.
    shift = float(np.median(difference[np.abs(difference - shift) <= max(_FITS, spread)]))
    shift *= math.exp(-elapsed_s / _LET_GO_S)
    now = np.where(seen, log_depth + np.float32(shift), before.log_depth)
    # What is something else now counts at once: on its way, it would pull at the scale for as long as it nearly fits.
    change = now - before.log_depth
    step = np.where(np.abs(change) > _FITS, np.float32(1), np.float32(1 - math.exp(-elapsed_s / _FOLLOW_S)))
    followed: NDArray[np.float32] = np.asarray(before.log_depth + step * change, np.float32)
    return math.exp(shift), Reference(followed, shift)


def _filled(log_depth: NDArray[np.float32], seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    filled: NDArray[np.float32] = np.where(seen, log_depth, np.median(log_depth[seen])).astype(np.float32)
    return filled
