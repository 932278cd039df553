"""A frame from all around: how near it comes to the true views, and what is missing."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from benchmarks.fidelity import psnr
from benchmarks.picture.shots import Place, Shot, sent
from benchmarks.splatter import draw_and_light, with_flat_tops
from deployments.splats.camera import Camera
from deployments.splats.gaussians import Gaussians
from deployments.splats.layer_lifting import to_view
from deployments.stream.options import FrameOptions

F32 = NDArray[np.float32]

_DARK = 0.5
"""A pixel is a hole if more than this of the black behind everything shows."""
_WRONG = 0.1
"""A pixel is wrong if a channel is off by more than this."""


def look(gaussians: Gaussians, place: Place) -> tuple[F32, F32]:
    """What is seen from a place, and how much of the black."""
    return draw_and_light(to_view(gaussians, place.pose), place.camera)


def measure(shot: Shot, options: FrameOptions) -> tuple[dict[str, Any], list[F32]]:
    """A frame seen from every place of its shot.

    Returns:
        Bytes, splats, what packing took, and for each place ``psnr``, ``ssim``, ``wrong`` (NaN where no truth is known) and
        ``holes``; and the pictures.
    """
    gaussians, packed, pack_ms = sent(shot, options)
    if shot.native is None:
        gaussians = with_flat_tops(gaussians)
    places = shot.places()
    with ThreadPoolExecutor(2) as pool:
        drawn = list(pool.map(lambda place: look(gaussians, place), places))
    rows = {place.name: figures(place, *seen) for place, seen in zip(places, drawn, strict=True)}
    # A depth frame holds the camera's own picture, a native one has colours of its own.
    jpeg = 0 if shot.native is not None else len(shot.jpeg.data)
    report = {"bytes": len(packed.data) - jpeg, "splats": len(gaussians), "pack_ms": pack_ms, "places": rows}
    return report, [picture for picture, _ in drawn]


def figures(place: Place, picture: F32, light: F32) -> dict[str, float]:
    """One place's figures, over the pixels that the capture camera's picture shows or hides."""
    seen = place.seen
    holes = float(np.mean(light[seen] > _DARK))
    if place.truth is None:
        return {"psnr": float("nan"), "ssim": float("nan"), "wrong": float("nan"), "holes": holes}
    off = np.abs(picture - place.truth)[seen]
    _, alike = structural_similarity(
        place.truth,
        picture,
        channel_axis=2,
        data_range=1.0,
        full=True,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return {
        "psnr": psnr(place.truth[seen], picture[seen]),
        "ssim": float(alike[seen].mean()),
        "wrong": float(np.mean(off.max(axis=-1) > _WRONG)),
        "holes": holes,
    }


def enlarged(camera: Camera, times: float) -> Camera:
    """The same camera with more pixels."""
    width, height = round(camera.width * times), round(camera.height * times)
    return Camera(width, height, camera.fx * times, camera.fy * times, camera.cx * times, camera.cy * times)
