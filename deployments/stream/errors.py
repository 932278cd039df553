"""Every refusal a client can meet: one class each, one machine-readable code, one sentence.

A refusal of a frame or a message leaves the connection open; one with a close code ends it. Frame refusals travel through
the graph as values, not as raised exceptions: Serve would log a stack trace for every bad frame a client sends.
"""

from typing import ClassVar


class StreamError(Exception):
    """Base of all refusals. ``str()`` is the sentence for the person; ``code`` is for the program.

    Subclasses pass their attributes to ``super().__init__`` so that they survive pickling between replicas.
    """

    code: ClassVar[str] = "internal"
    close_code: ClassVar[int | None] = None


# --- One frame is refused; the connection lives on. ---


class FrameError(StreamError):
    """Base of the refusals of a single frame."""


class FrameEmpty(FrameError):
    """A frame without a byte in it."""

    code = "frame_empty"

    def __str__(self) -> str:
        return "The frame is empty: expected the bytes of a JPEG, PNG or WebP image."


class FrameTooLarge(FrameError):
    """More encoded bytes than the server takes."""

    code = "frame_too_large"

    def __init__(self, got_bytes: int, limit_bytes: int) -> None:
        super().__init__(got_bytes, limit_bytes)
        self.got_bytes, self.limit_bytes = got_bytes, limit_bytes

    def __str__(self) -> str:
        return f"The frame has {self.got_bytes} bytes, the limit is {self.limit_bytes}: send a smaller picture or compress it more."


class WrongViewCount(FrameError):
    """No view, or more views than the server takes."""

    code = "wrong_view_count"

    def __init__(self, got: int, limit: int) -> None:
        super().__init__(got, limit)
        self.got, self.limit = got, limit

    def __str__(self) -> str:
        return f"The frame has {self.got} views: expected 1 to {self.limit}."


class UnsupportedImage(FrameError):
    """Bytes that are no JPEG, PNG or WebP."""

    code = "unsupported_image"

    def __init__(self, got: str) -> None:
        super().__init__(got)
        self.got = got

    def __str__(self) -> str:
        return f"The frame is {self.got}: expected a JPEG, PNG or WebP image."


class UnsupportedColor(FrameError):
    """A colour layout the decoder does not take (CMYK, 16 bits a channel, …)."""

    code = "unsupported_color"

    def __init__(self, got: str) -> None:
        super().__init__(got)
        self.got = got

    def __str__(self) -> str:
        return f"The picture is {self.got}: expected RGB, RGBA or grey with 8 bits a channel."


class ImageSizeRefused(FrameError):
    """Too small to see anything in, or so large that decoding it would hurt the others."""

    code = "image_size"

    def __init__(self, width: int, height: int, expected: str) -> None:
        super().__init__(width, height, expected)
        self.width, self.height, self.expected = width, height, expected

    def __str__(self) -> str:
        return f"The picture is {self.width}×{self.height} pixels: expected {self.expected}."


class TooManyPixels(FrameError):
    """Views that are each fine and together too much."""

    code = "image_size"

    def __init__(self, got: int, limit: int) -> None:
        super().__init__(got, limit)
        self.got, self.limit = got, limit

    def __str__(self) -> str:
        return f"The views have {self.got / 1e6:.1f} megapixels together: expected {self.limit / 1e6:g} at most."


class ImageBroken(FrameError):
    """Truncated or corrupt image data."""

    code = "image_broken"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"The picture can't be decoded ({self.reason}): expected one whole image file."


class InferenceFailed(FrameError):
    """The model raised or returned something unusable for this frame."""

    code = "inference_failed"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"The model could not process this frame: {self.reason}."


class GraphFailed(FrameError):
    """The frame was lost between replicas."""

    code = "graph_failed"

    def __str__(self) -> str:
        return "The server lost this frame (a replica went away or failed); the next frames are not affected."


# --- One message is refused; the connection lives on. ---


class BadMessage(StreamError):
    """A message that does not follow the protocol."""

    code = "bad_message"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"Message not understood: {self.reason}."


# --- The connection ends. ---


class ProtocolMismatch(StreamError):
    """The client speaks another version of the protocol."""

    code = "protocol_mismatch"
    close_code = 1008

    def __init__(self, client: object, server: int) -> None:
        super().__init__(client, server)
        self.client, self.server = client, server

    def __str__(self) -> str:
        newer = "client" if not isinstance(self.client, int) or self.client < self.server else "server"
        return f"The client speaks protocol {self.client!r:.20}, this server speaks {self.server}: update the {newer}."


class TooManyBadMessages(StreamError):
    """A client that sends nothing but nonsense."""

    code = "too_many_bad_messages"
    close_code = 1008

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"Closed after {self.limit} messages in a row that were not understood: see docs/protocol.md."


class Flooded(StreamError):
    """A client that sends far more than anyone could use."""

    code = "too_many_messages"
    close_code = 1008

    def __init__(self, messages_per_s: float, bytes_per_s: float) -> None:
        super().__init__(messages_per_s, bytes_per_s)
        self.messages_per_s, self.bytes_per_s = messages_per_s, bytes_per_s

    def __str__(self) -> str:
        return (
            f"Closed: expected {self.messages_per_s:g} messages and {self.bytes_per_s / 1e6:.0f} MB a second at most, "
            "got more for too long. Send less, and acknowledge replies."
        )


class NotReady(StreamError):
    """The graph does not answer yet, or not now."""

    code = "not_ready"
    close_code = 1013

    def __str__(self) -> str:
        return "The server is not ready: the model is still loading or was just lost. Try again in a moment."


class ServerFull(StreamError):
    """The ingress holds as many sessions, or uploads, as it may."""

    code = "server_full"
    close_code = 1013

    def __init__(self, limit: int, what: str = "sessions") -> None:
        super().__init__(limit, what)
        self.limit, self.what = limit, what

    def __str__(self) -> str:
        return f"This server already serves its limit of {self.limit} {self.what}: try again in a moment."


class TooManyFromAddress(StreamError):
    """One address holds as many sessions, or uploads, as it may."""

    code = "too_many_from_address"
    close_code = 1013

    def __init__(self, limit: int, what: str = "sessions") -> None:
        super().__init__(limit, what)
        self.limit, self.what = limit, what

    def __str__(self) -> str:
        return f"Your address already has its limit of {self.limit} {self.what}: close one, or try again in a moment."


class Unauthorized(StreamError):
    """No token, or another one than the server's. Says nothing of either."""

    code = "unauthorized"
    close_code = 1008

    def __str__(self) -> str:
        return (
            "This server needs its access token: open the page with #token= and the token behind its address; "
            "programs send it as 'Authorization: Bearer'."
        )


class ForbiddenOrigin(StreamError):
    """A page of another site asks."""

    code = "forbidden_origin"
    close_code = 1008

    def __init__(self, got: str) -> None:
        super().__init__(got)
        self.got = got

    def __str__(self) -> str:
        return (
            f"Pages from {self.got!a:.80} may not use this server: expected its own pages or a site of access.origins. "
            "Behind a proxy, pass the Host header on as the browser sent it."
        )


class ForbiddenHost(StreamError):
    """The server was asked for by a name that is not known to be its own: perhaps another site's, made to point here."""

    code = "forbidden_host"
    close_code = 1008

    def __init__(self, got: str) -> None:
        super().__init__(got)
        self.got = got

    def __str__(self) -> str:
        return (
            f"This server does not answer to the name {self.got!a:.80}: expected an IP address, localhost or a name of "
            "access.hosts; add it there."
        )


class SessionIdle(StreamError):
    """Nothing came from the client for too long."""

    code = "idle"
    close_code = 1008

    def __init__(self, timeout_s: float) -> None:
        super().__init__(timeout_s)
        self.timeout_s = timeout_s

    def __str__(self) -> str:
        return f"Closed: nothing came for {self.timeout_s:g} s. Send frames, or a ping to stay connected."


class InternalError(StreamError):
    """A defect of ours; the log has the details, the client gets none of them."""

    code = "internal"
    close_code = 1011

    def __str__(self) -> str:
        return "The server met an unexpected error in this session; the server's log has it under the session's id."


class NoCommonCodec(StreamError):
    """The client decodes none of the server's codecs."""

    code = "no_common_codec"
    close_code = 1008

    def __init__(self, client: tuple[str, ...], server: tuple[str, ...]) -> None:
        super().__init__(client, server)
        self.client, self.server = client, server

    def __str__(self) -> str:
        got = ", ".join(self.client[:8]) or "none"
        return f"No codec in common: the client decodes {got:.200}; this server offers {', '.join(self.server)}."
