"""What passes from stage to stage, and the one Protocol that the ingress calls.

In production, three Serve handles implement the Protocol; in tests, a coroutine over the same pure functions.
Every stage passes on any :class:`~deployments.stream.errors.FrameError` it receives, unchanged.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deployments.splats.camera import Camera, PosedCamera
from deployments.splats.gaussians import Gaussians
from deployments.splats.layer_lifting import lift_layers
from deployments.splats.layers import LayeredDepth
from deployments.stream.errors import FrameError
from deployments.stream.frames import Capture, FrameRequest, Intrinsics, PackedFrame, SplatKind
from deployments.stream.messages import Engine
from deployments.stream.room_news import Rendition


@dataclass(frozen=True, slots=True)
class DecodedCapture:
    """A capture's pixels.

    Attributes:
        views: RGB, upright. uint8 [H, W, 3] each.
        request: The capture's request.
        cameras: Known intrinsics of each view, in its pixels; empty: unknown.
        poses: Known rotation and translation from the first camera to each, identity for the first; None: unknown.
            float32 [V, 3, 4].
        depths: Measured z-depth in each camera, metres, 0 where it is unknown; covers its view, of any size. float32 [h, w] each;
            empty: there is none, and the model is to say. If there is, there are ``cameras``, and ``poses`` for several views.
        alphas: Opacity of each view's pixels, None: opaque; empty: all are. uint8 [H, W] each. Under transparent pixels ``views``
            has the colours around them.
        fov_deg: Field of view of the first view across its longer side, degrees; 0: unknown.
        intrinsics: How it is known.
    """

    views: tuple[NDArray[np.uint8], ...]
    request: FrameRequest = field(default_factory=FrameRequest)
    cameras: tuple[Camera, ...] = ()
    poses: NDArray[np.float32] | None = None
    depths: tuple[NDArray[np.float32], ...] = ()
    alphas: tuple[NDArray[np.uint8] | None, ...] = ()
    fov_deg: float = 0.0
    intrinsics: Intrinsics = "guessed"


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model returns for one capture.

    Attributes:
        scene: Gaussians in the first view's OpenCV camera frame, from a model that predicts Gaussians; layered depth from one that
            predicts depth, which is lifted where splats are needed.
        kind: What the client gets to see.
        camera: Intrinsics of the first view.
        state: The session's new state.
        pruned: Reason → Gaussians that the model has already removed; the packer does not prune for these reasons again.
        views: The cameras of Gaussians on a grid, where there are several; empty: ``camera`` alone.
        label: What made this frame, where that is not what the engine says of itself; else empty.
        measured: Whether its depth is a sensor's: nothing is then made up behind what was seen.
        intrinsics: Where the focal length is from.
    """

    scene: Gaussians | LayeredDepth
    kind: SplatKind
    camera: Camera
    state: bytes = b""
    pruned: dict[str, int] = field(default_factory=dict)
    views: tuple[PosedCamera, ...] = ()
    label: str = ""
    measured: bool = False
    intrinsics: Intrinsics = "guessed"

    def as_gaussians(self) -> Gaussians:
        """The scene as Gaussians, none of them pruned; depth is lifted, which takes milliseconds."""
        if isinstance(self.scene, Gaussians):
            return self.scene
        return lift_layers(self.scene, "points" if self.kind == "points" else "lifted")


@dataclass(frozen=True, slots=True)
class PredictedCapture:
    """A prediction and the request that it answers."""

    prediction: Prediction
    request: FrameRequest


class Pipeline(Protocol):
    """An encoded frame in, a packed splat frame out."""

    async def __call__(self, capture: Capture) -> PackedFrame | FrameError:
        """Run one capture through the graph.

        Returns:
            The packed frame, or the reason why there is none.

        Raises:
            Overloaded: If the graph's queues are full; the frame was dropped.
        """
        ...

    async def recode(self, packed: PackedFrame, rendition: Rendition) -> PackedFrame | FrameError:
        """A packed frame in another form, for viewers who can't take it as it is.

        Raises:
            Overloaded: If the graph's queues are full.
        """
        ...

    async def decode(self, capture: Capture) -> DecodedCapture | FrameError:
        """Run a capture through the first stage alone.

        Raises:
            Overloaded: If its queue is full.
        """
        ...

    async def describe(self) -> Engine:
        """What makes the splats. Waits until the model is loaded."""
        ...


class Overloaded(Exception):
    """The graph refused the frame because its queues are full."""
