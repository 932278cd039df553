"""What rooms may cost."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RoomLimits:
    """What rooms may cost.

    Attributes:
        max_rooms: Of one ingress replica, and of one relay replica.
        max_viewers_per_room: On all ingress replicas together. Two that come at the same moment by two of them may both be let in.
        max_cameras_per_room: The same of cameras.
        away_s: For so long the place of a camera or viewer is kept that went away, as a page does that is reloaded.
        named: Whether rooms that are open to all who know a name may be used, besides those with keys.
    """

    max_rooms: int = 256
    max_viewers_per_room: int = 500
    max_cameras_per_room: int = 8
    away_s: float = 30.0
    named: bool = True
