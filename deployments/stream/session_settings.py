"""What a session may cost, and what all sessions of an ingress replica have in common."""

from dataclasses import dataclass

from deployments.stream.messages import Engine
from deployments.stream.options import FrameOptions, OptionLimits
from deployments.stream.quality import QualitySettings


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What one session may cost.

    Attributes:
        max_views: Views of a frame. More than one is for models that combine them; with those, so many cameras of a room share a
            capture.
        max_in_flight: Captures in the graph at a time. Two let the stages overlap; more only add age.
        max_unacked: Replies on the way to the client. Covers a round trip of 100 ms at 30 frames per second.
        idle_timeout_s: A session is closed when nothing comes from it for this long, so half-open sockets end.
        stall_s: While a reply has been undelivered for this long, or unacknowledged with the next one waiting for it, no further
            frame of the session is computed.
        max_frames_per_s: Frames above this rate are dropped. The fastest webcams deliver as many; no engine shows them all.
        max_bytes_per_s: The same for encoded bytes: 4K JPEGs of 1 MB at 60 a second.
    """

    max_views: int = 1
    max_in_flight: int = 2
    max_unacked: int = 4
    idle_timeout_s: float = 60.0
    stall_s: float = 1.0
    max_frames_per_s: float = 120.0
    max_bytes_per_s: float = 64 * 2**20


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What all sessions of an ingress replica have in common.

    Attributes:
        version: The server's version.
        engine: What makes the splats.
        defaults: The options for a client that asks for nothing.
        option_limits: What a client may ask for.
        limits: What a session may cost.
        quality: What quality adapts to.
        max_frame_bytes: Encoded bytes of all views of a frame together; more is refused here.
        max_frame_pixels: Pixels of one view; announced here, enforced by the decoder.
    """

    version: str
    engine: Engine
    defaults: FrameOptions
    option_limits: OptionLimits
    limits: SessionLimits
    quality: QualitySettings
    max_frame_bytes: int
    max_frame_pixels: int
