"""Several cameras of a room in one capture, told through sessions: one world of all that saw the same moment."""

from collections.abc import Callable
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from deployments.stream import messages
from deployments.stream.errors import ImageBroken
from deployments.stream.frames import Capture
from deployments.stream.handed_frames import MOST_WAITING
from deployments.stream.messages import Ack, Dropped, Error, Frame, Join, Leave, Published, Room, Splats
from deployments.stream.room_limits import RoomLimits
from deployments.stream.rooms import Rooms
from tests.unit.test_rooms import ENGINE, WALL_S, Client, Cluster, packed

JOINS = replace(ENGINE, joins_views=True)


class Clock:
    """The time, and the timers of rooms."""

    def __init__(self, *all_rooms: Rooms) -> None:
        self.now_s = 1.0
        self.timers: list[tuple[float, Callable[[float], None]]] = []
        for rooms in all_rooms:
            rooms.later = lambda at_s, call: self.timers.append((at_s, call))

    def pass_by(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while due := min((timer for timer in self.timers if timer[0] <= until_s), default=None, key=lambda timer: timer[0]):
            self.timers.remove(due)
            self.now_s = max(self.now_s, due[0])
            due[1](self.now_s)
        self.now_s = until_s


class Camera(Client):
    """A client whose frames say who took them, and its part of the graph."""

    def __init__(self, rooms: Rooms, clock: Clock, name: str, max_views: int = 8, engine: messages.Engine = JOINS) -> None:
        super().__init__(rooms, engine=engine, max_views=max_views)
        self.clock, self.name = clock, name
        self.computed: list[Capture] = []

    @property
    def now_s(self) -> float:
        return self.clock.now_s if hasattr(self, "clock") else 0.0

    @now_s.setter
    def now_s(self, now_s: float) -> None:
        pass

    def enter(self, role: str = "both", room: str = "studio") -> str:
        return self.join(room, role, t=self.now_s * 1e3, name=self.name).id

    def shoot(self, late_s: float = 0.0, **more: object) -> None:
        picture = f"\xff\xd8\xff{self.name}".encode("latin-1")
        captured_ms = (self.now_s - late_s) * 1e3
        self.say(Frame(self._seq, [picture], captured_ms, **more))  # type: ignore[arg-type]
        self._seq += 1

    def compute(self, tag: int = 0, failed: bool = False) -> str:
        """The views of the capture that waits, each by who took it; the graph answers."""
        job = self.session.next_capture(self.now_s)
        if job is None:
            return ""
        ticket, capture = job
        self.computed.append(capture)
        outcome = ImageBroken("for the test") if failed else replace(packed(tag), request=capture.request)
        self.session.finished(ticket, outcome, self.now_s)
        self.hear()
        return "".join(view[3:].decode() for view in capture.views)

    def answers(self) -> list[int]:
        """Numbers of the frames that were answered, once for each answer."""
        found = []
        for message in self.heard:
            if isinstance(message, Dropped):
                found += message.seqs
            elif isinstance(message, (Published, Splats)) or (isinstance(message, Error) and message.seq is not None):
                found.append(message.seq)
        return sorted(found)

    @property
    def in_capture(self) -> list[bool]:
        self.hear()
        room = self.last(Room)
        assert isinstance(room, Room)
        return [camera.in_capture for camera in room.cameras]


@pytest.fixture
def rooms() -> Rooms:
    return Rooms(RoomLimits(), WALL_S)


@pytest.fixture
def clock(rooms: Rooms) -> Clock:
    return Clock(rooms)


def three(rooms: Rooms, clock: Clock, roles: tuple[str, str] = ("both", "both")) -> tuple[Camera, Camera, Client]:
    """Two cameras that have each shown one frame, so that it is known that they can take part, and a viewer."""
    a, b = Camera(rooms, clock, "a"), Camera(rooms, clock, "b")
    for camera, role in zip((a, b), roles, strict=True):
        camera.enter(role)
        clock.pass_by(0.1)
    viewer = Client(rooms)
    viewer.join("studio", "viewer")
    a.shoot()
    assert a.compute() == "a", "alone it goes by itself"
    b.shoot()
    clock.pass_by(0.01)
    a.shoot()
    assert a.compute(1) == "ab"
    for client in (a, b, viewer):
        client.hear()
        client.heard = [message for message in client.heard if isinstance(message, Room)]
        client.say(Ack(99))
    return a, b, viewer


def both_shoot(clock: Clock, *cameras: Camera) -> None:
    clock.pass_by(0.05)
    for camera in cameras:
        camera.shoot()


def test_cameras_frames_of_one_moment_are_one_capture_which_all_see(rooms: Rooms, clock: Clock) -> None:
    a, b, viewer = three(rooms, clock)
    both_shoot(clock, a, b)
    assert b.compute() == "" and a.compute(7) == "ab"
    for client in (b, viewer):
        client.hear()
        assert client.seen == [7]
    world = b.last(Splats)
    assert isinstance(world, Splats) and world.seq == 1, "it is the answer to what this camera sent"
    assert world.source == viewer.last(Splats).source != ""  # type: ignore[attr-defined]
    assert a.last(Splats).source == "" and a.in_capture == [True, True]  # type: ignore[attr-defined]


def test_the_camera_that_was_there_first_comes_first_whoever_is_quicker(rooms: Rooms, clock: Clock) -> None:
    a, b, _ = three(rooms, clock)
    both_shoot(clock, b, a)
    assert a.compute() == "ab"


def test_a_camera_that_wants_no_splats_gets_a_receipt_for_each_frame_whatever_the_graph_does(rooms: Rooms, clock: Clock) -> None:
    a, b, _ = three(rooms, clock, ("both", "camera"))
    for _ in range(5):
        both_shoot(clock, b)
    assert b.answers() == [1, 2, 3, 4, 5] and isinstance(b.last(Published), Published)
    a.shoot()
    assert a.compute() == "ab"
    b.hear()
    assert b.seen == []


def test_with_one_view_a_frame_each_camera_is_computed_by_itself(rooms: Rooms, clock: Clock) -> None:
    for max_views, engine in ((1, JOINS), (8, ENGINE)):
        a, b = (Camera(rooms, clock, name, max_views, engine) for name in "ab")
        for camera in (a, b):
            camera.enter(room=f"studio{max_views}")
        for _ in range(3):
            both_shoot(clock, a, b)
            assert (a.compute(), b.compute()) == ("a", "b")
        assert a.in_capture == [False, False]


def test_more_cameras_than_views_are_computed_by_themselves(rooms: Rooms, clock: Clock) -> None:
    a, b, c = (Camera(rooms, clock, name, 2) for name in "abc")
    for camera in (a, b, c):
        camera.enter()
        clock.pass_by(0.05)
    for _ in range(3):
        both_shoot(clock, a, b, c)
        found = a.compute(), b.compute(), c.compute()
    assert found == ("ab", "", "c")
    assert c.in_capture == [True, True, False]


def test_a_camera_whose_clock_is_unknown_is_computed_by_itself(rooms: Rooms, clock: Clock) -> None:
    a, _, _ = three(rooms, clock)
    c = Camera(rooms, clock, "c")
    c.join("studio", "both")
    both_shoot(clock, c)
    assert c.compute() == "c"
    c.say(messages.Ping(clock.now_s * 1e3))
    both_shoot(clock, c)
    assert c.compute() == "" and len(a.in_capture) == 3


def test_what_knows_its_camera_is_computed_by_itself(rooms: Rooms, clock: Clock) -> None:
    a, b, _ = three(rooms, clock)
    clock.pass_by(0.05)
    known = messages.KnownCamera(5.0, 5.0, 2.0, 1.5)
    b.shoot(cameras=[known])
    assert b.compute() == "b"
    a.shoot()
    assert a.compute() == "a"


def test_a_camera_that_stops_is_left_out_and_that_is_said_and_it_comes_back(rooms: Rooms, clock: Clock) -> None:
    a, b, viewer = three(rooms, clock)
    clock.pass_by(0.05)
    a.shoot()
    assert a.compute() == ""
    clock.pass_by(0.31)
    assert a.compute(3) == "a"
    viewer.hear()
    assert viewer.seen[-1] == 3 and a.in_capture == [True, False]
    a.shoot()
    assert a.compute() == "a", "it is not waited for again"
    views = ""
    for _ in range(60):
        both_shoot(clock, b, a)
        views = a.compute()
        a.say(Ack(99))
    assert views == "ab" and b.in_capture == [True, True]


def test_an_origin_that_stops_does_not_stop_the_others(rooms: Rooms, clock: Clock) -> None:
    a, b, viewer = three(rooms, clock)
    clock.pass_by(0.05)
    b.shoot()
    clock.pass_by(0.31)
    assert a.compute(4) == "b", "its session computes, without its picture"
    viewer.hear()
    b.hear()
    assert viewer.seen == b.seen == [4]
    assert b.in_capture == [False, True] and a.heard[-1] == a.last(Room)


def test_nobody_is_left_out_while_the_origin_waits_for_a_slow_graph(rooms: Rooms, clock: Clock) -> None:
    a, b, _ = three(rooms, clock)
    both_shoot(clock, a, b)
    job = a.session.next_capture(clock.now_s)
    assert job is not None
    for _ in range(100):  # Five seconds, of which the origin can't use a frame.
        both_shoot(clock, b)
    a.session.finished(job[0], packed(5), clock.now_s)
    both_shoot(clock, b, a)
    assert a.compute() == "ab" and a.in_capture == [True, True]


def test_the_next_camera_is_the_origin_when_the_first_one_leaves(rooms: Rooms, clock: Clock) -> None:
    a, b, viewer = three(rooms, clock)
    c = Camera(rooms, clock, "c")
    c.enter()
    for _ in range(2):
        both_shoot(clock, a, b, c)
        a.compute()
    a.say(Leave())
    both_shoot(clock, b, c)
    assert b.compute(9) == "bc"
    viewer.hear()
    viewer.say(Ack(99))
    assert viewer.seen[-1] == 9
    c.say(Leave())
    both_shoot(clock, b)
    assert b.compute() == "b", "the rest goes on"


def test_a_capture_that_fails_is_said_to_the_origin_and_the_next_one_goes_on(rooms: Rooms, clock: Clock) -> None:
    a, b, _ = three(rooms, clock)
    both_shoot(clock, a, b)
    assert a.compute(failed=True) == "ab" and a.error() == "image_broken"
    clock.pass_by(2.0)
    b.session.check_idle(clock.now_s)
    b.hear()
    assert b.answers() == [1], "it does not wait for ever"
    both_shoot(clock, b, a)
    assert a.compute() == "ab"


def test_a_session_that_ends_says_why_and_nothing_of_what_waits(rooms: Rooms, clock: Clock) -> None:
    a, b, viewer = three(rooms, clock)
    clock.pass_by(0.05)
    b.shoot()
    a.shoot(0.2)
    a.session.failed()
    b.session.failed()
    a.hear()
    b.hear()
    clock.pass_by(1.0)
    for camera in (a, b):
        camera.session.check_idle(clock.now_s)
        camera.hear()
        assert isinstance(camera.heard[-1], Error) and camera.heard[-1].fatal
        camera.session.ended(clock.now_s)
    viewer.hear()
    assert [camera.away for camera in viewer.last(Room).cameras] == [True, True]  # type: ignore[attr-defined]


def test_of_the_origins_frames_the_newest_wins_and_each_is_answered(rooms: Rooms, clock: Clock) -> None:
    a, b, _ = three(rooms, clock)
    for _ in range(4):
        clock.pass_by(0.06)
        a.shoot()
    b.shoot()
    assert a.compute() == "ab" and a.compute() == ""
    assert a.answers() == [2, 3, 4, 5]


def test_frames_of_an_origin_that_floods_are_bounded(rooms: Rooms, clock: Clock) -> None:
    a, _, _ = three(rooms, clock)
    for _ in range(3 * MOST_WAITING):
        clock.pass_by(0.001)
        a.shoot()
    assert len(a.session._handed._origins) <= MOST_WAITING


def test_a_picture_that_takes_more_than_its_share_of_a_frames_bytes_is_computed_by_itself(rooms: Rooms, clock: Clock) -> None:
    a, b, _ = three(rooms, clock)
    b.name = "b" * 123  # Of 1000 bytes and eight views, with the three that make it a JPEG.
    both_shoot(clock, b, a)
    assert (a.compute(), b.compute()) == ("a", b.name)


def test_a_room_that_is_closed_answers_what_waits_and_forgets_its_timers(rooms: Rooms, clock: Clock) -> None:
    a, b = Camera(rooms, clock, "a"), Camera(rooms, clock, "b")
    keys = a.join("new", t=1e3).keys
    clock.pass_by(0.1)
    b.join(keys["camera"], t=clock.now_s * 1e3)
    for _ in range(2):
        both_shoot(clock, b, a)
        a.compute()
        b.compute()
    clock.pass_by(0.05)
    a.shoot()
    a.say(messages.Govern(close=True))
    assert clock.timers
    clock.pass_by(1.0)
    assert a.compute() == "" and a.answers() == [0, 1, 2]


def test_a_viewer_who_chose_a_camera_that_takes_part_sees_the_world(rooms: Rooms, clock: Clock) -> None:
    a, b, viewer = three(rooms, clock)
    viewer.say(messages.Watch(b.last(Room) and next(iter(rooms)).joint[1]))  # type: ignore[arg-type]
    both_shoot(clock, a, b)
    a.compute(6)
    viewer.hear()
    assert viewer.seen[-1] == 6 and viewer.last(Room).shown == next(iter(rooms)).joint[0]  # type: ignore[attr-defined]


# --- on several ingress replicas ---


def far() -> tuple[Cluster, Clock, Camera, Camera]:
    cluster = Cluster(2)
    clock = Clock(*cluster.rooms)
    a, b = Camera(cluster.rooms[0], clock, "a"), Camera(cluster.rooms[1], clock, "b")
    for camera in (a, b):
        camera.enter()
        clock.pass_by(0.1)
    for _ in range(2):
        both_shoot(clock, b, a)
        cluster.settle(clock.now_s)
        a.compute()
        b.compute()
        cluster.settle(clock.now_s)
    for camera in (a, b):
        camera.hear()
        camera.heard = [message for message in camera.heard if isinstance(message, Room)]
        camera.say(Ack(99))
    return cluster, clock, a, b


def test_a_camera_on_another_replica_takes_part_and_sees_the_world() -> None:
    cluster, clock, a, b = far()
    viewer = Client(cluster.rooms[1])
    viewer.join("studio", "viewer")
    cluster.settle(clock.now_s)
    both_shoot(clock, b, a)
    cluster.settle(clock.now_s)
    assert b.compute() == "" and a.compute(8) == "ab"
    cluster.settle(clock.now_s)
    b.shoot()
    for client in (b, viewer):
        client.hear()
        assert client.seen[-1] == 8
    assert a.in_capture == b.in_capture == [True, True]


def test_on_another_replica_it_is_said_as_well_who_is_left_out() -> None:
    cluster, clock, a, b = far()
    clock.pass_by(0.05)
    a.shoot()
    clock.pass_by(0.31)
    assert a.compute() == "a"
    cluster.settle(clock.now_s)
    assert a.in_capture == b.in_capture == [True, False]


@pytest.mark.parametrize("by", [0, 1])
def test_on_another_replica_it_is_said_at_once_that_all_are_taken_back(by: int) -> None:
    cluster, clock, a, b = far()
    clock.pass_by(0.05)
    a.shoot()
    clock.pass_by(0.31)
    assert a.compute() == "a"
    c = Camera(cluster.rooms[by], clock, "c")
    c.enter()
    c.shoot()  # With one camera more, the capture begins anew.
    cluster.settle(clock.now_s)
    assert a.in_capture == b.in_capture == [True, True, True]


def test_for_a_slow_replica_only_the_newest_frame_of_a_camera_waits() -> None:
    cluster, clock, _, b = far()
    for _ in range(20):
        both_shoot(clock, b)
    assert [len(wire.subscription._views) for wire in cluster.wires] == [1, 0]


def test_when_the_origin_leaves_the_capture_moves_to_the_next_cameras_replica() -> None:
    cluster, clock, a, b = far()
    c = Camera(cluster.rooms[0], clock, "c")
    c.enter()
    a.say(Leave())
    for _ in range(3):
        cluster.settle(clock.now_s)
        both_shoot(clock, c, b)
        cluster.settle(clock.now_s)
        views = b.compute()
        c.compute()
    assert views == "bc"


# --- whatever happens ---


class Crowd(RuleBasedStateMachine):
    """Cameras on two replicas that come, go, film, lag, fail and take in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster(2)
        self.clock = Clock(*self.cluster.rooms)
        self.cameras: list[Camera] = []
        self.came = 0

    def _at(self, index: int) -> Camera | None:
        return self.cameras[index % len(self.cameras)] if self.cameras else None

    @rule(replica=st.integers(0, 1), role=st.sampled_from(["camera", "both"]))
    def come(self, replica: int, role: str) -> None:
        if len(self.cameras) < 5:
            self.clock.pass_by(0.001)  # Of two that come at once, chance would say who was first.
            self.came += 1
            camera = Camera(self.cluster.rooms[replica], self.clock, chr(ord("a") + self.came), max_views=3)
            camera.say(Join("studio", role, t=self.clock.now_s * 1e3))  # type: ignore[arg-type]
            if camera.session._seat.role:  # The places of those who have gone may still be kept.
                self.cameras.append(camera)

    @rule(index=st.integers(0, 7), well=st.booleans())
    def go(self, index: int, well: bool) -> None:
        if camera := self._at(index):
            if well:
                camera.say(Leave())
                assert not camera.session._handed.waits_for_moment and not camera.session._handed.waits_for_world
            camera.session.ended(self.clock.now_s)
            self.cameras.remove(camera)

    @rule(index=st.integers(0, 7), late_s=st.sampled_from([0.0, 0.02, 0.2]))
    def shoot(self, index: int, late_s: float) -> None:
        if camera := self._at(index):
            camera.shoot(late_s)

    @rule()
    def all_shoot(self) -> None:
        for camera in self.cameras:
            camera.shoot()

    @rule(index=st.integers(0, 7), failed=st.booleans())
    def compute(self, index: int, failed: bool) -> None:
        if camera := self._at(index):
            views = camera.compute(failed=failed)
            assert len(set(views)) == len(views) <= 3

    @rule(seconds=st.sampled_from([0.01, 0.05, 0.4, 3.0]))
    def wait(self, seconds: float) -> None:
        self.clock.pass_by(seconds)
        for rooms in self.cluster.rooms:
            rooms.tick(self.clock.now_s)

    @rule()
    def settle(self) -> None:
        self.cluster.settle(self.clock.now_s)

    @rule(index=st.integers(0, 7))
    def take(self, index: int) -> None:
        if camera := self._at(index):
            camera.hear()
            if isinstance(splats := camera.last(Splats), Splats):
                camera.say(Ack(splats.seq))

    @invariant()
    def each_frame_is_answered_at_most_once_and_worlds_rise(self) -> None:
        for camera in self.cameras:
            answers = camera.answers()
            assert len(answers) == len(set(answers))
            shown = [message.seq for message in camera.heard if isinstance(message, Splats)]
            assert shown == sorted(set(shown))

    @invariant()
    def nothing_piles_up(self) -> None:
        assert len(self.clock.timers) <= 2
        for wire in self.cluster.wires:
            assert len(wire.subscription._views) <= 8

    def teardown(self) -> None:
        for _ in range(4):
            self.cluster.settle(self.clock.now_s)
            self.clock.pass_by(3.0)
            for camera in self.cameras:
                while camera.compute():
                    pass
                camera.session.check_idle(self.clock.now_s)
                camera.hear()
                camera.say(Ack(2**52))
        for camera in self.cameras:
            assert camera.answers() == list(range(camera._seq)), "every frame has its answer"


TestCrowd = Crowd.TestCase
TestCrowd.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
