"""Several cameras' frames as groups of one moment: told in small stories, simulated at real rates, and for any order of events."""

import random
from collections.abc import Iterator
from itertools import pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from deployments.stream.synchroniser import Group, Synchroniser

WINDOW_S, WAIT_S = 0.05, 0.3


def seen(group: Group | None) -> dict[str, float]:
    assert group is not None
    return {view.camera_id: view.captured_s for view in group.views}


def test_one_camera_alone_waits_for_nobody() -> None:
    joint = Synchroniser()
    assert joint.next(0.0) is None and joint.due_s is None and joint.origin is None
    assert joint.frame("a", 1.0, 0.9, b"picture")
    group = joint.next(1.0)
    assert group is not None and group.origin == "a" and group.captured_s == 0.9
    assert [(view.camera_id, view.jpeg) for view in group.views] == [("a", b"picture")]
    assert joint.next(1.0) is None


def test_views_come_in_the_order_of_joining_whoever_is_first_in_a_round() -> None:
    joint = Synchroniser()
    for camera in "bca":
        joint.frame(camera, 1.0, 1.0, b"")
    assert [*seen(joint.next(1.0))] == ["b", "c", "a"]
    for camera in "acb":
        assert joint.next(2.0) is None
        joint.frame(camera, 2.0, 2.0, b"")
    assert [*seen(joint.next(2.0))] == ["b", "c", "a"]


def test_frames_farther_apart_than_the_window_are_never_one_moment() -> None:
    joint = Synchroniser()
    joint.frame("a", 1.0, 1.0, b"")
    joint.frame("b", 1.06, 1.06, b"")
    assert joint.next(1.06) is None
    joint.frame("a", 1.1, 1.1, b"")
    assert seen(joint.next(1.1)) == {"a": 1.1, "b": 1.06}


def test_of_several_complete_groups_the_newest_counts_and_the_others_are_dropped() -> None:
    joint = Synchroniser()
    for at_s in (1.0, 1.1, 1.2):
        joint.frame("a", at_s, at_s, b"")
    for at_s in (1.01, 1.11, 1.21):
        joint.frame("b", at_s + 0.2, at_s, b"")
    assert seen(joint.next(1.45)) == {"a": 1.2, "b": 1.21}
    assert joint.next(1.45) is None


def test_a_frame_that_was_long_on_its_way_meets_what_the_others_saw_then() -> None:
    joint = Synchroniser()
    for i in range(9):  # 30 a second
        joint.frame("a", i / 30, i / 30, b"")
        if not i:
            assert joint.next(0.0) is not None
    joint.frame("b", 0.28, 0.1, b"")
    assert seen(joint.next(0.28)) == pytest.approx({"a": 0.1, "b": 0.1})


def test_a_fast_camera_keeps_what_a_late_frame_will_need_and_not_more() -> None:
    joint = Synchroniser()
    joint.frame("b", 0.0, 0.0, b"")
    for i in range(34):  # 120 a second: as many as are kept would be an eighth of one.
        joint.frame("a", i / 120, i / 120, b"")
        if not i:
            assert joint.next(0.0) is not None
    joint.frame("b", 0.285, 0.06, b"")
    times = seen(joint.next(0.285))
    assert abs(times["a"] - times["b"]) <= WINDOW_S


def test_a_camera_that_stalls_is_left_out_after_a_bounded_wait_and_said_and_comes_back_by_itself() -> None:
    joint = Synchroniser()
    for at_s in (0.0, 0.1):
        joint.frame("a", at_s, at_s, b"")
        joint.frame("b", at_s, at_s, b"")
        assert len(seen(joint.next(at_s))) == 2
    for at_s in (0.2, 0.3, 0.4):
        joint.frame("a", at_s, at_s, b"")
        assert joint.next(at_s) is None
    assert joint.due_s == pytest.approx(0.5) and joint.lagging() == []
    assert seen(joint.next(0.5)) == {"a": 0.4}
    (lag,) = joint.lagging()
    assert (lag.camera_id, lag.since_s) == ("b", 0.5) and lag.behind_s == pytest.approx(0.3)
    # From then on nobody waits.
    joint.frame("a", 0.6, 0.6, b"")
    assert seen(joint.next(0.6)) == {"a": 0.6}
    back_s = None
    for i in range(7, 40):
        at_s = i / 10
        joint.frame("a", at_s, at_s, b"")
        joint.frame("b", at_s, at_s, b"")
        if back_s is None and not joint.lagging():
            back_s = at_s
        assert len(seen(joint.next(at_s))) == (1 if back_s is None else 2)
    assert back_s is not None and 1.5 < back_s < 2.0, "a second of frames in time"


def test_a_camera_whose_clock_is_off_is_left_out_and_said() -> None:
    joint = Synchroniser()
    for i in range(30):
        at_s = 10 + i / 10
        joint.frame("a", at_s, at_s, b"")
        joint.frame("b", at_s, at_s - 2.0, b"")
        joint.next(at_s)
    (lag,) = joint.lagging()
    assert lag.camera_id == "b" and lag.behind_s == pytest.approx(2.0)


def test_cameras_that_look_at_different_times_do_not_wait_for_each_other_for_ever() -> None:
    # Five a second, half a period apart: no two frames are of one moment.
    joint, groups = Synchroniser(), []
    for i in range(50):
        at_s = i / 10
        joint.frame("ab"[i % 2], at_s, at_s, b"")
        if group := joint.next(at_s):
            groups.append(seen(group))
    assert len(groups) > 22 and all(len(group) == 1 for group in groups[1:])
    assert len(joint.lagging()) == 1 and joint.lagging()[0].behind_s <= 0.1


def test_two_that_agree_go_before_an_origin_that_disagrees() -> None:
    joint = Synchroniser()
    for i in range(10):
        at_s = 10 + i / 10
        for camera, off_s in (("a", 1.0), ("b", 0.0), ("c", 0.02)):
            joint.frame(camera, at_s, at_s - off_s, b"")
        group = joint.next(at_s)
    assert group is not None and [*seen(group)] == ["b", "c"] and group.origin == "a"
    assert [lag.camera_id for lag in joint.lagging()] == ["a"]


def test_who_leaves_takes_nothing_along_and_the_next_who_joined_is_the_origin() -> None:
    joint = Synchroniser()
    for camera in "abc":
        joint.frame(camera, 1.0, 1.0, b"")
    assert joint.origin == "a" and len(seen(joint.next(1.0))) == 3
    joint.frame("b", 2.0, 2.0, b"")
    joint.frame("c", 2.0, 2.0, b"")
    assert joint.next(2.0) is None
    joint.leave("a")
    joint.leave("nobody")
    group = joint.next(2.0)
    assert group is not None and [*seen(group)] == ["b", "c"] and group.origin == joint.origin == "b"
    # Whoever comes back joins anew, behind the others.
    for camera in "abc":
        joint.frame(camera, 3.0, 3.0, b"")
    assert [*seen(joint.next(3.0))] == ["b", "c", "a"]


def test_when_the_last_active_camera_goes_those_left_out_go_on() -> None:
    for leaves in (True, False):
        joint = Synchroniser()
        joint.frame("a", 0.0, 0.0, b"")
        joint.frame("b", 0.0, 0.0, b"")
        joint.next(0.0)
        for i in range(1, 8):
            joint.frame("a", i / 10, i / 10, b"")
            joint.next(i / 10)
        assert [lag.camera_id for lag in joint.lagging()] == ["b"]
        if leaves:
            joint.leave("a")
        joint.frame("b", 1.2, 1.2, b"")
        group = joint.next(1.2) or joint.next(1.2 + WAIT_S)
        assert seen(group) == {"b": 1.2}


def test_a_frame_is_not_from_the_future_and_not_older_than_the_last_one() -> None:
    joint = Synchroniser()
    assert joint.frame("a", 1.0, 99.0, b"")
    assert seen(joint.next(1.0)) == {"a": 1.0}
    assert not joint.frame("a", 1.1, 0.9, b"")
    assert not joint.frame("a", 1.1, float("nan"), b"")
    assert not joint.frame("a", 1.1, float("-inf"), b"")
    assert joint.next(1.1) is None


@pytest.mark.parametrize("window_s", [0.0, -1.0, 0.4, float("nan")])
def test_a_window_that_makes_no_sense_is_refused(window_s: float) -> None:
    with pytest.raises(ValueError, match="window_s"):
        Synchroniser(window_s=window_s)


def camera_events(camera: str, fps: float, phase_s: float, delay_s: float, seconds: float, rng: random.Random) -> Iterator[tuple]:
    """(arrival, camera, capture) of one that jitters by a fifth of its period, over a link that adds up to 40 ms."""
    arrived_s = 0.0
    for i in range(int(seconds * fps)):
        captured_s = phase_s + (i + rng.uniform(-0.1, 0.1)) / fps + 1.0
        arrived_s = max(arrived_s, captured_s + delay_s + rng.uniform(0, 0.04))  # In order, as on a socket.
        yield arrived_s, camera, captured_s


def run(joint: Synchroniser, events: list[tuple]) -> list[Group]:
    groups = []
    for arrived_s, camera, captured_s in events:
        while (due_s := joint.due_s) is not None and due_s <= arrived_s:
            group = joint.next(due_s)
            assert group is not None, "what is due comes"
            groups.append(group)
        joint.frame(camera, arrived_s, captured_s, b"")
        if group := joint.next(arrived_s):
            groups.append(group)
    return groups


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rates", [(30, 30), (30, 24, 10), (10, 30, 24, 15), (60, 12), (10, 10, 10)])
def test_cameras_of_different_rates_give_groups_at_nearly_the_rate_of_the_slowest(rates: tuple[int, ...], seed: int) -> None:
    rng, seconds = random.Random(seed), 30.0
    same = len(set(rates)) == 1
    events = sorted(
        event
        for i, fps in enumerate(rates)
        # Of one rate, phases differ by what the window allows; of different ones, they go through all.
        for event in camera_events("abcd"[i], fps, rng.uniform(0, 0.03 if same else 1 / fps), rng.uniform(0, 0.08), seconds, rng)
    )
    joint = Synchroniser()
    groups = run(joint, events)
    whole = [group for group in groups if len(group.views) == len(rates)]
    assert len(whole) > 0.9 * seconds * min(rates)
    assert joint.lagging() == []
    assert all(max(seen(g).values()) - g.captured_s <= WINDOW_S for g in groups)


def test_a_link_that_breaks_now_and_then_does_not_make_the_number_of_views_flicker() -> None:
    rng = random.Random(1)
    steady = [*camera_events("a", 20, 0.0, 0.02, 120, rng)]
    # Every two seconds nothing comes for half a second.
    broken = [(t + 0.5 if t % 2.0 > 1.5 else t, c, s) for t, c, s in camera_events("b", 20, 0.01, 0.02, 120, rng)]
    groups = run(Synchroniser(), sorted(steady + broken))
    sizes = [len(group.views) for group in groups]
    changes = sum(a != b for a, b in pairwise(sizes))
    assert changes <= 16, "without probation it would be 120"
    assert len(groups) > 0.8 * 20 * 120


class AnyOrder(RuleBasedStateMachine):
    """Cameras come, go, lag and lie about the time; whatever they do, a group is of one moment and nothing piles up."""

    cameras = st.sampled_from("abcd")

    def __init__(self) -> None:
        super().__init__()
        self.joint = Synchroniser(WINDOW_S, WAIT_S)
        self.now_s = 100.0
        self.joined: list[str] = []
        self.newest: dict[str, float] = {}
        self.used: dict[str, float] = {}

    @rule(camera=cameras, late_s=st.sampled_from([-1.0, 0.0, 0.0, 0.01, 0.04, 0.06, 0.2, 0.4, 5.0]))
    def a_frame_comes(self, camera: str, late_s: float) -> None:
        captured_s = min(self.now_s - late_s, self.now_s)
        counts = self.joint.frame(camera, self.now_s, self.now_s - late_s, f"{camera} {captured_s}".encode())
        if camera not in self.joined:
            self.joined.append(camera)
        assert counts == (captured_s > self.newest.get(camera, -1.0))
        self.newest[camera] = max(captured_s, self.newest.get(camera, -1.0))

    @rule(passed_s=st.sampled_from([0.001, 0.01, 0.033, 0.1, 0.31, 2.0]))
    def time_passes(self, passed_s: float) -> None:
        self.now_s += passed_s

    @rule(camera=cameras)
    def a_camera_leaves(self, camera: str) -> None:
        self.joint.leave(camera)
        if camera in self.joined:
            self.joined.remove(camera)
        self.newest.pop(camera, None)
        self.used.pop(camera, None)

    @rule()
    def somebody_asks(self) -> None:
        due_s = self.joint.due_s
        group = self.joint.next(self.now_s)
        assert group is not None or due_s is None or due_s > self.now_s, "what is due comes"
        if group is None:
            return
        times = seen(group)
        assert max(times.values()) - min(times.values()) <= WINDOW_S
        assert [*times] == [camera for camera in self.joined if camera in times], "in the order of joining"
        assert group.origin == self.joined[0]
        left_out = {lag.camera_id for lag in self.joint.lagging()}
        assert set(times) | left_out == set(self.joined), "whoever is missing is named"
        assert not set(times) & left_out
        for view in group.views:
            assert view.captured_s > self.used.get(view.camera_id, -1.0), "no frame twice, none older than one before"
            assert view.jpeg == f"{view.camera_id} {view.captured_s}".encode()
            self.used[view.camera_id] = view.captured_s

    @invariant()
    def nothing_piles_up(self) -> None:
        held = [len(camera.held) for camera in self.joint._cameras.values()]
        assert len(held) <= 4 and all(count <= 2 * WAIT_S / WINDOW_S + 3 for count in held)
        due_s = self.joint.due_s
        assert due_s is None or due_s <= self.now_s + WAIT_S
        assert self.joint.origin == (self.joined[0] if self.joined else None)


AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestAnyOrder = AnyOrder.TestCase
