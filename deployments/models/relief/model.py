"""The embedded default engine: a demo relief from one picture with OpenCV alone. It is no depth network, and says so.

Someone before a webcam becomes a cut-out that is inflated like a cushion (Igarashi et al. 1999, "Teddy", by distance to the
silhouette), with the face's own bump and nose, before a wall that leans back; the part of the wall behind them is painted in
from its surroundings, so that moving sideways opens no hole. Any other picture becomes a slope with a little relief.

Limits: the shapes are guesses, true to nobody. A track starts only with a face (see :mod:`deployments.models.relief.tracking`): who
has their back to the camera all the time is part of the slope. Hands reaching forward lie on the body's own cushion. Objects
have no depth of their own. Only the first view of a capture is used. Units are arbitrary: the person is about 1.3 away.
"""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from deployments.models.relief.person import ASSETS, MASK_PX, PersonNets
from deployments.models.relief.tracking import Track, follow
from deployments.pipeline import DecodedCapture, Prediction
from deployments.splats import lifting
from deployments.splats.camera import Camera
from deployments.splats.layers import DepthLayer, DepthView, LayeredDepth
from deployments.stream.errors import FrameError, InferenceFailed
from deployments.stream.frames import SplatKind
from deployments.stream.messages import Engine

logger = logging.getLogger("ray.serve.splatcast")

F32 = NDArray[np.float32]

DEFAULT_PX = 384
"""Longest side where the client leaves it open: 110,592 pixels of a 4:3 picture, about what the viewer's window shows. A
squarer picture gets no more of them."""

USUAL_FOV_DEG = 60.0
"""Of a usual webcam, across the longer side."""

_RIM, _WALL_TOP, _WALL_BOTTOM = 1.45, 3.1, 2.3  # distances: the person's outline, the wall at the picture's top and bottom
_SLOPE_TOP, _SLOPE_BOTTOM = 3.2, 1.35  # the same where nobody is
_ROUND = 0.16  # depth at which the cushion is full, fraction of the picture's longer side
_STRENGTH = 0.62  # height of the cushion over that depth
_HIDDEN_STEP = 2  # the wall behind the person is a grid of every second pixel
_RIM_MASK = 0.06  # of the mask: outside of it a pixel's colour is the wall's own


class ReliefModel:
    """The relief.

    Args:
        assets: Folder of the two networks' files.
        longest_px: Longest side of the grid where the client asks for none.
        threads: Threads of OpenCV in this process; 0 leaves OpenCV's own choice. One is right for a replica with one CPU.

    Raises:
        MissingAssetError: If a network's file is missing.
    """

    def __init__(self, *, assets: str | Path = ASSETS, longest_px: int = DEFAULT_PX, threads: int = 1) -> None:
        if longest_px < 16:
            raise ValueError(f"relief: longest_px: expected 16 or more, got {longest_px}")
        if threads > 0:
            cv2.setNumThreads(threads)
        self._nets = PersonNets(Path(assets))
        self._longest_px = longest_px

    @property
    def info(self) -> Engine:
        """What it is."""
        return Engine(
            engine="relief",
            name="relief",
            label="Demo depth (no depth network)",
            licence="Apache-2.0",
            kinds=["lifted", "points"],
        )

    def warm_up(self) -> None:
        """Run one frame of noise, so that the networks are set up and the kernels compiled."""
        noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
        self.predict([DecodedCapture((noise,))])

    def predict(self, captures: Sequence[DecodedCapture]) -> list[Prediction | FrameError]:
        """One relief a capture; the frames of a batch are worked on one after the other."""
        results: list[Prediction | FrameError] = []
        for capture in captures:
            try:
                results.append(self._predict_one(capture))
            except cv2.error:
                logger.exception("OpenCV refused a picture", extra={"frame": capture.request.frame_id})
                results.append(InferenceFailed("OpenCV refused it; the server's log says why"))
        return results

    def _predict_one(self, capture: DecodedCapture) -> Prediction:
        rgb, options = capture.views[0], capture.request.options
        height, width = rgb.shape[:2]
        # The wall behind the person takes up to a quarter as many again.
        budget = max(1, int(options.max_splats * 0.8))
        longest_px = options.inference_px or self._longest_px
        grid_w, grid_h = lifting.fit_grid(width, height, min(budget, longest_px * longest_px * 3 // 4), longest_px)
        focal_px = max(grid_w, grid_h) / 2 / math.tan(math.radians((capture.fov_deg or USUAL_FOV_DEG) / 2))
        # Pixels stay square to within rounding, whatever the grid.
        camera = Camera(grid_w, grid_h, focal_px, focal_px, grid_w / 2, grid_h / 2)
        small = rgb if (grid_w, grid_h) == (width, height) else cv2.resize(rgb, (grid_w, grid_h), interpolation=cv2.INTER_AREA)
        # The networks work on 256 and 128 pixels: a picture of that order is enough, and quicker to shrink.
        seen = small if max(grid_w, grid_h) >= MASK_PX else rgb
        track = follow(Track.from_bytes(capture.request.state), self._nets.segment(seen), self._nets.find_face(seen), seen)
        kind: SplatKind = "points" if options.representation == "points" else "lifted"
        return Prediction(build_relief(small, track, camera), kind, camera, track.to_bytes(), intrinsics=capture.intrinsics)


def build_relief(rgb: NDArray[np.uint8], track: Track, camera: Camera) -> LayeredDepth:
    """Layered depth of one picture.

    Args:
        rgb: uint8 [H, W, 3].
        track: The person, if any.
        camera: Intrinsics of that picture.

    Returns:
        One view: the picture's pixels and, if somebody is there, the wall behind them at half the size.
    """
    presence = track.presence * track.presence * (3 - 2 * track.presence)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)
    wall = _wall(grey, presence)
    if presence == 0:
        return LayeredDepth((DepthView(camera, (DepthLayer(wall),), rgb),))
    mask = _refine(track.mask, grey)
    person = _cushion(mask, track, grey, camera)
    inside = mask > 0.5
    inverse: F32 = np.where(inside, wall + np.float32(presence) * (person - wall), wall)
    # Just inside the outline it fades, as hair does, into the wall painted behind.
    fade = np.where(inside, np.clip((mask - 0.35) / 0.4, 0.0, 1.0), 1.0)
    opacity = np.rint(fade * 255).astype(np.uint8)
    if min(camera.width, camera.height) < 2 * _HIDDEN_STEP:
        return LayeredDepth((DepthView(camera, (DepthLayer(inverse, opacity=opacity),), rgb),))
    # Just outside it a pixel's colour is half the person's, and would hang on the wall as a second outline.
    inverse[~inside & (mask > _RIM_MASK)] = 0
    behind = _fill_behind(rgb, mask)
    size = (behind.shape[1], behind.shape[0])
    covered = cv2.dilate(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), np.ones((3, 3), np.uint8)) > _RIM_MASK
    # A hair behind the wall's own pixels, so that it never hides them.
    low = cv2.resize(wall, size, interpolation=cv2.INTER_AREA) / np.float32(1.004)
    hidden = DepthLayer(np.where(covered, low, np.float32(0)), behind)
    return LayeredDepth((DepthView(camera, (DepthLayer(inverse, opacity=opacity), hidden), rgb),))


def _wall(grey: F32, presence: float) -> F32:
    """Inverse depth of everything but the person: nearer at the bottom, with a little of the picture's shading. [H, W]."""
    height, width = grey.shape
    top = 1 / _SLOPE_TOP + presence * (1 / _WALL_TOP - 1 / _SLOPE_TOP)
    bottom = 1 / _SLOPE_BOTTOM + presence * (1 / _WALL_BOTTOM - 1 / _SLOPE_BOTTOM)
    y = np.clip(((np.arange(height, dtype=np.float32) + 0.5) / height - 0.2) / 0.8, 0, 1)
    slope = (top + (bottom - top) * y * y * (3 - 2 * y))[:, None]
    smooth = _guided(grey, grey, max(2, max(height, width) // 24), 2e-2)
    relief = np.float32(0.10 - 0.08 * presence) * (smooth - np.float32(0.5))
    return np.ascontiguousarray(slope * (1 + relief), np.float32)


def _refine(mask: F32, grey: F32) -> F32:
    """The mask at the picture's size, its edge drawn to the picture's own edges. float32 [H, W], 0..1."""
    height, width = grey.shape
    large = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
    large = _guided(grey, large, max(2, max(height, width) // 80), 3e-4)
    sharp: F32 = np.clip((large - np.float32(0.5)) * np.float32(1.5) + np.float32(0.5), 0, 1)
    return sharp


def _cushion(mask: F32, track: Track, grey: F32, camera: Camera) -> F32:
    """Inverse depth of the person: rounded from the outline inwards, with a face. float32 [H, W]."""
    height, width = mask.shape
    longest = max(height, width)
    half_h, half_w = max(1, height // 2), max(1, width // 2)
    full = max(2.0, _ROUND * longest / 2)
    small = (cv2.resize(mask, (half_w, half_h), interpolation=cv2.INTER_AREA) > 0.5).astype(np.uint8)
    pad = int(full) + 1
    # The body goes on beyond the picture's edges.
    padded = cv2.copyMakeBorder(small, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    inset = cv2.distanceTransform(padded, cv2.DIST_L2, 5)
    inset = np.minimum(inset / np.float32(full), 1)
    # A parabola: as steep as the lifting can follow at the outline, flat in the middle.
    inset = 1 - inset
    height_map = cv2.GaussianBlur(1 - inset * inset, (0, 0), max(1.0, longest / 180))
    height_map = cv2.resize(height_map[pad:-pad, pad:-pad], (width, height), interpolation=cv2.INTER_LINEAR)
    unit = _RIM / camera.fx  # one pixel at the outline's distance
    depth = _RIM - height_map * np.float32(_STRENGTH * _ROUND * longest * unit)
    if track.face_weight > 0:
        depth -= _face_bump(track, width, height) * np.float32(unit)
    # Folds and features: what is brighter than its surroundings comes forward a little.
    soft = cv2.resize(grey, (half_w, half_h), interpolation=cv2.INTER_AREA)
    window = (max(3, longest // 24) | 1,) * 2
    detail = np.clip(cv2.blur(soft, (3, 3)) - cv2.blur(soft, window), -0.15, 0.15)
    depth -= cv2.resize(detail, (width, height), interpolation=cv2.INTER_LINEAR) * np.float32(0.04)
    inverse: F32 = np.float32(1) / depth
    return inverse


def _face_bump(track: Track, width: int, height: int) -> F32:
    """How far the face stands out of the cushion, pixels: its oval, the nose, the sockets of the eyes. float32 [H, W]."""
    points = track.face.points * (width, height)
    right, left, nose, mouth = points
    eyes = (right + left) / 2
    size = max(1.0, track.face.width * width)
    out = np.zeros((height, width), np.float32)
    for centre, sigma, rise in (
        ((eyes + mouth) / 2, 0.42, 0.20),
        (nose * 0.85 + eyes * 0.15, 0.085, 0.10),
        (nose * 0.4 + eyes * 0.6, 0.06, 0.03),
        (right, 0.09, -0.035),
        (left, 0.09, -0.035),
    ):
        x = (np.arange(width, dtype=np.float32) + 0.5 - np.float32(centre[0])) / np.float32(sigma * size)
        y = (np.arange(height, dtype=np.float32) + 0.5 - np.float32(centre[1])) / np.float32(sigma * size)
        out += np.outer(np.exp(-y * y / 2), np.exp(-x * x / 2) * np.float32(rise * size * track.face_weight))
    return out


def _fill_behind(rgb: NDArray[np.uint8], mask: F32) -> NDArray[np.uint8]:
    """The wall's colours, continued behind the person: pull-push (Gortler et al. 1996). uint8 [H/2, W/2, 3]."""
    height, width = mask.shape
    size = (max(1, width // _HIDDEN_STEP), max(1, height // _HIDDEN_STEP))
    # Well outside the outline only: its own rim has the person's colour.
    taken = cv2.dilate(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), np.ones((7, 7), np.uint8))
    weight = np.clip(1 - 2 * taken, 0, 1).astype(np.float32)
    colour = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    levels = [np.dstack([colour * weight[..., None], weight])]
    while max(levels[-1].shape[:2]) > 1:
        h, w = levels[-1].shape[:2]
        coarse = cv2.resize(levels[-1], (max(1, w // 2), max(1, h // 2)), interpolation=cv2.INTER_AREA)
        # A cell with a known corner counts as known: the fill takes up the colour at the outline, not that of the whole wall.
        coarse *= np.minimum(1, 3 * coarse[..., 3:]) / np.maximum(coarse[..., 3:], 1e-6)
        levels.append(coarse)
    known = levels.pop()
    filled = known[..., :3] / np.maximum(known[..., 3:], 1e-6)
    while levels:
        known = levels.pop()
        h, w = known.shape[:2]
        filled = cv2.resize(filled.reshape(*filled.shape[:2], 3), (w, h), interpolation=cv2.INTER_LINEAR)
        filled = known[..., :3] + (1 - np.minimum(known[..., 3:], 1)) * filled
    rounded: NDArray[np.uint8] = np.clip(filled + 0.5, 0, 255).astype(np.uint8)
    return rounded


def _guided(guide: F32, image: F32, radius: int, eps: float) -> F32:
    """The fast guided filter (He, Sun 2015): ``image`` smoothed within the edges of ``guide``, fitted at half size. [H, W]."""
    height, width = guide.shape
    half = (max(1, width // 2), max(1, height // 2))
    size = (radius | 1, radius | 1)  # a window of 2 · radius + 1 pixels, at half size
    g = cv2.resize(guide, half, interpolation=cv2.INTER_AREA)
    i = g if image is guide else cv2.resize(image, half, interpolation=cv2.INTER_AREA)
    mean_g, mean_i = cv2.blur(g, size), cv2.blur(i, size)
    variance = cv2.blur(g * g, size) - mean_g * mean_g
    a = (cv2.blur(g * i, size) - mean_g * mean_i) / (variance + np.float32(eps))
    b = mean_i - a * mean_g
    a, b = (cv2.resize(cv2.blur(x, size), (width, height), interpolation=cv2.INTER_LINEAR) for x in (a, b))
    result: F32 = a * guide + b
    return result
