"""What the parts of a room on several ingress replicas tell each other: what a camera shows, and who is there."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from deployments.stream.frames import PackedFrame
from deployments.stream.synchroniser import View


class Rendition(NamedTuple):
    """A form of a frame: its codec, and whether it is made smaller for a narrow link."""

    codec: str
    is_coarse: bool = False


@dataclass(frozen=True, slots=True)
class RoomFrame:
    """A camera's newest reply, on its way to those who watch.

    Attributes:
        camera: The camera's id in the room.
        number: Rises with time, for each camera.
        captured_s: When it was captured, as far as can be told: seconds since 1970.
        ready_s: When the graph had finished it, likewise.
        packed: The reply, with the pictures that its colours come from.
    """

    camera: str
    number: int
    captured_s: float
    ready_s: float
    packed: PackedFrame


@dataclass(frozen=True, slots=True)
class RoomCamera:
    """A camera of a room.

    Attributes:
        id: Its name in the room; a hash of the token that keeps its place.
        name: What it calls itself.
        since_s: When it first came, seconds since 1970. The one that has been there longest is the room's first.
        away: Whether it is gone, and its place is kept.
        max_views: Views that a capture of its session may have, if its frames can be views of one; 1: they can't.
    """

    id: str
    name: str
    since_s: float
    away: bool = False
    max_views: int = 1


@dataclass(frozen=True, slots=True)
class Attendance:
    """Who is in a room by way of one ingress replica.

    Attributes:
        cameras: Its cameras.
        viewers: How many watch.
        names: Of those who have told one, the first few.
        lock: Since when (seconds since 1970) new viewers are kept out or let in again; the latest of all replicas counts.
        left_out: Cameras that the joint capture goes without, if it is here.
    """

    cameras: tuple[RoomCamera, ...] = ()
    viewers: int = 0
    names: tuple[str, ...] = ()
    lock: tuple[float, bool] = (0.0, False)
    left_out: tuple[str, ...] = ()


def all_cameras(parts: Iterable[Attendance]) -> tuple[RoomCamera, ...]:
    """Those of all replicas, the longest there first; one that is there hides itself where it is away."""
    found: dict[str, RoomCamera] = {}
    for camera in (camera for part in parts for camera in part.cameras):
        known = found.get(camera.id)
        if known is None or (known.away and not camera.away):
            found[camera.id] = camera if known is None else replace(camera, since_s=min(camera.since_s, known.since_s))
    return tuple(sorted(found.values(), key=lambda camera: (camera.since_s, camera.id)))


@dataclass(frozen=True, slots=True)
class RoomNews:
    """What a subscriber is told.

    Attributes:
        others: Ingress replica → who is there by way of it, without the subscriber; None: as before.
        frames: The newest of each camera that has a new one.
        closed: Whether the owner has closed the room.
        views: Frames of other replicas' cameras for the joint capture here; the newest of each.
    """

    others: dict[str, Attendance] | None = None
    frames: tuple[RoomFrame, ...] = ()
    closed: bool = False
    views: tuple[View, ...] = ()
