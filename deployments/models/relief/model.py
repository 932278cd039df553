"""The embedded default engine: a demo relief from one picture with OpenCV alone. It is no depth network, and says so.

Someone before a webcam becomes a cut-out that is inflated like a cushion (Igarashi et al. 1999, "Teddy", by distance to the
silhouette) before a wall that leans back; the part of the wall behind them is painted in from its surroundings, so that moving
sideways opens no hole. Faces have their own shape, from a network that knows faces
(:mod:`deployments.models.relief.face_mesh`), and their size puts people and wall at distances in metres; a face that is too small
for it, or turned away, gets a bump and a nose. Any other picture becomes a slope with a little relief.

Limits: all shapes but faces are guesses, true to nobody. A track starts only with a face (see
:mod:`deployments.models.relief.tracking`): who has their back to the camera all the time is part of the slope. Hands reaching
forward lie on the body's own cushion. Objects have no depth of their own. Only the first view of a capture is used. Without a face,
units are arbitrary: the person is about 1.3 away. With one, they are metres as far as the face is of usual size and the camera sees
60° across.
"""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from deployments.models.relief.face_depth import lay_faces, outlines, owners
from deployments.models.relief.face_mesh import FaceMeshNet
from deployments.models.relief.faces import MIN_FACE_PX, USUAL_OUTLINE, Faces, SeenFace, follow_faces
from deployments.models.relief.person import ASSETS, MASK_PX, Face, MissingAssetError, PersonNets
from deployments.models.relief.tracking import MIN_FACE_SCORE, Track, another_scene, follow, is_person_at
from deployments.pipeline import DecodedCapture, Prediction
from deployments.splats import lifting
from deployments.splats.camera import Camera
from deployments.splats.layers import DepthLayer, DepthView, LayeredDepth
from deployments.splats.pull_push import fill
from deployments.splats.triangles import draw_triangles
from deployments.stream.errors import FrameError, InferenceFailed
from deployments.stream.frames import SplatKind
from deployments.stream.messages import Engine

logger = logging.getLogger("ray.serve.splatcast")

F32 = NDArray[np.float32]

DEFAULT_PX = 504
"""Longest side where the client leaves it open, and 190,512 pixels at most, as a 4:3 picture has: a squarer one gets no more.
From 384 the picture gains 0.4 to 0.9 dB, and a frame costs 3 ms more. The usual budget makes it 461 of a 4:3 picture."""

USUAL_FOV_DEG = 60.0
"""Of a usual webcam, across the longer side."""

LABEL = "Demo depth (no depth network)"
FACE_LABEL = "Demo depth with a 3D face (no depth network)"
"""What a frame says of itself, without and with a face that has its own shape."""

_WALL_TOP, _WALL_BOTTOM = 3.1, 2.3  # distances of the wall at the picture's top and bottom; the person's outline is at 1.45
_SLOPE_TOP, _SLOPE_BOTTOM = 3.2, 1.35  # the same where nobody is
_ROUND = 0.16  # width of the cushion from the outline to where it is full, fraction of the picture's longer side
_ROUND_M = 0.15  # the same, of a person whose distance is known
_WIDEST_ROUND = 0.45  # the same for who is very near, fraction of the longer side
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
        self._faces: FaceMeshNet | None = None
        try:
            self._faces = FaceMeshNet(Path(assets))
        except MissingAssetError as error:
            logger.warning("faces get no shape of their own: %s", error)
        self._longest_px = longest_px

    @property
    def info(self) -> Engine:
        """What it is."""
        return Engine(
            engine="relief",
            name="relief",
            label=LABEL,
            licence="Apache-2.0",
            kinds=["lifted", "points"],
            other_labels=[FACE_LABEL] if self._faces else [],
            around_deg=20.0,
        )

    def warm_up(self) -> None:
        """Run one frame of noise, so that the networks are set up and the kernels compiled."""
        noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
        self.predict([DecodedCapture((noise,))])
        if self._faces:
            points = np.array([[0.4, 0.3], [0.6, 0.3], [0.5, 0.5], [0.5, 0.6]], np.float32)
            mesh = self._faces.find_mesh(noise, Face(1.0, 0.3, points))
            draw_triangles(mesh.points, self._faces.canonical.triangles, 8, 8)

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
        if capture.cameras:
            camera = lifting.scale_camera(capture.cameras[0], grid_w, grid_h)
        small = rgb if (grid_w, grid_h) == (width, height) else cv2.resize(rgb, (grid_w, grid_h), interpolation=cv2.INTER_AREA)
        # The networks work on 256 and 128 pixels: a picture of that order is enough, and quicker to shrink.
        seen = small if max(grid_w, grid_h) >= MASK_PX else rgb
        before, now_s = Track.from_bytes(capture.request.state), capture.request.arrived_s
        raw, found = self._nets.segment(seen), self._nets.find_faces(seen)
        track = follow(before, raw, found[0], seen, now_s, options.calm)
        faces = self._follow_faces(capture, before, track, raw, found, camera)
        kind: SplatKind = "points" if options.representation == "points" else "lifted"
        relief = build_relief(small, track, camera, faces, self._faces.canonical.triangles if self._faces else None)
        label = FACE_LABEL if faces.shown and track.presence > 0 else ""
        state = track.to_bytes() + (faces.to_bytes() if self._faces else b"")
        return Prediction(relief, kind, camera, state, label=label, intrinsics=capture.intrinsics)

    def _follow_faces(
        self, capture: DecodedCapture, before: Track | None, track: Track, raw: F32, found: list[Face], camera: Camera
    ) -> Faces:
        """The faces of the people in this frame, with what is known of them so far."""
        if self._faces is None or track.presence == 0:
            return Faces()
        rgb, known = capture.views[0], Faces.from_bytes(capture.request.state)
        if before is None or another_scene(before.thumb, track.thumb):
            known = None
        least = MIN_FACE_SCORE - 0.1 if known and known.tracks else MIN_FACE_SCORE
        height, width = rgb.shape[:2]
        seen = [
            SeenFace(face, self._faces.find_mesh(rgb, face) if face.width * width >= MIN_FACE_PX / 2 else None)
            for face in found
            if face.score >= least and is_person_at(raw, face)
        ]
        focal_px = camera.fx * max(width, height) / max(camera.width, camera.height)
        request = capture.request
        return follow_faces(known, seen, (width, height), focal_px, request.arrived_s, self._faces.canonical, request.options.calm)


def build_relief(
    rgb: NDArray[np.uint8],
    track: Track,
    camera: Camera,
    faces: Faces | None = None,
    triangles: NDArray[np.int32] | None = None,
) -> LayeredDepth:
    """Layered depth of one picture.

    Args:
        rgb: uint8 [H, W, 3].
        track: The person, if any.
        camera: Intrinsics of that picture.
        faces: Their faces; None: none has been measured.
        triangles: Of the faces' meshes; None: none is shown. int32 [T, 3].

    Returns:
        One view: the picture's pixels and, if somebody is there, the wall behind them at half the size.
    """
    faces = faces or Faces()
    presence = track.presence * track.presence * (3 - 2 * track.presence)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)
    wall = _wall(grey, presence) / np.float32(1 + presence * faces.metric * (faces.room - 1))
    if presence == 0:
        return LayeredDepth((DepthView(camera, (DepthLayer(wall),), rgb),))
    mask = _refine(track.mask, grey)
    person = _person(mask, track, grey, camera, faces, triangles)
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
    # A plane: its inverse depth is linear in pixels, and its borders stay straight from every side.
    y, x = ((np.arange(side, dtype=np.float32) + 0.5) / side for side in (height, width))
    slope = (top + (bottom - top) * y)[:, None]
    # Shading as a whole, without its edges: a highlight is bright, and no nearer than what it lies on. None at the border.
    window = (max(3, max(height, width) // 8) | 1,) * 2
    smooth = cv2.blur(cv2.blur(np.minimum(grey, np.float32(0.8)), window), window)
    inwards = np.clip(8 * y * (1 - y), 0, 1)[:, None] * np.clip(8 * x * (1 - x), 0, 1)
    relief = np.float32(0.10 - 0.08 * presence) * inwards * (smooth - np.float32(0.45))
    return np.ascontiguousarray(slope * (1 + relief), np.float32)


def _refine(mask: F32, grey: F32) -> F32:
    """The mask at the picture's size, its edge drawn to the picture's own edges. float32 [H, W], 0..1."""
    height, width = grey.shape
    large = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
    large = _guided(grey, large, max(2, max(height, width) // 80), 3e-4)
    sharp: F32 = np.clip((large - np.float32(0.5)) * np.float32(1.5) + np.float32(0.5), 0, 1)
    return sharp


def _person(mask: F32, track: Track, grey: F32, camera: Camera, faces: Faces, triangles: NDArray[np.int32] | None) -> F32:
    """Inverse depth of the people: cushions, with faces. float32 [H, W]."""
    size = (camera.width, camera.height)
    owned = owners(faces, track.mask, size)
    depth = _cushion(mask, track, grey, camera, faces, outlines(faces, owned))
    if triangles is not None:
        lay_faces(depth, faces, owned, triangles)
    inverse: F32 = np.float32(1) / depth
    return inverse


def _cushion(mask: F32, track: Track, grey: F32, camera: Camera, faces: Faces, outline: F32) -> F32:
    """Depth of the people: rounded from their outline, which is so far away, inwards. float32 [H, W]."""
    height, width = mask.shape
    longest = max(height, width)
    half_h, half_w = max(1, height // 2), max(1, width // 2)
    unit = outline / np.float32(camera.fx)  # one pixel at the outline's distance
    known = np.clip(_ROUND_M / unit, 4, _WIDEST_ROUND * longest)
    full = np.maximum(_ROUND * longest + np.float32(faces.metric) * (known - _ROUND * longest), 4)
    small = (cv2.resize(mask, (half_w, half_h), interpolation=cv2.INTER_AREA) > 0.5).astype(np.uint8)
    pad = int(full.max() / 2) + 1
    # The body goes on beyond the picture's edges.
    padded = cv2.copyMakeBorder(small, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    inset = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[pad:-pad, pad:-pad]
    half_full = full if full.size == 1 else cv2.resize(full, (half_w, half_h), interpolation=cv2.INTER_AREA)
    # A parabola: as steep as the lifting can follow at the outline, flat in the middle.
    inset = 1 - np.minimum(inset / (half_full / 2), 1)
    height_map = cv2.GaussianBlur(1 - inset * inset, (0, 0), max(1.0, longest / 180))
    height_map = cv2.resize(height_map, (width, height), interpolation=cv2.INTER_LINEAR)
    depth = outline - height_map * (np.float32(_STRENGTH) * full * unit)
    if (bump := track.face_weight * (1 - faces.weight_at(track.face))) > 0:
        depth -= _face_bump(track, width, height, bump) * unit
    # Folds and features: what is brighter than its surroundings comes forward a little.
    soft = cv2.resize(grey, (half_w, half_h), interpolation=cv2.INTER_AREA)
    window = (max(3, longest // 24) | 1,) * 2
    detail = np.clip(cv2.blur(soft, (3, 3)) - cv2.blur(soft, window), -0.15, 0.15)
    depth -= cv2.resize(detail, (width, height), interpolation=cv2.INTER_LINEAR) * (outline * np.float32(0.04 / USUAL_OUTLINE))
    return np.ascontiguousarray(depth, np.float32)


def _face_bump(track: Track, width: int, height: int, share: float) -> F32:
    """How far a face without a mesh stands out of the cushion, pixels: its oval, nose, sockets of the eyes. float32 [H, W]."""
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
        out += np.outer(np.exp(-y * y / 2), np.exp(-x * x / 2) * np.float32(rise * size * share))
    return out


def _fill_behind(rgb: NDArray[np.uint8], mask: F32) -> NDArray[np.uint8]:
    """The wall's colours, continued behind the person. uint8 [H/2, W/2, 3]."""
    height, width = mask.shape
    size = (max(1, width // _HIDDEN_STEP), max(1, height // _HIDDEN_STEP))
    # Well outside the outline only: its own rim has the person's colour.
    taken = cv2.dilate(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), np.ones((7, 7), np.uint8))
    weight = np.clip(1 - 2 * taken, 0, 1).astype(np.float32)
    colour = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return fill(np.dstack([colour, weight]))


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
