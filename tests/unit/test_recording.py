"""Recordings: what is written is read back, a cut file plays as far as it goes, and nothing in one costs more than its entry."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments import recording
from deployments.client import connect
from deployments.splats.codecs.ply import PlyCodec
from deployments.stream.messages import Splats, decode_server
from deployments.stream.recording import (
    ENTRY,
    HEADER,
    MAX_BYTES,
    MAX_VALUES,
    BadRecording,
    Entry,
    RecordingReader,
    RecordingWriter,
    SessionRecorder,
    has_too_many_values,
    wants_picture,
)
from tests.memory import memory_below
from tests.pictures import jpeg
from tests.server import free_port
from tests.stub_server import StubPipeline, stub_server
from tests.vectors.cases import FOLDER, SESSION, session_entries

GOLDEN = (FOLDER / SESSION).read_bytes()


def written(entries: list[Entry], began_ms: float = 0.0) -> bytes:
    file = io.BytesIO()
    writer = RecordingWriter(file, began_ms)
    for entry in entries:
        writer.write(entry)
    return file.getvalue()


def read(data: bytes) -> tuple[list[Entry], RecordingReader]:
    reader = RecordingReader(io.BytesIO(data))
    return list(reader.entries()), reader


def ends(data: bytes) -> list[int]:
    """Where each entry ends."""
    at, found = HEADER.size, [HEADER.size]
    while at < len(data):
        message, picture, _, _ = ENTRY.unpack_from(data, at)
        at += ENTRY.size + message + picture
        found.append(at)
    return found


def test_the_golden_file_holds_what_its_case_says_and_is_written_again_to_the_byte():
    entries, reader = read(GOLDEN)
    assert (reader.began_ms, reader.damaged, reader.cut) == (1_700_000_000_000.0, 0, "")
    expected = session_entries()
    assert [(entry.ms, entry.message) for entry in entries] == [(entry.ms, entry.message) for entry in expected]
    assert [bool(entry.picture) for entry in entries] == [False, True, False, False]
    assert written(entries, reader.began_ms) == GOLDEN


def test_its_frames_are_gaussians_with_the_colours_of_the_picture():
    reader = RecordingReader(io.BytesIO(GOLDEN))
    depth, packed = reader.frames()
    assert reader.welcome is not None and reader.welcome.engine.label == "Golden vectors"
    assert (depth.ms, depth.reply.seq, packed.ms, packed.reply.seq) == (0.0, 1, 100.5, 3)
    assert wants_picture(depth.reply) and not wants_picture(packed.reply)
    assert len(recording.gaussians_of(depth)) > 2000 and len(recording.gaussians_of(packed)) == 48


@given(st.lists(st.tuples(st.floats(0, 1e9), st.binary(min_size=1, max_size=50), st.binary(max_size=50)), max_size=8))
def test_what_is_written_is_read(parts: list[tuple[float, bytes, bytes]]):
    entries = [Entry(*part) for part in parts]
    got, reader = read(written(entries))
    assert [(entry.message, entry.picture) for entry in got] == [(entry.message, entry.picture) for entry in entries]
    assert [entry.ms for entry in got] == list(np.maximum.accumulate([entry.ms for entry in entries])) and not reader.cut


def test_cut_anywhere_it_plays_as_far_as_it_goes():
    whole, _ = read(GOLDEN)
    boundaries = ends(GOLDEN)
    for size in range(HEADER.size, len(GOLDEN)):
        entries, reader = read(GOLDEN[:size])
        complete = sum(end <= size for end in boundaries) - 1
        assert entries == whole[:complete] and reader.damaged == 0
        assert bool(reader.cut) == (size not in boundaries)


@pytest.mark.parametrize("size", range(HEADER.size))
def test_less_than_a_header_is_no_recording(size: int):
    with pytest.raises(BadRecording, match="expected a"):
        RecordingReader(io.BytesIO(GOLDEN[:size]))


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [(0, b"PK", "begins with SPLR"), (4, b"\2", "version 1, got 2"), (6, b"\1", "zeros in bytes"), (8, b"\xff" * 8, "a time")],
)
def test_another_header_is_refused_by_name(at: int, value: bytes, words: str):
    with pytest.raises(BadRecording, match=words):
        RecordingReader(io.BytesIO(GOLDEN[:at] + value + GOLDEN[at + len(value) :]))


def test_a_changed_byte_costs_one_entry_and_never_the_program():
    chance = random.Random(5)
    whole = len(read(GOLDEN)[0])
    for _ in range(3000):
        data = bytearray(GOLDEN)
        at = chance.randrange(HEADER.size, len(data))
        data[at] ^= chance.randrange(1, 256)
        reader = RecordingReader(io.BytesIO(bytes(data)))
        got = len(list(reader.entries()))
        assert got < whole and (reader.cut or reader.damaged)


def test_a_sum_that_is_right_over_a_message_that_is_not_is_skipped():
    data = written([Entry(0.0, b"\x81\xa4type\xa4soup"), Entry(1.0, b"\xc1"), *session_entries()])
    reader = RecordingReader(io.BytesIO(data))
    assert len(list(reader.frames())) == 2 and reader.damaged == 2


@pytest.mark.parametrize(
    ("message", "picture", "ms"), [(MAX_BYTES + 1, 0, 0.0), (4, 2**32 - 1, 0.0), (0, 0, 0.0), (4, 0, -1.0), (4, 0, float("nan"))]
)
def test_what_can_be_no_entry_ends_the_reading(message: int, picture: int, ms: float):
    head = struct.pack("<IId", message, picture, ms)
    data = GOLDEN + head + struct.pack("<I", zlib.crc32(head)) + b"more"
    entries, reader = read(data)
    assert len(entries) == 4 and "no entry" in reader.cut


def test_a_size_that_is_not_there_takes_no_more_than_the_largest_entry(tmp_path: Path):
    head = struct.pack("<IId", MAX_BYTES, MAX_BYTES, 0.0)
    path = tmp_path / "hostile.splatcast"
    path.write_bytes(GOLDEN + (head + struct.pack("<I", 0)) * 500)

    with path.open("rb") as file, memory_below(traced=2 * MAX_BYTES + (16 << 20), resident=32 << 20):
        assert len(list(RecordingReader(file).entries())) == 4


def test_a_message_that_is_too_large_is_not_written():
    file = io.BytesIO()
    with pytest.raises(ValueError, match="at most"):
        RecordingWriter(file).write(Entry(0.0, b""))
    assert len(file.getvalue()) == HEADER.size


async def test_a_session_is_recorded_as_it_came():
    file = io.BytesIO()
    recorder = SessionRecorder(RecordingWriter(file))
    async with stub_server(StubPipeline()) as url, connect(url, recorder=recorder) as stream:
        for captured_ms in (5000.0, 5040.0):
            await stream.send_frame(jpeg(), captured_ms)
            async for reply in stream:
                assert isinstance(reply, Splats)
                break
    reader = RecordingReader(io.BytesIO(file.getvalue()))
    frames = list(reader.frames())
    assert reader.welcome == stream.welcome
    assert [(frame.ms, frame.reply.captured_ms) for frame in frames] == [(0.0, 5000.0), (40.0, 5040.0)]
    assert recorder.frames == 2 and all(frame.picture == b"" for frame in frames)


def test_the_picture_goes_with_a_reply_that_has_no_colours_and_others_are_let_go():
    file = io.BytesIO()
    recorder = SessionRecorder(RecordingWriter(file))
    _, depth, _, packed = (entry.message for entry in session_entries())
    for seq in range(40):
        recorder.sent(seq - 36, [b"picture %d" % (seq - 36)])
    recorder.received(depth, decode_server(depth))
    recorder.received(packed, decode_server(packed))
    pictures = [frame.picture for frame in RecordingReader(io.BytesIO(file.getvalue())).frames()]
    assert pictures == [b"picture 1", b""]


def a_reply_with(**fields: object) -> bytes:
    """The golden file's second reply, with these in place of what it had."""
    (*_, entry) = read(GOLDEN)[0]
    return msgspec.msgpack.encode({**msgspec.msgpack.decode(entry.message), **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"timings_ms": {f"{i:x}": 1.0 for i in range(300_000)}},
        {"pruned": {"a": 1}, "more": [[[]] * 1000] * 300},
        {"camera": [{}] * 300_000},
    ],
    ids=["keys", "lists", "maps"],
)
def test_a_message_of_more_values_than_any_of_ours_is_skipped_before_they_are_built(fields: dict[str, object]):
    data = written([Entry(0.0, a_reply_with(**fields)), Entry(1.0, a_reply_with())])
    with memory_below(traced=4 * len(data), resident=20_000_000):
        reader = RecordingReader(io.BytesIO(data))
        assert [frame.ms for frame in reader.frames()] == [1.0] and reader.damaged == 1


def test_values_are_counted_behind_every_kind_of_value_and_what_is_cut_off_is_left_to_the_decoder():
    numbers = [0, -1, -100, 200, 1000, -1000, 10**5, -(10**5), 2**40, -(2**40), 0.5, True, None]
    texts = ["a" * size for size in (0, 1, 31, 32, 300, 70000)]
    binaries = [b"\xdd" * size for size in (3, 300, 70000)]
    extensions = [msgspec.msgpack.Ext(5, b"\xdd" * size) for size in (1, 2, 4, 8, 16, 3, 300, 70000)]
    kinds = [*numbers, *texts, *binaries, *extensions, {"a": 1, "b": [2]}]
    count = 1 + len(kinds) + 5
    fits = msgspec.msgpack.encode([*kinds, [0] * (MAX_VALUES - count - 1)])
    assert not has_too_many_values(fits)
    assert has_too_many_values(msgspec.msgpack.encode([*kinds, [0] * (MAX_VALUES - count)]))
    assert not any(has_too_many_values(fits[:size]) for size in range(500))
    assert not any(has_too_many_values(entry.message) for entry in read(GOLDEN)[0])
    assert has_too_many_values(b"\xdd\xff\xff\xff\xff")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / SESSION
    path.write_bytes(GOLDEN)
    return path


Run = Callable[..., str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object, status: int = 0) -> str:
        assert recording.main([str(argument) for argument in arguments]) == status
        said = capsys.readouterr()
        return said.err if status else said.out

    return run


def test_the_command_says_what_is_in_a_file_and_how_far_it_goes(run: Run, path: Path):
    said = run("info", path)
    assert "Golden vectors (Apache-2.0)" in said and "2 over 0.1 s: 1 depth, 1 packed" in said and "2023-11-14" in said
    path.write_bytes(GOLDEN[:-1])
    assert "1 over 0.0 s" in (said := run("info", path)) and "ends within an entry" in said


def test_the_command_cuts_a_part_that_plays_by_itself(run: Run, path: Path):
    part = path.with_name("part.splatcast")
    run("cut", path, part, "--start-s", 0.05)
    reader = RecordingReader(io.BytesIO(part.read_bytes()))
    (frame,) = reader.frames()
    assert (frame.ms, frame.reply.codec) == (0.0, "packed") and reader.welcome is not None
    whole = RecordingReader(io.BytesIO(GOLDEN))
    assert reader.began_ms == whole.began_ms + [frame.ms for frame in whole.frames()][1]
    assert "another file" in run("cut", path, path, status=1) and path.read_bytes() == GOLDEN


def test_the_command_exports_frames_for_other_tools(run: Run, path: Path):
    folder = path.with_name("frames")
    run("export", path, folder, "--format", "ply")
    names = sorted(file.name for file in folder.iterdir())
    assert names == ["000000.ply", "000001.ply"]
    assert len(PlyCodec().decode(np.fromfile(folder / names[1], np.uint8))) == 48
    assert b"comment engine: stub (Golden vectors)\ncomment licence: Apache-2.0" in (folder / names[0]).read_bytes()


def test_the_command_says_why_a_file_is_none(run: Run, path: Path):
    path.write_bytes(b"PNG")
    assert "SPLR" in run("info", path, status=1)
    assert "No such file" in run("info", path.with_name("none"), status=1)


def test_a_file_that_is_no_recording_costs_none_that_was_there(run: Run, path: Path):
    other = path.with_name("other.splatcast")
    other.write_bytes(b"PNG")
    run("cut", other, path, status=1)
    assert path.read_bytes() == GOLDEN


def test_a_server_that_is_away_costs_no_recording_that_was_there(run: Run, path: Path):
    picture = path.with_name("picture.jpg")
    picture.write_bytes(jpeg())
    run("record", f"ws://127.0.0.1:{free_port()}/ws", path, picture, status=1)
    assert path.read_bytes() == GOLDEN
    assert sorted(file.name for file in path.parent.iterdir()) == sorted([path.name, picture.name])


async def test_the_command_records_pictures(tmp_path: Path):
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(jpeg())
    out = tmp_path / "out.splatcast"
    async with stub_server(StubPipeline()) as url:
        args = recording._parser().parse_args(["record", url, str(out), str(picture), "--frames", "7", "--fps", "20"])
        with out.open("wb") as file:
            await recording._stream_pictures(args, [jpeg()], SessionRecorder(RecordingWriter(file)))
    with out.open("rb") as file:
        assert [frame.ms for frame in RecordingReader(file).frames()] == [50.0 * i for i in range(7)]
