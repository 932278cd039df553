"""Every refusal a client can meet: one class each, one machine-readable code, one sentence.

Refusing a frame or a message leaves the connection open; a refusal with a close code ends it. Frame refusals travel through
the graph as values, not as raised exceptions: Serve would log a stack trace for every bad frame a client sends.
"""

from dataclasses import dataclass
from typing import ClassVar

from deployments.stream.origins import DEFAULT_PORTS, is_address, parse_authority, parse_origin


class StreamError(Exception):
    """Base of all refusals. ``str()`` is the sentence for people, with its attributes filled in; ``code`` is for programs."""

    code: ClassVar[str] = "internal"
    close_code: ClassVar[int | None] = None
    sentence: ClassVar[str]

    def __post_init__(self) -> None:
        # Pickle rebuilds it from these on the next replica; by default, Python keeps only positional arguments.
        self.args = tuple(vars(self).values())

    def __str__(self) -> str:
        return self.sentence.format_map(vars(self))


# --- One frame is refused; the connection stays open. ---


class FrameError(StreamError):
    """Base of the refusals of a single frame."""


@dataclass(eq=False)
class FrameEmpty(FrameError):
    """A frame without any bytes."""

    expected: str = "JPEG, PNG or WebP"
    code = "frame_empty"
    sentence = "The frame is empty: expected the bytes of a {expected} image."


@dataclass(eq=False)
class FrameTooLarge(FrameError):
    """More encoded bytes than the server accepts."""

    got_bytes: int
    limit_bytes: int
    code = "frame_too_large"
    sentence = "The frame has {got_bytes} bytes; the limit is {limit_bytes}: send a smaller picture or compress it more."


@dataclass(eq=False)
class WrongViewCount(FrameError):
    """No view, or more views than the server accepts."""

    got: int
    limit: int
    code = "wrong_view_count"
    sentence = "The frame has {got} views: expected 1 to {limit}."


@dataclass(eq=False)
class UnsupportedImage(FrameError):
    """Bytes of another type than those that are taken."""

    got: str
    expected: str = "JPEG, PNG or WebP"
    code = "unsupported_image"
    sentence = "The frame is {got}: expected a {expected} image."


@dataclass(eq=False)
class UnsupportedColor(FrameError):
    """A colour layout the decoder does not accept (CMYK, 16 bits a channel, …)."""

    got: str
    code = "unsupported_color"
    sentence = "The picture is {got}: expected RGB, RGBA or grey with 8 bits a channel."


@dataclass(eq=False)
class ImageSizeRefused(FrameError):
    """Too small to show anything, or so large that decoding it would slow down others."""

    width: int
    height: int
    expected: str
    code = "image_size"
    sentence = "The picture is {width}×{height} pixels: expected {expected}."


@dataclass(eq=False)
class TooManyPixels(FrameError):
    """Views that are each fine, but together too large."""

    got: int
    limit: int
    code = "image_size"

    def __str__(self) -> str:
        return f"The views have {self.got / 1e6:.1f} megapixels together: expected at most {self.limit / 1e6:g}."


@dataclass(eq=False)
class ImageBroken(FrameError):
    """Truncated or corrupt image data."""

    reason: str
    code = "image_broken"
    sentence = "The picture can't be decoded ({reason}): expected one complete image file."


@dataclass(eq=False)
class CamerasRefused(FrameError):
    """What a frame says of its cameras makes no sense, or does not fit its views."""

    reason: str
    code = "bad_cameras"
    sentence = "The frame's cameras can't be used: {reason}."


@dataclass(eq=False)
class DepthRefused(FrameError):
    """The depth that a frame brings makes no sense, or does not fit its views."""

    reason: str
    code = "bad_depth"
    sentence = "The frame's depth can't be used: {reason}."


@dataclass(eq=False)
class InferenceFailed(FrameError):
    """The model failed on this frame, or returned something unusable."""

    reason: str
    code = "inference_failed"
    sentence = "The model could not process this frame: {reason}."


class NoDepth(FrameError):
    """A codec that carries depth is asked of a model that predicts Gaussians."""

    code = "no_depth"

    def __str__(self) -> str:
        return "The model predicts Gaussians, which the codec 'depth' can't carry: ask for 'auto', or for another codec."


class NoNativeGaussians(FrameError):
    """A codec that carries predicted Gaussians is asked of a frame that has none, or too many."""

    code = "no_native"

    def __str__(self) -> str:
        return (
            "The codec 'planes' carries Gaussians that a model predicts for each pixel, which this frame has not, or too many of: "
            "ask for 'auto', or for another codec."
        )


class GraphFailed(FrameError):
    """The frame was lost between replicas."""

    code = "graph_failed"
    sentence = "The server lost this frame (a replica failed or was replaced); the next frames are not affected."


# --- One message is refused; the connection stays open. ---


@dataclass(eq=False)
class BadMessage(StreamError):
    """A message that does not follow the protocol."""

    reason: str
    code = "bad_message"
    sentence = "Message not understood: {reason}."


# --- A wish about a room is refused; the connection stays open. ---


class RoomNameRefused(StreamError):
    """Neither a name nor a key of a room. The sentence does not repeat it: it may be a key with a typing error."""

    code = "room_name"
    sentence = (
        "The room is neither a name (1 to 64 of A-Z a-z 0-9 _ -, beginning with a letter or digit) nor a whole key: "
        "copy the whole link once more."
    )


@dataclass(eq=False)
class RoomForbidden(StreamError):
    """What the client wants of a room is more than its link gives."""

    wanted: str
    right: str
    code = "room_forbidden"
    sentence = "You may not {wanted}: your link gives the right of '{right}' only. Ask whoever sent it for another one."


@dataclass(eq=False)
class RoomFull(StreamError):
    """A room takes no more viewers or cameras."""

    limit: int
    what: str
    code = "room_full"
    sentence = "This room is at its limit of {limit} {what}: try again when somebody has left."


class RoomLocked(StreamError):
    """The owner lets no new viewers in."""

    code = "room_locked"
    sentence = "Whoever opened this room lets no new viewers in for now: ask them, and try again."


class RoomClosed(StreamError):
    """The owner has ended the room that the client was in."""

    code = "room_closed"
    sentence = "The room was closed by whoever opened it."


class RoomTaken(StreamError):
    """Another session has taken the client's place in the room."""

    code = "room_taken"
    sentence = "You are in this room from another window now."


# --- The connection ends. ---


@dataclass(eq=False)
class ProtocolMismatch(StreamError):
    """The client speaks a different version of the protocol."""

    client: object
    server: int
    code = "protocol_mismatch"
    close_code = 1008

    def __str__(self) -> str:
        if self.client is None:
            return f"'hello': the key 'protocol' is missing: this server speaks {self.server}."
        newer = "client" if not isinstance(self.client, int) or self.client < self.server else "server"
        return f"The client speaks protocol {self.client!r:.20}; this server speaks {self.server}: update the {newer}."


@dataclass(eq=False)
class TooManyBadMessages(StreamError):
    """A client that sends only messages that make no sense."""

    limit: int
    code = "too_many_bad_messages"
    close_code = 1008
    sentence = "Closed after {limit} messages in a row that were not understood: see docs/protocol.md."


@dataclass(eq=False)
class Flooded(StreamError):
    """A client that sends far more than anyone could use."""

    messages_per_s: float
    bytes_per_s: float
    code = "too_many_messages"
    close_code = 1008

    def __str__(self) -> str:
        return (
            f"Closed: expected at most {self.messages_per_s:g} messages and {self.bytes_per_s / 1e6:.0f} MB a second, "
            "got more for too long. Send less, and acknowledge replies."
        )


class NotReady(StreamError):
    """The graph does not answer yet, or has stopped answering."""

    code = "not_ready"
    close_code = 1013
    sentence = "The server is not ready: the model is loading or was just lost. Try again in a moment."


@dataclass(eq=False)
class ServerFull(StreamError):
    """The ingress already holds as many sessions, or uploads, as it may."""

    limit: int
    what: str = "sessions"
    code = "server_full"
    close_code = 1013
    sentence = "This server is at its limit of {limit} {what}: try again in a moment."


@dataclass(eq=False)
class TooManyFromAddress(StreamError):
    """One address already holds as many sessions, or uploads, as it may."""

    limit: int
    what: str = "sessions"
    code = "too_many_from_address"
    close_code = 1013
    sentence = "Your address is at its limit of {limit} {what}: close one, or try again in a moment."


class Unauthorized(StreamError):
    """No token, or not the server's. The sentence reveals neither."""

    code = "unauthorized"
    close_code = 1008
    sentence = (
        "This server needs an access token: open the page with #token= and the token after its address; "
        "programs send it as 'Authorization: Bearer'."
    )


@dataclass(eq=False)
class ForbiddenOrigin(StreamError):
    """The request comes from a page of another site."""

    got: str
    code = "forbidden_origin"
    close_code = 1008

    def __str__(self) -> str:
        way = "Its site is not in access.origins; behind a proxy, pass the Host header on as the browser sent it."
        if self.line:
            own = f", or, if it is the server's own name in a tunnel, HOSTS={self.name} make run" if self.name else ""
            way = f"Whoever runs it lets them: {self.line}{own}. Behind a proxy, pass the Host header on as the browser sent it."
        return f"Pages from {self.got!a:.80} may not use this server. {way}"

    @property
    def name(self) -> str:
        """The host that the page comes from, if it could be a name of the server's; else empty."""
        origin = parse_origin(self.got)
        return origin[1] if origin and origin[2] == DEFAULT_PORTS[origin[0]] and _is_public_name(origin[1]) else ""

    @property
    def line(self) -> str:
        """What to type where the server runs; empty if the header is no origin. Safe to paste: an origin has no shell in it."""
        return f"ORIGINS={self.got} make run" if parse_origin(self.got) else ""


@dataclass(eq=False)
class ForbiddenHost(StreamError):
    """The request names a host that the server does not know as its own: perhaps another site's name, made to point here."""

    got: str
    code = "forbidden_host"
    close_code = 1008

    def __str__(self) -> str:
        way = f"{self.line}, or the name in access.hosts" if self.line else "with a name in access.hosts"
        return f"This server does not answer to the name {self.got!a:.80}. Whoever runs it lets it: {way}."

    @property
    def line(self) -> str:
        """What to type where the server runs; empty if the header is no name. Safe to paste: a name has no shell in it."""
        host = parse_authority(self.got, 0)
        return f"HOSTS={host[0]} make run" if host and _is_public_name(host[0]) and len(host[0]) <= 253 else ""


def _is_public_name(host: str) -> bool:
    return not is_address(host) and host != "localhost" and not host.startswith("-")


@dataclass(eq=False)
class SessionIdle(StreamError):
    """The client has sent nothing for too long."""

    timeout_s: float
    code = "idle"
    close_code = 1008
    sentence = "Closed: nothing came for {timeout_s:g} s. Send frames, or pings to stay connected."


class InternalError(StreamError):
    """A bug of ours. The log has the details; the client gets none of them."""

    code = "internal"
    close_code = 1011
    sentence = "The server had an unexpected error in this session; its log has the details, under the session's id."


@dataclass(eq=False)
class NoCommonCodec(StreamError):
    """The client decodes none of the server's codecs."""

    client: tuple[str, ...]
    server: tuple[str, ...]
    code = "no_common_codec"
    close_code = 1008

    def __str__(self) -> str:
        got = ", ".join(self.client[:8]) or "none"
        return f"No codec in common: the client decodes {got:.200}; this server offers {', '.join(self.server)}."
