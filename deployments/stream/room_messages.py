"""The messages of rooms (:mod:`deployments.stream.rooms`), in both directions; part of :mod:`deployments.stream.messages`."""

from dataclasses import dataclass
from typing import Literal

from deployments.stream.message_types import List, Map, Message, Text

# --- client → server ---


class Join(Message, frozen=True):
    """Enters a room, and leaves the one before. Answered with ``joined``, or with an ``error``, and then nothing has changed.

    Attributes:
        room: A name, a key of the room (``owner.…``, ``camera.…``, ``viewer.…``), or ``new`` for one that nobody knows yet.
        role: ``camera``: sends frames, and gets a ``published`` for each; ``viewer``: gets the room's splats; ``both``: sends
            frames, which the room sees, and gets its own splats.
        name: What to call this member to the others; may be empty.
        place: The token from an earlier ``joined``, to have that place in the room again.
        t: The time of sending on the client's clock.
    """

    room: Text
    role: Literal["camera", "viewer", "both"] = "both"
    name: Text = ""
    place: Text = ""
    t: float = 0.0


class Leave(Message, frozen=True):
    """Leaves the room, for good. The session goes on without one; nothing happens if it is in none."""


class Watch(Message, frozen=True):
    """Chooses the camera of the room that a viewer sees.

    Attributes:
        camera: Its id, as in ``room``; empty: the room's first.
    """

    camera: Text = ""


class Govern(Message, frozen=True):
    """What the owner of a room may do to it.

    Attributes:
        locked: Whether new viewers are kept out; null: as it is.
        close: Ends the room, for all.
    """

    locked: bool | None = None
    close: bool = False


# --- server → client ---


class Joined(Message, frozen=True):
    """Answers ``join``.

    Attributes:
        id: This member's id, by which the others know it.
        role: What it does in the room.
        place: The token to say in the next ``join`` of this room, to have this place again. Nobody else should have it.
        keys: Right (``owner``, ``camera``, ``viewer``) → the key that gives it, for this client's own and those below; empty in a
            room with a name.
        t: The server's clock, seconds since 1970.
    """

    id: str
    role: str
    place: str
    keys: Map[str]
    t: float


@dataclass(frozen=True, slots=True)
class RoomCamera:
    """A camera of the room.

    Attributes:
        id: Its id.
        name: What it calls itself.
        away: Whether it is gone for the moment; its place is kept for a while.
        in_capture: Whether its frames are views of one capture together with those of other cameras.
    """

    id: str
    name: str
    away: bool
    in_capture: bool = False


class Room(Message, frozen=True):
    """Who is in the room; said at each change.

    Attributes:
        cameras: The longest there first.
        viewers: How many watch.
        names: Of viewers who have told one, at most 32.
        locked: Whether new viewers are kept out.
        shown: Id of the camera that this viewer sees; empty if there is none.
    """

    cameras: List[RoomCamera]
    viewers: int
    names: List[str]
    locked: bool
    shown: str = ""


class Published(Message, frozen=True):
    """A camera's frame went to the room.

    Attributes:
        seq: Number of the frame.
        captured_ms: Echo of the frame's.
        timings_ms: As in ``splats``.
    """

    seq: int
    captured_ms: float
    timings_ms: Map[float]
