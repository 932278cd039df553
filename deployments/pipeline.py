"""The seam between the stream and the graph: what goes from stage to stage, and the one Protocol the ingress talks to.

In production the Protocol wraps three Serve handles; in tests it is a coroutine over the same pure functions.
Every stage hands a :class:`~deployments.stream.errors.FrameError` it receives on to the next, unchanged.
"""

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from deployments.splats.camera import Camera
from deployments.splats.gaussians import Gaussians
from deployments.stream.errors import FrameError
from deployments.stream.messages import Engine
from deployments.stream.options import FrameOptions

__all__ = ["Capture", "DecodedCapture", "Overloaded", "PackedFrame", "Pipeline", "Prediction", "SplatKind", "Timings"]

Timings = dict[str, float]
"""Stage name → milliseconds spent in it."""

SplatKind = Literal["native", "lifted", "points"]
"""``native``: the model predicts Gaussians; ``lifted``: made from its depth; ``points``: centres and colours only."""


@dataclass(frozen=True, slots=True)
class Capture:
    """What the ingress submits: synchronised encoded views of one moment.

    Attributes:
        views: Encoded images (JPEG, PNG or WebP), one per camera.
        options: The client's options.
        state: The session's small opaque state as the model last returned it (empty at first); replicas stay stateless.
        pressure: Frames wanted of the ingress over frames that it got through, lately; what autoscaling goes by.
        frame_id: Session id and the frame's number in it, with a slash between; names the frame in every log.
    """

    views: tuple[bytes, ...]
    options: FrameOptions = FrameOptions()  # frozen
    state: bytes = b""
    pressure: float = 1.0
    frame_id: str = ""


@dataclass(frozen=True, slots=True)
class DecodedCapture:
    """The same, decoded. views: RGB, upright. uint8 [H, W, 3] each."""

    views: tuple[NDArray[np.uint8], ...]
    options: FrameOptions
    state: bytes = b""
    timings: Timings = field(default_factory=dict)
    pressure: float = 1.0
    frame_id: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model returns for one capture.

    Attributes:
        gaussians: In the first view's OpenCV camera frame.
        kind: Where the Gaussians come from.
        camera: Intrinsics of the first view.
        options: The client's options, passed through to the packer.
        state: The session's new state.
        timings: Stage times so far.
        pruned: Reason → Gaussians the model itself has removed, as the packer would have; ``options`` then no longer ask for it.
        batch_size: Captures that were predicted together with this one, itself included.
        frame_id: The capture's.
    """

    gaussians: Gaussians
    kind: SplatKind
    camera: Camera
    options: FrameOptions
    state: bytes = b""
    timings: Timings = field(default_factory=dict)
    pruned: dict[str, int] = field(default_factory=dict)
    batch_size: int = 1
    frame_id: str = ""


@dataclass(frozen=True, slots=True)
class PackedFrame:
    """What goes to the client.

    Attributes:
        codec: Name of the codec of ``data``.
        kind: ``native``, ``lifted`` or ``points``.
        count: Splats in ``data``.
        data: The codec's bytes. uint8 [size].
        camera: Intrinsics of the capture viewpoint.
        pruned: Reason → Gaussians removed for it.
        state: The session's new state.
        timings: ``decode``, ``infer`` and ``pack`` in milliseconds.
        batch_size: As in :class:`Prediction`.
    """

    codec: str
    kind: SplatKind
    count: int
    data: NDArray[np.uint8]
    camera: Camera
    pruned: dict[str, int]
    state: bytes = b""
    timings: Timings = field(default_factory=dict)
    batch_size: int = 1


class Pipeline(Protocol):
    """An encoded frame in, a packed splat frame out."""

    async def __call__(self, capture: Capture) -> PackedFrame | FrameError:
        """Run one capture through the graph.

        Returns:
            The packed frame, or the reason why this one frame has none.

        Raises:
            Overloaded: The graph's queues are full; the frame was dropped.
        """
        ...

    async def describe(self) -> Engine:
        """What makes the splats. Waits for the model to be loaded."""
        ...


class Overloaded(Exception):
    """The graph refused the frame because its queues are full."""
