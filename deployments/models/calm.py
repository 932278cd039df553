"""What stands still in the picture holds still in depth: a network's own flicker, and a camera's noise, stay out of the splats.

The session's memory is a coarse map of inverse depth and of the picture's colours. Where a cell's colour stays what it was and its
depth nearly so, the frame's depth is drawn towards the memory's, by a smooth factor; where something moves, nothing is: it is never
smeared. Cells across an edge take the factor of their neighbours, as their mean moves with the edge.

By seconds, not by frames: the memory fades with the time since the last frame. It has about 10 kB and rides with the request.
"""

import math
import struct
import zlib
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from deployments.models.alignment import Reference, align
from deployments.stream.frames import FrameRequest

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
_CUT_LEVELS = 20.0
_EDGE = 0.05
"""Deviation within a cell, as a fraction of its mean, above which it lies across an edge."""

_HEADER = struct.Struct("<2sd2H")  # magic, when, bytes of the reference and of the rig
_MAGIC = b"c1"


@dataclass(frozen=True, slots=True)
class Memory:
    """What a session's frames leave behind for the next one.

    Attributes:
        at_s: When the last frame arrived, by the session's clock; 0: nobody knows.
        reference: Of :mod:`deployments.models.alignment`, as bytes.
        inverse: Coarse inverse depth as it was shown; 0 where there was none. float32 ``GRID``; None: nothing is held still yet.
        colors: Coarse colours. float32 [*``GRID``, 3].
        rig: Of :mod:`deployments.models.rig`, as bytes.
    """

    at_s: float = 0.0
    reference: bytes = b""
    inverse: F32 | None = None
    colors: F32 | None = None
    rig: bytes = b""

    def to_bytes(self) -> bytes:
        """About 10 kB. Colours are whole eighths of a level, as more precision is noise."""
        head = _HEADER.pack(_MAGIC, self.at_s, len(self.reference), len(self.rig)) + self.reference + self.rig
        if self.inverse is None or self.colors is None:
            return head
        levels = np.rint(self.colors * 8).astype("<u2")
        return head + zlib.compress(self.inverse.astype("<f4").tobytes() + levels.tobytes(), 1)

    @staticmethod
    def from_bytes(state: bytes) -> "Memory":
        """The memory; an empty one for bytes that are none (a new session, another engine's state)."""
        if len(state) < _HEADER.size or not state.startswith(_MAGIC):
            return Memory()
        _, at_s, *sizes = _HEADER.unpack_from(state)
        rig_at = _HEADER.size + sizes[0]
        rest_at = rig_at + sizes[1]
        if not math.isfinite(at_s) or len(state) < rest_at:
            return Memory()
        reference, rig, rest = state[_HEADER.size : rig_at], state[rig_at:rest_at], state[rest_at:]
        cells = GRID[0] * GRID[1]
        unpack = zlib.decompressobj()
        try:
            planes = unpack.decompress(rest, 10 * cells + 1)
        except zlib.error:
            planes = b""
        if len(planes) != 10 * cells or not unpack.eof:
            return Memory(at_s, reference, rig=rig)
        inverse = np.frombuffer(planes, "<f4", cells).reshape(GRID)
        colors = np.frombuffer(planes, "<u2", 3 * cells, 4 * cells).reshape(*GRID, 3) / np.float32(8)
        return Memory(at_s, reference, np.where(np.isfinite(inverse), inverse, np.float32(0)), colors.astype(np.float32), rig)

    def elapsed_s(self, now_s: float) -> float:
        """Seconds since the last frame, above 0 and at most two."""
        known = self.at_s > 0 and now_s > self.at_s
        return min(now_s - self.at_s, _LONGEST_S) if known else MISSING_S


def coarse_colors(picture: U8) -> F32:
    """Mean colours of the cells. uint8 [H, W, 3] → float32 [*``GRID``, 3]."""
    return np.asarray(cv2.resize(picture, (GRID[1], GRID[0]), interpolation=cv2.INTER_AREA), np.float32)


def is_cut(memory: Memory, colors: F32) -> bool:
    """Whether most of the picture is another, beyond a change of exposure: the scene is a new one, however alike its depth."""
    return memory.colors is not None and float(np.mean(_change(memory.colors, colors) > _CUT_LEVELS)) > 0.5


def _change(before: F32, colors: F32) -> F32:
    """Of each cell's colour, levels; what moves all cells alike is exposure. float32 ``GRID``."""
    change = colors - before
    return np.asarray(np.abs(change - np.median(change, axis=(0, 1))).max(axis=-1), np.float32)


def hold_still(memory: Memory, inverse: F32, colors: F32, elapsed_s: float, strength: float) -> tuple[F32, F32, F32]:
    """A frame's depth, drawn towards the memory's where the picture did not move.

    Args:
        memory: Of the frames before.
        inverse: 1/z; 0 where there is no surface. float32 [H, W].
        colors: Of :func:`coarse_colors`. float32 [*``GRID``, 3].
        elapsed_s: Since the frame before, seconds.
        strength: 0: the frame stays as it is; 1: fully.

    Returns:
        The frame's inverse depth, fresh unless nothing changed; and the new memory's ``inverse`` and ``colors``.
    """
    size = GRID[1], GRID[0]
    mean = cv2.resize(inverse, size, interpolation=cv2.INTER_AREA)
    if memory.inverse is None or memory.colors is None or strength <= 0:
        return inverse, mean, colors
    spread = cv2.resize(inverse * inverse, size, interpolation=cv2.INTER_AREA) - mean * mean
    smooth = (spread <= (_EDGE * mean) ** 2) & (mean > 0) & (memory.inverse > 0)
    off = np.where(smooth, np.log(np.where(smooth, memory.inverse, 1) / np.where(smooth, mean, 1)), 0)
    change = _change(memory.colors, colors)
    # No cell is still whose neighbour moved: what moves blurs beyond its outline.
    still = cv2.erode(np.clip(2 - change / _SAME_LEVELS, 0, 1).astype(np.float32), np.ones((3, 3), np.uint8))
    weight = still * np.clip(2 - np.abs(off) / _SAME_DEPTH, 0, 1).astype(np.float32) * smooth
    # Cells across an edge follow their neighbours on the same terms.
    known = cv2.blur(weight, (3, 3))
    around = cv2.blur((weight * off).astype(np.float32), (3, 3)) / np.maximum(known, np.float32(1e-3))
    drawn = np.where(smooth, weight * off, np.minimum(still, np.clip(known * 3, 0, 1)) * around)
    kept = np.float32(strength * math.exp(-elapsed_s / _FADE_S))
    factor = np.exp(kept * drawn).astype(np.float32)
    colors = colors + (kept * still)[..., None] * (memory.colors - colors)
    held = inverse * cv2.resize(factor, (inverse.shape[1], inverse.shape[0]), interpolation=cv2.INTER_LINEAR)
    return held, mean * factor, np.asarray(colors, np.float32)


class Calmed:
    """A session's scale and what of it holds still: one frame of one session.

    Args:
        request: The frame's.
        picture: Its first view. uint8 [H, W, 3].
        calm: Whether the engine holds anything still at all; how much, the client says.

    Attributes:
        factor: For all lengths of the frame.
    """

    def __init__(self, request: FrameRequest, picture: U8, calm: bool) -> None:
        self.factor = 1.0
        self._held = False
        self._before = request.state
        self._memory = Memory.from_bytes(request.state)
        self._strength = request.options.calm if calm else 0.0
        self._elapsed_s = self._memory.elapsed_s(request.arrived_s)
        self._colors = coarse_colors(picture)
        if is_cut(self._memory, self._colors):
            self._memory = Memory()
        self._memory = replace(self._memory, at_s=request.arrived_s)

    @property
    def state(self) -> bytes:
        """The session's state after the frame."""
        if self._strength <= 0:
            return self._before
        # Without depth to hold, as of Gaussians, colours still tell a cut.
        nothing = np.zeros(GRID, np.float32)
        seen = self._memory if self._held else replace(self._memory, inverse=nothing, colors=self._colors)
        return seen.to_bytes()

    def remember(self, *, rig: bytes) -> None:
        """Keep the rig for the next frame."""
        self._memory = replace(self._memory, rig=rig)

    def align(self, log_depth: F32) -> float:
        """The factor for all lengths of the frame."""
        if self._strength > 0:
            before = Reference.from_bytes(self._memory.reference)
            self.factor, reference = align(before, log_depth, self._elapsed_s)
            self._memory = replace(self._memory, reference=reference.to_bytes() if reference else b"")
        return self.factor

    def hold_still(self, inverse: F32, lens: float = 1.0) -> F32:
        """The frame's inverse depth, calmed where it is of one view.

        Args:
            inverse: 1/z. float32 [V, H, W].
            lens: What depth is in proportion to: another focal length is no flicker to hold still.
        """
        if self._strength <= 0 or len(inverse) > 1:
            return inverse
        scaled = inverse[0] * np.float32(lens)
        held, coarse, colors = hold_still(self._memory, scaled, self._colors, self._elapsed_s, self._strength)
        self._memory, self._held = replace(self._memory, inverse=coarse, colors=colors), True
        return held[None] / np.float32(lens)
