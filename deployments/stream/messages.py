"""The messages of protocol 1, both ways, and their msgpack form.

Defined here once: ``web/src/stream/messages.ts`` is generated from these classes (``make messages``) and a test checks that it is
current. ``docs/protocol.md`` explains them. A message is a msgpack map whose ``type`` is the class's snake_case name; keys
that are unknown are ignored, so that a newer minor client keeps working, and missing or mistyped ones are refused by name.
"""

import re
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, get_args, get_origin, get_type_hints

import msgpack

from deployments.splats.camera import Camera
from deployments.stream.errors import BadMessage, ProtocolMismatch

PROTOCOL = 1
"""Raised when a client of the old version would misread the new one."""

MAX_DEPTH = 8
"""Nesting a message may have. Ours need 3; msgpack-python would go to about 1000 before it gives up."""

MAX_ITEMS = 4096
"""Values, keys not counted, of a whole message. Ours have some 50, and a view is one."""

IMAGE_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF")
"""How a bare image begins. None of these is a msgpack map with a string key, which is all we ever parse."""


# --- client → server ---


@dataclass(frozen=True, slots=True)
class Hello:
    """Opens a session of the current protocol. A client that never says it is served the original protocol.

    Attributes:
        protocol: The version the client speaks.
        client: Name and version of the client, for the log.
        codecs: Codecs the client decodes, best first.
        options: Changes to the server's default options.
    """

    protocol: int
    codecs: list[str]
    client: str = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Frame:
    """One moment, seen by one camera or by several at once.

    Attributes:
        seq: The client's number of the frame, rising by any step.
        views: Encoded images, one a camera.
        captured_ms: When it was captured, on the client's clock. Echoed, never interpreted.
    """

    seq: int
    views: list[bytes]
    captured_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Ack:
    """The client has shown a reply (or dropped it for a newer one), and is ready for more.

    Attributes:
        seq: Number of the frame.
        received_ms: When the reply had arrived, on the client's clock.
        decoded_ms: When it was decoded.
        shown_ms: When its pixels were handed to the screen; 0 when it was not shown.
        age_ms: From capture to that moment: the age at display. 0 when it was not shown.
    """

    seq: int
    received_ms: float = 0.0
    decoded_ms: float = 0.0
    shown_ms: float = 0.0
    age_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Configure:
    """Changes options from the next frame on. Answered by ``configured``, or by an ``error`` that names the option."""

    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ping:
    """Answered by ``pong`` with the same ``t``. Also keeps an idle session open."""

    t: float = 0.0


# --- server → client ---


@dataclass(frozen=True, slots=True)
class Engine:
    """What makes the splats.

    Attributes:
        engine: Kind of engine.
        name: Name of the model.
        label: One line to show under the picture.
        licence: SPDX identifier.
        licence_note: One sentence where the licence limits the use, else empty.
        kinds: What it can give, its default first: ``native``, ``lifted``, ``points``.
        metric: Whether units are metres.
    """

    engine: str
    name: str
    label: str
    licence: str
    kinds: list[str]
    licence_note: str = ""
    metric: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server takes.

    Attributes:
        max_frame_bytes: Encoded bytes of all views of a frame together.
        max_frame_pixels: Pixels of one view.
        max_views: Views of a frame.
        max_in_flight: Frames of one session that the graph works on at a time.
        max_unacked: Replies on the way before the server waits for an ``ack``.
        max_splats: Largest splat budget.
        max_inference_px: Largest ``inference_px``.
        codecs: Codecs offered.
        idle_timeout_s: A session from which nothing comes for that long is closed.
    """

    max_frame_bytes: int
    max_frame_pixels: int
    max_views: int
    max_in_flight: int
    max_unacked: int
    max_splats: int
    max_inference_px: int
    codecs: list[str]
    idle_timeout_s: float


@dataclass(frozen=True, slots=True)
class Welcome:
    """Answers ``hello``.

    Attributes:
        protocol: The version both speak.
        version: Version of the server.
        session: Id of the session, as in the server's log.
        engine: What makes the splats.
        options: The options in force.
        limits: What the server takes.
    """

    protocol: int
    version: str
    session: str
    engine: Engine
    options: dict[str, Any]
    limits: Limits


@dataclass(frozen=True, slots=True)
class Configured:
    """Answers ``configure``: the options in force from the next frame on."""

    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class QualityState:
    """What the server made of the client's options for one frame, to keep the stream's age down.

    Attributes:
        max_splats: Splat budget the frame was made with.
        inference_px: Longest side of the picture the model works on; 0: the model's choice.
        splats_share: Splats in the frame over those that the client's own options would give, 0..1.
        px_share: The same of the longest side.
        cause: Why the two were changed last: ``network``, ``client``, ``compute``, ``recovered``, ``no_gain``; empty: never.
        message: The same in words.
    """

    max_splats: int
    inference_px: int
    splats_share: float
    px_share: float
    cause: str
    message: str


@dataclass(frozen=True, slots=True)
class Splats:
    """One frame of splats.

    Attributes:
        seq: Number of the frame this answers. Rises; every lower number is settled too.
        captured_ms: Echo of the frame's.
        codec: How ``data`` is coded.
        kind: ``native``, ``lifted`` or ``points``.
        label: What made it, for the person who looks.
        count: Splats in ``data``.
        camera: The capture viewpoint: at the origin, looking along +z, x right, y down.
        pruned: Reason → Gaussians removed for it: ``opacity``, ``border``, ``depth``, ``budget``, ``invalid``.
        timings_ms: Stage → milliseconds: ``receive``, ``queue``, ``decode``, ``infer``, ``pack``, ``send``, ``total``.
        dropped: Reason → frames of this session dropped for it so far.
        quality: What was made of the client's options.
        data: The codec's bytes.
    """

    seq: int
    captured_ms: float
    codec: str
    kind: str
    label: str
    count: int
    camera: Camera
    pruned: dict[str, int]
    timings_ms: dict[str, float]
    dropped: dict[str, int]
    quality: QualityState
    data: bytes


@dataclass(frozen=True, slots=True)
class Dropped:
    """Frames that get no splats, for a reason that is nobody's mistake.

    Attributes:
        code: ``superseded`` (a newer frame came before the graph was free), ``stale`` (a newer result was ready first),
            ``slow_client`` (earlier replies were not acknowledged yet), ``overloaded`` (the graph's queues were full),
            ``rate_limited`` (frames came faster than one session may send them).
        message: The same in words.
        count: How many.
        seqs: Their numbers, the newest 64 at most.
    """

    code: str
    message: str
    count: int
    seqs: list[int]


@dataclass(frozen=True, slots=True)
class Error:
    """A frame or a message was refused.

    Attributes:
        code: Machine-readable.
        message: What was expected, what came, what to do.
        seq: Number of the frame, or null when it was not about one.
        fatal: The server closes the connection after this.
    """

    code: str
    message: str
    seq: int | None = None
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class Pong:
    """Answers ``ping``."""

    t: float = 0.0


ClientMessage = Hello | Frame | Ack | Configure | Ping
ServerMessage = Welcome | Configured | Splats | Dropped | Error | Pong


def type_name(cls: type) -> str:
    """``type`` of a message class on the wire: ``Hello`` → ``hello``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()


_CLIENT = {type_name(cls): cls for cls in get_args(ClientMessage)}
_SERVER = {type_name(cls): cls for cls in get_args(ServerMessage)}
_HINTS = {cls: get_type_hints(cls) for cls in (*_CLIENT.values(), *_SERVER.values(), Engine, Limits, Camera, QualityState)}


def is_image(data: bytes) -> bool:
    """Whether a binary message is a bare image: a frame without a map around it."""
    return data.startswith(IMAGE_MAGIC)


def encode(message: ClientMessage | ServerMessage) -> bytes:
    """The msgpack map of a message. Buffers (bytes, memoryview, uint8 arrays) are written as bin without a detour."""
    return msgpack.packb({"type": type_name(type(message)), **_to_map(message)})  # type: ignore[no-any-return]


def decode_client(data: bytes) -> ClientMessage:
    """Parse what a client sent.

    Raises:
        BadMessage: Saying what was expected and what came.
        ProtocolMismatch: If it is a ``hello`` of another version, whatever else is in it.
    """
    message: ClientMessage = _decode(data, _CLIENT)
    return message


def decode_server(data: bytes) -> ServerMessage:
    """Parse what a server sent; for Python clients, load generators and tests.

    Raises:
        BadMessage: Saying what was expected and what came.
    """
    message: ServerMessage = _decode(data, _SERVER)
    return message


def _to_map(value: Any) -> dict[str, Any]:
    out = {}
    for f in fields(value):
        item = getattr(value, f.name)
        out[f.name] = _to_map(item) if type(item) in _HINTS else item
    return out


def _decode(data: bytes, classes: dict[str, type]) -> Any:
    if not data:
        raise BadMessage("it is empty; expected a msgpack map or an image")
    if not (0x80 <= data[0] <= 0x8F or data[0] in (0xDE, 0xDF)):
        raise BadMessage(f"expected a msgpack map or a JPEG, PNG or WebP image, got a first byte of 0x{data[0]:02x}")
    items = 0

    def count(container: Any) -> Any:
        # Called as each array or map is complete, the inner ones first. Limits on one container's length do not limit their
        # product: a message of a few MB could become as many objects and hold the event loop for seconds.
        nonlocal items
        items += len(container) + 1
        if items > MAX_ITEMS:
            raise ValueError(f"more than {MAX_ITEMS} items")
        return container

    try:
        message = msgpack.unpackb(
            data,
            list_hook=count,
            object_hook=count,
            max_map_len=256,
            max_array_len=1024,
            max_str_len=65536,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise BadMessage(f"it is not valid msgpack ({str(error) or type(error).__name__:.120})") from None
    if not _shallower_than(message, MAX_DEPTH):
        raise BadMessage(f"it is nested deeper than {MAX_DEPTH} levels")
    name = message.get("type")
    if not isinstance(name, str):
        raise BadMessage(f"'type': expected a string, got {type(name).__name__}")
    cls = classes.get(name)
    if cls is None:
        raise BadMessage(f"type {name!r:.60} is unknown; known are {', '.join(classes)}")
    if cls is Hello and (type(message.get("protocol")) is not int or message["protocol"] != PROTOCOL):
        # Before anything else of it is read: another version's hello may have any shape.
        raise ProtocolMismatch(message.get("protocol"), PROTOCOL)
    return _build(cls, message, name)


def _build(cls: type, raw: dict[Any, Any], where: str) -> Any:
    values = {}
    for f in fields(cls):
        if f.name in raw:
            values[f.name] = _checked(_HINTS[cls][f.name], raw[f.name], f"{where}.{f.name}")
        elif f.default is MISSING and f.default_factory is MISSING:
            raise BadMessage(f"{where!r}: the key {f.name!r} is missing")
    return cls(**values)


def _checked(hint: Any, value: Any, where: str) -> Any:
    """``value`` if it is what ``hint`` says, converted where msgpack has no such type."""
    origin, args = get_origin(hint), get_args(hint)
    if hint in _HINTS and isinstance(value, dict):
        return _build(hint, value, where)
    if hint is Any:
        return value
    if origin is list and isinstance(value, list):
        return [_checked(args[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {_checked(args[0], k, f"{where} key"): _checked(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if type(None) in args:
        return None if value is None else _checked(args[0], value, where)
    # bool is an int in Python but not on the wire; an int is a fine float.
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint in (int, str, bytes, bool) and type(value) is hint:
        return value
    expected = getattr(hint, "__name__", str(hint)) if origin is None else str(hint)
    raise BadMessage(f"{where!r}: expected {expected}, got {type(value).__name__}")


def _shallower_than(value: Any, depth: int) -> bool:
    if depth == 0:
        return not isinstance(value, (dict, list))
    if isinstance(value, dict):
        return all(_shallower_than(v, depth - 1) for v in value.values())
    if isinstance(value, list):
        return all(_shallower_than(v, depth - 1) for v in value)
    return True
