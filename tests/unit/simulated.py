"""A camera, the real session, a graph, a link and a client, in virtual time.

``python -m tests.unit.simulated`` prints how streams begin that start small, and that do not.
"""

import heapq
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from deployments.splats.camera import Camera
from deployments.stream import messages
from deployments.stream.frames import FrameRequest, PackedFrame
from deployments.stream.messages import Ack, Configure, Configured, Dropped, Engine, Frame, Hello, Splats, Welcome
from deployments.stream.options import FrameOptions, OptionLimits
from deployments.stream.quality import QualitySettings
from deployments.stream.session import Session
from deployments.stream.session_settings import SessionLimits, SessionSettings

JPEG = b"\xff\xd8\xff" + bytes(25_000)
BYTES_A_SPLAT = {"packed": 16, "points": 15, "ply": 56, "depth": 0.3, "planes": 1.35}
BYTES_A_DOUBLING = {"depth": [1.0, 0.7, 0.49, 0.343], "planes": [1.0, 0.7, 0.43, 0.31]}
"""Of the depth step, from 1/512 on; not just what the controller expects."""
FULL_SPLATS, FULL_PX = 100_000, 504
SOCKET_BUFFER = 128 * 1024
HOPS_S = 0.03
"""Of the graph, on top of the model."""
TARGET_S = QualitySettings().target_age_ms / 1e3


class Link:
    """One link for every world on it: a queue each way, in order as TCP is; it has their clock.

    Attributes:
        mbit_s: Its rate; may be changed on the way.
        rtt_s, jitter_s: Its delay there and back, and up to how much more each way.
    """

    def __init__(self, mbit_s: float, rtt_s: float = 0.02, jitter_s: float = 0.0) -> None:
        self.mbit_s, self.rtt_s, self.jitter_s = mbit_s, rtt_s, jitter_s
        self.now_s = self.stalled_until_s = 0.0
        self._free_s = {"up": 0.0, "down": 0.0}
        self._arrived_s = {"up": 0.0, "down": 0.0}
        self._random = random.Random(7)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, when_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when_s, next(self._order), act))

    def every(self, period_s: float, act: Callable[[], None]) -> None:
        self.at(self.now_s + period_s, lambda: (act(), self.every(period_s, act))[0])

    def run(self, until_s: float) -> None:
        while self._events and self._events[0][0] <= until_s:
            self.now_s, _, act = heapq.heappop(self._events)
            act()
        self.now_s = until_s

    def send(self, way: str, size: int, hear: Callable[[], None]) -> float:
        """Send bytes; ``hear`` is called when they have arrived.

        Returns:
            When the last of them is on the link.
        """
        free_s = max(self.now_s, self._free_s[way], self.stalled_until_s) + size * 8e-6 / self.mbit_s
        delay_s = self.rtt_s / 2 + self.jitter_s * self._random.random()
        self._free_s[way], self._arrived_s[way] = free_s, max(self._arrived_s[way], free_s + delay_s)
        self.at(self._arrived_s[way], hear)
        return free_s


@dataclass
class World:
    """A session with all that is around it: a graph with one replica, and a client that shows one frame at a time.

    Attributes:
        link: Between them.
        infer_s: What the model takes at full resolution; in proportion to the pixels below.
        fixed_infer: Whether the resolution makes no difference to it.
        fixed_px: Whether it does not even heed the resolution.
        show_s: What the client takes to decode and show the full number of splats; in proportion below.
        full_splats: Of a frame, without a budget.
        fits_budget: Whether the model makes no more than the budget, and about two thirds of it, as relief does, in the place of
            being cut.
        fps: Of the camera.
        options: What the client asks for at first.
        hidden: Whether nobody looks: replies are acknowledged, and not shown.
        asleep_until_s: The client does nothing until then.
    """

    link: Link
    infer_s: float = 0.04
    fixed_infer: bool = False
    fixed_px: bool = False
    show_s: float = 0.01
    full_splats: int = FULL_SPLATS
    fits_budget: bool = False
    fps: float = 30.0
    codecs: tuple[str, ...] = ("packed", "points")
    options: dict[str, Any] = field(default_factory=dict)
    settings: QualitySettings = field(default_factory=QualitySettings)
    hidden: bool = False
    asleep_until_s: float = 0.0

    def __post_init__(self) -> None:
        engine = Engine("e", "e", "E", "Apache-2.0", ["lifted"])
        limits, choice = SessionLimits(), OptionLimits()
        settings = SessionSettings("0", engine, FrameOptions(), choice, limits, self.settings, 10**6, 10**7)
        self.session = Session("s", settings, now_s=0.0)
        self.shown: list[tuple[float, float, Splats]] = []  # when, age, what
        self.causes: list[tuple[float, str]] = []
        self.made: list[tuple[float, FrameOptions, int]] = []  # when, with which options, how many splats
        self._seq = -1
        self._unanswered = 0
        self._taken = True
        self._graph_free_s = self._client_free_s = 0.0
        self._say(Hello(1, list(self.codecs), "test", self.options))
        self._capture()

    def run(self, until_s: float) -> "World":
        self.link.run(until_s)
        return self

    def configure(self, **options: Any) -> None:
        self._say(Configure(options))

    def ages_s(self, since_s: float, until_s: float = 1e9) -> list[float]:
        return [age for when, age, _ in self.shown if since_s <= when < until_s]

    def splats(self, since_s: float, until_s: float = 1e9) -> list[int]:
        return [reply.count for when, _, reply in self.shown if since_s <= when < until_s]

    def pixels(self, since_s: float, until_s: float = 1e9) -> list[int]:
        return [reply.camera.width for when, _, reply in self.shown if since_s <= when < until_s]

    def changes(self, since_s: float) -> int:
        return sum(when >= since_s for when, _ in self.causes)

    def _capture(self) -> None:
        if self._unanswered < 3:
            self._seq += 1
            self._unanswered += 1
            frame = Frame(self._seq, [JPEG], self.link.now_s * 1e3)
            self.link.send("up", len(JPEG), lambda: self._say(frame))
        self.link.at(self.link.now_s + 1.0 / self.fps, self._capture)

    def _say(self, message: messages.ClientMessage) -> None:
        before = self._quality_changes()
        self.session.received(messages.encode(message), self.link.now_s)
        changed = (cause for cause, count in self._quality_changes().items() if count > before.get(cause, 0))
        self.causes += [(self.link.now_s, cause) for cause in changed]
        self._pump()

    def _quality_changes(self) -> dict[str, int]:
        return self.session.counts.by_label("quality_changes")

    def _pump(self) -> None:
        while job := self.session.next_capture(self.link.now_s):
            ticket, capture = job
            px = FULL_PX if self.fixed_px else capture.request.options.inference_px or FULL_PX
            budget = capture.request.options.max_splats
            count = min(self.full_splats, budget * 65 // 100 if self.fits_budget else budget)
            took_s = self.infer_s * (1.0 if self.fixed_infer else (px / FULL_PX) ** 2)
            self._graph_free_s = max(self.link.now_s, self._graph_free_s) + took_s
            options = capture.request.options
            auto = next((codec for codec in ("depth", "planes") if codec in capture.request.codecs), "packed")
            codec = auto if options.codec == "auto" else options.codec
            self.made.append((self.link.now_s, options, count))
            size = count * BYTES_A_SPLAT[codec]
            if codec in BYTES_A_DOUBLING:
                doublings = math.log2(options.depth_step / FrameOptions().depth_step)
                size *= np.interp(doublings, range(4), BYTES_A_DOUBLING[codec])
            packed = PackedFrame(
                codec,
                "lifted",
                count,
                np.zeros(round(size), np.uint8),
                Camera(px, px * 3 // 4, 1.0, 1.0, 1.0, 1.0),
                {"budget": 0 if self.fits_budget else self.full_splats - count},
                FrameRequest(timings={"infer": took_s * 1e3}),
            )
            self.link.at(self._graph_free_s + HOPS_S, lambda ticket=ticket, packed=packed: self._finish(ticket, packed))
        while self._taken and (raw := self.session.next_message(self.link.now_s)) is not None:
            assert isinstance(raw, bytes)
            self._taken = False
            on_link_s = self.link.send("down", len(raw), lambda raw=raw: self._hear(raw))
            # The socket has taken it when what is left to send fits its buffer.
            self.link.at(max(self.link.now_s, on_link_s - SOCKET_BUFFER * 8e-6 / self.link.mbit_s), self._deliver)

    def _finish(self, ticket: int, packed: PackedFrame) -> None:
        self.session.finished(ticket, packed, self.link.now_s)
        self._pump()

    def _deliver(self) -> None:
        self.session.delivered(self.link.now_s)
        self._taken = True
        self._pump()

    def _hear(self, raw: bytes) -> None:
        match messages.decode_server(raw):
            case Splats() as reply:
                self._unanswered = max(0, self._unanswered - 1)
                received_s = self.link.now_s
                began_s = max(received_s, self._client_free_s, self.asleep_until_s)
                self._client_free_s = began_s + self.show_s * reply.count / FULL_SPLATS
                self.link.at(self._client_free_s, lambda: self._show(reply, received_s))
            case Dropped(count=count):
                self._unanswered -= count
            case Welcome() | Configured():
                pass
            case other:
                pytest.fail(f"{other}")

    def _show(self, reply: Splats, received_s: float) -> None:
        now_s = self.link.now_s
        age_s = now_s - reply.captured_ms / 1e3
        # Its clock is an hour off: only differences may count.
        received_ms, now_ms = (received_s + 3600) * 1e3, (now_s + 3600) * 1e3
        ack = Ack(reply.seq, received_ms, now_ms, now_ms, age_s * 1e3)
        if self.hidden:
            ack = Ack(reply.seq, received_ms, now_ms)
        else:
            self.shown.append((now_s, age_s, structs.replace(reply, data=b"")))  # Of megabytes each, thousands are shown.
        self.link.send("up", 60, lambda: self._say(ack))


_STARTS: dict[str, dict[str, Any]] = {
    "200 Mbit/s, 20 ms": {"link": (200.0, 0.02)},
    "the same, 0.4 s away": {"link": (200.0, 0.4)},
    "20 Mbit/s, 40 ms": {"link": (20.0, 0.04)},
    "2 Mbit/s, 60 ms": {"link": (2.0, 0.06)},
    "2 Mbit/s, 60 ms, `depth`": {"link": (2.0, 0.06), "codecs": ("depth", "packed", "points")},
    "a device that shows in 0.6 s": {"link": (100.0, 0.02), "show_s": 0.6},
    "a device that shows in 3 s": {"link": (100.0, 0.02), "show_s": 3.0},
}


def _began(start_splats: int, link: tuple[float, float], **kinds: Any) -> str:
    """Cells of a table: when the first full frame was shown, and the oldest frame of the first ten seconds."""
    world = World(Link(*link), options={"start_splats": start_splats}, **kinds).run(10.0)
    full_s = next((f"{when:.1f} s" for when, _, reply in world.shown if reply.count == world.full_splats), "never")
    return f"{full_s} | {max(world.ages_s(0.0)):.1f} s"


if __name__ == "__main__":
    print("| 100,000 splats over | full at | oldest | starting small, full at | oldest |\n|---|---|---|---|---|")
    for words, kinds in _STARTS.items():
        print(f"| {words} | {_began(0, **kinds)} | {_began(24_000, **kinds)} |")
