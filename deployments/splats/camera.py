"""The capture camera."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Camera:
    """Pinhole intrinsics of the capture camera, in pixels of the picture the model worked on.

    Attributes:
        width: Width of that picture, pixels.
        height: Its height, pixels.
        fx: Horizontal focal length, pixels.
        fy: Vertical focal length, pixels.
        cx: Principal point from the left edge, pixels; pixel centres lie at +0.5.
        cy: Principal point from the top edge, pixels.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
