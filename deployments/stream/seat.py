"""A session's seat in a room, or none: what it may do there, and what it is to be shown. Pure.

It is told by the room (:class:`~deployments.stream.room_ends.Listener`) and keeps the newest of everything until the session asks;
so a client that takes nothing costs one frame and a flag.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

from deployments.splats.codecs import depth_heads, original
from deployments.stream import messages
from deployments.stream.client_clock import ClientClock
from deployments.stream.errors import BadMessage, NoCommonCodec, StreamError
from deployments.stream.frames import Capture, PackedFrame
from deployments.stream.handed_frames import Handed, HandedFrames
from deployments.stream.options import FrameOptions
from deployments.stream.quality import Setting
from deployments.stream.room_keys import NEW, new_room, read_room
from deployments.stream.room_news import Rendition, RoomFrame
from deployments.stream.rooms import Member, Rooms
from deployments.stream.synchroniser import View
from deployments.stream.token_bucket import Allowance

RoomMessage = messages.Join | messages.Leave | messages.Watch | messages.Govern

COARSE_BELOW = 0.5
"""Of the bytes of a whole frame: a link that takes fewer gets the coarse rendition."""


JOINS_PER_S = 4.0
"""Of one session: each may open a room, and with it a call to the relay."""


class Wish(NamedTuple):
    """What a session wants to see frames as: its options, the codecs it decodes, and what its link takes."""

    options: FrameOptions
    codecs: Collection[str]
    setting: Setting


class Joint(NamedTuple):
    """A session's end of its room's joint capture.

    Attributes:
        max_views: Views that a capture of the session may have, where the engine joins them; else 1.
        max_view_bytes: Of one view, so that they are a frame together.
        handed: The frames that were handed over.
        in_graph: Asks whether a frame is in the graph or about to go there, at a time on the session's clock.
        compute: Has a moment computed: its own frame, if that is one of the views, when it was captured and the time, both on the
            session's clock, and the encoded views.
    """

    max_views: int
    max_view_bytes: int
    handed: HandedFrames
    in_graph: Callable[[float], bool]
    compute: Callable[[Handed | None, float, float, tuple[bytes, ...]], None]


class Shown(NamedTuple):
    """A frame of the room on its way to the client.

    Attributes:
        seq: The number by which the client acknowledges it.
        frame: The frame.
        captured_s: When it was captured, on the session's clock.
        captured_ms: The same on the client's; 0 if that is not known.
        relay_ms: From the graph's end until now.
    """

    seq: int
    frame: RoomFrame
    captured_s: float
    captured_ms: float
    relay_ms: float


class Seat:
    """See the module's docstring.

    Attributes:
        clock: What is known of the client's clock.
        frame: The newest frame that a viewer has not been sent; None: nothing new.
    """

    def __init__(
        self,
        rooms: Rooms | None,
        wish: Callable[[], Wish],
        refuse: Callable[[StreamError], None],
        joint: Joint,
        replaced: Callable[[], None],
        renumbered: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        """A seat for one session, in no room.

        Args:
            rooms: The ingress replica's; None: there are none.
            wish: Asks what the session wants to see frames as.
            refuse: Called with what the client must be told: why it can't be shown anything, or is in the room no longer.
            joint: The session's end of its room's joint capture.
            replaced: Called when a newer frame took the place of one that was not sent.
            renumbered: Called when what the client is sent has other numbers from now on.
            wake: Called when there is something new to say.
        """
        self.clock = ClientClock()
        self.frame: RoomFrame | None = None
        self._rooms = rooms
        self._wish, self._refuse, self._joint, self._wake = wish, refuse, joint, wake
        self._replaced, self._renumbered = replaced, renumbered
        self._member: Member | None = None
        self._joins: Allowance | None = None
        self._has_news = self._was_told = False
        self._seq = 0

    @property
    def role(self) -> str:
        """What the session does in its room; empty: it is in none."""
        return self._member.role if self._member else ""

    # --- what the client says ---

    def received(self, message: RoomMessage, now_s: float) -> bytes | None:
        """Do what a client asks for.

        Returns:
            The answer; None: there is none, or it comes with the room's news.

        Raises:
            BadMessage: It makes no sense here.
            StreamError: It is refused.
        """
        if isinstance(message, messages.Join):
            return self._join(message, now_s)
        if isinstance(message, messages.Leave):
            self.leave(now_s, for_good=True)
            return None
        member = self._member
        if member is None:
            raise BadMessage(f"{messages.type_name(type(message))!r}: expected 'join' before it")
        match message:
            case messages.Watch(camera):
                member.watch(camera)
                self.room_changed()
            case messages.Govern(locked, close):
                if locked is not None:
                    member.lock(locked, now_s)
                if close:
                    member.close()
        return None

    def leave(self, now_s: float, for_good: bool = False) -> None:
        """Give the seat up; the place in the room is kept for a while, unless it is for good."""
        if self._member:
            self._member.leave(now_s, for_good)
        self._out()

    def _join(self, join: messages.Join, now_s: float) -> bytes:
        if self._rooms is None:
            raise BadMessage("'join': this server has no rooms")
        self._joins = self._joins or Allowance(JOINS_PER_S, now_s)
        if not self._joins.has(now_s):
            raise BadMessage(f"'join': expected at most {JOINS_PER_S:g} a second")
        self._joins.take(1)
        if join.t:
            self.clock.said(join.t, now_s)
        key = read_room(new_room() if join.room == NEW else join.room)
        own = self._member
        place = join.place or (own.place if own and own.room.id == key.room_id else "")
        self._rooms.check(key, join.role, place, leaving=own)  # Whoever is refused stays where it is.
        if own and (own.room.id, own.place) == (key.room_id, place):
            self._out()  # What it was shown and has handed over; a locked room would not take it back.
        else:
            self.leave(now_s, for_good=True)
        member = self._member = self._rooms.enter(key, join.role, join.name, place, self, now_s)
        self._has_news, self._was_told = True, False
        self._renumbered()  # Whatever the role: at 'joined' a client forgets what it has not acknowledged.
        return messages.encode(messages.Joined(member.id, member.role, member.place, key.keys, now_s + self._rooms.wall_s))

    # --- what the session does ---

    def publish(self, packed: PackedFrame, captured_ms: float, arrived_s: float, now_s: float) -> None:
        """Show the room a reply to a frame of this client's; nothing happens in no room, or as a viewer."""
        if self._member and self._member.role != "viewer":
            self._member.publish(packed, self.clock.captured_s(captured_ms, arrived_s), now_s)

    def hand_over(self, seq: int, captured_ms: float, capture: Capture, now_s: float) -> bool:
        """Hand a frame to the room's joint capture, if it is one for it; it is answered there.

        Not what brings several views, knows its camera or is too large, nor one of a client whose clock nothing is known of.
        """
        member, handed = self._member, self._joint.handed
        if member is None or self._joint.max_views < 2:
            return False
        known = captured_ms > 0 and self.clock.offset_s is not None
        able = known and len(capture.views) == 1 and not capture.cameras and not capture.depths
        able = able and capture.encoded_bytes <= self._joint.max_view_bytes
        part = member.part(self._joint.max_views if able else 1)
        if part != "other":
            handed.settle()
            self.frame = None  # What others showed is older than what comes of its own from now on.
        if not part:
            return False
        captured_s = self.clock.captured_s(captured_ms, now_s) + member.room.rooms.wall_s
        frame = Handed(seq, captured_ms, captured_s, now_s)
        if part == "other":
            handed.hand(frame, wants_world=member.role == "both")
        if part == "other" or handed.await_moment(frame):
            member.film(captured_s, capture.views[0], now_s)
        return True

    @property
    def has_frame(self) -> bool:
        """Whether there is something to be shown now; to one who sends frames, as the answer to one."""
        return self.frame is not None and (self.role != "both" or self._joint.handed.waits_for_world)

    def next_news(self) -> messages.Room | None:
        """Who is in the room, if that has changed since it was last asked for."""
        if not self._has_news or self._member is None:
            return None
        self._has_news = False
        room, member = self._member.room, self._member
        taking = room.in_capture
        cameras = [messages.RoomCamera(camera.id, camera.name, camera.away, camera.id in taking) for camera in room.cameras]
        shown = room.shown_to(member) if member.role == "viewer" else ""
        return messages.Room(cameras, room.viewers, list(room.names), room.locked, shown)

    def take_frame(self, now_s: float) -> Shown:
        """Hand out the frame that waits."""
        frame = self.frame
        assert frame is not None and self._rooms is not None
        self.frame = None
        if self.role == "both":
            seq = self._joint.handed.answer().seq
        else:
            seq = self._seq = self._seq + 1
        captured_s = frame.captured_s - self._rooms.wall_s
        relay_ms = max(0.0, (now_s + self._rooms.wall_s - frame.ready_s) * 1e3)
        return Shown(seq, frame, captured_s, self.clock.client_ms(captured_s), relay_ms)

    # --- what the room tells ---

    def room_changed(self) -> None:
        """See :class:`~deployments.stream.room_ends.Listener`."""
        self._has_news = True
        self._wake()

    def room_frame(self, frame: RoomFrame) -> None:
        """See :class:`~deployments.stream.room_ends.Listener`."""
        if self.frame is not None:
            self._replaced()
        self.frame = frame
        self._wake()

    def room_left(self, why: StreamError) -> None:
        """See :class:`~deployments.stream.room_ends.Listener`."""
        self._out()
        self._refuse(why)
        self._wake()

    def waits_for_graph(self, now_s: float) -> bool:
        """See :class:`~deployments.stream.joint_capture.Origin`."""
        assert self._rooms is not None
        return not self._joint.handed.waits_for_moment and self._joint.in_graph(now_s - self._rooms.wall_s)

    def room_capture(self, views: tuple[View, ...], now_s: float) -> None:
        """See :class:`~deployments.stream.joint_capture.Origin`."""
        assert self._member is not None and self._rooms is not None
        own_id, wall_s = self._member.id, self._rooms.wall_s
        own = next((self._joint.handed.chosen(view.captured_s) for view in views if view.camera_id == own_id), None)
        self._joint.compute(own, views[0].captured_s - wall_s, now_s - wall_s, tuple(view.jpeg for view in views))
        self._wake()

    def room_capture_over(self) -> None:
        """See :class:`~deployments.stream.joint_capture.Origin`."""
        self._joint.handed.give_up()
        self._wake()

    def rendition_for(self, frame: RoomFrame) -> Rendition | None:
        """See :class:`~deployments.stream.room_ends.Listener`."""
        options, codecs, setting = self._wish()
        if options.codec == original.POINTS:
            return Rendition(original.POINTS)
        own, wanted = frame.packed.codec, options.codec
        best = (own, "points", "packed", "ply") if frame.packed.kind == "points" else (own, "packed", "points", "ply")
        # What a model predicted can't be made of anything else; splats of every other kind can.
        able = [codec for codec in best if codec in codecs]
        codec = wanted if wanted in able else next(iter(able), None)
        if codec is None and not self._was_told:
            self._was_told = True
            self._refuse(NoCommonCodec(tuple(codecs), tuple(dict.fromkeys(best))))
        return Rendition(codec, codec == depth_heads.NAME and needs_less(setting)) if codec else None

    def _out(self) -> None:
        if self.role == "viewer":
            self._renumbered()  # Those were counted here, the client's own are its own.
        self._member = self.frame = None
        self._joint.handed.settle()
        self._joint.handed.give_up()


def needs_less(setting: Setting) -> bool:
    """Whether a controller asks for less than half of a frame's bytes."""
    return bool(setting.full_splats) and setting.load < COARSE_BELOW * min(setting.full_splats, setting.wanted.max_splats)
