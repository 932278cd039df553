"""The messages of protocol 1, in both directions, and their msgpack form.

They are defined here and, those of rooms, in :mod:`deployments.stream.room_messages`: ``web/src/stream/messages.ts`` is generated
from these classes (``make messages``), and a test checks that it is current. ``docs/protocol.md`` explains them. A message is a
msgpack map whose ``type`` is the class's snake_case name.
Unknown keys are skipped, so that a newer minor client keeps working; missing or mistyped keys are refused by name.

The types set the bounds: a list or a map that is too long or holds the wrong type is refused before it is built, and unknown keys
are skipped without building their values, so that a message of a few MB can't become millions of objects.
"""

from dataclasses import dataclass, field
from operator import methodcaller
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from deployments.splats.camera import Camera
from deployments.stream.errors import BadMessage, ProtocolMismatch
from deployments.stream.message_types import List, Map, Message, Option, Options, Text, Views
from deployments.stream.room_messages import Govern as Govern
from deployments.stream.room_messages import Join as Join
from deployments.stream.room_messages import Joined as Joined
from deployments.stream.room_messages import Leave as Leave
from deployments.stream.room_messages import Published as Published
from deployments.stream.room_messages import Room as Room
from deployments.stream.room_messages import RoomCamera as RoomCamera
from deployments.stream.room_messages import Watch as Watch

PROTOCOL = 1
"""Goes up when a client of the old version would misread the new one."""

IMAGE_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF")
"""How a bare image begins. None of these is a msgpack map with a string key, which is all we ever parse."""

# --- client → server ---


class Hello(Message, frozen=True):
    """Opens a session of the current protocol. A client that never sends it gets the original protocol.

    Attributes:
        protocol: The version the client speaks.
        client: Name and version of the client, for the log.
        codecs: Codecs the client decodes, best first.
        options: Changes to the server's default options.
        join: The room to be in from the start; null: none.
    """

    protocol: int
    codecs: List[Text]
    client: Text = ""
    options: Options = msgspec.field(default_factory=dict)
    join: "Join | None" = None


@dataclass(frozen=True, slots=True)
class KnownCamera:
    """What a calibrated camera knows of itself.

    Attributes:
        fx: Horizontal focal length, pixels of the view as it is sent, upright: after its EXIF orientation.
        fy: Vertical focal length, the same pixels.
        cx: Principal point from the upright view's left edge, the same pixels; pixel centres lie at +0.5.
        cy: Principal point from its top edge.
        pose: World to camera, rotation and translation [3, 4], row by row: 12 numbers in OpenCV's axes (x right, y down, z
            forward). The world is any that all views of the frame share, in metres if the frame has depths. Null: unknown.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    pose: Annotated[list[float], msgspec.Meta(min_length=12, max_length=12)] | None = None


class Frame(Message, frozen=True, omit_defaults=True):
    """One moment, seen by one camera or by several at once.

    Attributes:
        seq: The client's number for the frame, rising by any step.
        views: Encoded images, one for each camera.
        captured_ms: When it was captured, on the client's clock. Echoed, never interpreted.
        cameras: What is known of the cameras, one for each view; empty: nothing.
        depths: Depth that was measured, to be shown instead of the model's: 16-bit grey PNGs, one for each view; empty: none. Each
            covers its view's picture (upright, of any size), pixel for pixel the z-depth in the view's camera; 0: unknown.
        depth_unit_m: Metres of one step of ``depths``.
    """

    seq: int
    views: Views
    captured_ms: float = 0.0
    cameras: Annotated[list[KnownCamera], msgspec.Meta(max_length=1024)] = msgspec.field(default_factory=list)
    depths: Views = msgspec.field(default_factory=list)
    depth_unit_m: float = 0.001


class Ack(Message, frozen=True):
    """The client has shown a reply (or dropped it for a newer one), and is ready for more.

    Attributes:
        seq: Number of the frame.
        received_ms: When the reply had arrived, on the client's clock.
        decoded_ms: When it had been decoded.
        shown_ms: When its pixels were handed to the screen; 0 if it was not shown.
        age_ms: From capture to that moment: the age at display. 0 if it was not shown.
    """

    seq: int
    received_ms: float = 0.0
    decoded_ms: float = 0.0
    shown_ms: float = 0.0
    age_ms: float = 0.0


class Configure(Message, frozen=True):
    """Changes options from the next frame on. Answered with ``configured``, or with an ``error`` that names the option."""

    options: Options


class Ping(Message, frozen=True):
    """Answered with a ``pong`` of the same ``t``. Also keeps an idle session open."""

    t: float = 0.0


# --- server → client ---


@dataclass(frozen=True, slots=True)
class Engine:
    """What makes the splats.

    Attributes:
        engine: Kind of engine.
        name: Name of the model.
        label: One line to show below the picture.
        licence: SPDX identifier.
        licence_note: One sentence if the licence limits use, else empty.
        kinds: What it can produce, its default first: ``native``, ``lifted``, ``points``.
        metric: Whether units are metres.
        other_labels: Labels that some of its frames have instead.
        joins_views: Whether it makes one world of several views of one moment.
        around_deg: How far to the side its frames look right, degrees; 0: nobody has said.
    """

    engine: str
    name: str
    label: str
    licence: str
    kinds: List[str]
    licence_note: str = ""
    metric: bool = False
    other_labels: List[str] = field(default_factory=list)
    joins_views: bool = False
    around_deg: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server accepts.

    Attributes:
        max_frame_bytes: Encoded bytes of all views of a frame together.
        max_frame_pixels: Pixels of one view.
        max_views: Views of a frame.
        max_in_flight: Frames of one session that the graph works on at a time.
        max_unacked: Replies on the way before the server waits for an ``ack``.
        max_splats: Largest splat budget.
        max_inference_px: Largest ``inference_px``.
        codecs: Codecs offered.
        idle_timeout_s: A session is closed when nothing comes from it for this long.
    """

    max_frame_bytes: int
    max_frame_pixels: int
    max_views: int
    max_in_flight: int
    max_unacked: int
    max_splats: int
    max_inference_px: int
    codecs: List[str]
    idle_timeout_s: float


class Welcome(Message, frozen=True):
    """Answers ``hello``.

    Attributes:
        protocol: The version both speak.
        version: Version of the server.
        session: Id of the session, as in the server's log.
        engine: What makes the splats.
        options: The options in force.
        limits: What the server accepts.
    """

    protocol: int
    version: str
    session: str
    engine: Engine
    options: Options
    limits: Limits


class Configured(Message, frozen=True):
    """Answers ``configure``: the options in force from the next frame on."""

    options: Options


@dataclass(frozen=True, slots=True)
class QualityState:
    """The quality one frame was made with: the client's options, or less, to keep the stream's age down.

    Attributes:
        max_splats: Splat budget the frame was made with.
        inference_px: Longest side of the picture the model worked on; 0: the model's choice.
        splats_share: Splats in the frame over those that the client's own options would give, 0..1. If depth is rounded more
            coarsely instead: the share of splats that would save as many bytes.
        px_share: The same for the longest side.
        cause: Why they last changed: ``network``, ``client``, ``compute``, ``recovered``, ``no_gain``, or ``starting``; empty: they
            never did.
        message: The same as a sentence.
    """

    max_splats: int
    inference_px: int
    splats_share: float
    px_share: float
    cause: str
    message: str


class Splats(Message, frozen=True):
    """One frame of splats.

    Attributes:
        seq: Number of the frame this answers. Rises; every lower number is settled too.
        captured_ms: Echo of the frame's.
        codec: How ``data`` is coded.
        kind: ``native``, ``lifted`` or ``points``.
        label: What made it, to show to people.
        count: Splats in ``data``.
        camera: The capture viewpoint: at the origin, looking along +z, x right, y down.
        pruned: Reason → Gaussians removed for it: ``opacity``, ``border``, ``depth``, ``budget``, ``invalid``, ``edge``,
            ``transparent``.
        timings_ms: Stage → milliseconds: ``receive``, ``queue``, ``decode``, ``infer``, ``pack``, ``send``, ``total``; of another
            camera's frame ``relay`` in place of ``receive`` and ``queue``: from the graph's end to this reply.
        dropped: Reason → frames of this session dropped for it so far.
        quality: The quality it was made with.
        data: The codec's bytes.
        source: Id of the room's camera whose frame it is; empty: the client's own. ``seq`` then counts what this viewer gets, and
            ``captured_ms`` is as exact as both clocks are known.
        intrinsics: Where the camera's focal length is from: ``given`` (``fov_deg``, or the frame's ``cameras``), ``exif``,
            ``predicted`` by the model, or ``guessed``: then lengths are in no unit, whatever the engine's ``metric`` says.
    """

    seq: int
    captured_ms: float
    codec: str
    kind: str
    label: str
    count: int
    camera: Camera
    pruned: Map[int]
    timings_ms: Map[float]
    dropped: Map[int]
    quality: QualityState
    data: bytes
    source: str = ""
    intrinsics: Text = "guessed"


class Dropped(Message, frozen=True):
    """Frames that get no splats, through nobody's mistake.

    Attributes:
        code: ``superseded`` (a newer frame came before the graph was free), ``stale`` (a newer result was ready first),
            ``slow_client`` (earlier replies were not acknowledged yet), ``overloaded`` (the graph's queues were full),
            ``rate_limited`` (frames came faster than one session may send them).
        message: The same as a sentence.
        count: How many.
        seqs: Their numbers, at most the newest 64.
    """

    code: str
    message: str
    count: int
    seqs: List[int]


class Error(Message, frozen=True):
    """A frame or a message was refused.

    Attributes:
        code: Machine-readable.
        message: What was expected, what came, what to do.
        seq: Number of the frame, or null if it is not about one.
        fatal: The server closes the connection after this.
    """

    code: str
    message: str
    seq: int | None = None
    fatal: bool = False


class Pong(Message, frozen=True):
    """Answers ``ping``."""

    t: float = 0.0


ClientMessage = Hello | Frame | Ack | Configure | Ping | Join | Leave | Watch | Govern
ServerMessage = Welcome | Configured | Splats | Dropped | Error | Pong | Joined | Room | Published


def type_name(cls: type[Message]) -> str:
    """``type`` of a message class on the wire: ``Hello`` → ``hello``."""
    return str(cls.__struct_config__.tag)


class _Opening(msgspec.Struct):
    """The part that says how to read the rest."""

    type: Text


class _Version(msgspec.Struct):
    """The only part of another version's ``hello`` that can be read: the rest may have any shape."""

    protocol: Option = None


# NumPy's float64 is a float to Python, but not to msgspec.
_ENCODER = msgspec.msgpack.Encoder(enc_hook=methodcaller("item"))
_OPENING = msgspec.msgpack.Decoder(_Opening)
_VERSION = msgspec.msgpack.Decoder(_Version)
_CLIENT = {type_name(cls): msgspec.msgpack.Decoder(cls) for cls in get_args(ClientMessage)}
_SERVER = {type_name(cls): msgspec.msgpack.Decoder(cls) for cls in get_args(ServerMessage)}


def is_image(data: bytes) -> bool:
    """Whether a binary message is a bare image: a frame without a map around it."""
    return data.startswith(IMAGE_MAGIC)


def encode(message: ClientMessage | ServerMessage) -> bytes:
    """The msgpack map of a message. Contiguous buffers are written as bin directly."""
    return _ENCODER.encode(message)


def decode_client(data: bytes) -> ClientMessage:
    """Parse what a client sent.

    Raises:
        BadMessage: Saying what was expected and what came.
        ProtocolMismatch: If it is a ``hello`` of another version, whatever else it contains.
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


def _decode(data: bytes, decoders: dict[str, msgspec.msgpack.Decoder[Any]]) -> Any:
    if not data:
        raise BadMessage("it is empty; expected a msgpack map or an image")
    if not (0x80 <= data[0] <= 0x8F or data[0] in (0xDE, 0xDF)):
        raise BadMessage(f"expected a msgpack map or a JPEG, PNG or WebP image, got a first byte of 0x{data[0]:02x}")
    name = "message"
    try:
        name = _OPENING.decode(data).type
        if name not in decoders:
            raise BadMessage(f"type {name!r:.60} is unknown; known are {', '.join(decoders)}")
        if name == "hello":
            version = _VERSION.decode(data).protocol
            if type(version) is not int or version != PROTOCOL:
                raise ProtocolMismatch(version, PROTOCOL)
        return decoders[name].decode(data)
    except msgspec.ValidationError as error:
        # "Expected `int`, got `str` - at `$.seq`", where $ is the message.
        what, _, where = str(error).replace("`", "").partition(" - at ")
        path = (where or "$").replace("$", name)
        raise BadMessage(f"{path!r:.100}: {_in_our_words(what, decoders.get(name), path)}") from None
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"it is not valid msgpack ({error!s:.120})") from None


def _in_our_words(what: str, decoder: msgspec.msgpack.Decoder[Any] | None, path: str) -> str:
    """What msgspec says of a value, with the key or the values that it leaves out."""
    if what.startswith(_MISSING):
        return f"the key {what.removeprefix(_MISSING)!r} is missing"
    if what.startswith(_NOT_ONE_OF) and decoder and (choices := _choices(decoder.type, path.split(".")[1:])):
        return f"expected one of {', '.join(choices)}, got {what.removeprefix(_NOT_ONE_OF):.80}"
    return f"{what[0].lower()}{what[1:120]}"


_MISSING, _NOT_ONE_OF = "Object missing required field ", "Invalid enum value "


def _choices(kind: Any, path: list[str]) -> tuple[str, ...]:
    """The values of the field at the end of a path of keys that begins in a message; none if it has no such list."""
    for key in path:
        # Of "Join | None" the message.
        message = next((each for each in (kind, *get_args(kind)) if hasattr(each, "__struct_fields__")), None)
        kind = get_type_hints(message).get(key) if message else None
    return get_args(kind) if get_origin(kind) is Literal else ()
