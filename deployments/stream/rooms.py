"""Rooms: sessions that see the same camera. One ingress replica's part of them; pure, as sessions are.

A camera's frame goes through the graph once, by its own session. Its reply is published to the room, and every viewer's session is
offered it, with the viewer's own credits, acks and quality: nothing is queued, the newest frame wins for each, and one who takes
nothing costs the others nothing.

A room's members may be on several ingress replicas. Each has a :class:`Room` of its own; what the others must know
(:class:`Attendance`, :class:`RoomFrame`) goes out by a :class:`~deployments.stream.room_ends.Link` and comes in by
:meth:`Room.news`. :mod:`deployments.http.room_links` carries it.

A viewer may need another codec than a frame has, or a coarser one for its link. Such a *rendition* is made once for a frame and for
all who need it, by ``recode``; one at a time, of the newest frame.

Where the engine joins views, cameras don't each go through the graph by themselves: see :mod:`deployments.stream.joint_capture`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from deployments.stream.counts import Counts
from deployments.stream.errors import RoomClosed, RoomForbidden, RoomFull, RoomLocked, RoomTaken, ServerFull
from deployments.stream.frames import FrameRequest, PackedFrame
from deployments.stream.joint_capture import JointCapture, Later, taking_part
from deployments.stream.room_ends import Link, Listener
from deployments.stream.room_keys import RoomKey, read_place
from deployments.stream.room_limits import RoomLimits
from deployments.stream.room_news import Attendance, Rendition, RoomCamera, RoomFrame, all_cameras
from deployments.stream.synchroniser import View

Role = Literal["camera", "viewer", "both"]
ROLES: tuple[Role, ...] = ("camera", "viewer", "both")
"""``camera`` sends frames and gets receipts; ``viewer`` gets the room's splats; ``both`` sends frames and gets its own splats."""

_MAX_NAMES = 32
"""Of viewers that are told; how many there are is told in any case."""


@dataclass(eq=False, slots=True)
class Member:
    """A session's place in a room; it acts through this.

    Attributes:
        room: The room.
        key: Its rights there.
        role: What it does there.
        place: The token that keeps the place.
        id: What the others know the place by; a hash of the token.
        listener: The session.
        since_s: When it first came, seconds since 1970.
        name: What it calls itself.
        watched: The camera it has chosen; empty: the room's first.
        max_views: Views that a capture of its session may have, if its frames can be views of one; 1: they can't.
    """

    room: "Room"
    key: RoomKey
    role: Role
    place: str
    id: str
    name: str
    listener: Listener
    since_s: float
    watched: str = ""
    max_views: int = 1

    def publish(self, packed: PackedFrame, captured_s: float, now_s: float) -> None:
        """Show the room a reply to this camera's frame; times on the session's clock."""
        if self.room.members.get(self.id) is self:
            self.room._publish(self, packed, captured_s, now_s)

    def part(self, max_views: int) -> Literal["", "origin", "other"]:
        """What its next frame is in the joint capture; empty: it is computed by itself.

        Args:
            max_views: See the attribute; it says so of this frame.
        """
        if max_views != self.max_views:
            self.max_views = max_views
            self.room._changed()
        cameras = self.room.joint
        if self.id not in cameras:
            return ""
        return "origin" if self.id == cameras[0] else "other"

    def film(self, captured_s: float, jpeg: bytes, now_s: float) -> None:
        """Hand a frame to the joint capture.

        Args:
            captured_s: When it was captured, seconds since 1970.
            jpeg: The encoded picture.
            now_s: The time, on the session's clock.
        """
        self.room._film(View(self.id, captured_s, jpeg), now_s)

    def watch(self, camera: str) -> None:
        """Choose a camera, and see its last frame at once."""
        self.watched = camera
        self.room._catch_up(self)

    def lock(self, locked: bool, now_s: float) -> None:
        """Keep new viewers out, or let them in again.

        Raises:
            RoomForbidden: It is not the owner's key that this client has.
        """
        self._must_own()
        self.room._set_lock(locked, now_s)

    def close(self) -> None:
        """End the room for all.

        Raises:
            RoomForbidden: It is not the owner's key that this client has.
        """
        self._must_own()
        self.room.closed(tell=True)

    def leave(self, now_s: float, for_good: bool = False) -> None:
        """Go. The place is kept for a while, unless it is for good."""
        self.room._leave(self, now_s, for_good)

    def _must_own(self) -> None:
        if not self.key.allows("owner"):
            raise RoomForbidden("close or lock it", self.key.right)


@dataclass(eq=False, slots=True)
class Room:
    """One room, as one ingress replica has it; made by :class:`Rooms`.

    Attributes:
        id: Its name inside the server.
        members: Place id → the session there.
        others: Ingress replica → who is in the room by way of it.
        link: To the other replicas; set by whoever keeps it.
        attendance: Who is here by way of this replica.
        cameras: All cameras, of all replicas, the longest there first; one that is there hides itself where it is away.
        joint: The ids of the cameras that take part in one capture, its origin first; empty: there is none.
    """

    id: str
    rooms: "Rooms"
    members: dict[str, Member] = field(default_factory=dict)
    others: dict[str, Attendance] = field(default_factory=dict)
    link: Link = field(default_factory=Link)
    attendance: Attendance = field(default_factory=Attendance)
    cameras: tuple[RoomCamera, ...] = ()
    joint: tuple[str, ...] = ()
    _away: dict[str, tuple[RoomCamera | None, float]] = field(default_factory=dict)
    """Place id → the camera, None of a viewer, and until when the place is kept."""
    _last: dict[str, RoomFrame] = field(default_factory=dict)
    _lock: tuple[float, bool] = (0.0, False)
    """The latest of all replicas."""
    _capture: JointCapture = field(init=False)
    _making: dict[tuple[str, Rendition], RoomFrame | None] = field(default_factory=dict)
    """Camera and rendition that are being made → the newer frame that waits."""

    def __post_init__(self) -> None:
        self._capture = JointCapture(self._later, self._changed)

    # --- what is so ---

    @property
    def viewers(self) -> int:
        """How many watch, on all replicas."""
        return self.attendance.viewers + sum(other.viewers for other in self.others.values())

    @property
    def names(self) -> tuple[str, ...]:
        """Names of those who watch and have told one, at most 32."""
        return (self.attendance.names + tuple(name for other in self.others.values() for name in other.names))[:_MAX_NAMES]

    @property
    def locked(self) -> bool:
        """Whether new viewers are kept out."""
        return self._lock[1]

    @property
    def in_capture(self) -> set[str]:
        """Those of them that it does not go without."""
        return {*self.joint}.difference(self._capture.left_out, *(other.left_out for other in self.others.values()))

    def shown_to(self, member: Member) -> str:
        """The camera that it sees: its choice, or the first that is there, or the first; of those in one capture, the origin."""
        cameras, joint = self.cameras, self.joint
        if member.watched in joint or (member.role == "both" and member.id in joint):
            return joint[0]
        if any(camera.id == member.watched for camera in cameras):
            return member.watched
        return next((camera.id for camera in cameras if not camera.away), cameras[0].id if cameras else "")

    # --- what happens elsewhere ---

    def news(self, others: dict[str, Attendance] | None, frames: tuple[RoomFrame, ...]) -> None:
        """Something came from the other replicas: who is there (all of them, without this one), or frames."""
        if others is not None and others != self.others:
            joined = others.keys() - self.others.keys()
            self.others = others
            before, self._lock = self._lock, max([self._lock, *(other.lock for other in others.values())])
            # A lock is the room's, not the replica's where it was set: when that one leaves, the rest still say it.
            self._changed(tell=self._lock != before)
            if joined:
                for camera, frame in self._last.items():
                    if camera in self.members:
                        self.link.publish(frame)  # Those who come late see the last one.
        for frame in frames:
            self.rooms.counts.room_frame("received")
            self._show(frame)

    def filmed(self, view: View, now_s: float) -> None:
        """A camera at another replica has a frame for the joint capture here."""
        self._capture.frame(view, now_s + self.rooms.wall_s)

    def closed(self, tell: bool = False) -> None:
        """It is closed, by the owner; who is in it is told.

        Args:
            tell: Whether the other replicas don't know yet.
        """
        if tell:
            self.link.close()
        self._away, self._last = {}, {}
        self._capture.between((), None)
        for member in list(self.members.values()):
            self._drop(member)
            member.listener.room_left(RoomClosed())
        self.rooms._ended(self)

    def recoded(self, frame: RoomFrame, rendition: Rendition, packed: PackedFrame | None) -> None:
        """A rendition is there; None: it could not be made. To be called once for every ``recode``."""
        newer = self._making.pop((frame.camera, rendition), None)
        if packed is not None:
            made = replace(frame, packed=packed)
            for viewer in self._viewers_of(frame.camera):
                if viewer.listener.rendition_for(frame) == rendition:
                    viewer.listener.room_frame(made)
        if newer is not None:
            self._make(newer, rendition)

    # --- what members do ---

    def _publish(self, member: Member, packed: PackedFrame, captured_s: float, now_s: float) -> None:
        wall_s = self.rooms.wall_s
        # Neither state nor pictures of the request go on: they belong to the camera's session.
        request = FrameRequest(packed.request.options, timings=packed.request.timings, label=packed.request.label)
        ready_s = now_s + wall_s
        last = self._last.get(member.id)
        number = max(int(ready_s * 1e6), last.number + 1 if last else 0)
        frame = RoomFrame(member.id, number, captured_s + wall_s, ready_s, replace(packed, request=request))
        self.rooms.counts.room_frame("published")
        self._show(frame)
        if self.others:
            self.link.publish(frame)

    def _film(self, view: View, now_s: float) -> None:
        origin = self.joint[0]
        if origin in self.members:
            return self._capture.frame(view, now_s + self.rooms.wall_s)
        for replica, other in self.others.items():
            if any(camera.id == origin and not camera.away for camera in other.cameras):
                self.link.film(replica, view)

    def _later(self, at_s: float, call: Callable[[float], None]) -> None:
        wall_s = self.rooms.wall_s
        self.rooms.later(at_s - wall_s, lambda now_s: call(now_s + wall_s))

    def _catch_up(self, member: Member) -> None:
        if member.role == "viewer" and (frame := self._last.get(self.shown_to(member))):
            self._offer(frame, [member])

    def _set_lock(self, locked: bool, now_s: float) -> None:
        self._lock = (now_s + self.rooms.wall_s, locked)
        self._changed()

    def _has_place(self, place: str, role: Role) -> bool:
        """Whether the place is one of who watches, or else of who films: the limits of the two are apart, and so is the lock."""
        if there := self.members.get(place):
            return (there.role == "viewer") == (role == "viewer")
        return place in self._away and (self._away[place][0] is None) == (role == "viewer")

    def _enter(self, member: Member) -> None:
        before = self.members.get(member.id)
        if before:
            self._drop(before)
            if before.listener is not member.listener:
                before.listener.room_left(RoomTaken())
        camera, _ = self._away.pop(member.id, (None, 0.0))
        member.since_s = camera.since_s if camera else before.since_s if before else member.since_s
        self.members[member.id] = member
        if member.role == "viewer":
            self.rooms.counts.viewer_entered()
        self._changed()
        self._catch_up(member)

    def _drop(self, member: Member) -> None:
        del self.members[member.id]
        if member.role == "viewer":
            self.rooms.counts.viewer_left()

    def _leave(self, member: Member, now_s: float, for_good: bool) -> None:
        if self.members.get(member.id) is not member:
            return
        self._drop(member)
        if not for_good:
            camera = None if member.role == "viewer" else RoomCamera(member.id, member.name, member.since_s, away=True)
            self._away[member.id] = camera, now_s + self.rooms.limits.away_s
            viewers = [place for place, (camera, _) in self._away.items() if camera is None]
            if len(viewers) > self.rooms.limits.max_viewers_per_room:
                del self._away[viewers[0]]
        self._changed()
        self.rooms._end_if_empty(self)

    def _forget_away(self, now_s: float) -> None:
        gone = [place for place, (_, until_s) in self._away.items() if now_s >= until_s]
        was_camera = [self._away.pop(place)[0] for place in gone]
        for camera in filter(None, was_camera):
            self._last.pop(camera.id, None)
        if any(was_camera):
            self._changed()

    def _forget_away_camera(self) -> None:
        """The same of the camera that is away for longest."""
        del self._away[next(place for place, (camera, _) in self._away.items() if camera)]

    def _here(self) -> Attendance:
        cameras = [
            RoomCamera(member.id, member.name, member.since_s, max_views=member.max_views)
            for member in self.members.values()
            if member.role != "viewer"
        ]
        cameras += [replace(camera, away=True) for camera, _ in self._away.values() if camera]
        viewers = [member for member in self.members.values() if member.role == "viewer"]
        names = tuple(member.name for member in viewers if member.name)[:_MAX_NAMES]
        return Attendance(tuple(cameras), len(viewers), names, self._lock, self._capture.left_out)

    def _changed(self, tell: bool = True) -> None:
        # Once for all: each viewer asks for them at every frame, and there are hundreds.
        here = self._here()
        self.cameras = all_cameras((here, *self.others.values()))
        self.joint = taking_part(self.cameras)
        known = {camera.id for camera in self.cameras}
        self._last = {camera: frame for camera, frame in self._last.items() if camera in known}
        origin = self.members.get(self.joint[0]) if self.joint else None
        self._capture.between(self.joint, origin.listener if origin else None)
        self.attendance = replace(here, left_out=self._capture.left_out)  # Nobody, where others take part than before.
        if tell or self.attendance != here:
            self.link.announce(self.attendance)
        for member in self.members.values():
            member.listener.room_changed()

    # --- frames ---

    def _viewers_of(self, camera: str) -> list[Member]:
        others = self.joint[1:]
        return [
            member
            for member in self.members.values()
            if (member.role == "viewer" or (member.role == "both" and member.id in others)) and self.shown_to(member) == camera
        ]

    def _show(self, frame: RoomFrame) -> None:
        last = self._last.get(frame.camera)
        if last and last.number >= frame.number:
            return  # Two calls overtook each other on the way.
        if last is None and len(self._last) >= self.rooms.limits.max_cameras_per_room:
            return
        self._last[frame.camera] = frame
        self._offer(frame, self._viewers_of(frame.camera))

    def _offer(self, frame: RoomFrame, viewers: list[Member]) -> None:
        as_it_is = Rendition(frame.packed.codec)
        to_make = set()
        for viewer in viewers:
            rendition = viewer.listener.rendition_for(frame)
            if rendition == as_it_is:
                viewer.listener.room_frame(frame)
            elif rendition:
                to_make.add(rendition)
        for rendition in to_make:
            self._make(frame, rendition)

    def _make(self, frame: RoomFrame, rendition: Rendition) -> None:
        key = frame.camera, rendition
        if key in self._making:
            self._making[key] = frame  # The newest wins here as well.
        else:
            self._making[key] = None
            self.rooms.recode(self, frame, rendition)


class Rooms:
    """The rooms of one ingress replica.

    Attributes:
        limits: What they may cost.
        wall_s: What to add to the sessions' clock for seconds since 1970.
        counts: The replica's, which count what happens here.
        opened, ended: Called with a room when it begins and when nobody is left in it; set by whoever links it with others.
        recode: Called to have a rendition made; answered by :meth:`Room.recoded`.
        later: Called to set a timer, on the sessions' clock.
    """

    def __init__(self, limits: RoomLimits, wall_s: float, counts: Counts | None = None) -> None:
        self.limits = limits
        self.counts = counts or Counts()
        self.wall_s = wall_s
        self.opened: Callable[[Room], None] = lambda room: None
        self.ended: Callable[[Room], None] = lambda room: None
        self.recode: Callable[[Room, RoomFrame, Rendition], None] = lambda room, frame, to: room.recoded(frame, to, None)
        self.later: Later = lambda at_s, call: None
        self._rooms: dict[str, Room] = {}

    def __iter__(self) -> Iterator[Room]:
        return iter(list(self._rooms.values()))

    def __len__(self) -> int:
        return len(self._rooms)

    def enter(self, key: RoomKey, role: Role, name: str, place: str, listener: Listener, now_s: float) -> Member:
        """Take a place in a room, which begins with its first member.

        Args:
            key: Which room, and with what right.
            role: What to do there.
            name: What to be called.
            place: The token of an earlier place there, to have that again; empty: a new one.
            listener: Is told what happens.
            now_s: The time.

        Raises:
            RoomForbidden: The key does not give the right to the role, or rooms with names are not allowed here.
            RoomFull, RoomLocked: It takes nobody more, or no new viewers.
            ServerFull: There are too many rooms.
        """
        self.check(key, role, place)
        token, place_id = read_place(place)
        room = self._rooms.get(key.room_id)
        if room is None:
            if len(self._rooms) >= self.limits.max_rooms:
                self._ended(next(room for room in self if not room.members))
            room = self._rooms[key.room_id] = Room(key.room_id, self)
            self.counts.room_opened()
            self.opened(room)
        elif role != "viewer" and not room._has_place(place_id, role) and len(room.cameras) >= self.limits.max_cameras_per_room:
            room._forget_away_camera()
        member = Member(room, key, role, token, place_id, name[:80], listener, now_s + self.wall_s)
        room._enter(member)
        return member

    def check(self, key: RoomKey, role: Role, place: str, leaving: Member | None = None) -> None:
        """Nothing happens if :meth:`enter` would take these, once ``leaving`` has left; whoever is there goes before kept places.

        Raises:
            RoomForbidden, RoomFull, RoomLocked, ServerFull: See there.
        """
        if not key.keys and not self.limits.named:
            raise RoomForbidden("use rooms without a key", "no key")
        if not key.allows("viewer" if role == "viewer" else "camera"):
            raise RoomForbidden("send pictures to it", key.right)
        room = self._rooms.get(key.room_id)
        if room is None:
            is_held = (any(member is not leaving for member in other.members.values()) for other in self)
            if len(self._rooms) >= self.limits.max_rooms and all(is_held):
                raise ServerFull(self.limits.max_rooms, "rooms")
        elif not room._has_place(read_place(place)[1], role):
            goes = leaving.role if leaving and leaving.room is room else ""
            is_kept = any(camera.away for camera in room.attendance.cameras)
            if role == "viewer":
                if room.locked and not key.allows("owner"):
                    raise RoomLocked()
                if room.viewers - (goes == "viewer") >= self.limits.max_viewers_per_room:
                    raise RoomFull(self.limits.max_viewers_per_room, "viewers")
            elif len(room.cameras) - (goes in ("camera", "both")) >= self.limits.max_cameras_per_room and not is_kept:
                raise RoomFull(self.limits.max_cameras_per_room, "cameras")

    def tick(self, now_s: float) -> None:
        """Give up places that were kept long enough; to be called every second or so."""
        for room in self:
            room._forget_away(now_s)
            self._end_if_empty(room)

    def _end_if_empty(self, room: Room) -> None:
        if not room.members and not room._away:
            self._ended(room)

    def _ended(self, room: Room) -> None:
        if self._rooms.get(room.id) is room:
            del self._rooms[room.id]
            self.counts.room_ended()
            self.ended(room)
