"""Admission to the graph against a simulated graph, in virtual time."""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from deployments.stream.admission import Admission, AdmissionLimits


@dataclass
class World:
    """Replicas that serve one batch at a time, sessions with cameras, and admission between them."""

    replicas: int = 1
    service_s: float = 0.1
    batch: int = 1
    hops_s: float = 0.04
    jitter: float = 0.0
    max_in_flight: int = 2
    limits: AdmissionLimits = field(default_factory=AdmissionLimits)

    def __post_init__(self) -> None:
        self.admission = Admission(self.limits)
        self.now_s = 0.0
        self.sessions: list[Camera] = []
        self.limit_seen: list[tuple[float, int]] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._random = random.Random(1)
        self._queue: deque[tuple[Camera, float, float]] = deque()
        self._busy = 0

    def at(self, when_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when_s, next(self._order), act))

    def run(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while self._events and self._events[0][0] <= end_s:
            self.now_s, _, act = heapq.heappop(self._events)
            act()
            self.limit_seen.append((self.now_s, self.admission.limit))
        self.now_s = end_s

    def add(self, fps: float) -> "Camera":
        camera = Camera(self, fps, phase_s=self._random.random() / fps)
        self.sessions.append(camera)
        return camera

    def submit(self, camera: "Camera", captured_s: float) -> None:
        entered_s = self.now_s
        self.at(self.now_s + self.hops_s / 2, lambda: self._arrive(camera, captured_s, entered_s))

    def _arrive(self, camera: "Camera", captured_s: float, entered_s: float) -> None:
        self._queue.append((camera, captured_s, entered_s))
        self._serve()

    def _serve(self) -> None:
        while self._queue and self._busy < self.replicas:
            batch = [self._queue.popleft() for _ in range(min(self.batch, len(self._queue)))]
            self._busy += 1
            worked_s = self.service_s * (1.0 + self.jitter * self._random.random())
            self.at(self.now_s + worked_s, lambda batch=batch, worked_s=worked_s: self._served(batch, worked_s))

    def _served(self, batch: list[tuple["Camera", float, float]], worked_s: float) -> None:
        self._busy -= 1
        for frame in batch:
            self.at(self.now_s + self.hops_s / 2, lambda frame=frame: self._leave(*frame, worked_s, len(batch) / self.batch))
        self._serve()

    def _leave(self, camera: "Camera", captured_s: float, entered_s: float, worked_s: float, fill: float) -> None:
        camera.in_flight -= 1
        camera.answered.append((self.now_s, self.now_s - captured_s))
        self.admission.finished(self.now_s - entered_s, worked_s, fill)
        camera.ask()

    def ages_s(self, since_s: float) -> list[float]:
        return [age for camera in self.sessions for when, age in camera.answered if when >= since_s]


class Camera:
    """A session that keeps its newest frame while it waits."""

    def __init__(self, world: World, fps: float, phase_s: float) -> None:
        self.world, self.period_s = world, 1.0 / fps
        self.newest: tuple[int, float] | None = None
        self.in_flight = self.frames = 0
        self.gone = False
        self.answered: list[tuple[float, float]] = []
        world.at(world.now_s + phase_s, self._capture)

    def _capture(self) -> None:
        if self.gone:
            return
        self.frames += 1
        self.newest = (self.frames, self.world.now_s)
        self.ask()
        self.world.at(self.world.now_s + self.period_s, self._capture)

    def ask(self) -> None:
        if self.newest and self.in_flight < self.world.max_in_flight:
            self.world.admission.ask(self._start, self.newest[0])

    def _start(self) -> bool:
        if self.gone or not self.newest:
            return False
        self.in_flight += 1
        (_, captured_s), self.newest = self.newest, None
        self.world.submit(self, captured_s)
        return True


CASES = {
    "one replica": World(),
    "a fast model": World(service_s=0.02),
    "a slow model": World(service_s=0.8),
    "four replicas": World(replicas=4),
    "batches of four": World(batch=4, service_s=0.2),
    "four replicas with batches of four and jitter": World(replicas=4, batch=4, service_s=0.2, jitter=0.5),
    "hops that cost more than the work": World(service_s=0.03, hops_s=0.12),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("overload", [2.0, 6.0])
def test_at_a_multiple_of_the_capacity_the_graph_is_full_and_the_age_flat(name: str, overload: float) -> None:
    case = CASES[name]
    world = World(case.replicas, case.service_s, case.batch, case.hops_s, case.jitter)
    capacity_fps = world.replicas * world.batch / (world.service_s * (1.0 + world.jitter / 2))
    sessions = max(4, 2 * world.replicas * world.batch)
    for _ in range(sessions):
        world.add(overload * capacity_fps / sessions)
    world.run(60.0)
    ages = world.ages_s(since_s=20.0)
    assert len(ages) / 40.0 >= 0.93 * capacity_fps
    # The graph: its hops, the service (a batch's worst), and the wait for one other and a half; before that the age of the newest
    # frame, one camera period at most.
    worst_service_s = world.service_s * (1.0 + world.jitter)
    period_s = sessions / (overload * capacity_fps)
    assert np.percentile(ages, 95) <= world.hops_s + 2.6 * worst_service_s + 0.02 + period_s
    early, late = (np.median([a for c in world.sessions for t, a in c.answered if lo <= t < hi]) for lo, hi in ((20, 40), (40, 60)))
    # Cameras drift against the turns: how old the newest frame is when its turn comes varies by a period.
    assert late <= 1.1 * early + 0.5 * period_s


def test_sessions_share_the_graph_equally_whatever_their_cameras_offer() -> None:
    world = World()
    for fps in (2.5, 5.0, 10.0, 30.0, 30.0, 30.0):
        world.add(fps)
    world.run(60.0)
    served = [len(camera.answered) for camera in world.sessions]
    assert max(served) / min(served) <= 1.1


def test_a_session_that_wants_less_than_its_share_gets_all_it_wants() -> None:
    world = World()
    modest, *greedy = [world.add(fps) for fps in (1.0, 30.0, 30.0, 30.0)]
    world.run(60.0)
    assert len(modest.answered) >= 58
    assert sum(len(camera.answered) for camera in greedy) >= 0.93 * 60 * 9


def test_the_limit_follows_replicas_that_come_and_go() -> None:
    world = World()
    for _ in range(32):
        world.add(5.0)
    world.run(20.0)
    one = world.admission.limit
    world.replicas = 8
    world.run(20.0)
    assert len(world.ages_s(since_s=35.0)) / 5.0 >= 0.93 * 80
    world.replicas = 1
    world.run(20.0)
    assert one <= 4 and world.admission.limit <= 4
    assert np.percentile(world.ages_s(since_s=55.0), 95) <= 0.75


def test_nothing_is_held_back_below_the_capacity() -> None:
    world = World(replicas=2)
    for _ in range(4):
        world.add(3.5)
    world.run(30.0)
    assert len(world.ages_s(since_s=0.0)) >= 0.97 * sum(camera.frames for camera in world.sessions)


def test_frames_passed_over_at_the_door_are_counted_and_those_of_a_session_without_credit_are_not() -> None:
    world = World(max_in_flight=1)
    world.add(30.0)
    world.run(5.0)
    assert world.admission.passed_over == 0, "one session that waits for itself asks for no second replica"
    crowd = World()
    for _ in range(8):
        crowd.add(10.0)
    crowd.run(20.0)
    wanted = crowd.admission.served + crowd.admission.passed_over
    assert 6.0 <= wanted / crowd.admission.served <= 9.0, "eight sessions of 10 FPS on a capacity of 10"


def test_who_left_while_waiting_costs_nobody_a_place() -> None:
    admission = Admission(AdmissionLimits(max_in_flight=1))
    started: list[str] = []

    def start(name: str, there: bool = True) -> Callable[[], bool]:
        def begin() -> bool:
            if there:
                started.append(name)
            return there

        return begin

    admission.ask(start("first"), 0)
    gone, withdrawn, last = start("gone", there=False), start("withdrawn"), start("last")
    for waiting in (gone, withdrawn, last):
        admission.ask(waiting, 0)
    admission.withdraw(withdrawn)
    assert started == ["first"] and admission.waiting == 2
    admission.finished(None)
    assert started == ["first", "last"] and admission.in_flight == 1
    admission.finished(0.1, 0.05)
    assert admission.in_flight == 0 and admission.waiting == 0


def test_full_queues_shrink_the_limit_at_once_and_lost_frames_teach_nothing() -> None:
    admission = Admission(AdmissionLimits())
    running = 0

    def start() -> bool:
        nonlocal running
        running += 1
        return True

    for frame in range(400):
        admission.ask(start, frame)
        if admission.in_flight >= admission.limit:
            for _ in range(admission.in_flight):
                admission.finished(0.05, 0.05)
    for frame in range(admission.limit + 1):
        admission.ask(start, frame)
    before = admission.limit
    admission.finished(None)
    assert admission.limit == before
    admission.finished(None, refused=True)
    assert admission.limit < before or before == 1


def test_the_limit_stays_within_its_bounds() -> None:
    world = World(replicas=64, limits=AdmissionLimits(max_in_flight=10), max_in_flight=2)
    for _ in range(40):
        world.add(30.0)
    world.run(10.0)
    assert max(limit for _, limit in world.limit_seen) == 10
    assert min(limit for _, limit in world.limit_seen) >= 1


def test_a_slow_first_frame_does_not_count_as_what_the_hops_cost() -> None:
    world = World()
    world.hops_s = 1.5
    probe = world.add(0.25)
    world.run(5.0)
    assert len(probe.answered) == 1
    probe.gone, world.hops_s = True, 0.04
    for _ in range(16):
        world.add(2.5)
    world.run(20.0)
    assert world.admission.limit <= 4
    assert np.percentile(world.ages_s(since_s=20.0), 95) <= 0.04 + 2.6 * 0.1 + 0.02 + 0.4
