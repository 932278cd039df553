"""Whether there is a person, and where: each frame's evidence, smoothed over time.

The track is small and travels with the session as bytes: replicas keep nothing. It advances by the session's clock; where that is
not known, as at 10 frames a second. What the evidence decides:

- A face (by its score, inside the mask) and a confident mask together start a track: a cup or a cat passes for a person in the
  mask alone, but not in both. The first frame of a stream decides at once, later ones within 0.3 s.
- The mask alone holds it: someone who turns away or covers their face stays a person. It is dropped after about a second without a
  mask.
- A different scene (by the difference of thumbnails) starts from nothing.

`calm`, as the client asks for it, stretches and shortens all of these times.
"""

import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from deployments.models.relief.person import MASK_PX, Face

MIN_FACE_SCORE = 0.7
"""A face must score this much to start a track. Measured: people 0.76–0.95, a cat 0.60–0.64, cups and machines below 0.53."""

_MIN_AREA, _MAX_AREA, _MIN_CORE = 0.03, 0.82, 0.80
_MIN_OTHER_CORE = 0.92
"""Of parts beside the largest: a plant is never as certain as a second person."""
_ACQUIRE, _RELEASE = 0.34, 0.1
"""Of presence, in a tenth of a second; so are all shares below."""
_TENTH_S, _MOST_TENTHS = 0.1, 10.0
_FOREVER = 1e6
_SCENE_CHANGE, _OTHER_LEVELS = 0.16, 20.0
_STATE_PX, _THUMB_PX = 128, 8
_HEADER = struct.Struct("<Bdff9f")
_VERSION = 2


@dataclass(frozen=True, slots=True)
class Track:
    """What is known about the person.

    Attributes:
        presence: 0 (nobody) to 1 (somebody); the relief blends by it.
        mask: The person, smoothed over time; 0 elsewhere. float32 [256, 256], the whole picture squeezed into it.
        face_weight: 0 (no face seen lately) to 1.
        face: Where the face was last seen, smoothed.
        thumb: Tiny grey picture. uint8 [8, 8].
        at_s: When the frame arrived, by the session's clock; 0: nobody knows.
    """

    presence: float
    mask: NDArray[np.float32]
    face_weight: float
    face: Face
    thumb: NDArray[np.uint8]
    at_s: float = 0.0

    def to_bytes(self) -> bytes:
        """1 to 3 kB."""
        small = cv2.resize(self.mask, (_STATE_PX, _STATE_PX), interpolation=cv2.INTER_AREA)
        header = _HEADER.pack(_VERSION, self.at_s, self.presence, self.face_weight, self.face.width, *self.face.points.ravel())
        return header + self.thumb.tobytes() + zlib.compress((small * 255 + 0.5).astype(np.uint8).tobytes(), 1)

    @staticmethod
    def from_bytes(state: bytes) -> "Track | None":
        """The track, or None for bytes that are not one (a new session, another engine's state)."""
        body = _HEADER.size + _THUMB_PX * _THUMB_PX
        if len(state) <= body or state[0] != _VERSION:
            return None
        try:
            small = np.frombuffer(zlib.decompress(state[body:]), np.uint8).reshape(_STATE_PX, _STATE_PX)
        except (zlib.error, ValueError):
            return None
        _, at_s, presence, face_weight, width, *points = _HEADER.unpack_from(state)
        mask = cv2.resize(small, (MASK_PX, MASK_PX), interpolation=cv2.INTER_LINEAR).astype(np.float32) / np.float32(255)
        thumb = np.frombuffer(state, np.uint8, _THUMB_PX * _THUMB_PX, _HEADER.size).reshape(_THUMB_PX, _THUMB_PX)
        return Track(presence, mask, face_weight, Face(1.0, width, np.array(points, np.float32).reshape(4, 2)), thumb, at_s)


def hastened(elapsed: float, calm: float) -> float:
    """A time between two frames as whoever wants less calm feels it: longer. With a calm of 0 whatever eases is there at once."""
    return min(elapsed / calm, _FOREVER) if calm > 0 else _FOREVER


def follow(
    before: Track | None,
    raw: NDArray[np.float32],
    face: Face,
    rgb: NDArray[np.uint8],
    now_s: float = 0.0,
    calm: float = 1.0,
) -> Track:
    """The track after the next frame.

    Args:
        before: The track so far; None at the start.
        raw: The segmentation of this frame. float32 [256, 256].
        face: The most likely face of this frame.
        rgb: The frame. uint8 [H, W, 3].
        now_s: When it arrived, by the session's clock; 0: nobody knows.
        calm: What all times are multiplied by; 0: nothing is smoothed over time.
    """
    grey = cv2.cvtColor(cv2.resize(rgb, (64, 64), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    thumb = cv2.resize(grey, (_THUMB_PX, _THUMB_PX), interpolation=cv2.INTER_AREA)
    if before is not None and another_scene(before.thumb, thumb):
        before = None
    held = before is not None and before.presence > 0.5
    seen = face.score >= (MIN_FACE_SCORE - 0.1 if held else MIN_FACE_SCORE) and is_person_at(raw, face)
    mask, convincing = _main_parts(raw)
    somebody = convincing and (seen or held)
    if before is None:
        return Track(float(somebody), mask if somebody else np.zeros_like(mask), float(seen), face, thumb, now_s)
    tenths = min((now_s - before.at_s) / _TENTH_S, _MOST_TENTHS) if now_s > before.at_s > 0 else 1.0
    tenths = hastened(tenths, calm)

    def share(a_tenth: NDArray[np.float32] | float) -> NDArray[np.float32]:
        return np.asarray(1 - (1 - a_tenth) ** tenths, np.float32)

    presence = before.presence + tenths * (_ACQUIRE if somebody else -_RELEASE)
    presence = min(1.0, max(0.0, presence))
    if somebody:
        # Quick where much changes, as at the edge of a moving arm; slow where the network only wavers.
        change = mask - before.mask
        mask = before.mask + change * share(np.float32(0.45) + np.float32(0.45) * np.abs(change)) if before.presence > 0 else mask
    else:
        mask = before.mask * np.float32(0.97**tenths)
    if seen and before.face_weight > 0.05:
        points = before.face.points + share(0.6) * (face.points - before.face.points)
        face = Face(face.score, before.face.width + float(share(0.3)) * (face.width - before.face.width), points)
    elif not seen:
        face = before.face
    weight = min(1.0, max(0.0, before.face_weight + tenths * (0.25 if seen else -0.2)))
    return Track(presence, mask, weight, face, thumb, now_s)


def another_scene(before: NDArray[np.uint8], now: NDArray[np.uint8]) -> bool:
    """Whether two thumbnails in a row show different scenes: they differ much, or most of their cells do, whatever the exposure."""
    change = now.astype(np.float32) - before
    others = np.mean(np.abs(change - np.median(change)) > _OTHER_LEVELS)
    return bool(others > 0.5) or _difference(before, now) > _SCENE_CHANGE


def is_person_at(mask: NDArray[np.float32], face: Face) -> bool:
    """Whether a face lies inside the mask."""
    return _at(mask, face.points.mean(axis=0)) > 0.5


def _difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean difference of two thumbnails, 0..1; a change of exposure counts half."""
    x, y = a.astype(np.float32) / 255, b.astype(np.float32) / 255
    return float(np.abs((x - x.mean()) - (y - y.mean())).mean() + 0.5 * abs(x.mean() - y.mean()))


def _at(mask: NDArray[np.float32], point: NDArray[np.float32]) -> float:
    """The mask at a point given as fractions of the picture."""
    x, y = (int(np.clip(p * MASK_PX, 0, MASK_PX - 1)) for p in point)
    return float(mask[y, x])


def _main_parts(raw: NDArray[np.float32]) -> tuple[NDArray[np.float32], bool]:
    """The mask without its small and doubtful patches, and whether the rest is convincing.

    It must be confident, neither tiny nor the whole picture, and reach the lower edge, as a head on shoulders does.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats((raw > 0.5).astype(np.uint8), connectivity=4)
    if count < 2:
        return np.zeros_like(raw), False
    areas = stats[1:, cv2.CC_STAT_AREA]
    sums = np.bincount(labels.ravel(), raw.ravel(), count)[1:]
    core = np.where(areas == areas.max(), _MIN_CORE, _MIN_OTHER_CORE)
    keep = (areas >= 0.2 * areas.max()) & (sums / areas >= core)
    if not keep.any():
        return np.zeros_like(raw), False
    parts = np.concatenate([[False], keep])[labels]
    # A little wider than the component, to keep its soft rim.
    near = cv2.dilate(parts.astype(np.uint8), np.ones((9, 9), np.uint8))
    low = stats[1:, cv2.CC_STAT_TOP] + stats[1:, cv2.CC_STAT_HEIGHT] >= MASK_PX - 6
    area = areas[keep].sum() / raw.size
    return raw * near, bool(_MIN_AREA <= area <= _MAX_AREA and low[keep].any())
