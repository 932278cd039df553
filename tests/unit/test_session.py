"""The session's rules, told through its own two questions: what shall I compute, what shall I send?"""

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from deployments.splats.camera import Camera
from deployments.stream import messages
from deployments.stream.errors import ImageBroken, ProtocolMismatch, SessionIdle, TooManyBadMessages
from deployments.stream.frame_number import MAX_SEQ, frame_number
from deployments.stream.frames import FrameRequest, PackedFrame
from deployments.stream.messages import Ack, Configure, Dropped, Error, Frame, Hello, Ping, Splats, Welcome
from deployments.stream.options import FrameOptions, OptionLimits
from deployments.stream.quality import QualitySettings
from deployments.stream.session import Session
from deployments.stream.session_settings import SessionLimits, SessionSettings
from tests.mutations import mutated

ENGINE = messages.Engine("synthetic", "synthetic", "Synthetic", "Apache-2.0", ["lifted", "points"])
NATIVE = messages.Engine("da3", "da3-giant", "DA3 giant", "CC-BY-NC-4.0", ["native"])
JPEG = b"\xff\xd8\xff rest"


def make_session(engine: messages.Engine = ENGINE, defaults: FrameOptions = FrameOptions(), **limits: float) -> Session:
    quality = QualitySettings(enabled=False)
    settings = SessionSettings("0.0", engine, defaults, OptionLimits(), SessionLimits(**limits), quality, 1000, 100)
    return Session("abc", settings, now_s=0.0)


def packed(tag: int = 0, codec: str = "packed") -> PackedFrame:
    request = FrameRequest(state=bytes([tag]), timings={"decode": 1.0, "infer": 20.0, "pack": 3.0})
    data = np.full(4, tag, np.uint8)
    return PackedFrame(codec, "lifted", 1, data, Camera(4, 3, 5.0, 5.0, 2.0, 1.5), {"opacity": 2}, request)


def say(session: Session, message: messages.ClientMessage, now_s: float = 0.0) -> None:
    session.received(messages.encode(message), now_s)


def hear(session: Session, now_s: float = 0.0) -> messages.ServerMessage | None:
    raw = session.next_message(now_s)
    if raw is None:
        return None
    session.delivered(now_s)
    assert isinstance(raw, bytes)
    return messages.decode_server(raw)


def greeted(**limits: float) -> Session:
    session = make_session(**limits)
    say(session, Hello(1, ["packed", "points", "ply"]))
    assert isinstance(hear(session), Welcome)
    return session


def test_hello_is_answered_with_the_options_and_limits_in_force() -> None:
    session = make_session()
    say(session, Hello(1, ["ply", "nonsense"], client="test/1", options={"max_splats": 500}))
    welcome = hear(session)
    assert isinstance(welcome, Welcome)
    assert welcome.options["max_splats"] == 500
    assert welcome.options["codec"] == "ply", "auto would pick codecs this client has not"
    assert welcome.limits.codecs == ["ply"]
    assert welcome.engine == ENGINE


@pytest.mark.parametrize("version", [99, 0, -1])
def test_another_protocol_version_is_refused_by_name_and_closed(version: int) -> None:
    session = make_session()
    say(session, Hello(version, ["packed"]))
    error = hear(session)
    assert isinstance(error, Error) and error.fatal and error.code == "protocol_mismatch"
    assert str(version) in error.message and "1" in error.message
    assert isinstance(session.closing, ProtocolMismatch) and session.closing.close_code == 1008


def test_a_client_that_does_not_decode_what_auto_would_choose_can_not_ask_for_it() -> None:
    session = make_session()
    say(session, Hello(1, ["ply"], options={"codec": "auto"}))
    welcome, error = hear(session), hear(session)
    assert isinstance(welcome, Welcome) and welcome.options["codec"] == "ply"
    assert isinstance(error, Error) and "codec" in error.message


@pytest.mark.parametrize(
    "hello",
    [
        {"protocol": 99},
        {"protocol": 99, "codecs": {"of": "another shape"}},
        {"protocol": "2.0", "codecs": ["packed"]},
        {"protocol": True, "codecs": ["packed"]},
        {"protocol": [2, 0], "codecs": ["packed"]},
        {"codecs": ["packed"]},
    ],
)
def test_another_versions_hello_is_refused_whatever_its_shape(hello: dict[str, object]) -> None:
    session = make_session()
    session.received(msgpack.packb({"type": "hello", **hello}), 0.0)
    error = hear(session)
    assert isinstance(error, Error) and error.fatal and error.code == "protocol_mismatch"


def test_a_wish_too_many_is_named_and_the_client_is_still_welcome() -> None:
    session = make_session()
    say(session, Hello(1, ["packed", "points"], options={"max_splats": 10**9, "border": 0.1}))
    welcome, error = hear(session), hear(session)
    assert isinstance(welcome, Welcome) and welcome.options["border"] == 0.1
    assert welcome.options["max_splats"] == OptionLimits().max_splats
    assert isinstance(error, Error) and not error.fatal and "max_splats" in error.message


def test_a_client_with_an_option_of_another_version_is_told_of_it_and_served() -> None:
    session = make_session()
    say(session, Hello(1, ["packed", "points"], options={"colours": ["warm", "cold"], "border": 0.1}))
    welcome, error = hear(session), hear(session)
    assert isinstance(welcome, Welcome) and welcome.options["border"] == 0.1
    assert isinstance(error, Error) and not error.fatal and "colours" in error.message


def test_a_default_codec_that_the_client_does_not_decode_is_not_sent() -> None:
    session = make_session(defaults=FrameOptions(codec="ply"))
    say(session, Hello(1, ["packed", "points"]))
    welcome = hear(session)
    assert isinstance(welcome, Welcome) and welcome.options["codec"] == "auto"
    assert hear(session) is None


def test_a_codec_that_the_client_asks_for_and_does_not_decode_is_refused_by_name() -> None:
    session = make_session()
    say(session, Hello(1, ["packed", "points"], options={"codec": "ply"}))
    welcome, error = hear(session), hear(session)
    assert isinstance(welcome, Welcome) and welcome.options["codec"] == "auto"
    assert isinstance(error, Error) and "'ply'" in error.message and "auto, packed, points" in error.message


def test_a_burst_behind_hello_does_not_cost_the_welcome() -> None:
    session = make_session()
    say(session, Hello(1, ["packed", "points"]))
    for t in range(100):
        say(session, messages.Ping(float(t)))
        say(session, messages.Configure({"max_splats": 1000 + t}))
    assert isinstance(hear(session), Welcome)


def test_bare_images_that_hello_makes_useless_are_counted() -> None:
    session = make_session(max_in_flight=1)
    session.received(JPEG, 0.0)
    ticket, _ = session.next_capture(0.0) or pytest.fail()
    session.received(JPEG, 0.0)
    say(session, Hello(1, ["packed", "points"]))
    assert session.counts.by_label("dropped") == {"superseded": 1}, "the one that waits"
    session.finished(ticket, packed(codec="points"), 0.0)
    assert session.counts.by_label("dropped") == {"superseded": 2}, "the one in the graph"
    assert isinstance(hear(session), Welcome) and hear(session) is None


def test_a_message_larger_than_any_frame_is_refused_unread_and_the_session_goes_on() -> None:
    session = greeted()
    session.received(b"\xc1" * (1000 + 2**16 + 1), 0.0)  # 0xc1 is no msgpack: whoever reads it says so.
    error = hear(session)
    assert isinstance(error, Error) and (error.code, error.fatal) == ("frame_too_large", False)
    say(session, Frame(0, [JPEG]))
    assert session.ready_frame(0.0) == 0


def test_asking_what_is_ready_changes_nothing() -> None:
    session = greeted()
    say(session, Frame(0, [JPEG]), now_s=1.0)
    before = pickle.dumps(session._queue)
    for now_s in (1.0, 2.0, 50.0):
        assert session.ready_frame(now_s) == 0
    assert pickle.dumps(session._queue) == before


def test_a_client_without_a_common_codec_is_told_which_there_are() -> None:
    session = make_session()
    say(session, Hello(1, ["mp4"]))
    error = hear(session)
    assert isinstance(error, Error) and error.fatal and "packed, points, ply" in error.message and "mp4" in error.message


def test_the_newest_waiting_frame_wins_and_the_others_are_counted() -> None:
    session = greeted(max_in_flight=1)
    for seq in range(4):
        say(session, Frame(seq, [JPEG]))
        if seq == 0:
            ticket, _ = session.next_capture(0.0) or pytest.fail("no credit for the first frame")
    assert session.next_capture(0.0) is None, "one in flight is the limit"
    notice = hear(session)
    assert notice == Dropped("superseded", notice.message, 2, [1, 2])  # type: ignore[union-attr]
    session.finished(ticket, packed(), 0.1)
    job = session.next_capture(0.1)
    assert job is not None
    session.finished(job[0], packed(), 0.2)
    assert [m.seq for m in (hear(session), hear(session)) if isinstance(m, Splats)] == [3], "0 waited unsent, so 3 replaced it"


def test_results_leave_in_order_and_late_ones_are_stale() -> None:
    session = greeted(max_in_flight=2)
    tickets = []
    for seq in (10, 20):
        say(session, Frame(seq, [JPEG]))
        tickets.append((session.next_capture(0.0) or pytest.fail())[0])
    session.finished(tickets[1], packed(), 0.1)
    reply = hear(session)
    assert isinstance(reply, Splats) and reply.seq == 20
    session.finished(tickets[0], packed(), 0.2)
    notice = hear(session)
    assert isinstance(notice, Dropped) and notice.code == "stale" and notice.seqs == [10]


def run_frame(session: Session, seq: int, now_s: float = 0.0) -> None:
    say(session, Frame(seq, [JPEG]), now_s)
    job = session.next_capture(now_s)
    assert job is not None
    session.finished(job[0], packed(), now_s)


def test_without_acks_replies_stop_at_the_window_and_the_newest_is_kept() -> None:
    session = greeted(max_unacked=2)
    for seq in range(2):
        run_frame(session, seq)
        assert isinstance(hear(session), Splats)
    run_frame(session, 2)
    assert hear(session) is None
    run_frame(session, 3)
    notice = hear(session)
    assert isinstance(notice, Dropped) and (notice.code, notice.seqs) == ("slow_client", [2])
    say(session, Ack(1))
    reply = hear(session)
    assert isinstance(reply, Splats) and reply.seq == 3


def test_nothing_more_is_computed_for_a_client_that_takes_nothing_for_a_while() -> None:
    session = greeted(stall_s=1.0)
    run_frame(session, 0)
    assert session.next_message(0.0) is not None  # handed to the transport, which never takes it
    say(session, Frame(1, [JPEG]), 1.5)
    assert session.next_capture(1.5) is None
    session.delivered(2.0)
    assert session.next_capture(2.0) is not None


def test_nothing_more_is_computed_while_a_result_waits_for_a_client_that_acknowledges_nothing() -> None:
    session = greeted(stall_s=1.0, max_unacked=1)
    run_frame(session, 0)
    assert isinstance(hear(session), Splats)
    run_frame(session, 1, now_s=0.5)
    assert hear(session, 0.5) is None, "it waits for the ack"
    run_frame(session, 2, now_s=0.9)  # Until then the ack may come any moment, and a newer result is ready for it.
    say(session, Frame(3, [JPEG]), 1.5)
    assert session.next_capture(1.5) is None
    say(session, Ack(0), 2.0)
    assert session.next_capture(2.0) is not None
    notice, reply = hear(session, 2.0), hear(session, 2.0)
    assert {type(notice), type(reply)} == {Dropped, Splats}


def test_a_frame_that_has_a_label_of_its_own_carries_that() -> None:
    session = greeted()
    say(session, Frame(0, [JPEG]), now_s=2.5)
    ticket, capture = session.next_capture(2.5) or pytest.fail()
    assert capture.request.arrived_s == 2.5
    answer = packed()
    answer.request.label = "Synthetic, with a face"
    session.finished(ticket, answer, 3.0)
    reply = hear(session, 3.0)
    assert isinstance(reply, Splats) and reply.label == "Synthetic, with a face"


def test_the_reply_echoes_the_frame_and_times_every_stage() -> None:
    session = greeted()
    say(session, Frame(7, [JPEG], captured_ms=123.5), now_s=10.0)
    session.read(10.005)
    ticket, capture = session.next_capture(10.02) or pytest.fail()
    assert capture.views == (JPEG,)
    session.finished(ticket, packed(), 10.1)
    reply = hear(session, 10.2)
    assert isinstance(reply, Splats)
    assert (reply.seq, reply.captured_ms, reply.label, reply.pruned) == (7, 123.5, "Synthetic", {"opacity": 2})
    assert set(reply.timings_ms) == {"receive", "queue", "decode", "infer", "pack", "send", "total"}
    assert reply.timings_ms["receive"] == pytest.approx(5.0)
    assert reply.timings_ms["queue"] == pytest.approx(71.0) and reply.timings_ms["total"] == pytest.approx(200.0)
    assert reply.camera == Camera(4, 3, 5.0, 5.0, 2.0, 1.5)


def test_the_models_state_rides_with_the_next_frame() -> None:
    session = greeted(max_in_flight=2)
    for seq in (0, 1):
        say(session, Frame(seq, [JPEG]))
        _, capture = session.next_capture(0.0) or pytest.fail()
        assert capture.request.state == b""
    session.finished(1, packed(tag=9), 0.1)
    session.finished(0, packed(tag=5), 0.1)
    say(session, Frame(2, [JPEG]), 0.15)
    _, capture = session.next_capture(0.2) or pytest.fail()
    assert capture.request.state == b"\x09", "an older result must not bring an older state back"
    assert capture.request.arrived_s == 0.15, "a state may hold times"


def test_a_refused_frame_gets_its_code_and_number_and_the_session_lives_on() -> None:
    session = greeted()
    say(session, Frame(1, [JPEG]))
    ticket, _ = session.next_capture(0.0) or pytest.fail()
    session.finished(ticket, ImageBroken("truncated"), 0.1)
    error = hear(session)
    assert isinstance(error, Error) and (error.code, error.seq, error.fatal) == ("image_broken", 1, False)
    run_frame(session, 2)
    assert isinstance(hear(session), Splats)


@pytest.mark.parametrize(
    ("views", "code"),
    [([], "wrong_view_count"), ([JPEG] * 9, "wrong_view_count"), ([b""], "frame_empty"), ([bytes(1001)], "frame_too_large")],
)
def test_frames_over_the_limits_are_refused_before_they_cost_anything(views: list[bytes], code: str) -> None:
    session = greeted()
    say(session, Frame(1, views))
    error = hear(session)
    assert isinstance(error, Error) and (error.code, error.seq) == (code, 1)
    assert session.next_capture(0.0) is None


def refused(session: Session, data: bytes) -> Error:
    session.received(data, 0.0)
    error = hear(session)
    assert isinstance(error, Error) and not error.fatal and session.next_capture(0.0) is None
    return error


FILM = {"type": "frame", "seq": 7, "captured_ms": 1.5}


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({**FILM, "views": [bytes(80_000)]}, "frame_too_large"),
        ({"captured_ms": 1.5, "depth_unit_m": 1, "seq": 7, "type": "frame", "views": [bytes(80_000)]}, "frame_too_large"),
        ({**FILM, "views": ["a"]}, "bad_message"),
        ({**FILM, "views": [b""] * 2000}, "bad_message"),
        ({"views": ["a"], "seq": 7, "type": "frame"}, "bad_message"),
        ({**FILM, "views": [JPEG], "cameras": [{"fx": 1, "fy": 1, "cx": 1, "cy": 1, "pose": [0.0] * 11}]}, "bad_message"),
    ],
)
def test_a_frame_that_can_not_be_read_is_answered_under_its_number(frame: dict[str, Any], code: str) -> None:
    session = greeted()
    error = refused(session, msgpack.packb(frame))
    assert (error.code, error.seq) == (code, 7)
    session.received(JPEG, 0.0)
    session.finished((session.next_capture(0.0) or pytest.fail())[0], packed(), 0.0)
    reply = hear(session)
    assert isinstance(reply, Splats) and reply.seq == 8, "no number is answered twice"


def test_a_frame_that_breaks_off_is_answered_under_its_number() -> None:
    data = msgpack.packb({**FILM, "views": [JPEG]})
    assert refused(greeted(), data[:-3]).seq == 7


def test_a_bare_image_that_is_too_large_has_the_next_number() -> None:
    assert refused(greeted(), JPEG + bytes(80_000)).seq == 0


@pytest.mark.parametrize("seq", [-1, -(2**40), 2**53, 2**64 - 1, 1.0, True, None, "7", [7], b"7"])
@pytest.mark.parametrize("views", [[bytes(80_000)], ["a"]])
def test_what_is_no_number_of_a_frame_is_not_repeated(seq: Any, views: list[Any]) -> None:
    assert refused(greeted(), msgpack.packb({"type": "frame", "seq": seq, "views": views})).seq is None


@pytest.mark.parametrize("kind", ["ack", "frames", 5, None])
def test_the_number_of_another_message_is_none_of_a_frame(kind: Any) -> None:
    session = greeted()
    assert refused(session, msgpack.packb({"type": kind, "seq": 7, "views": [bytes(80_000)]})).seq is None
    assert refused(session, msgpack.packb({"type": kind, "seq": "x"})).seq is None


@given(st.binary(max_size=400), st.integers(0, 300))
def test_no_bytes_are_too_strange_to_look_for_a_number(data: bytes, end: int) -> None:
    start = msgpack.packb({**FILM, "views": [b"a"]})[:end]
    for longest in (0, 10**6):
        found = frame_number(start + data, longest)
        assert found is None or 0 <= found <= MAX_SEQ


LENS = messages.KnownCamera(100.0, 100.0, 50.0, 40.0)


def test_cameras_and_depths_go_to_the_graph_with_their_frame() -> None:
    session = greeted(max_views=2)
    pose = [1.0, 0.0, 0.0, 0.1, 0.0, 1.0, 0.0, 0.2, 0.0, 0.0, 1.0, 0.3]
    cameras = [replace(LENS, pose=pose), replace(LENS, fx=120.0, pose=pose)]
    say(session, Frame(1, [JPEG, JPEG], 7.0, cameras, [b"depth", b"more"], 0.0005))
    _, capture = session.next_capture(0.0) or pytest.fail()
    assert (capture.cameras, capture.depths, capture.depth_unit_m) == (tuple(cameras), (b"depth", b"more"), 0.0005)
    assert capture.encoded_bytes == 2 * len(JPEG) + 9


@pytest.mark.parametrize(
    ("frame", "code", "words"),
    [
        (Frame(1, [JPEG], cameras=[LENS, LENS]), "bad_cameras", "expected one for each of the 1 views, got 2"),
        (Frame(1, [JPEG], cameras=[replace(LENS, fx=-1.0)]), "bad_cameras", "'fx'"),
        (Frame(1, [JPEG], depths=[b"depth"]), "bad_depth", "expected 'cameras'"),
        (Frame(1, [JPEG], cameras=[LENS], depths=[b"depth"], depth_unit_m=2.0), "bad_depth", "depth_unit_m"),
        (Frame(1, [JPEG], cameras=[LENS], depths=[bytes(993)]), "frame_too_large", "1001"),
    ],
)
def test_cameras_and_depths_that_can_not_be_used_cost_the_graph_nothing(frame: Frame, code: str, words: str) -> None:
    session = greeted()
    say(session, frame)
    error = hear(session)
    assert isinstance(error, Error) and (error.code, error.seq) == (code, 1) and words in error.message
    assert session.next_capture(0.0) is None


def test_changed_bytes_of_a_frame_with_cameras_are_a_frame_or_answered_in_words() -> None:
    rng = np.random.default_rng(8)
    pose = [1.0, 0.0, 0.0, 0.1, 0.0, 1.0, 0.0, 0.2, 0.0, 0.0, 1.0, 0.3]
    original = messages.encode(Frame(1, [JPEG], 7.0, [replace(LENS, pose=pose)], [b"depth"], 0.0005))
    taken, refused = 0, set()
    for _ in range(600):
        session = greeted()
        session.received(bytes(mutated(original, rng)), 0.0)
        assert session.closing is None
        if session.next_capture(0.0):
            taken += 1
        elif isinstance(answer := hear(session), Error):
            refused.add(answer.code)
    assert taken > 50 and refused >= {"bad_message", "bad_cameras", "bad_depth"}


def test_bytes_of_depths_count_towards_the_sessions_rate() -> None:
    session = greeted(max_bytes_per_s=900.0)
    deep = [Frame(seq, [JPEG], cameras=[LENS], depths=[bytes(900)]) for seq in (1, 2)]
    for frame in deep:
        say(session, frame)
    notice = hear(session)
    assert isinstance(notice, Dropped) and (notice.code, notice.seqs) == ("rate_limited", [2])


def test_what_made_a_frame_is_named_where_it_is_not_the_engine() -> None:
    session = greeted()
    say(session, Frame(1, [JPEG]))
    ticket, _ = session.next_capture(0.0) or pytest.fail()
    answer = packed()
    answer.request.label = "Depth from the camera"
    session.finished(ticket, answer, 0.1)
    reply = hear(session)
    assert isinstance(reply, Splats) and reply.label == "Depth from the camera"
    run_frame(session, 2)
    reply = hear(session)
    assert isinstance(reply, Splats) and reply.label == ENGINE.label


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("hello", "text"),
        ("[" * 900, "text"),
        (b"", "empty"),
        (b"\x00", "0x00"),
        (b"\x93\x01\x02\x03", "0x93"),
        (b"\x81\xa4type\xa5hello"[:-3], "msgpack"),
        (msgpack.packb({"type": 5}), "'message.type': expected str, got int"),
        (msgpack.packb({"type": "fly"}), "fly"),
        (msgpack.packb({"type": "frame", "seq": "1", "views": []}), "'frame.seq': expected int, got str"),
        (msgpack.packb({"type": "frame", "views": []}), "'frame': the key 'seq' is missing"),
        (msgpack.packb({"seq": 1}), "'message': the key 'type' is missing"),
        (
            msgpack.packb({"type": "join", "room": "a", "role": "boss"}),
            "'join.role': expected one of camera, viewer, both, got 'boss'",
        ),
        (
            msgpack.packb({"type": "hello", "protocol": 1, "codecs": [], "join": {"type": "join", "room": "a", "role": "boss"}}),
            "'hello.join.role': expected one of camera, viewer, both, got 'boss'",
        ),
        (msgpack.packb({"type": "frame", "seq": True, "views": []}), "seq"),
        (msgpack.packb({"type": "frame", "seq": 1, "views": ["text"]}), "views[0]"),
        (msgpack.packb({"type": "ack"}), "seq"),
        (msgpack.packb({"type": "hello", "protocol": 1, "codecs": ["packed"]}), "already"),
        (msgpack.packb({"type": "configure", "options": {"max_splats": 0}}), "max_splats"),
        (msgpack.packb({"type": "configure", "options": {"border": float("nan")}}), "border"),
        (msgpack.packb({"type": "configure", "options": {"colour": 1}}), "colour"),
        (b"\x81\xa4type" + b"\x91" * 10_000 + b"\xc0", "'message.type': expected str, got array"),
        (b"\x82\xa4type\xa4ping\xa1x" + b"\x91" * 50_000 + b"\xc0", "recursion"),
        (b"\xdf\xff\xff\xff\xff", "msgpack"),
        (b"\x81\xa4type\xc6\xff\xff\xff\xff", "msgpack"),
    ],
    ids=range(24),
)
def test_nonsense_is_answered_in_words_and_the_session_lives_on(data: bytes | str, words: str) -> None:
    session = greeted()
    session.received(data, 0.0)
    error = hear(session)
    assert isinstance(error, Error) and not error.fatal
    assert words in error.message
    run_frame(session, 2)
    assert isinstance(hear(session), Splats)


def test_nothing_but_nonsense_is_closed_in_the_end() -> None:
    session = greeted()
    for _ in range(64):
        session.received(b"\x00", 0.0)
    assert isinstance(session.closing, TooManyBadMessages)


def test_messages_before_hello_are_asked_for_hello() -> None:
    session = make_session()
    say(session, Frame(0, [JPEG]))
    error = hear(session)
    assert isinstance(error, Error) and "hello" in error.message


def test_pings_are_answered_with_and_without_hello() -> None:
    session = make_session()
    session.received('{"type": "ping"}', 0.0)
    assert session.next_message(0.0) == '{"type": "pong"}'
    say(session, Ping(4.5))
    assert hear(session) == messages.Pong(4.5)


def test_configure_changes_the_next_frame() -> None:
    session = greeted()
    say(session, Configure({"max_splats": 10, "codec": "ply"}))
    confirmed = hear(session)
    assert isinstance(confirmed, messages.Configured) and confirmed.options["max_splats"] == 10
    say(session, Frame(0, [JPEG]))
    _, capture = session.next_capture(0.0) or pytest.fail()
    assert (capture.request.options.max_splats, capture.request.options.codec) == (10, "ply")


def test_a_bare_image_after_hello_is_the_next_frame() -> None:
    session = greeted()
    run_frame(session, 5)
    hear(session)
    session.received(JPEG, 0.0)
    ticket, _ = session.next_capture(0.0) or pytest.fail()
    session.finished(ticket, packed(), 0.0)
    reply = hear(session)
    assert isinstance(reply, Splats) and reply.seq == 6


@pytest.mark.parametrize("seq", [5, 4, 0, -1, 2**53, 2**64 - 1])
def test_a_rising_seq_that_javascript_can_count_is_required(seq: int) -> None:
    session = greeted()
    run_frame(session, 5)
    hear(session)
    say(session, Frame(seq, [JPEG]))
    error = hear(session)
    assert isinstance(error, Error) and error.seq == seq
    assert f"'frame.seq': expected a whole number from 6 to 2**53 - 1, got {seq}" in error.message


def test_a_bare_image_after_the_last_number_is_refused() -> None:
    session = greeted()
    run_frame(session, 2**53 - 1)
    hear(session)
    session.received(JPEG, 0.0)
    error = hear(session)
    assert isinstance(error, Error) and error.code == "bad_message"


def test_the_original_protocols_reply_is_not_sent_after_hello() -> None:
    session = make_session(max_in_flight=1)
    session.received(JPEG, 0.0)
    ticket, _ = session.next_capture(0.0) or pytest.fail()
    session.received(JPEG, 0.0)
    say(session, Hello(1, ["packed", "points"]))
    assert isinstance(hear(session), Welcome)
    session.finished(ticket, packed(codec="points"), 0.1)
    assert session.next_capture(0.1) is None
    assert hear(session) is None


def test_after_goodbye_there_is_nothing_more() -> None:
    session = greeted(idle_timeout_s=60)
    say(session, Frame(0, [JPEG]))
    ticket, _ = session.next_capture(0.0) or pytest.fail()
    for _ in range(10):
        session.received(b"\x00", 0.0)
    session.check_idle(61.0)
    session.finished(ticket, packed(), 61.0)
    error = hear(session)
    assert isinstance(error, Error) and error.fatal and error.code == "idle"
    assert hear(session) is None


def test_an_age_that_is_no_number_does_not_reach_the_report() -> None:
    session = greeted()
    for seq, age_ms in enumerate((float("inf"), float("nan"), -5.0)):
        run_frame(session, seq)
        hear(session)
        say(session, Ack(seq, age_ms=age_ms))
    assert session.reports.report(5.0)["age_ms_p50"] is None


def test_an_ack_counts_once_and_only_of_a_reply_that_was_sent() -> None:
    session = greeted()
    say(session, Ack(5, 1.0, 2.0, 3.0, 40.0))
    run_frame(session, 0)
    hear(session)
    for _ in range(3):
        say(session, Ack(0, 1.0, 2.0, 3.0, 40.0))
    summary = session.reports.summary(1.0)
    assert (session.counts.total("acks"), summary["shown"]) == (1, 1)
    assert summary["age_ms_p50"] == pytest.approx(40.0, rel=0.01)


def test_an_original_client_of_a_gaussian_model_gets_a_ply() -> None:
    session = make_session(NATIVE)
    session.received(JPEG, 0.0)
    ticket, capture = session.next_capture(0.0) or pytest.fail()
    assert (capture.request.options.codec, capture.request.options.representation) == ("original_ply", "splats")
    session.finished(ticket, packed(tag=3, codec="original_ply"), 0.0)
    raw = session.next_message(0.0)
    assert isinstance(raw, bytes)
    reply = msgpack.unpackb(raw)
    assert set(reply) == {"type", "timestamp", "ply_data"} and reply["type"] == "gaussian_ply"
    assert reply["ply_data"] == b"\x03" * 4


def test_an_original_client_of_a_depth_model_gets_points_and_never_a_word_it_does_not_know() -> None:
    session = make_session(max_in_flight=1)
    for _ in range(3):
        session.received(JPEG, 0.0)
    _, capture = session.next_capture(0.0) or pytest.fail()
    assert (capture.request.options.codec, capture.request.options.representation) == ("original_points", "points")
    assert session.next_message(0.0) is None, "drops have no word in the original protocol"
    assert session.counts.by_label("dropped")["superseded"] == 2


def test_silence_ends_the_session() -> None:
    session = greeted(idle_timeout_s=60)
    session.check_idle(59.0)
    assert session.closing is None
    session.check_idle(61.0)
    assert isinstance(session.closing, SessionIdle)


def test_a_closed_session_computes_and_answers_nothing_more() -> None:
    session = greeted()
    say(session, Frame(0, [JPEG]))
    session.failed()
    assert session.next_capture(0.0) is None
    error = hear(session)
    assert isinstance(error, Error) and error.fatal and error.code == "internal"
    say(session, Ping())
    assert hear(session) is None


def test_the_report_counts_a_period_and_starts_anew() -> None:
    session = greeted()
    run_frame(session, 0)
    hear(session)
    say(session, Ack(0, 1.0, 2.0, 3.0, age_ms=120.0))
    report = session.reports.report(5.0)
    assert (report["frames_in"], report["splats_out"], report["age_ms_p50"]) == (1, 1, pytest.approx(120.0, rel=0.011))
    assert session.reports.report(10.0)["frames_in"] == 0
    assert session.reports.summary(10.0)["frames_in"] == 1


class SessionMachine(RuleBasedStateMachine):
    """Any order of events keeps the session's promises."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = SessionLimits(max_in_flight=2, max_unacked=3)
        self.session = greeted(max_in_flight=2, max_unacked=3)
        self.now_s = 0.0
        self.seq = -1
        self.in_flight: list[int] = []
        self.settled: dict[int, str] = {}
        self.shown: list[int] = []
        self.acked = -1
        self.drops_told = 0

    def _settle(self, seq: int, how: str) -> None:
        assert seq not in self.settled, f"frame {seq} was answered twice: {self.settled[seq]}, {how}"
        self.settled[seq] = how

    @rule(bad=st.booleans())
    def frame(self, bad: bool) -> None:
        self.seq += 1
        say(self.session, Frame(self.seq, [] if bad else [JPEG]), self.now_s)

    @rule()
    def submit(self) -> None:
        if job := self.session.next_capture(self.now_s):
            self.in_flight.append(job[0])

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), outcome=st.sampled_from([packed(), ImageBroken("x"), None]))
    def finish(self, data: st.DataObject, outcome: PackedFrame | ImageBroken | None) -> None:
        ticket = data.draw(st.sampled_from(self.in_flight))
        self.in_flight.remove(ticket)
        self.session.finished(ticket, outcome, self.now_s)

    @rule()
    def listen(self) -> None:
        match hear(self.session, self.now_s):
            case Splats(seq=seq):
                assert seq > max(self.shown, default=-1), "splats must rise"
                self._settle(seq, "splats")
                self.shown.append(seq)
            case Error(seq=seq) if seq is not None:
                self._settle(seq, "error")
            case Dropped(count=count, seqs=seqs):
                assert count == len(seqs)
                for seq in seqs:
                    self._settle(seq, "dropped")

    @precondition(lambda self: self.shown)
    @rule()
    def ack(self) -> None:
        self.acked = self.shown[-1]
        say(self.session, Ack(self.acked), self.now_s)

    @rule(seconds=st.floats(0, 1))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @invariant()
    def never_more_in_flight_than_allowed(self) -> None:
        assert len(self.in_flight) <= self.limits.max_in_flight
        assert len([seq for seq in self.shown if seq > self.acked]) <= self.limits.max_unacked

    def teardown(self) -> None:
        """Once everything has run out, every frame has its one answer."""
        for ticket in self.in_flight:
            self.session.finished(ticket, packed(), self.now_s)
        self.in_flight.clear()
        for _ in range(5):
            while job := self.session.next_capture(self.now_s):
                self.session.finished(job[0], packed(), self.now_s)
            say(self.session, Ack(10**9), self.now_s)
            for _ in range(len(self.settled) + self.seq + 10):
                self.listen()
        assert sorted(self.settled) == list(range(self.seq + 1))


TestSessionMachine: Callable[[], None] = SessionMachine.TestCase  # type: ignore[assignment]
SessionMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
