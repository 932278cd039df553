"""The messages of protocol 1, in both directions, and their msgpack form.

They are defined only here: ``web/src/stream/messages.ts`` is generated from these classes (``make messages``), and a test checks
that it is current. ``docs/protocol.md`` explains them. A message is a msgpack map whose ``type`` is the class's snake_case name.
Unknown keys are skipped, so that a newer minor client keeps working; missing or mistyped keys are refused by name.

The types set the bounds: a list or a map that is too long or holds the wrong type is refused before it is built, and unknown keys
are skipped without building their values, so that a message of a few MB can't become millions of objects.
"""

import re
from dataclasses import dataclass
from operator import methodcaller
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec

from deployments.splats.camera import Camera
from deployments.stream.errors import BadMessage, ProtocolMismatch

PROTOCOL = 1
"""Goes up when a client of the old version would misread the new one."""

IMAGE_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF")
"""How a bare image begins. None of these is a msgpack map with a string key, which is all we ever parse."""

T = TypeVar("T")
Text = Annotated[str, msgspec.Meta(max_length=65536)]
List = Annotated[list[T], msgspec.Meta(max_length=64)]
Map = Annotated[dict[Text, T], msgspec.Meta(max_length=64)]
Scalar = Text | float | int | bool | None
Option = Scalar | List[Scalar] | Map[Scalar]
"""Wider than today's options: a client with an option that we don't know is told about that option, and still served."""
Options = Map[Option]
Views = Annotated[list[bytes], msgspec.Meta(max_length=1024)]


class _Message(msgspec.Struct, frozen=True, tag=lambda name: re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()):
    """Written as a map: ``type``, which is the class's name, then the fields."""


# --- client → server ---


class Join(_Message, frozen=True):
    """Enters a room, and leaves the one before. Answered with ``joined``, or with an ``error``.

    Attributes:
        room: A name, a key of the room (``owner.…``, ``camera.…``, ``viewer.…``), or ``new`` for one that nobody knows yet.
        role: ``camera``: sends frames, and gets a ``published`` for each; ``viewer``: gets the room's splats; ``both``: sends
            frames, which the room sees, and gets its own splats.
        name: What to call this member to the others; may be empty.
        place: The token from an earlier ``joined``, to have that place in the room again.
        t: The time of sending on the client's clock.
    """

    room: Text
    role: Literal["camera", "viewer", "both"] = "both"
    name: Text = ""
    place: Text = ""
    t: float = 0.0


class Leave(_Message, frozen=True):
    """Leaves the room, for good. The session goes on without one."""


class Watch(_Message, frozen=True):
    """Chooses the camera of the room that a viewer sees.

    Attributes:
        camera: Its id, as in ``room``; empty: the room's first.
    """

    camera: Text = ""


class Govern(_Message, frozen=True):
    """What the owner of a room may do to it.

    Attributes:
        locked: Whether new viewers are kept out; null: as it is.
        close: Ends the room, for all.
    """

    locked: bool | None = None
    close: bool = False


class Hello(_Message, frozen=True):
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


class Frame(_Message, frozen=True, omit_defaults=True):
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


class Ack(_Message, frozen=True):
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


class Configure(_Message, frozen=True):
    """Changes options from the next frame on. Answered with ``configured``, or with an ``error`` that names the option."""

    options: Options


class Ping(_Message, frozen=True):
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
    """

    engine: str
    name: str
    label: str
    licence: str
    kinds: List[str]
    licence_note: str = ""
    metric: bool = False


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


class Welcome(_Message, frozen=True):
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


class Configured(_Message, frozen=True):
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


class Splats(_Message, frozen=True):
    """One frame of splats.

    Attributes:
        seq: Number of the frame this answers. Rises; every lower number is settled too.
        captured_ms: Echo of the frame's.
        codec: How ``data`` is coded.
        kind: ``native``, ``lifted`` or ``points``.
        label: What made it, to show to people.
        count: Splats in ``data``.
        camera: The capture viewpoint: at the origin, looking along +z, x right, y down.
        pruned: Reason → Gaussians removed for it: ``opacity``, ``border``, ``depth``, ``budget``, ``invalid``.
        timings_ms: Stage → milliseconds: ``receive``, ``queue``, ``decode``, ``infer``, ``pack``, ``send``, ``total``; of another
            camera's frame ``relay`` in place of ``receive`` and ``queue``: from the graph's end to this reply.
        dropped: Reason → frames of this session dropped for it so far.
        quality: The quality it was made with.
        data: The codec's bytes.
        source: Id of the room's camera whose frame it is; empty: the client's own. ``seq`` then counts what this viewer gets, and
            ``captured_ms`` is as exact as both clocks are known.
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


class Dropped(_Message, frozen=True):
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


class Error(_Message, frozen=True):
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


class Joined(_Message, frozen=True):
    """Answers ``join``.

    Attributes:
        id: This member's id, by which the others know it.
        role: What it does in the room.
        place: The token to say in the next ``join`` of this room, to have this place again. Nobody else should have it.
        keys: Right (``owner``, ``camera``, ``viewer``) → the key that gives it, for this client's own and those below; empty in a
            room with a name.
        t: The server's clock, seconds since 1970.
    """

    id: str
    role: str
    place: str
    keys: Map[str]
    t: float


@dataclass(frozen=True, slots=True)
class RoomCamera:
    """A camera of the room.

    Attributes:
        id: Its id.
        name: What it calls itself.
        away: Whether it is gone for the moment; its place is kept for a while.
    """

    id: str
    name: str
    away: bool


class Room(_Message, frozen=True):
    """Who is in the room; said at each change.

    Attributes:
        cameras: The longest there first.
        viewers: How many watch.
        names: Of viewers who have told one, at most 32.
        locked: Whether new viewers are kept out.
        shown: Id of the camera that this viewer sees; empty if there is none.
    """

    cameras: List[RoomCamera]
    viewers: int
    names: List[str]
    locked: bool
    shown: str = ""


class Published(_Message, frozen=True):
    """A camera's frame went to the room.

    Attributes:
        seq: Number of the frame.
        captured_ms: Echo of the frame's.
        timings_ms: As in ``splats``.
    """

    seq: int
    captured_ms: float
    timings_ms: Map[float]


class Pong(_Message, frozen=True):
    """Answers ``ping``."""

    t: float = 0.0


ClientMessage = Hello | Frame | Ack | Configure | Ping | Join | Leave | Watch | Govern
ServerMessage = Welcome | Configured | Splats | Dropped | Error | Pong | Joined | Room | Published


def type_name(cls: type[_Message]) -> str:
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
        raise BadMessage(f"{(where or '$').replace('$', name)!r:.100}: {what[0].lower()}{what[1:120]}") from None
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"it is not valid msgpack ({error!s:.120})") from None
