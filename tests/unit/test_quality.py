"""The controller and the real session on simulated links, in virtual time."""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from deployments.pipeline import Camera, PackedFrame
from deployments.stream import messages
from deployments.stream.messages import Ack, Configured, Dropped, Engine, Frame, Hello, Splats, Welcome
from deployments.stream.options import FrameOptions, OptionLimits
from deployments.stream.quality import CAUSES, QualitySettings
from deployments.stream.session import Session, SessionLimits

JPEG = b"\xff\xd8\xff" + bytes(25_000)
BYTES_A_SPLAT = 16
FULL_SPLATS, FULL_PX = 100_000, 504
SOCKET_BUFFER = 128 * 1024
TARGET_S = 0.25


@dataclass
class World:
    """A camera, a session, a graph with one replica, a link that is a queue both ways, and a client that shows one frame at a time.

    Attributes:
        mbit_s: The link's rate; may be changed on the way.
        rtt_s, jitter_s: Its delay there and back, and up to how much more.
        infer_s: What the model takes at full resolution; in proportion to the pixels below.
        fixed_infer: Whether the resolution makes no difference to it.
        show_s: What the client takes to decode and show the full number of splats; in proportion below.
    """

    mbit_s: float = 100.0
    rtt_s: float = 0.02
    jitter_s: float = 0.0
    infer_s: float = 0.04
    fixed_infer: bool = False
    show_s: float = 0.01
    fps: float = 30.0
    options: dict[str, object] = field(default_factory=dict)
    settings: QualitySettings = field(default_factory=QualitySettings)

    def __post_init__(self) -> None:
        engine = Engine("e", "e", "E", "Apache-2.0", ["lifted"])
        self.session = Session(
            "s", "0", engine, FrameOptions(), OptionLimits(), SessionLimits(), self.settings, 10**6, 10**7, now_s=0.0
        )
        self.now_s = 0.0
        self.shown: list[tuple[float, float, int, int]] = []  # when, age, splats, pixels
        self.causes: list[tuple[float, str]] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._random = random.Random(7)
        self._seq = -1
        self._unanswered = 0
        self._taken = True
        self.stalled_until_s = self._down_free_s = self._up_free_s = self._graph_free_s = self._client_free_s = 0.0
        self._say(Hello(1, ["packed", "points"], "test", self.options))
        self._capture()

    def at(self, when_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when_s, next(self._order), act))

    def run(self, until_s: float) -> "World":
        while self._events and self._events[0][0] <= until_s:
            self.now_s, _, act = heapq.heappop(self._events)
            act()
        self.now_s = until_s
        return self

    def _delay_s(self) -> float:
        return self.rtt_s / 2 + self.jitter_s * self._random.random()

    def _through(self, free_s: float, size: int) -> float:
        return max(self.now_s, free_s, self.stalled_until_s) + size * 8e-6 / self.mbit_s

    def _capture(self) -> None:
        if self._unanswered < 3:
            self._seq += 1
            self._unanswered += 1
            captured_s = self.now_s
            self._up_free_s = self._through(self._up_free_s, len(JPEG))
            frame = Frame(self._seq, [JPEG], captured_s * 1e3)
            self.at(self._up_free_s + self._delay_s(), lambda: self._say(frame))
        self.at(self.now_s + 1.0 / self.fps, self._capture)

    def _say(self, message: messages.ClientMessage) -> None:
        before = sum(self.session.tally.totals.quality_changes.values())
        self.session.received(messages.encode(message), self.now_s)
        changes = self.session.tally.totals.quality_changes
        if sum(changes.values()) > before:
            self.causes.append((self.now_s, self.session._quality.cause or ""))
        self._pump()

    def _pump(self) -> None:
        while job := self.session.next_capture(self.now_s):
            ticket, capture = job
            px = capture.options.inference_px or FULL_PX
            count = min(FULL_SPLATS, capture.options.max_splats)
            took_s = self.infer_s * (1.0 if self.fixed_infer else (px / FULL_PX) ** 2)
            self._graph_free_s = max(self.now_s, self._graph_free_s) + took_s
            camera = Camera(px, px * 3 // 4, 1.0, 1.0, 1.0, 1.0)
            data = np.zeros(count * BYTES_A_SPLAT, np.uint8)
            packed = PackedFrame("packed", "lifted", count, data, camera, {}, b"", {"infer": took_s * 1e3})
            self.at(self._graph_free_s + 0.03, lambda ticket=ticket, packed=packed: self._finish(ticket, packed))
        while self._taken and (raw := self.session.next_message(self.now_s)) is not None:
            assert isinstance(raw, bytes)
            self._taken = False
            self._down_free_s = self._through(self._down_free_s, len(raw))
            # The socket has taken it when what is left to send fits its buffer.
            taken_s = max(self.now_s, self._down_free_s - SOCKET_BUFFER * 8e-6 / self.mbit_s)
            self.at(taken_s, self._deliver)
            self.at(self._down_free_s + self._delay_s(), lambda raw=raw: self._hear(raw))

    def _finish(self, ticket: int, packed: PackedFrame) -> None:
        self.session.finished(ticket, packed, self.now_s)
        self._pump()

    def _deliver(self) -> None:
        self.session.delivered(self.now_s)
        self._taken = True
        self._pump()

    def _hear(self, raw: bytes) -> None:
        match messages.decode_server(raw):
            case Splats() as reply:
                self._unanswered = max(0, self._unanswered - 1)
                received_s = self.now_s
                self._client_free_s = max(self.now_s, self._client_free_s) + self.show_s * reply.count / FULL_SPLATS
                shown_s = self._client_free_s
                self.at(shown_s, lambda: self._show(reply, received_s))
            case Dropped(count=count):
                self._unanswered -= count
            case Welcome() | Configured():
                pass
            case other:
                pytest.fail(f"{other}")

    def _show(self, reply: Splats, received_s: float) -> None:
        age_s = self.now_s - reply.captured_ms / 1e3
        self.shown.append((self.now_s, age_s, reply.count, reply.camera.width))
        # Its clock is an hour off: only differences may count.
        ack = Ack(reply.seq, (received_s + 3600) * 1e3, (self.now_s + 3600) * 1e3, (self.now_s + 3600) * 1e3, age_s * 1e3)
        self.at(self.now_s + self._delay_s(), lambda: self._say(ack))

    def ages_s(self, since_s: float, until_s: float = 1e9) -> list[float]:
        return [age for when, age, _, _ in self.shown if since_s <= when < until_s]

    def splats(self, since_s: float, until_s: float = 1e9) -> list[int]:
        return [count for when, _, count, _ in self.shown if since_s <= when < until_s]

    def changes(self, since_s: float) -> int:
        return sum(when >= since_s for when, _ in self.causes)


LINKS = [(2.0, 0.02), (5.0, 0.02), (5.0, 0.1), (10.0, 0.04), (20.0, 0.01), (20.0, 0.1), (50.0, 0.04), (200.0, 0.01), (200.0, 0.15)]


@pytest.mark.parametrize(("mbit_s", "rtt_s"), LINKS)
@pytest.mark.parametrize("jitter_s", [0.0, 0.02])
def test_on_any_link_the_stream_settles_and_holds_the_age_it_allows(mbit_s: float, rtt_s: float, jitter_s: float) -> None:
    world = World(mbit_s, rtt_s, jitter_s).run(60.0)
    floor = FrameOptions().min_splats
    # The least there can be: picture up, hops and model with one frame before it, the smallest reply down, shown.
    upload_s, reply_s = len(JPEG) * 8e-6 / mbit_s, floor * BYTES_A_SPLAT * 8e-6 / mbit_s
    possible_s = rtt_s + 2 * jitter_s + 2 * upload_s + 0.03 + 2 * world.infer_s + reply_s + 0.01
    ages = world.ages_s(since_s=30.0)
    assert len(ages) > 30
    assert np.percentile(ages, 95) <= max(1.15 * TARGET_S, 1.5 * possible_s)
    assert world.changes(since_s=30.0) <= 6, world.causes
    assert all(floor <= count <= FULL_SPLATS for count in world.splats(0.0))


def test_a_fast_link_is_left_at_full_quality() -> None:
    world = World(200.0, 0.01).run(30.0)
    assert world.causes == [] and set(world.splats(0.0)) == {FULL_SPLATS}


def test_without_it_the_same_link_is_seconds_behind() -> None:
    without = World(10.0, 0.04, settings=QualitySettings(enabled=False)).run(40.0)
    assert np.percentile(without.ages_s(since_s=20.0), 50) > 10 * TARGET_S


def test_a_link_that_narrows_and_widens_again_is_followed_down_at_once_and_up_slowly_to_the_top() -> None:
    world = World(200.0, 0.03).run(20.0)
    assert set(world.splats(10.0)) == {FULL_SPLATS}
    world.mbit_s = 12.0
    world.run(60.0)
    assert np.percentile(world.ages_s(30.0, 60.0), 90) <= 1.15 * TARGET_S
    narrow = np.median(world.splats(40.0, 60.0))
    assert narrow < 0.5 * FULL_SPLATS
    world.mbit_s = 200.0
    world.run(64.0)
    assert max(world.splats(60.0)) < 2 * narrow, "slowly"
    world.run(150.0)
    assert set(world.splats(140.0)) == {FULL_SPLATS}, "and fully"


def test_a_stall_of_two_seconds_changes_little_and_is_over_soon() -> None:
    world = World(60.0, 0.03).run(20.0)
    before = world.changes(0.0)
    world.stalled_until_s = 22.0
    world.run(60.0)
    assert np.percentile(world.ages_s(24.0, 60.0), 95) <= 1.15 * TARGET_S
    assert world.changes(0.0) - before <= 3
    assert np.median(world.splats(55.0)) >= 0.9 * np.median(world.splats(10.0, 20.0))


def test_a_slow_model_is_given_a_coarser_picture_and_never_below_the_least() -> None:
    world = World(400.0, infer_s=0.3).run(60.0)
    assert {cause for _, cause in world.causes} >= {"compute"}
    pixels = [px for when, _, _, px in world.shown if when > 30.0]
    assert FrameOptions().min_inference_px <= min(pixels) and max(pixels) < FULL_PX
    assert np.percentile(world.ages_s(30.0), 95) <= 1.2 * TARGET_S
    assert np.median(world.splats(30.0)) == FULL_SPLATS, "the network is not to blame"
    assert world.changes(30.0) <= 6


def test_where_a_coarser_picture_changes_nothing_it_is_given_back() -> None:
    world = World(400.0, infer_s=0.3, fixed_infer=True).run(60.0)
    assert {cause for _, cause in world.causes} == {"compute", "no_gain"}
    assert np.median([px for when, _, _, px in world.shown if when > 10.0]) == FULL_PX
    assert len(world.causes) <= 4


def test_a_slow_client_is_given_fewer_splats_and_is_named_as_the_cause() -> None:
    world = World(show_s=0.6).run(60.0)
    assert {cause for _, cause in world.causes} & {"client"} and "network" not in {cause for _, cause in world.causes}
    assert np.percentile(world.ages_s(30.0), 95) <= 1.2 * TARGET_S
    assert np.median(world.splats(30.0)) < 0.5 * FULL_SPLATS


def test_the_clients_own_choice_is_the_most_its_minimum_the_least_and_off_is_off() -> None:
    narrow = World(3.0, options={"max_splats": 50_000, "min_splats": 40_000}).run(30.0)
    assert min(narrow.splats(0.0)) >= 40_000 and max(narrow.splats(0.0)) == 50_000
    off = World(10.0, options={"adapt": False}).run(20.0)
    assert off.causes == [] and set(off.splats(0.0)) == {FULL_SPLATS}


def test_every_cause_has_its_words() -> None:
    assert set(CAUSES) == {"network", "client", "compute", "recovered", "no_gain"}
    assert all(words[0].islower() and not words.endswith(".") for words in CAUSES.values())
