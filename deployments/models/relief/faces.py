"""The faces of a session over time: where each is, how far away, and how much of its mesh is shown.

Everything eases by seconds, whatever the rate of frames: quickly where much changes, slowly where the networks only waver. What is
remembered is small and travels with the session as bytes: 25, and 1,916 more for each face.

- A mesh comes in within 0.3 s and goes within 0.4 s. While it goes, as the face turns to a profile, it is the last good one.
- A face that is not seen keeps its person's distance for two seconds; then they are as far away as the one whose face is largest.
- All these times are as long as `calm` says, as the client asks for it.
- The room stays where it is while people move to and fro in it, and gives way only to who would run through its wall.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deployments.models.relief.face_mesh import POINTS, CanonicalFace, FaceMesh, fit_pose
from deployments.models.relief.person import MOST_FACES, Face
from deployments.models.relief.tracking import hastened

F32 = NDArray[np.float32]

MIN_FACE_PX = 40
"""A face narrower than this, in pixels of the camera's picture, gets no mesh: the network sees it enlarged fivefold and guesses."""

_KEEP_PX = 34  # once it has one
_PRESENT, _STILL_PRESENT = 0.6, 0.4
_COMES_S, _GOES_S, _HELD_S, _FORGOTTEN_S = 0.3, 0.4, 2.0, 1.0
_NEAREST_M, _FARTHEST_M = 0.15, 8.0
_SAME_FACE = 0.7  # widths of a face between two frames
_UNKNOWN_S, _LONGEST_S = 0.1, 1.0  # between frames: what is assumed of a client without a clock, and what counts of a pause
_FARTHEST_IN_ROOM, _NEAREST_IN_ROOM = 1.25, 0.6  # outline of the farthest person over where it usually is in such a room

USUAL_OUTLINE = 1.45
"""Distance of a person's outline where nothing is measured."""
_BEHIND_FACE_M = 0.11  # a head's and shoulders' outline lies so far behind the middle of the face

_HEADER = struct.Struct("<Bdfff")  # faces, then the fields of Faces
_FACE = struct.Struct("<11f")  # the fields of FaceTrack, then the box in which the points' x and y have 8 bits
_FACE_BYTES = _FACE.size + 4 * POINTS
_FOOTER = struct.Struct("<H2s")  # bytes before it, magic
_MAGIC = b"f1"
_Z_STEP_M = 1e-5  # 16 bits: in coarser steps, slow easing would come to a stop on its way


@dataclass(frozen=True, slots=True)
class SeenFace:
    """A face of the present frame.

    Attributes:
        face: Where it is.
        mesh: Its mesh, in pixels of the picture; None: it was too small to ask for one.
    """

    face: Face
    mesh: FaceMesh | None


@dataclass(frozen=True, slots=True)
class FaceTrack:
    """One face over time.

    Attributes:
        centre: Its middle, fractions of the picture's width and height.
        width: Fraction of the picture's width.
        distance_m: From the camera to the middle of the mesh, along z.
        weight: How much of the mesh is shown, 0..1.
        life: How much its person's distance counts, 0..1.
        unseen_s: Since the detector last saw it.
        points: The mesh: x and y as fractions of the picture, z in metres from the middle, smaller is nearer. float32 [468, 3].
    """

    centre: tuple[float, float]
    width: float
    distance_m: float
    weight: float
    life: float
    unseen_s: float
    points: F32


@dataclass(frozen=True, slots=True)
class Faces:
    """All of them, and the room that they are in.

    Attributes:
        tracks: At most :data:`~deployments.models.relief.person.MOST_FACES`.
        time_s: Of the last frame.
        metric: 0: no face has been measured, and distances are made up; 1: they are metres.
        distance_m: Of the largest face seen lately.
        room: How many times farther away the wall is than where nothing is measured.
    """

    tracks: tuple[FaceTrack, ...] = ()
    time_s: float = 0.0
    metric: float = 0.0
    distance_m: float = 0.0
    room: float = 1.0

    @property
    def shown(self) -> bool:
        """Whether any of a mesh is to be seen."""
        return any(track.weight > 0.01 for track in self.tracks)

    def weight_at(self, face: Face) -> float:
        """How much of the mesh of a face is shown; 0 where it has none."""
        x, y = face.points.mean(axis=0)
        near = [each.weight for each in self.tracks if math.hypot(each.centre[0] - x, each.centre[1] - y) < each.width]
        return max(near, default=0.0)

    def to_bytes(self) -> bytes:
        """25 bytes to 7.7 kB, to be appended to other state."""
        parts = [_HEADER.pack(len(self.tracks), self.time_s, self.metric, self.distance_m, self.room)]
        for track in self.tracks:
            low = track.points[:, :2].min(axis=0)
            span = np.maximum(track.points[:, :2].max(axis=0) - low, 1e-6)
            numbers = (track.width, track.distance_m, track.weight, track.life, track.unseen_s)
            parts.append(_FACE.pack(*track.centre, *numbers, *low, *span))
            parts.append(np.rint((track.points[:, :2] - low) / span * 255).astype(np.uint8).tobytes())
            parts.append(np.clip(np.rint(track.points[:, 2] / _Z_STEP_M), -32767, 32767).astype("<i2").tobytes())
        data = b"".join(parts)
        return data + _FOOTER.pack(len(data), _MAGIC)

    @staticmethod
    def from_bytes(state: bytes) -> "Faces | None":
        """The faces at the end of a state, or None where there are none (a new session, another engine's state)."""
        if len(state) < _FOOTER.size + _HEADER.size:
            return None
        size, magic = _FOOTER.unpack_from(state, len(state) - _FOOTER.size)
        data = state[-_FOOTER.size - size : -_FOOTER.size]
        if magic != _MAGIC or len(data) != size or size < _HEADER.size:
            return None
        count, *numbers = _HEADER.unpack_from(data)
        if count > MOST_FACES or size != _HEADER.size + count * _FACE_BYTES or not np.isfinite(numbers).all():
            return None
        tracks = [_read_track(data, _HEADER.size + index * _FACE_BYTES) for index in range(count)]
        known = tuple(track for track in tracks if track)
        return Faces(known, *numbers) if len(known) == count else None


def _read_track(data: bytes, at: int) -> FaceTrack | None:
    x, y, *numbers = _FACE.unpack_from(data, at)
    if not np.isfinite((x, y, *numbers)).all():
        return None
    width, distance, weight, life, unseen, *box = numbers
    flat = np.frombuffer(data, np.uint8, 2 * POINTS, at + _FACE.size).reshape(POINTS, 2) / np.float32(255)
    deep = np.frombuffer(data, "<i2", POINTS, at + _FACE.size + 2 * POINTS) * np.float32(_Z_STEP_M)
    points = np.column_stack([flat * np.array(box[2:], np.float32) + np.array(box[:2], np.float32), deep])
    return FaceTrack((x, y), width, distance, weight, life, unseen, points.astype(np.float32))


def follow_faces(
    before: Faces | None,
    seen: Sequence[SeenFace],
    size: tuple[int, int],
    focal_px: float,
    now_s: float,
    canonical: CanonicalFace,
    calm: float = 1.0,
) -> Faces:
    """The faces after the next frame.

    Args:
        before: What is known so far; None at the start, which decides at once.
        seen: The faces of this frame that belong to people.
        size: Width and height of the picture, pixels.
        focal_px: Of the camera, in that picture.
        now_s: When the frame was taken, on any clock that goes on; one that stands still counts as 10 frames a second.
        canonical: The face of known size.
        calm: What all times are multiplied by; 0: nothing is smoothed over time.
    """
    first = before is None
    before = before or Faces()
    passed = now_s - before.time_s
    step_s = hastened(min(passed, _LONGEST_S) if passed > 0 else _UNKNOWN_S, calm)
    left, tracks = list(before.tracks), []
    for each in seen:
        middle = each.face.points.mean(axis=0)
        centre = (float(middle[0]), float(middle[1]))
        near = min(left, key=lambda track: _apart(track, centre, size), default=None)
        if near and _apart(near, centre, size) < _SAME_FACE * max(near.width, each.face.width) * size[0]:
            left.remove(near)
            tracks.append(_advance(near, each, centre, size, focal_px, step_s, canonical))
        elif _is_good(each, 0.0, size):
            new = _measure(each, centre, size, focal_px, canonical)
            tracks.append(replace(new, weight=1.0, life=1.0) if first else _shown(new, step_s))
    tracks += [kept for kept in (_unseen(track, step_s) for track in left) if kept.life > 0 or kept.weight > 0]
    tracks = sorted(tracks, key=lambda track: track.unseen_s)[:MOST_FACES]
    return _with_room(before, tuple(tracks), now_s, step_s, first)


def _apart(track: FaceTrack, centre: tuple[float, float], size: tuple[int, int]) -> float:
    """Pixels between a face's last place and another."""
    return math.hypot((track.centre[0] - centre[0]) * size[0], (track.centre[1] - centre[1]) * size[1])


def _is_good(seen: SeenFace, weight: float, size: tuple[int, int]) -> bool:
    """Whether a face's mesh is to be shown; what is shown already stays more easily."""
    held = weight > 0
    if seen.mesh is None or seen.face.width * size[0] < (_KEEP_PX if held else MIN_FACE_PX):
        return False
    return seen.mesh.presence >= (_STILL_PRESENT if held else _PRESENT)


def _measure(
    seen: SeenFace, centre: tuple[float, float], size: tuple[int, int], focal_px: float, canonical: CanonicalFace
) -> FaceTrack:
    """A face as this frame alone has it, not shown yet."""
    assert seen.mesh is not None
    points = seen.mesh.points
    scale = max(fit_pose(points, canonical).pixels_per_metre, 1e-6)
    deep = (points[:, 2] - points[:, 2].mean()) / np.float32(scale)
    placed = np.column_stack([points[:, :2] / np.array(size, np.float32), deep]).astype(np.float32)
    distance = min(max(focal_px / scale, _NEAREST_M), _FARTHEST_M)
    # To a hundredth of a millimetre, so that a frame is the same to the bit in every process.
    return FaceTrack(centre, seen.face.width, round(distance, 5), 0.0, 0.0, 0.0, np.round(placed, 5))


def _advance(
    track: FaceTrack,
    seen: SeenFace,
    centre: tuple[float, float],
    size: tuple[int, int],
    focal_px: float,
    step_s: float,
    canonical: CanonicalFace,
) -> FaceTrack:
    """A face that is seen again."""
    if not _is_good(seen, track.weight, size):
        moved = np.array([centre[0] - track.centre[0], centre[1] - track.centre[1], 0], np.float32)
        weight = max(0.0, track.weight - step_s / _GOES_S)
        return replace(track, centre=centre, width=seen.face.width, weight=weight, unseen_s=0.0, points=track.points + moved)
    new = _measure(seen, centre, size, focal_px, canonical)
    if track.weight > 0:
        change = new.points[:, 2] - track.points[:, 2]
        share = _share(step_s, float(np.sqrt(np.mean(change * change))), 0.001, 0.006, slow_s=0.6, quick_s=0.06)
        new.points[:, 2] = track.points[:, 2] + np.float32(share) * change
    if track.life > 0:
        change_m = new.distance_m - track.distance_m
        share = _share(step_s, abs(change_m) / track.distance_m, 0.02, 0.08, slow_s=1.5, quick_s=0.12)
        new = replace(new, distance_m=track.distance_m + share * change_m)
    return _shown(replace(new, weight=track.weight, life=track.life), step_s)


def _shown(track: FaceTrack, step_s: float) -> FaceTrack:
    come = step_s / _COMES_S
    return replace(track, weight=min(1.0, track.weight + come), life=min(1.0, track.life + come))


def _unseen(track: FaceTrack, step_s: float) -> FaceTrack:
    unseen_s = track.unseen_s + step_s
    fading = step_s / _FORGOTTEN_S if unseen_s > _HELD_S else 0.0
    weight = max(0.0, track.weight - step_s / _GOES_S)
    return replace(track, weight=weight, life=max(0.0, track.life - fading), unseen_s=unseen_s)


def _with_room(before: Faces, tracks: tuple[FaceTrack, ...], now_s: float, step_s: float, first: bool) -> Faces:
    """The people's distances and their room."""
    measured = [track for track in tracks if track.life > 0 and track.unseen_s <= _HELD_S]
    if not measured:
        return replace(before, tracks=tracks, time_s=now_s)
    main = max(measured, key=lambda track: track.width)
    new = before.metric == 0
    distance = main.distance_m if new else before.distance_m + _eased(step_s, 0.3) * (main.distance_m - before.distance_m)
    metric = 1.0 if first else min(1.0, before.metric + step_s / _COMES_S)
    farthest = outline_m(max(track.distance_m for track in measured)) / USUAL_OUTLINE
    room = farthest if new else before.room
    if farthest > room * _FARTHEST_IN_ROOM:
        room += _eased(step_s, 0.3) * (farthest / _FARTHEST_IN_ROOM - room)
    elif farthest < room * _NEAREST_IN_ROOM:
        room += _eased(step_s, 3.0) * (farthest / _NEAREST_IN_ROOM - room)
    return Faces(tracks, now_s, metric, distance, room)


def outline_m(distance_m: float) -> float:
    """Distance of a person's outline, metres, from that of the middle of their face."""
    return distance_m + _BEHIND_FACE_M


def _eased(step_s: float, in_s: float) -> float:
    """The share of a difference that is gone after a step."""
    return 1 - math.exp(-step_s / in_s)


def _share(step_s: float, change: float, small: float, large: float, *, slow_s: float, quick_s: float) -> float:
    """The share of a change to follow: slowly up to a small one, which may be noise, quickly from a large one."""
    quick = min(max((change - small) / (large - small), 0.0), 1.0)
    return _eased(step_s, slow_s + quick * (quick_s - slow_s))
