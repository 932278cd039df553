"""Rooms, told through sessions: what a camera sends is what every viewer sees, each at its own pace."""

import json
from dataclasses import replace
from datetime import datetime

import hypothesis.strategies as st
import msgpack
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from deployments.splats.camera import Camera
from deployments.splats.codecs import original
from deployments.splats.gaussians import Gaussians
from deployments.stream import messages
from deployments.stream.client_clock import ClientClock
from deployments.stream.counts import Counts
from deployments.stream.errors import RoomNameRefused
from deployments.stream.frames import FrameRequest, PackedFrame
from deployments.stream.messages import (
    Ack,
    Error,
    Frame,
    Govern,
    Hello,
    Join,
    Joined,
    Leave,
    Published,
    Room,
    Splats,
    Watch,
    Welcome,
)
from deployments.stream.options import FrameOptions, OptionLimits
from deployments.stream.quality import QualitySettings
from deployments.stream.relay import SILENT_S, Hub
from deployments.stream.room_ends import Link
from deployments.stream.room_keys import new_room, read_room
from deployments.stream.room_limits import RoomLimits
from deployments.stream.room_news import Attendance, Rendition, RoomFrame
from deployments.stream.rooms import Room as SharedRoom
from deployments.stream.rooms import Rooms
from deployments.stream.session import Session
from deployments.stream.session_settings import SessionLimits, SessionSettings
from deployments.stream.synchroniser import View

ENGINE = messages.Engine("synthetic", "synthetic", "Synthetic", "Apache-2.0", ["lifted", "points"])
JPEG = b"\xff\xd8\xff rest"
WALL_S = 1_000_000.0


def packed(tag: int, codec: str = "packed") -> PackedFrame:
    request = FrameRequest(state=b"private", timings={"decode": 1.0, "infer": 20.0, "pack": 3.0})
    return PackedFrame(codec, "lifted", 1, np.full(4, tag, np.uint8), Camera(4, 3, 5.0, 5.0, 2.0, 1.5), {}, request, "exif")


class Client:
    """One client with its session; what it has heard is in ``heard``."""

    def __init__(
        self,
        rooms: Rooms,
        *,
        codecs: tuple[str, ...] = ("packed", "points"),
        engine: messages.Engine = ENGINE,
        counts: Counts | None = None,
        adapts: bool = False,
        **limits: float,
    ) -> None:
        quality = QualitySettings(enabled=adapts)
        config = SessionSettings("0.0", engine, FrameOptions(), OptionLimits(), SessionLimits(**limits), quality, 1000, 100)  # type: ignore[arg-type]
        self.session = Session("abc", config, 0.0, counts, rooms=rooms)
        self.heard: list[messages.ServerMessage] = []
        self.now_s = 0.0
        self._seq = 0
        self.say(Hello(1, list(codecs)))

    def say(self, *said: messages.ClientMessage) -> None:
        for message in said:
            self.session.received(messages.encode(message), self.now_s)
        self.hear()

    def hear(self) -> None:
        while (raw := self.session.next_message(self.now_s)) is not None:
            self.session.delivered(self.now_s)
            assert isinstance(raw, bytes)
            self.heard.append(messages.decode_server(raw))

    def join(self, room: str, role: str = "both", **more: object) -> Joined:
        self.say(Join(room, role, **more))  # type: ignore[arg-type]
        joined = self.last(Joined)
        assert joined is not None, self.heard[-1]
        return joined

    def film(self, tag: int, codec: str = "packed") -> PackedFrame:
        """Send a frame, and let the graph answer it."""
        self.session.received(messages.encode(Frame(self._seq, [JPEG], self.now_s * 1e3)), self.now_s)
        self._seq += 1
        job = self.session.next_capture(self.now_s)
        assert job is not None
        result = packed(tag, codec)
        self.session.finished(job[0], replace(result, request=replace(job[1].request, timings=result.request.timings)), self.now_s)
        self.hear()
        return result

    def last(self, kind: type) -> object:
        return next((message for message in reversed(self.heard) if isinstance(message, kind)), None)

    @property
    def seen(self) -> list[int]:
        return [message.data[0] for message in self.heard if isinstance(message, Splats)]

    def ack(self) -> None:
        splats = self.last(Splats)
        assert isinstance(splats, Splats)
        self.say(Ack(splats.seq))

    def error(self) -> str:
        error = self.last(Error)
        assert isinstance(error, Error) and not error.fatal, self.heard
        return error.code


@pytest.fixture
def rooms() -> Rooms:
    return Rooms(RoomLimits(), WALL_S)


def pair(rooms: Rooms, role: str = "both") -> tuple[Client, Client]:
    camera, viewer = Client(rooms), Client(rooms)
    camera.join("studio", role)
    viewer.join("studio", "viewer")
    return camera, viewer


# --- keys ---


def test_a_key_makes_those_below_it_and_all_lead_to_one_room() -> None:
    owner = read_room(new_room())
    camera, viewer = read_room(owner.keys["camera"]), read_room(owner.keys["viewer"])
    assert owner.room_id == camera.room_id == viewer.room_id
    assert (owner.right, camera.right, viewer.right) == ("owner", "camera", "viewer")
    assert camera.keys["viewer"] == owner.keys["viewer"] and "owner" not in camera.keys and set(viewer.keys) == {"viewer"}


def test_nothing_that_opens_a_room_follows_from_its_id() -> None:
    key = read_room(new_room())
    assert not any(secret.partition(".")[2] in key.room_id for secret in key.keys.values())
    for secret in key.keys.values():
        assert read_room(secret[:-1] + ("A" if secret[-1] != "A" else "B")).room_id != key.room_id


def test_keys_stay_what_they_are_so_that_links_outlive_a_release() -> None:
    key = read_room("owner." + "0" * 43)
    assert key.keys["camera"] == "camera.OJ23JaRQn687ley3O9Pc66GF5gx46HHO4jRQbcFCS9Q"
    assert key.keys["viewer"] == "viewer.LEEkXJ4qNcA85s2VKXI_34nuTOcwVabW--mz7Pmc4cA"
    assert key.room_id == "key-QZbU5ZrI4NX-vVGgqe2PWf"


@pytest.mark.parametrize(
    "text",
    ["", "-a", "a b", "ä", "x" * 65, "owner.short", "owner." + "x" * 42, "viewer." + "x" * 44, "boss." + "x" * 43, "a.b", "a/b"],
)
def test_what_is_neither_a_name_nor_a_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(RoomNameRefused) as refused:
        read_room(text)
    assert len(text) < 4 or text not in str(refused.value)


# --- one camera, many viewers ---


def test_a_frame_goes_through_the_graph_once_and_to_everyone(rooms: Rooms) -> None:
    camera, first = pair(rooms)
    second = Client(rooms)
    second.join("studio", "viewer")
    camera.film(7)
    for each in (camera, first, second):
        each.hear()
        assert each.seen == [7]
    shown = first.last(Splats)
    assert isinstance(shown, Splats) and shown.source == camera.last(Joined).id  # type: ignore[attr-defined]
    assert camera.last(Splats).source == ""  # type: ignore[attr-defined]
    assert shown.intrinsics == camera.last(Splats).intrinsics == "exif"  # type: ignore[attr-defined]


@pytest.mark.parametrize("role", ["both", "camera"])
def test_the_graphs_work_is_counted_once_however_many_see_it(rooms: Rooms, role: str) -> None:
    counts = Counts(lambda: 0.0)
    camera = Client(rooms, counts=counts)
    camera.join("studio", role)
    viewers = [Client(rooms, counts=counts) for _ in range(3)]
    for viewer in viewers:
        viewer.join("studio", "viewer")
    camera.film(7)
    for viewer in viewers:
        viewer.hear()
        assert viewer.seen == [7]
    stages = counts.by_label("stage_ms")
    assert {name: stages[name] for name in ("queue", "decode", "infer", "pack")} == dict.fromkeys(
        ("queue", "decode", "infer", "pack"), 1
    )
    assert stages["relay"] == 3 and stages["total"] == counts.total("sent")


def test_a_viewer_who_comes_late_sees_the_last_frame_at_once(rooms: Rooms) -> None:
    camera = Client(rooms)
    camera.join("studio")
    camera.film(1)
    camera.film(2)
    late = Client(rooms)
    late.join("studio", "viewer")
    assert late.seen == [2]


def test_a_slow_viewer_gets_the_newest_and_delays_nobody(rooms: Rooms) -> None:
    camera, quick = pair(rooms, "camera")
    slow = Client(rooms, max_unacked=1)
    slow.join("studio", "viewer")
    for tag in range(5):
        camera.film(tag)
        quick.hear()
        quick.ack()
        slow.hear()
    assert quick.seen == [0, 1, 2, 3, 4] and slow.seen == [0]
    slow.ack()
    assert slow.seen == [0, 4]
    assert slow.session.counts.by_label("dropped") == {"slow_client": 3}, "1 to 3 were never sent"


def test_a_camera_whose_own_link_is_deaf_is_still_seen(rooms: Rooms) -> None:
    camera, viewer = pair(rooms)
    for tag in range(8):
        camera.film(tag)
        viewer.hear()
        viewer.ack()
    assert viewer.seen == list(range(8)) and len(camera.seen) == 4, "it acknowledges nothing"


def test_a_camera_that_wants_no_splats_gets_a_receipt_for_each_frame(rooms: Rooms) -> None:
    camera, _ = pair(rooms, "camera")
    camera.film(3)
    receipt = camera.last(Published)
    assert isinstance(receipt, Published) and receipt.seq == 0 and receipt.timings_ms["infer"] == 20.0
    assert camera.seen == []


def test_a_viewer_can_not_send_pictures(rooms: Rooms) -> None:
    _, viewer = pair(rooms)
    viewer.say(Frame(0, [JPEG]))
    assert viewer.error() == "bad_message"


def test_the_cameras_own_reply_is_as_without_a_room_and_the_state_stays_its_own(rooms: Rooms) -> None:
    camera, _ = pair(rooms)
    camera.film(1)
    frame = next(iter(rooms))._last.values()
    assert [each.packed.request.state for each in frame] == [b""]


def test_without_a_room_nothing_is_published(rooms: Rooms) -> None:
    alone, viewer = Client(rooms), Client(rooms)
    viewer.join("studio", "viewer")
    alone.film(1)
    viewer.hear()
    assert alone.seen == [1] and viewer.seen == []


# --- who is there ---


def test_all_are_told_who_is_there(rooms: Rooms) -> None:
    camera, _ = pair(rooms)
    other = Client(rooms)
    other.join("studio", "viewer", name="Ada")
    camera.hear()
    room = camera.last(Room)
    assert isinstance(room, Room) and room.viewers == 2 and room.names == ["Ada"]
    assert [each.away for each in room.cameras] == [False]
    other.say(Leave())
    camera.hear()
    assert camera.last(Room).viewers == 1  # type: ignore[attr-defined]


def test_who_is_there_is_collected_once_a_change_and_not_for_every_viewer_of_every_frame(rooms: Rooms) -> None:
    camera, viewer = pair(rooms)
    room = next(iter(rooms))
    cameras, attendance = room.cameras, room.attendance
    camera.film(1)
    viewer.hear()
    assert viewer.seen == [1] and room.cameras is cameras and room.attendance is attendance
    camera.session.ended(1.0)
    assert [each.away for each in room.cameras] == [each.away for each in room.attendance.cameras] == [True]


def test_a_reload_keeps_the_place_for_a_while(rooms: Rooms) -> None:
    camera, viewer = pair(rooms)
    joined = camera.last(Joined)
    camera.film(1)
    camera.session.ended(10.0)
    viewer.hear()
    assert [each.away for each in viewer.last(Room).cameras] == [True]  # type: ignore[attr-defined]
    rooms.tick(39.0)
    again = Client(rooms)
    assert again.join("studio", place=joined.place).id == joined.id  # type: ignore[attr-defined]
    viewer.hear()
    assert [each.away for each in viewer.last(Room).cameras] == [False]  # type: ignore[attr-defined]
    again.film(9)
    viewer.hear()
    viewer.ack()
    assert viewer.seen == [1, 9]


def test_a_place_that_nobody_takes_again_is_given_up_and_so_is_an_empty_room(rooms: Rooms) -> None:
    camera, viewer = pair(rooms)
    camera.session.ended(10.0)
    rooms.tick(41.0)
    viewer.hear()
    assert viewer.last(Room).cameras == []  # type: ignore[attr-defined]
    viewer.session.ended(50.0)
    rooms.tick(81.0)
    assert len(rooms) == 0


def test_another_window_with_the_same_place_takes_over(rooms: Rooms) -> None:
    camera, viewer = pair(rooms)
    again = Client(rooms)
    again.join("studio", place=camera.last(Joined).place)  # type: ignore[attr-defined]
    camera.hear()
    assert camera.error() == "room_taken"
    assert len(viewer.last(Room).cameras) == 1  # type: ignore[attr-defined]


def test_a_viewer_chooses_among_cameras_and_sees_the_first_by_itself(rooms: Rooms) -> None:
    first, viewer = pair(rooms)
    second = Client(rooms)
    second.now_s = 1.0
    joined = second.join("studio", "camera", name="side")
    second.film(2)
    first.film(1)
    viewer.hear()
    viewer.ack()
    assert viewer.seen == [1]
    viewer.say(Watch(joined.id))
    assert viewer.seen == [1, 2] and viewer.last(Room).shown == joined.id  # type: ignore[attr-defined]
    viewer.ack()
    second.say(Leave())
    first.film(3)
    viewer.hear()
    assert viewer.seen == [1, 2, 3], "the chosen one is gone"


def test_own_replies_that_were_not_acknowledged_hold_up_nothing_for_who_watches_from_then_on(rooms: Rooms) -> None:
    camera, viewer = Client(rooms), Client(rooms, adapts=True)
    camera.join("studio", "camera")
    viewer._seq = 1000
    viewer.film(1)
    viewer.now_s = 1.0
    viewer.join("studio", "viewer")
    for tag in (2, 3):
        camera.film(tag)
        viewer.hear()
    assert viewer.seen == [1, 2, 3], "its link was not found to be slow"


@pytest.mark.parametrize("how", ["left", "closed", "taken"])
def test_who_watches_no_more_has_its_own_numbers_again(rooms: Rooms, how: str) -> None:
    owner, viewer = Client(rooms), Client(rooms)
    keys = owner.join("new", "camera").keys
    place = viewer.join(keys["viewer"], "viewer").place
    for tag in range(10):
        owner.film(tag)
        viewer.hear()
        if tag < 6:
            viewer.ack()
    assert viewer.seen == list(range(10)), "the last four are not acknowledged"
    if how == "taken":
        Client(rooms).join(keys["viewer"], "viewer", place=place)
    else:
        (viewer if how == "left" else owner).say(Leave() if how == "left" else Govern(close=True))
    viewer.hear()
    viewer.film(10)
    assert viewer.seen[-1] == 10, "nobody waits for acks of what it watched"
    for tag in range(11, 20):
        viewer.ack()
        viewer.film(tag)
    assert viewer.seen == list(range(20))


def test_a_camera_that_leaves_keeps_its_numbers_and_what_it_has_not_acknowledged(rooms: Rooms) -> None:
    camera, _ = pair(rooms)
    for tag in range(4):
        camera.film(tag)
    camera.say(Leave())
    camera.film(4)
    assert camera.seen == [0, 1, 2, 3]
    camera.ack()
    assert camera.seen == [0, 1, 2, 3, 4]


# --- rights ---


def test_a_viewers_link_watches_and_nothing_else(rooms: Rooms) -> None:
    owner, guest = Client(rooms), Client(rooms)
    keys = owner.join("new").keys
    assert set(keys) == {"owner", "camera", "viewer"}
    guest.say(Join(keys["viewer"], "camera"))
    assert guest.error() == "room_forbidden"
    joined = guest.join(keys["viewer"], "viewer")
    assert set(joined.keys) == {"viewer"}
    guest.say(Govern(close=True))
    assert guest.error() == "room_forbidden"
    owner.film(5)
    guest.hear()
    assert guest.seen == [5]


def test_the_owner_locks_and_closes(rooms: Rooms) -> None:
    owner, inside, late = Client(rooms), Client(rooms), Client(rooms)
    keys = owner.join("new").keys
    inside.join(keys["viewer"], "viewer")
    owner.say(Govern(locked=True))
    late.say(Join(keys["viewer"], "viewer"))
    assert late.error() == "room_locked"
    inside.hear()
    assert inside.last(Room).locked is True  # type: ignore[attr-defined]
    place = inside.last(Joined).place  # type: ignore[attr-defined]
    inside.session.ended(1.0)
    again = Client(rooms)
    again.join(keys["viewer"], "viewer", place=place)
    owner.say(Govern(locked=False))
    late.join(keys["viewer"], "viewer")
    owner.say(Govern(close=True))
    for each in (again, late):
        each.hear()
        assert each.error() == "room_closed"
    assert len(rooms) == 0


def test_a_room_with_a_name_belongs_to_nobody(rooms: Rooms) -> None:
    camera, _ = pair(rooms)
    camera.say(Govern(close=True))
    assert camera.error() == "room_forbidden"


@pytest.mark.parametrize(
    ("limits", "role", "code"),
    [
        (RoomLimits(max_viewers_per_room=1), "viewer", "room_full"),
        (RoomLimits(max_cameras_per_room=1), "camera", "room_full"),
        (RoomLimits(named=False), "viewer", "room_forbidden"),
    ],
)
def test_limits_are_said(limits: RoomLimits, role: str, code: str) -> None:
    rooms = Rooms(limits, WALL_S)
    for _ in range(2):
        client = Client(rooms)
        client.say(Join("studio", role))  # type: ignore[arg-type]
    assert client.error() == code


@pytest.mark.parametrize(
    ("limits", "first", "then"),
    [(RoomLimits(max_cameras_per_room=1), "viewer", "camera"), (RoomLimits(max_viewers_per_room=1), "camera", "viewer")],
)
@pytest.mark.parametrize("is_there", [True, False])
def test_who_comes_back_as_something_else_is_counted_as_that(limits: RoomLimits, first: str, then: str, is_there: bool) -> None:
    rooms = Rooms(limits, WALL_S)
    other, before, again = (Client(rooms) for _ in range(3))
    other.join("studio", then)
    place = before.join("studio", first).place
    if not is_there:
        before.session.ended(0.0)
    again.say(Join("studio", then, place=place))  # type: ignore[arg-type]
    assert again.error() == "room_full"
    again.join("studio", first, place=place)


def test_a_locked_room_takes_no_viewer_with_a_cameras_place() -> None:
    rooms = Rooms(RoomLimits(), WALL_S)
    owner, camera, again = (Client(rooms) for _ in range(3))
    keys = owner.join("new").keys
    place = camera.join(keys["camera"], "camera").place
    owner.say(Govern(locked=True))
    again.say(Join(keys["viewer"], "viewer", place=place))
    assert again.error() == "room_locked"
    again.join(keys["camera"], "both", place=place)


def test_more_rooms_than_there_may_be_are_refused() -> None:
    rooms = Rooms(RoomLimits(max_rooms=2), WALL_S)
    clients = [Client(rooms) for _ in range(3)]
    for name, client in zip("abc", clients, strict=True):
        client.say(Join(name))
    error = clients[2].heard[-1]
    assert isinstance(error, Error) and error.code == "server_full" and "2 rooms" in error.message


def test_places_that_are_only_kept_make_room_for_those_who_come() -> None:
    rooms = Rooms(RoomLimits(max_rooms=2, max_cameras_per_room=2), WALL_S)
    for name in "abcd":
        passer_by = Client(rooms)
        passer_by.join(name, "camera")
        passer_by.session.ended(0.0)
    for _ in range(4):
        passer_by = Client(rooms)
        passer_by.join("d", "camera")
        passer_by.session.ended(0.0)
    stays = Client(rooms)
    stays.join("d", "camera")
    assert len(rooms) == 2 and len(stays.last(Room).cameras) == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("refused", ["no such name!", "locked", "full"])
def test_who_may_not_enter_another_room_stays_where_it_is(refused: str) -> None:
    rooms = Rooms(RoomLimits(max_viewers_per_room=1), WALL_S)
    camera, viewer, owner, inside = (Client(rooms) for _ in range(4))
    camera.join("studio", "both")
    viewer.join("studio", "viewer")
    inside.join("full", "viewer")
    locked = owner.join("new").keys["viewer"]
    owner.say(Govern(locked=True))
    viewer.say(Join(locked if refused == "locked" else refused, "viewer"))
    assert viewer.error() == {"no such name!": "room_name", "locked": "room_locked", "full": "room_full"}[refused]
    camera.film(4)
    viewer.hear()
    assert viewer.seen == [4] and viewer.session._seat.role == "viewer"


@pytest.mark.parametrize("names_place", [True, False])
def test_who_joins_its_own_room_again_keeps_the_place_even_if_it_is_locked(rooms: Rooms, names_place: bool) -> None:
    owner, viewer = Client(rooms), Client(rooms)
    keys = owner.join("new").keys
    before = viewer.join(keys["viewer"], "viewer")
    owner.film(1)
    viewer.hear()
    viewer.ack()
    owner.say(Govern(locked=True))
    again = viewer.join(keys["viewer"], "viewer", place=before.place if names_place else "", name="Ada")
    assert (again.id, again.place) == (before.id, before.place) and viewer.last(Error) is None
    assert viewer.seen == [1, 1], "as for everyone who joins"
    owner.hear()
    assert owner.last(Room).names == ["Ada"] and owner.last(Room).viewers == 1  # type: ignore[attr-defined]
    owner.session.ended(1.0)
    viewer.say(Leave())
    rooms.tick(40.0)
    assert len(rooms) == 0


def test_who_alone_holds_a_room_may_go_to_another_where_there_may_be_no_more() -> None:
    rooms = Rooms(RoomLimits(max_rooms=2, max_viewers_per_room=1), WALL_S)
    goes, stays = Client(rooms), Client(rooms)
    goes.join("a", "viewer")
    stays.join("b", "viewer")
    goes.join("c", "viewer")
    goes.join("c", "viewer", place="another-place-of-the-same")
    assert sorted(room.id for room in rooms) == ["name-b", "name-c"]
    stays.say(Join("c", "viewer"))
    assert stays.error() == "room_full" and len(rooms) == 2


def test_a_client_that_goes_from_room_to_room_is_slowed_down(rooms: Rooms) -> None:
    client = Client(rooms)
    for number in range(20):
        client.say(Join(f"r{number}"))
    assert client.error() == "bad_message" and len(rooms) == 1
    assert sum(isinstance(message, Joined) for message in client.heard) <= 5
    client.now_s = 10.0
    client.join("studio")


def test_who_can_not_enter_is_still_welcome(rooms: Rooms) -> None:
    client = Client(rooms)
    fresh = Session("x", client.session._settings, 0.0, rooms=rooms)
    fresh.received(messages.encode(Hello(1, ["packed"], join=Join("no such name!"))), 0.0)
    said = [messages.decode_server(fresh.next_message(0.0)) for _ in range(2)]  # type: ignore[arg-type]
    assert isinstance(said[0], Welcome) and isinstance(said[1], Error) and said[1].code == "room_name"


def test_who_is_in_no_room_may_leave_it(rooms: Rooms) -> None:
    client = Client(rooms)
    heard = list(client.heard)
    client.say(Leave())
    client.say(Join("no such name!"), Leave())  # As the page does after every refusal.
    assert client.error() == "room_name" and len(client.heard) == len(heard) + 1


@pytest.mark.parametrize("message", [Watch("x"), Govern(close=True)])
def test_room_messages_need_a_room(rooms: Rooms, message: messages.ClientMessage) -> None:
    client = Client(rooms)
    client.say(message)
    assert client.error() == "bad_message"


# --- other codecs ---


def test_what_a_viewer_decodes_not_is_made_once_a_frame_for_all_who_need_it(rooms: Rooms) -> None:
    asked: list[tuple[SharedRoom, RoomFrame, Rendition]] = []
    rooms.recode = lambda *what: asked.append(what)
    camera = Client(rooms, codecs=("depth", "packed", "points"))
    camera.join("studio", "camera")
    viewers = [Client(rooms) for _ in range(3)]
    for viewer in viewers:
        viewer.join("studio", "viewer")
    for tag in (1, 2, 3):
        camera.film(tag, "depth")
    assert [(frame.packed.data[0], to) for _, frame, to in asked] == [(1, Rendition("packed"))], "one at a time"
    room, frame, rendition = asked[0]
    room.recoded(frame, rendition, packed(10))
    assert [frame.packed.data[0] for _, frame, _ in asked] == [1, 3], "then the newest"
    room.recoded(asked[1][1], rendition, None)  # It failed; the next one has another chance.
    camera.film(4, "depth")
    assert len(asked) == 3
    for viewer in viewers:
        viewer.hear()
        assert viewer.seen == [10]


# --- the original protocol for several cameras ---


class Original:
    """A client of it: texts and bare JPEGs."""

    def __init__(self, rooms: Rooms, role: str) -> None:
        quality = QualitySettings(enabled=False)
        config = SessionSettings("0.0", ENGINE, FrameOptions(), OptionLimits(), SessionLimits(), quality, 1000, 100)
        self.session = Session("old", config, 0.0, rooms=rooms)
        self.session.received(json.dumps({"type": "register_role", "role": role, "timestamp": 1.5}), 0.0)

    def hear(self, now_s: float = 0.0) -> list[dict[str, object]]:
        found = []
        while (raw := self.session.next_message(now_s)) is not None:
            self.session.delivered(now_s)
            found.append(json.loads(raw) if isinstance(raw, str) else msgpack.unpackb(raw))
        return found

    def film(self) -> FrameRequest:
        self.session.received(JPEG, 0.0)
        job = self.session.next_capture(0.0)
        assert job is not None
        ticket, capture = job
        self.session.finished(ticket, packed(1, capture.request.codec_for("lifted", True)), 0.0)
        return capture.request


def points_frame() -> PackedFrame:
    gaussians = Gaussians(
        np.array([[1, 2, 3]], np.float32), np.full((1, 3), 0.1, np.float32), np.array([[1, 0, 0, 0]], np.float32),
        np.ones(1, np.float32), np.zeros((1, 1, 3), np.float32),
    )  # fmt: skip
    return replace(packed(0), codec=original.POINTS, data=original.encode_points(gaussians))


def test_registered_clients_of_the_original_protocol_share_one_room(rooms: Rooms) -> None:
    rooms.recode = lambda room, frame, to: room.recoded(frame, to, points_frame() if to.codec == original.POINTS else None)
    viewer, camera = Original(rooms, "viewer"), Original(rooms, "camera")
    (listed,) = viewer.hear()[-1:]
    client_id = next(iter(rooms)).cameras[0].id
    assert listed == {"type": "camera_list", "cameras": [{"client_id": client_id, "buffer_size": 0}], "count": 1}
    request = camera.film()
    assert request.options.codec == "auto" and request.options.colors == "jpeg"
    (seen,) = viewer.hear()
    assert datetime.fromisoformat(str(seen.pop("timestamp"))).tzinfo is not None
    points = np.frombuffer(seen.pop("points"), np.float32)  # type: ignore[call-overload]
    assert points.tolist() == [1, -2, 3], "y up, z forward"
    assert seen == {"type": "pointcloud", "num_points": 1, "colors": b"\x80\x80\x80", "num_views": 1}
    camera.session.ended(1.0)
    assert viewer.hear()[-1]["count"] == 0


def test_a_registered_camera_is_pinged_and_may_answer_and_gets_nothing_else(rooms: Rooms) -> None:
    camera = Original(rooms, "camera")
    camera.hear()
    camera.film()
    assert camera.hear() == []
    camera.session.check_idle(14.0)
    assert camera.hear() == []
    camera.session.check_idle(15.0)
    assert camera.hear() == [{"type": "ping"}]
    camera.session.received('{"type": "pong"}', 16.0)
    camera.session.received('{"type": "ping"}', 16.0)
    assert camera.hear() == [{"type": "pong"}]


@pytest.mark.parametrize(
    "text", ['{"type": "register_role", "role": "boss"}', '{"type": "register_role"}', '{"type": 3}', "[]", "nonsense"]
)
def test_other_texts_are_refused(rooms: Rooms, text: str) -> None:
    client = Original(rooms, "viewer")
    client.hear()
    client.session.received(text, 0.0)
    (error,) = client.hear()
    assert error["code"] == "bad_message"


# --- the relay ---


class Wire(Link):
    """A room's link to a hub, without any delay: what a replica says is there at once, what it hears when asked."""

    def __init__(self, hub: Hub, room: SharedRoom, replica: str) -> None:
        self.hub, self.room, self.replica, self.now_s = hub, room, replica, 0.0
        self.subscription = hub.subscribe(room.id, replica, room.attendance, 0.0)

    def announce(self, attendance: Attendance) -> None:
        self.hub.announce(self.room.id, self.replica, attendance, self.now_s)

    def publish(self, frame: RoomFrame) -> None:
        self.hub.publish(self.room.id, self.replica, frame, self.now_s)

    def film(self, replica: str, view: View) -> None:
        self.hub.film(self.room.id, self.replica, replica, view, self.now_s)

    def close(self) -> None:
        self.hub.close(self.room.id, self.replica)

    def listen(self, now_s: float = 0.0) -> None:
        news = self.hub.take(self.subscription)
        if news.closed:
            self.room.closed()
        else:
            self.room.news(news.others, news.frames)
            for view in news.views:
                self.room.filmed(view, now_s)


class Cluster:
    """Ingress replicas around one hub."""

    def __init__(self, replicas: int) -> None:
        self.hub = Hub(8)
        self.wires: list[Wire] = []
        self.rooms = [Rooms(RoomLimits(), WALL_S) for _ in range(replicas)]
        for index, each in enumerate(self.rooms):
            each.opened = lambda room, replica=f"r{index}": self.link(room, replica)  # type: ignore[misc]
            each.ended = self.unlink

    def link(self, room: SharedRoom, replica: str) -> None:
        room.link = wire = Wire(self.hub, room, replica)
        self.wires.append(wire)

    def unlink(self, room: SharedRoom) -> None:
        for wire in [wire for wire in self.wires if wire.room is room]:
            self.hub.unsubscribe(wire.subscription)
            self.wires.remove(wire)

    def settle(self, now_s: float = 0.0) -> None:
        for _ in range(3):
            for wire in list(self.wires):
                if wire.subscription.has_news():
                    wire.listen(now_s)


def test_a_viewer_on_another_replica_sees_the_same_and_the_last_frame_at_once() -> None:
    cluster = Cluster(3)
    camera = Client(cluster.rooms[0])
    camera.join("studio")
    camera.film(1)
    near, far = Client(cluster.rooms[1]), Client(cluster.rooms[2])
    for viewer in (near, far):
        viewer.join("studio", "viewer")
    cluster.settle()
    for viewer in (near, far):
        viewer.hear()
        assert viewer.seen == [1]
        viewer.ack()
    camera.film(2)
    cluster.settle()
    for viewer in (near, far):
        viewer.hear()
        assert viewer.seen == [1, 2] and viewer.last(Room).viewers == 2  # type: ignore[attr-defined]


def test_a_replica_is_sent_a_frame_once_however_many_watch_there_and_none_of_its_own() -> None:
    cluster = Cluster(2)
    camera = Client(cluster.rooms[0])
    camera.join("studio")
    viewers = [Client(cluster.rooms[1]) for _ in range(9)]
    for viewer in viewers:
        viewer.join("studio", "viewer")
    cluster.settle()
    camera.film(1)
    own, other = cluster.wires
    assert len(cluster.hub.take(other.subscription).frames) == 1 and not cluster.hub.take(own.subscription).frames


def test_nothing_is_sent_where_nobody_watches() -> None:
    cluster = Cluster(1)
    camera, viewer = Client(cluster.rooms[0]), Client(cluster.rooms[0])
    camera.join("studio")
    viewer.join("studio", "viewer")
    cluster.hub.publish = None  # type: ignore[assignment,method-assign]
    camera.film(1)
    viewer.hear()
    assert viewer.seen == [1]


def test_of_each_camera_only_the_newest_waits_for_a_slow_replica() -> None:
    cluster = Cluster(2)
    camera, viewer = Client(cluster.rooms[0]), Client(cluster.rooms[1])
    camera.join("studio", "camera")
    viewer.join("studio", "viewer")
    cluster.settle()
    for tag in range(50):
        camera.film(tag)
    assert [frame.packed.data[0] for frame in cluster.hub.take(cluster.wires[1].subscription).frames] == [49]


def test_closing_and_locking_reach_the_other_replicas() -> None:
    cluster = Cluster(2)
    owner, viewer, late = Client(cluster.rooms[0]), Client(cluster.rooms[1]), Client(cluster.rooms[1])
    keys = owner.join("new").keys
    viewer.join(keys["viewer"], "viewer")
    cluster.settle()
    owner.say(Govern(locked=True))
    cluster.settle()
    late.say(Join(keys["viewer"], "viewer"))
    assert late.error() == "room_locked"
    owner.say(Govern(close=True))
    cluster.settle()
    viewer.hear()
    assert viewer.error() == "room_closed"
    assert len(cluster.hub) == 0 and not any(map(len, cluster.rooms))


def test_a_room_stays_locked_when_the_replica_where_it_was_locked_leaves_it() -> None:
    cluster = Cluster(3)
    owner, viewer, late = (Client(rooms) for rooms in cluster.rooms)
    keys = owner.join("new").keys
    viewer.join(keys["viewer"], "viewer")
    cluster.settle()
    owner.say(Govern(locked=True))
    cluster.settle()
    owner.say(Leave())
    cluster.settle()
    viewer.hear()
    assert viewer.last(Room).locked is True  # type: ignore[attr-defined]
    camera = Client(cluster.rooms[2])
    camera.join(keys["camera"], "camera")
    cluster.settle()
    late.say(Join(keys["viewer"], "viewer"))
    assert late.error() == "room_locked", "those who come by way of another replica are told as well"
    owner.join(keys["owner"])
    cluster.settle()
    owner.now_s = 1.0
    owner.say(Govern(locked=False))
    cluster.settle()
    late.join(keys["viewer"], "viewer")


def test_a_replica_that_falls_silent_is_forgotten_and_told_so_when_it_speaks() -> None:
    cluster = Cluster(2)
    camera, viewer = Client(cluster.rooms[0]), Client(cluster.rooms[1])
    camera.join("studio")
    viewer.join("studio", "viewer")
    cluster.settle()
    dead, alive = cluster.wires
    alive.now_s = SILENT_S + 1
    alive.announce(alive.room.attendance)
    cluster.hub.tick(SILENT_S + 1)
    cluster.settle()
    viewer.hear()
    assert viewer.last(Room).cameras == [] and dead.subscription.is_over  # type: ignore[attr-defined]
    assert not cluster.hub.announce("name-studio", "r0", Attendance(), SILENT_S + 2)


def test_a_silent_replica_is_forgotten_though_the_others_are_never_quiet() -> None:
    cluster = Cluster(3)
    gone, camera, viewer = (Client(rooms) for rooms in cluster.rooms)
    for client, role in ((gone, "viewer"), (camera, "camera"), (viewer, "viewer")):
        client.join("studio", role)
    cluster.settle()
    silent, busy, quiet = cluster.wires
    for tenths in range(0, int(SILENT_S * 10) + 20):
        busy.now_s = tenths / 10
        camera.film(tenths % 100)
        if tenths % 20 == 0:
            quiet.now_s = busy.now_s
            quiet.announce(quiet.room.attendance)
        quiet.listen()
    assert silent.subscription.is_over and not quiet.subscription.is_over and not busy.subscription.is_over
    viewer.hear()
    assert viewer.last(Room).viewers == 1  # type: ignore[attr-defined]


# --- whatever happens ---


class Crowd(RuleBasedStateMachine):
    """Cameras and viewers on two replicas that come, go, film, lag and reload in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster(2)
        self.now_s, self.tag = 0.0, 0
        self.clients: list[Client] = []

    def _at(self, index: int) -> Client | None:
        return self.clients[index % len(self.clients)] if self.clients else None

    @rule(replica=st.integers(0, 1), role=st.sampled_from(["camera", "viewer", "both"]))
    def come(self, replica: int, role: str) -> None:
        if len(self.clients) < 8:
            client = Client(self.cluster.rooms[replica])
            client.now_s = self.now_s
            client.say(Join("studio", role))  # type: ignore[arg-type]
            self.clients.append(client)

    @rule(index=st.integers(0, 7), well=st.booleans())
    def go(self, index: int, well: bool) -> None:
        if client := self._at(index):
            if well:
                client.say(Leave())
            client.session.ended(self.now_s)
            self.clients.remove(client)

    @rule(index=st.integers(0, 7))
    def film(self, index: int) -> None:
        client = self._at(index)
        if client and client.session._seat.role in ("camera", "both") and client.session.ready_frame(self.now_s) is None:
            self.tag = (self.tag + 1) % 256
            if client.session._queue.in_flight < 2 and not client.session._is_stalled(self.now_s):
                client.film(self.tag)

    @rule(index=st.integers(0, 7))
    def take(self, index: int) -> None:
        if client := self._at(index):
            client.hear()
            if client.last(Splats):
                client.ack()

    @rule()
    def settle(self) -> None:
        self.cluster.settle()

    @rule(seconds=st.floats(0.1, 20))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        for client in self.clients:
            client.now_s = self.now_s
        for rooms in self.cluster.rooms:
            rooms.tick(self.now_s)

    @invariant()
    def nothing_piles_up(self) -> None:
        for wire in self.cluster.wires:
            assert len(wire.subscription._frames) <= 8
            assert len(wire.room._last) <= 8
        assert len(self.cluster.hub) <= 1

    def teardown(self) -> None:
        self.cluster.settle()
        for rooms in self.cluster.rooms:
            for room in rooms:
                seats = [client.session._seat._member for client in self.clients]
                here = [member for member in seats if member and member.room is room]
                assert len(here) == len(room.members)
        for client in self.clients:
            client.session.ended(self.now_s)
        for rooms in self.cluster.rooms:
            rooms.tick(self.now_s + 31)
            assert len(rooms) == 0
        assert len(self.cluster.hub) == 0


TestCrowd = Crowd.TestCase
TestCrowd.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.floats(-1e6, 1e6), st.lists(st.tuples(st.floats(0.001, 0.4), st.floats(0.001, 0.4)), min_size=3, max_size=12))
def test_a_clients_clock_is_known_to_within_half_the_fastest_round_trip(offset_s: float, trips: list[tuple[float, float]]) -> None:
    clock, now_s = ClientClock(), 100.0
    for up_s, down_s in trips:
        clock.said((now_s - up_s - offset_s) * 1e3, now_s)
        clock.heard(now_s, (now_s + down_s - offset_s) * 1e3, now_s + down_s)
        now_s += 1.0
    error_s = abs(clock.offset_s - offset_s)  # type: ignore[operator]
    assert error_s <= (min(up for up, _ in trips) + min(down for _, down in trips)) / 2 + 1e-6
    assume(now_s - 1.0 > offset_s)
    assert clock.client_ms(clock.captured_s((now_s - 1.0 - offset_s) * 1e3, now_s)) == pytest.approx(
        (now_s - 1.0 - offset_s) * 1e3, abs=0.1
    )
