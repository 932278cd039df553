"""Messages survive the wire both ways, whatever is in them, and hostile bytes raise one documented error."""

import tracemalloc
from dataclasses import asdict, is_dataclass
from typing import Any, get_args

import hypothesis.strategies as st
import msgpack
import numpy as np
import pytest
from hypothesis import example, given
from msgspec import structs

from deployments.splats.camera import Camera
from deployments.stream import messages
from deployments.stream.errors import BadMessage, ProtocolMismatch
from deployments.stream.rooms import ROLES

clocks = st.floats(0, 1e13, allow_nan=False)
numbers = st.integers(0, 2**53)
words = st.text(max_size=20)
counts = st.dictionaries(words, numbers, max_size=3)
options = st.dictionaries(
    words, st.none() | st.booleans() | numbers | clocks | words | st.lists(words, max_size=3) | counts, max_size=9
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | words | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.binary(max_size=5), inner, max_size=3),
)
lengths = st.floats(allow_nan=False, width=32)
pictures = st.lists(st.binary(max_size=64), max_size=4)
cameras = st.lists(
    st.builds(messages.KnownCamera, *[lengths] * 4, st.none() | st.lists(lengths, min_size=12, max_size=12)), max_size=3
)
CLIENT = {
    messages.Hello: st.builds(
        messages.Hello,
        st.just(messages.PROTOCOL),
        st.lists(words, max_size=4),
        words,
        options,
        st.none() | st.builds(messages.Join, words),
    ),
    messages.Frame: st.builds(messages.Frame, numbers, pictures, clocks, cameras, pictures, clocks),
    messages.Ack: st.builds(messages.Ack, numbers, clocks, clocks, clocks, clocks),
    messages.Configure: st.builds(messages.Configure, options),
    messages.Ping: st.builds(messages.Ping, clocks),
    messages.Join: st.builds(messages.Join, words, st.sampled_from(ROLES), words, words, clocks),
    messages.Leave: st.builds(messages.Leave),
    messages.Watch: st.builds(messages.Watch, words),
    messages.Govern: st.builds(messages.Govern, st.none() | st.booleans(), st.booleans()),
}
SERVER = {
    messages.Splats: st.builds(
        messages.Splats, numbers, clocks, words, words, words, numbers,
        st.builds(Camera, numbers, numbers, clocks, clocks, clocks, clocks),
        counts, st.dictionaries(words, clocks), counts,
        st.builds(messages.QualityState, numbers, numbers, clocks, clocks, words, words), st.binary(max_size=64),
    ),
    messages.Welcome: st.builds(
        messages.Welcome, numbers, words, words,
        st.builds(messages.Engine, words, words, words, words, st.lists(words, max_size=3), words, st.booleans()),
        options,
        st.builds(messages.Limits, *[numbers] * 7, st.lists(words, max_size=3), clocks),
    ),
    messages.Dropped: st.builds(messages.Dropped, words, words, numbers, st.lists(numbers, max_size=64)),
    messages.Error: st.builds(messages.Error, words, words, st.none() | numbers, st.booleans()),
    messages.Configured: st.builds(messages.Configured, options),
    messages.Pong: st.builds(messages.Pong, clocks),
    messages.Joined: st.builds(messages.Joined, words, words, words, st.dictionaries(words, words, max_size=3), clocks),
    messages.Room: st.builds(
        messages.Room, st.lists(st.builds(messages.RoomCamera, words, words, st.booleans()), max_size=8), numbers,
        st.lists(words, max_size=32), st.booleans(), words,
    ),
    messages.Published: st.builds(messages.Published, numbers, clocks, st.dictionaries(words, clocks)),
}  # fmt: skip


@given(st.one_of(*CLIENT.values()))
def test_client_messages_round_trip(message: messages.ClientMessage) -> None:
    assert messages.decode_client(messages.encode(message)) == message


@given(st.one_of(*SERVER.values()))
def test_server_messages_round_trip(message: messages.ServerMessage) -> None:
    assert messages.decode_server(messages.encode(message)) == message


def test_every_message_is_covered_above() -> None:
    assert set(CLIENT) == set(get_args(messages.ClientMessage))
    assert set(SERVER) == set(get_args(messages.ServerMessage))


def test_the_bytes_of_a_frame_are_as_documented() -> None:
    raw = messages.encode(messages.Frame(3, [b"\xff\xd8"], 1.5))
    assert raw == msgpack.packb({"type": "frame", "seq": 3, "views": [b"\xff\xd8"], "captured_ms": 1.5})


def test_the_bytes_of_a_frame_with_cameras_and_depths_are_as_documented() -> None:
    pose = [1.0, 0.0, 0.0, 0.5, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    lens = {"fx": 500.0, "fy": 501.0, "cx": 320.5, "cy": 240.25}
    known = [messages.KnownCamera(**lens), messages.KnownCamera(**lens, pose=pose)]
    raw = messages.encode(messages.Frame(3, [b"a", b"b"], 1.5, known, [b"c", b"d"], 0.0005))
    assert raw == msgpack.packb(
        {
            "type": "frame", "seq": 3, "views": [b"a", b"b"], "captured_ms": 1.5,
            "cameras": [{**lens, "pose": None}, {**lens, "pose": pose}], "depths": [b"c", b"d"], "depth_unit_m": 0.0005,
        }
    )  # fmt: skip
    # "pose" may be left out, and whole numbers are numbers.
    short = {"fx": 500, "fy": 501, "cx": 320, "cy": 240}
    frame = messages.decode_client(msgpack.packb({"type": "frame", "seq": 3, "views": [b"a"], "cameras": [short]}))
    assert frame == messages.Frame(3, [b"a"], cameras=[messages.KnownCamera(500.0, 501.0, 320.0, 240.0)])


LENS = {"fx": 1.0, "fy": 1.0, "cx": 0.0, "cy": 0.0}


@pytest.mark.parametrize(
    ("camera", "words"),
    [
        ({"fx": 1.0, "fy": 1.0, "cx": 0.0}, "'frame.cameras[0]': the key 'cy' is missing"),
        ({**LENS, "fx": "wide"}, "'frame.cameras[0].fx': expected float, got str"),
        (
            {"fx": 1.0, "fy": 1.0, "cx": 0.0, "cy": 0.0, "pose": [0.0] * 11},
            "'frame.cameras[0].pose': expected array of length >= 12",
        ),
        ({**LENS, "pose": [[1.0]] * 12}, "'frame.cameras[0].pose[0]': expected float"),
        ([1.0] * 4, "'frame.cameras[0]': expected object, got array"),
    ],
)
def test_a_camera_that_is_none_is_named(camera: Any, words: str) -> None:
    with pytest.raises(BadMessage) as refused:
        messages.decode_client(msgpack.packb({"type": "frame", "seq": 1, "views": [b"x"], "cameras": [camera]}))
    assert words in str(refused.value)


@given(st.one_of(*CLIENT.values(), *SERVER.values()))
def test_the_bytes_are_those_of_another_msgpack_library_with_the_type_first(message: Any) -> None:
    body = {name: plain(value) for name, value in structs.asdict(message).items()}
    raw = messages.encode(message)
    if isinstance(message, messages.Frame):
        left_out = set(body) - set(msgpack.unpackb(raw))
        usual = structs.asdict(messages.Frame(0, []))
        assert all(body.pop(name) == usual[name] for name in left_out) and not left_out & {"seq", "views"}
    assert raw == msgpack.packb({"type": messages.type_name(type(message)), **body})


def plain(value: Any) -> Any:
    """What a library knows that has neither classes nor tags."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, messages.Join):
        return {"type": "join", **structs.asdict(value)}
    return asdict(value) if is_dataclass(value) else value


def test_a_buffer_is_written_as_bin_whatever_holds_it() -> None:
    data = memoryview(np.arange(4, dtype=np.uint8))
    camera = Camera(1, 1, 1.0, 1.0, 0.5, 0.5)
    quality = messages.QualityState(1, 0, 1.0, 1.0, "", "")
    raw = messages.encode(messages.Splats(0, 0.0, "packed", "lifted", "x", 0, camera, {}, {}, {}, quality, data))  # type: ignore[arg-type]
    decoded = messages.decode_server(raw)
    assert isinstance(decoded, messages.Splats) and decoded.data == b"\x00\x01\x02\x03"


def test_a_number_of_numpy_is_written_as_one() -> None:
    assert messages.decode_client(messages.encode(messages.Ping(np.float64(0.5)))) == messages.Ping(0.5)


def test_unknown_keys_are_ignored_so_that_a_newer_client_keeps_working() -> None:
    assert messages.decode_client(msgpack.packb({"type": "ping", "t": 1.0, "new": {"a": [1]}})) == messages.Ping(1.0)


WIDE = b"\xdd\x00\x01\x00\x00" + (b"\xdc\x00\x40" + b"\x90" * 64) * 65536
"""65536 arrays of 64 empty ones: 4 MB that would become four million objects."""
PING, HELLO = b"\xa4type\xa4ping", b"\xa4type\xa5hello\xa8protocol\x01"


@pytest.mark.parametrize(
    "data",
    [
        b"\x82" + PING + b"\xa3new" + WIDE,
        b"\x82\xa3new" + WIDE + PING,
        b"\x82\xa3new\xc7\x02\x05xx" + PING,
        b"\x82" + PING + b"\xa3new" + b"\x91" * 100 + b"\xc0",
    ],
    ids=["wide", "wide and first", "an extension type", "deep"],
)
def test_what_is_in_an_unknown_key_is_skipped_and_no_object_is_made_of_it(data: bytes) -> None:
    tracemalloc.start()
    try:
        assert messages.decode_client(data) == messages.Ping()
        assert tracemalloc.get_traced_memory()[1] < 200_000, "as objects it would be megabytes"
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (b"\x82" + PING + b"\xa1t" + WIDE, "ping.t"),
        (b"\x83" + HELLO + b"\xa6codecs" + WIDE, "hello.codecs"),
        (b"\x83" + HELLO + b"\xa7options\x81\xa1x" + WIDE, "hello.options"),
        (b"\x83" + HELLO + b"\xa7options\x81\xa1x\x91" + WIDE, "hello.options"),
        (b"\x82\xa4type\xa9configure\xa7options\xdf\x00\x20\x00\x00" + b"\xa1x\x00" * 2**21, "configure.options"),
        (b"\x83\xa4type\xa5frame\xa3seq\x01\xa5views" + WIDE, "frame.views"),
        (b"\x83\xa4type\xa5frame\xa3seq\x01\xa6depths" + WIDE, "frame.depths"),
        (b"\x83\xa4type\xa5frame\xa3seq\x01\xa7cameras" + WIDE, "frame.cameras"),
        (b"\x83\xa4type\xa5frame\xa3seq\x01\xa7cameras\x91\x81\xa4pose" + WIDE, "frame.cameras"),
    ],
    ids=range(9),
)
def test_a_known_key_holds_no_more_than_it_should(data: bytes, key: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BadMessage, match=f"'{key}.*': expected"):
            messages.decode_client(data)
        assert tracemalloc.get_traced_memory()[1] < 200_000, "as objects it would be megabytes"
    finally:
        tracemalloc.stop()


@given(st.sampled_from([messages.decode_client, messages.decode_server]), anything, st.data())
def test_a_field_with_anything_in_it_is_taken_or_refused_by_name(decode: Any, value: Any, data: st.DataObject) -> None:
    kinds = CLIENT if decode is messages.decode_client else SERVER
    message = data.draw(st.one_of(*(kind for cls, kind in kinds.items() if cls is not messages.Leave)))
    raw = msgpack.unpackb(messages.encode(message))
    key = data.draw(st.sampled_from(sorted(set(raw) - {"type"})))
    try:
        decoded = decode(msgpack.packb({**raw, key: value}))
    except BadMessage as error:
        assert key in str(error)
    except ProtocolMismatch:
        assert key == "protocol"
    else:
        again = structs.asdict(decoded)[key]
        assert plain(again) == value or is_dataclass(again) or key in ("join", "cameras"), "what is taken is not converted"


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
