"""Recordings: the messages of a session as the server sent them, in a file that plays without it. Little-endian::

    0   4 bytes  SPLR                     then entries, each:   0   u32  size of the message
    4   u8       version, 1                                     4   u32  size of the picture; 0: there is none
    5   3 bytes  0                                              8   f64  when, ms since the recording began
    8   f64      when it began, ms since 1970, UTC; 0: unknown  16  u32  CRC-32 (zlib's) of bytes 0 to 15, message, picture
                                                                20  the message, then the picture

Both sizes are at most :data:`MAX_BYTES`, that of the message is not 0, and time never goes back. The first is the ``welcome``.
A ``splats`` message that takes its colours from the picture that the client sent has it with it. Other types are skipped.

A file that ends within an entry, or goes on with something that can't be one, is read up to there. An entry whose sum is wrong is
skipped. Nothing is taken from a file but what its entry holds, and no message of more than :data:`MAX_VALUES` values is parsed, so
that a hostile one costs the memory of its largest entry.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from deployments.splats.codecs import depth_heads
from deployments.stream.errors import BadMessage
from deployments.stream.messages import ServerMessage, Splats, Welcome, decode_server, encode

MAGIC, VERSION, SUFFIX = b"SPLR", 1, ".splatcast"
HEADER, ENTRY = struct.Struct("<4sB3xd"), struct.Struct("<IIdI")
MAX_BYTES = 1 << 26
"""Of a message, and of a picture: 4 million splats of 16 bytes."""
MAX_VALUES = 4096
"""Keys, values, lists, maps and what is in them: a ``welcome`` has some hundred."""
_SUMMED = 16
"""Bytes of an entry's head that its sum covers."""
_UNANSWERED = 16
"""Far more frames than a server works on at a time: older ones were dropped."""
_VIEWS, _PICTURE = 6, 69
"""Where a ``depth`` header has the number of its views, and the head of a view whether its picture is there."""


class BadRecording(ValueError):
    """What was opened is no recording of this version. ``str()`` says what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of a recording.

    Attributes:
        ms: When, since the recording began.
        message: The msgpack map, as it came.
        picture: The picture that was sent for it, if its colours are that one's; else empty.
    """

    ms: float
    message: bytes
    picture: bytes = b""


@dataclass(frozen=True, slots=True)
class RecordedFrame:
    """A frame of a recording.

    Attributes:
        ms: When, since the recording began.
        reply: What the server made.
        picture: The picture that was sent, if the reply takes its colours from it; else empty.
    """

    ms: float
    reply: Splats
    picture: bytes


class RecordingWriter:
    """Appends to a file as a session goes on; what was written is whole at any time."""

    def __init__(self, file: BinaryIO, began_ms: float = 0.0) -> None:
        """Begin.

        Args:
            file: Open for writing bytes. The caller closes it.
            began_ms: Milliseconds since 1970, UTC; 0: unknown.
        """
        self._file = file
        self._last_ms = 0.0
        file.write(HEADER.pack(MAGIC, VERSION, began_ms))

    def write(self, entry: Entry) -> None:
        """Append an entry. A time before the last entry's is taken for that one's.

        Raises:
            ValueError: If the message is empty, or it or the picture is too large.
        """
        if not 0 < len(entry.message) <= MAX_BYTES or len(entry.picture) > MAX_BYTES:
            sizes = f"{len(entry.message)} and {len(entry.picture)}"
            raise ValueError(f"recording: expected a message and a picture of at most {MAX_BYTES} bytes, got {sizes}")
        if math.isfinite(entry.ms):
            self._last_ms = max(self._last_ms, entry.ms)
        head = struct.pack("<IId", len(entry.message), len(entry.picture), self._last_ms)
        total = _sum(head, entry.message, entry.picture)
        self._file.write(b"".join((head, struct.pack("<I", total), entry.message, entry.picture)))


@dataclass(slots=True)
class SessionRecorder:
    """Writes what a client sends and gets; it keeps the pictures of frames that are not answered yet.

    Attributes:
        writer: Where to.
        frames: Written so far.
    """

    writer: RecordingWriter
    frames: int = 0
    _pictures: dict[int, bytes] = field(default_factory=dict)
    _first_ms: float | None = None

    def sent(self, seq: int, views: list[bytes]) -> None:
        """A frame is on its way. Pictures of several cameras come back with the reply, so they are not kept."""
        if len(views) == 1:
            self._pictures[seq] = views[0]
        while len(self._pictures) > _UNANSWERED:
            del self._pictures[next(iter(self._pictures))]

    def received(self, data: bytes, message: ServerMessage) -> None:
        """A message has come: a ``welcome`` or a reply is written, at the time its frame was captured."""
        if isinstance(message, Welcome):
            self.writer.write(Entry(0.0, data))
        if not isinstance(message, Splats):
            return
        picture = self._pictures.get(message.seq, b"")
        self._pictures = {seq: kept for seq, kept in self._pictures.items() if seq > message.seq}
        if self._first_ms is None:
            self._first_ms = message.captured_ms
        self.writer.write(Entry(message.captured_ms - self._first_ms, data, picture if wants_picture(message) else b""))
        self.frames += 1


class RecordingReader:
    """Reads a file once, from its beginning.

    Attributes:
        began_ms: When the recording began, milliseconds since 1970, UTC; 0: unknown.
        welcome: What the server said of itself; None until the iteration has come by it.
        damaged: Entries skipped so far because they are not what was written.
        cut: Why reading ended before the end of the file, as a sentence; empty: it did not.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Open.

        Raises:
            BadRecording: If it does not begin as one.
        """
        self._file = file
        self.welcome: Welcome | None = None
        self.damaged, self.cut = 0, ""
        head = file.read(HEADER.size)
        if head[:4] != MAGIC[: len(head)] or not head:
            raise BadRecording(f"recording: expected a file that begins with {MAGIC.decode()}, got {head[:4]!r}")
        if len(head) < HEADER.size:
            raise BadRecording(f"recording: expected a header of {HEADER.size} bytes, got {len(head)}")
        _, version, self.began_ms = HEADER.unpack(head)
        if version != VERSION:
            raise BadRecording(f"recording: expected version {VERSION}, got {version}")
        if head[5:8] != b"\0\0\0":
            raise BadRecording(f"recording: expected zeros in bytes 5 to 7, got {head[5:8]!r}")
        if not math.isfinite(self.began_ms):
            raise BadRecording(f"recording: expected a time in bytes 8 to 15, got {self.began_ms}")

    def entries(self) -> Iterator[Entry]:
        """What the file holds, as far as it goes. Never raises for what is in it: see ``damaged`` and ``cut``."""
        last_ms = 0.0
        while head := self._file.read(ENTRY.size):
            if len(head) < ENTRY.size:
                self.cut = "The file ends within an entry."
                return
            message_bytes, picture_bytes, ms, total = ENTRY.unpack(head)
            if not (0 < message_bytes <= MAX_BYTES and picture_bytes <= MAX_BYTES and last_ms <= ms < math.inf):
                self.cut = "The file goes on with something that is no entry."
                return
            body = self._file.read(message_bytes + picture_bytes)
            if len(body) < message_bytes + picture_bytes:
                self.cut = "The file ends within an entry."
                return
            last_ms = ms
            if _sum(head[:_SUMMED], body) != total:
                self.damaged += 1
                continue
            yield Entry(ms, body[:message_bytes], body[message_bytes:])

    def frames(self) -> Iterator[RecordedFrame]:
        """The frames, as far as the file goes; on the way the ``welcome`` is noted. Never raises for what is in it."""
        for entry in self.entries():
            try:
                if has_too_many_values(entry.message):
                    raise BadMessage(f"it has more than {MAX_VALUES} values")
                message = decode_server(entry.message)
            except BadMessage:
                self.damaged += 1
                continue
            if isinstance(message, Welcome):
                self.welcome = message
            elif isinstance(message, Splats):
                yield RecordedFrame(entry.ms, message, entry.picture)


def rewritten(frame: RecordedFrame, from_ms: float) -> Entry:
    """The entry of a frame in a recording that begins ``from_ms`` later."""
    return Entry(frame.ms - from_ms, encode(frame.reply), frame.picture)


def wants_picture(reply: Splats) -> bool:
    """Whether a reply takes its colours from the picture that the client sent: a ``depth`` reply in which a view has none."""
    if reply.codec != depth_heads.NAME:
        return False
    views = reply.data[_VIEWS] if len(reply.data) > _VIEWS else 0
    flags = [depth_heads.HEADER.size + depth_heads.VIEW.size * view + _PICTURE for view in range(views)]
    return any(reply.data[at] == 0 for at in flags if at < len(reply.data))


def has_too_many_values(message: bytes) -> bool:
    """Whether a msgpack message holds more than :data:`MAX_VALUES` values; looks at no more of them than that.

    A few megabytes can hold that many million empty lists or keys, each of which takes a hundred bytes of memory. What is cut off
    or no msgpack is left to its decoder.
    """
    at, expected, seen = 0, 1, 0
    while expected > 0:
        expected, seen = expected - 1, seen + 1
        if seen > MAX_VALUES or expected > MAX_VALUES:
            return True
        if at >= len(message):
            return False
        kind = message[at]
        size = _LENGTH_BYTES.get(kind, 0)
        if at + 1 + size > len(message):
            return False
        length = int.from_bytes(message[at + 1 : at + 1 + size], "big")
        at += 1 + size
        if 0x80 <= kind < 0x90:
            expected += 2 * (kind & 15)
        elif 0x90 <= kind < 0xA0:
            expected += kind & 15
        elif 0xA0 <= kind < 0xC0:
            at += kind & 31
        elif kind in (0xDC, 0xDD):
            expected += length
        elif kind in (0xDE, 0xDF):
            expected += 2 * length
        else:
            at += _PAYLOAD_BYTES.get(kind, length + (0xC7 <= kind <= 0xC9))
    return False


_LENGTH_BYTES = {
    **dict.fromkeys((0xC4, 0xC7, 0xD9), 1),
    **dict.fromkeys((0xC5, 0xC8, 0xDA, 0xDC, 0xDE), 2),
    **dict.fromkeys((0xC6, 0xC9, 0xDB, 0xDD, 0xDF), 4),
}
"""First byte → bytes of the length that follows it."""
_PAYLOAD_BYTES = {
    **{0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8},
    **{0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17},
}
"""First byte → bytes of a number, or of an extension of a fixed size with its type."""


def _sum(*parts: bytes) -> int:
    total = 0
    for part in parts:
        total = zlib.crc32(part, total)
    return total
