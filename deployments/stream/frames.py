"""The graph's two ends as a session sees them: what it submits, and what comes back."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deployments.splats.camera import Camera
from deployments.splats.codecs import depth_heads, planes_heads
from deployments.splats.codecs.depth import Jpeg
from deployments.splats.files import FileOptions
from deployments.stream.messages import KnownCamera
from deployments.stream.options import FrameOptions

SplatKind = Literal["native", "lifted", "points"]
"""``native``: predicted by the model; ``lifted``: made from its depth; ``points``: centres and colours only."""

Intrinsics = Literal["given", "exif", "predicted", "guessed"]
"""Where a camera's focal length is from: the client's ``fov_deg`` or ``cameras``, the picture's EXIF, the network, or nowhere (the
engine's usual one, and lengths are then in no unit)."""


@dataclass(slots=True)
class FrameRequest:
    """What belongs to one frame in every stage. It travels with the frame, and each stage notes what it did.

    Attributes:
        options: What the client asks for.
        codecs: What the client decodes; ``auto`` chooses among these. Empty: ``packed`` and ``points``.
        state: The session's small opaque state: what the model last returned (empty at first) and, after the predict stage, what it
            has now returned. This keeps replicas stateless.
        frame_id: The session's id, a slash, and the frame's number in it; names the frame in every log.
        pressure: Recent frames wanted from the ingress over frames served; autoscaling goes by this.
        timings: Stage (``decode``, ``infer``, ``pack``) → milliseconds spent in it.
        batch_size: Captures predicted together with this one, itself included.
        file: What somebody wants of an uploaded photo, which may be larger than a stream's pictures; None: it is a stream's frame.
        arrived_s: When it arrived, on a clock of the ingress that only goes on, for states that measure time; 0: unknown.
        label: What made the frame, where it differs from the engine's own label.
        pictures: The views as the camera coded them, without their metadata, if the reply may have to carry them.
    """

    options: FrameOptions = FrameOptions()  # frozen
    codecs: tuple[str, ...] = ()
    state: bytes = b""
    frame_id: str = ""
    pressure: float = 1.0
    timings: dict[str, float] = field(default_factory=dict)
    batch_size: int = 1
    file: FileOptions | None = None
    arrived_s: float = 0.0
    label: str = ""
    pictures: tuple[Jpeg, ...] = ()

    def codec_for(self, kind: SplatKind, holds_depth: bool) -> str:
        """The reply's codec: the client's own choice, or for ``auto`` the smallest that it decodes and the prediction fits.

        Args:
            kind: Of the prediction.
            holds_depth: Whether it is layered depth, and not Gaussians.
        """
        if self.options.codec != "auto":
            return self.options.codec
        for name, fits in ((depth_heads.NAME, holds_depth), (planes_heads.NAME, kind == "native" and not holds_depth)):
            if fits and name in self.codecs:
                return name
        return "points" if kind == "points" else "packed"


@dataclass(frozen=True, slots=True)
class Capture:
    """Synchronised encoded views of one moment.

    Attributes:
        views: Encoded images (JPEG, PNG or WebP), one per camera.
        request: Travels with it.
        cameras: What is known of the cameras, one for each view; empty: nothing.
        depths: Measured z-depth as 16-bit grey PNGs, one for each view; empty: none.
        depth_unit_m: Metres of one step of ``depths``.
    """

    views: tuple[bytes, ...]
    request: FrameRequest = field(default_factory=FrameRequest)
    cameras: tuple[KnownCamera, ...] = ()
    depths: tuple[bytes, ...] = ()
    depth_unit_m: float = 0.001

    @property
    def encoded_bytes(self) -> int:
        """Of all pictures and depths together."""
        return sum(map(len, self.views)) + sum(map(len, self.depths))


@dataclass(frozen=True, slots=True)
class PackedFrame:
    """What goes to the client.

    Attributes:
        codec: Name of the codec of ``data``.
        kind: Where the splats come from.
        count: Splats in ``data``; of ``depth``, pixels with a surface, which is as many as it can be lifted to.
        data: The codec's bytes. uint8 [size].
        camera: Intrinsics of the capture viewpoint.
        pruned: Reason → Gaussians removed for it.
        request: The capture's, with the new state and the timings of every stage.
        intrinsics: Where the camera's focal length is from.
    """

    codec: str
    kind: SplatKind
    count: int
    data: NDArray[np.uint8]
    camera: Camera
    pruned: dict[str, int]
    request: FrameRequest
    intrinsics: Intrinsics = "guessed"
