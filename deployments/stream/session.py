"""One client's live session as a state machine without I/O.

It is told what happened (``received``, ``finished``, ``delivered``) and when, and is asked what to do next
(``next_capture``, ``next_message``, ``closing``). The shell around it owns the socket, the tasks and the clock.

Invariants:

- The newest frame wins: at most ``max_in_flight`` captures are in the graph, one more waits, and it is the newest.
- Results leave in rising order of arrival; one that is older than what was sent or waits to be sent is dropped as ``stale``.
- One result waits to be sent at most; the client has at most ``max_unacked`` it has not acknowledged.
- Every frame is answered once: ``splats``, ``error``, or counted in a ``dropped`` notice.
- Memory is bounded whatever the client does: notices are counted, not queued; of the refusals and other answers that a client
  does not read, the newest 64 are kept.
- Frames above a rate are dropped before they cost more than being read; a flood of messages ends the session.
- Closing, it says why and nothing more.
"""

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from deployments.stream import legacy, messages
from deployments.stream.errors import (
    BadMessage,
    Flooded,
    FrameEmpty,
    FrameError,
    FrameTooLarge,
    InternalError,
    NoCommonCodec,
    SessionIdle,
    StreamError,
    TooManyBadMessages,
    WrongViewCount,
)
from deployments.stream.frames import Capture, FrameRequest, PackedFrame
from deployments.stream.options import FrameOptions, OptionLimits
from deployments.stream.outbox import Outbox
from deployments.stream.quality import Quality, QualitySettings, Setting
from deployments.stream.tally import SessionObserver, Tally
from deployments.stream.token_bucket import Allowance

_BAD_MESSAGES_IN_A_ROW = 64
_MESSAGES_PER_S = 1000.0
"""Beside the frames that are taken, and an ack for each: sliders, pings, and frames above the rate. At 50 µs each."""
_FLOOD = 2.0
"""Times the byte rate at which a session is closed: until then what is too much is dropped, and the client told."""
_MAX_AGE_MS = 60_000.0
"""An age above that is a clock that was set, or a page that was asleep."""
_MAX_SEQ = 2**53 - 1
"""What a float64, and so JavaScript, counts exactly."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What one session may cost.

    Attributes:
        max_views: Views of a frame. More than one is for models that join them.
        max_in_flight: Captures in the graph at a time. Two let the stages overlap; more only add age.
        max_unacked: Replies on the way to the client. Covers a round trip of 100 ms at 30 frames per second.
        idle_timeout_s: A session from which nothing comes for that long is closed, so half-open sockets end.
        stall_s: With a reply undelivered for that long, or unacknowledged while the next one waits for it, no further frame of the
            session is computed.
        max_frames_per_s: Frames above that are dropped. As many as the fastest webcams give, and more than any engine shows.
        max_bytes_per_s: Encoded bytes, likewise. 4K JPEGs of 1 MB at 60 a second.
    """

    max_views: int = 1
    max_in_flight: int = 2
    max_unacked: int = 4
    idle_timeout_s: float = 60.0
    stall_s: float = 1.0
    max_frames_per_s: float = 120.0
    max_bytes_per_s: float = 64 * 2**20


@dataclass(slots=True)
class _Frame:
    """A frame on its way. ``ticket`` is our own count: a client's ``seq`` may have gaps, and the original protocol has none.
    Until ``held_until_s`` it waited for the client to take what was sent before, and not for the graph."""

    ticket: int
    seq: int | None
    captured_ms: float
    capture: Capture
    arrived_s: float
    receive_ms: float | None = None
    held_until_s: float = 0.0
    setting: Setting | None = None


class Session:
    """See the module's docstring. All times are seconds of one monotonic clock that the shell passes in."""

    def __init__(
        self,
        session_id: str,
        version: str,
        engine: messages.Engine,
        defaults: FrameOptions,
        option_limits: OptionLimits,
        limits: SessionLimits,
        quality: QualitySettings,
        max_frame_bytes: int,
        max_frame_pixels: int,
        now_s: float,
        observers: Sequence[SessionObserver] = (),
    ) -> None:
        """Open a session.

        Args:
            session_id: Names it in the logs and to the client.
            version: The server's version.
            engine: What makes the splats.
            defaults: The options of a client that asks for nothing.
            option_limits: What it may ask for.
            limits: What it may cost.
            quality: What its quality is adapted to.
            max_frame_bytes: Encoded bytes of all views of a frame together; more is refused here.
            max_frame_pixels: Pixels of one view; announced here, refused by the decoder.
            now_s: The time.
            observers: Told what happens.
        """
        self.session_id = session_id
        self.client = ""
        self.closing: StreamError | None = None
        self.tally = Tally(observers, now_s)
        self._version = version
        self._engine = engine
        self._options = defaults
        self._option_limits = option_limits
        self._limits = limits
        self._quality = Quality(quality, limits.max_unacked)
        self._max_frame_bytes = max_frame_bytes
        self._max_frame_pixels = max_frame_pixels
        self._greeted = False
        self._legacy_options = legacy.options(defaults, engine)
        self._state = b""
        self._state_ticket = -1
        self._tickets = 0
        self._last_seq = -1
        self._waiting: _Frame | None = None
        self._in_flight: dict[int, _Frame] = {}
        self._result: tuple[_Frame, PackedFrame, float] | None = None
        self._last_ticket_out = -1
        self._unacked: deque[int] = deque()
        self._taken_s = now_s
        self._outbox = Outbox()
        self._bad_in_a_row = 0
        self._frames = Allowance(limits.max_frames_per_s, now_s)
        self._frame_bytes = Allowance(limits.max_bytes_per_s, now_s)
        self._messages = Allowance(_MESSAGES_PER_S + 2 * limits.max_frames_per_s, now_s)
        self._bytes = Allowance(_FLOOD * limits.max_bytes_per_s, now_s)
        self._send_began_s: float | None = None
        self._send_ms = 0.0
        self._sent: tuple[int, messages.QualityState | None] = 0, None
        self._last_heard_s = now_s

    # --- what happened ---

    def received(self, data: bytes | str, now_s: float) -> None:
        """A message came from the client."""
        self._last_heard_s = now_s
        if self.closing:
            return
        if not (self._messages.has(now_s) and self._bytes.has(now_s)):
            self._close(Flooded(self._messages.per_s, self._bytes.per_s))
            return
        self._messages.take(1)
        self._bytes.take(len(data))
        try:
            if isinstance(data, str):
                self._on_text(data)
            elif messages.is_image(data):
                self._on_frame(None, 0.0, (data,), now_s)
            elif not data:
                raise FrameEmpty
            else:
                self._on_message(messages.decode_client(data), now_s)
        except BadMessage as error:
            self._refuse(error, None)
            self._bad_in_a_row += 1
            if self._bad_in_a_row >= _BAD_MESSAGES_IN_A_ROW:
                self._close(TooManyBadMessages(_BAD_MESSAGES_IN_A_ROW))
        except StreamError as error:
            if error.close_code is None:
                self._refuse(error, None)
            else:
                self._close(error)
        else:
            self._bad_in_a_row = 0

    def finished(self, ticket: int, outcome: PackedFrame | FrameError | None, now_s: float) -> None:
        """The graph is done with a capture. ``None``: its queues were full."""
        frame = self._in_flight.pop(ticket)
        if self.closing or (self._greeted and frame.seq is None):
            return  # Nobody waits for it any more: not after goodbye, nor for the original protocol's reply after hello.
        if outcome is None:
            self._drop("overloaded", frame.seq)
        elif isinstance(outcome, FrameError):
            self._refuse(outcome, frame.seq)
        else:
            if ticket > self._state_ticket:
                self._state, self._state_ticket = outcome.request.state, ticket
            newest_out = self._result[0].ticket if self._result else self._last_ticket_out
            if ticket < newest_out:
                self._drop("stale", frame.seq)
                return
            if self._result:
                self._drop("slow_client", self._result[0].seq)
            self._result = (frame, outcome, now_s)

    def delivered(self, now_s: float) -> None:
        """The transport has taken the message that ``next_message`` gave last."""
        if self._send_began_s is not None:
            self._flows(now_s)
            self._send_ms = (now_s - self._send_began_s) * 1e3
            self._send_began_s = None

    def _flows(self, now_s: float) -> None:
        """To be called before what may end a stall is noted: until now the waiting frame waited for the client."""
        if self._waiting and self._is_stalled(now_s):
            self._waiting.held_until_s = now_s

    def failed(self) -> None:
        """The shell met a defect of ours: say so and close."""
        self._close(InternalError())

    # --- what to do ---

    def ready_frame(self, now_s: float) -> int | None:
        """The ticket of the frame that ``next_capture`` would give; None while the session has no credit or nothing to do.

        To be asked after every event.
        """
        frame = self._waiting
        if frame and frame.receive_ms is None:
            # Asked right after received(): what has passed since then is the reading of the message.
            frame.receive_ms = (now_s - frame.arrived_s) * 1e3
        if frame is None or self.closing or self._is_stalled(now_s) or len(self._in_flight) >= self._limits.max_in_flight:
            return None
        return frame.ticket

    def next_capture(self, now_s: float) -> tuple[int, Capture] | None:
        """The capture to submit now, with its ticket; None where ``ready_frame`` is."""
        frame = self._waiting
        if frame is None or self.ready_frame(now_s) is None:
            return None
        self._waiting = None
        # The state is the newest there is at submission: taken at arrival it would be a round of the graph older.
        request = frame.capture.request
        request.state = self._state
        if frame.seq is not None:
            frame.setting = self._quality.setting(request.options)
            request.options = frame.setting.options
        self._in_flight[frame.ticket] = frame
        return frame.ticket, frame.capture

    def _is_stalled(self, now_s: float) -> bool:
        # What would be computed now would be old, or thrown away, before it could go out; others need the time.
        since_s = self._send_began_s
        if since_s is None and self._result and self._unacked:
            since_s = self._taken_s
        return since_s is not None and now_s - since_s > self._limits.stall_s

    def next_message(self, now_s: float) -> bytes | str | None:
        """The message to send now; None while there is nothing to say or the client must acknowledge first.

        The caller hands it to the transport and calls ``delivered``; only then may it ask again.
        """
        message = self._pop_message(now_s)
        if message is not None:
            self._send_began_s = now_s
        return message

    def check_idle(self, now_s: float) -> None:
        """Close a session from which nothing has come for too long."""
        if now_s - self._last_heard_s > self._limits.idle_timeout_s:
            self._close(SessionIdle(self._limits.idle_timeout_s))

    def report(self, now_s: float) -> dict[str, Any]:
        """Numbers since the last report, for one log line."""
        return self.named(self.tally.report(now_s))

    def summary(self, now_s: float) -> dict[str, Any]:
        """Numbers since the session began, for the log line at its end."""
        return self.named(self.tally.summary(now_s))

    def row(self, now_s: float) -> dict[str, Any]:
        """Who it is and how it goes, for a table of sessions: the last report's numbers, and what the newest reply was."""
        count, quality = self._sent
        open_s = round(now_s - self.tally.began_s, 1)
        return self.named({**self.tally.lately(now_s), "open_s": open_s, "splats": count, "quality": quality and asdict(quality)})

    def named(self, numbers: dict[str, Any]) -> dict[str, Any]:
        """Whose numbers they are, and they."""
        return {"session": self.session_id, "client": self.client or "original protocol", **numbers}

    # --- messages ---

    def _on_text(self, text: str) -> None:
        try:
            message = json.loads(text) if len(text) < 1024 else None
        except (ValueError, RecursionError):
            message = None
        if not (isinstance(message, dict) and message.get("type") == "ping"):
            raise BadMessage('it is text; expected a binary msgpack map, an image, or the text {"type": "ping"}')
        self._outbox.answer('{"type": "pong"}')

    def _on_message(self, message: messages.ClientMessage, now_s: float) -> None:
        match message:
            case messages.Ping(t):
                self._outbox.answer(messages.encode(messages.Pong(t)))
            case messages.Hello():
                self._on_hello(message)
            case _ if not self._greeted:
                raise BadMessage(f"expected 'hello' before {messages.type_name(type(message))!r}")
            case messages.Frame(seq, views, captured_ms):
                self._on_frame(seq, captured_ms, tuple(views), now_s)
            case messages.Configure(options):
                self._options = self._option_limits.apply(self._options, options)
                self._quality.configured()
                self._outbox.answer(messages.encode(messages.Configured(asdict(self._options))))
            case messages.Ack():
                self._on_ack(message, now_s)

    def _on_ack(self, ack: messages.Ack, now_s: float) -> None:
        if not self._unacked or ack.seq < self._unacked[0]:
            return  # Of a reply that was acknowledged before, or never sent: nothing in it counts.
        self._flows(now_s)
        self._taken_s = now_s
        while self._unacked and self._unacked[0] <= ack.seq:
            self._unacked.popleft()
        age_ms = ack.age_ms if 0 < ack.age_ms < _MAX_AGE_MS else None
        self.tally.acked(ack.shown_ms > 0, age_ms)
        # Without any times it is of a client that does not measure; its acks come at once.
        unseen = ack.received_ms > 0 and not ack.shown_ms > 0
        client_ms = None if unseen else max(ack.decoded_ms, ack.shown_ms) - ack.received_ms
        if cause := self._quality.acked(ack.seq, client_ms, age_ms, self._options, now_s):
            self.tally.quality_changed(cause)

    def _on_hello(self, hello: messages.Hello) -> None:
        if self._greeted:
            raise BadMessage("'hello' was said already; use 'configure' to change options")
        self.client = hello.client[:80] or "unnamed"
        common = tuple(codec for codec in self._option_limits.codecs if codec in hello.codecs)
        if not common:
            raise NoCommonCodec(tuple(hello.codecs), self._option_limits.codecs)
        self._option_limits = replace(self._option_limits, codecs=common)
        options = self._options if {"packed", "points"} <= set(common) else replace(self._options, codec=common[0])
        for name, value in hello.options.items():
            # One by one: a client with a wish too many is still welcome, and is told which.
            try:
                options = self._option_limits.apply(options, {name: value})
            except BadMessage as error:
                self._refuse(error, None)
        self._options = options
        self._greeted = True
        self._waiting = None  # A bare image from before: its reply would be of the original protocol.
        limits, choice = self._limits, self._option_limits
        self._outbox.answer(
            messages.encode(
                messages.Welcome(
                    protocol=messages.PROTOCOL,
                    version=self._version,
                    session=self.session_id,
                    engine=self._engine,
                    options=asdict(self._options),
                    limits=messages.Limits(
                        max_frame_bytes=self._max_frame_bytes,
                        max_frame_pixels=self._max_frame_pixels,
                        max_views=limits.max_views,
                        max_in_flight=limits.max_in_flight,
                        max_unacked=limits.max_unacked,
                        max_splats=choice.max_splats,
                        max_inference_px=choice.max_inference_px,
                        codecs=list(common),
                        idle_timeout_s=limits.idle_timeout_s,
                    ),
                )
            )
        )

    def _on_frame(self, seq: int | None, captured_ms: float, views: tuple[bytes, ...], now_s: float) -> None:
        size = sum(map(len, views))
        self.tally.frame_received(size)
        if seq is None and self._greeted:
            seq = self._last_seq + 1
        if seq is not None:
            if not self._last_seq < seq <= _MAX_SEQ:
                self._refuse(BadMessage(f"'frame.seq': expected more than {self._last_seq}, 2**53 - 1 at most, got {seq}"), seq)
                return
            self._last_seq = seq
        try:
            if not 1 <= len(views) <= self._limits.max_views:
                raise WrongViewCount(len(views), self._limits.max_views)
            if not all(views):
                raise FrameEmpty
            if size > self._max_frame_bytes:
                raise FrameTooLarge(size, self._max_frame_bytes)
        except FrameError as error:
            self._refuse(error, seq)
            return
        if not (self._frames.has(now_s) and self._frame_bytes.has(now_s)):
            self._drop("rate_limited", seq)
            return
        self._frames.take(1)
        self._frame_bytes.take(size)
        if self._waiting:
            self._drop("superseded", self._waiting.seq)
        options = self._options if self._greeted else self._legacy_options
        capture = Capture(views, FrameRequest(options, frame_id=f"{self.session_id}/{self._tickets}"))
        self._waiting = _Frame(self._tickets, seq, captured_ms, capture, now_s)
        self._tickets += 1

    # --- answers ---

    def _pop_message(self, now_s: float) -> bytes | str | None:
        if (answer := self._outbox.next_answer()) is not None:
            return answer
        if self._result and self._quality.may_send(len(self._unacked), self._options, now_s):
            frame, packed, ready_s = self._result
            self._result = None
            return self._reply(frame, packed, ready_s, now_s)
        return self._outbox.next_notice()

    def _reply(self, frame: _Frame, packed: PackedFrame, ready_s: float, now_s: float) -> bytes:
        self._last_ticket_out = frame.ticket
        total_ms = (now_s - frame.arrived_s) * 1e3
        stages = {name: packed.request.timings.get(name, 0.0) for name in ("decode", "infer", "pack")}
        receive_ms = frame.receive_ms or 0.0
        # Everything that is not work: the wait for a credit, the graph's queues and hops.
        queue_ms = max(0.0, (ready_s - frame.arrived_s) * 1e3 - receive_ms - sum(stages.values()))
        timings = {"receive": receive_ms, "queue": queue_ms, **stages, "send": self._send_ms, "total": total_ms}
        quality: messages.QualityState | None = None
        if frame.seq is not None and frame.setting is not None:
            if not self._unacked:
                self._taken_s = now_s
            self._unacked.append(frame.seq)
            px, over_budget = max(packed.camera.width, packed.camera.height), packed.pruned.get("budget", 0)
            compute_s = ready_s - max(frame.arrived_s, frame.held_until_s)
            self._quality.sent(frame.seq, frame.setting, packed.count, over_budget, px, compute_s, now_s)
            quality = frame.setting.state(packed.count, over_budget)
            reply = messages.encode(
                messages.Splats(
                    seq=frame.seq,
                    captured_ms=frame.captured_ms,
                    codec=packed.codec,
                    kind=packed.kind,
                    label=self._engine.label,
                    count=packed.count,
                    camera=packed.camera,
                    pruned=packed.pruned,
                    timings_ms={name: round(ms, 3) for name, ms in timings.items()},
                    dropped=dict(self.tally.totals.drops),
                    quality=quality,
                    data=packed.data.data,  # type: ignore[arg-type]  # a view: msgpack writes it without a copy of ours
                )
            )
        else:
            reply = legacy.reply(packed)
        self._sent = packed.count, quality
        self.tally.splats_sent(len(reply), timings)
        return reply

    def _refuse(self, error: StreamError, seq: int | None) -> None:
        self.tally.refused(error.code)
        self._outbox.refuse(error, seq)

    def _drop(self, reason: str, seq: int | None) -> None:
        self.tally.dropped(reason)
        # The original protocol has no word for a dropped frame.
        if seq is not None:
            self._outbox.drop(reason, seq)

    def _close(self, error: StreamError) -> None:
        if not self.closing:
            self.closing = error
            self.tally.refused(error.code)
            self._waiting = self._result = None
            self._outbox.goodbye(error)
