"""Cameras that stand still: a network sees them elsewhere in every frame, and all that they show would shake against the rest.

Each camera's pose to the first one is averaged over seconds; the more it differs from the average, the faster that follows, as in
the 1€ filter (Casiez et al. 2012), so that a camera in somebody's hand is a few frames behind. What is a difference, the noise
says: how much poses differ from one frame to the next. A pose that is off by more than four times as much is a camera that was
moved, or one odd frame. An odd frame changes nothing; from the second on, the camera is where it is seen, at once, until it stands
still again.

Differences are angles as seen from the cameras, radians: of the turn, and of the shift over the scene's depth.

A rig of V cameras takes 9 + 65 · (V − 1) bytes, and travels with the session: replicas keep nothing.
"""

import math
import struct
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

_HEADER = struct.Struct("<Bd")  # cameras besides the first, seconds
_CAMERA = struct.Struct("<14f2fB")  # turn wxyz and shift, averaged and as last seen; noise; frames averaged; odd frames in a row
_MOST = 63
"""Cameras besides the first. More are not smoothed."""
_SECONDS = 2.0
"""Over which a still camera's pose is averaged."""
_LONGEST_GAP_S = 1.0
"""After a longer one, the average counts as much as after this."""
_ODD = 4.0
"""Times the noise: beyond this, a pose is odd."""
_FIRST_NOISE, _LEAST_NOISE = 0.02, 0.0015
"""Radians. Of a camera that nothing is known of yet; and below this, a tenth of a degree, nobody sees it shake."""
_NOISE_FOLLOWS = 0.1
_MOVING = 2
"""Odd frames in a row that are a camera on its way."""


@dataclass(frozen=True, slots=True)
class _Stand:
    """A camera besides the first.

    Attributes:
        turn: First camera to this one, unit quaternion, wxyz. float64 [4].
        shift: The same, lengths of the session. float64 [3].
        last_turn, last_shift: The same, as last seen.
        noise: What poses are off by from one frame to the next, for no reason; radians.
        frames: In the average, up to as many as it counts.
        odd: Frames in a row that did not fit.
    """

    turn: F64
    shift: F64
    last_turn: F64
    last_shift: F64
    noise: float = _FIRST_NOISE
    frames: float = 1.0
    odd: int = 0


@dataclass(frozen=True, slots=True)
class Rig:
    """Where a session's cameras stand.

    Attributes:
        at_s: When they were last seen, on the session's clock.
        stands: All but the first.
    """

    at_s: float = 0.0
    stands: tuple[_Stand, ...] = ()

    def to_bytes(self) -> bytes:
        """9 bytes and 65 for each camera but the first."""
        parts = [_HEADER.pack(len(self.stands), self.at_s)]
        parts += [_CAMERA.pack(*s.turn, *s.shift, *s.last_turn, *s.last_shift, s.noise, s.frames, s.odd) for s in self.stands]
        return b"".join(parts)

    @staticmethod
    def from_bytes(state: bytes) -> "Rig":
        """The rig; an empty one for bytes that are none."""
        if len(state) < _HEADER.size:
            return Rig()
        count, at_s = _HEADER.unpack_from(state)
        if len(state) != _HEADER.size + count * _CAMERA.size:
            return Rig()
        stands = []
        for i in range(count):
            *numbers, noise, frames, odd = _CAMERA.unpack_from(state, _HEADER.size + i * _CAMERA.size)
            turn, shift, last_turn, last_shift = (np.array(numbers[a:b]) for a, b in ((0, 4), (4, 7), (7, 11), (11, 14)))
            lengths = np.array([np.linalg.norm(turn), np.linalg.norm(last_turn)])
            # NaN fails each of these.
            if not (np.isfinite(numbers).all() and (np.abs(lengths - 1) < 1e-3).all() and 0 < noise < 10 and 1 <= frames < 1e9):
                return Rig()
            stands.append(_Stand(turn, shift, last_turn, last_shift, noise, frames, odd))
        return Rig(at_s, tuple(stands)) if math.isfinite(at_s) else Rig()


def steady(before: Rig, poses: F32, depth: float, at_s: float) -> tuple[F32, Rig]:
    """Where the cameras of a frame stand, in the light of the frames before it.

    Args:
        before: The rig so far; an empty one at the start.
        poses: First camera to each, from the network, in the session's scale. float32 [V, 3, 4].
        depth: Of what they see, typically, in the same scale; above 0.
        at_s: When the frame came, on the session's clock.

    Returns:
        The poses to use, float32 [V, 3, 4], of which the first is as it came, and the new rig.
    """
    if not 1 < len(poses) <= _MOST + 1 or not (np.isfinite(poses).all() and 0 < depth < math.inf):
        return poses, before
    seen = [_seen(pose) for pose in poses[1:]]
    gap_s = min(max(at_s - before.at_s, 0.0), _LONGEST_GAP_S)
    known = _matched(before.stands, seen, depth)
    stands = tuple(new if old is None else _follow(old, new, depth, gap_s) for old, new in zip(known, seen, strict=True))
    smoothed = np.stack([poses[0], *(np.column_stack((_matrix(s.turn), s.shift)).astype(np.float32) for s in stands)])
    return smoothed, Rig(at_s, stands)


def _seen(pose: F32) -> _Stand:
    turn, shift = _quat(pose[:, :3]), pose[:, 3].astype(np.float64)
    return _Stand(turn, shift, turn, shift)


def _follow(old: _Stand, new: _Stand, depth: float, gap_s: float) -> _Stand:
    off = _difference(old.turn, old.shift, new, depth)
    limit = _ODD * max(old.noise, _LEAST_NOISE)
    # Two frames' noise is √2 of one's. One odd frame must not make everything noise.
    step = min(_difference(old.last_turn, old.last_shift, new, depth), limit) / math.sqrt(2)
    noise = max(old.noise + _NOISE_FOLLOWS * (step - old.noise), _LEAST_NOISE / _ODD)
    if off > limit:
        if old.odd + 1 < _MOVING:
            return replace(old, last_turn=new.turn, last_shift=new.shift, noise=noise, odd=old.odd + 1)
        return replace(new, noise=noise, odd=_MOVING)
    gain = max(1 / (old.frames + 1), 1 - math.exp(-gap_s / _SECONDS), (off / limit) ** 4)
    towards = new.turn if float(old.turn @ new.turn) > 0 else -new.turn
    turn = old.turn + gain * (towards - old.turn)
    shift = old.shift + gain * (new.shift - old.shift)
    # As many frames as are worth their weight: what has to be followed makes the average a short one.
    return _Stand(turn / np.linalg.norm(turn), shift, new.turn, new.shift, noise, min(old.frames + 1, 1 / gain))


def _matched(old: tuple[_Stand, ...], seen: list[_Stand], depth: float) -> list[_Stand | None]:
    """What is known of each camera. If there are more or fewer than before, by where they stand: their order stays."""
    if len(old) == len(seen):
        return [*old]
    found: list[_Stand | None] = []
    at = 0
    for new in seen:
        limits = [_ODD * max(stand.noise, _FIRST_NOISE) for stand in old]
        near = (i for i in range(at, len(old)) if _difference(old[i].turn, old[i].shift, new, depth) <= limits[i])
        place = next(near, None)
        found.append(None if place is None else old[place])
        at = at if place is None else place + 1
    return found


def _difference(turn: F64, shift: F64, other: _Stand, depth: float) -> float:
    """Radians, as seen."""
    apart = min(float(np.linalg.norm(turn - other.turn)), float(np.linalg.norm(turn + other.turn)))
    return 4 * math.asin(min(1.0, apart / 2)) + float(np.linalg.norm(shift - other.shift)) / depth


def _quat(turn: F32) -> F64:
    """A rotation matrix as a unit quaternion, wxyz (Shepperd 1978)."""
    (a, b, c), (d, e, f), (g, h, i) = turn.astype(np.float64)
    rows = np.array(
        [
            [1 + a + e + i, h - f, c - g, d - b],
            [h - f, 1 + a - e - i, b + d, c + g],
            [c - g, b + d, 1 - a + e - i, f + h],
            [d - b, c + g, f + h, 1 - a - e + i],
        ]
    )
    largest: F64 = rows[int(np.argmax(np.diag(rows)))]
    return largest / np.linalg.norm(largest)


def _matrix(q: F64) -> F64:
    w, x, y, z = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
