"""Messages survive the wire both ways, whatever is in them, and hostile bytes raise one documented error."""

from typing import get_args

import hypothesis.strategies as st
import msgpack
import numpy as np
import pytest
from hypothesis import example, given

from deployments.splats.camera import Camera
from deployments.stream import messages
from deployments.stream.errors import BadMessage

clocks = st.floats(0, 1e13, allow_nan=False)
numbers = st.integers(0, 2**53)
words = st.text(max_size=20)
counts = st.dictionaries(words, numbers, max_size=3)
CLIENT = {
    messages.Hello: st.builds(
        messages.Hello, st.just(messages.PROTOCOL), st.lists(words, max_size=4), words, st.dictionaries(words, numbers)
    ),
    messages.Frame: st.builds(messages.Frame, numbers, st.lists(st.binary(max_size=64), max_size=4), clocks),
    messages.Ack: st.builds(messages.Ack, numbers, clocks, clocks, clocks, clocks),
    messages.Configure: st.builds(messages.Configure, st.dictionaries(words, numbers)),
    messages.Ping: st.builds(messages.Ping, clocks),
}
SERVER = {
    messages.Splats: st.builds(
        messages.Splats, numbers, clocks, words, words, words, numbers,
        st.builds(Camera, numbers, numbers, clocks, clocks, clocks, clocks),
        counts, st.dictionaries(words, clocks), counts,
        st.builds(messages.QualityState, numbers, numbers, clocks, clocks, words, words), st.binary(max_size=64),
    ),
    messages.Dropped: st.builds(messages.Dropped, words, words, numbers, st.lists(numbers, max_size=64)),
    messages.Error: st.builds(messages.Error, words, words, st.none() | numbers, st.booleans()),
    messages.Configured: st.builds(messages.Configured, st.dictionaries(words, numbers)),
    messages.Pong: st.builds(messages.Pong, clocks),
}  # fmt: skip


@given(st.one_of(*CLIENT.values()))
def test_client_messages_round_trip(message: messages.ClientMessage) -> None:
    assert messages.decode_client(messages.encode(message)) == message


@given(st.one_of(*SERVER.values()))
def test_server_messages_round_trip(message: messages.ServerMessage) -> None:
    assert messages.decode_server(messages.encode(message)) == message


def test_every_message_is_covered_above() -> None:
    assert set(CLIENT) == set(get_args(messages.ClientMessage))
    assert set(SERVER) | {messages.Welcome} == set(get_args(messages.ServerMessage))


def test_the_bytes_of_a_frame_are_as_documented() -> None:
    raw = messages.encode(messages.Frame(3, [b"\xff\xd8"], 1.5))
    assert raw == msgpack.packb({"type": "frame", "seq": 3, "views": [b"\xff\xd8"], "captured_ms": 1.5})


def test_a_buffer_is_written_as_bin_whatever_holds_it() -> None:
    data = memoryview(np.arange(4, dtype=np.uint8))
    camera = Camera(1, 1, 1.0, 1.0, 0.5, 0.5)
    quality = messages.QualityState(1, 0, 1.0, 1.0, "", "")
    raw = messages.encode(messages.Splats(0, 0.0, "packed", "lifted", "x", 0, camera, {}, {}, {}, quality, data))  # type: ignore[arg-type]
    decoded = messages.decode_server(raw)
    assert isinstance(decoded, messages.Splats) and decoded.data == b"\x00\x01\x02\x03"


def test_unknown_keys_are_ignored_so_that_a_newer_client_keeps_working() -> None:
    assert messages.decode_client(msgpack.packb({"type": "ping", "t": 1.0, "new": {"a": [1]}})) == messages.Ping(1.0)


@given(st.binary(max_size=200))
@example(b"\x81" + b"\x91" * 5000)
@example(b"\x81\xa4type\xc7\x01\x05x")
@example(b"\x81\x01\xa4ping")
@example(b"\x81\x91\x01\x01")
def test_no_bytes_raise_anything_but_the_documented_error(data: bytes) -> None:
    try:
        messages.decode_client(data)
    except BadMessage as error:
        assert str(error).startswith("Message not understood: ")


@given(st.one_of(*CLIENT.values()), st.data())
def test_a_truncated_message_raises_the_documented_error(message: messages.ClientMessage, data: st.DataObject) -> None:
    raw = messages.encode(message)
    with pytest.raises(BadMessage):
        messages.decode_client(raw[: data.draw(st.integers(0, len(raw) - 1))])


def test_no_image_begins_like_a_message_we_parse() -> None:
    for cls in get_args(messages.ClientMessage):
        raw = msgpack.packb({"type": messages.type_name(cls)})
        assert not messages.is_image(raw)
