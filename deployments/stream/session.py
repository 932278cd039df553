"""One client's live session as a state machine without I/O.

It is told what happened (``received``, ``finished``, ``delivered``) and when, and asked what to do next
(``next_capture``, ``next_message``, ``closing``). The shell around it owns the socket, the tasks and the clock.

Invariants:

- The newest frame wins: at most ``max_in_flight`` captures are in the graph, and only the newest other one waits.
- Results leave in order of arrival; one older than what was sent or waits to be sent is dropped as ``stale``.
- At most one result waits to be sent; the client has at most ``max_unacked`` that it has not acknowledged.
- Every frame is answered once: ``splats``, ``error``, or counted in a ``dropped`` notice.
- Memory is bounded whatever the client does: notices are counted, not queued; of the refusals and other answers that a client
  does not read, the newest 64 are kept.
- Frames above a rate are dropped once read, before they cost anything more; a flood of messages ends the session.
- When the session closes, it says why and nothing more.

A session may be in a room (:mod:`deployments.stream.rooms`). One that sends pictures there has everything as without a room, and
what it is answered is published as well; one that only watches is sent what others publish, by the same credits and acks. Where
cameras take part in one capture, the first one's session has it computed (:mod:`deployments.stream.joint_capture`).
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from deployments.splats.codecs import depth_heads
from deployments.splats.codecs.depth import without_pictures
from deployments.stream import known_cameras, legacy, messages, replies
from deployments.stream.counts import Counts, SessionReports
from deployments.stream.delivery import Delivery
from deployments.stream.errors import (
    BadMessage,
    FrameEmpty,
    FrameError,
    FrameTooLarge,
    InternalError,
    SessionIdle,
    StreamError,
    TooManyBadMessages,
    WrongViewCount,
)
from deployments.stream.frame_number import MAX_SEQ, frame_number
from deployments.stream.frame_queue import FrameQueue, Result
from deployments.stream.frames import Capture, FrameRequest, PackedFrame
from deployments.stream.handed_frames import Handed, HandedFrames
from deployments.stream.outbox import Outbox
from deployments.stream.quality import Quality
from deployments.stream.rooms import Rooms
from deployments.stream.seat import Joint, RoomMessage, Seat, Wish, needs_less
from deployments.stream.session_settings import SessionSettings
from deployments.stream.token_bucket import Rates

_BAD_MESSAGES_IN_A_ROW = 64
_BESIDE_A_FRAME = 2**16
"""Bytes of a message in addition to its frame's; far more than there ever are."""
_MAX_AGE_MS = 60_000.0
"""An age above this means that a clock was set, or the page was asleep."""


class Session:
    """See the module's docstring. All times are seconds of one monotonic clock that the shell passes in.

    Attributes:
        session_id: Its name in the logs and to the client.
        client: What the client calls itself.
        closing: Why the session is ending; None while it is not.
        counts: What happened in it.
        reports: The same, for the log.
        wake: Called when something happens by itself, in a room: ask :meth:`next_message` then. Set by the shell.
    """

    def __init__(
        self, session_id: str, settings: SessionSettings, now_s: float, counts: Counts | None = None, rooms: Rooms | None = None
    ) -> None:
        """Open a session.

        Args:
            session_id: Its name.
            settings: What it has in common with the others.
            now_s: The time.
            counts: The ingress replica's, which also count what happens here.
            rooms: The ingress replica's; None: there are none.
        """
        self.session_id = session_id
        self.client = ""
        self.closing: StreamError | None = None
        self.counts = Counts(parent=counts)
        self.reports = SessionReports(self.counts, now_s)
        self.wake: Callable[[], None] = lambda: None
        self._settings = settings
        self._options = settings.defaults
        self._option_limits = settings.option_limits
        self._original_options = legacy.options(settings.defaults, settings.engine)
        self._rates = Rates(settings.limits.max_frames_per_s, settings.limits.max_bytes_per_s, now_s)
        self._quality = Quality(settings.quality, settings.limits.max_unacked)
        self._queue = FrameQueue(session_id)
        self._delivery = Delivery(now_s)
        self._outbox = Outbox()
        self._handed = HandedFrames(lambda seq: self._drop("superseded", seq), self._went)
        self._seat = Seat(
            rooms,
            wish=lambda: Wish(
                self._options if self._greeted else legacy.VIEWER, self._option_limits.codecs, self._quality.setting(self._options)
            ),
            refuse=lambda why: self._refuse(why, None),
            joint=Joint(
                settings.limits.max_views if settings.engine.joins_views else 1,
                settings.max_frame_bytes // settings.limits.max_views,
                self._handed,
                lambda now_s: self._queue.in_flight > 0 or self.ready_frame(now_s) is not None,
                self._on_moment,
            ),
            replaced=lambda: self.counts.dropped("slow_client"),
            renumbered=self._renumbered,
            wake=lambda: self.wake(),
        )
        self._longest = settings.max_frame_bytes + _BESIDE_A_FRAME
        self._greeted = False
        self._last_seq = -1
        self._bad_in_a_row = 0
        self._last_heard_s = self._pinged_s = now_s
        self._last_sent: tuple[int, messages.QualityState | None] = 0, None

    # --- what happened ---

    def received(self, data: bytes | str, now_s: float) -> None:
        """A message came from the client."""
        self._last_heard_s = now_s
        if self.closing:
            return
        try:
            self._rates.message(len(data), now_s)
            if len(data) > self._longest:
                # Parsing it would hold up the event loop for milliseconds, and nothing in it would be accepted.
                raise FrameTooLarge(len(data), self._settings.max_frame_bytes)
            if isinstance(data, str):
                self._on_text(data, now_s)
            elif messages.is_image(data):
                self._on_frame(None, 0.0, Capture((data,)), now_s)
            elif not data:
                raise FrameEmpty
            else:
                self._on_message(messages.decode_client(data), now_s)
        except BadMessage as error:
            self._refuse(error, self._number_of(data))
            self._bad_in_a_row += 1
            if self._bad_in_a_row >= _BAD_MESSAGES_IN_A_ROW:
                self._close(TooManyBadMessages(_BAD_MESSAGES_IN_A_ROW))
        except StreamError as error:
            if error.close_code is None:
                self._refuse(error, self._number_of(data))
            else:
                self._close(error)
        else:
            self._bad_in_a_row = 0

    def _number_of(self, data: bytes | str) -> int | None:
        """Of the frame that a refused message was to be; None if it was to be none, or does not say."""
        if isinstance(data, str) or not self._greeted:
            return None
        seq = self._last_seq + 1 if messages.is_image(data) else frame_number(data, self._longest)
        if seq is not None and self._last_seq < seq <= MAX_SEQ:
            self._last_seq = seq  # A bare image that comes next must not be answered under the same number.
        return seq

    def read(self, now_s: float) -> None:
        """The message given to :meth:`received` has been read; the time since then is what reading it took."""
        frame = self._queue.waiting
        if frame and frame.arrived_s == self._last_heard_s:
            frame.receive_ms = (now_s - frame.arrived_s) * 1e3

    def finished(self, ticket: int, outcome: PackedFrame | FrameError | None, now_s: float) -> None:
        """The graph has finished a capture. ``None`` means that its queues were full."""
        frame = self._queue.finish(ticket)
        if self.closing:
            return
        if self._greeted and frame.seq is None and not frame.is_rooms:
            self._drop("superseded", None)  # Its reply would be in the original protocol.
        elif outcome is None:
            self._drop("overloaded", frame.seq)
        elif isinstance(outcome, FrameError):
            self._refuse(outcome, frame.seq)
        else:
            self._finished(Result(frame, outcome, now_s), now_s)

    def _finished(self, result: Result, now_s: float) -> None:
        reason, other = self._queue.offer(result) or ("", result.frame)
        if reason:
            self._drop(reason, other.seq)
        if reason == "stale":
            return
        frame = result.frame
        # Whatever becomes of this client's own reply: nobody waits for anybody.
        self._seat.publish(result.packed, frame.captured_ms, frame.arrived_s, now_s)
        if self._seat.role == "camera" or frame.is_rooms:
            self._queue.take_result()
            timings = replies.rounded(replies.own_timings(result, self._delivery.send_ms, now_s))
            self.counts.stages_passed(replies.until_packed(timings))
            if frame.seq is not None:
                self._outbox.answer(messages.encode(messages.Published(frame.seq, frame.captured_ms, timings)))

    def _went(self, frame: Handed) -> None:
        self._outbox.answer(messages.encode(messages.Published(frame.seq, frame.captured_ms, {})))

    def delivered(self, now_s: float) -> None:
        """The transport has accepted the last message from ``next_message``."""
        self._note_stall(now_s)
        self._delivery.sent(now_s)

    def failed(self) -> None:
        """The shell met a bug of ours: say so and close."""
        self._close(InternalError())

    def ended(self, now_s: float) -> None:
        """The client is gone; its place in a room is kept for a while."""
        self._seat.leave(now_s)

    def check_idle(self, now_s: float) -> None:
        """Close a session from which nothing has come for too long."""
        timeout_s = self._settings.limits.idle_timeout_s
        if now_s - self._last_heard_s > timeout_s:
            self._close(SessionIdle(timeout_s))
        self._handed.settle_old(now_s)
        if not self._greeted and self._seat.role == "camera" and now_s - self._pinged_s >= legacy.PING_S:
            self._pinged_s = now_s
            self._outbox.answer(legacy.PING)

    # --- what to do ---

    def ready_frame(self, now_s: float) -> int | None:
        """The ticket of the frame that ``next_capture`` would return; None while the session has no credit or nothing to do.

        Ask after every event.
        """
        frame, has_credit = self._queue.waiting, self._queue.in_flight < self._settings.limits.max_in_flight
        # Where this client's own camera is not in it, the others' capture does not wait for this client either.
        may_go = frame and has_credit and not self.closing and (frame.is_rooms or not self._is_stalled(now_s))
        return frame.ticket if frame and may_go else None

    def next_capture(self, now_s: float) -> tuple[int, Capture] | None:
        """The capture to submit now, with its ticket; None whenever ``ready_frame`` is."""
        if self.ready_frame(now_s) is None:
            return None
        frame = self._queue.start()
        if frame.seq is not None or frame.is_rooms:
            request = frame.capture.request
            frame.setting = self._quality.setting(request.options)
            request.options = frame.setting.options
            if self._seat.role:
                # Who watches has not the picture that was sent; it comes out of this client's own reply again.
                request.options = replace(request.options, colors="jpeg")
        return frame.ticket, frame.capture

    def next_message(self, now_s: float) -> bytes | str | None:
        """The message to send now; None if there is nothing to say, or the client must acknowledge first.

        The caller hands it to the transport and calls ``delivered``; only then may it ask again.
        """
        message = self._outbox.next_answer()
        if message is None and self.closing:
            return None
        if message is None and (news := self._seat.next_news()):
            message = messages.encode(news) if self._greeted else legacy.camera_list(news)
        if message is None and (self._queue.result or self._seat.has_frame):
            self._quality.result_waits(now_s)
            if self._quality.may_send(self._delivery.unacked, self._options, now_s):
                message = self._reply(self._queue.take_result(), now_s) if self._queue.result else self._show(now_s)
        if message is None:
            message = self._outbox.next_notice()
        if message is not None:
            self._delivery.sending(now_s)
        return message

    def row(self, now_s: float) -> dict[str, Any]:
        """A row for a table of sessions: who it is, the last report's numbers, and what the newest reply was."""
        count, quality = self._last_sent
        open_s = round(now_s - self.reports.began_s, 1)
        quality_now = quality and asdict(quality)
        return self.named({**self.reports.lately(now_s), "open_s": open_s, "splats": count, "quality": quality_now})

    def named(self, numbers: dict[str, Any]) -> dict[str, Any]:
        """The numbers, with the session and client they belong to."""
        return {"session": self.session_id, "client": self.client or "original protocol", **numbers}

    # --- messages ---

    def _on_text(self, text: str, now_s: float) -> None:
        match legacy.read_text(text):
            case "ping":
                self._outbox.answer(legacy.PONG)
            case legacy.Registration(role) if not self._greeted:
                self._seat.received(messages.Join(legacy.ROOM, role), now_s)
                self._pinged_s = now_s

    def _on_message(self, message: messages.ClientMessage, now_s: float) -> None:
        match message:
            case messages.Ping(t):
                if t:
                    self._seat.clock.said(t, now_s)
                self._outbox.answer(messages.encode(messages.Pong(t)))
            case messages.Hello():
                self._on_hello(message, now_s)
            case _ if not self._greeted:
                raise BadMessage(f"expected 'hello' before {messages.type_name(type(message))!r}")
            case messages.Frame():
                capture = Capture(
                    tuple(message.views),
                    cameras=tuple(message.cameras),
                    depths=tuple(message.depths),
                    depth_unit_m=message.depth_unit_m,
                )
                self._on_frame(message.seq, message.captured_ms, capture, now_s)
            case messages.Configure(options):
                self._options = self._option_limits.apply(self._options, options)
                self._quality.configured()
                self._outbox.answer(messages.encode(messages.Configured(asdict(self._options))))
            case messages.Ack():
                self._on_ack(message, now_s)
            case _:
                self._on_room(message, now_s)

    def _on_hello(self, hello: messages.Hello, now_s: float) -> None:
        if self._greeted:
            raise BadMessage("'hello' was said already; use 'configure' to change options")
        self.client = hello.client[:80] or "unnamed"
        self._option_limits = self._settings.option_limits.for_codecs(hello.codecs)
        options = self._option_limits.starting_from(self._settings.defaults)
        for name, value in hello.options.items():
            # One by one: a client with one wrong option is still welcome, and is told which one it is.
            try:
                options = self._option_limits.apply(options, {name: value})
            except BadMessage as error:
                self._refuse(error, None)
        self._options = options
        self._greeted = True
        self._seat.leave(now_s, for_good=True)  # A role of the original protocol.
        if self._queue.waiting:
            self._queue.waiting = None
            self._drop("superseded", None)  # A bare image from before hello: its reply would be in the original protocol.
        self._outbox.welcome(replies.welcome(self.session_id, self._settings, self._options, self._option_limits))
        if hello.join:
            try:
                self._on_room(hello.join, now_s)
            except StreamError as error:  # The client is welcome, if not there.
                self._refuse(error, None)

    def _on_room(self, message: RoomMessage, now_s: float) -> None:
        answer = self._seat.received(message, now_s)
        if answer is not None:
            self._outbox.answer(answer)

    def _renumbered(self) -> None:
        """Replies have other numbers from now on: the client's, or those of what it watches."""
        self._delivery.renumbered()
        self._quality.renumbered()

    def _on_frame(self, seq: int | None, captured_ms: float, capture: Capture, now_s: float) -> None:
        size = capture.encoded_bytes
        self.counts.frame_received(size)
        if seq is None and self._greeted:
            seq = self._last_seq + 1
        if seq is not None:
            if not self._last_seq < seq <= MAX_SEQ:
                expected = f"a whole number from {self._last_seq + 1} to 2**53 - 1"
                self._refuse(BadMessage(f"'frame.seq': expected {expected}, got {seq}"), seq)
                return
            self._last_seq = seq
        if error := self._why_not(capture, size):
            self._refuse(error, seq)
        elif self._seat.role == "viewer":
            self._refuse(BadMessage("'frame': a viewer of a room sends none; 'join' it as 'camera' or 'both'"), seq)
        elif not self._rates.frame(size, now_s):
            self._drop("rate_limited", seq)
        else:
            if seq is None or not self._greeted or not self._seat.hand_over(seq, captured_ms, capture, now_s):
                self._arrive(seq, captured_ms, capture, now_s)

    def _arrive(self, seq: int | None, captured_ms: float, capture: Capture, now_s: float, is_rooms: bool = False) -> None:
        if self._queue.waiting:
            self._drop("superseded", self._queue.waiting.seq)
        in_form = self._greeted or bool(self._seat.role)
        options = self._options if in_form else self._original_options
        codecs = self._option_limits.codecs if in_form else ()
        self._queue.arrive(seq, captured_ms, replace(capture, request=FrameRequest(options, codecs)), now_s, is_rooms)

    def _on_moment(self, own: Handed | None, captured_s: float, now_s: float, views: tuple[bytes, ...]) -> None:
        """The room's joint capture has frames of one moment, which this session is to have computed."""
        if self.closing:
            return
        if own:
            self._arrive(own.seq, own.captured_ms, Capture(views), own.arrived_s)
        else:
            self._arrive(None, self._seat.clock.client_ms(captured_s), Capture(views), now_s, is_rooms=True)

    def _why_not(self, capture: Capture, size: int) -> FrameError | None:
        """What is wrong with a frame, as far as can be told without decoding it."""
        views = capture.views
        max_views, max_bytes = self._settings.limits.max_views, self._settings.max_frame_bytes
        if not 1 <= len(views) <= max_views:
            return WrongViewCount(len(views), max_views)
        if not all(views):
            return FrameEmpty()
        return FrameTooLarge(size, max_bytes) if size > max_bytes else known_cameras.why_not(capture)

    def _on_ack(self, ack: messages.Ack, now_s: float) -> None:
        if not self._delivery.is_expected(ack.seq):
            return  # It acknowledges nothing.
        self._note_stall(now_s)
        sent_s = self._delivery.acked(ack.seq, now_s)
        if sent_s is not None and ack.received_ms > 0:
            self._seat.clock.heard(sent_s, ack.received_ms, now_s)
            # It goes out when the last of what it tells has happened.
            self._seat.clock.said(max(ack.received_ms, ack.decoded_ms, ack.shown_ms), now_s)
        age_ms = ack.age_ms if 0 < ack.age_ms < _MAX_AGE_MS else None
        self.counts.acked(ack.shown_ms > 0, age_ms)
        # Without any times it comes from a client that does not measure: such a client acknowledges at once.
        unseen = ack.received_ms > 0 and not ack.shown_ms > 0
        client_ms = None if unseen else max(ack.decoded_ms, ack.shown_ms) - ack.received_ms
        if cause := self._quality.acked(ack.seq, client_ms, age_ms, self._options, now_s):
            self.counts.quality_changed(cause)

    # --- answers ---

    def _reply(self, result: Result, now_s: float) -> bytes:
        frame, packed, ready_s = result
        timings = replies.own_timings(result, self._delivery.send_ms, now_s)
        quality: messages.QualityState | None = None
        if frame.seq is not None and frame.setting is not None:
            self._delivery.expect_ack(frame.seq, now_s)
            px, over_budget = max(packed.camera.width, packed.camera.height), packed.pruned.get("budget", 0)
            compute_s = ready_s - max(frame.arrived_s, frame.held_until_s)
            self._quality.sent(frame.seq, frame.setting, packed.count, over_budget, px, packed.codec, compute_s, now_s)
            quality = frame.setting.state(packed.count, over_budget)
            if packed.codec == depth_heads.NAME and frame.setting.options.colors == "own" != packed.request.options.colors:
                packed = replace(packed, data=without_pictures(packed.data))
            label, dropped = self._settings.engine.label, self.counts.by_label("dropped")
            reply = replies.splats(frame.seq, frame.captured_ms, packed, label, timings, dropped, quality)
        else:
            reply = legacy.reply(packed)
        self._last_sent = packed.count, quality
        self.counts.splats_sent(len(reply), timings)
        return reply

    def _show(self, now_s: float) -> bytes:
        """The reply for another camera's frame."""
        shown = self._seat.take_frame(now_s)
        self._queue.overtaken()
        packed = shown.frame.packed
        if not self._greeted:
            return legacy.room_reply(packed)
        timings = replies.room_timings(shown, self._delivery.send_ms, now_s)
        setting = self._quality.setting(self._options)
        self._delivery.expect_ack(shown.seq, now_s)
        px = max(packed.camera.width, packed.camera.height)
        # Compute takes no time: nothing that this viewer may choose changes how long the graph takes.
        self._quality.sent(shown.seq, setting, packed.count, 0, px, packed.codec, 0.0, now_s)
        whole = messages.QualityState(packed.count, 0, 1.0, 1.0, "", "")
        quality = setting.state(packed.count, 0) if needs_less(setting) else whole
        label, dropped = self._settings.engine.label, self.counts.by_label("dropped")
        reply = replies.splats(shown.seq, shown.captured_ms, packed, label, timings, dropped, quality, shown.frame.camera)
        self._last_sent = packed.count, quality
        self.counts.splats_sent(len(reply), replies.after_packed(timings))
        return reply

    def _refuse(self, error: StreamError, seq: int | None) -> None:
        self.counts.error(error.code)
        self._outbox.refuse(error, seq)

    def _drop(self, reason: str, seq: int | None) -> None:
        self.counts.dropped(reason)
        # The original protocol has no word for a dropped frame.
        if seq is not None:
            self._outbox.drop(reason, seq)

    def _close(self, error: StreamError) -> None:
        if not self.closing:
            self.closing = error
            self.counts.error(error.code)
            self._queue.clear()
            self._handed.clear()
            self._outbox.goodbye(error)

    # --- a client that does not take what it is sent ---

    def _is_stalled(self, now_s: float) -> bool:
        # A frame computed now would be old, or thrown away, before it could go out; others need the time.
        since_s = self._delivery.waits_since_s(self._queue.result is not None)
        return since_s is not None and now_s - since_s > self._settings.limits.stall_s

    def _note_stall(self, now_s: float) -> None:
        """Call this before noting what may end a stall: until now the waiting frame waited for the client."""
        if self._queue.waiting and self._is_stalled(now_s):
            self._queue.waiting.held_until_s = now_s
