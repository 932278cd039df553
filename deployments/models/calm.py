"""What does not move in the picture holds still in depth, too: a network's own flicker, and a camera's noise, stay out of the splats.

The session's memory is a coarse map of inverse depth and of the picture's colours. Where a cell's colour stays what it was and its
depth nearly so, the frame's depth is drawn towards the memory's, by a smooth factor; where something moves, nothing is: it is never
smeared. Cells across an edge take the factor of their neighbours, as their mean moves with the edge.

By seconds, not by frames: the memory fades with the time since the last frame. It has about 10 kB and rides with the request.
"""

import math
import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

GRID = (48, 64)
"""Cells down and across, whatever the picture's shape."""

MISSING_S = 0.1
"""The time between two frames, if nobody knows it."""
_LONGEST_S = 2.0
"""After a longer pause, the scene may be another."""

_FADE_S = 0.7
"""Of the memory: at ten frames a second a frame counts by a seventh, and noise falls to a quarter."""
_SAME_LEVELS, _SAME_DEPTH = 2.5, 0.04
"""Colour levels and fraction of depth within which a cell stayed what it was; at twice as much it did not."""
_EDGE = 0.05
"""Deviation within a cell, as a fraction of its mean, above which it lies across an edge."""

_HEADER = struct.Struct("<2sdH")  # magic, when, bytes of the reference
_MAGIC = b"c1"


@dataclass(frozen=True, slots=True)
class Memory:
    """What a session's frames leave behind for the next one.

    Attributes:
        at_s: When the last frame arrived, by the session's clock; 0: nobody knows.
        reference: Of :mod:`deployments.models.alignment`, as bytes.
        inverse: Coarse inverse depth as it was shown; 0 where there was none. float32 ``GRID``; None: nothing is held still yet.
        colors: Coarse colours. float32 [*``GRID``, 3].
    """

    at_s: float = 0.0
    reference: bytes = b""
    inverse: F32 | None = None
    colors: F32 | None = None

    def to_bytes(self) -> bytes:
        """About 10 kB. Colours are whole eighths of a level, as more precision is noise."""
        head = _HEADER.pack(_MAGIC, self.at_s, len(self.reference)) + self.reference
        if self.inverse is None or self.colors is None:
            return head
        levels = np.rint(self.colors * 8).astype("<u2")
        return head + zlib.compress(self.inverse.astype("<f4").tobytes() + levels.tobytes(), 1)

    @staticmethod
    def from_bytes(state: bytes) -> "Memory":
        """The memory; an empty one for bytes that are none (a new session, another engine's state)."""
        if len(state) < _HEADER.size or not state.startswith(_MAGIC):
            return Memory()
        _, at_s, size = _HEADER.unpack_from(state)
        reference, rest = state[_HEADER.size : _HEADER.size + size], state[_HEADER.size + size :]
        if not math.isfinite(at_s) or len(reference) != size:
            return Memory()
        cells = GRID[0] * GRID[1]
        unpack = zlib.decompressobj()
        try:
            planes = unpack.decompress(rest, 10 * cells + 1)
        except zlib.error:
            planes = b""
        if len(planes) != 10 * cells or not unpack.eof:
            return Memory(at_s, reference)
        inverse = np.frombuffer(planes, "<f4", cells).reshape(GRID)
        colors = np.frombuffer(planes, "<u2", 3 * cells, 4 * cells).reshape(*GRID, 3) / np.float32(8)
        return Memory(at_s, reference, np.where(np.isfinite(inverse), inverse, np.float32(0)), colors.astype(np.float32))

    def elapsed_s(self, now_s: float) -> float:
        """Seconds since the last frame, above 0 and at most two."""
        known = self.at_s > 0 and now_s > self.at_s
        return min(now_s - self.at_s, _LONGEST_S) if known else MISSING_S


def hold_still(memory: Memory, inverse: F32, picture: U8, elapsed_s: float, strength: float) -> tuple[F32, F32, F32]:
    """A frame's depth, drawn towards the memory's where the picture did not move.

    Args:
        memory: Of the frames before.
        inverse: 1/z; 0 where there is no surface. float32 [H, W].
        picture: sRGB of the same pixels. uint8 [H, W, 3].
        elapsed_s: Since the frame before, seconds.
        strength: 0: the frame stays as it is; 1: fully.

    Returns:
        The frame's inverse depth, fresh unless nothing changed; and the new memory's ``inverse`` and ``colors``.
    """
    size = GRID[1], GRID[0]
    mean = cv2.resize(inverse, size, interpolation=cv2.INTER_AREA)
    colors = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    if memory.inverse is None or memory.colors is None or strength <= 0:
        return inverse, mean, colors
    spread = cv2.resize(inverse * inverse, size, interpolation=cv2.INTER_AREA) - mean * mean
    smooth = (spread <= (_EDGE * mean) ** 2) & (mean > 0) & (memory.inverse > 0)
    off = np.where(smooth, np.log(np.where(smooth, memory.inverse, 1) / np.where(smooth, mean, 1)), 0)
    # A change of exposure moves all cells alike.
    change = colors - memory.colors
    change = np.abs(change - np.median(change, axis=(0, 1))).max(axis=-1)
    # Nor is a cell still whose neighbour moved: what moves blurs beyond its outline.
    still = cv2.erode(np.clip(2 - change / _SAME_LEVELS, 0, 1).astype(np.float32), np.ones((3, 3), np.uint8))
    weight = still * np.clip(2 - np.abs(off) / _SAME_DEPTH, 0, 1).astype(np.float32) * smooth
    # Cells across an edge follow their neighbours on the same terms.
    known = cv2.blur(weight, (3, 3))
    around = cv2.blur((weight * off).astype(np.float32), (3, 3)) / np.maximum(known, np.float32(1e-3))
    drawn = np.where(smooth, weight * off, np.minimum(still, np.clip(known * 3, 0, 1)) * around)
    kept = np.float32(strength * math.exp(-elapsed_s / _FADE_S))
    factor = np.exp(kept * drawn).astype(np.float32)
    colors += (kept * still)[..., None] * (memory.colors - colors)
    held = inverse * cv2.resize(factor, (inverse.shape[1], inverse.shape[0]), interpolation=cv2.INTER_LINEAR)
    return held, mean * factor, colors
