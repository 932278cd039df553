"""The token bucket, and what a session does to frames, acks and floods above its rates."""

import pytest

from deployments.stream import messages
from deployments.stream.errors import Flooded
from deployments.stream.messages import Ack, Configure, Dropped, Error, Frame, Ping
from deployments.stream.session import Session
from deployments.stream.token_bucket import Allowance
from tests.unit.test_session import JPEG, greeted, hear, make_session, run_frame, say


def taken(allowance: Allowance, now_s: float, amount: float = 1) -> int:
    """How often it may be taken of at one moment."""
    count = 0
    while allowance.has(now_s):
        allowance.take(amount)
        count += 1
    return count


def test_a_second_is_saved_up_and_no_more() -> None:
    allowance = Allowance(10, now_s=0.0)
    assert taken(allowance, 0.0) == 10
    assert taken(allowance, 0.45) == 5, "4.5 of them came back; what is begun is given"
    assert taken(allowance, 1000.0) == 10


def test_what_is_larger_than_a_seconds_worth_passes_and_is_paid_back() -> None:
    allowance = Allowance(10, now_s=0.0)
    assert taken(allowance, 0.0, 35) == 1
    assert not allowance.has(2.5) and allowance.has(2.6)


def flood(session: Session, count: int, now_s: float = 0.0) -> None:
    for seq in range(count):
        say(session, Frame(seq, [JPEG]), now_s)


def test_frames_above_the_rate_are_dropped_told_and_counted() -> None:
    session = greeted(max_frames_per_s=10, max_in_flight=1)
    flood(session, 25)
    told = {}
    while isinstance(notice := hear(session), Dropped):
        told[notice.code] = (notice.count, notice.seqs)
    assert told == {"superseded": (9, list(range(9))), "rate_limited": (15, list(range(10, 25)))}
    assert session.counts.by_label("dropped") == {"superseded": 9, "rate_limited": 15}
    job = session.next_capture(0.0)
    assert job is not None and session.next_capture(0.0) is None
    say(session, Frame(25, [JPEG]), 0.2)
    assert hear(session, 0.2) is None, "the rate lets the next one in"


def test_bytes_above_the_rate_are_frames_dropped() -> None:
    session = greeted(max_bytes_per_s=1000)
    for seq in range(3):
        say(session, Frame(seq, [JPEG + bytes(590)]), 0.0)
    notices = [hear(session), hear(session)]
    assert {notice.code: notice.seqs for notice in notices if isinstance(notice, Dropped)} == {
        "superseded": [0],
        "rate_limited": [2],
    }


def test_a_refused_frame_takes_nothing_of_the_rate() -> None:
    session = greeted(max_frames_per_s=1)
    say(session, Frame(0, [b""]), 0.0)
    say(session, Frame(1, [JPEG]), 0.0)
    answer = hear(session)
    assert isinstance(answer, Error) and answer.code == "frame_empty" and hear(session) is None


def test_the_original_protocol_is_held_to_the_same_rates_and_closed_for_the_same_flood() -> None:
    session = make_session(max_frames_per_s=10)
    for _ in range(25):
        session.received(JPEG, 0.0)
    assert session.counts.by_label("dropped")["rate_limited"] == 15
    for _ in range(2000):
        session.received('{"type": "ping"}', 0.0)
    assert isinstance(session.closing, Flooded)


@pytest.mark.parametrize("fps", [30.0, 120.0])
def test_a_chatty_but_honest_client_meets_no_limit(fps: float) -> None:
    session = greeted()
    for tick in range(int(fps) * 20):
        now_s = tick / fps
        run_frame(session, tick, now_s)
        while (message := hear(session, now_s)) is not None:
            assert not isinstance(message, (Dropped, Error)), message
        say(session, Ack(tick), now_s)
        say(session, Ping(now_s), now_s)
        # A slider that is dragged, at the rate of the fastest displays.
        say(session, Configure({"max_splats": 1000 + tick % 1000}), now_s)
    assert session.closing is None


@pytest.mark.parametrize("message", [Ping(), Ack(0), Configure({"border": 0.1}), Frame(0, [JPEG])])
def test_a_flood_of_any_message_ends_the_session_with_a_reason(message: messages.ClientMessage) -> None:
    session = greeted()
    sent = 0
    while not session.closing:
        say(session, message, sent * 1e-5)
        sent += 1
        assert sent < 2000
    assert isinstance(session.closing, Flooded) and session.closing.close_code == 1008
    while (answer := hear(session, 1.0)) is not None:
        last = answer
    assert isinstance(last, Error) and last.fatal and last.code == "too_many_messages" and "1240 messages" in last.message


def test_a_flood_of_bytes_ends_the_session_too() -> None:
    session = greeted(max_bytes_per_s=1000)
    for seq in range(4):
        say(session, Frame(seq, [JPEG + bytes(900)]), 0.0)
    assert isinstance(session.closing, Flooded)


def test_a_thousand_frames_a_second_are_dropped_not_closed() -> None:
    session = greeted()
    for seq in range(10_000):
        say(session, Frame(seq, [JPEG]), seq / 1000)
    assert session.closing is None and session.counts.by_label("dropped")["rate_limited"] > 8000
